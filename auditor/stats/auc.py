"""The area under the ROC curve: its interval, its test, its bound, its paired difference and its stratified form.

The variance is DeLong's, from placements: for each member the share of non-members below it, for each non-member
the share of members above it (DeLong, DeLong and Clarke-Pearson 1988; computed from midranks as in Sun and Xu 2014).
With groups it is Obuchowski's (1997), which sums placements within groups, and with them over both sides of groups that
have members and non-members, corrected for unequal groups (`auditor.stats.groups`). Quantiles are then Student's.
With fewer than `LEAST_EFFECTIVE_GROUPS` effective groups on a side no variance can be trusted: the interval is
everything possible and the p-value 1.

Where the placements show no spread (perfect separation, constant scores, a side with a single record) DeLong's
variance is zero and would claim certainty. Then the score is judged by disjoint member/non-member pairs, of which
the records or groups hold `pairs`: they are independent, each is won with probability AUC, and Clopper-Pearson applies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from auditor.stats._placements import Placed, Table, both_sides, place, spread_of_auc
from auditor.stats._spread import ROUNDING, Side, Spread, bound, difference_interval, p_above_half, spread_of
from auditor.stats._validate import BoolVector, FloatVector, check_fraction, float_vector, int_vector
from auditor.stats.estimate import Estimate

__all__ = ["Comparison", "StratifiedAuc", "auc", "auc_difference", "auc_p_value", "auc_upper_bound", "stratified_auc"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired difference of two scores on the same records.

    Attributes:
        estimate: The difference, first minus other.
        p_value: One-sided, against "the first is not better".
    """

    estimate: Estimate
    p_value: float


@dataclass(frozen=True, slots=True)
class StratifiedAuc:
    """An AUC that compares members only with non-members of the same stratum.

    Attributes:
        estimate: The weighted mean of the strata's AUCs.
        p_value: One-sided, against "no stratum has AUC above 0.5".
        matched_pairs: Sum over strata of the smaller side, in records.
        testable: Whether there are matched pairs, and effective groups enough where groups are given.
    """

    estimate: Estimate
    p_value: float
    matched_pairs: int
    testable: bool


def auc(
    scores: npt.ArrayLike,
    membership: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    groups: npt.ArrayLike | None = None,
    cross_fitted: bool = False,
) -> Estimate:
    """Estimate the probability that a random member scores above a random non-member (ties count half).

    The interval covers the drawing of records given the trained models, not the training. Cross-fitted scores come of
    models that were fitted to the very records that they judge, each to those of other folds: every pair of records
    counts twice, and the variance doubles (docs/decisions/0007).

    Args:
        scores: float [record].
        membership: bool [record].
        confidence: Nominal coverage.
        groups: int [record] or None; records of one group are not taken as independent.
        cross_fitted: Whether each record was scored by a model that was fitted to records of other folds.

    Raises:
        ValueError: Shapes differ, scores are not finite, or a side is empty.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    values = float_vector(scores, name="scores")
    table = Table.of(membership, groups, length=values.size)
    placed = place(values, table)
    spread = spread_of_auc(placed, table)
    if cross_fitted:
        spread = spread.plus(spread.variance)
    low, high = (bound(placed.value, spread, alpha, upper=upper) for upper in (False, True))
    told = spread.describe(f"{{}}{', doubled for cross-fitting' if cross_fitted else ''}, logit scale")
    return Estimate(placed.value, low, high, confidence, told, table.n)


def auc_p_value(scores: npt.ArrayLike, membership: npt.ArrayLike, *, groups: npt.ArrayLike | None = None) -> float:
    """Test one-sided whether members score above non-members.

    Without groups this is the Mann-Whitney test, asymptotic with ties; with groups a t test on Obuchowski's variance,
    and 1 where the groups are too few.

    Args:
        scores: float [record].
        membership: bool [record].
        groups: int [record] or None.

    Raises:
        ValueError: As for `auc`.
    """
    values = float_vector(scores, name="scores")
    table = Table.of(membership, groups, length=values.size)
    if groups is None:
        members, non_members = values[table.mask], values[~table.mask]
        return float(stats.mannwhitneyu(members, non_members, alternative="greater", method="asymptotic").pvalue)
    placed = place(values, table)
    return p_above_half(placed.value, spread_of_auc(placed, table))


def auc_upper_bound(
    scores: npt.ArrayLike, membership: npt.ArrayLike, alpha: float, *, groups: npt.ArrayLike | None = None
) -> float:
    """Bound the AUC from above: the truth lies higher with probability `alpha` at most.

    Args:
        scores: float [record].
        membership: bool [record].
        alpha: One-sided error.
        groups: int [record] or None.

    Raises:
        ValueError: As for `auc`.
    """
    check_fraction(alpha, name="alpha")
    values = float_vector(scores, name="scores")
    table = Table.of(membership, groups, length=values.size)
    placed = place(values, table)
    return bound(placed.value, spread_of_auc(placed, table), alpha, upper=True)


def auc_difference(
    scores: npt.ArrayLike,
    other_scores: npt.ArrayLike,
    membership: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    extra_variance: float = 0.0,
    groups: npt.ArrayLike | None = None,
) -> Comparison:
    """Compare two scores of the same records by their AUCs, paired (DeLong's covariance).

    Args:
        scores: float [record].
        other_scores: float [record], of the same records.
        membership: bool [record], the same for both.
        confidence: Nominal coverage.
        extra_variance: Added to the variance of the difference, e.g. the spread between null models.
        groups: int [record] or None.

    Raises:
        ValueError: As for `auc`, or `extra_variance` is negative.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    if not 0.0 <= extra_variance < np.inf:
        raise ValueError(f"extra_variance must be finite and not negative, got {extra_variance}")
    values = float_vector(scores, name="scores")
    table = Table.of(membership, groups, length=values.size)
    first = place(values, table)
    other = place(float_vector(other_scores, name="other_scores", length=values.size), table)
    placed = Placed(first.value - other.value, first.members - other.members, first.non_members - other.non_members)
    same_ranking = max(np.abs(placed.members).max(), np.abs(placed.non_members).max()) < ROUNDING
    if same_ranking and extra_variance == 0:
        return Comparison(Estimate(0.0, 0.0, 0.0, confidence, "same ranking", table.n), 1.0)
    spread = spread_of_auc(placed, table)
    if spread.variance == 0 and extra_variance > 0 and not same_ranking:
        # No spread seen is not no spread: the difference of two won-or-lost pairs has variance 1 at most.
        spread = spread.plus(1 / spread.pairs)
    spread = spread.plus(extra_variance)
    low, high = difference_interval(placed.value, spread, alpha)
    estimate = Estimate(placed.value, low, high, confidence, spread.describe("paired {}"), table.n)
    return Comparison(estimate, p_above_half((1 + placed.value) / 2, spread.scaled(0.5)))


def stratified_auc(
    scores: npt.ArrayLike,
    membership: npt.ArrayLike,
    strata: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> StratifiedAuc:
    """Compare members with non-members of the same stratum only, e.g. of like propensity or of one class.

    Strata weigh n1 * n0 / (n1 + n0). The interval uses DeLong's variance per stratum, and the largest possible one,
    A (1 - A) / min(n1, n0) at the overall A, where a side has a single record. The test uses the permutation
    variance of Mann-Whitney with ties per stratum (van Elteren 1960). Strata with one side only say nothing; if all are
    such, the answer is 0.5 in [0, 1] with p-value 1.

    With groups, which may span strata, both interval and test use Obuchowski's sums of weighted placements over groups.
    Placements deviate from the overall value, not from their stratum's: a stratum of few groups would hide its spread.
    What is shared within a stratum then counts on both sides, which errs towards saying less.

    Args:
        scores: float [record].
        membership: bool [record].
        strata: int [record].
        confidence: Nominal coverage.
        groups: int [record] or None.

    Raises:
        ValueError: Shapes differ, scores are not finite, or a side is empty.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    values = float_vector(scores, name="scores")
    table = Table.of(membership, groups, length=values.size)
    codes = int_vector(strata, name="strata", length=values.size)
    parts = [part for code in np.unique(codes) if (part := _stratum(values, table, codes == code)) is not None]
    pairs = sum(part.pairs for part in parts)
    n = {**table.n, "strata": len(parts), "matched pairs": pairs}
    if not parts:
        return StratifiedAuc(Estimate(0.5, 0.0, 1.0, confidence, "no matched pairs", n), 1.0, 0, testable=False)
    total = math.fsum(part.weight for part in parts)
    weights = np.array([part.weight for part in parts]) / total
    # Exactly 1 where every stratum is: a rounding error below would pass for spread.
    value = math.fsum(part.weight * part.placed.value for part in parts) / total
    if table.grouped:
        spread = _strata_spread(value, parts, weights)
        p_value = p_above_half(value, spread)
    else:
        variances = [value * (1 - value) if part.pairs == 1 else part.variance for part in parts]
        spread = Spread(float(weights**2 @ variances), pairs, np.inf, "stratified DeLong")
        null_variance = float(weights**2 @ [part.null_variance for part in parts])
        p_value = float(stats.norm.sf((value - 0.5) / np.sqrt(null_variance))) if null_variance > 0 else 1.0
    low, high = (bound(value, spread, alpha, upper=upper) for upper in (False, True))
    estimate = Estimate(value, low, high, confidence, spread.describe("{}, logit scale"), n)
    return StratifiedAuc(estimate, p_value, pairs, testable=not spread.unknown)


# --- strata ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stratum:
    placed: Placed
    table: Table
    weight: float
    pairs: int
    variance: float
    null_variance: float


def _strata_spread(value: float, parts: Sequence[_Stratum], weights: FloatVector) -> Spread:
    """Measure Obuchowski's variance of the weighted mean over strata, of which groups may span several."""
    sides = [both_sides(part.placed, part.table, value) for part in parts]
    members, others = (Side.joined(side, weights) for side in zip(*sides, strict=True))
    return spread_of(members, others, "stratified Obuchowski", grouped=True)


def _stratum(values: FloatVector, table: Table, inside: BoolVector) -> _Stratum | None:
    """Judge one stratum; None when it has one side only. `variance` is 0 when DeLong's does not exist."""
    own, kept = table.only(inside), values[inside]
    m, n = int(own.mask.sum()), int((~own.mask).sum())
    if min(m, n) == 0:
        return None
    placed = place(kept, own)
    ties = np.unique(kept, return_counts=True)[1].astype(np.float64)
    total = m + n
    tie_term = float(np.sum(ties**3 - ties)) / (total * (total - 1))
    null_variance = (total + 1 - tie_term) / (12 * m * n)
    alone = Table(own.mask, np.arange(total), grouped=False)
    return _Stratum(placed, own, m * n / total, min(m, n), spread_of_auc(placed, alone).variance, null_variance)
