"""What a defense costs: accuracy, calibration, distortion and time, on the audited non-members."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter, process_time
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from auditor.findings import Measurement, Timing
from auditor.membership.measure import Jury
from auditor.shadows import AuditSet
from auditor.signals import class_probabilities
from auditor.stats.bootstrap import bca
from auditor.stats.difference import paired_difference
from auditor.stats.estimate import Estimate
from auditor.stats.groups import Clustered, enough_groups
from auditor.stats.intervals import TOO_FEW_GROUPS, grouped_mean, grouped_proportion, mean, proportion
from auditor.target import Target
from auditor.wrappers.labels_only import LabelsOnly
from auditor.wrappers.memguard import MemGuardNoise
from auditor.wrappers.perturbed import Perturbed
from auditor.wrappers.plain import Rounded, Temperature, TopThree

__all__ = ["LABELS_KEPT", "Behaviour", "accuracy_change", "behaviour_of", "costs_of", "timed"]

Made = TypeVar("Made")

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Groups: TypeAlias = npt.NDArray[np.int64] | None

_CALIBRATION_BINS = 15
_RESAMPLES = 299
_UNIT = "non-members"

LABELS_KEPT = "the largest class stays by construction"
"""Method of a change of accuracy that is none whatever the records are."""

_KEEP_LABELS = (LabelsOnly, MemGuardNoise, Perturbed, Rounded, Temperature, TopThree)


@dataclass(frozen=True)
class Behaviour:
    """What a model says of the audited non-members.

    Attributes:
        vectors: Released, float32 [non-member, class].
        right: Whether the top class is the true one [non-member].
        labels: The true classes [non-member].
        choosing: The half of them on which choices are made [non-member].
        asking: How long the answers took.
        groups: Which of them belong together [non-member]; None where none do.
        keeps_labels: Whether what stands behind the weights cannot change which class is the largest.
    """

    vectors: npt.NDArray[np.float32]
    right: Flags
    labels: npt.NDArray[np.int64]
    choosing: Flags
    asking: Timing
    groups: Groups = None
    keeps_labels: bool = False


def behaviour_of(target: Target, audit_set: AuditSet, jury: Jury) -> Behaviour:
    """Ask a model about the audited non-members."""
    outside = ~audit_set.membership
    records = audit_set.records.take(outside)
    vectors, asking = timed("answer the audited non-members", lambda: class_probabilities(target, records.inputs))
    right, choosing = vectors.argmax(1) == records.labels, jury.selection[outside]
    kept = isinstance(target.wrapper, _KEEP_LABELS)
    return Behaviour(vectors, right, records.labels, choosing, asking, records.groups, kept)


def timed(phase: str, make: Callable[[], Made]) -> tuple[Made, Timing]:
    """What is made, and how long that took."""
    wall, cpu = perf_counter(), process_time()
    made = make()
    return made, Timing(phase=phase, wall_seconds=perf_counter() - wall, cpu_seconds=process_time() - cpu)


def accuracy_change(before: Behaviour, after: Behaviour, *, choosing: bool) -> Estimate:
    """Accuracy on one half of the non-members, defended minus undefended, paired.

    That no record changed sides leaves some room for others to; none is left where the defense keeps every label.
    """
    half = before.choosing if choosing else ~before.choosing
    changed = after.right[half].astype(float) - before.right[half]
    found = _difference(changed, None if before.groups is None else before.groups[half])
    if after.keeps_labels and np.array_equal(before.vectors.argmax(1), after.vectors.argmax(1)):
        return replace(found, low=0.0, high=0.0, method=LABELS_KEPT)
    return found


def _difference(changed: Floats, groups: Groups) -> Estimate:
    """The mean of -1, 0 and 1, never with an interval of width zero."""
    gained, lost = int((changed > 0).sum()), int((changed < 0).sum())
    if groups is None:
        return paired_difference(gained, lost, len(changed), unit=_UNIT)
    found = grouped_mean(changed, groups, least=-1.0, most=1.0, unit=_UNIT)
    if found.low < found.high:
        return found
    # all records alike: what as many single ones as the groups are worth would leave open
    worth = int(Clustered.of(changed, np.unique(groups, return_inverse=True)[1]).effective)
    open_to = paired_difference(worth * (gained > 0), worth * (lost > 0), worth, unit=_UNIT)
    return replace(found, low=open_to.low, high=open_to.high, method=f"{open_to.method}, groups")


def costs_of(before: Behaviour, after: Behaviour, *, same_weights: bool) -> tuple[Measurement, ...]:
    """Accuracy, worst class and calibration of both; with the same weights also how far the answers have moved."""
    moved = _distortion(before, after) if same_weights else ()
    return (
        *(
            Measurement(name=f"{name}, {state}", estimate=estimate, unit=unit)
            for name, measure, unit in (
                ("Accuracy on non-members", _accuracy, "share"),
                ("Accuracy in the worst class, chosen on one half and measured on the other", _worst_class, "share"),
                ("Expected calibration error", _calibration, ""),
            )
            for state, one in (("undefended", before), ("defended", after))
            if (estimate := measure(one)) is not None
        ),
        *moved,
    )


def _distortion(before: Behaviour, after: Behaviour) -> tuple[Measurement, ...]:
    difference = after.vectors.astype(np.float64) - before.vectors
    changed = before.vectors.argmax(1) != after.vectors.argmax(1)
    lengths = (np.abs(difference).sum(1), np.sqrt(np.square(difference).sum(1)))
    return (
        Measurement(name="Labels changed", estimate=_proportion(changed, before.groups), unit="share"),
        *(
            Measurement(
                name=f"{norm} distance of the released vector",
                estimate=_mean(length, before.groups, least=0.0, most=most),
            )
            for norm, length, most in zip(("L1", "L2"), lengths, (2.0, math.sqrt(2.0)), strict=True)
        ),
    )


def _proportion(flags: Flags, groups: Groups) -> Estimate:
    if groups is None:
        return proportion(int(flags.sum()), len(flags), unit=_UNIT)
    return grouped_proportion(flags, groups, unit=_UNIT)


def _mean(values: Floats, groups: Groups, *, least: float, most: float) -> Estimate:
    if groups is None:
        return mean(values, unit=_UNIT)
    return grouped_mean(values, groups, least=least, most=most, unit=_UNIT)


def _accuracy(one: Behaviour) -> Estimate:
    return _proportion(one.right, one.groups)


def _worst_class(one: Behaviour) -> Estimate | None:
    """The class with the lowest accuracy on the choosing half, as it does on the other; None where it is not there."""
    known = np.unique(one.labels[one.choosing])
    worst = min(known, key=lambda label: float(one.right[one.choosing & (one.labels == label)].mean()), default=None)
    if worst is None or not (inside := ~one.choosing & (one.labels == worst)).any():
        return None
    return _proportion(one.right[inside], None if one.groups is None else one.groups[inside])


def _calibration(one: Behaviour) -> Estimate:
    """Expected calibration error in 15 equal bins."""
    columns = (one.vectors.max(1).astype(np.float64), one.right.astype(np.float64))
    found = bca(columns, _gap, np.random.default_rng(0), resamples=_RESAMPLES, groups=one.groups, unit=_UNIT)
    if one.groups is None or enough_groups(one.groups):
        return found
    return replace(found, low=0.0, high=1.0, method=TOO_FEW_GROUPS)


def _gap(confidence: Floats, right: Floats) -> float:
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    sums = np.bincount(bins, weights=confidence - right, minlength=_CALIBRATION_BINS)
    return float(np.abs(sums).sum() / len(right))
