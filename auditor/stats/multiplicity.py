"""Corrections for asking many questions of the same data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auditor.stats._validate import FloatVector, float_vector

__all__ = ["benjamini_hochberg", "conformal_p_values", "holm"]


def holm(p_values: npt.ArrayLike) -> FloatVector:
    """Adjust p-values so that rejecting those <= alpha keeps the family-wise error at alpha, under any dependence.

    Args:
        p_values: float [test].

    Returns:
        Adjusted p-values [test], in the order given. Source: Holm (1979).

    Raises:
        ValueError: A p-value outside [0, 1].
    """
    values = _p_values(p_values)
    order = np.argsort(values, kind="stable")
    steps = np.arange(values.size, 0, -1) * values[order]
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatVector:
    """Adjust p-values so that among those <= q a share of at most q is expected to be false.

    Holds for independent and for positively dependent tests.

    Args:
        p_values: float [test].

    Returns:
        Adjusted p-values [test], in the order given. Source: Benjamini and Hochberg (1995).

    Raises:
        ValueError: A p-value outside [0, 1].
    """
    values = _p_values(p_values)
    order = np.argsort(values, kind="stable")
    steps = values.size / np.arange(1, values.size + 1) * values[order]
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return adjusted


def conformal_p_values(scores: npt.ArrayLike, null_scores: npt.ArrayLike) -> FloatVector:
    """Rank each score among scores of the null: (1 + null scores at least as large) / (1 + null scores).

    Valid for each record that is exchangeable with the null records; never smaller than 1 / (n + 1). Ties count
    against the finding. Source: Vovk, Gammerman and Shafer (2005).

    Args:
        scores: float [record].
        null_scores: float [null record], at least one.

    Returns:
        p-values [record].

    Raises:
        ValueError: No null scores, or values that are not finite.
    """
    tested = float_vector(scores, name="scores")
    null = np.sort(float_vector(null_scores, name="null_scores", least=1))
    at_least_as_large = null.size - np.searchsorted(null, tested, side="left")
    return np.asarray((1.0 + at_least_as_large) / (1.0 + null.size), dtype=np.float64)


def _p_values(p_values: npt.ArrayLike) -> FloatVector:
    values = float_vector(p_values, name="p_values")
    if ((values < 0.0) | (values > 1.0)).any():
        raise ValueError("p_values must lie between 0 and 1")
    return values
