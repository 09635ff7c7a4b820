"""What policies say of the example reports: one is violated, one undecided, one met, one met by waivers alone."""

import tomllib
from datetime import UTC, datetime

from auditor.gate.ruling import Gate
from auditor.policy import judge
from auditor.policy_file import Policy
from tests.report.example import confounded, leaky, well_behaved

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
EVERY_RULE = """
[limits]
auc = 0.65
inversion_excess = { record = 0.01, class = 0.05 }
[gate]
release = "scores"
families = ["membership", "inversion"]
fail_on = "high"
least_evaluated = 5000
required_attacks = ["lira-scores", "boundary"]
required_checks = ["planted"]
max_age = "90d"
claimed_epsilon = { epsilon = 8.0, delta = 1e-5 }
no_worse_than_last = { auc = 0.02, tpr_at_fpr."0.01" = 0.02 }
"""
GENEROUS = "[limits]\nauc = 0.7\ntpr_at_fpr.'0.01' = 0.1\n"


def waiver(rule: str, reason: str = "A pilot, ticket 1234.", expires: str = "2027-03-31") -> str:
    return f'[[waiver]]\nrule = "{rule}"\nreason = "{reason}"\nexpires = {expires}\n'


def earlier(report):
    """The same, found of the weights of the last release."""
    return report.model_copy(update={"model": report.model.model_copy(update={"sha256": "0" * 64})})


def judged(report, policy: str = "", *, now: datetime = NOW, baseline=None, named: str = "privaudit.toml") -> Gate:
    asked = Policy.model_validate(tomllib.loads(policy))
    return judge(report, asked, now=now, baseline=baseline, named=named)


LAST = earlier(leaky())
WAIVED = waiver("auc") + waiver("tpr_at_fpr") + waiver("max_age", expires="2026-01-01")
JUDGED = {
    "fail": (leaky(), judged(leaky(), EVERY_RULE, baseline=LAST)),
    "inconclusive": (confounded(), judged(confounded())),
    "pass": (well_behaved(), judged(well_behaved(), GENEROUS)),
    "waived": (
        leaky(),
        judged(leaky(), WAIVED),
    ),
}
