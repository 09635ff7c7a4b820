"""What a number of records could have found, before anything is measured."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from auditor.stats._validate import FloatVector, check_count, check_fraction
from auditor.stats.low_fpr import allowed_false_positives, exact_test_p_value

__all__ = ["smallest_detectable_tpr"]

NODES = 200


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
