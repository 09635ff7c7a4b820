import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.stats.halves import selection_half


@settings(deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), size=st.integers(8, 80), n_classes=st.integers(1, 6))
def test_halves_differ_by_at_most_one_record_in_each_class_and_status(seed, size, n_classes):
    rng = np.random.default_rng(seed)
    membership, classes = np.arange(size) % 2 == 0, rng.integers(n_classes, size=size)
    half = selection_half(membership, classes, rng)
    for status in (True, False):
        of_status = membership == status
        assert abs(int(half[of_status].sum()) - int((~half)[of_status].sum())) <= 1
        for label in range(n_classes):
            cell = of_status & (classes == label)
            assert abs(int(half[cell].sum()) - int((~half)[cell].sum())) <= 1


@settings(deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), n_groups=st.integers(8, 40), mixed=st.booleans())
def test_groups_are_never_split(seed, n_groups, mixed):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(100 * np.arange(n_groups), 1 + rng.integers(4, size=n_groups)))
    membership = rng.random(groups.size) < 0.5 if mixed else (groups // 100) % 2 == 0
    classes = rng.integers(3, size=groups.size)
    half = selection_half(membership, classes, rng, groups=groups)
    for group in np.unique(groups):
        assert np.unique(half[groups == group]).size == 1


def test_groups_of_one_kind_leave_no_more_than_the_largest_group_between_the_halves():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 1 + rng.integers(9, size=60))
    membership, classes = groups % 2 == 0, groups % 3
    half = selection_half(membership, classes, rng, groups=groups)
    for status in (True, False):
        for label in range(3):
            cell = (membership == status) & (classes == label)
            largest = np.bincount(groups[cell]).max()
            assert abs(int(half[cell].sum()) - int((~half)[cell].sum())) <= largest


def test_every_record_is_chosen_half_of_the_time():
    rng = np.random.default_rng(1)
    membership, classes = np.arange(11) < 6, np.array([0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1])
    chosen = sum(selection_half(membership, classes, rng).astype(int) for _ in range(2000))
    assert min(stats.binomtest(int(count), 2000, 0.5).pvalue for count in chosen) > 0.001


def test_same_generator_same_half():
    membership, classes = np.arange(30) % 2 == 0, np.arange(30) % 3
    first, second, other = (selection_half(membership, classes, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("membership", "classes", "groups", "name"),
    [
        (np.arange(6) < 1, np.zeros(6, int), None, "membership"),
        (np.arange(6) < 3, np.zeros(6, int), np.array([0, 0, 0, 1, 2, 3]), "membership"),
        (np.arange(6) < 3, np.zeros(5, int), None, "classes"),
        (np.arange(6) < 3, np.zeros(6), None, "classes"),
        (np.arange(6) < 3, np.zeros(6, int), np.zeros(5, int), "groups"),
    ],
)
def test_bad_input_is_named(membership, classes, groups, name):
    with pytest.raises(ValueError, match=name):
        selection_half(membership, classes, np.random.default_rng(0), groups=groups)
