"""How far the audit has come: the instant answer at every stage, and the first page while nothing is decided."""

from __future__ import annotations

from auditor.findings import AuditReport, Completed, Measurement, TailEstimate
from auditor.report import pick, remedies, wording
from auditor.report.text import (
    cell,
    clean,
    count,
    counts,
    date,
    interval,
    interval_name,
    level,
    metric_name,
    metric_unit,
    short,
    sides,
    unit_of,
    value,
)
from auditor.report.view import Row, Table
from auditor.report.wording import Action, Number
from auditor.stats.estimate import Estimate

__all__ = ["actions", "banner", "best_of_all", "carrying_numbers", "instant", "instant_told", "is_preliminary", "scope"]

_HEADLINE = 10  # members that may be missed, as for false positives: below, n is too small for a headline


def is_preliminary(report: AuditReport) -> bool:
    """Whether no shadow model has been trained yet."""
    return report.stage == "target alone"


def banner(report: AuditReport) -> str:
    """What stands above everything else while it holds."""
    return "Preliminary: no shadow model has been trained; nothing is decided." if is_preliminary(report) else ""


# --- the instant answer ----------------------------------------------------------------------------------------------


def instant_told(report: AuditReport) -> str:
    """What the target alone showed, in words."""
    return "" if report.instant is None else clean(report.instant.sentence)


def instant(report: AuditReport) -> Table:
    """The estimate without shadows, and beside it what shadows found."""
    answer = report.instant
    rows = () if answer is None else (*map(_tail_row, answer.tail), *map(_found_row, answer.found))
    head = ("What", "Kind", "Share", "Without a leak", "n")
    beside = ", beside what shadows found" if answer is not None and answer.found else ""
    caption = f"Estimates without shadows of what shadows may find (no attack, decide nothing){beside}"
    return Table(f"{caption}; * n is too small for a headline", head, rows, frozenset({2, 4}))


def _tail_row(one: TailEstimate) -> Row:
    n = one.estimate.n
    small = " *" if "groups" in n or n.get("members", 0) * one.missed < _HEADLINE else ""
    what = f"Non-members with a loss above all but {level(one.missed)} of the members'"
    return Row((what, "estimate", cell(one.estimate, "share") + small, level(one.missed), sides(n)))


def _found_row(found: Measurement) -> Row:
    measured = cell(found.estimate, unit_of(found))
    return Row((clean(found.name), "attack with shadows", measured, clean(found.against), sides(found.estimate.n)))


# --- the first page --------------------------------------------------------------------------------------------------


def carrying_numbers(report: AuditReport) -> tuple[Number, Number, Number]:
    """The three numbers; while no shadow is trained, the best that attacks on the target alone reached."""
    if not is_preliminary(report):
        return wording.carrying_numbers(report)
    return (
        _at_once(report),
        Number("Inversion", "not yet", "", "", "Inversion attacks run once the shadows are trained."),
        Number("Best defense", "not yet", "", "", "Defenses are measured once the shadows are trained."),
    )


def _at_once(report: AuditReport) -> Number:
    choice, shown = report.secondary_at(report.plan.release), pick.headline(report)
    if choice is not None:
        titles = {result.card.id: result.card.title for result in report.membership}
        name = f"{metric_name(choice.metric, choice.fpr)}, by {short(titles.get(choice.attack_id, choice.attack_id))}"
        beside = (
            f"The best of {count(choice.chosen_from)} attacks on the target alone: chosen on one half of the records, "
            "told on the other. No control has run."
        )
        return _so_far(name, choice.reported_value, metric_unit(choice.metric), beside)
    if shown is None:
        return Number("Membership so far", "not measured", "", "", "No attack on the target alone ran.")
    end = shown.endpoint
    name = f"{metric_name(end.metric, end.fpr)}, by {short(shown.attack.card.title)}"
    beside = "An attack on the target alone. No control has run."
    return _so_far(name, end.estimate, metric_unit(end.metric), beside)


def _so_far(name: str, found: Estimate, unit: str, beside: str) -> Number:
    return Number(
        title=f"Membership so far: {name}",
        value=value(found, unit),
        interval=f"{interval_name(found)} {interval(found, unit)}",
        n=counts(found.n),
        beside=beside,
    )


def actions(report: AuditReport) -> tuple[Action, ...]:
    """At most three things to do; before anything is decided, what failed already and to let the scan go on."""
    if not is_preliminary(report):
        return remedies.actions(report)
    found = [Action(f"Settle first: {title}", sentence) for title, sentence in remedies.doubts(report)[:2]]
    go_on = "It goes on where it stopped when the same command is run again; shadows, controls and a verdict come then."
    return (*found, Action("Let the scan end before anything is decided on this model", go_on))


def scope(report: AuditReport) -> str:
    """What the report is evidence of."""
    if not is_preliminary(report):
        return wording.scope(report)
    ran = sum(isinstance(result.outcome, Completed) for result in report.membership)
    return (
        f"This is what {count(ran)} attacks on the target alone showed; the scan began on {date(report.created)}. It "
        "is no verdict: no attack with shadows, no inversion attack, no control and no defense has run."
    )


def best_of_all(report: AuditReport) -> str:
    """How far the attacks got, with the limit of that statement."""
    return "Attacks not run yet may find a leak." if is_preliminary(report) else wording.best_of_all(report)
