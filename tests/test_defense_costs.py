"""What a defense costs, and how sure that is where several records belong to one person."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.comparison.costs import Behaviour, accuracy_change, costs_of
from auditor.findings import Timing
from auditor.stats.intervals import TOO_FEW_GROUPS, mean, paired_mean, proportion

PERSONS = 60
TIMING = Timing(phase="asked", wall_seconds=0, cpu_seconds=0)


def behaviour(seed, groups=None, copies=1):
    """Answers about one record of each person, or about copies of it."""
    rng = np.random.default_rng(seed)
    vectors = rng.dirichlet(np.ones(3), PERSONS).astype(np.float32)
    labels = np.where(np.arange(PERSONS) % 4 < 3, vectors.argmax(1), 0)
    choosing = np.arange(PERSONS) % 2 == 0
    columns = (vectors, vectors.argmax(1) == labels, labels, choosing)
    return Behaviour(*(np.repeat(one, copies, axis=0) for one in columns), TIMING, groups)


@pytest.fixture
def single():
    return behaviour(1), behaviour(2)


@pytest.fixture
def copied():
    groups = np.repeat(np.arange(PERSONS), 10)
    return behaviour(1, groups, 10), behaviour(2, groups, 10)


def named(costs):
    return {one.name: one.estimate for one in costs}


def test_without_groups_records_count_alone(single):
    before, after = single
    told = named(costs_of(before, after, same_weights=True))
    assert told["Accuracy on non-members, defended"] == proportion(after.right.sum(), PERSONS, unit="non-members")
    lengths = np.abs(after.vectors.astype(float) - before.vectors).sum(1)
    assert told["L1 distance of the released vector"] == mean(lengths, unit="non-members")
    half = ~before.choosing
    change = paired_mean(after.right[half], before.right[half], unit="non-members")
    assert accuracy_change(before, after, choosing=False) == change


def test_copies_of_a_record_make_no_cost_surer(single, copied):
    once, often = (named(costs_of(*pair, same_weights=True)) for pair in (single, copied))
    assert once.keys() == often.keys()
    for name, estimate in often.items():
        assert estimate.value == pytest.approx(once[name].value)
        if estimate.method != TOO_FEW_GROUPS:
            assert 0.99 < (estimate.high - estimate.low) / (once[name].high - once[name].low) < 1.1
        assert estimate.n["non-members"] == 10 * estimate.n["groups"]
    once, often = (accuracy_change(*pair, choosing=True) for pair in (single, copied))
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_few_persons_leave_every_cost_open(copied):
    before, after = (replace(one, groups=one.groups % 9) for one in copied)
    told = named(costs_of(before, after, same_weights=True))
    assert {one.method for one in told.values()} == {TOO_FEW_GROUPS}
    assert {(one.low, one.high) for name, one in told.items() if "distance" not in name} == {(0.0, 1.0)}
    change = accuracy_change(before, after, choosing=False)
    assert (change.low, change.high) == (-1.0, 1.0)


def test_an_accuracy_that_does_not_change_is_certain(copied):
    same = accuracy_change(copied[0], copied[0], choosing=False)
    assert (same.low, same.high) == (0.0, 0.0)
