"""The ROC curve: for drawing. Numbers that are judged come from `auc` and `low_fpr`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.stats._validate import FloatVector, check_count, check_fraction, float_vector, membership_mask
from auditor.stats.intervals import proportion_lower_bound, proportion_upper_bound

__all__ = ["Band", "Roc", "roc_band", "roc_curve", "thin_roc"]


@dataclass(frozen=True, slots=True)
class Roc:
    """Operating points of a score, from (0, 0) to (1, 1).

    Attributes:
        fpr: Share of non-members with a score >= threshold [point], non-decreasing.
        tpr: Share of members with a score >= threshold [point], non-decreasing.
        thresholds: Strictly decreasing [point]; the first is infinity.
    """

    fpr: FloatVector
    tpr: FloatVector
    thresholds: FloatVector


@dataclass(frozen=True, slots=True)
class Band:
    """Pointwise interval on the true positive rate of a `Roc`.

    Attributes:
        low: Lower end [point].
        high: Upper end [point].
    """

    low: FloatVector
    high: FloatVector


def roc_curve(scores: npt.ArrayLike, membership: npt.ArrayLike) -> Roc:
    """Compute every operating point of a score: one per distinct value, so that ties move both rates at once.

    Args:
        scores: float [record].
        membership: bool [record].

    Raises:
        ValueError: Shapes differ, scores are not finite, or one side is empty.
    """
    values = float_vector(scores, name="scores")
    mask = membership_mask(membership, length=values.size)
    order = np.argsort(-values, kind="stable")
    ranked, members = values[order], np.cumsum(mask[order])
    last_of_value = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)
    true_positives = members[last_of_value]
    false_positives = last_of_value + 1 - true_positives
    return Roc(
        fpr=np.concatenate([[0.0], false_positives / (mask.size - members[-1])]),
        tpr=np.concatenate([[0.0], true_positives / members[-1]]),
        thresholds=np.concatenate([[np.inf], ranked[last_of_value]]),
    )


def thin_roc(roc: Roc, points: int = 200) -> Roc:
    """Pick at most `points` of a curve's own points for drawing, evenly spaced in log FPR so that low FPR keeps detail.

    Args:
        roc: The full curve.
        points: Most points to keep, at least 3; both ends and the last point at FPR 0 are among them.

    Raises:
        ValueError: Fewer than 3 points asked for.
    """
    check_count(points, name="points", least=3)
    if roc.fpr.size <= points:
        return roc
    smallest = roc.fpr[roc.fpr > 0][0]
    wanted = np.append(0.0, np.geomspace(smallest, 1.0, points - 2))
    at_most = np.searchsorted(roc.fpr, wanted, side="right") - 1
    kept = np.unique(np.append(0, at_most))
    return Roc(roc.fpr[kept], roc.tpr[kept], roc.thresholds[kept])


def roc_band(roc: Roc, n_members: int, confidence: float) -> Band:
    """Put the exact Clopper-Pearson interval around the true positive rate at each threshold.

    Pointwise and at fixed thresholds: it does not cover the uncertainty of the false positive rate, for which see
    `low_fpr.tpr_at_fpr`.

    Args:
        roc: The curve.
        n_members: Members that the curve was computed from.
        confidence: Coverage at each point.

    Raises:
        ValueError: No members, or confidence outside (0, 1).
    """
    check_count(n_members, name="n_members")
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    found = np.rint(roc.tpr * n_members)
    return Band(proportion_lower_bound(found, n_members, alpha), proportion_upper_bound(found, n_members, alpha))
