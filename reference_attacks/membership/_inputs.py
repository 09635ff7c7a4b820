"""The door of the membership attacks: shapes and values are checked once, and everything becomes float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "FLOOR",
    "BoolArray",
    "FloatArray",
    "LabelArray",
    "Observations",
    "SignalArray",
    "as_classes",
    "as_probability",
    "as_signal",
    "mean_over_models",
]

# The smallest normal float32.
FLOOR = float(np.finfo(np.float32).tiny)
_ROUNDING = 1e-6

FloatArray = npt.NDArray[np.float64]
SignalArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """What an attacker with shadow models has seen of the audited records.

    Attributes:
        target: Signals of the target [record, query].
        shadows: Signals of the shadow models [model, record, query].
        trained_on: Which shadow was trained on which record [model, record].
    """

    target: FloatArray
    shadows: FloatArray
    trained_on: BoolArray

    @classmethod
    def check(
        cls, *, target_signal: SignalArray, shadow_signal: SignalArray, shadow_membership: BoolArray
    ) -> Observations:
        """Accept the three arrays as they come from the caller.

        Raises:
            ValueError: If the axes disagree, a value is not finite or the membership is not boolean.
        """
        target = as_signal("target_signal", target_signal, ("record", "query"))
        shadows = as_signal("shadow_signal", shadow_signal, ("model", "record", "query"))
        return cls.join(target, shadows, shadow_membership)

    @classmethod
    def join(cls, target: FloatArray, shadows: FloatArray, shadow_membership: BoolArray) -> Observations:
        """Accept signals that `as_signal` or `as_probability` has taken, if they fit each other and the membership.

        Raises:
            ValueError: If the axes disagree or the membership is not boolean.
        """
        trained_on = np.asarray(shadow_membership)
        if trained_on.dtype != np.bool_:
            raise ValueError(f"shadow_membership must be boolean, got {trained_on.dtype}")
        if shadows.shape[1:] != target.shape:
            raise ValueError(f"shadow_signal {shadows.shape} does not fit target_signal {target.shape}")
        if trained_on.shape != shadows.shape[:2]:
            raise ValueError(f"shadow_membership {trained_on.shape} does not fit shadow_signal {shadows.shape}")
        return cls(target, shadows, trained_on)

    def require(self, *, in_models: int, out_models: int) -> npt.NDArray[np.int32]:
        """Refuse records that too few shadows were trained with, or without.

        Returns:
            How many shadows were trained with each record [record].

        Raises:
            ValueError: Naming the first such record.
        """
        trained_with = self.trained_on.sum(axis=0, dtype=np.int32)
        trained_without = self.trained_on.shape[0] - trained_with
        for status, counts, needed in (("IN", trained_with, in_models), ("OUT", trained_without, out_models)):
            if (counts < needed).any():
                record = int(np.argmax(counts < needed))
                raise ValueError(f"record {record} has {counts[record]} {status} models, this attack needs {needed}")
        return np.asarray(trained_with, dtype=np.int32)


def as_signal(name: str, values: SignalArray, axes: tuple[str, ...]) -> FloatArray:
    """Take a signal with the given axes as float64.

    Raises:
        ValueError: If the number of axes is wrong, an axis is empty or a value is not finite.
    """
    signal = _with_axes(name, values, axes)
    if not np.isfinite(signal).all():
        raise ValueError(f"{name} holds values that are not finite")
    return signal


def as_probability(name: str, values: SignalArray, axes: tuple[str, ...], floor: float = 0.0) -> FloatArray:
    """Take probabilities with the given axes as float64; what float32 put outside 0..1 by rounding is clipped.

    Args:
        name: What the caller calls them.
        values: The probabilities.
        axes: Names of the axes.
        floor: Smaller probabilities are raised to it.

    Returns:
        The probabilities in floor..1; the caller's own array if there is nothing to change.

    Raises:
        ValueError: As `as_signal`, and if a value lies outside 0..1.
    """
    signal = _with_axes(name, values, axes)
    low, high = signal.min(), signal.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{name} holds values that are not finite")
    if low < -_ROUNDING or high > 1.0 + _ROUNDING:
        raise ValueError(f"{name} must hold probabilities in 0..1, got {low:g}..{high:g}")
    return signal if floor <= low and high <= 1.0 else np.clip(signal, floor, 1.0)


def as_classes(name: str, values: LabelArray, n_records: int) -> LabelArray:
    """Take one class per record as int64.

    Raises:
        ValueError: If there is not one integer per record.
    """
    classes = np.asarray(values)
    if classes.shape != (n_records,) or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"{name} must be {n_records} integers [record], got {classes.dtype} {classes.shape}")
    return classes.astype(np.int64)


def mean_over_models(shadows: FloatArray, chosen: BoolArray) -> FloatArray:
    """Average every record over the models chosen for it.

    Args:
        shadows: Signals [model, record, query].
        chosen: Which models count for which record, at least one each [model, record].

    Returns:
        The means [record, query].
    """
    total = np.einsum("mr,mrq->rq", chosen, shadows)
    return np.asarray(total / chosen.sum(axis=0, dtype=np.int32)[:, None], dtype=np.float64)


def _with_axes(name: str, values: SignalArray, axes: tuple[str, ...]) -> FloatArray:
    signal = np.asarray(values, dtype=np.float64)
    if signal.ndim != len(axes) or not signal.size:
        raise ValueError(f"{name} must be a non-empty array [{', '.join(axes)}], got shape {signal.shape}")
    return signal
