"""Signals: what one query says about the true label, from the logits or the probabilities of one model.

Inputs are [record, class] arrays, float32 as models give them; everything is computed and returned in float64 [record].
Signals of a model whose file is released come from its logits (`logit_margin`). Through an API only the float32
probabilities are seen, and there p_y rounds to exactly 1.0 while the others are still above 0: `released_margin` reads
those others, so that the rounding costs nothing. Probabilities and their sums are raised to `FLOOR`, the smallest
normal float32, before a logarithm is taken; the entropies keep the 1e-30 of Song and Mittal.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from reference_attacks.membership._inputs import (
    FLOOR,
    BoolArray,
    FloatArray,
    LabelArray,
    SignalArray,
    as_probability,
    as_signal,
)

__all__ = [
    "FLOOR",
    "confidence",
    "cross_entropy",
    "entropy",
    "logit_margin",
    "modified_entropy",
    "released_margin",
    "rounded_margin",
    "top_margin",
]

_ENTROPY_FLOOR = 1e-30
_HALF_UNIT = 2.0**-25  # half of the step from 1 to the next smaller float32


def logit_margin(logits: SignalArray, labels: LabelArray) -> FloatArray:
    """The logit-scaled confidence log(p_y / (1 - p_y)), exactly, as f_y - logsumexp of the other logits.

    Source: Carlini et al. (2022), arXiv:2112.03570.

    Args:
        logits: Logits [record, class].
        labels: True labels [record].

    Raises:
        ValueError: If the arrays do not fit each other or a logit is not finite.
    """
    values = as_signal("logits", logits, ("record", "class"))
    true = _true_class(values, labels)
    others = np.where(true, -np.inf, values)
    return np.asarray(values[true] - logsumexp(others, axis=1), dtype=np.float64)


def released_margin(probabilities: SignalArray, labels: LabelArray) -> FloatArray:
    """The logit-scaled confidence from released probabilities: log p_y - log(sum of the others), each at least `FLOOR`.

    It equals `logit_margin` up to the rounding of the single probabilities, also where p_y has rounded to 1.

    Args:
        probabilities: Released probabilities [record, class].
        labels: True labels [record].

    Raises:
        ValueError: If the arrays do not fit each other or a value is not a probability.
    """
    values = as_probability("probabilities", probabilities, ("record", "class"))
    return _margin(values, _true_class(values, labels))


def top_margin(probabilities: SignalArray, labels: LabelArray, *, shown: int) -> FloatArray:
    """The `released_margin` as far as the largest probabilities show it; how the hidden ones are filled in is ours.

    Each class not shown counts as (1 - sum of the shown) / (classes not shown), at most the smallest probability shown.
    That rest is at least 2^-25, half of what float32 resolves at 1. With as many shown as there are classes nothing is
    hidden.

    Args:
        probabilities: Released probabilities [record, class].
        labels: True labels [record].
        shown: How many of the largest probabilities are shown with their classes; which of equals is left open.

    Raises:
        ValueError: If the arrays do not fit each other, a value is not a probability or none is shown.
    """
    values = as_probability("probabilities", probabilities, ("record", "class"))
    true = _true_class(values, labels)
    if shown < 1:
        raise ValueError(f"at least one probability must be shown, got {shown}")
    hidden = values.shape[1] - shown
    if hidden < 1:
        return _margin(values, true)
    classes = np.argpartition(values, hidden, axis=1)[:, hidden:]
    top = np.take_along_axis(values, classes, axis=1)
    rest = np.maximum(1.0 - top.sum(axis=1), _HALF_UNIT)
    filled = np.tile(np.minimum(rest / hidden, top.min(axis=1))[:, None], values.shape[1])
    np.put_along_axis(filled, classes, top, axis=1)
    return _margin(filled, true)


def rounded_margin(probabilities: SignalArray, labels: LabelArray, *, decimals: int) -> FloatArray:
    """The logit-scaled confidence log q - log(1 - q) of a rounded p_y; q and 1 - q count as half a unit at least.

    The other classes are rounded too and not read: their sum is 1 - q, to half a unit. The floor is ours.

    Args:
        probabilities: Released probabilities [record, class], not rounded yet.
        labels: True labels [record].
        decimals: To how many decimals they are rounded, half to even.

    Raises:
        ValueError: If the arrays do not fit each other or a value is not a probability.
    """
    rounded = confidence(probabilities, labels).round(decimals)
    half_unit = 0.5 * 10.0**-decimals
    return _log(rounded, half_unit) - _log(1.0 - rounded, half_unit)


def confidence(probabilities: SignalArray, labels: LabelArray) -> FloatArray:
    """The probability p_y of the true label, for probabilities [record, class] and labels [record].

    Raises:
        ValueError: If the arrays do not fit each other or a value is not a probability.
    """
    values = as_probability("probabilities", probabilities, ("record", "class"))
    return values[_true_class(values, labels)]


def cross_entropy(probabilities: SignalArray, labels: LabelArray) -> FloatArray:
    """The loss -log p_y in nats, for probabilities [record, class] and labels [record]; at most -log `FLOOR`.

    It is 0 wherever p_y has rounded to 1, so it ties the records that a model knows best.

    Raises:
        ValueError: If the arrays do not fit each other or a value is not a probability.
    """
    return -_log(confidence(probabilities, labels), FLOOR)


def entropy(probabilities: SignalArray) -> FloatArray:
    """How uncertain the output is, in nats, whatever the label: H = -sum over i of p_i log p_i, at least 0.

    Source: Song and Mittal (2021), arXiv:2003.10595.

    Args:
        probabilities: Released probabilities [record, class].

    Raises:
        ValueError: If a value is not a probability or the axes are others.
    """
    values = as_probability("probabilities", probabilities, ("record", "class"))
    return np.asarray(-(values * _log(values, _ENTROPY_FLOOR)).sum(axis=1) + 0.0, dtype=np.float64)


def modified_entropy(probabilities: SignalArray, labels: LabelArray) -> FloatArray:
    """An entropy that knows the label: 0 when all mass is on the right class, large when it is on a wrong one.

    Mentr = -(1 - p_y) log p_y - sum over i != y of p_i log(1 - p_i), logarithms clamped at 1e-30.
    Source: Song and Mittal (2021), arXiv:2003.10595.

    Args:
        probabilities: Released probabilities [record, class].
        labels: True labels [record].

    Raises:
        ValueError: If the arrays do not fit each other or a value is not a probability.
    """
    values = as_probability("probabilities", probabilities, ("record", "class"))
    true = _true_class(values, labels)
    right = values[true]
    wrong = np.where(true, 0.0, values * _log(1.0 - values, _ENTROPY_FLOOR)).sum(axis=1)
    return np.asarray(-(1.0 - right) * _log(right, _ENTROPY_FLOOR) - wrong, dtype=np.float64)


def _true_class(values: FloatArray, labels: LabelArray) -> BoolArray:
    """A mask [record, class] with one entry per record, so that `values[mask]` is in the order of the records."""
    classes = np.asarray(labels)
    n_records, n_classes = values.shape
    if classes.shape != (n_records,) or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"labels must be {n_records} integers [record], got {classes.dtype} {classes.shape}")
    if n_classes < 2 or classes.min() < 0 or classes.max() >= n_classes:
        raise ValueError(f"labels must lie in 0..{n_classes - 1} and there must be two classes or more")
    return np.asarray(classes[:, None] == np.arange(n_classes), dtype=np.bool_)


def _margin(values: FloatArray, true: BoolArray) -> FloatArray:
    """Log of the true class less the log of all others together, each at least `FLOOR` [record]."""
    others = np.where(true, 0.0, values).sum(axis=1)
    return _log(values[true], FLOOR) - _log(others, FLOOR)


def _log(values: FloatArray, floor: float) -> FloatArray:
    return np.log(np.maximum(values, floor))
