"""What a defense costs, and how sure that is where several records belong to one person."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.comparison.costs import _KEEP_LABELS, LABELS_KEPT, Behaviour, accuracy_change, costs_of
from auditor.findings import Timing
from auditor.stats.difference import paired_difference
from auditor.stats.intervals import TOO_FEW_GROUPS, mean, proportion
from auditor.wrappers.labels_only import LabelsOnly
from auditor.wrappers.plain import Rounded, Temperature, TopThree

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
    gained, lost = (int((a & ~b)[half].sum()) for a, b in ((after.right, before.right), (before.right, after.right)))
    change = paired_difference(gained, lost, PERSONS // 2, unit="non-members")
    assert accuracy_change(before, after, choosing=False) == change


def test_accuracy_is_a_share_with_groups_and_without(single, copied):
    for pair in (single, copied):
        told = {one.name: one.unit for one in costs_of(*pair, same_weights=True)}
        assert {name for name, unit in told.items() if unit == "share"} == {
            name for name in told if name.startswith("Accuracy") or name == "Labels changed"
        }


def test_copies_of_a_record_make_no_cost_surer(single, copied):
    once, often = (named(costs_of(*pair, same_weights=True)) for pair in (single, copied))
    assert once.keys() == often.keys()
    for name, estimate in often.items():
        assert estimate.value == pytest.approx(once[name].value)
        if estimate.method != TOO_FEW_GROUPS:
            assert 0.99 < (estimate.high - estimate.low) / (once[name].high - once[name].low) < 1.1
        assert estimate.n["non-members"] == 10 * estimate.n["groups"]
    once, often = (accuracy_change(*pair, choosing=True) for pair in (single, copied))
    assert often.value == pytest.approx(once.value)
    assert 0.9 < (often.high - often.low) / (once.high - once.low) < 1.2


def test_few_persons_leave_every_cost_open(copied):
    before, after = (replace(one, groups=one.groups % 9) for one in copied)
    told = named(costs_of(before, after, same_weights=True))
    assert {one.method for one in told.values()} == {TOO_FEW_GROUPS}
    assert {(one.low, one.high) for name, one in told.items() if "distance" not in name} == {(0.0, 1.0)}
    change = accuracy_change(before, after, choosing=False)
    assert (change.low, change.high) == (-1.0, 1.0)


def test_an_accuracy_that_was_not_seen_to_change_is_certain_only_where_labels_are_kept(single, copied):
    for before, other in (single, copied):
        same = accuracy_change(before, before, choosing=False)
        assert same.value == 0.0
        assert -0.2 < same.low < -0.02 < 0.02 < same.high < 0.2
        kept = accuracy_change(before, replace(before, keeps_labels=True), choosing=False)
        assert (kept.value, kept.low, kept.high, kept.method) == (0.0, 0.0, 0.0, LABELS_KEPT)
        moved = accuracy_change(before, replace(other, keeps_labels=True), choosing=False)
        assert moved.low < moved.high


@pytest.mark.parametrize("people", [10, 50, 150])
def test_small_changes_of_few_records_are_covered(people):
    """3 % lost and 1 % gained: Student's t covered 35 % at ten records, 85 % at fifty."""
    rng = np.random.default_rng(0)
    choosing = np.zeros(people, dtype=bool)
    vectors = np.ones((people, 2), dtype=np.float32)
    covered, runs = 0, 500
    for _ in range(runs):
        drawn = rng.random(people)
        before = Behaviour(vectors, drawn < 0.99, choosing.astype(int), choosing, TIMING)
        after = replace(before, right=(drawn >= 0.03) & (drawn < 1.0))
        change = accuracy_change(before, after, choosing=False)
        covered += change.low <= -0.02 <= change.high
        assert change.low < change.high
    assert covered >= 0.93 * runs


def test_what_keeps_every_label_is_known_by_its_wrapper():
    """The first largest class of what is released is that of the model, ties and near ties included."""
    rng = torch.Generator().manual_seed(0)
    vectors = torch.rand(2_000, 5, generator=rng).pow(8)
    vectors[:500, 1] = vectors[:500, 3]
    vectors = vectors / vectors.sum(1, keepdim=True)
    for one in (LabelsOnly(), TopThree(), Rounded(1), Temperature(1000.0)):
        assert isinstance(one, _KEEP_LABELS)
        assert torch.equal(one(vectors).argmax(1), vectors.argmax(1))
