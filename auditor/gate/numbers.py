"""Numbers as they stand in the sentences of a ruling; light, since every format of a report needs them."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

from auditor.findings import Metric
from auditor.stats.estimate import Estimate, rounded_up

__all__ = ["bound_apart", "metric_in_words", "number", "number_apart", "with_interval"]

_TRIES = 4


def metric_in_words(metric: Metric, fpr: float | None) -> str:
    """`AUC` or `TPR at 1 % FPR`."""
    return "AUC" if metric is Metric.AUC else f"TPR at {100 * (fpr or 0.0):g} % FPR"


def number(value: float, unit: str, decimals: int = 0) -> str:
    """A measured number, with further decimals where they are asked for; an `excess` by its significant digits."""
    if unit == "excess":
        return f"{value:.{2 + decimals}g}"
    return f"{100 * value:.{1 + decimals}f} %" if unit == "share" else f"{value:.{3 + decimals}f}"


def number_apart(value: float, limit: float, unit: str) -> str:
    """A measured number with as many decimals as it takes to tell it from a limit."""
    return _apart([value] * _TRIES, limit, unit)


def bound_apart(bound: float, limit: float, unit: str) -> str:
    """A bound in the same way, rounded up: it is never told to be smaller than it is."""
    first = 2 - _places(bound) if unit == "excess" else 3
    return _apart([rounded_up(bound, first + further) for further in range(_TRIES)], limit, unit)


def _apart(values: Sequence[float], limit: float, unit: str) -> str:
    """The first of the values, each with one decimal more, that does not read as the limit."""
    told = [(number(value, unit, further), number(limit, unit, further)) for further, value in enumerate(values)]
    return next((one for one, other in told if one != other), told[-1][0])


def _places(number: float) -> int:
    """How many digits stand before the point; none or fewer where zeros follow it."""
    return 0 if number == 0 else floor(log10(abs(number))) + 1


def with_interval(estimate: Estimate, unit: str) -> str:
    """A measured number with its interval and n."""
    low, high = (number(end, unit) for end in (estimate.low, estimate.high))
    n = ", ".join(f"{count:,} {what}" for what, count in estimate.n.items())
    return f"{number(estimate.value, unit)} ({100 * estimate.confidence:g} % interval {low} to {high}; {n})"
