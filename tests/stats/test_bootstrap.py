"""The BCa bootstrap: coverage where the percentile bootstrap is known to err, and what it refuses."""

import numpy as np
import pytest

from auditor.stats.bootstrap import bca


def variance(values):
    return float(values.var(ddof=1))


def test_it_covers_the_variance_of_a_normal_sample_nearly_as_stated():
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = bca((rng.normal(size=80),), variance, rng, confidence=0.9, resamples=299, unit="records")
        hits += found.low <= 1.0 <= found.high
    assert 0.82 < hits / 200 < 0.96


def test_it_is_skewed_to_where_a_skewed_statistic_can_lie():
    rng = np.random.default_rng(1)
    found = bca((rng.exponential(size=60),), variance, rng, unit="records")
    assert found.high - found.value > found.value - found.low
    assert found.n == {"records": 60}


def test_records_are_drawn_whole():
    rng = np.random.default_rng(2)
    first = rng.normal(size=50)
    found = bca((first, first + 1.0), lambda one, other: float((other - one).mean()), rng, unit="records")
    assert (found.low, found.high) == pytest.approx((1.0, 1.0))


def test_the_same_generator_gives_the_same_interval():
    values = np.random.default_rng(3).normal(size=40)
    once, again = (bca((values,), variance, np.random.default_rng(4), unit="records") for _ in range(2))
    assert once == again


def test_the_order_of_records_does_not_move_the_estimate():
    values = np.random.default_rng(5).normal(size=40)
    once, again = (bca((one,), variance, np.random.default_rng(6), unit="records") for one in (values, values[::-1]))
    assert once.value == pytest.approx(again.value)


def test_groups_are_drawn_whole():
    values = np.random.default_rng(7).normal(size=30)
    once = bca((values,), np.mean, np.random.default_rng(8), unit="records")
    order = np.random.default_rng(9).permutation(90)
    copied, groups = np.repeat(values, 3)[order], np.repeat(np.arange(30), 3)[order]
    grouped = bca((copied,), np.mean, np.random.default_rng(8), groups=groups, unit="records")
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high))
    assert (grouped.method, grouped.n) == (f"{once.method} of groups", {"records": 90, "groups": 30})


def test_one_group_is_refused():
    with pytest.raises(ValueError, match="groups"):
        bca((np.arange(4.0),), np.mean, np.random.default_rng(0), groups=np.zeros(4, dtype=int), unit="records")


@pytest.mark.parametrize("columns", [(), (np.zeros(1),), (np.zeros(3), np.zeros(4))])
def test_columns_that_do_not_fit_are_refused(columns):
    with pytest.raises(ValueError, match="columns"):
        bca(columns, lambda *_: 0.0, np.random.default_rng(0), unit="records")
