"""Differences of two audits: by hand, against the usual formula, and covering the truth as often as said."""

import numpy as np
import pytest

from auditor.stats.difference import paired_difference, unpaired_difference
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import mean, proportion


def test_by_hand():
    new = Estimate(0.5, 0.4, 0.7, 0.95, "", {"members": 10})
    old = Estimate(0.3, 0.0, 0.4, 0.95, "", {"members": 20})
    found = unpaired_difference(new, old)
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - np.hypot(0.1, 0.1))
    assert found.high == pytest.approx(0.2 + np.hypot(0.2, 0.3))
    assert found.n == {"new members": 10, "old members": 20}


def test_for_even_intervals_it_is_the_usual_sum_of_variances():
    rng = np.random.default_rng(0)
    a, b = (mean(rng.normal(size=5_000), unit="x") for _ in range(2))
    found = unpaired_difference(a, b)
    assert found.high - found.value == pytest.approx(np.hypot(a.high - a.value, b.high - b.value))
    assert found.low + found.high == pytest.approx(2 * found.value)


def test_the_other_way_round_is_the_mirror_image():
    new, old = proportion(30, 100, unit="x"), proportion(12, 100, unit="x")
    one, other = unpaired_difference(new, old), unpaired_difference(old, new)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_another_confidence_is_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        unpaired_difference(proportion(1, 2, unit="x"), proportion(1, 2, confidence=0.9, unit="x"))


@pytest.mark.parametrize(("new", "old"), [(0.05, 0.01), (0.3, 0.3), (0.9, 0.5)])
def test_unpaired_intervals_cover(new, old):
    rng = np.random.default_rng(1)
    counts = rng.binomial(400, (new, old), size=(400, 2))
    found = [unpaired_difference(*(proportion(int(k), 400, unit="x") for k in pair)) for pair in counts]
    assert np.mean([one.low <= new - old <= one.high for one in found]) >= 0.93


@pytest.mark.parametrize(("gained", "lost"), [(0.02, 0.0), (0.05, 0.05), (0.3, 0.1)])
def test_paired_intervals_cover(gained, lost):
    rng = np.random.default_rng(2)
    draws = rng.multinomial(300, [gained, lost, 1 - gained - lost], size=1_000)
    found = [paired_difference(int(up), int(down), 300, unit="x") for up, down, _ in draws]
    assert np.mean([one.low <= gained - lost <= one.high for one in found]) >= 0.93
    assert min(one.high - one.low for one in found) > 0


@pytest.mark.parametrize(("gained", "lost", "pairs"), [(1, 1, 1), (-1, 0, 5), (0, 6, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(gained, lost, pairs):
    with pytest.raises(ValueError, match=r"pairs"):
        paired_difference(gained, lost, pairs, unit="x")
