"""Records and their names: digests, slices, and the owner's key."""

import hashlib
import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import InputError
from auditor.splits import Records, key_fingerprint, load_key, record_id


def some(n=6, seed=0, groups=True):
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 256, (n, 3, 2, 1), dtype=np.uint8)
    return Records.of(inputs, np.arange(n), np.arange(n) * 10 if groups else None)


def test_arrays_are_read_only_and_the_callers_stay_writable():
    inputs = np.zeros((2, 3), dtype=np.float32)
    records = Records.of(inputs, np.arange(2), np.arange(2))
    for array in (records.inputs, records.labels, records.groups):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    inputs[0] = 1


def test_arrays_are_not_copied():
    inputs = np.zeros((2, 3), dtype=np.float32)
    assert np.shares_memory(Records.of(inputs, np.arange(2)).inputs, inputs)


@pytest.mark.parametrize("part", ["labels", "groups", "digests"])
def test_parts_of_different_length_are_refused(part):
    fields = {"inputs": np.zeros((2, 3), dtype=np.float32), "labels": np.arange(2), "groups": np.arange(2)}
    fields["digests"] = (b"a", b"b")
    with pytest.raises(ValueError, match="differ in length"):
        Records(**(fields | {part: fields[part][:1]}))


def test_a_digest_knows_content_and_shape_but_no_label():
    flat = np.arange(12, dtype=np.uint8)
    column, row = (Records.of(flat.reshape(1, *shape), np.arange(1)) for shape in ((12, 1, 1), (1, 12, 1)))
    again = Records.of(np.array(row.inputs), np.full(1, 5))
    other = Records.of(np.array(row.inputs) + np.uint8(1), np.arange(1))
    assert again.digests == row.digests
    assert len({column.digests, row.digests, other.digests}) == 3


def test_a_digest_does_not_depend_on_memory_order():
    inputs = np.array(some().inputs)
    assert Records.of(np.asfortranarray(inputs), np.arange(6)).digests == some().digests


@given(st.lists(st.integers(-6, 5), max_size=12))
def test_take_follows_positions(positions):
    records = some()
    chosen = records.take(np.array(positions, dtype=np.int64))
    assert chosen.n == len(positions)
    np.testing.assert_array_equal(chosen.inputs, records.inputs[positions] if positions else records.inputs[:0])
    assert chosen.digests == tuple(records.digests[position] for position in positions)
    assert chosen.groups is not None
    np.testing.assert_array_equal(chosen.groups, chosen.labels * 10)
    assert chosen.digests == Records.of(chosen.inputs, chosen.labels).digests


def test_take_understands_a_mask():
    mask = np.array([True, False, False, True, False, False])
    assert some().take(mask).digests == some().take(np.array([0, 3])).digests
    with pytest.raises(IndexError):
        some().take(mask[:5])


def test_concatenation_undoes_a_split():
    records = some()
    joined = Records.concatenate([records.take(np.arange(2)), records.take(np.arange(2, 6))])
    np.testing.assert_array_equal(joined.inputs, records.inputs)
    np.testing.assert_array_equal(joined.labels, records.labels)
    np.testing.assert_array_equal(joined.groups, records.groups)
    assert joined.digests == records.digests


def test_records_without_a_group_are_groups_of_their_own():
    assert Records.concatenate([some(groups=False), some(seed=1, groups=False)]).groups is None
    grouped = some(3)
    once = Records.concatenate([some(4, seed=1, groups=False), grouped])
    twice = Records.concatenate([once, some(5, seed=2, groups=False), grouped])
    assert twice.groups is not None
    assert len(np.unique(twice.groups)) == 4 + 3 + 5
    np.testing.assert_array_equal(twice.groups[4:7], twice.groups[-3:])


def test_concatenation_refuses_nothing_and_other_shapes():
    wide = Records.of(np.zeros((1, 9), dtype=np.float32), np.arange(1))
    for parts in ([], [some(), wide]):
        with pytest.raises(ValueError, match="same shape and type"):
            Records.concatenate(parts)


# --- names ---------------------------------------------------------------------------------------------------------


def test_an_id_is_the_head_of_an_hmac():
    # RFC 4231, test case 2
    digest = b"what do ya want for nothing?"
    assert record_id(b"Jefe", digest) == "5bdcc146bf60754e"
    assert record_id(b"Jefe", digest) == hmac.digest(b"Jefe", digest, "sha256").hex()[:16]


@given(st.binary(min_size=32, max_size=64), st.binary(min_size=32, max_size=64))
def test_the_fingerprint_tells_keys_apart_and_is_no_id(key, other):
    assert len(key_fingerprint(key)) == 8
    assert key_fingerprint(key) == hashlib.sha256(b"privaudit-key" + key).hexdigest()[:8]
    assert (key == other) or key_fingerprint(key) != key_fingerprint(other)


# --- the key file --------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_for_the_owner_alone(tmp_path):
    path = tmp_path / "new" / "key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]
    assert load_key(tmp_path / "another") != key


def test_a_loose_umask_does_not_loosen_the_key(tmp_path):
    before = os.umask(0)
    try:
        load_key(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_all_who_find_no_key_read_the_same_one(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(load_key, [tmp_path / "key"] * 64))
    assert len(keys) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("size", [0, 31, 1025])
def test_a_key_of_the_wrong_length_is_refused(tmp_path, size):
    path = tmp_path / "key"
    path.write_bytes(b"k" * size)
    path.chmod(0o600)
    with pytest.raises(InputError, match="must hold 32 to 1024 bytes"):
        load_key(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_key_that_others_reach_is_refused(tmp_path, mode):
    path = tmp_path / "key"
    load_key(path)
    path.chmod(mode)
    with pytest.raises(InputError, match="others") as caught:
        load_key(path)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_key_file_is_refused(tmp_path, make):
    make(tmp_path / "key")
    with pytest.raises(InputError, match="key"):
        load_key(tmp_path / "key")


def test_a_key_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read or made"):
        load_key(tmp_path / "file" / "key")
