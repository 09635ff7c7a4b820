"""The door of the attacks that read whole confidence vectors: checked once, float64 from there on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_attacks.membership._inputs import (
    BoolArray,
    FloatArray,
    LabelArray,
    Observations,
    SignalArray,
    as_probability,
)

__all__ = ["ShadowVectors", "as_labels", "as_membership"]


@dataclass(frozen=True, slots=True, eq=False)
class ShadowVectors:
    """What the target and the shadows say of the audited records.

    Attributes:
        target: Confidence vectors of the target [record, class].
        shadows: Confidence vectors of the shadow models [model, record, class].
        trained_on: Which shadow was trained on which record [model, record].
    """

    target: FloatArray
    shadows: FloatArray
    trained_on: BoolArray

    @classmethod
    def check(
        cls, *, target_vectors: SignalArray, shadow_vectors: SignalArray, shadow_membership: BoolArray
    ) -> ShadowVectors:
        """Accept the three arrays as they come from the caller.

        Raises:
            ValueError: If the axes disagree, a value is no probability, there are not two classes or the membership is
                not boolean.
        """
        target = as_probability("target_vectors", target_vectors, ("record", "class"))
        shadows = as_probability("shadow_vectors", shadow_vectors, ("model", "record", "class"))
        if shadows.shape[1:] != target.shape:
            raise ValueError(f"shadow_vectors {shadows.shape} does not fit target_vectors {target.shape}")
        if target.shape[1] < 2:
            raise ValueError("target_vectors must have two classes or more")
        trained_on = as_membership(shadow_membership, shadows.shape[:2])
        return cls(target, shadows, trained_on)

    def require(self, *, in_models: int, out_models: int) -> None:
        """Refuse records that too few shadows were trained with, or without.

        Raises:
            ValueError: Naming the first such record.
        """
        Observations(self.target, self.shadows, self.trained_on).require(in_models=in_models, out_models=out_models)


def as_labels(labels: LabelArray, n_records: int, n_classes: int) -> LabelArray:
    """Take true labels [record].

    Raises:
        ValueError: If they are not integers in 0..n_classes - 1, one for each record.
    """
    classes = np.asarray(labels)
    if classes.shape != (n_records,) or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"labels must be {n_records} integers [record], got {classes.dtype} {classes.shape}")
    if classes.min() < 0 or classes.max() >= n_classes:
        raise ValueError(f"labels must lie in 0..{n_classes - 1}, got {classes.min()}..{classes.max()}")
    return np.asarray(classes, dtype=np.int64)


def as_membership(shadow_membership: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    """Take a membership that something can be learned from.

    Raises:
        ValueError: If it is not boolean, of another shape, or all records are IN or all are OUT.
    """
    trained_on = np.asarray(shadow_membership)
    if trained_on.dtype != np.bool_:
        raise ValueError(f"shadow_membership must be boolean, got {trained_on.dtype}")
    if trained_on.shape != shape:
        raise ValueError(f"shadow_membership {trained_on.shape} does not fit the shadows' {shape}")
    if trained_on.all() or not trained_on.any():
        raise ValueError("shadow_membership must hold both records that were trained on and records that were not")
    return trained_on
