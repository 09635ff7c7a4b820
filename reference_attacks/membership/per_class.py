"""Class-conditional modified entropy: compare a record with non-members of its own class.

After Song and Mittal (2021), "Systematic Evaluation of Privacy Risks of Machine Learning Models", arXiv:2003.10595,
whose thresholds are one for each class, and Attack P of Ye et al. (2022), arXiv:2111.09679. A reconstruction: the
paper gives decisions, this is the score that goes with them.

What it claims
    Classes differ in how certain the model is about them. One threshold for all takes easy classes for members; a
    record is better measured against non-members of its own class.

What the attacker needs
    Access `scores`: one query per record and per population record, all classes. True labels. Population records of
    every class, trained on by nobody and not evaluated. No shadow models.

Algorithm
    1. Ask for the probabilities of x and every population record z; `signals.modified_entropy` gives Mentr.
    2. The fraction of x is that of the z of its class whose Mentr is at least Mentr(x), i.e. the empirical CDF of
       -Mentr; a class with fewer than `smallest_class` population records is compared with the whole population.
    3. With several queries the fraction is taken for each and averaged.

What we changed
    A CDF among non-members instead of the threshold with the best balanced accuracy on a shadow model's members and
    non-members: no shadow is needed, and no membership is looked at. Below some fifty records a class would give noise.
    Ties are broken, or else every record beyond its class would share the fraction 1 and the TPR at a low FPR be 0:
    we take m / (1 + m) / 2 steps off, m the mean Mentr over queries and a step 1/(Q |population|). 1 - score is still
    no smaller than the p-value 1 - fraction.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_attacks.membership._inputs import FloatArray, LabelArray, SignalArray, as_classes, as_signal

__all__ = ["PerClass", "score"]


@dataclass(frozen=True, slots=True)
class PerClass:
    """Parameter of the comparison; the default is ours.

    Attributes:
        smallest_class: Population records below which a class is compared with the whole population.

    Raises:
        ValueError: If it is below 1.
    """

    smallest_class: int = 50

    def __post_init__(self) -> None:
        if self.smallest_class < 1:
            raise ValueError(f"smallest_class must be at least 1, got {self.smallest_class}")


def score(
    *,
    target_signal: SignalArray,
    population_target_signal: SignalArray,
    classes: LabelArray,
    population_classes: LabelArray,
    settings: PerClass = PerClass(),
) -> FloatArray:
    """Score every record by the share of its class's population that is no more certain and right than it is.

    Args:
        target_signal: The target's modified entropy [record, query], in nats.
        population_target_signal: The same on the population, its own records [record, query].
        classes: True labels of the records [record].
        population_classes: True labels of the population [record].
        settings: Which classes are too small.

    Returns:
        Scores [record], at most 1, larger = more likely a member.

    Raises:
        ValueError: If the arrays do not fit each other, a value is not finite or a modified entropy is below 0.
    """
    target = _modified_entropy("target_signal", target_signal)
    population = _modified_entropy("population_target_signal", population_target_signal)
    if population.shape[1] != target.shape[1]:
        raise ValueError(f"the population has {population.shape[1]} queries, the records have {target.shape[1]}")
    own = as_classes("classes", classes, target.shape[0])
    others = as_classes("population_classes", population_classes, population.shape[0])
    fraction = np.empty(target.shape[0], dtype=np.float64)
    for label in np.unique(own):
        same = others == label
        calibration = population[same] if same.sum() >= settings.smallest_class else population
        fraction[own == label] = _fraction_at_least(target[own == label], calibration)
    mean = target.mean(axis=1)
    return np.asarray(fraction - 0.5 * mean / (1.0 + mean) / population.size, dtype=np.float64)


def _modified_entropy(name: str, values: SignalArray) -> FloatArray:
    signal = as_signal(name, values, ("record", "query"))
    if signal.min() < 0.0:
        raise ValueError(f"{name} must hold modified entropies, at least 0, got {signal.min():g}")
    return signal


def _fraction_at_least(target: FloatArray, calibration: FloatArray) -> FloatArray:
    """Share of the calibrating values that are no smaller than the record's, averaged over queries [record]."""
    ordered = np.sort(calibration, axis=0)
    below = [np.searchsorted(ordered[:, q], target[:, q], side="left") for q in range(target.shape[1])]
    return np.asarray(1.0 - np.mean(below, axis=0) / calibration.shape[0], dtype=np.float64)
