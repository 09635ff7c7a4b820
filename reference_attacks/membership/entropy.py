"""The entropy attack: a record with a certain output is called a member, whatever its label.

Song and Mittal (2021), "Systematic Evaluation of Privacy Risks of Machine Learning Models", arXiv:2003.10595; their
label-free metric, after Shokri et al. (2017), arXiv:1610.05820.

What it claims
    Models are more certain about records that they were trained on. A confident mistake counts as certain too: the
    attack is for whoever does not know the label, and should lose to the modified entropy wherever it is known.

What the attacker needs
    Access `scores`: one query for the released probabilities, all classes. No true label, no shadow models.

Algorithm
    1. Ask for the probabilities p of x; `signals.entropy` is H(p) = -sum over i of p_i log p_i.
    2. The score is -H, averaged where a record was asked about more than once: 0 is the most it can reach.

What we changed
    The score instead of a decision by one threshold for each class, fitted on a shadow model.

Published number and ours
    None verified.
"""

from __future__ import annotations

import numpy as np

from reference_attacks.membership._inputs import FloatArray, SignalArray, as_signal

__all__ = ["score"]


def score(*, target_signal: SignalArray) -> FloatArray:
    """Score every record by minus its entropy.

    Args:
        target_signal: The entropy of the target's probabilities [record, query], in nats.

    Returns:
        Scores [record] in nats, at most 0, larger = more likely a member.

    Raises:
        ValueError: If the signal is not finite, below 0 or has other axes.
    """
    signal = as_signal("target_signal", target_signal, ("record", "query"))
    if signal.min() < 0.0:
        raise ValueError(f"target_signal must hold entropies, at least 0, got {signal.min():g}")
    return np.asarray(-signal.mean(axis=1), dtype=np.float64)
