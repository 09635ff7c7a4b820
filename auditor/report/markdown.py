"""The report in a screenful of Markdown, for a pull request or a job summary."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auditor.findings import AuditReport, CheckLevel
from auditor.report import pick, wording
from auditor.report.text import clean, date, phrase, short, unit_of

__all__ = ["render_markdown"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$#@])")


def render_markdown(report: AuditReport) -> str:
    """Verdicts, the numbers that carry them, controls and doubts; the full report has the evidence."""
    parts = (
        [f"# Privacy audit of {_escape(short(report.model.name))}"],
        [_subtitle(report)],
        _verdicts(report),
        _numbers(report),
        ["**What to do**", "", *(f"* {_escape(a.title)}. {_escape(a.effect)}" for a in wording.actions(report))],
        _controls(report),
        [_escape(wording.scope(report)), _escape(wording.best_of_all(report)), *_not_run(report)],
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", clean(text)).replace("://", r"\://")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *(tuple(_escape(cell) for cell in row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _subtitle(report: AuditReport) -> str:
    facts = (
        f"{report.model.architecture}, sha256 {short(report.model.sha256[:12])}, {date(report.created)}, "
        f"privaudit {report.environment.privaudit}, release: {report.plan.release}, "
        f"severity: {wording.severity(report)}"
    )
    return _escape(facts)


def _verdicts(report: AuditReport) -> list[str]:
    rows = [
        (
            str(access),
            str(verdict.family),
            f"{wording.state_icon(verdict.state)} {wording.state_name(verdict.state)}",
            verdict.sentence,
        )
        for access in pick.RELEASES
        for verdict in pick.verdicts_at(report, access)
    ]
    return _table(("Release", "Question", "Verdict", "Why"), rows)


def _numbers(report: AuditReport) -> list[str]:
    rows = [
        (number.title, number.value, number.interval, number.n, number.beside)
        for number in wording.carrying_numbers(report)
    ]
    return _table(("Number", "Value", "Interval", "n", "Beside it"), rows)


def _controls(report: AuditReport) -> list[str]:
    rows = [
        (
            c.title,
            wording.mark(c.status),
            "; ".join(f"{m.name} {phrase(m.estimate, unit_of(m))}" for m in c.measurements),
        )
        for c in report.controls
    ]
    rows += [
        (check.title, wording.mark(check.level), check.sentence)
        for check in report.checks
        if check.level is not CheckLevel.PASS
    ]
    return _table(("Control or check", "Result", "Measured"), rows)


def _not_run(report: AuditReport) -> list[str]:
    names = [
        f"{wording.named(cards)} ({clean(reason).rstrip('.')})" for cards, reason in pick.not_run_by_reason(report)
    ]
    return [_escape(f"Not run: {'; '.join(names)}.")] if names else []
