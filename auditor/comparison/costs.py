"""What a defense costs: accuracy, calibration, distortion and time, on the audited non-members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from auditor.findings import Measurement, Timing
from auditor.membership.measure import Jury
from auditor.shadows import AuditSet
from auditor.signals import class_probabilities
from auditor.stats.bootstrap import bca
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import mean, paired_mean, proportion
from auditor.target import Target

__all__ = ["Behaviour", "accuracy_change", "behaviour_of", "costs_of", "timed"]

Made = TypeVar("Made")

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_CALIBRATION_BINS = 15
_RESAMPLES = 299
_UNIT = "non-members"


@dataclass(frozen=True)
class Behaviour:
    """What a model says of the audited non-members.

    Attributes:
        vectors: Released, float32 [non-member, class].
        right: Whether the top class is the true one [non-member].
        labels: The true classes [non-member].
        choosing: The half of them on which choices are made [non-member].
        asking: How long the answers took.
    """

    vectors: npt.NDArray[np.float32]
    right: Flags
    labels: npt.NDArray[np.int64]
    choosing: Flags
    asking: Timing


def behaviour_of(target: Target, audit_set: AuditSet, jury: Jury) -> Behaviour:
    """Ask a model about the audited non-members."""
    outside = ~audit_set.membership
    records = audit_set.records.take(outside)
    vectors, asking = timed("answer the audited non-members", lambda: class_probabilities(target, records.inputs))
    return Behaviour(vectors, vectors.argmax(1) == records.labels, records.labels, jury.selection[outside], asking)


def timed(phase: str, make: Callable[[], Made]) -> tuple[Made, Timing]:
    """What is made, and how long that took."""
    wall, cpu = perf_counter(), process_time()
    made = make()
    return made, Timing(phase=phase, wall_seconds=perf_counter() - wall, cpu_seconds=process_time() - cpu)


def accuracy_change(before: Behaviour, after: Behaviour, *, choosing: bool) -> Estimate:
    """Accuracy on one half of the non-members, defended minus undefended, paired."""
    half = before.choosing if choosing else ~before.choosing
    return paired_mean(after.right[half].astype(float), before.right[half].astype(float), unit=_UNIT)


def costs_of(before: Behaviour, after: Behaviour, *, same_weights: bool) -> tuple[Measurement, ...]:
    """Accuracy, worst class and calibration of both; with the same weights also how far the answers have moved."""
    moved = _distortion(before, after) if same_weights else ()
    return (
        *(
            Measurement(name=f"{name}, {state}", estimate=estimate)
            for name, measure in (
                ("Accuracy on non-members", _accuracy),
                ("Accuracy in the worst class, chosen on one half and measured on the other", _worst_class),
                ("Expected calibration error", _calibration),
            )
            for state, one in (("undefended", before), ("defended", after))
            if (estimate := measure(one)) is not None
        ),
        *moved,
    )


def _distortion(before: Behaviour, after: Behaviour) -> tuple[Measurement, ...]:
    difference = after.vectors.astype(np.float64) - before.vectors
    changed = int((before.vectors.argmax(1) != after.vectors.argmax(1)).sum())
    lengths = (np.abs(difference).sum(1), np.sqrt(np.square(difference).sum(1)))
    return (
        Measurement(name="Labels changed", estimate=proportion(changed, len(difference), unit=_UNIT)),
        *(
            Measurement(name=f"{norm} distance of the released vector", estimate=mean(length, unit=_UNIT))
            for norm, length in zip(("L1", "L2"), lengths, strict=True)
        ),
    )


def _accuracy(one: Behaviour) -> Estimate:
    return proportion(int(one.right.sum()), len(one.right), unit=_UNIT)


def _worst_class(one: Behaviour) -> Estimate | None:
    """The class with the lowest accuracy on the choosing half, as it does on the other; None where it is not there."""
    known = np.unique(one.labels[one.choosing])
    worst = min(known, key=lambda label: float(one.right[one.choosing & (one.labels == label)].mean()), default=None)
    if worst is None or not (inside := ~one.choosing & (one.labels == worst)).any():
        return None
    return proportion(int(one.right[inside].sum()), int(inside.sum()), unit=_UNIT)


def _calibration(one: Behaviour) -> Estimate:
    """Expected calibration error in 15 equal bins."""
    columns = (one.vectors.max(1).astype(np.float64), one.right.astype(np.float64))
    return bca(columns, _gap, np.random.default_rng(0), resamples=_RESAMPLES, unit=_UNIT)


def _gap(confidence: Floats, right: Floats) -> float:
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    sums = np.bincount(bins, weights=confidence - right, minlength=_CALIBRATION_BINS)
    return float(np.abs(sums).sum() / len(right))
