"""For a job of GitHub Actions: a summary of one screen, and the annotations of the run.

An annotation is a line that the runner reads as a command, so everything that could end it early is escaped. GitHub
shows ten errors and ten warnings of a step; the last of each says how many are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal

from auditor.findings import AuditReport, Family
from auditor.gate.ruling import Gate
from auditor.report import points, rulings, stage, wording
from auditor.report.markdown import banner, escape, judged, numbers, subtitle, verdicts
from auditor.report.points import Kind, Point
from auditor.report.text import clean, count, short

__all__ = ["render_annotations", "render_summary"]

_SHOWN = 10
_DOUBTS = 20


def render_summary(report: AuditReport, gate: Gate | None = None) -> str:
    """What belongs into `$GITHUB_STEP_SUMMARY`: what a policy says, verdicts, numbers, doubts, and what did not run."""
    parts = (
        [f"## Privacy audit of {escape(short(report.model.name))}"],
        banner(report),
        [subtitle(report)],
        judged(gate),
        verdicts(report),
        numbers(report),
        _doubts(report),
        [escape(stage.scope(report)), *(f"* Not run: {escape(told)}" for told in points.not_run(report))],
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def render_annotations(report: AuditReport, gate: Gate | None = None) -> str:
    """Workflow commands, one a line, for standard output: errors and warnings, or a notice that there is neither.

    What a policy says comes first; that it is met is a notice. Of the verdicts only those on the declared release: they
    inherit what leaks to those who see less.
    """
    release = report.plan.release
    found = [one for one in points.of(report, gate) if one.kind is not Kind.VERDICT or one.key == (release,)]
    lines = [*_commands("error", found), *_commands("warning", found)]
    return "\n".join([*_met(gate), *(lines or [_nothing_to_tell(report)])]) + "\n"


def _doubts(report: AuditReport) -> list[str]:
    doubtful = (one for one in points.of(report) if one.level == "warning" and one.kind is not Kind.VERDICT)
    return [f"* {escape(one.told)}" for one in islice(doubtful, _DOUBTS)]


def _met(gate: Gate | None) -> list[str]:
    if gate is None or gate.outcome != "pass":
        return []
    return [_command("notice", f"{short(gate.policy)} is met", " ".join((clean(gate.sentence), *rulings.notes(gate))))]


def _commands(level: Literal["error", "warning"], found: Sequence[Point]) -> list[str]:
    loud = [point for point in found if point.level == level]
    shown = loud if len(loud) <= _SHOWN else loud[: _SHOWN - 1]
    lines = [_command(level, point.rule.title, point.told) for point in shown]
    if rest := len(loud) - len(shown):
        lines.append(_command(level, "and more", f"{count(rest)} more stand in the report."))
    return lines


def _nothing_to_tell(report: AuditReport) -> str:
    told = [
        f"{verdict.family}: {wording.state_name(verdict.state).lower()}. {clean(verdict.sentence)}"
        for verdict in report.verdicts
        if verdict.access is report.plan.release and verdict.family is Family.MEMBERSHIP
    ]
    return _command("notice", f"release of {report.plan.release}", " ".join(told) or "No verdict was asked.")


def _command(level: Literal["error", "warning", "notice"], title: str, message: str) -> str:
    return f"::{level} title={_property(f'privaudit: {title}')}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
