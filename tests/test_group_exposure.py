"""Exposed records counted by group, under opaque ids."""

import numpy as np
import pytest

from auditor.findings import RecordExposure
from auditor.membership.exposure import exposed_groups
from auditor.membership.measure import Jury
from auditor.splits import record_id

KEY, OTHER_KEY = b"k" * 32, b"j" * 32


def digests(n):
    return tuple(index.to_bytes(16, "big") for index in range(n))


def jury(groups, members):
    membership = np.arange(len(groups)) < members
    return Jury(membership, np.zeros(len(groups), np.int64), np.asarray(groups, np.int64), ~membership, 0)


def exposed(flagged, n, key=KEY):
    names = tuple(sorted(record_id(key, digests(n)[index]) for index in flagged))
    return RecordExposure(status="completed", attack_id="lira-weights", records=names)


def found(groups, members, flagged, key=KEY):
    n = len(groups)
    return exposed_groups(exposed(flagged, n, key), jury(groups, members), digests(n), key)


def test_members_of_each_group_are_counted_and_the_most_come_first():
    # members: group 7 has records 0-3, group -2 has 4-5, group 9 has 6-7; group 7 has a non-member too
    shown = found([7, 7, 7, 7, -2, -2, 9, 9, 7, 9], 8, [0, 1, 4, 5])
    counts = [(round(one.flagged.value * sum(one.flagged.n.values())), one.flagged.n) for one in shown]
    assert counts == [(2, {"members of the group": 2}), (2, {"members of the group": 4})]
    assert shown[1].flagged.low < 0.5 < shown[1].flagged.high


@pytest.mark.parametrize("flagged", [[], [0], list(range(60))])
def test_agrees_with_counting_by_hand(flagged):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 100)
    shown = found(groups, 60, flagged)
    expected = sorted(
        (sum(groups[index] == group for index in flagged), int((groups[:60] == group).sum()))
        for group in set(groups[flagged].tolist())
    )
    sizes = [next(iter(one.flagged.n.values())) for one in shown]
    assert sorted((round(one.flagged.value * size), size) for one, size in zip(shown, sizes, strict=True)) == expected


def test_at_most_twenty_groups_are_shown_and_ties_tell_no_order_of_names():
    groups = np.repeat(np.arange(40), 2)
    shown = found(groups, 80, range(0, 80, 2))
    names = [one.id for one in shown]
    assert len(shown) == 20
    assert names == sorted(names)
    every = sorted(one.id for group in range(40) for one in found(groups, 80, [2 * group]))
    assert names == every[:20]


def test_ids_are_opaque_and_no_records_id():
    groups = list(range(30))
    ids = {one.id for one in found(groups, 30, range(20))}
    assert len(ids) == 20
    assert ids.isdisjoint(one.id for one in found(groups, 30, range(20), OTHER_KEY))
    assert ids.isdisjoint(record_id(KEY, digest) for digest in digests(30))
    # a digest of the same bytes as the group's number names another thing
    assert ids.isdisjoint(record_id(KEY, str(group).encode()) for group in groups)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


def test_nothing_is_told_where_groups_or_records_are_not():
    n = 10
    alone = Jury(np.arange(n) < 5, np.zeros(n, np.int64), None, np.arange(n) < 5, 0)
    assert exposed_groups(exposed([0], n), alone, digests(n), KEY) == ()
    skipped = RecordExposure(status="skipped", reason="no")
    assert exposed_groups(skipped, jury([1] * n, 5), digests(n), KEY) == ()
