"""What a number of records could have found, before anything is measured."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from scipy import optimize, special, stats

from auditor.stats._validate import FloatVector, check_count, check_fraction
from auditor.stats.intervals import proportion_upper_bound
from auditor.stats.low_fpr import allowed_false_positives, exact_test_p_value, upper_rank

__all__ = ["records_for_auc", "records_for_tpr", "smallest_detectable_auc", "smallest_detectable_tpr"]

NODES = 200
_MOST_RECORDS = 10_000_000


def smallest_detectable_tpr(
    n_members: int, n_non_members: int, fpr: float, *, alpha: float, power: float = 0.8
) -> float:
    """Compute the TPR at `fpr` from which on `low_fpr.tpr_at_fpr_p_value` rejects with the wanted power.

    For normal scores of equal variance, whose members are shifted. Given the true FPR u above the deciding
    non-member, which is Beta distributed, the members above it are binomial; the power is integrated over u by
    Gauss-Legendre quadrature of its quantiles, so the answer is the same on every call.

    Args:
        n_members: Members to be evaluated.
        n_non_members: Non-members to be evaluated.
        fpr: False positive rate of the endpoint.
        alpha: One-sided level at which the test rejects.
        power: Probability of rejection.

    Raises:
        ValueError: So few records that the test cannot reject at `alpha` whatever the members score.
    """
    check_count(n_members, name="n_members")
    check_fraction(power, name="power")
    rank = allowed_false_positives(n_non_members, fpr)
    if rank == 0:
        raise ValueError(f"n_non_members must be at least {1 / fpr:.0f} (1 / fpr), got {n_non_members}")
    needed = _critical_count(n_members, n_non_members, rank, check_fraction(alpha, name="alpha"))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    false_rates = stats.beta.ppf((nodes + 1) / 2, rank, n_non_members - rank + 1)

    def shortfall(shift: float) -> float:
        return power - float(weights / 2 @ stats.binom.sf(needed - 1, n_members, _shifted(false_rates, shift)))

    shift = float(optimize.root_scalar(shortfall, bracket=(-10.0, 40.0), method="brentq").root)
    return float(_shifted(np.array([fpr]), shift)[0])


def smallest_detectable_auc(n_members: int, n_non_members: int, *, alpha: float, power: float = 0.8) -> float:
    """Compute the AUC from which on `auc.auc_p_value` rejects with the wanted power.

    For normal scores of equal variance, whose members are shifted, and a normal Mann-Whitney statistic.

    Args:
        n_members: Members to be evaluated.
        n_non_members: Non-members to be evaluated.
        alpha: One-sided level at which the test rejects.
        power: Probability of rejection.

    Raises:
        ValueError: So few records that the test cannot reject at `alpha` whatever the members score.
    """
    pairs = check_count(n_members, name="n_members") * check_count(n_non_members, name="n_non_members")
    levels = [1 - check_fraction(alpha, name="alpha"), check_fraction(power, name="power")]
    critical, wanted = (float(quantile) for quantile in stats.norm.ppf(levels))
    # the test corrects for continuity by half a pair
    threshold = 0.5 + critical * _auc_deviation(0.5, n_members, n_non_members) + 0.5 / pairs

    def shortfall(auc: float) -> float:
        return threshold + wanted * _auc_deviation(auc, n_members, n_non_members) - auc

    if threshold >= 1:
        raise ValueError(f"n_members and n_non_members must be larger for any test at alpha {alpha} to reject")
    return float(optimize.root_scalar(shortfall, bracket=(0.5, 1.0), method="brentq").root)


def records_for_auc(limit: float, *, alpha: float, power: float = 0.8) -> int:
    """How many records a side bring the upper bound of an AUC of .5 under `limit` with the wanted probability.

    From the null variance (2n + 1) / (12 n^2) of the Mann-Whitney statistic.

    Args:
        limit: What the bound has to stay under, above .5.
        alpha: One-sided error of the bound.
        power: Probability that it does, where nothing leaks.

    Raises:
        ValueError: A level is out of range, or the limit is not between .5 and 1.
    """
    if not 0.5 < limit < 1.0:
        raise ValueError(f"limit must lie between .5 and 1, got {limit}")
    quantiles = stats.norm.ppf([1 - check_fraction(alpha, name="alpha"), check_fraction(power, name="power")])
    room = (limit - 0.5) / float(quantiles.sum())
    return int(np.ceil((1 + np.sqrt(1 + 12 * room**2)) / (12 * room**2)))


def records_for_tpr(limit: float, fpr: float, *, alpha: float, power: float = 0.8) -> int:
    """How many records a side bring the upper bound of the TPR at `fpr` under `limit`, where nothing leaks.

    Exact: the members above the deciding non-member are negative hypergeometric. Searched on a grid of two per cent.

    Args:
        limit: What the bound has to stay under, above `fpr`.
        fpr: False positive rate of the endpoint.
        alpha: One-sided error of the bound.
        power: Probability that it does.

    Raises:
        ValueError: A level is out of range, the limit is not above `fpr`, or ten million records are too few.
    """
    check_fraction(alpha, name="alpha")
    check_fraction(power, name="power")
    if not check_fraction(fpr, name="fpr") < limit < 1.0:
        raise ValueError(f"limit must lie between fpr ({fpr}) and 1, got {limit}")
    n = int(np.ceil(1 / fpr))
    while _stays_under(limit, n, fpr, alpha) < power:
        n = int(np.ceil(n * 1.02))
        if n > _MOST_RECORDS:
            raise ValueError(
                f"limit {limit} is so close to fpr {fpr} that more than {_MOST_RECORDS:,} records are needed"
            )
    return n


def _stays_under(limit: float, n: int, fpr: float, alpha: float) -> float:
    """Return the probability that n records a side, exchangeable, give an upper bound of at most `limit`."""
    rank = upper_rank(n, fpr, alpha)
    if rank is None:
        return 0.0
    counts = range(n + 1)
    allowed = bisect_right(counts, limit, key=lambda count: float(proportion_upper_bound(count, n, alpha / 2))) - 1
    if allowed < 0:
        return 0.0
    return 1.0 - exact_test_p_value(allowed + 1, n, n, rank) if allowed < n else 1.0


def _auc_deviation(auc: float, n_members: int, n_non_members: int) -> float:
    """Return the standard deviation of the Mann-Whitney statistic for normal scores of equal variance.

    Two members beat one non-member, and one member two non-members, with the same probability: that two standard
    normals of correlation 1/2 both lie below the quantile of the AUC, by Owen's T function.
    """
    quantile = float(stats.norm.ppf(auc))
    both = auc - 2 * float(special.owens_t(quantile, 1 / np.sqrt(3))) if auc < 1 else 1.0
    variance = auc * (1 - auc) + (n_members + n_non_members - 2) * (both - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (n_members * n_non_members)))


def _critical_count(n_members: int, n_non_members: int, rank: int, alpha: float) -> int:
    """Return the smallest count of members above the deciding non-member that rejects, by bisection."""
    if exact_test_p_value(n_members, n_members, n_non_members, rank) > alpha:
        raise ValueError(f"n_members must be larger for any test at alpha {alpha} to reject, got {n_members}")
    passes, rejects = 0, n_members
    while rejects - passes > 1:
        middle = (passes + rejects) // 2
        if exact_test_p_value(middle, n_members, n_non_members, rank) <= alpha:
            rejects = middle
        else:
            passes = middle
    return rejects


def _shifted(false_rates: FloatVector, shift: float) -> FloatVector:
    """Return the true positive rates of a binormal ROC at these false positive rates."""
    return np.asarray(stats.norm.cdf(stats.norm.ppf(false_rates) + shift), dtype=np.float64)
