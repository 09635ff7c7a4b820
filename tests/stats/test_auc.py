import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.stats.auc import auc, auc_difference, auc_p_value, auc_upper_bound, stratified_auc
from auditor.stats.groups import effective_groups


def wins(members, non_members):
    """[member, non-member]: 1 where the member scores above, 0.5 on a tie."""
    a, b = members[:, None], non_members[None, :]
    return (a > b) + 0.5 * (a == b)


def naive_auc(scores, membership):
    return wins(scores[membership], scores[~membership]).mean()


def naive_variance(won):
    """DeLong's from the full matrix of pairs; works on a difference of two matrices as well."""
    rows, columns = won.mean(axis=1), won.mean(axis=0)
    return rows.var(ddof=1) / rows.size + columns.var(ddof=1) / columns.size


def naive_clustered_variance(scores, membership, groups):
    """Obuchowski (1997), with loops over clusters and the correction for unequal ones."""
    won = wins(scores[membership], scores[~membership])
    sides = ((won.mean(axis=1), groups[membership]), (won.mean(axis=0), groups[~membership]))
    total = 0.0
    for group in np.unique(groups):
        deviation = 0.0
        for placements, own in sides:
            shares = {name: np.mean(own == name) for name in np.unique(own)}
            p = shares.get(group, 0.0)
            left = (1 - p) ** 2 + sum(other**2 for name, other in shares.items() if name != group)
            deviation += (placements - won.mean())[own == group].sum() / own.size / np.sqrt(left)
        total += deviation**2
    return total


def logit_interval(value, variance, quantile):
    centre, reach = np.log(value / (1 - value)), quantile * np.sqrt(variance) / (value * (1 - value))
    return 1 / (1 + np.exp(-(centre - reach))), 1 / (1 + np.exp(-(centre + reach)))


def binormal(rng, n, shift, n_non_members=None):
    membership = np.arange(n + (n if n_non_members is None else n_non_members)) < n
    return rng.standard_normal(membership.size) + shift * membership, membership


@st.composite
def tied_records(draw):
    size = draw(st.integers(6, 40))
    scores = draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size))
    membership = draw(st.permutations([index % 3 == 0 for index in range(size)]))
    return np.array(scores, dtype=float), np.array(membership)


# --- value and interval --------------------------------------------------------------------------------------------


def test_four_records_by_hand():
    membership = np.array([True, False, True, False])
    assert auc([0.9, 0.8, 0.7, 0.1], membership).value == 0.75
    assert auc([0.9, 0.8, 0.8, 0.1], membership).value == 0.875


@settings(deadline=None, derandomize=True)
@given(records=tied_records())
def test_agrees_with_the_matrix_of_all_pairs(records):
    scores, membership = records
    estimate = auc(scores, membership)
    assert estimate.value == pytest.approx(naive_auc(scores, membership))
    assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0
    variance = naive_variance(wins(scores[membership], scores[~membership]))
    if variance > 1e-12:
        interval = logit_interval(estimate.value, variance, stats.norm.ppf(0.975))
        assert (estimate.low, estimate.high) == pytest.approx(interval)


@settings(deadline=None, derandomize=True)
@given(records=tied_records(), seed=st.integers(0, 99))
def test_order_of_records_and_monotone_transforms_change_nothing(records, seed):
    scores, membership = records
    order = np.random.default_rng(seed).permutation(scores.size)
    estimate = auc(scores, membership)
    for other in (auc(scores[order], membership[order]), auc(np.exp(scores) - 40, membership)):
        assert (other.value, other.low, other.high) == pytest.approx((estimate.value, estimate.low, estimate.high))


@settings(deadline=None, derandomize=True)
@given(records=tied_records())
def test_turning_the_sign_mirrors_the_interval(records):
    scores, membership = records
    estimate, mirrored = auc(scores, membership), auc(-scores, membership)
    ends = (1 - estimate.value, 1 - estimate.high, 1 - estimate.low)
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx(ends, abs=1e-9)


def test_binormal_truth_is_covered_as_often_as_said():
    rng = np.random.default_rng(0)
    for shift in (0.0, 1.0):
        truth = stats.norm.cdf(shift / np.sqrt(2))
        covered = bounded = 0
        for _ in range(400):
            scores, membership = binormal(rng, 80, shift, 120)
            estimate = auc(scores, membership, confidence=0.9)
            covered += estimate.low <= truth <= estimate.high
            bounded += truth <= auc_upper_bound(scores, membership, 0.05)
        assert stats.binomtest(covered, 400, 0.9).pvalue > 0.001
        assert stats.binomtest(bounded, 400, 0.95).pvalue > 0.001


def test_upper_bound_is_the_end_of_the_two_sided_interval_at_twice_the_error():
    scores, membership = binormal(np.random.default_rng(1), 50, 0.4)
    assert auc_upper_bound(scores, membership, 0.05) == pytest.approx(auc(scores, membership, confidence=0.9).high)


@pytest.mark.parametrize(("n", "bound"), [(1000, 0.53), (2000, 0.52)])
def test_simultaneous_bound_with_zero_leak(n, bound):
    rng = np.random.default_rng(2)
    bounds = [auc_upper_bound(*binormal(rng, n, 0.0), 0.0125) for _ in range(60)]
    assert np.median(bounds) == pytest.approx(bound, abs=0.005)


def nearest_centre(rng, n, features=8, folds=5):
    """A cross-fitted score of which each pair of records counts twice; there is nothing to find."""
    membership, fold = np.arange(2 * n) < n, rng.permutation(2 * n) % folds
    x = rng.standard_normal((2 * n, features))
    sign = np.where(membership, 1.0, -1.0)
    apart = np.stack([(sign * (fold != one)) @ x for one in range(folds)])
    return (x * apart[fold]).sum(1), membership


def test_cross_fitted_scores_vary_twice_as_much_as_delong_says():
    """1,500 times: .95 and .025 give or take four standard errors; the plain interval misses both."""
    rng = np.random.default_rng(12)
    drawn = [nearest_centre(rng, 100) for _ in range(1500)]
    for cross_fitted, (least, most), alarms in ((True, (0.927, 0.973), 0.041), (False, (0.7, 0.9), 1.0)):
        found = [auc(*one, cross_fitted=cross_fitted) for one in drawn]
        assert least < np.mean([one.low <= 0.5 <= one.high for one in found]) < most
        assert np.mean([one.low > 0.5 for one in found]) < alarms
    assert "doubled for cross-fitting" in auc(*drawn[0], cross_fitted=True).method


# --- no spread -----------------------------------------------------------------------------------------------------


def test_perfect_separation_is_judged_by_disjoint_pairs():
    membership = np.arange(50) < 20
    estimate = auc(membership.astype(float), membership)
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.025 ** (1 / 20))
    assert estimate.method == "Clopper-Pearson on disjoint pairs"
    mirrored = auc(-membership.astype(float), membership)
    assert (mirrored.value, mirrored.low) == (0.0, 0.0)
    assert mirrored.high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_constant_scores_say_nothing():
    membership = np.arange(40) < 20
    estimate = auc(np.zeros(40), membership)
    exact = stats.binomtest(10, 20).proportion_ci(method="exact")
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, exact.low, exact.high))
    assert auc_p_value(np.zeros(40), membership) == 1.0
    assert auc_p_value(np.zeros(40), membership, groups=np.arange(40)) > 0.5


def test_one_record_on_a_side_decides_nothing():
    estimate = auc([1.0, 0.5, 2.0, 0.0], np.array([True, False, False, False]))
    assert estimate.value == pytest.approx(2 / 3)
    assert estimate.low < 0.1
    assert estimate.high > 0.98


def test_group_sums_without_spread_are_not_taken_for_certainty():
    # Twelve groups that are copies of each other on either side: rounding would leave a variance of 1e-33.
    scores = np.concatenate([np.tile([0.5, 1.5, 5.5], 12), np.tile(np.arange(7.0), 12)])
    membership = np.arange(120) < 36
    groups = np.concatenate([np.repeat(np.arange(12), 3), np.repeat(np.arange(12, 24), 7)])
    estimate = auc(scores, membership, groups=groups)
    won = 12 * estimate.value
    low, high = stats.beta.ppf(0.025, won, 13 - won), stats.beta.ppf(0.975, won + 1, 12 - won)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert auc_p_value(-scores, membership, groups=groups) > 0.05


# --- test ----------------------------------------------------------------------------------------------------------


def test_p_value_is_uniform_without_a_leak_and_small_with_one():
    rng = np.random.default_rng(3)
    p_values = [auc_p_value(*binormal(rng, 60, 0.0)) for _ in range(600)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert auc_p_value(*binormal(rng, 60, 1.0)) < 1e-4
    assert auc_p_value(*binormal(rng, 60, -1.0)) > 1 - 1e-4


def test_p_value_keeps_its_level_with_two_valued_scores():
    rng = np.random.default_rng(4)
    membership = np.arange(400) < 200
    rejected = sum(auc_p_value((rng.random(400) < 0.9).astype(float), membership) <= 0.05 for _ in range(600))
    assert rejected <= stats.binom.ppf(0.999, 600, 0.05)


# --- groups --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_clustered_variance_agrees_with_loops_over_clusters(seed):
    rng = np.random.default_rng(seed)
    membership, groups = rng.random(150) < 0.4, (40 * rng.random(150) ** 1.3).astype(int)
    scores = (rng.standard_normal(150) + rng.standard_normal(40)[groups]).round(1)
    assert effective_groups(membership, groups).enough
    fourth = [np.unique(groups[side], return_counts=True)[1] ** 2.0 for side in (membership, ~membership)]
    freedom = min(squares.sum() ** 2 / (squares**2).sum() for squares in fourth) - 1
    variance = naive_clustered_variance(scores, membership, groups)
    estimate = auc(scores, membership, groups=groups)
    assert (estimate.low, estimate.high) == pytest.approx(
        logit_interval(estimate.value, variance, stats.t.ppf(0.975, freedom))
    )
    z = (estimate.value - 0.5) / np.sqrt(variance)
    assert auc_p_value(scores, membership, groups=groups) == pytest.approx(stats.t.sf(z, freedom))
    one_stratum = stratified_auc(scores, membership, np.zeros(150, int), groups=groups)
    assert one_stratum.p_value == pytest.approx(stats.t.sf(z, freedom))
    assert one_stratum.estimate.low == pytest.approx(estimate.low)


def test_groups_of_one_record_are_delongs():
    scores, membership = binormal(np.random.default_rng(5), 400, 0.3)
    plain, grouped = auc(scores, membership), auc(scores, membership, groups=np.arange(800))
    assert (grouped.low, grouped.high) == pytest.approx((plain.low, plain.high), abs=2e-4)
    assert grouped.n["groups"] == 800
    assert "groups" not in plain.n


def test_copies_of_records_in_a_group_add_no_evidence():
    scores, membership = binormal(np.random.default_rng(6), 100, 0.3)
    once = auc(scores, membership, groups=np.arange(200))
    copied = auc(np.repeat(scores, 5), np.repeat(membership, 5), groups=np.repeat(np.arange(200), 5))
    assert (copied.value, copied.low, copied.high) == pytest.approx((once.value, once.low, once.high))


@pytest.mark.parametrize("spanning", [False, True])
def test_grouped_coverage_and_level(spanning):
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(80), 4)
    membership = np.arange(320) % 2 == 0 if spanning else groups < 40
    covered = rejected = 0
    for _ in range(300):
        scores = rng.standard_normal(320) + 1.5 * rng.standard_normal(80)[groups]
        estimate = auc(scores, membership, confidence=0.9, groups=groups)
        covered += estimate.low <= 0.5 <= estimate.high
        rejected += auc_p_value(scores, membership, groups=groups) <= 0.05
    assert stats.binomtest(covered, 300, 0.9).pvalue > 0.001
    assert stats.binomtest(rejected, 300, 0.05).pvalue > 0.001


def one_side(*large, records=300):
    """[record]: groups of the sizes given, and of one record for the rest."""
    return np.concatenate([np.repeat(np.arange(len(large)), large), 100 + np.arange(records - sum(large))])


@pytest.mark.parametrize("own", [one_side(288), np.arange(300) % 9, np.zeros(300, int)])
def test_too_few_effective_groups_decide_nothing(own):
    groups, membership = np.concatenate([own, own + 1000]), np.arange(600) < 300
    scores = membership + np.random.default_rng(16).standard_normal(600)
    estimate = auc(scores, membership, groups=groups)
    assert (estimate.low, estimate.high) == (0.0, 1.0)
    assert "effective groups" in estimate.method
    assert auc_p_value(scores, membership, groups=groups) == 1.0
    assert auc_upper_bound(scores, membership, 0.05, groups=groups) == 1.0
    comparison = auc_difference(scores, -scores, membership, groups=groups)
    assert (comparison.estimate.low, comparison.estimate.high, comparison.p_value) == (-1.0, 1.0, 1.0)
    matched = stratified_auc(scores, membership, np.arange(600) % 5, groups=groups)
    assert (matched.estimate.low, matched.estimate.high, matched.p_value) == (0.0, 1.0, 1.0)
    assert not matched.testable


def test_effective_groups_are_kishs():
    groups, membership = np.concatenate([one_side(288), 1000 + np.arange(300) % 10]), np.arange(600) < 300
    worth = effective_groups(membership, groups)
    assert (worth.total, worth.enough) == (23, False)
    assert (worth.members, worth.non_members) == pytest.approx((300**2 / (288**2 + 12), 10.0))
    assert effective_groups(np.arange(300) < 150, np.arange(300) % 10).enough


@pytest.mark.parametrize("own", [one_side(93), one_side(53, 53, 53), one_side(*[41] * 5), np.arange(300) % 50])
@pytest.mark.parametrize("strength", [0.0, 0.5, 3.0])
def test_unequal_groups_keep_level_and_bound(own, strength):
    rng = np.random.default_rng(17)
    groups = np.unique(np.concatenate([own, own + 1000]), return_inverse=True)[1]
    membership, strata = np.arange(600) < 300, np.arange(600) % 10
    rejected = np.zeros(3)
    for _ in range(120):
        scores = rng.standard_normal(600) + strength * rng.standard_normal(groups.max() + 1)[groups]
        rejected += [
            auc_p_value(scores, membership, groups=groups) <= 0.05,
            auc_upper_bound(scores, membership, 0.05, groups=groups) < 0.5,
            stratified_auc(scores, membership, strata, groups=groups).p_value <= 0.05,
        ]
    assert rejected.max() <= stats.binom.ppf(0.999, 120, 0.05)


def test_a_leak_is_still_found_with_groups_in_strata():
    rng = np.random.default_rng(18)
    groups, membership = np.arange(600) // 5, np.arange(600) < 300
    scores = membership + rng.standard_normal(600) + 0.5 * rng.standard_normal(120)[groups]
    assert stratified_auc(scores, membership, rng.integers(0, 10, 600), groups=groups).p_value < 1e-6


# --- paired difference ---------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True)
@given(records=tied_records(), seed=st.integers(0, 99))
def test_difference_agrees_with_the_difference_of_all_pairs(records, seed):
    scores, membership = records
    other = scores + np.random.default_rng(seed).integers(-2, 3, size=scores.size)
    won = wins(scores[membership], scores[~membership]) - wins(other[membership], other[~membership])
    comparison, variance = auc_difference(scores, other, membership), naive_variance(won)
    estimate = comparison.estimate
    assert estimate.value == pytest.approx(won.mean(), abs=1e-12)
    assert -1.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0
    if variance > 1e-12:
        assert estimate.low == pytest.approx(max(won.mean() - stats.norm.ppf(0.975) * np.sqrt(variance), -1))
        assert comparison.p_value == pytest.approx(stats.norm.sf(won.mean() / np.sqrt(variance)))


def test_difference_turns_with_the_order_and_pairs_what_is_shared():
    rng = np.random.default_rng(8)
    scores, membership = binormal(rng, 200, 0.5)
    other = scores + 0.2 * rng.standard_normal(400)
    there, back = auc_difference(scores, other, membership), auc_difference(other, scores, membership)
    assert there.estimate.value == pytest.approx(-back.estimate.value)
    assert there.estimate.low == pytest.approx(-back.estimate.high)
    assert there.p_value == pytest.approx(1 - back.p_value)
    alone = auc(scores, membership)
    assert there.estimate.high - there.estimate.low < 0.5 * (alone.high - alone.low)


def test_difference_keeps_its_level_with_extra_variance():
    rng = np.random.default_rng(9)
    membership = np.arange(240) < 120
    plain, wide = 0, 0
    for _ in range(400):
        shared, model_effect = rng.standard_normal(240), 0.15 * rng.standard_normal()
        scores = shared + rng.standard_normal(240) + model_effect * membership
        other = shared + rng.standard_normal(240)
        # A shift d moves the AUC by d / (2 sqrt(pi) sigma), here sigma is sqrt(2).
        extra = (0.15 / (2 * np.sqrt(2 * np.pi))) ** 2
        plain += auc_difference(scores, other, membership).p_value <= 0.05
        wide += auc_difference(scores, other, membership, extra_variance=extra).p_value <= 0.05
    assert stats.binomtest(wide, 400, 0.05).pvalue > 0.001
    assert plain > wide


def test_the_same_ranking_differs_by_exactly_nothing():
    scores, membership = binormal(np.random.default_rng(10), 30, 0.5)
    comparison = auc_difference(scores, np.exp(scores), membership)
    assert (comparison.estimate.low, comparison.estimate.value, comparison.estimate.high) == (0, 0, 0)
    assert comparison.p_value == 1.0
    widened = auc_difference(scores, np.exp(scores), membership, extra_variance=0.01).estimate
    assert widened.high == pytest.approx(0.1 * stats.norm.ppf(0.975))


def test_a_difference_without_spread_is_judged_by_pairs():
    membership = np.arange(12) < 6
    comparison = auc_difference(membership.astype(float), np.zeros(12), membership)
    assert comparison.estimate.value == 0.5
    assert comparison.estimate.low < 0 < comparison.estimate.high
    assert comparison.p_value > 0.05
    with_extra = auc_difference(membership.astype(float), np.zeros(12), membership, extra_variance=1e-6).estimate
    assert with_extra.low == pytest.approx(0.5 - stats.norm.ppf(0.975) * np.sqrt(1 / 6 + 1e-6))


def test_copies_of_records_add_no_evidence_to_a_difference():
    rng = np.random.default_rng(11)
    scores, membership = binormal(rng, 60, 0.5)
    other = scores + rng.standard_normal(120)
    once = auc_difference(scores, other, membership, groups=np.arange(120))
    copied = auc_difference(
        np.repeat(scores, 3), np.repeat(other, 3), np.repeat(membership, 3), groups=np.repeat(np.arange(120), 3)
    )
    assert copied.p_value == pytest.approx(once.p_value)
    assert copied.estimate.low == pytest.approx(once.estimate.low)


# --- strata --------------------------------------------------------------------------------------------------------


def test_strata_by_hand():
    scores = np.array([2.0, 1.0, 5.0, 9.0, 8.0, 7.0])
    membership = np.array([True, False, True, False, True, False])
    result = stratified_auc(scores, membership, np.array([0, 0, 1, 1, 1, 1]))
    assert result.estimate.value == pytest.approx((0.5 * 1.0 + 1.0 * 0.25) / 1.5)
    assert result.matched_pairs == 3


@pytest.mark.parametrize("decimals", [8, 0])
def test_one_stratum_is_the_plain_auc_with_and_without_ties(decimals):
    scores, membership = binormal(np.random.default_rng(12), 80, 0.4)
    scores = scores.round(decimals)
    result, plain = stratified_auc(scores, membership, np.zeros(160, int)), auc(scores, membership)
    assert (result.estimate.low, result.estimate.high) == pytest.approx((plain.low, plain.high))
    asymptotic = stats.mannwhitneyu(
        scores[membership], scores[~membership], alternative="greater", method="asymptotic", use_continuity=False
    )
    assert result.p_value == pytest.approx(asymptotic.pvalue)


@pytest.mark.parametrize(("members", "non_members", "count"), [(1, 1, 30), (1, 3, 20), (2, 2, 20), (8, 5, 8)])
def test_strata_take_their_shift_away(members, non_members, count):
    rng = np.random.default_rng(13)
    membership = np.tile(np.arange(members + non_members) < members, count)
    strata = np.repeat(np.arange(count), members + non_members)
    covered = rejected = 0
    for _ in range(150):
        scores = rng.standard_normal(strata.size) + 5 * rng.standard_normal(count)[strata]
        result = stratified_auc(scores, membership, strata, confidence=0.9)
        covered += result.estimate.low <= 0.5 <= result.estimate.high
        rejected += result.p_value <= 0.05
    assert covered >= stats.binom.ppf(0.001, 150, 0.88)
    assert rejected <= stats.binom.ppf(0.999, 150, 0.055)


def test_a_shift_between_strata_alone_is_no_leak():
    rng = np.random.default_rng(14)
    strata = np.repeat([0, 1], 300)
    membership = rng.random(600) < np.where(strata == 0, 0.8, 0.2)
    scores = rng.standard_normal(600) - 3 * strata
    assert auc_p_value(scores, membership) < 1e-10
    assert stratified_auc(scores, membership, strata).p_value > 0.01


def test_perfect_matched_pairs_are_an_exact_sign_test():
    membership = np.arange(22) % 2 == 0
    result = stratified_auc(membership.astype(float), membership, np.arange(22) // 2)
    assert result.estimate.value == 1.0
    assert result.estimate.low == pytest.approx(0.025 ** (1 / 11))


def test_strata_without_a_match_say_nothing():
    result = stratified_auc([3.0, 2.0, 1.0], np.array([True, True, False]), np.array([0, 0, 1]))
    assert (result.estimate.low, result.estimate.value, result.estimate.high) == (0.0, 0.5, 1.0)
    assert (result.p_value, result.matched_pairs) == (1.0, 0)


# --- input ---------------------------------------------------------------------------------------------------------


def test_inputs_are_left_as_they_were():
    scores, membership = binormal(np.random.default_rng(15), 20, 0.4)
    for array in (scores, membership):
        array.setflags(write=False)
    groups = np.arange(40) // 2
    groups.setflags(write=False)
    assert auc(scores, membership, groups=groups).value == auc(scores.copy(), membership.copy()).value


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda s, m: auc(s[:-1], m), "membership"),
        (lambda s, m: auc(s, np.ones(4, bool)), "membership"),
        (lambda s, m: auc([1.0, np.nan, 0.0, 0.0], m), "scores"),
        (lambda s, m: auc(s, m, confidence=95), "confidence"),
        (lambda s, m: auc(s, m, groups=np.zeros(3, int)), "groups"),
        (lambda s, m: auc(s, m, groups=np.arange(4.0)), "groups"),
        (lambda s, m: auc_p_value(s, m[:, None]), "membership"),
        (lambda s, m: auc_upper_bound(s, m, 0.0), "alpha"),
        (lambda s, m: auc_difference(s, s[:3], m), "other_scores"),
        (lambda s, m: auc_difference(s, s, m, extra_variance=-1.0), "extra_variance"),
        (lambda s, m: stratified_auc(s, m, np.zeros(3, int)), "strata"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(ValueError, match=name):
        call(np.arange(4.0), np.array([True, False, True, False]))
