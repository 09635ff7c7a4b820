"""Numbers as they stand in the sentences of a ruling; light, since every format of a report needs them."""

from __future__ import annotations

from auditor.findings import Metric
from auditor.stats.estimate import Estimate

__all__ = ["metric_in_words", "number", "number_apart", "with_interval"]


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
    decimals = next((one for one in range(4) if number(value, unit, one) != number(limit, unit, one)), 3)
    return number(value, unit, decimals)


def with_interval(estimate: Estimate, unit: str) -> str:
    """A measured number with its interval and n."""
    low, high = (number(end, unit) for end in (estimate.low, estimate.high))
    n = ", ".join(f"{count:,} {what}" for what, count in estimate.n.items())
    return f"{number(estimate.value, unit)} ({100 * estimate.confidence:g} % interval {low} to {high}; {n})"
