import numpy as np
import pytest
from scipy import stats

from auditor.stats.auc import auc_p_value, auc_upper_bound
from auditor.stats.low_fpr import tpr_at_fpr_p_value, tpr_at_fpr_upper_bound
from auditor.stats.power import records_for_auc, records_for_tpr, smallest_detectable_auc, smallest_detectable_tpr


@pytest.mark.parametrize(
    ("n", "smallest", "stated"),
    [(1000, 0.0312, 0.032), (2000, 0.0232, 0.024), (5000, 0.0174, 0.018), (10_000, 0.0149, 0.016)],
)
def test_smallest_tpr_at_one_percent_fpr(n, smallest, stated):
    found = smallest_detectable_tpr(n, n, 0.01, alpha=0.0125)
    assert found == pytest.approx(smallest, abs=5e-5)
    # The design states these rounded up to an even permille.
    assert stated - 0.002 < found <= stated


@pytest.mark.parametrize(("n_members", "n_non_members", "power"), [(400, 400, 0.8), (300, 600, 0.5)])
def test_the_test_rejects_that_often_at_this_tpr(n_members, n_non_members, power):
    found = smallest_detectable_tpr(n_members, n_non_members, 0.02, alpha=0.05, power=power)
    shift = stats.norm.ppf(found) - stats.norm.ppf(0.02)
    rng = np.random.default_rng(0)
    membership = np.arange(n_members + n_non_members) < n_members
    rejected = sum(
        tpr_at_fpr_p_value(rng.standard_normal(membership.size) + shift * membership, membership, 0.02) <= 0.05
        for _ in range(1500)
    )
    assert stats.binomtest(rejected, 1500, power).pvalue > 0.001


def test_more_records_or_less_power_find_less():
    base = smallest_detectable_tpr(1000, 1000, 0.01, alpha=0.0125)
    assert smallest_detectable_tpr(4000, 4000, 0.01, alpha=0.0125) < base
    assert smallest_detectable_tpr(1000, 1000, 0.01, alpha=0.0125, power=0.5) < base
    assert smallest_detectable_tpr(1000, 1000, 0.01, alpha=0.001) > base


@pytest.mark.parametrize(
    ("n_members", "n_non_members", "alpha", "name"),
    [(100, 99, 0.05, "n_non_members"), (1, 100, 0.005, "n_members"), (0, 100, 0.05, "n_members")],
)
def test_what_cannot_reject_is_named(n_members, n_non_members, alpha, name):
    with pytest.raises(ValueError, match=name):
        smallest_detectable_tpr(n_members, n_non_members, 0.01, alpha=alpha)


def test_bad_levels_are_named():
    with pytest.raises(ValueError, match="alpha"):
        smallest_detectable_tpr(1000, 1000, 0.01, alpha=0.0)
    with pytest.raises(ValueError, match="power"):
        smallest_detectable_tpr(1000, 1000, 0.01, alpha=0.05, power=1.0)


@pytest.mark.parametrize(
    ("n_members", "n_non_members", "alpha", "power"),
    [(60, 60, 0.01, 0.8), (150, 400, 0.01, 0.8), (300, 300, 0.05, 0.5)],
)
def test_the_test_rejects_that_often_at_this_auc(n_members, n_non_members, alpha, power):
    found = smallest_detectable_auc(n_members, n_non_members, alpha=alpha, power=power)
    shift, rng = stats.norm.ppf(found) * np.sqrt(2), np.random.default_rng(3)
    membership = np.arange(n_members + n_non_members) < n_members
    draws = (rng.standard_normal(membership.size) + shift * membership for _ in range(1500))
    rejected = sum(auc_p_value(scores, membership) <= alpha for scores in draws)
    assert stats.binomtest(rejected, 1500, power).pvalue > 0.001


def test_the_smallest_auc_is_the_one_of_the_normal_approximation_for_many_records():
    # near .5 the variance is that of the null, (2n + 1) / (12 n^2)
    n, quantiles = 100_000, stats.norm.ppf(0.99) + stats.norm.ppf(0.8)
    assert smallest_detectable_auc(n, n, alpha=0.01) - 0.5 == pytest.approx(quantiles / np.sqrt(6 * n), rel=1e-3)


def test_more_records_or_less_power_find_a_smaller_auc():
    base = smallest_detectable_auc(500, 500, alpha=0.01)
    assert smallest_detectable_auc(2000, 2000, alpha=0.01) < base
    assert smallest_detectable_auc(500, 500, alpha=0.01, power=0.5) < base
    assert smallest_detectable_auc(500, 500, alpha=0.001) > base


@pytest.mark.parametrize(("n", "alpha"), [(3, 0.01), (1, 0.05), (0, 0.05)])
def test_too_few_records_for_any_auc_are_named(n, alpha):
    with pytest.raises(ValueError, match="n_members"):
        smallest_detectable_auc(n, n, alpha=alpha)


@pytest.mark.parametrize("limit", [0.6, 0.55, 0.52])
def test_the_records_for_an_auc_bound_are_what_simulation_needs(limit):
    n, alpha, rng = records_for_auc(limit, alpha=0.0125), 0.0125, np.random.default_rng(1)
    membership = np.arange(2 * n) < n
    under = [auc_upper_bound(rng.normal(size=2 * n), membership, alpha) <= limit for _ in range(300)]
    assert 0.72 < np.mean(under) < 0.88


def test_the_records_for_a_tpr_bound_are_what_simulation_needs():
    n, alpha, rng = records_for_tpr(0.05, 0.01, alpha=0.0125), 0.0125, np.random.default_rng(2)
    membership = np.arange(2 * n) < n
    scores = (rng.normal(size=2 * n) for _ in range(300))
    under = [tpr_at_fpr_upper_bound(one, membership, 0.01, alpha) <= 0.05 for one in scores]
    assert 0.72 < np.mean(under) < 0.92
    assert 300 < n < 1_000


@pytest.mark.parametrize(("limit", "fpr", "alpha"), [(0.05, 0.01, 0.0125), (0.02, 0.01, 0.05), (0.3, 0.1, 0.01)])
def test_the_records_for_a_tpr_bound_are_the_first_on_the_grid(limit, fpr, alpha):
    def naive(n):
        ranks, counts = np.arange(1, n + 1), np.arange(n + 1)
        rank = ranks[stats.beta.cdf(fpr, ranks, n - ranks + 1) <= alpha / 2]
        under = counts[stats.beta.isf(alpha / 2, counts + 1, n - counts) <= limit]
        return stats.nhypergeom.cdf(under[-1], 2 * n, n, rank[0]) if rank.size and under.size else 0.0

    n = int(np.ceil(1 / fpr))
    while naive(n) < 0.8:
        n = int(np.ceil(1.02 * n))
    assert records_for_tpr(limit, fpr, alpha=alpha) == n


def test_a_hopeless_limit_is_refused_in_time():
    with pytest.raises(ValueError, match="10,000,000 records are needed"):
        records_for_tpr(0.0101, 0.01, alpha=0.01)


def test_a_tighter_limit_needs_more_records():
    assert records_for_tpr(0.02, 0.01, alpha=0.0125) > records_for_tpr(0.03, 0.01, alpha=0.0125)
    assert records_for_auc(0.52, alpha=0.0125) > records_for_auc(0.55, alpha=0.0125)


@pytest.mark.parametrize(
    "call", [lambda: records_for_auc(0.5, alpha=0.05), lambda: records_for_tpr(0.01, 0.01, alpha=0.05)]
)
def test_a_limit_that_nothing_could_meet_is_refused(call):
    with pytest.raises(ValueError, match="limit"):
        call()
