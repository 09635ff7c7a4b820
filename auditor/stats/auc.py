"""The area under the ROC curve: its interval, its test, its bound, its paired difference and its stratified form.

The variance is DeLong's, from placements: for each member the share of non-members below it, for each non-member
the share of members above it (DeLong, DeLong and Clarke-Pearson 1988; computed from midranks as in Sun and Xu 2014).
With groups it is Obuchowski's (1997), which sums placements within groups and adds the cross term of groups that have
both members and non-members; quantiles are then Student's with one degree fewer than the rarer side has groups.

Where the placements show no spread (perfect separation, constant scores, a side with a single group) DeLong's
variance is zero and would claim certainty. Then the score is judged by disjoint member/non-member pairs, of which
the n records hold `pairs`: they are independent, each is won with probability AUC, and Clopper-Pearson applies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from auditor.stats._validate import (
    BoolVector,
    FloatVector,
    IntVector,
    check_fraction,
    float_vector,
    group_codes,
    int_vector,
    membership_mask,
)
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion_lower_bound, proportion_upper_bound

__all__ = ["Comparison", "StratifiedAuc", "auc", "auc_difference", "auc_p_value", "auc_upper_bound", "stratified_auc"]

# Below this a placement's deviation is rounding: real ones are multiples of 1 / (2 * members * non-members).
ROUNDING = 1e-12


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
        matched_pairs: Sum over strata of the smaller side.
    """

    estimate: Estimate
    p_value: float
    matched_pairs: int


def auc(
    scores: npt.ArrayLike, membership: npt.ArrayLike, *, confidence: float = 0.95, groups: npt.ArrayLike | None = None
) -> Estimate:
    """Estimate the probability that a random member scores above a random non-member (ties count half).

    The interval covers the drawing of records given the trained models, not the training.

    Args:
        scores: float [record].
        membership: bool [record].
        confidence: Nominal coverage.
        groups: int [record] or None; records of one group are not taken as independent.

    Raises:
        ValueError: Shapes differ, scores are not finite, a side is empty, or there is only one group.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    values = float_vector(scores, name="scores")
    table = _Table.of(membership, groups, length=values.size)
    placed = _place(values, table)
    spread = _spread(placed, table)
    low, high = (_bound(placed.value, spread, alpha, upper=upper) for upper in (False, True))
    return Estimate(placed.value, low, high, confidence, spread.describe("{}, logit scale"), table.n)


def auc_p_value(scores: npt.ArrayLike, membership: npt.ArrayLike, *, groups: npt.ArrayLike | None = None) -> float:
    """Test one-sided whether members score above non-members.

    Without groups this is the Mann-Whitney test, asymptotic with ties; with groups a t test on Obuchowski's variance.

    Args:
        scores: float [record].
        membership: bool [record].
        groups: int [record] or None.

    Raises:
        ValueError: As for `auc`.
    """
    values = float_vector(scores, name="scores")
    table = _Table.of(membership, groups, length=values.size)
    if groups is None:
        members, non_members = values[table.mask], values[~table.mask]
        return float(stats.mannwhitneyu(members, non_members, alternative="greater", method="asymptotic").pvalue)
    placed = _place(values, table)
    return _p_above_half(placed.value, _spread(placed, table))


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
    table = _Table.of(membership, groups, length=values.size)
    placed = _place(values, table)
    return _bound(placed.value, _spread(placed, table), alpha, upper=True)


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
    table = _Table.of(membership, groups, length=values.size)
    first = _place(values, table)
    other = _place(float_vector(other_scores, name="other_scores", length=values.size), table)
    placed = _Placed(first.value - other.value, first.members - other.members, first.non_members - other.non_members)
    same_ranking = max(np.abs(placed.members).max(), np.abs(placed.non_members).max()) < ROUNDING
    if same_ranking and extra_variance == 0:
        return Comparison(Estimate(0.0, 0.0, 0.0, confidence, "same ranking", table.n), 1.0)
    spread = _spread(placed, table)
    if spread.variance == 0 and extra_variance > 0 and not same_ranking:
        # No spread seen is not no spread: the difference of two won-or-lost pairs has variance 1 at most.
        spread = spread.plus(1 / spread.pairs)
    spread = spread.plus(extra_variance)
    low, high = _difference_interval(placed.value, spread, alpha)
    estimate = Estimate(placed.value, low, high, confidence, spread.describe("paired {}"), table.n)
    return Comparison(estimate, _p_above_half((1 + placed.value) / 2, spread.scaled(0.5)))


def stratified_auc(
    scores: npt.ArrayLike, membership: npt.ArrayLike, strata: npt.ArrayLike, *, confidence: float = 0.95
) -> StratifiedAuc:
    """Compare members with non-members of the same stratum only, e.g. of like propensity or of one class.

    Strata weigh n1 * n0 / (n1 + n0). The interval uses DeLong's variance per stratum, and the largest possible one,
    A (1 - A) / min(n1, n0) at the overall A, where a side has a single record. The test uses the permutation
    variance of Mann-Whitney with ties per stratum (van Elteren 1960). Strata with one side only say nothing; if all are
    such, the answer is 0.5 in [0, 1] with p-value 1.

    Args:
        scores: float [record].
        membership: bool [record].
        strata: int [record].
        confidence: Nominal coverage.

    Raises:
        ValueError: Shapes differ, scores are not finite, or a side is empty.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    values = float_vector(scores, name="scores")
    table = _Table.of(membership, None, length=values.size)
    codes = int_vector(strata, name="strata", length=values.size)
    parts = [part for code in np.unique(codes) if (part := _stratum(values, table.mask, codes == code)) is not None]
    pairs = sum(part.pairs for part in parts)
    n = {**table.n, "strata": len(parts), "matched pairs": pairs}
    if not parts:
        return StratifiedAuc(Estimate(0.5, 0.0, 1.0, confidence, "no matched pairs", n), 1.0, 0)
    total = math.fsum(part.weight for part in parts)
    weights = np.array([part.weight for part in parts]) / total
    # Exactly 1 where every stratum is: a rounding error below would pass for spread.
    value = math.fsum(part.weight * part.value for part in parts) / total
    variances = [value * (1 - value) / part.pairs if part.variance is None else part.variance for part in parts]
    spread = _Spread(float(weights**2 @ variances), pairs, np.inf, "stratified DeLong")
    low, high = (_bound(value, spread, alpha, upper=upper) for upper in (False, True))
    null_variance = float(weights**2 @ [part.null_variance for part in parts])
    p_value = float(stats.norm.sf((value - 0.5) / np.sqrt(null_variance))) if null_variance > 0 else 1.0
    estimate = Estimate(value, low, high, confidence, spread.describe("{}, logit scale"), n)
    return StratifiedAuc(estimate, p_value, pairs)


# --- records, placements, variance ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """Who is a member, and which records belong together."""

    mask: BoolVector
    groups: IntVector
    grouped: bool

    @classmethod
    def of(cls, membership: npt.ArrayLike, groups: npt.ArrayLike | None, *, length: int) -> _Table:
        mask = membership_mask(membership, length=length)
        if groups is None:
            return cls(mask, np.arange(length), grouped=False)
        codes = group_codes(groups, length=length)
        if codes.max() == 0:
            raise ValueError("groups must name at least two groups")
        return cls(mask, codes, grouped=True)

    @property
    def n(self) -> Mapping[str, int]:
        counts = {"members": int(self.mask.sum()), "non-members": int((~self.mask).sum())}
        return {**counts, "groups": int(self.groups.max()) + 1} if self.grouped else counts


@dataclass(frozen=True, slots=True)
class _Placed:
    """An AUC, or a difference of two, with its placements per member and per non-member."""

    value: float
    members: FloatVector
    non_members: FloatVector


@dataclass(frozen=True, slots=True)
class _Spread:
    """How uncertain a value is.

    Attributes:
        variance: Of the value; 0 when the records show no spread or cannot show it.
        pairs: Disjoint member/non-member pairs among the records, to judge by where the variance is 0.
        freedom: Degrees of freedom of Student's t; infinite for the normal.
        method: Whose variance it is.
    """

    variance: float
    pairs: int
    freedom: float
    method: str

    def quantile(self, alpha: float) -> float:
        return float(stats.t.isf(alpha, self.freedom))

    def tail(self, z: float) -> float:
        return float(stats.t.sf(z, self.freedom))

    def describe(self, wald: str) -> str:
        """Name the interval: `wald` filled with the method, or the one by pairs."""
        return wald.format(self.method) if self.variance > 0 else "Clopper-Pearson on disjoint pairs"

    def plus(self, variance: float) -> _Spread:
        return _Spread(self.variance + variance, self.pairs, self.freedom, self.method)

    def scaled(self, factor: float) -> _Spread:
        return _Spread(self.variance * factor**2, self.pairs, self.freedom, self.method)


@dataclass(frozen=True, slots=True)
class _Stratum:
    value: float
    weight: float
    pairs: int
    variance: float | None
    null_variance: float


def _place(values: FloatVector, table: _Table) -> _Placed:
    members, non_members = values[table.mask], values[~table.mask]
    pooled = stats.rankdata(np.concatenate([members, non_members]))
    below_members = (pooled[: members.size] - stats.rankdata(members)) / non_members.size
    above_non_members = 1.0 - (pooled[members.size :] - stats.rankdata(non_members)) / members.size
    return _Placed(float(below_members.mean()), below_members, above_non_members)


def _spread(placed: _Placed, table: _Table) -> _Spread:
    """Measure Obuchowski's variance, which is DeLong's when every record is its own group."""
    groups = int(table.groups.max()) + 1
    member_groups, other_groups = table.groups[table.mask], table.groups[~table.mask]
    member_sums = _group_sums(placed.members - placed.members.mean(), member_groups, groups)
    other_sums = _group_sums(placed.non_members - placed.non_members.mean(), other_groups, groups)
    with_members, with_others = np.unique(member_groups).size, np.unique(other_groups).size
    pairs = min(with_members, with_others, groups // 2)
    method = "Obuchowski" if table.grouped else "DeLong"
    freedom = float(min(with_members, with_others) - 1) if table.grouped else np.inf
    if min(with_members, with_others) < 2:
        return _Spread(0.0, pairs, np.inf, method)
    a, b = member_sums / member_groups.size, other_sums / other_groups.size
    variance = (
        with_members / (with_members - 1) * (a @ a)
        + with_others / (with_others - 1) * (b @ b)
        + 2 * groups / (groups - 1) * (a @ b)
    )
    return _Spread(max(float(variance), 0.0), pairs, freedom, method)


def _group_sums(deviations: FloatVector, codes: IntVector, groups: int) -> FloatVector:
    sums = np.bincount(codes, weights=deviations, minlength=groups)
    return np.where(np.abs(sums) < ROUNDING, 0.0, sums)


def _stratum(values: FloatVector, mask: BoolVector, inside: BoolVector) -> _Stratum | None:
    """Judge one stratum; None when it has one side only. `variance` is None when DeLong's does not exist."""
    status, kept = mask[inside], values[inside]
    m, n = int(status.sum()), int((~status).sum())
    if min(m, n) == 0:
        return None
    table = _Table(status, np.arange(status.size), grouped=False)
    placed = _place(kept, table)
    ties = np.unique(kept, return_counts=True)[1].astype(np.float64)
    total = m + n
    tie_term = float(np.sum(ties**3 - ties)) / (total * (total - 1))
    null_variance = (total + 1 - tie_term) / (12 * m * n)
    variance = _spread(placed, table).variance if min(m, n) > 1 else None
    return _Stratum(placed.value, m * n / total, min(m, n), variance, null_variance)


# --- from a value and its spread to bounds and p-values ------------------------------------------------------------


def _bound(value: float, spread: _Spread, alpha: float, *, upper: bool) -> float:
    """Bound an AUC one-sided: Wald on the logit scale, or by disjoint pairs where there is no spread."""
    if spread.variance == 0:
        bound = proportion_upper_bound if upper else proportion_lower_bound
        return float(bound(value * spread.pairs, spread.pairs, alpha))
    reach = spread.quantile(alpha) * np.sqrt(spread.variance) / (value * (1 - value))
    return float(special.expit(special.logit(value) + (reach if upper else -reach)))


def _difference_interval(value: float, spread: _Spread, alpha: float) -> tuple[float, float]:
    if spread.variance == 0:
        half = (1 + value) / 2
        return 2 * _bound(half, spread, alpha, upper=False) - 1, 2 * _bound(half, spread, alpha, upper=True) - 1
    reach = spread.quantile(alpha) * float(np.sqrt(spread.variance))
    return max(value - reach, -1.0), min(value + reach, 1.0)


def _p_above_half(value: float, spread: _Spread) -> float:
    if spread.variance > 0:
        return spread.tail((value - 0.5) / float(np.sqrt(spread.variance)))
    won = value * spread.pairs
    return float(stats.beta.cdf(0.5, won, spread.pairs - won + 1)) if won > 0 else 1.0
