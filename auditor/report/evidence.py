"""The rest of the evidence: defenses, controls and checks."""

from __future__ import annotations

from auditor.findings import (
    AuditReport,
    ControlResult,
    DefenseEffect,
    DefenseResult,
    Measurement,
    Metric,
)
from auditor.report import captions, defaults, figures, pick, wording
from auditor.report.text import (
    cell,
    clean,
    count,
    counts,
    metric_name,
    metric_unit,
    scaled,
    short,
    sides,
)
from auditor.report.view import Picture, Row, Table, picture
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = [
    "checks",
    "controls",
    "defense_effects",
    "defense_table",
    "defenses",
    "doses",
]

# --- defenses --------------------------------------------------------------------------------------------------------


def _judged(report: AuditReport) -> list[pick.Judged]:
    """Completed defenses, each with the effect by which it is judged: on the headline's metric, else on AUC."""
    shown = pick.headline(report)
    if shown is None:
        return []
    metric, fpr = shown.endpoint.metric, shown.endpoint.fpr
    found = (
        pick.judged(defense, metric, fpr, access) or pick.judged(defense, Metric.AUC, None, access)
        for defense in report.defenses
        if defense.status == "completed"
        for access in [pick.judged_at(defense, report.plan.release)]
    )
    return [each for each in found if each is not None]


def defenses(report: AuditReport) -> Picture | None:
    """Utility against leakage."""
    shown = pick.headline(report)
    found = [
        (each, cost)
        for each in _judged(report)
        for cost in [pick.utility(each.defense)]
        if cost is not None and shown is not None and each.effect.metric is shown.endpoint.metric
    ]
    if not found:
        return None
    (first, cost), judged = found[0], tuple(each for each, _ in found)
    svg = figures.moves(
        [_move(each, cost.measurement.estimate) for each, cost in found],
        metric_name(first.effect.metric, first.effect.fpr),
        f"{clean(cost.measurement.name).capitalize()}" + (", percentage points" if cost.change else ""),
        percent=first.effect.metric is Metric.TPR_AT_FPR,
        change=cost.change,
    )
    return picture(svg, captions.DEFENSES, captions.alt_defenses(judged), defense_effects(report))


def _move(each: pick.Judged, utility: Estimate) -> figures.Move:
    card, effect = each.defense.card, each.effect
    return figures.Move(card.title, utility, each.left, effect.static, effect.undefended, card.acts_on == "output")


def defense_effects(report: AuditReport) -> Table:
    """Every attack before and after each defense."""
    rows = tuple(_effect_row(defense, effect) for defense in report.defenses for effect in defense.effects)
    head = ("Defense, attack", "Undefended", "As the paper attacks", "Adaptive", "Change (points, or AUC)", "n")
    return Table(
        "Every attack before and after each defense, on the same records", head, rows, frozenset({1, 2, 3, 4, 5})
    )


def _effect_row(defense: DefenseResult, effect: DefenseEffect) -> Row:
    unit = metric_unit(effect.metric)
    endpoint = metric_name(effect.metric, effect.fpr)
    label = f"{short(defense.card.title)}: {short(effect.attack_id)} ({effect.access}), {endpoint}"
    ends = (_maybe(end, unit) for end in (effect.undefended, effect.static, effect.adaptive))
    return Row((label, *ends, _change(effect), sides(effect.undefended.n)))


def _change(effect: DefenseEffect) -> str:
    """The change without its unit, which stands in the heading."""
    if effect.change is None:
        return "–"
    return cell(effect.change, "points" if metric_unit(effect.metric) else "").replace("\u00a0points", "")


def _maybe(estimate: Estimate | None, unit: str) -> str:
    return "–" if estimate is None else cell(estimate, unit)


def defense_table(report: AuditReport) -> Table:
    """What each defense leaves to whom, and what it costs."""
    judged = {id(each.defense): each for each in _judged(report)}
    rows = tuple(_defense_row(defense, judged.get(id(defense))) for defense in report.defenses)
    head = ("Defense", "As the paper attacks", "Adaptive", "If weights are released", "Cost", "Seeds")
    shown = pick.headline(report)
    name = metric_name(shown.endpoint.metric, shown.endpoint.fpr) if shown else "leakage"
    unless = ", unless the cell says AUC" if shown and shown.endpoint.metric is not Metric.AUC else ""
    caption = f"What each defense leaves ({name}{unless}) and what it costs"
    return Table(caption, head, rows, frozenset({1, 2, 5}))


def _defense_row(defense: DefenseResult, judged: pick.Judged | None) -> Row:
    title = short(defense.card.title)
    if defense.status != "completed" or judged is None:
        reason = clean(defense.reason) or "no endpoint to compare"
        return Row((title, f"{defense.status}: {reason}"), "fail" if defense.status == "failed" else "skipped")
    effect = judged.effect
    file_out = pick.judged(defense, effect.metric, effect.fpr, Access.WEIGHTS)
    return Row(
        (
            title,
            _left(effect.static, effect.metric),
            _left(judged.left, effect.metric),
            f"void: {clean(defense.void_when_weights)}"
            if defense.void_when_weights
            else _left(file_out.left if file_out else None, effect.metric),
            _measured(pick.accuracies(defense) or defense.costs),
            count(defense.seeds),
        )
    )


def _measured(measurements: tuple[Measurement, ...]) -> tuple[str, ...]:
    return tuple(wording.measured(measurement) for measurement in measurements) or ("–",)


def _left(estimate: Estimate | None, metric: Metric) -> str:
    name = "AUC " if metric is Metric.AUC and estimate else ""
    return name + _maybe(estimate, metric_unit(metric))


# --- controls and checks ---------------------------------------------------------------------------------------------


def controls(report: AuditReport) -> Table:
    """Every control with its number."""
    rows = tuple(_control_row(control) for control in report.controls)
    return Table("Controls", ("Control", "Result", "What was seen"), rows)


def _control_row(control: ControlResult) -> Row:
    name = (clean(control.title), clean(control.question))
    voids = f" Voids: {', '.join(control.voids)}." if control.voids and control.status != "pass" else ""
    seen = (clean(control.sentence) + voids, *(wording.measured(measurement) for measurement in control.measurements))
    return Row((name, wording.mark(control.status), seen), control.status, links=defaults.of(control.id))


def doses(report: AuditReport) -> Picture | None:
    """The planted control as a dose curve."""
    control = pick.control(report, "planted")
    if control is None or not control.doses:
        return None
    table = Table(
        "Planted leaks and how often they were found",
        ("Access", "Records planted", "TPR of the planted leak", "Found", "n"),
        tuple(
            Row(
                (
                    dose.access,
                    scaled(dose.dose, "share"),
                    cell(dose.tpr, "share"),
                    cell(dose.detected, "share"),
                    counts(dose.detected.n),
                )
            )
            for dose in control.doses
        ),
        frozenset({1, 2, 3, 4}),
    )
    return picture(
        figures.doses(control.doses, report.plan.tpr_limit), captions.DOSES, captions.alt_doses(control), table
    )


def checks(report: AuditReport) -> Table:
    """Every check with what it takes away."""
    rows = tuple(
        Row(
            (
                clean(check.title),
                wording.mark(check.level),
                clean(check.sentence) + (f" Voids: {', '.join(check.voids)}." if check.voids else ""),
            ),
            str(check.level),
            links=defaults.of(check.id),
        )
        for check in report.checks
    )
    return Table("Checks", ("Check", "Result", "What was seen"), rows)
