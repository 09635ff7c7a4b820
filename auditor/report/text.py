"""Strings and numbers as a reader sees them: hostile text made harmless, numbers with two digits and an interval.

Escaping belongs to each output format. Here is only what all of them share.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import floor, log10

from auditor.findings import Measurement, Metric
from auditor.limits import declared
from auditor.stats.estimate import Estimate

__all__ = [
    "cell",
    "clean",
    "count",
    "counts",
    "date",
    "interval",
    "interval_name",
    "level",
    "link",
    "listing",
    "metric_name",
    "metric_unit",
    "p_value",
    "phrase",
    "scaled",
    "seconds",
    "short",
    "sides",
    "stated",
    "unit_of",
    "value",
    "whole",
]

_GAP = "\u00a0"  # no-break space, between a number and its unit
_MINUS = "−"
_TEXT_LIMIT = 600
_NAME_LIMIT = 60
_MAX_DECIMALS = 6


def clean(text: str, limit: int = _TEXT_LIMIT) -> str:
    """One line of text without control, bidirectional or invisible characters, cut at `limit` characters."""
    shown = text[: 4 * limit]
    if not shown.isprintable():  # most is, and takes no look at each of its characters
        shown = "".join(map(_visible, shown))
    shown = " ".join(part for part in shown.split(" ") if part).replace("##[", "## [")  # GitHub reads it as a command
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def whole(parts: Sequence[str], limit: int = _TEXT_LIMIT) -> str:
    """Parts in one line, as many whole ones as fit into `limit` characters, and how many more there are."""
    told, line = [clean(part) for part in parts], ""
    for kept in range(len(told), -1, -1):
        more = [f"and {count(len(told) - kept)} more in the JSON"] if kept < len(told) else []
        line = "; ".join([*told[:kept], *more])
        if len(line) <= limit:
            break
    return line


def short(text: str) -> str:
    """A name (of a model, a class, an attack), cut where it would break the layout."""
    return clean(text, _NAME_LIMIT)


def link(url: str) -> str:
    """The URL where it is one that a page may link to (http or https), else an empty string."""
    return url if url.lower().startswith(("https://", "http://")) else ""


def _visible(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp":
            return " "
        case "Cf" | "Cs" | "Co" | "Cn":
            return ""
        case _:
            return character


# --- numbers ---------------------------------------------------------------------------------------------------------


def scaled(number: float, unit: str = "") -> str:
    """A number with two significant digits and its unit: `share` as percent, `points` as signed percentage points."""
    match unit:
        case "share":
            return f"{_digits(100 * number, ceiling=100)}{_GAP}%"
        case "points":
            return f"{_signed(100 * number)}{_GAP}points"
        case "":
            return _digits(number, ceiling=1)
        case _:
            return f"{_digits(number)}{_GAP}{unit}"


def value(estimate: Estimate, unit: str = "") -> str:
    """The point estimate."""
    return scaled(estimate.value, unit)


def interval(estimate: Estimate, unit: str = "") -> str:
    """Both ends of the interval, the unit once."""
    low, high = scaled(estimate.low, unit), scaled(estimate.high, unit)
    bare = low.partition(_GAP)[0]
    return f"{bare} to {high}" if estimate.low < 0 or unit == "points" else f"{bare}–{high}"


def interval_name(estimate: Estimate) -> str:
    """`95 % interval`."""
    return f"{level(estimate.confidence)} interval"


def level(share: float) -> str:
    """A share that was declared, not measured (a false positive rate, a limit, a confidence): no digits added."""
    return f"{100 * share:g}{_GAP}%"


def phrase(estimate: Estimate, unit: str = "") -> str:
    """Value and interval as they stand in a sentence."""
    return f"{value(estimate, unit)} ({interval_name(estimate)} {interval(estimate, unit)})"


def cell(estimate: Estimate, unit: str = "") -> str:
    """Value and interval as they stand in a table."""
    return f"{value(estimate, unit)} ({interval(estimate, unit)})"


def count(number: int) -> str:
    """A whole number with thousands separators."""
    return f"{number:,}"


def counts(n: Mapping[str, int]) -> str:
    """What an estimate counted, by unit; in the order of the JSON."""
    return ", ".join(f"{count(number)}{_GAP}{short(unit)}" for unit, number in sorted(n.items()))


def sides(n: Mapping[str, int]) -> str:
    """What an estimate counted, without the units, for the column of a table."""
    return " + ".join(count(number) for _, number in sorted(n.items()))


def p_value(p: float) -> str:
    """A p-value with two digits, down to the point where more would say nothing."""
    return "< 0.0001" if p < 1e-4 else _digits(p, ceiling=1)


def seconds(duration: float) -> str:
    """A duration in the largest unit that keeps it above one."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if duration >= size:
            return f"{_digits(duration / size)}{_GAP}{unit}"
    return f"{_digits(duration)}{_GAP}s"


def date(moment: datetime) -> str:
    """`22 November 2026`."""
    return f"{moment.day}{_GAP}{moment:%B}{_GAP}{moment.year}"


def _digits(number: float, ceiling: float | None = None) -> str:
    """Two significant digits, or as many as keep a number below `ceiling` from being shown as `ceiling`."""
    if number == 0:
        return "0"
    decimals = _decimals(round(number, _decimals(number)))
    if ceiling is not None and abs(number) < ceiling:
        while decimals < _MAX_DECIMALS and abs(round(number, decimals)) >= ceiling:
            decimals += 1
    return f"{round(number, decimals):,.{max(decimals, 0)}f}".replace("-", _MINUS)


def _decimals(number: float) -> int:
    """How many decimals show two significant digits; negative where the digits end left of the point."""
    return 0 if number == 0 else 1 - floor(log10(abs(number)))


def _signed(number: float) -> str:
    return f"+{_digits(number)}" if number > 0 else _digits(number)


# --- what is counted in which unit -----------------------------------------------------------------------------------


def metric_unit(metric: Metric) -> str:
    """The unit in which an endpoint is printed."""
    return "share" if metric is Metric.TPR_AT_FPR else ""


def metric_name(metric: Metric, fpr: float | None = None) -> str:
    """`AUC` or `TPR at 1 % FPR`."""
    return "AUC" if metric is Metric.AUC else f"TPR at {level(fpr or 0.0)} FPR"


def unit_of(measurement: Measurement) -> str:
    """The unit that a measurement states; none where it states none."""
    return short(measurement.unit)


def stated(limit: float, metric: Metric) -> str:
    """A limit of an endpoint as it was declared."""
    return level(limit) if metric is Metric.TPR_AT_FPR else declared(limit)


def listing(items: tuple[str, ...] | list[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f"{', '.join(items[:-1])} {last} {items[-1]}" if len(items) > 1 else "".join(items)
