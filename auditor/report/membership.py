"""The evidence on membership: the attacks, what they saw, and which classes are exposed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from auditor.findings import (
    AttackCard,
    AttackResult,
    AuditReport,
    ClassExposure,
    Completed,
    Endpoint,
    Failed,
    Histogram,
    Metric,
    RocCurve,
    Role,
    Skipped,
)
from auditor.gate.numbers import bound_apart
from auditor.report import captions, figures, pick, wording
from auditor.report.endpoints import in_cell, missing
from auditor.report.text import (
    cell,
    clean,
    count,
    interval,
    level,
    listing,
    metric_name,
    metric_unit,
    p_value,
    scaled,
    short,
    sides,
    stated,
    value,
)
from auditor.report.view import Picture, Row, Table, picture
from auditor.threat import Access

__all__ = ["all_attacks", "exposure", "pictures", "primary_endpoints", "secondary"]

_CLASSES_SHOWN = 30
_DASHES: tuple[figures.Dash, ...] = (
    "-.",
    (0.0, (1.0, 1.2)),
    (0.0, (6.0, 1.5)),
)  # primary attacks other than the bold one
_BLIND, _NULL = figures.Line(figures.PURPLE, 1.2, (0.0, (5.0, 1.5))), figures.Line(figures.BLACK, 1.0, "-.")
_TPR_LEVELS = (0.001, 0.01, 0.1, 0.5)

# --- membership ------------------------------------------------------------------------------------------------------


def pictures(report: AuditReport) -> tuple[Picture, ...]:
    """The ROC curves, and the signals."""
    found = [_roc(report), *_histograms(report.histograms)]
    return tuple(picture for picture in found if picture is not None)


def _roc(report: AuditReport) -> Picture | None:
    curves = _curves(report) if report.stage == "complete" else []
    if not curves:
        return None
    floor, fpr = 1 / max(report.data.evaluated, 10), report.plan.tpr_fpr
    levels = tuple(level_ for level_ in _TPR_LEVELS if level_ >= floor)
    rows = tuple(
        Row((name, *(scaled(_tpr_at(curve.roc, level_), "share") for level_ in levels)))
        for curve in curves
        for name in curve.names
    )
    table = Table(
        "True positive rates read off the curves; the intervals are in the next table",
        ("Curve", *(f"{level(level_)} FPR" for level_ in levels)),
        rows,
        frozenset(range(1, len(levels) + 1)),
    )
    return picture(figures.roc(curves, floor, fpr), captions.ROC, captions.alt_roc(report), table)


def _curves(report: AuditReport) -> list[figures.Curve]:
    """The primary attacks, the one that carries the verdict first and bold, and the controls; equal curves once."""
    shown, dashes = pick.headline(report), cycle(_DASHES)
    carries = shown.attack.card.id if shown else ""
    ran = sorted(_primary_curves(report), key=lambda pair: pair[0].card.id != carries)
    curves = []
    for roc in dict.fromkeys(roc for _, roc in ran):
        same = [result for result, other in ran if other == roc]
        bold = carries in {result.card.id for result in same}
        line = figures.Line(figures.BLUE, 2.6, band=True) if bold else figures.Line(figures.BLUE, 1.1, next(dashes))
        curves.append(figures.Curve(tuple(map(_name, same)), roc, line))
    looks = {
        "blind": figures.Line(figures.PURPLE, 1.2, "--"),
        "null": figures.Line(figures.BLACK, 1.0, "--"),
        "planted": figures.Line(figures.SKY, 1.0),
    }
    for word, line in looks.items():
        control = pick.control(report, word)
        if control is not None and control.roc is not None:
            curves.append(figures.Curve((clean(control.title),), control.roc, line))
    return curves


def _primary_curves(report: AuditReport) -> Iterator[tuple[AttackResult, RocCurve]]:
    for result in report.membership:
        if result.role is Role.PRIMARY and isinstance(result.outcome, Completed) and pick.has_curve(result, report):
            yield result, result.outcome.roc


def _name(result: AttackResult) -> str:
    return f"{result.card.access}: {short(result.card.title)}"


def _tpr_at(roc: RocCurve, fpr: float) -> float:
    """The largest TPR that the curve reaches without exceeding the FPR; no point is invented."""
    return max((tpr for x, tpr in zip(roc.fpr, roc.tpr, strict=True) if x <= fpr), default=0.0)


@dataclass(frozen=True)
class _Line:
    """One attack of the chart and the table, with its TPR at the judged FPR and its AUC."""

    result: AttackResult
    ends: tuple[Endpoint | None, Endpoint | None]

    @property
    def order(self) -> tuple[int, tuple[float, ...]]:
        """Most access first, then the strongest."""
        return -self.result.card.access.rank, tuple(-end.estimate.value if end else 0.0 for end in self.ends)


def _lines(report: AuditReport) -> list[_Line]:
    fpr = report.plan.tpr_fpr
    found = [
        _Line(r, (pick.endpoint(r.outcome, Metric.TPR_AT_FPR, fpr), pick.endpoint(r.outcome, Metric.AUC, fpr)))
        for r in report.membership
    ]
    return sorted(found, key=lambda line: line.order)


def all_attacks(report: AuditReport) -> Picture | None:
    """Every attack that ran, primary or secondary."""
    lines = [line for line in _lines(report) if any(line.ends)]
    columns = [column for column in (0, 1) if any(line.ends[column] for line in lines)]
    if not columns:
        return None
    rows = [_dot(line, columns, report.plan.tpr_fpr) for line in lines]
    panels = [_panel(report, (Metric.TPR_AT_FPR, Metric.AUC)[column]) for column in columns]
    caption = captions.ATTACKS + _controls_told(panels)
    return picture(figures.dots(rows, panels), caption, captions.alt_attacks(report), _attack_table(report))


def _controls_told(panels: list[figures.Panel]) -> str:
    """What the marks are, and why there are none beside a TPR."""
    if not any(panel.marks for panel in panels):
        return ""
    return captions.CONTROLS + ("" if panels[0].marks else captions.CONTROLS_AUC_ONLY)


def _dot(line: _Line, columns: list[int], fpr: float) -> figures.Dot:
    ends = [line.ends[column] for column in columns]
    return figures.Dot(
        label=line.result.card.title,
        estimates=tuple(end.estimate if end else None for end in ends),
        filled=line.result.role is Role.PRIMARY,
        group=str(line.result.card.access),
        missing=missing(line.ends[1], fpr),
        starred=tuple(end is not None and end.appendix for end in ends),
    )


def _panel(report: AuditReport, metric: Metric) -> figures.Panel:
    plan, marks = report.plan, _marks(report, metric)
    if metric is Metric.AUC:
        return figures.Panel("AUC", 0.5, percent=False, limit=plan.auc_limit, from_chance=True, marks=marks)
    name = metric_name(metric, plan.tpr_fpr)
    return figures.Panel(name, plan.tpr_fpr, percent=True, limit=plan.tpr_limit, marks=marks)


def _marks(report: AuditReport, metric: Metric) -> tuple[figures.Mark, ...]:
    """The blind control beside all rows, the owner-label null beside those of its access."""
    return tuple(
        figures.Mark(
            clean(control.title),
            told.estimate,
            _BLIND if "blind" in control.id else _NULL,
            next((str(access) for access in Access if f"({access})" in told.name), ""),
        )
        for control, told in pick.control_values(report, metric)
    )


def _attack_table(report: AuditReport) -> Table:
    head = ("Attack", "Access", "Role", metric_name(Metric.TPR_AT_FPR, report.plan.tpr_fpr), "AUC", "n")
    rows = tuple(_attack_row(line, report.plan.tpr_fpr) for line in _lines(report))
    caption = "All membership attacks, with intervals; * n is too small for a headline"
    return Table(caption, head, rows, frozenset({3, 4, 5}), widths=(32, 8, 11, 22, 14, 13))


def _attack_row(line: _Line, fpr: float) -> Row:
    card, outcome = line.result.card, line.result.outcome
    name = (short(card.title), str(card.access), str(line.result.role))
    match outcome:
        case Skipped(reason=reason):
            return Row((*name, f"not run: {clean(reason)}"), "skipped")
        case Failed(error=error):
            return Row((*name, f"failed: {clean(error)}"), "fail")
    tpr, auc = line.ends
    n = next((sides(end.estimate.n) for end in line.ends if end), "–")
    return Row((*name, in_cell(tpr, missing(auc, fpr)), in_cell(auc), n))


def secondary(report: AuditReport) -> str:
    """The best secondary attack, and those that did not compete."""
    ran = [
        (one.card, one.outcome.evaluated_on)
        for one in report.membership
        if one.role is Role.SECONDARY and isinstance(one.outcome, Completed)
    ]
    apart = [
        f"{short(card.title)} ({reason})"
        for card, where in ran
        for reason, kept_apart in (
            ("given true membership of half of the records, which no outsider has", _knows_members(card)),
            ("asked of a sample of the records only", " of a sample of " in where),
        )
        if kept_apart
    ]
    beside = f" Not among them: {listing(apart)}." if apart and report.secondary_at(report.plan.release) else ""
    return wording.secondary(report) + beside


def _knows_members(card: AttackCard) -> bool:
    return any("true membership" in need for need in card.needs)


def primary_endpoints(report: AuditReport) -> Table:
    """The numbers that decide, with their bounds and limits."""
    rows = tuple(
        _bound_row(result, end)
        for result in report.membership
        if result.role is Role.PRIMARY and isinstance(result.outcome, Completed)
        for end in result.outcome.endpoints
        if not end.appendix
    )
    caption = f"Primary endpoints, corrected together at a family-wise error of {level(report.plan.family_wise_error)}"
    head = ("Attack and endpoint", "Estimate", "Upper bound", "Limit", "p, corrected", "Above chance")
    return Table(caption, head, rows, frozenset({1, 2, 3, 4}))


def _bound_row(result: AttackResult, end: Endpoint) -> Row:
    unit = metric_unit(end.metric)
    bound, limit = "–", "–"
    if end.upper_bound is not None and end.limit is not None:
        bound, limit = bound_apart(end.upper_bound, end.limit, unit), stated(end.limit, end.metric)
    adjusted = "–" if end.p_adjusted is None else p_value(end.p_adjusted)
    decision = {True: "yes", False: "no", None: "–"}[end.rejected]
    label = f"{_name(result)}, {metric_name(end.metric, end.fpr)}"
    return Row((label, cell(end.estimate, unit), bound, limit, adjusted, decision))


def _histograms(histograms: tuple[Histogram, ...]) -> list[Picture]:
    found = tuple(histogram for histogram in histograms if histogram.members)
    if not found:
        return []
    rows = tuple(
        Row((clean(h.signal), f"{scaled(low)} to {scaled(high)}", count(inside), count(outside)))
        for h in found
        for low, high, inside, outside in zip(h.edges, h.edges[1:], h.members, h.non_members, strict=False)
    )
    table = Table("Records per bin", ("Signal", "Bin", "Members", "Non-members"), rows, frozenset({1, 2, 3}))
    return [
        picture(
            figures.histograms(found), captions.HISTOGRAMS, captions.alt_histograms(found), table, print_table=False
        )
    ]


# --- exposure --------------------------------------------------------------------------------------------------------


def exposure(report: AuditReport) -> Picture | None:
    """The primary attack that sees most inside each class."""
    if not report.exposure:
        return None
    order = sorted(report.exposure, key=lambda each: each.auc.value, reverse=True)[:_CLASSES_SHOWN]
    rows = [figures.Dot(each.label, (each.auc,)) for each in order]
    panel = figures.Panel("AUC inside the class", 0.5, percent=False, from_chance=True)
    svg = figures.dots(rows, [panel])
    total, attack = len(report.exposure), _looked_at(report)
    table = Table(
        "AUC by class",
        ("Class", "AUC", f"{level(order[0].auc.confidence)} interval", "n"),
        tuple(_exposure_row(each) for each in order),
        frozenset({1, 2, 3}),
    )
    alt = captions.alt_exposure(attack, tuple(order), total)
    return picture(svg, captions.exposure(attack, len(order), total), alt, table)


def _looked_at(report: AuditReport) -> str:
    """The attack that exposure is told of: the primary one that sees most, whatever the release."""
    ran = [one.card for one in report.membership if one.role is Role.PRIMARY and isinstance(one.outcome, Completed)]
    if not ran:
        return "the primary attack"
    card = max(ran, key=lambda card: card.access.rank)
    more = "" if report.plan.release.includes(card.access) else f", which sees more than {report.plan.release}"
    return f"{short(card.title)} (primary, {card.access}{more})"


def _exposure_row(each: ClassExposure) -> Row:
    return Row((short(each.label), value(each.auc), interval(each.auc), sides(each.auc.n)))
