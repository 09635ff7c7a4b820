"""The confidence attack: a record whose true label gets a high probability is called a member.

Song and Mittal (2021), "Systematic Evaluation of Privacy Risks of Machine Learning Models", arXiv:2003.10595; the
simplest of their metrics that knows the label.

What it claims
    Training raises the probability of the label it was told. Like the loss it does not know how hard a record is.

What the attacker needs
    Access `scores`: one query for the released probability of the true label. No shadow models, no other data.

Algorithm
    1. Ask for the probabilities p of x; `signals.confidence` is p_y for the true label y.
    2. The score is p_y, averaged where a record was asked about more than once.
    The paper picks, on a shadow model, one threshold for each class by balanced accuracy.

What we changed
    The score instead of the thresholded decision.
    With one query the order is that of the loss attack; with several it is not, since a mean of probabilities forgives
    one bad query and a mean of losses does not. Float32 probabilities that have rounded to 1 tie.

Published number and ours
    None verified.
"""

from __future__ import annotations

import numpy as np

from reference_attacks.membership._inputs import FloatArray, SignalArray, as_probability

__all__ = ["score"]


def score(*, target_signal: SignalArray) -> FloatArray:
    """Score every record by the probability of its true label.

    Args:
        target_signal: The target's probability of the true label [record, query].

    Returns:
        Scores [record] in 0..1, larger = more likely a member.

    Raises:
        ValueError: If the signal is no probability or has other axes.
    """
    signal = as_probability("target_signal", target_signal, ("record", "query"))
    return np.asarray(signal.mean(axis=1), dtype=np.float64)
