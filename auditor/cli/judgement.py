"""A gate on the terminal: every rule on one line, every waiver, and the exit code that it ends with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.gate.hearing import Ruling
    from auditor.policy import Gate
    from auditor.policy_file import Waiver

__all__ = ["conclude", "line", "now", "told"]

_MANUAL = "docs/gate.md"
_WIDTH = 13
_LONGEST = 1_900


def now() -> datetime:
    """The present moment: ages and waivers depend on it."""
    return datetime.now(UTC)


def line(label: str, text: str, width: int = _WIDTH) -> str:
    """A label in its column and one line of text behind it, harmless on a terminal whatever it holds."""
    from auditor.report.text import clean

    return f"{label:<{width}} {clean(text, _LONGEST)}"


def told(found: Gate) -> Iterator[str]:
    """Every rule on one line, and every waiver."""
    for ruling in found.rulings:
        yield line(ruling.outcome, _ruled(ruling))
    used = [ruling.waiver for ruling in found.rulings]
    for waiver in found.waivers:
        if waiver not in used:
            yield line("waiver", _idle(waiver, found))


def _ruled(ruling: Ruling) -> str:
    said = f"{ruling.rule}: {ruling.sentence}"
    if ruling.waiver is not None:
        said = f"{said} Waived until {ruling.waiver.expires}: {ruling.waiver.reason.rstrip('.')}."
    return said if ruling.outcome == "pass" else f"{said} Read on: #{ruling.see} of the HTML report, {_MANUAL}."


def _idle(waiver: Waiver, found: Gate) -> str:
    state = (
        "is not needed" if waiver.holds(found.judged_at.astimezone(UTC).date()) else "has expired and does not count"
    )
    return f"{waiver.rule}, until {waiver.expires}, {state}: {waiver.reason}"


def conclude(terminal: Terminal, found: Gate, *, exit_zero: bool = False) -> Exit:
    """Say how the gate ends, and give the exit code."""
    code, style = {
        "pass": (Exit.DONE, "green"),
        "fail": (Exit.VIOLATED, "bold red"),
        "inconclusive": (Exit.INCONCLUSIVE, "yellow"),
    }[found.outcome]
    terminal.say(line("Gate:", f"{found.outcome}. {found.sentence}", width=0), style=style)
    return Exit.DONE if exit_zero else code
