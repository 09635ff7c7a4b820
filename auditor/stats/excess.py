"""By how much a score's AUC exceeds that of the same attack on two models that never saw the records.

Every member is judged by the model that did not train on it, every non-member by both: each model has an AUC of its
own, never one of scores from different models, and the null is their mean over members. So no score is averaged
(docs/decisions/0002), and what non-members have of chance is halved. The variance is that of paired placements
(`auditor.stats.auc`), plus what the two models differ by beyond the chance of their records: once for the model of the
score, half for the mean of two. Two models have one difference, which tells little of how much models differ: interval
and test take Student's t, with the degrees of freedom that Satterthwaite (1946) gives to such a sum.

Two models trained on fewer records may have learned less of what tells the sides apart than the model that is judged.
The test therefore allows for a share that they may have missed (docs/decisions/0007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.stats._placements import Placed, Table, place, spread_of_auc
from auditor.stats._spread import Side, Spread, bound, difference_interval, p_above_half, spread_of
from auditor.stats._validate import check_fraction, float_vector
from auditor.stats.estimate import Estimate

__all__ = ["Excess", "excess_over_null"]

BoolMatrix = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Excess:
    """An AUC beside that of the same attack on models that never saw the records.

    Attributes:
        null: The latter.
        null_p_value: One-sided, against "it is not above 0.5".
        estimate: The former less the latter.
        beyond: The same, less what the models without may have missed.
        p_value: One-sided, against "the former is not above what the latter would be, had nothing been missed".
    """

    null: Estimate
    null_p_value: float
    estimate: Estimate
    beyond: Estimate
    p_value: float


def excess_over_null(
    scores: npt.ArrayLike,
    null_scores: npt.ArrayLike,
    unseen: npt.ArrayLike,
    membership: npt.ArrayLike,
    *,
    unlearned: float = 0.0,
    confidence: float = 0.95,
    error: float = 0.025,
    groups: npt.ArrayLike | None = None,
) -> Excess:
    """Compare an attack's AUC on a model with its AUC on two models without the records, paired by record.

    Args:
        scores: float [record], on the model that is judged.
        null_scores: float [model, record], on each of two models without.
        unseen: bool [model, record], which records each of those did not train on: of two complementary parts of the
            members one each, and all non-members.
        membership: bool [record].
        unlearned: The share, below 1, of what tells the sides apart that those models may not have learned.
        confidence: Nominal coverage of the intervals of `null` and `estimate`.
        error: Nominal error on each side of the interval of `beyond`, which lies above 0 where `p_value` is lower.
        groups: int [record] or None; records of one group are not taken as independent.

    Raises:
        ValueError: Shapes differ, scores are not finite, a side is empty, `unseen` is not as described, or `unlearned`
            is not in [0, 1).
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    sure = check_fraction(1.0 - 2 * error, name="1 - 2 error")
    if not 0.0 <= unlearned < 1.0:
        raise ValueError(f"unlearned must be at least 0 and below 1, got {unlearned}")
    values = float_vector(scores, name="scores")
    table = Table.of(membership, groups, length=values.size)
    first, nulls = place(values, table), _Nulls.of(null_scores, unseen, table)
    null, between = nulls.together(), nulls.between_models()
    spread = spread_of_auc(null, table)
    low, high = (bound(null.value, spread, alpha, upper=upper) for upper in (False, True))
    told = Estimate(null.value, low, high, confidence, spread.describe("{}, mean of two models, logit scale"), table.n)

    value, missed = first.value - null.value, unlearned / (1 - unlearned)
    apart = _apart(first, null, 1.0, table).plus_estimated(1.5 * between.variance, 1.5 * between.seen)
    ends = difference_interval(value, apart, alpha)
    estimate = Estimate(value, *ends, confidence, apart.describe("paired {}, between models"), table.n)
    share = 1 + (1 + missed) ** 2 / 2
    tested = _apart(first, null, 1 + missed, table).plus_estimated(share * between.variance, share * between.seen)
    left = value - missed * max(null.value - 0.5, 0.0)
    method = tested.describe("paired {}, between models")
    beyond = Estimate(left, *difference_interval(left, tested, error), round(sure, 4), method, table.n)
    p_value = p_above_half((1 + left) / 2, tested.scaled(0.5))
    return Excess(told, p_above_half(null.value, spread), estimate, beyond, p_value)


def _apart(first: Placed, null: Placed, weight: float, table: Table) -> Spread:
    """Measure how uncertain `first - weight * null` is, models given."""
    members, non_members = (
        one - weight * other for one, other in ((first.members, null.members), (first.non_members, null.non_members))
    )
    found = spread_of_auc(Placed(first.value - weight * null.value, members, non_members), table)
    # No spread seen is not no spread: the difference of two won-or-lost pairs has variance 1 at most.
    return found.plus(1 / found.pairs) if found.variance == 0 else found


@dataclass(frozen=True, slots=True)
class _Between:
    """What two models differ by: the variance between models, and half the squared difference, chance and all."""

    variance: float
    seen: float


@dataclass(frozen=True, slots=True)
class _Nulls:
    """Both models' placements, and who of the members each has not seen [model, member]."""

    each: tuple[Placed, Placed]
    unseen: BoolMatrix
    table: Table

    @classmethod
    def of(cls, scores: npt.ArrayLike, unseen: npt.ArrayLike, table: Table) -> _Nulls:
        rows, left = np.asarray(scores, dtype=np.float64), np.asarray(unseen)
        shape = (2, table.mask.size)
        if rows.shape != shape or left.shape != shape or left.dtype != np.bool_:
            raise ValueError(f"null_scores and bool unseen must be [2, {shape[1]}], got {rows.shape} and {left.shape}")
        members = left[:, table.mask]
        if not left[:, ~table.mask].all() or (members.sum(0) != 1).any() or not members.any(1).all():
            raise ValueError("each model must not have seen a part of the members, together all, and no non-member")
        first, second = (
            place(float_vector(row, name="null_scores")[kept], table.only(kept))
            for row, kept in zip(rows, left, strict=True)
        )
        return cls((first, second), members, table)

    def together(self) -> Placed:
        """The mean over members of what the model without each makes of it."""
        first, second = self.each
        members = np.empty(self.unseen.shape[1])
        for one, judged in zip(self.each, self.unseen, strict=True):
            members[judged] = one.members
        share = float(self.unseen[0].mean())
        return Placed(float(members.mean()), members, share * first.non_members + (1 - share) * second.non_members)

    def between_models(self) -> _Between:
        """Variance between models, beyond what two halves of the members and the same non-members give."""
        first, second = self.each
        deviations = np.empty(self.unseen.shape[1])
        for one, judged, sign in zip(self.each, self.unseen, (1, -1), strict=True):
            deviations[judged] = sign * (one.members - one.value) / judged.mean()
        others = (first.non_members - first.value) - (second.non_members - second.value)
        mask, groups = self.table.mask, self.table.groups
        halves = Side.equal(deviations, groups[mask]), Side.equal(others, groups[~mask])
        chance = spread_of(*halves, "halves", grouped=self.table.grouped)
        seen = (first.value - second.value) ** 2
        return _Between(max((seen - chance.variance) / 2, 0.0), seen / 2)
