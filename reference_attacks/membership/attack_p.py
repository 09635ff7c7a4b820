"""Attack P: compare a record with the population.

Ye, Maddi, Murakonda, Bindschaedler and Shokri (2022), "Enhanced Membership Inference Attacks against Machine Learning
Models", arXiv:2111.09679.

What it claims
    A loss means nothing by itself; measured against the losses of records that were certainly not trained on it becomes
    a p-value, and the threshold for a wanted false-positive rate follows without knowing a single member.

What the attacker needs
    Access `scores`: one query per record and per population record. Labelled population records, trained on by nobody
    and not evaluated. No shadow models.

Algorithm
    1. Take a signal of the target for x and every population record z: minus the loss, or anything that rises with it.
    2. The score of x is the fraction of the population whose signal is at most that of x, i.e. whose loss is at least
       that of x.
    3. With several queries the fraction is taken for each and averaged.
    A record with score s is called a member at false-positive rate 1 - s and above.

What we changed
    The score instead of the paper's threshold at one false-positive rate.
    Equal fractions are left tied: 1 - score is a p-value on a grid of 1/|population|. For one query it orders records
    as the plain signal does, so it adds calibration, not power; for a finer order use the signal itself.

Published number and ours
    None verified.
"""

from __future__ import annotations

import numpy as np

from reference_attacks.membership._inputs import FloatArray, SignalArray, as_signal

__all__ = ["score"]


def score(*, target_signal: SignalArray, population_target_signal: SignalArray) -> FloatArray:
    """Score every record by the share of the population that looks no more like a member than it does.

    Args:
        target_signal: Signals of the target, larger = more likely a member, e.g. minus the loss [record, query].
        population_target_signal: The same signal on the population, its own records [record, query].

    Returns:
        Scores [record] in 0..1, larger = more likely a member; 1 - score is a p-value.

    Raises:
        ValueError: If the numbers of queries differ or a value is not finite.
    """
    target = as_signal("target_signal", target_signal, ("record", "query"))
    population = as_signal("population_target_signal", population_target_signal, ("record", "query"))
    if population.shape[1] != target.shape[1]:
        raise ValueError(f"the population has {population.shape[1]} queries, the records have {target.shape[1]}")
    ordered = np.sort(population, axis=0)
    beaten = [np.searchsorted(ordered[:, q], target[:, q], side="right") for q in range(target.shape[1])]
    return np.asarray(np.mean(beaten, axis=0) / population.shape[0], dtype=np.float64)
