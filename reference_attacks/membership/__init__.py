"""Membership inference: was this record in the training set?

Every attack returns float64 scores [record], larger = more likely a member. Axes have one order everywhere,
[model, record, query, class]; an axis that is not needed is left out. Signals are
computed by `signals`; each attack says which one it takes, and whether large or small speaks for a member.
"""
