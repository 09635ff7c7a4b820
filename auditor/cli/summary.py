"""The end of a scan on the terminal: the verdicts, what is missing, what to distrust, and the cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap

from rich.text import Text

from auditor.cli.progress import duration
from auditor.cli.terminal import clean
from auditor.findings import (
    AuditReport,
    CheckLevel,
    DefenseResult,
    Failed,
    Family,
    InversionResult,
    Severity,
    Skipped,
    Verdict,
    VerdictState,
)
from auditor.report.limits import own_policy
from auditor.threat import Access

__all__ = ["summary"]

_NAMED = 4
_LISTED = " (the report names each)"
_STYLES = {
    VerdictState.LEAK_FOUND: "bold red",
    VerdictState.NOTHING_FOUND: "green",
    VerdictState.CANNOT_SAY: "yellow",
}


def summary(report: AuditReport) -> Text:
    """A few lines for a person who waits; the report says it all."""
    release = (*_severity(report), *_advice(report), *_policy(report), *_canaries(report))
    told = (*release, *_missing(report), *_doubts(report), _cost(report))
    return Text("\n").join([Text(), *_tiles(report), *_judged(report), *map(_plain, told)])


def _plain(text: str) -> Text:
    return Text(clean(text))


def _tiles(report: AuditReport) -> Iterator[Text]:
    for access in reversed(Access):
        verdicts = [verdict for verdict in report.verdicts if verdict.access is access]
        if verdicts:
            mark = "  <- this release" if access is report.plan.release else ""
            yield Text.assemble(f"{access:<8} ", Text("   ").join(map(_state, verdicts)), mark)


def _state(verdict: Verdict) -> Text:
    return Text.assemble(f"{verdict.family}: ", (f"{verdict.state:<13}", _STYLES[verdict.state]))


def _judged(report: AuditReport) -> Iterator[Text]:
    """The sentences of the declared release, then why another release has no answer; equal ones once."""
    told: dict[tuple[Family, str], list[Access]] = {}
    declared = [verdict for verdict in report.verdicts if verdict.access is report.plan.release]
    for verdict in (*declared, *(one for one in report.verdicts if one.state is VerdictState.CANNOT_SAY)):
        releases = told.setdefault((verdict.family, verdict.sentence), [])
        if verdict.access not in releases:
            releases.append(verdict.access)
    for (family, sentence), releases in told.items():
        yield _plain(f"{family}, {' and '.join(releases)}: {sentence}")


def _severity(report: AuditReport) -> Iterator[str]:
    if report.severity is not Severity.NONE:
        yield f"severity: {report.severity}"


def _advice(report: AuditReport) -> Iterator[str]:
    for advice in report.advice:
        if advice.release is report.plan.release:
            yield " ".join(f"defenses: {advice.sentence} {advice.not_stopped}".split())


def _policy(report: AuditReport) -> Iterator[str]:
    if not report.plan.default_policy:
        yield f"policy: {' '.join(own_policy(report).split())}"


def _canaries(report: AuditReport) -> Iterator[str]:
    if report.canaries is not None:
        yield f"canaries: {report.canaries.sentence}"


def _missing(report: AuditReport) -> Iterator[str]:
    """What failed, by name; what was skipped, in one line for each reason."""
    skipped: dict[str, dict[str, list[str]]] = {}
    for kind, name, status, reason in _without_result(report):
        if status == "failed":
            yield f"failed {name}: {reason}"
        else:
            skipped.setdefault(reason, {}).setdefault(kind, []).append(name)
    for reason, kinds in skipped.items():
        counted = any(len(names) > _NAMED for names in kinds.values())
        yield f"skipped {', '.join(starmap(_named, kinds.items()))}: {reason}{_LISTED if counted else ''}"


def _without_result(report: AuditReport) -> Iterator[tuple[str, str, str, str]]:
    """Kind, name, status and reason of whatever was not carried through."""
    for result in report.membership:
        match result.outcome:
            case Skipped(reason=reason):
                yield "membership attacks", result.card.id, "skipped", reason
            case Failed(error=error):
                yield "membership attacks", result.card.id, "failed", error
    others: dict[str, tuple[InversionResult | DefenseResult, ...]] = {
        "inversion attacks": report.inversion,
        "defenses": (*report.defenses, *report.defenses_not_planned),
    }
    for kind, results in others.items():
        for other in results:
            if other.status in {"skipped", "failed"}:
                yield kind, other.card.id, other.status, other.reason


def _named(kind: str, names: Sequence[str]) -> str:
    """A few by name, many only by their number."""
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)} {kind}"


def _doubts(report: AuditReport) -> Iterator[str]:
    for check in report.checks:
        if check.level is not CheckLevel.PASS:
            yield f"check {check.id}, {check.level}: {check.sentence}"
    for control in report.controls:
        if control.status in {"warn", "fail"}:
            yield f"control {control.id}, {control.status}: {control.sentence}"


def _cost(report: AuditReport) -> str:
    cpu = sum(timing.cpu_seconds for timing in report.timings)
    wall = sum(timing.wall_seconds for timing in report.timings)
    return f"CPU time {duration(cpu)}, elapsed {duration(wall)}"
