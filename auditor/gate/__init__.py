"""The rules of a policy, each held against a report: one function per rule, one `Ruling` each. `auditor.policy` judges.

A number that comes with doubt about the audit never meets a rule: it is inconclusive, whatever the mode. The mode
decides one thing: what becomes of a number whose interval holds the limit. `strict` finds that inconclusive, `lenient`
lets it pass. Only a leak that the verdict attributes to the model can fail.
"""
