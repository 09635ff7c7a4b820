"""Attack D: compare a record with models distilled from the target.

Ye, Maddi, Murakonda, Bindschaedler and Shokri (2022), "Enhanced Membership Inference Attacks against Machine Learning
Models", arXiv:2111.09679.

What it claims
    Models distilled from the target on population records resemble it in everything but what it remembers of its own
    training set. A loss below theirs is memory: neither the record's difficulty nor a training recipe that the
    attacker got wrong explains it, as they can explain a loss below that of reference models (Attack R).

What the attacker needs
    Access `scores`: one query per record and, for the distillation, one per population record. Population records
    without labels, trained on by nobody and not evaluated. The recipe is not needed, nor any shadow model; a few
    students of the target are (`distillation`, from different first weights).

Algorithm
    1. Take a signal of the target and of every student for x: minus the loss, or anything that rises with it.
    2. "fraction": the share of the students whose signal is at most the target's, i.e. whose loss is at least its loss.
    3. "gaussian": (target - mean over the students) / sigma, for a signal that is roughly Gaussian over students such
       as `signals.logit_margin` or `signals.released_margin`.
    4. With several queries either is averaged over them.
    A record with fraction s is called a member at false-positive rate 1 - s and above.

What we changed
    The score instead of the paper's threshold at one false-positive rate. "gaussian" is the default: the fraction is on
    a grid of 1/students and says little for fewer than some 30. It is the authors' Gaussian on log(p / (1 - p)), but
    one-sided, as z, which does not saturate as its distribution function does, and with one sigma for all records of a
    query ("pooled": within records, degrees of freedom records x (students - 1)); "per-record" takes each record's own.
    Their linear interpolation of the fractions, and combinations of both estimates, are left out.
    The students' data is the population as a whole, given by whoever distils.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reference_attacks.membership._inputs import FloatArray, SignalArray, as_signal

__all__ = ["AttackD", "score"]


@dataclass(frozen=True, slots=True)
class AttackD:
    """How the target is compared with its students.

    Attributes:
        estimate: "gaussian" or "fraction".
        variance: "pooled" over the records of a query, or each record's own ("per-record"); for "gaussian".
        sigma_floor: Smallest sigma, in units of the signal; for "gaussian".

    Raises:
        ValueError: If a value is not one of these.
    """

    estimate: Literal["gaussian", "fraction"] = "gaussian"
    variance: Literal["pooled", "per-record"] = "pooled"
    sigma_floor: float = 1e-6

    def __post_init__(self) -> None:
        if self.estimate not in {"gaussian", "fraction"}:
            raise ValueError(f'estimate must be "gaussian" or "fraction", got {self.estimate!r}')
        if self.variance not in {"pooled", "per-record"}:
            raise ValueError(f'variance must be "pooled" or "per-record", got {self.variance!r}')
        if not 0.0 < self.sigma_floor < np.inf:
            raise ValueError(f"sigma_floor must be positive, got {self.sigma_floor}")


def score(*, target_signal: SignalArray, distilled_signal: SignalArray, settings: AttackD = AttackD()) -> FloatArray:
    """Score every record by how much more like a member the target shows it than its students do.

    Args:
        target_signal: Signals of the target, larger = more likely a member [record, query].
        distilled_signal: The same signal of models distilled from the target [model, record, query].
        settings: How the two are compared.

    Returns:
        Scores [record], larger = more likely a member: sigmas, or fractions in 0..1.

    Raises:
        ValueError: If the arrays do not fit each other, a value is not finite, or "gaussian" has only one student.
    """
    target = as_signal("target_signal", target_signal, ("record", "query"))
    students = as_signal("distilled_signal", distilled_signal, ("model", "record", "query"))
    if students.shape[1:] != target.shape:
        raise ValueError(f"distilled_signal {students.shape} does not fit target_signal {target.shape}")
    if settings.estimate == "fraction":
        return np.asarray((students <= target).mean(axis=(0, 2)), dtype=np.float64)
    if len(students) < 2:
        raise ValueError('distilled_signal must hold two models or more for "gaussian"; one will do for "fraction"')
    z = (target - students.mean(axis=0)) / _sigma(students, settings)
    return np.asarray(z.mean(axis=1), dtype=np.float64)


def _sigma(students: FloatArray, settings: AttackD) -> FloatArray:
    """Standard deviation over the students (ddof 1), [query] if pooled and [record, query] if not."""
    variance = students.var(axis=0, ddof=1)
    if settings.variance == "pooled":
        variance = variance.mean(axis=0)
    return np.asarray(np.maximum(np.sqrt(variance), settings.sigma_floor), dtype=np.float64)
