"""The modified-entropy attack: a record with a certain and right output is called a member.

Song and Mittal (2021), "Systematic Evaluation of Privacy Risks of Machine Learning Models", arXiv:2003.10595.

What it claims
    Members get outputs that are both right and certain. Entropy alone sees only certainty and takes a confident mistake
    for a member; the modified entropy is small only if the mass lies on the true label.

What the attacker needs
    Access `scores`: one query for the released probabilities, all classes. The record's true label. For the paper's
    decision also a shadow model for the thresholds; for the score nothing more.

Algorithm
    1. Ask for the probabilities p of x; `signals.modified_entropy` gives
    2. Mentr(p, y) = -(1 - p_y) log p_y - sum over i != y of p_i log(1 - p_i), logarithms clamped at 1e-30.
    3. The score is -Mentr, averaged where a record was asked about more than once: 0 is the most it can reach.
    The paper then picks, on a shadow model, the threshold with the best balanced accuracy, one for each class.

What we changed
    The score instead of the thresholded decision: thresholds belong to the measurement, and per-class ones are noise
    below some fifty records a class.

Published number and ours
    None verified.
"""

from __future__ import annotations

import numpy as np

from reference_attacks.membership._inputs import FloatArray, SignalArray, as_signal

__all__ = ["score"]


def score(*, target_signal: SignalArray) -> FloatArray:
    """Score every record by minus its modified entropy.

    Args:
        target_signal: The target's modified entropy [record, query], in nats.

    Returns:
        Scores [record] in nats, at most 0, larger = more likely a member.

    Raises:
        ValueError: If the signal is not finite or has other axes.
    """
    signal = as_signal("target_signal", target_signal, ("record", "query"))
    return np.asarray(-signal.mean(axis=1))
