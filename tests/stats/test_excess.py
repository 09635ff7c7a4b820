"""The excess over models that never saw the records: a naive oracle, cases with a known answer, and its errors."""

import numpy as np
import pytest
from scipy.stats import norm, t

from auditor.stats.auc import auc, auc_difference
from auditor.stats.excess import excess_over_null

M, N = 40, 30
MASK = np.arange(M + N) < M


def drawn(seed, members=M, non_members=N, lift=0.0, null_lift=(0.0, 0.0), shared=1.0):
    """Scores of the judged model and of two null models, and who each has not seen; difficulty is `shared`."""
    rng = np.random.default_rng(seed)
    mask = np.arange(members + non_members) < members
    common = shared * rng.normal(size=mask.size)
    scores = common + rng.normal(size=mask.size) + lift * mask
    nulls = common + rng.normal(size=(2, mask.size)) + np.array(null_lift)[:, None] * mask
    first = rng.permutation(mask.size) % 2 == 0
    return scores, nulls, np.stack([first | ~mask, ~first | ~mask]), mask


def wins(high, low):
    return float(high > low) + 0.5 * float(high == low)


def test_the_null_is_what_members_win_against_the_model_without_them():
    scores, nulls, unseen, mask = drawn(0)
    nulls = np.round(nulls, 1)  # with ties
    told = excess_over_null(scores, nulls, unseen, mask)
    judge = np.where(unseen[0, :M], 0, 1)
    naive = [wins(nulls[judge[i], i], nulls[judge[i], M + j]) for i in range(M) for j in range(N)]
    assert told.null.value == pytest.approx(np.mean(naive), abs=1e-12)
    assert told.estimate.value == pytest.approx(auc(scores, mask).value - np.mean(naive), abs=1e-12)


def test_two_equal_null_models_are_one_score():
    """Where nothing differs between models beyond chance the comparison is DeLong's of two scores, by Student's t."""
    scores, nulls, unseen, mask = drawn(4, lift=0.8)
    same = np.stack([nulls[0], nulls[0]])
    told, delong, null = (
        excess_over_null(scores, same, unseen, mask),
        auc_difference(scores, nulls[0], mask),
        auc(nulls[0], mask),
    )
    assert told.null.value == pytest.approx(null.value, abs=1e-12)
    assert (told.null.low, told.null.high) == pytest.approx((null.low, null.high), abs=1e-12)
    halves = [auc(nulls[0][one], mask[one]).value for one in unseen]
    variance = ((delong.estimate.high - delong.estimate.value) / norm.isf(0.025)) ** 2
    seen = 1.5 * (halves[0] - halves[1]) ** 2 / 2
    freedom = (variance + seen) ** 2 / seen**2
    reach = t.isf(0.025, freedom) * variance**0.5
    ends = delong.estimate.value - reach, delong.estimate.value + reach
    assert told.estimate.value == pytest.approx(delong.estimate.value, abs=1e-12)
    assert (told.estimate.low, told.estimate.high) == pytest.approx(ends, abs=1e-12)
    assert told.p_value == pytest.approx(t.sf(norm.isf(delong.p_value), freedom))


@pytest.mark.parametrize("unlearned", [0.0, 0.2, 0.5])
def test_what_may_have_been_missed_is_a_share_of_what_the_null_shows(unlearned):
    """With the null at a and the score at a + (a - .5) u / (1 - u) the test is undecided, at any u."""
    scores, nulls, unseen, mask = drawn(2, null_lift=(1.0, 1.0))
    null = excess_over_null(scores, nulls, unseen, mask).null.value
    wanted = 0.5 + (null - 0.5) / (1 - unlearned)
    lifts = np.linspace(-3, 6, 4001)
    nearest = min(lifts, key=lambda lift: abs(auc(scores + lift * mask, mask).value - wanted))
    told = excess_over_null(scores + nearest * mask, nulls, unseen, mask, unlearned=unlearned)
    assert told.p_value == pytest.approx(0.5, abs=0.02)


def test_a_null_below_half_allows_nothing_more():
    scores, nulls, unseen, mask = drawn(3, lift=1.0, null_lift=(-1.0, -1.0))
    strict, plain = (excess_over_null(scores, nulls, unseen, mask, unlearned=share) for share in (0.2, 0.0))
    assert strict.null.value < 0.5
    assert strict.estimate == plain.estimate
    assert strict.p_value >= plain.p_value


def test_models_that_differ_make_the_excess_less_certain():
    scores, nulls, unseen, mask = drawn(4, lift=1.5)
    apart = nulls + np.array([[3.0], [0.0]]) * mask
    agreed, differ = (excess_over_null(scores, one, unseen, mask).estimate for one in (nulls, apart))
    assert differ.high - differ.low > 1.5 * (agreed.high - agreed.low)


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_level_and_coverage_without_leak_and_shift(shared):
    """1,500 times, of a nominal 5 %; where models do not differ, not knowing it costs the excess some of its level."""
    found = [excess_over_null(*drawn(seed, 100, 100, shared=shared)) for seed in range(1500)]
    assert 0.005 < np.mean([one.p_value <= 0.05 for one in found]) < 0.05
    assert 0.03 < np.mean([one.null_p_value <= 0.05 for one in found]) < 0.07
    assert np.mean([one.estimate.low <= 0 <= one.estimate.high for one in found]) > 0.935
    assert 0.935 < np.mean([one.null.low <= 0.5 <= one.null.high for one in found]) < 0.965


def test_coverage_and_level_where_models_differ():
    """Without a leak, three models of one distribution: taking one difference for certain covers 75 %, rejects 11 %."""
    lifts = np.random.default_rng(0).normal(0.3, 0.35, size=(1000, 3))
    drew = [drawn(seed, 150, 150, lift=first, null_lift=others) for seed, (first, *others) in enumerate(lifts)]
    found = [excess_over_null(*one, error=0.05 / 3) for one in drew]
    assert np.mean([one.estimate.low <= 0 <= one.estimate.high for one in found]) > 0.83
    assert np.mean([one.p_value <= 0.05 / 3 for one in found]) < 0.07


def test_groups_are_not_independent_records():
    scores, nulls, unseen, mask = drawn(5, 200, 200, lift=0.6)
    alone = excess_over_null(scores, nulls, unseen, mask)
    copied = [np.repeat(one, 5, axis=-1) for one in (scores, nulls, unseen, mask)]
    grouped = excess_over_null(*copied, groups=np.repeat(np.arange(400), 5))
    assert grouped.estimate.value == pytest.approx(alone.estimate.value)
    assert grouped.estimate.low == pytest.approx(alone.estimate.low, rel=0.02)
    assert excess_over_null(*copied).p_value < alone.p_value / 10
    few = excess_over_null(*copied, groups=np.repeat(np.arange(8), 250))
    assert (few.p_value, few.estimate.low, few.estimate.high) == (1.0, -1.0, 1.0)


@pytest.mark.parametrize(("lift", "null_lift"), [(1.0, (0.2, 0.1)), (0.5, (0.3, 0.3)), (0.1, (0.0, 0.0))])
def test_what_is_left_of_the_excess_lies_above_zero_exactly_where_it_is_significant(lift, null_lift):
    told = excess_over_null(*drawn(8, lift=lift, null_lift=null_lift), unlearned=0.2, error=0.05 / 3)
    assert told.beyond.confidence == 0.9667
    assert told.beyond.value == pytest.approx(told.estimate.value - max(told.null.value - 0.5, 0) / 4)
    assert (told.beyond.low > 0) is (told.p_value < 0.05 / 3)
    edge = excess_over_null(*drawn(8, lift=lift, null_lift=null_lift), unlearned=0.2, error=told.p_value)
    assert edge.beyond.low == pytest.approx(0, abs=1e-9)


def test_a_split_that_tells_everything_leaves_no_excess():
    scores, nulls, unseen, mask = drawn(6, lift=100.0, null_lift=(100.0, 100.0))
    told = excess_over_null(scores, nulls, unseen, mask, unlearned=0.2)
    assert (told.null.value, told.estimate.value) == (1.0, 0.0)
    assert told.p_value >= 0.5
    assert told.estimate.low < 0 < told.estimate.high


def test_monotone_transformations_of_each_model_change_nothing():
    scores, nulls, unseen, mask = drawn(7, lift=0.5)
    told = excess_over_null(scores, nulls, unseen, mask, unlearned=0.2)
    moved = excess_over_null(np.exp(scores), nulls * [[2.0], [5.0]] + [[7.0], [-1.0]], unseen, mask, unlearned=0.2)
    assert moved == told


def test_what_cannot_be_compared_is_refused():
    scores, nulls, unseen, mask = drawn(8)
    with pytest.raises(ValueError, match="each model must not have seen"):
        excess_over_null(scores, nulls, np.ones_like(unseen), mask)
    with pytest.raises(ValueError, match="each model must not have seen"):
        excess_over_null(scores, nulls, unseen & mask, mask)
    with pytest.raises(ValueError, match=r"\[2, 70\]"):
        excess_over_null(scores, nulls[:1], unseen, mask)
    with pytest.raises(ValueError, match="unlearned"):
        excess_over_null(scores, nulls, unseen, mask, unlearned=1.0)
    nulls[0, unseen[0].argmax()] = np.nan
    with pytest.raises(ValueError, match="finite"):
        excess_over_null(scores, nulls, unseen, mask)
