"""A gate on the terminal: every rule on one line, every waiver, what was not judged, and the exit code at its end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.findings import AuditReport
    from auditor.policy import Gate, Ruling

__all__ = ["conclude", "line", "named", "now", "of_model", "told"]

_MANUAL = "docs/gate.md"
_WIDTH = 13
_LONGEST = 1_900


def now() -> datetime:
    """The present moment: ages and waivers depend on it."""
    return datetime.now(UTC)


def named(policy: Path | None, fail_on: str | None = None) -> str:
    """What a reader knows a policy by: a file, a severity to fail on, or the default limits."""
    from auditor.policy import DEFAULT

    asked = [*([policy.name] if policy else []), *([f"--fail-on {fail_on}"] if fail_on else [])]
    return " and ".join(asked) or DEFAULT


def of_model(audited: AuditReport, compared: str) -> str:
    """Which model a report is of, and what was compared with it."""
    from auditor.report.text import short

    return f"{short(audited.model.name)}, sha256 {short(audited.model.sha256[:16])}: {compared}"


def line(label: str, text: str, width: int = _WIDTH) -> str:
    """A label in its column and one line of text behind it, harmless on a terminal whatever it holds."""
    from auditor.report.text import clean

    return f"{label:<{width}} {clean(text, _LONGEST)}"


def told(found: Gate) -> Iterator[str]:
    """Every rule on one line, every waiver, and what else a reader has to know of the judgement."""
    from auditor.report.rulings import idle

    for ruling in found.rulings:
        yield line(ruling.outcome, _ruled(ruling))
    for waiver in found.idle_waivers:
        yield line("waiver", idle(waiver, found))
    for note in found.notes:
        yield line(note.about, note.sentence)


def _ruled(ruling: Ruling) -> str:
    from auditor.report.rulings import waived

    said = f"{ruling.rule}: {ruling.sentence} {waived(ruling)}".rstrip()
    return said if ruling.outcome == "pass" else f"{said} Read on: #{ruling.see} of the HTML report, {_MANUAL}."


def conclude(terminal: Terminal, found: Gate, *, exit_zero: bool = False) -> Exit:
    """Say how the gate ends, and give the exit code."""
    code, style = {
        "pass": (Exit.DONE, "green"),
        "fail": (Exit.VIOLATED, "bold red"),
        "inconclusive": (Exit.INCONCLUSIVE, "yellow"),
    }[found.outcome]
    terminal.say(line("Gate:", f"{found.outcome}. {found.sentence}", width=0), style=style)
    return Exit.DONE if exit_zero else code
