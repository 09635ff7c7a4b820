"""What controls and checks take from a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.findings import Check, ControlResult, Void

__all__ = ["Doubt", "doubts_of"]


@dataclass(frozen=True)
class Doubt:
    """A check or control that did not pass: what it voids, and the sentence that says why."""

    sentence: str
    voids: frozenset[Void]


def doubts_of(controls: Sequence[ControlResult], checks: Sequence[Check]) -> list[Doubt]:
    """The controls and checks that void something."""
    found: list[ControlResult | Check] = [*controls, *checks]
    return [Doubt(one.sentence, frozenset(one.voids)) for one in found if one.voids]
