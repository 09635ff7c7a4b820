"""The true positive rate at a low false positive rate: how many members an attacker names while rarely erring.

The threshold is the (floor(n0 * fpr) + 1)-th largest non-member score; a record is called a member when it scores
above it. Ties count as non-member in estimates, lower ends and tests, so that no leak is found in them; in upper
ends they count for the attacker, who may break them by coin flips, so that no leak is overlooked in them.

A threshold found on n0 non-members has a random true FPR, Beta(k, n0 - k + 1) above the k-th largest. An interval
therefore spans the ranks k between which the wanted FPR lies, and puts an exact Clopper-Pearson end on the members
above each. Half of the error at each end goes to the rank, half to the members.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from enum import StrEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import betainc

from auditor.stats._resample import Clusters
from auditor.stats._validate import (
    BoolVector,
    FloatVector,
    IntVector,
    check_count,
    check_fraction,
    float_vector,
    group_codes,
    membership_mask,
)
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion_lower_bound, proportion_upper_bound

__all__ = [
    "Standing",
    "allowed_false_positives",
    "exact_test_p_value",
    "standing",
    "tpr_at_fpr",
    "tpr_at_fpr_difference",
    "tpr_at_fpr_p_value",
    "tpr_at_fpr_upper_bound",
    "upper_rank",
]

GROUP_RESAMPLES = 2000
GROUP_PERMUTATIONS = 9999


class Standing(StrEnum):
    """What a TPR at this FPR may be used for, by the number of non-members."""

    REFUSE = "refuse"
    APPENDIX = "appendix"
    HEADLINE = "headline"


def standing(n_non_members: int, fpr: float) -> Standing:
    """Decide what a TPR at `fpr` may be used for: refuse below 1 / fpr non-members, headline from 10 / fpr.

    Raises:
        ValueError: No non-members, or fpr outside (0, 1).
    """
    expected = check_count(n_non_members, name="n_non_members") * _exact(fpr)
    if expected < 1:
        return Standing.REFUSE
    return Standing.APPENDIX if expected < 10 else Standing.HEADLINE


def allowed_false_positives(n_non_members: int, fpr: float) -> int:
    """Return floor(n_non_members * fpr) for the fpr as written: 0.29 of 100 is 29, in binary floats 28.99...

    Raises:
        ValueError: No non-members, or fpr outside (0, 1).
    """
    return math.floor(check_count(n_non_members, name="n_non_members") * _exact(fpr))


def tpr_at_fpr(
    scores: npt.ArrayLike,
    membership: npt.ArrayLike,
    fpr: float,
    *,
    confidence: float = 0.95,
    groups: npt.ArrayLike | None = None,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """Estimate the share of members above the threshold that a share `fpr` of non-members passes.

    With groups the interval is the percentile interval of 2,000 resamples of whole groups, widened where needed to the
    one for independent records: the bootstrap cannot see beyond the largest non-member scores, and collapses when
    no member lies above them.

    Args:
        scores: float [record].
        membership: bool [record].
        fpr: Wanted false positive rate; see `standing` for what so many non-members can support.
        confidence: Coverage, at least this for independent records.
        groups: int [record] or None; records of one group are not taken as independent.
        rng: Needed with groups.

    Raises:
        ValueError: Shapes differ, scores are not finite, a side is empty, fpr is outside (0, 1), or groups come without
            rng.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    values, mask = _records(scores, membership)
    value = _tpr(values, mask, fpr)
    low, high = _lower_end(values, mask, fpr, alpha), _upper_end(values, mask, fpr, alpha)
    n = {"members": int(mask.sum()), "non-members": int((~mask).sum())}
    if groups is None:
        return Estimate(value, low, high, confidence, "order-statistic bracket, Clopper-Pearson ends", n)
    codes = group_codes(groups, length=mask.size)
    resampled = _grouped_tpr(values, mask, fpr, codes, rng)
    low = min(low, float(np.quantile(resampled, alpha)))
    high = max(high, float(np.quantile(resampled, 1 - alpha)))
    n["groups"] = int(codes.max()) + 1
    return Estimate(value, low, high, confidence, "cluster bootstrap, percentile, or wider bracket", n)


def tpr_at_fpr_upper_bound(
    scores: npt.ArrayLike,
    membership: npt.ArrayLike,
    fpr: float,
    alpha: float,
    *,
    groups: npt.ArrayLike | None = None,
    rng: np.random.Generator | None = None,
) -> float:
    """Bound the TPR at `fpr` from above: the truth lies higher with probability `alpha` at most.

    Args:
        scores: float [record].
        membership: bool [record].
        fpr: Wanted false positive rate.
        alpha: One-sided error.
        groups: int [record] or None; handled as in `tpr_at_fpr`.
        rng: Needed with groups.

    Raises:
        ValueError: As for `tpr_at_fpr`.
    """
    check_fraction(alpha, name="alpha")
    values, mask = _records(scores, membership)
    bound = _upper_end(values, mask, fpr, alpha)
    if groups is None:
        return bound
    resampled = _grouped_tpr(values, mask, fpr, group_codes(groups, length=mask.size), rng)
    return max(bound, float(np.quantile(resampled, 1 - alpha)))


def tpr_at_fpr_p_value(
    scores: npt.ArrayLike,
    membership: npt.ArrayLike,
    fpr: float,
    *,
    groups: npt.ArrayLike | None = None,
    rng: np.random.Generator | None = None,
) -> float:
    """Test one-sided whether more members lie at the top than chance puts there; exact for any n.

    Without groups: were members and non-members exchangeable, the members above the floor(n0 * fpr)-th highest
    non-member would be negative hypergeometric. Members that tie with it don't count. With groups: 9,999
    permutations of status over groups of `tpr_at_fpr`; a group with both statuses counts as two.

    Args:
        scores: float [record].
        membership: bool [record].
        fpr: Wanted false positive rate. Below 1 / fpr non-members the answer is 1.
        groups: int [record] or None.
        rng: Needed with groups.

    Raises:
        ValueError: As for `tpr_at_fpr`.
    """
    values, mask = _records(scores, membership)
    rank = allowed_false_positives(int((~mask).sum()), fpr)
    if groups is not None:
        return _permutation_p_value(values, mask, fpr, group_codes(groups, length=mask.size), _given(rng))
    if rank == 0:
        return 1.0
    above = int((values[mask] > _kth_largest(values[~mask], rank)).sum())
    return exact_test_p_value(above, int(mask.sum()), int((~mask).sum()), rank)


def exact_test_p_value(above: int, n_members: int, n_non_members: int, rank: int) -> float:
    """Return P(X >= above), X the members that precede the `rank`-th non-member in a random order of all records.

    X is negative hypergeometric. At least `above` members precede it if and only if fewer than `rank` non-members are
    among the first `above + rank - 1` records: a hypergeometric tail, which SciPy computes to full precision where its
    `nhypergeom` stops at 1e-10.

    Raises:
        ValueError: A count is out of range.
    """
    check_count(n_members, name="n_members")
    if not 1 <= rank <= n_non_members:
        raise ValueError(f"rank must lie between 1 and {n_non_members} (n_non_members), got {rank}")
    if not 0 <= above <= n_members:
        raise ValueError(f"above must lie between 0 and {n_members} (n_members), got {above}")
    total = n_members + n_non_members
    return min(1.0, float(stats.hypergeom.cdf(rank - 1, total, n_non_members, above + rank - 1)))


def tpr_at_fpr_difference(
    scores: npt.ArrayLike,
    other_scores: npt.ArrayLike,
    membership: npt.ArrayLike,
    fpr: float,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    groups: npt.ArrayLike | None = None,
) -> Estimate:
    """Compare two scores of the same records by their TPR at `fpr`, by a paired bootstrap of records or groups.

    Percentile interval. Where no resample shows any difference it is widened to what so many members (or groups of
    them) could have missed, 1 - alpha ** (1 / n) either way.

    Args:
        scores: float [record].
        other_scores: float [record], of the same records.
        membership: bool [record], the same for both.
        fpr: Wanted false positive rate.
        rng: Draws the resamples.
        confidence: Nominal coverage.
        resamples: Number of resamples.
        groups: int [record] or None; groups are drawn whole.

    Raises:
        ValueError: As for `tpr_at_fpr`, or fewer than 100 resamples.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    check_count(resamples, name="resamples", least=100)
    values, mask = _records(scores, membership)
    other = float_vector(other_scores, name="other_scores", length=values.size)
    codes = np.arange(mask.size) if groups is None else group_codes(groups, length=mask.size)
    value = _tpr(values, mask, fpr) - _tpr(other, mask, fpr)
    draws = _draws(mask, codes, resamples, rng)
    differences = [_tpr(values[drawn], mask[drawn], fpr) - _tpr(other[drawn], mask[drawn], fpr) for drawn in draws]
    low, high = (float(end) for end in np.quantile(differences, (alpha, 1 - alpha)))
    if low == high:
        unseen = 1.0 - alpha ** (1 / np.unique(codes[mask]).size)
        low, high = max(low - unseen, -1.0), min(high + unseen, 1.0)
    n = {"members": int(mask.sum()), "non-members": int((~mask).sum()), "resamples": resamples}
    return Estimate(value, min(low, value), max(high, value), confidence, "paired bootstrap, percentile", n)


# --- point estimate ------------------------------------------------------------------------------------------------


def _records(scores: npt.ArrayLike, membership: npt.ArrayLike) -> tuple[FloatVector, BoolVector]:
    values = float_vector(scores, name="scores")
    return values, membership_mask(membership, length=values.size)


def _exact(fpr: float) -> Fraction:
    return Fraction(repr(check_fraction(fpr, name="fpr")))


def _kth_largest(values: FloatVector, rank: int) -> float:
    return float(np.partition(values, values.size - rank)[values.size - rank])


def _tpr(values: FloatVector, mask: BoolVector, fpr: float) -> float:
    non_members = values[~mask]
    threshold = _kth_largest(non_members, allowed_false_positives(non_members.size, fpr) + 1)
    return float(np.mean(values[mask] > threshold))


# --- interval for independent records ------------------------------------------------------------------------------


def _lower_end(values: FloatVector, mask: BoolVector, fpr: float, alpha: float) -> float:
    """Bound from below at the largest rank whose FPR exceeds `fpr` with probability alpha / 2 at most."""
    members, non_members = values[mask], values[~mask]
    ranks = np.arange(1, non_members.size + 1)
    sure = ranks[stats.beta.sf(fpr, ranks, non_members.size - ranks + 1) <= alpha / 2]
    if sure.size == 0:
        return 0.0
    above = np.sum(members > _kth_largest(non_members, int(sure[-1])))
    return float(proportion_lower_bound(above, members.size, alpha / 2))


def upper_rank(n_non_members: int, fpr: float, alpha: float) -> int | None:
    """The smallest rank whose FPR falls short of `fpr` with probability alpha / 2 at most; None where none does."""
    check_fraction(fpr, name="fpr")
    ranks = range(1, n_non_members + 1)
    place = bisect_left(ranks, x=True, key=lambda rank: bool(betainc(rank, n_non_members - rank + 1, fpr) <= alpha / 2))
    return ranks[place] if place < n_non_members else None


def _upper_end(values: FloatVector, mask: BoolVector, fpr: float, alpha: float) -> float:
    """Bound from above at `upper_rank`."""
    members, non_members = values[mask], values[~mask]
    rank = upper_rank(non_members.size, fpr, alpha)
    if rank is None:
        return 1.0
    threshold = _kth_largest(non_members, rank)
    tied_share = (rank - np.sum(non_members > threshold)) / np.sum(non_members == threshold)
    tied = math.ceil(tied_share * np.sum(members == threshold))
    return float(proportion_upper_bound(np.sum(members > threshold) + tied, members.size, alpha / 2))


# --- groups --------------------------------------------------------------------------------------------------------


def _given(rng: np.random.Generator | None) -> np.random.Generator:
    if rng is None:
        raise ValueError("rng must be given together with groups")
    return rng


def _draws(mask: BoolVector, codes: IntVector, resamples: int, rng: np.random.Generator) -> Iterator[IntVector]:
    clusters = Clusters.of(mask, codes)
    return (clusters.draw(rng) for _ in range(resamples))


def _grouped_tpr(
    values: FloatVector, mask: BoolVector, fpr: float, codes: IntVector, rng: np.random.Generator | None
) -> FloatVector:
    """Return the TPR at `fpr` of resamples of whole groups [resample]."""
    draws = _draws(mask, codes, GROUP_RESAMPLES, _given(rng))
    return np.array([_tpr(values[drawn], mask[drawn], fpr) for drawn in draws])


def _permutation_p_value(
    values: FloatVector, mask: BoolVector, fpr: float, codes: IntVector, rng: np.random.Generator
) -> float:
    units = np.unique(2 * codes + mask, return_inverse=True)[1].reshape(-1)
    status = np.zeros(units.max() + 1, dtype=np.bool_)
    status[units] = mask
    observed = _tpr(values, mask, fpr)
    as_large = sum(_tpr(values, rng.permutation(status)[units], fpr) >= observed for _ in range(GROUP_PERMUTATIONS))
    return (1 + as_large) / (1 + GROUP_PERMUTATIONS)
