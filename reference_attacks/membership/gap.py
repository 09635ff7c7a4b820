"""The gap attack: a record that is classified correctly is called a member.

Yeom, Giacomelli, Fredrikson and Jha (2018), "Privacy Risk in Machine Learning: Analyzing the Connection to
Overfitting", arXiv:1709.01604.

What it claims
    A model that is more often right on its training set than elsewhere leaks membership by its labels alone. This is
    the floor: an attack that does no better has shown nothing beyond the generalisation gap.

What the attacker needs
    Access `labels`: one query for the predicted class. The record's true label. No shadow models, no other data.

Algorithm
    1. Ask for the predicted class of x.
    2. The score is 1 if it equals the true label, else 0.
    As a test it has one operating point only: TPR = accuracy on members, FPR = accuracy on non-members, hence balanced
    accuracy (TPR + 1 - FPR) / 2. A TPR at a low FPR cannot be read from it.

What we changed
    Nothing.

Published number and ours
    None verified: the attack's strength is the target's own generalisation gap.
"""

from __future__ import annotations

from reference_attacks.membership._inputs import FloatArray, SignalArray, as_signal

__all__ = ["score"]


def score(*, target_signal: SignalArray) -> FloatArray:
    """Score every record by whether the target gets it right.

    Args:
        target_signal: 1 where the target names the true class, else 0 [record, query]; the first query is the record
            itself, and the only one that is used. Of a target that answers at random, how often it names it.

    Returns:
        Scores [record], 1.0 = correct = more likely a member, 0.0 = wrong.

    Raises:
        ValueError: If a value is below 0 or above 1, or the axes are others.
    """
    correct = as_signal("target_signal", target_signal, ("record", "query"))[:, 0]
    if not ((correct >= 0.0) & (correct <= 1.0)).all():
        raise ValueError("target_signal must be 0 or 1, whether the target was right, or a mean of such answers")
    return correct.copy()
