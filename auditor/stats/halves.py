"""Two halves of the records: one to choose the best attack on, the other to tell how well it does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auditor.stats._validate import BoolVector, IntVector, group_codes, int_vector, membership_mask

__all__ = ["selection_half"]


def selection_half(
    membership: npt.ArrayLike,
    classes: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    groups: npt.ArrayLike | None = None,
) -> BoolVector:
    """Draw the half of the records on which attacks are chosen; the other half is for reporting.

    Stratified: within a class and status the halves differ by at most one record, or with groups that are alike
    in both by at most the largest group. A group that mixes classes or statuses goes with the one it has most of.

    Args:
        membership: bool [record].
        classes: int [record].
        rng: Decides which of equals goes where.
        groups: int [record] or None; a group is never split.

    Returns:
        bool [record], true for the selection half.

    Raises:
        ValueError: Shapes differ, or there are too few records for each half to have members and non-members.
    """
    mask = np.asarray(membership)
    mask = membership_mask(mask, length=mask.size)
    labels = int_vector(classes, name="classes", length=mask.size)
    units = np.arange(mask.size) if groups is None else group_codes(groups, length=mask.size)
    size = np.bincount(units)
    mostly_member = np.bincount(units, weights=mask) / size >= 0.5
    order = np.lexsort((rng.random(size.size), -size, _main_class(units, labels), mostly_member))
    chosen = np.zeros(size.size, dtype=np.bool_)
    chosen[order[rng.integers(2) :: 2]] = True
    half = chosen[units]
    _check_halves(mask, half)
    return half


def _main_class(units: IntVector, labels: IntVector) -> IntVector:
    """Return the most frequent class of each unit [unit]."""
    pairs, counts = np.unique(np.stack([units, labels]), axis=1, return_counts=True)
    order = np.lexsort((-counts, pairs[0]))
    first = np.unique(pairs[0][order], return_index=True)[1]
    return np.asarray(pairs[1][order][first], dtype=np.int64)


def _check_halves(mask: BoolVector, half: BoolVector) -> None:
    sides = [mask & half, mask & ~half, ~mask & half, ~mask & ~half]
    if not all(side.any() for side in sides):
        raise ValueError("membership must have at least two members and two non-members (or groups of them) to halve")
