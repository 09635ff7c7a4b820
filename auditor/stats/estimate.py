"""The one shape in which a number leaves the statistics: never naked, always with its interval and n."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

__all__ = ["Estimate", "rounded_up"]

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured number with what is needed to judge it.

    Attributes:
        value: The point estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        confidence: Nominal coverage of the interval, e.g. 0.95.
        method: How the interval was made, e.g. "DeLong, logit scale".
        n: What was counted, by unit, e.g. `{"members": 1000, "non-members": 1000}`.
    """

    value: float
    low: float
    high: float
    confidence: float
    method: str
    n: Mapping[str, int]


def rounded_up(bound: float, decimals: int) -> float:
    """The smallest number of so many decimals that is not under a bound: "at most" stays true when it is printed."""
    scale = 10.0**decimals
    return ceil(bound * scale - _ROUNDING) / scale
