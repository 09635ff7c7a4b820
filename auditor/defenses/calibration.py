"""What probes read off the attacker's own defended shadows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["less_out_mean"]

Floats = npt.NDArray[np.float64]


def less_out_mean(signal: Floats, shadow_signal: Floats, inclusion: npt.NDArray[np.bool_]) -> Floats:
    """How far each record's signal lies above what the shadows without that record show of it.

    Args:
        signal: Of the target, [record].
        shadow_signal: [model, record].
        inclusion: Which records each shadow trained on, [model, record].

    Returns:
        [record]. A record that every shadow trained on is held against the mean of all records that some shadow has
        not seen.
    """
    outside = ~inclusion
    count = outside.sum(0)
    overall = shadow_signal[outside].mean() if outside.any() else 0.0
    mean = (shadow_signal * outside).sum(0) / np.maximum(count, 1)
    return np.asarray(signal - np.where(count > 0, mean, overall), dtype=np.float64)
