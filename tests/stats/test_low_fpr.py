from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.stats.auc import auc_p_value
from auditor.stats.low_fpr import (
    Standing,
    allowed_false_positives,
    exact_test_p_value,
    standing,
    tpr_at_fpr,
    tpr_at_fpr_difference,
    tpr_at_fpr_p_value,
    tpr_at_fpr_upper_bound,
)


def naive_tpr(scores, membership, fpr):
    ranked = sorted(scores[~membership], reverse=True)
    threshold = ranked[allowed_false_positives(len(ranked), fpr)]
    return sum(score > threshold for score in scores[membership]) / membership.sum()


def binormal(rng, n, shift, n_non_members=None):
    membership = np.arange(n + (n if n_non_members is None else n_non_members)) < n
    return rng.standard_normal(membership.size) + shift * membership, membership


def binormal_tpr(fpr, shift):
    return stats.norm.cdf(shift + stats.norm.ppf(fpr))


@st.composite
def tied_records(draw):
    size = draw(st.integers(2, 50))
    scores = draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size))
    membership = draw(st.lists(st.booleans(), min_size=size - 2, max_size=size - 2))
    return np.array(scores, dtype=float), np.array([True, False, *membership])


# --- what n supports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "fpr", "expected"),
    [
        (99, 0.01, Standing.REFUSE),
        (100, 0.01, Standing.APPENDIX),
        (999, 0.01, Standing.APPENDIX),
        (1000, 0.01, Standing.HEADLINE),
        (9999, 0.001, Standing.APPENDIX),
        (10_000, 0.001, Standing.HEADLINE),
    ],
)
def test_standing(n, fpr, expected):
    assert standing(n, fpr) is expected


def test_allowed_false_positives_takes_the_fpr_as_written():
    assert allowed_false_positives(100, 0.29) == 29
    assert allowed_false_positives(1000, 0.001) == 1
    assert allowed_false_positives(999, 0.001) == 0


# --- value ---------------------------------------------------------------------------------------------------------


def test_point_by_hand():
    scores = np.array([9.0, 7.0, 5.0, 1.0, 8.0, 6.0, 4.0, 2.0])
    membership = np.arange(8) < 4
    assert tpr_at_fpr(scores, membership, 0.1).value == 1 / 4
    assert tpr_at_fpr(scores, membership, 0.25).value == 2 / 4
    assert tpr_at_fpr(scores, membership, 0.5).value == 3 / 4


def test_ties_with_the_threshold_count_as_non_member():
    scores = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    membership = np.arange(8) < 4
    assert tpr_at_fpr(scores, membership, 0.2).value == 0.0
    assert tpr_at_fpr(scores, membership, 0.25).value == 0.75


@settings(deadline=None, derandomize=True, max_examples=200)
@given(records=tied_records(), fpr=st.floats(0.001, 0.999), confidence=st.floats(0.01, 0.999))
def test_value_is_naive_and_lies_inside_its_interval(records, fpr, confidence):
    scores, membership = records
    estimate = tpr_at_fpr(scores, membership, fpr, confidence=confidence)
    assert estimate.value == pytest.approx(naive_tpr(scores, membership, fpr))
    assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0


@settings(deadline=None, derandomize=True)
@given(records=tied_records(), fpr=st.floats(0.01, 0.9), seed=st.integers(0, 99))
def test_order_of_records_and_monotone_transforms_change_nothing(records, fpr, seed):
    scores, membership = records
    order = np.random.default_rng(seed).permutation(scores.size)
    expected = tpr_at_fpr(scores, membership, fpr), tpr_at_fpr_p_value(scores, membership, fpr)
    for values, mask in ((scores[order], membership[order]), (np.exp(scores) - 9, membership)):
        assert (tpr_at_fpr(values, mask, fpr), tpr_at_fpr_p_value(values, mask, fpr)) == expected


# --- interval ------------------------------------------------------------------------------------------------------


def test_interval_by_its_definition():
    scores, membership = binormal(np.random.default_rng(0), 150, 1.0, 200)
    members, ranked = scores[membership], np.sort(scores[~membership])[::-1]
    error = 0.025
    ranks = np.arange(1, 201)
    high_rank = next(k for k in ranks if stats.binom.sf(k - 1, 200, 0.1) <= error / 2)
    low_rank = max(k for k in ranks if stats.binom.cdf(k - 1, 200, 0.1) <= error / 2)
    above_high, above_low = (int(np.sum(members > ranked[k - 1])) for k in (high_rank, low_rank))
    low = stats.binomtest(above_low, 150).proportion_ci(1 - error, method="exact").low
    high = stats.binomtest(above_high, 150).proportion_ci(1 - error, method="exact").high
    estimate = tpr_at_fpr(scores, membership, 0.1)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert tpr_at_fpr_upper_bound(scores, membership, 0.1, error) == pytest.approx(high)


@pytest.mark.parametrize(("n", "shift", "fpr"), [(60, 1.0, 0.1), (100, 0.0, 0.01), (300, 2.0, 0.02), (30, 0.5, 0.01)])
def test_binormal_truth_is_covered(n, shift, fpr):
    rng = np.random.default_rng(1)
    truth = binormal_tpr(fpr, shift)
    missed = escaped = 0
    for _ in range(300):
        scores, membership = binormal(rng, n, shift)
        estimate = tpr_at_fpr(scores, membership, fpr, confidence=0.8)
        missed += not estimate.low <= truth <= estimate.high
        escaped += tpr_at_fpr_upper_bound(scores, membership, fpr, 0.1) < truth
    assert missed <= stats.binom.ppf(0.999, 300, 0.2)
    assert escaped <= stats.binom.ppf(0.999, 300, 0.1)


def test_too_few_non_members_leave_everything_open():
    scores, membership = binormal(np.random.default_rng(2), 500, 3.0, 3)
    estimate = tpr_at_fpr(scores, membership, 0.5)
    assert (estimate.low, estimate.high) == (0.0, 1.0)


@pytest.mark.parametrize(("n", "expected"), [(1000, 0.033), (2000, 0.025)])
def test_simultaneous_bound_with_zero_leak(n, expected):
    rng = np.random.default_rng(3)
    bounds = [tpr_at_fpr_upper_bound(*binormal(rng, n, 0.0), 0.01, 0.0125) for _ in range(60)]
    assert np.median(bounds) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize(("p_members", "p_non_members"), [(0.6, 0.5), (0.05, 0.02), (0.04, 0.008), (1.0, 0.5)])
def test_upper_bound_holds_against_coin_flips_on_two_valued_scores(p_members, p_non_members):
    rng = np.random.default_rng(4)
    membership = np.arange(800) < 400
    corners = [0.0, p_non_members, 1.0], [0.0, p_members, 1.0]
    truth = np.interp(0.01, *corners)
    escaped = 0
    for _ in range(400):
        scores = (rng.random(800) < np.where(membership, p_members, p_non_members)).astype(float)
        escaped += tpr_at_fpr_upper_bound(scores, membership, 0.01, 0.05) < truth
    assert escaped <= stats.binom.ppf(0.999, 400, 0.05)


# --- exact test ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_members", "n_non_members"), [(3, 4), (5, 3), (4, 4)])
def test_p_value_counts_all_arrangements(n_members, n_non_members):
    total = n_members + n_non_members
    arrangements = [np.isin(np.arange(total), chosen) for chosen in combinations(range(total), n_members)]
    for rank in range(1, n_non_members):
        counts = [int(m[: np.flatnonzero(~m)[rank - 1]].sum()) for m in arrangements]
        for membership, above in zip(arrangements, counts, strict=True):
            share = np.mean([count >= above for count in counts])
            assert exact_test_p_value(above, n_members, n_non_members, rank) == pytest.approx(share)
            fpr = (rank + 0.5) / n_non_members
            assert tpr_at_fpr_p_value(-np.arange(total), membership, fpr) == pytest.approx(share)


def test_p_value_is_the_negative_hypergeometric_tail():
    for above in (0, 5, 12, 25, 40):
        tail = stats.nhypergeom.sf(above - 1, 1700, 700, 10)
        assert exact_test_p_value(above, 700, 1000, 10) == pytest.approx(tail, abs=1e-8)


def test_p_value_agrees_with_shuffling():
    rng = np.random.default_rng(5)
    scores, membership = binormal(rng, 150, 0.7, 200)
    observed = tpr_at_fpr_p_value(scores, membership, 0.05)
    shuffled = [tpr_at_fpr_p_value(scores, rng.permutation(membership), 0.05) for _ in range(1000)]
    assert 0.005 < observed < 0.3
    assert stats.binomtest(int(np.sum(np.array(shuffled) <= observed + 1e-12)), 1000, observed).pvalue > 0.001


@pytest.mark.parametrize("levels", [2, 5])
def test_ties_never_make_the_test_too_eager(levels):
    rng = np.random.default_rng(6)
    membership = np.arange(400) < 200
    rejected = sum(
        tpr_at_fpr_p_value(rng.integers(levels, size=400).astype(float), membership, 0.05) <= 0.05 for _ in range(1000)
    )
    assert rejected <= stats.binom.ppf(0.999, 1000, 0.05)


def test_tied_members_are_not_counted():
    scores = np.concatenate([np.ones(50), np.ones(1), np.zeros(49)])
    assert tpr_at_fpr_p_value(scores, np.arange(100) < 50, 0.02) > 0.4


def test_a_leak_at_the_top_only_is_found_here_and_not_by_the_auc():
    rng = np.random.default_rng(7)
    scores, membership = binormal(rng, 1000, 0.0)
    scores[:40] += 6
    assert tpr_at_fpr_p_value(scores, membership, 0.01) < 1e-4
    assert auc_p_value(scores, membership) > 0.01
    assert tpr_at_fpr_p_value(-scores, membership, 0.01) > 0.01


def test_below_one_false_positive_nothing_can_be_rejected():
    scores, membership = binormal(np.random.default_rng(8), 99, 50.0)
    assert tpr_at_fpr_p_value(scores, membership, 0.01) == 1.0


# --- groups --------------------------------------------------------------------------------------------------------


def grouped_records(rng, n_groups, size, *, spanning):
    groups = np.repeat(np.arange(n_groups), size)
    membership = np.arange(groups.size) % 2 == 0 if spanning else groups < n_groups // 2
    scores = 0.5 * rng.standard_normal(groups.size) + rng.standard_normal(n_groups)[groups]
    return scores, membership, groups


def test_groups_never_narrow_the_interval_and_are_reproducible():
    scores, membership, groups = grouped_records(np.random.default_rng(9), 60, 10, spanning=False)
    plain = tpr_at_fpr(scores, membership, 0.05)
    first, again = (tpr_at_fpr(scores, membership, 0.05, groups=groups, rng=np.random.default_rng(0)) for _ in range(2))
    assert first == again
    assert first.value == plain.value
    assert first.low <= plain.low
    assert first.high >= plain.high
    assert first.n == {"members": 300, "non-members": 300, "groups": 60}


def test_grouped_upper_bound_sees_that_groups_are_few(monkeypatch):
    rng = np.random.default_rng(10)
    truth = 0.1
    escaped = escaped_without = 0
    monkeypatch.setattr("auditor.stats.low_fpr.GROUP_RESAMPLES", 200)
    for _ in range(60):
        scores, membership, groups = grouped_records(rng, 60, 10, spanning=False)
        escaped += tpr_at_fpr_upper_bound(scores, membership, truth, 0.1, groups=groups, rng=rng) < truth
        escaped_without += tpr_at_fpr_upper_bound(scores, membership, truth, 0.1) < truth
    assert escaped <= stats.binom.ppf(0.999, 60, 0.1)
    assert escaped <= escaped_without


def test_few_large_groups_raise_the_upper_bound():
    scores, membership, groups = grouped_records(np.random.default_rng(16), 40, 30, spanning=False)
    scores[groups < 3] += 4
    plain = tpr_at_fpr_upper_bound(scores, membership, 0.05, 0.0125)
    grouped = tpr_at_fpr_upper_bound(scores, membership, 0.05, 0.0125, groups=groups, rng=np.random.default_rng(0))
    assert grouped > plain + 0.02


@pytest.mark.parametrize("spanning", [False, True])
def test_grouped_p_value_keeps_its_level(spanning, monkeypatch):
    monkeypatch.setattr("auditor.stats.low_fpr.GROUP_PERMUTATIONS", 99)
    rng = np.random.default_rng(11)
    grouped = plain = 0
    for _ in range(150):
        scores, membership, groups = grouped_records(rng, 60, 8, spanning=spanning)
        grouped += tpr_at_fpr_p_value(scores, membership, 0.05, groups=groups, rng=rng) <= 0.05
        plain += tpr_at_fpr_p_value(scores, membership, 0.05) <= 0.05
    assert grouped <= stats.binom.ppf(0.999, 150, 0.05)
    if not spanning:
        assert plain > grouped + 10


def test_grouped_p_value_finds_a_strong_leak():
    scores, membership, groups = grouped_records(np.random.default_rng(12), 60, 8, spanning=False)
    found = tpr_at_fpr_p_value(scores + 5 * membership, membership, 0.05, groups=groups, rng=np.random.default_rng(0))
    assert found == pytest.approx(1 / 10_000)


# --- paired difference ---------------------------------------------------------------------------------------------


def test_difference_of_a_leak_and_its_repair():
    rng = np.random.default_rng(13)
    scores, membership = binormal(rng, 400, 2.0)
    repaired = scores - 2.0 * membership
    estimate = tpr_at_fpr_difference(scores, repaired, membership, 0.05, rng)
    expected = naive_tpr(scores, membership, 0.05) - naive_tpr(repaired, membership, 0.05)
    assert estimate.value == pytest.approx(expected)
    assert 0 < estimate.low <= estimate.value <= estimate.high
    back = tpr_at_fpr_difference(repaired, scores, membership, 0.05, rng)
    assert back.value == pytest.approx(-expected)
    assert back.high < 0


def test_difference_covers_nothing_where_there_is_none():
    rng = np.random.default_rng(14)
    covered = 0
    for _ in range(60):
        shared, membership = binormal(rng, 200, 1.0)
        scores, other = (shared + 0.5 * rng.standard_normal(400) for _ in range(2))
        estimate = tpr_at_fpr_difference(scores, other, membership, 0.1, rng, confidence=0.9, resamples=100)
        covered += estimate.low <= 0 <= estimate.high
    assert covered >= stats.binom.ppf(0.001, 60, 0.88)


def test_no_difference_seen_is_not_certainty_of_none():
    scores, membership = np.arange(100, 0, -1.0), np.arange(100) >= 50
    estimate = tpr_at_fpr_difference(scores, scores, membership, 0.1, np.random.default_rng(0))
    assert (estimate.value, estimate.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 50)))
    assert estimate.low == -estimate.high
    grouped = tpr_at_fpr_difference(
        scores, scores, membership, 0.1, np.random.default_rng(0), groups=np.arange(100) // 10
    )
    assert grouped.high == pytest.approx(1 - 0.025 ** (1 / 5))


def test_difference_resamples_whole_groups():
    rng = np.random.default_rng(15)
    scores, membership = binormal(rng, 60, 1.5)
    other = scores + rng.standard_normal(120)
    many = [np.repeat(array, 8) for array in (scores, other, membership, np.arange(120))]
    widths = [
        (e := tpr_at_fpr_difference(*many[:3], 0.1, np.random.default_rng(0), groups=groups)).high - e.low
        for groups in (None, many[3])
    ]
    assert widths[1] > 1.5 * widths[0]


# --- input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda s, m: tpr_at_fpr(s, m, 0.0), "fpr"),
        (lambda s, m: tpr_at_fpr(s, m, 1.0), "fpr"),
        (lambda s, m: tpr_at_fpr(s[:-1], m, 0.1), "membership"),
        (lambda s, m: tpr_at_fpr([1.0, 0.0, np.inf, 0.0], m, 0.1), "scores"),
        (lambda s, m: tpr_at_fpr(s, ~m & m, 0.1), "membership"),
        (lambda s, m: tpr_at_fpr(s, m, 0.1, confidence=0.0), "confidence"),
        (lambda s, m: tpr_at_fpr(s, m, 0.1, groups=np.arange(4)), "rng"),
        (lambda s, m: tpr_at_fpr_upper_bound(s, m, 0.1, 0.05, groups=np.arange(4)), "rng"),
        (lambda s, m: tpr_at_fpr_upper_bound(s, m, 0.1, 1.0), "alpha"),
        (lambda s, m: tpr_at_fpr_p_value(s, m, 0.5, groups=np.arange(4)), "rng"),
        (lambda s, m: tpr_at_fpr_difference(s, s[:2], m, 0.5, np.random.default_rng(0)), "other_scores"),
        (lambda s, m: tpr_at_fpr_difference(s, s, m, 0.5, np.random.default_rng(0), resamples=9), "resamples"),
        (lambda s, m: standing(0, 0.1), "n_non_members"),
        (lambda s, m: exact_test_p_value(3, 2, 2, 1), "above"),
        (lambda s, m: exact_test_p_value(1, 2, 2, 3), "rank"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(ValueError, match=name):
        call(np.arange(4.0), np.array([True, False, True, False]))
