"""The report in a screenful of Markdown, for a pull request or a job summary."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auditor.findings import AuditReport, CheckLevel, ControlResult, Measurement, Metric
from auditor.gate.ruling import Gate
from auditor.report import canaries, defended, limits, pick, rulings, stage, wording
from auditor.report.text import cell, clean, counts, date, interval_name, listing, phrase, short, unit_of, whole
from auditor.report.wording import Action

__all__ = ["as_table", "banner", "escape", "judged", "numbers", "render_markdown", "subtitle", "verdicts"]

_LINE, _PARAGRAPH = 600, 1_500  # characters
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$#@])")


def render_markdown(report: AuditReport, gate: Gate | None = None) -> str:
    """Verdicts, policy, the numbers that carry them, controls and doubts; the full report has the evidence."""
    parts = (
        [f"# Privacy audit of {escape(short(report.model.name))}"],
        banner(report),
        [subtitle(report)],
        verdicts(report),
        judged(gate),
        numbers(report),
        ["**What to do**", "", *map(_action, stage.actions(report))],
        _instant(report),
        _canaries(report),
        _controls(report),
        _limits(report),
        _defenses(report),
        [escape(stage.scope(report)), _findings(report), *_not_run(report)],
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def escape(text: str, limit: int = _LINE) -> str:
    """Text that no Markdown reader takes for markup, a link or a mention; one line of `limit` characters at most."""
    return _SPECIAL.sub(r"\\\1", clean(text, limit)).replace("://", r"\://")


def as_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The lines of a table; cells are escaped."""
    lines = [head, tuple("---" for _ in head), *(tuple(escape(cell) for cell in row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def banner(report: AuditReport) -> list[str]:
    """What stands above everything else while it holds."""
    told = stage.banner(report)
    return [f"> **{escape(told)}**"] if told else []


def subtitle(report: AuditReport) -> str:
    """Which file was audited when, and for which release."""
    facts = (
        f"{report.model.architecture}, sha256 {short(report.model.sha256[:12])}, {date(report.created)}, "
        f"privaudit {report.environment.privaudit}, release: {report.plan.release}, "
        f"severity: {wording.severity(report)}"
    )
    return escape(facts)


def verdicts(report: AuditReport) -> list[str]:
    """The verdict for every way of release, as a table."""
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
    return as_table(("Release", "Question", "Verdict", "Why"), rows)


def judged(gate: Gate | None) -> list[str]:
    """What the policy says, rule by rule; nothing where none was asked."""
    if gate is None:
        return []
    found = rulings.judged(gate)
    said = f"**What the policy says: {found.icon} {found.name}.** {escape(f'{rulings.asked(gate)}. {found.sentence}')}"
    rows = [
        tuple("; ".join((one,) if isinstance(one, str) else one) for one in row.cells) for row in found.rulings.rows
    ]
    beside = ["", *(f"* {escape(told)}" for told in (*found.idle, *found.notes))]
    return [said, "", *as_table(found.rulings.head, rows), *beside]


def numbers(report: AuditReport) -> list[str]:
    """The numbers that carry the report, as a table."""
    rows = [
        (number.title, number.value, number.interval, number.n, number.beside)
        for number in stage.carrying_numbers(report)
    ]
    return as_table(("Number", "Value", "Interval", "n", "Beside it"), rows)


def _action(action: Action) -> str:
    """The command as code: there nothing is markup but the mark itself, which no command has."""
    command = f" `{clean(action.command).replace('`', '')}`" if action.command else ""
    return f"* {escape(action.title)}. {escape(action.effect, _PARAGRAPH)}{command}"


def _instant(report: AuditReport) -> list[str]:
    told, table = stage.instant_told(report), stage.instant(report)
    if not told:
        return []
    head, rows = tuple(table.head), [tuple(map(str, row.cells)) for row in table.rows]
    return [f"**At once, from the target alone.** {escape(told)}", *(["", *as_table(head, rows)] if rows else [])]


def _canaries(report: AuditReport) -> list[str]:
    told = canaries.told(report)
    return [f"**What the canaries show.** {escape(told)}"] if told else []


def _limits(report: AuditReport) -> list[str]:
    """Limits that are not the defaults, and those that so many records cannot decide."""
    policy, undecided = limits.own_policy(report), limits.undecided(report)
    told = ([f"The policy is {policy}."] if policy else []) + ([undecided] if undecided else [])
    return [f"**Limits.** {escape(' '.join(told))}"] if told else []


def _defenses(report: AuditReport) -> list[str]:
    """What to take where the actions do not say it, and what was not measured."""
    said = " ".join(action.effect for action in stage.actions(report))
    told = [
        f"{wording.release_name(one.release)}: {wording.advice_told(one)}"
        for one in report.advice
        if clean(one.sentence) not in said
    ]
    told += [
        f"Not measured: {listing([short(one.card.title) for one in defenses])} ({clean(reason).rstrip('.')})."
        for defenses, reason in defended.unmeasured_by_reason(report)
    ]
    return [f"**Defenses.** {' '.join(map(escape, told))}"] if told else []


def _findings(report: AuditReport) -> str:
    return " ".join(escape(told) for told in (stage.best_of_all(report), _outputs(report)) if told)


def _outputs(report: AuditReport) -> str:
    """What each kind of output gives away, in one sentence."""
    measured = [(leak, pick.endpoint(leak.outcome, Metric.AUC, 0.0)) for leak in report.output_matrix]
    found = [(leak.granularity, end.estimate) for leak, end in measured if end]
    if not found:
        return ""
    first = found[0][1]
    what = f"AUC of one attacker, {interval_name(first)}, {counts(first.n)}, not corrected"
    start = f"What each kind of output gives away ({what}): "
    told = whole([f"{short(name)} {cell(estimate)}" for name, estimate in found], _LINE - len(start) - 1)
    return f"{start}{told}."


def _controls(report: AuditReport) -> list[str]:
    rows = [
        (
            c.title,
            wording.mark(c.status),
            whole([f"{clean(m.name)} {phrase(m.estimate, unit_of(m))}" for m in _declared_first(report, c)]),
        )
        for c in report.controls
    ]
    rows += [
        (check.title, wording.mark(check.level), check.sentence)
        for check in report.checks
        if check.level is not CheckLevel.PASS
    ]
    return as_table(("Control or check", "Result", "Measured"), rows) if rows else []


def _declared_first(report: AuditReport, control: ControlResult) -> list[Measurement]:
    """What a control measured, the declared release before the others."""
    return sorted(control.measurements, key=lambda one: f"({report.plan.release})" not in one.name)


def _not_run(report: AuditReport) -> list[str]:
    names = [
        f"{wording.named(cards)} ({clean(reason).rstrip('.')})" for cards, reason in pick.not_run_by_reason(report)
    ]
    return [escape(f"Not run: {whole(names, _PARAGRAPH - 20)}.", _PARAGRAPH)] if names else []
