"""What every number of a report must be, whoever wrote the file: in its bounds, and not belied by its own interval.

Numbers that were measured in this process are not held against their intervals: they were made together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from auditor.stats.estimate import Estimate as Measured

__all__ = ["Count", "Difference", "Estimate", "Part", "Probability", "Rate", "Seconds"]

_MOST = 10**12  # more than anybody counts here
_ROUNDING = 1e-9  # an end may be computed by another way than the value


class Part(BaseModel):
    """A part of the report: immutable and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Count: TypeAlias = Annotated[int, Field(ge=0, le=_MOST)]
Seconds: TypeAlias = Annotated[float, Field(ge=0)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]


def _credible(told: Measured, info: ValidationInfo) -> Measured:
    """Refuse a number from a file that is belied by its own interval, confidence or n."""
    if info.mode != "json":
        return told
    slack = _ROUNDING * max(1.0, abs(told.value))
    if not told.low - slack <= told.value <= told.high + slack or not math.isfinite(told.high - told.low):
        raise ValueError(f"the value {told.value:g} must lie in its interval, {told.low:g} to {told.high:g}")
    if not 0 < told.confidence < 1:
        raise ValueError(f"the confidence must lie between 0 and 1, and is {told.confidence:g}")
    for unit, count in told.n.items():
        if not 0 <= count <= _MOST:
            raise ValueError(f"n must not be {'negative' if count < 0 else 'so large'}, and is {count} {unit}".rstrip())
    return told


def _between(least: float, most: float) -> Callable[[Measured, ValidationInfo], Measured]:
    """Refuse a number from a file that lies, or reaches, out of its bounds."""

    def within(told: Measured, info: ValidationInfo) -> Measured:
        reached = (end for end in (told.value, told.low, told.high) if not least - _ROUNDING <= end <= most + _ROUNDING)
        if info.mode == "json" and (outside := next(reached, None)) is not None:
            raise ValueError(f"it must lie between {least:g} and {most:g}, interval and all, and reaches {outside:g}")
        return told

    return within


Estimate: TypeAlias = Annotated[Measured, AfterValidator(_credible)]
Rate: TypeAlias = Annotated[Estimate, AfterValidator(_between(0.0, 1.0))]
Difference: TypeAlias = Annotated[Estimate, AfterValidator(_between(-1.0, 1.0))]
