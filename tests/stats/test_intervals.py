import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.stats.intervals import (
    TOO_FEW_GROUPS,
    grouped_mean,
    grouped_proportion,
    mean,
    paired_mean,
    prediction_interval,
    proportion,
    proportion_lower_bound,
    proportion_upper_bound,
)


@settings(deadline=None, derandomize=True)
@given(trials=st.integers(1, 400), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_proportion_lies_inside_its_interval(trials, share, confidence):
    estimate = proportion(round(share * trials), trials, confidence=confidence, unit="records")
    assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0
    assert estimate.n == {"records": trials}


def test_no_success_in_n_is_bounded_by_the_closed_form():
    estimate = proportion(0, 50, unit="records")
    assert estimate.low == 0.0
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 50))
    assert proportion_upper_bound(0, 50, 0.05) == pytest.approx(1 - 0.05 ** (1 / 50))


@pytest.mark.parametrize("truth", [0.01, 0.2, 0.5, 0.97])
def test_clopper_pearson_covers_every_proportion_by_summation(truth):
    counts = np.arange(41)
    inside = [(e := proportion(int(k), 40, confidence=0.9, unit="r")).low <= truth <= e.high for k in counts]
    assert stats.binom.pmf(counts, 40, truth)[inside].sum() >= 0.9


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 7), (7, 7), (19, 1000)])
def test_one_sided_bounds_agree_with_scipy(successes, trials):
    test = stats.binomtest(successes, trials, alternative="less").proportion_ci(0.99, method="exact")
    assert proportion_upper_bound(successes, trials, 0.01) == pytest.approx(test.high)
    test = stats.binomtest(successes, trials, alternative="greater").proportion_ci(0.99, method="exact")
    assert proportion_lower_bound(successes, trials, 0.01) == pytest.approx(test.low)


def test_bounds_grow_with_fractional_successes():
    counts = np.linspace(0, 12, 49)
    for bound in (proportion_lower_bound, proportion_upper_bound):
        assert np.all(np.diff(bound(counts, 12, 0.05)) >= 0)
        assert bound(3.0, 12, 0.05) < bound(3.5, 12, 0.05) < bound(4.0, 12, 0.05)


def test_mean_of_three_values_by_hand():
    estimate = mean([1.0, 2.0, 3.0], unit="classes")
    reach = 4.302652729911275 / np.sqrt(3)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2.0, 2 - reach, 2 + reach))
    assert estimate.n == {"classes": 3}


def test_paired_mean_removes_what_pairs_share():
    rng = np.random.default_rng(0)
    shared = 100 * rng.standard_normal(30)
    estimate = paired_mean(shared + 1 + 0.1 * rng.standard_normal(30), shared, unit="classes")
    assert estimate.low <= 1 <= estimate.high
    assert estimate.high - estimate.low < 0.2


def test_prediction_interval_holds_the_next_value_as_often_as_it_says():
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((2000, 6))
    inside = 0
    for row in draws:
        prediction = prediction_interval(row[:5], confidence=0.9)
        inside += prediction.low <= row[5] <= prediction.high
    assert stats.binomtest(inside, 2000, 0.9).pvalue > 0.001


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_of_one_record_are_independent_records():
    values = np.random.default_rng(2).uniform(size=40)
    grouped = grouped_mean(values, np.arange(40)[::-1], least=0.0, most=1.0, confidence=0.9, unit="r")
    alone = mean(values, confidence=0.9, unit="r")
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert grouped.n == {"r": 40, "groups": 40}
    right = np.arange(40) < 14
    grouped, alone = grouped_proportion(right, np.arange(40), unit="r"), proportion(14, 40, unit="r")
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high))


def test_copies_of_a_record_say_nothing_new():
    values = np.random.default_rng(3).uniform(size=12)
    copied = grouped_mean(np.repeat(values, 50), np.repeat(np.arange(12), 50), least=0.0, most=1.0, unit="r")
    once = mean(values, unit="r")
    assert (copied.value, copied.low, copied.high) == pytest.approx((once.value, once.low, once.high))


@pytest.mark.parametrize("right", [True, False])
def test_where_all_records_agree_each_group_counts_once(right):
    found = grouped_proportion(np.full(600, right), np.repeat(np.arange(20), 30), unit="r")
    once = proportion(20 * right, 20, unit="r")
    assert (found.low, found.high) == pytest.approx((once.low, once.high))


def test_groups_that_cancel_are_no_certainty():
    values = np.tile([1.0, -1.0], 20)
    found = grouped_mean(values, np.repeat(np.arange(20), 2), least=-1.0, most=1.0, unit="r")
    assert found.high - found.low >= mean(values, unit="r").high - mean(values, unit="r").low


def test_too_few_groups_say_nothing():
    values, groups = np.tile([0.0, 1.0, 1.0], 50), np.minimum(np.arange(150) // 10, 8)
    for found in (
        grouped_proportion(values, groups, unit="r"),
        grouped_mean(values, groups, least=0, most=1, unit="r"),
    ):
        assert (found.low, found.high, found.method) == (0.0, 1.0, TOO_FEW_GROUPS)
        assert found.n == {"r": 150, "groups": 9}


def test_no_mean_lies_where_it_cannot():
    values = np.repeat(np.arange(12) < 1, 5).astype(float)
    found = grouped_mean(values, np.repeat(np.arange(12), 5), least=0.0, most=1.0, unit="r")
    assert found.low == 0.0


def test_patients_with_many_photographs_are_covered_as_often_as_is_said():
    """Groups of 1 to 12 records that are alike: where records count alone, the truth lies outside too often."""
    rng, groups = np.random.default_rng(4), np.repeat(np.arange(30), np.arange(30) % 12 + 1)
    hits = np.zeros(4)
    for _ in range(400):
        chance = rng.beta(2, 1, size=30)[groups]
        right, values = rng.random(groups.size) < chance, chance + 0.05 * rng.normal(size=groups.size)
        clustered = (
            grouped_proportion(right, groups, unit="r"),
            grouped_mean(values, groups, least=-1, most=2, unit="r"),
        )
        alone = (proportion(int(right.sum()), right.size, unit="r"), mean(values, unit="r"))
        hits += [one.low <= 2 / 3 <= one.high for one in (*clustered, *alone)]
    assert min(hits[:2]) / 400 > 0.93
    assert max(hits[2:]) / 400 < 0.85


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: proportion(3, 2, unit="r"), "successes"),
        (lambda: proportion(0, 0, unit="r"), "trials"),
        (lambda: proportion(1, 2, confidence=1.0, unit="r"), "confidence"),
        (lambda: proportion_upper_bound(1, 2, 0.0), "alpha"),
        (lambda: mean([1.0], unit="r"), "values"),
        (lambda: mean([1.0, np.nan], unit="r"), "values"),
        (lambda: mean([1.0, 2.0], confidence=0.0, unit="r"), "confidence"),
        (lambda: paired_mean([1.0, 2.0], [1.0], unit="r"), "other_values"),
        (lambda: prediction_interval([1.0]), "values"),
        (lambda: grouped_mean([1.0, 2.0], [1], least=0, most=2, unit="r"), "groups"),
        (lambda: grouped_mean([1.0], [1], least=0, most=2, unit="r"), "values"),
        (lambda: grouped_proportion([], [], unit="r"), "successes"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(ValueError, match=name):
        call()
