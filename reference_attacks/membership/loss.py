"""The loss attack: a record with a small loss is called a member.

Yeom, Giacomelli, Fredrikson and Jha (2018), "Privacy Risk in Machine Learning: Analyzing the Connection to
Overfitting", arXiv:1709.01604.

What it claims
    Training lowers the loss of the records trained on, so at equal difficulty members have the smaller loss. It does
    not know how hard a record is: easy non-members look like members, and hard members are missed.

What the attacker needs
    Access `scores`: one query for the released probabilities. The record's true label. No shadow models, no other data.

Algorithm
    1. Ask for the probabilities p of x; `signals.cross_entropy` is -log p_y for the true label y.
    2. The score is log p_y, averaged where a record was asked about more than once.
    The paper calls x a member where the loss is at most the mean training loss; every other threshold is a point of the
    same ROC curve.

What we changed
    The score instead of the decision, so that no knowledge of the mean training loss is needed.
    p_y is raised to the smallest normal float32 before the logarithm. Where the released float32 p_y has rounded to 1
    the loss is 0 and the records tie; `signals.released_margin` orders them, which is why LiRA starts from that.

Published number and ours
    None verified.
"""

from __future__ import annotations

import numpy as np

from reference_attacks.membership._inputs import FloatArray, SignalArray, as_signal

__all__ = ["score"]


def score(*, target_signal: SignalArray) -> FloatArray:
    """Score every record by minus the cross-entropy of its true label.

    Args:
        target_signal: The target's cross-entropy [record, query], in nats.

    Returns:
        Scores [record] in nats, at most 0, larger = more likely a member.

    Raises:
        ValueError: If the signal is not finite or has other axes.
    """
    signal = as_signal("target_signal", target_signal, ("record", "query"))
    return np.asarray(-signal.mean(axis=1))
