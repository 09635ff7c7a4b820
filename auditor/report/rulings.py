"""What the policy says, in the words of every format: the gate's answer, its rulings, its waivers.

It is judged elsewhere (`auditor.policy`) and only told here, with the day of judgement: ages and waivers depend on it.
"""

from __future__ import annotations

from datetime import UTC

from auditor.findings import Measurement, Metric
from auditor.gate.numbers import bound_apart
from auditor.gate.ruling import Gate, Outcome, Ruling
from auditor.limits import declared, declared_share
from auditor.policy_file import Waiver
from auditor.report.text import cell, clean, count, counts, date, interval_name, short, unit_of
from auditor.report.view import Judged, Row, Table

__all__ = ["asked", "day", "idle", "judged", "mark", "notes", "table", "told", "waived"]

_OUTCOMES: dict[Outcome, tuple[str, str, str]] = {
    "pass": ("Pass", "✓", "nothing-found"),
    "fail": ("Fail", "✗", "leak-found"),
    "inconclusive": ("Inconclusive", "?", "cannot-say"),
}
_NONE = "–"
_MARKS: dict[Outcome, str] = {"pass": "", "fail": "fail", "inconclusive": "warn"}
_HEAD = ("Rule", "Outcome", "What decided", "Limit", "Waiver")


def judged(gate: Gate) -> Judged:
    """The answer of the gate as the first page prints it, in the colours of the verdicts."""
    name, icon, kind = _OUTCOMES[gate.outcome]
    return Judged(
        policy=short(gate.policy),
        name=name,
        icon=icon,
        kind=kind,
        release=f"for release of {gate.release}, in {gate.mode} mode",
        when=f"judged on {day(gate)}",
        sentence=clean(gate.sentence),
        rulings=table(gate),
        idle=tuple(f"Waiver for {idle(one, gate)}" for one in gate.idle_waivers),
        notes=notes(gate),
    )


def asked(gate: Gate) -> str:
    """By what was judged, when, for which release and in which mode."""
    return f"By {short(gate.policy)}, judged on {day(gate)} for release of {gate.release} in {gate.mode} mode"


def day(gate: Gate) -> str:
    """The day of judgement; in the zone by which waivers expire."""
    return f"{date(gate.judged_at.astimezone(UTC))} (UTC)"


def mark(outcome: Outcome) -> str:
    """Sign and word."""
    name, icon, _ = _OUTCOMES[outcome]
    return f"{icon}\u00a0{name.lower()}"


def table(gate: Gate) -> Table:
    """Every rule with its outcome, the number that decided, its limit and its waiver."""
    return Table(f"The rules of {short(gate.policy)}", _HEAD, tuple(map(_row, gate.rulings)))


def told(ruling: Ruling) -> str:
    """A ruling in words: the sentence, and the waiver where one holds."""
    return f"{clean(ruling.sentence)} {waived(ruling)}".strip()


def waived(ruling: Ruling) -> str:
    """Until when and why the rule need not be met; nothing where it has to be."""
    if ruling.waiver is None:
        return ""
    return f"Waived {_until(ruling.waiver)}."


def _until(waiver: Waiver) -> str:
    return f"until {waiver.expires}: {clean(waiver.reason).rstrip('.')}"


def idle(waiver: Waiver, gate: Gate) -> str:
    """A waiver that no ruling took, and why."""
    state = "is not needed" if waiver.holds(gate.day) else "has expired and does not count"
    return f"{waiver.rule}, until {waiver.expires}, {state}: {clean(waiver.reason)}"


def notes(gate: Gate) -> tuple[str, ...]:
    """Of which model it is said, what was not judged, what was given in vain: a sentence each."""
    return tuple(f"{note.about.capitalize()}: {clean(note.sentence).rstrip('.')}." for note in gate.notes)


def _row(ruling: Ruling) -> Row:
    outcome = (mark(ruling.outcome), "waived") if ruling.waiver else mark(ruling.outcome)
    cells = (
        ruling.name,
        outcome,
        _decided(ruling),
        _limit(ruling) or _NONE,
        _NONE if ruling.waiver is None else _until(ruling.waiver),
    )
    return Row(cells, "warn" if ruling.waiver else _MARKS[ruling.outcome])


def _decided(ruling: Ruling) -> str | tuple[str, ...]:
    """The number with its interval, n and bound; the sentence where no number was held against a limit."""
    if ruling.measured is None or ruling.limit is None:
        return clean(ruling.sentence)
    found = ruling.measured.estimate
    told = f"{clean(ruling.measured.name)}: {cell(found, unit_of(ruling.measured))}"
    bound = _bound(ruling, ruling.measured, ruling.limit)
    why = "passes because the policy is lenient" if ruling.lenient else ""
    return told, f"{interval_name(found)}; {counts(found.n)}", *(one for one in (bound, why) if one)


def _bound(ruling: Ruling, measured: Measurement, limit: float) -> str:
    """What was held against the limit, where that is no end of the interval and no failure decided already."""
    if ruling.bound is None or ruling.outcome == "fail" or ruling.bound == measured.estimate.high:
        return ""
    if ruling.rule == "inversion_excess":
        return f"at most {bound_apart(ruling.bound, limit, 'excess')} over the best control"
    return f"simultaneous upper bound {bound_apart(ruling.bound, limit, measured.unit)}"


def _limit(ruling: Ruling) -> str:
    """What the rule asks for, where that is a number."""
    if ruling.limit is None:
        return ""
    match ruling.rule:
        case "no_worse_than_last":
            return f"a rise under {f'{100 * ruling.limit:g} points' if _of_rate(ruling) else declared(ruling.limit)}"
        case "least_evaluated":
            return f"at least {count(round(ruling.limit))} a side"
        case "claimed_epsilon":
            return f"epsilon {ruling.limit:g}"
        case _:
            return f"under {declared_share(ruling.limit) if _of_rate(ruling) else declared(ruling.limit)}"


def _of_rate(ruling: Ruling) -> bool:
    return Metric.TPR_AT_FPR in {ruling.rule, ruling.on}
