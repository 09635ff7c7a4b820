"""What every statistic checks at the door. All raise `ValueError` with the name of the offending argument."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "BoolVector",
    "FloatVector",
    "IntVector",
    "check_count",
    "check_fraction",
    "float_vector",
    "group_codes",
    "int_vector",
    "membership_mask",
]

FloatVector = npt.NDArray[np.float64]
BoolVector = npt.NDArray[np.bool_]
IntVector = npt.NDArray[np.int64]


def float_vector(values: npt.ArrayLike, *, name: str, length: int | None = None, least: int = 0) -> FloatVector:
    """Return `values` as finite float64 [record], of `length` entries where given, of `least` at least."""
    vector = np.asarray(values, dtype=np.float64)
    _check_shape(vector, name=name, length=length)
    if vector.size < least:
        raise ValueError(f"{name} must have at least {least} entries, got {vector.size}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return vector


def int_vector(values: npt.ArrayLike, *, name: str, length: int) -> IntVector:
    """Return `values` as int64 [record]."""
    vector = np.asarray(values)
    _check_shape(vector, name=name, length=length)
    if vector.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, got {vector.dtype}")
    return vector.astype(np.int64)


def membership_mask(membership: npt.ArrayLike, *, length: int) -> BoolVector:
    """Return `membership` as bool [record] with at least one member and one non-member."""
    mask = np.asarray(membership)
    _check_shape(mask, name="membership", length=length)
    # Labels such as -1/1 would all count as true.
    if mask.dtype != np.bool_:
        raise ValueError(f"membership must be boolean, got {mask.dtype}")
    if mask.all() or not mask.any():
        raise ValueError("membership must have both members and non-members")
    return mask


def group_codes(groups: npt.ArrayLike, *, length: int) -> IntVector:
    """Return `groups` as int64 [record], renumbered 0, 1, ... without gaps."""
    codes = np.unique(int_vector(groups, name="groups", length=length), return_inverse=True)[1]
    return codes.reshape(-1).astype(np.int64)


def check_fraction(value: float, *, name: str) -> float:
    """Return `value`, which must lie strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
    return float(value)


def check_count(value: int, *, name: str, least: int = 1) -> int:
    """Return `value`, which must be at least `least`."""
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def _check_shape(vector: npt.NDArray[np.generic], *, name: str, length: int | None) -> None:
    if vector.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {vector.shape}")
    if length is not None and vector.size != length:
        raise ValueError(f"{name} must have {length} entries like the other arguments, got {vector.size}")
