"""What each kind of output gives away, and how many records of each group are exposed."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.findings import AuditReport, Endpoint, Failed, Metric, OutputLeak, Skipped
from auditor.report import captions, figures, pick
from auditor.report.text import cell, clean, interval, metric_name, metric_unit, short, sides
from auditor.report.text import value as printed
from auditor.report.view import Picture, Row, Table, picture

__all__ = ["exposed_groups", "output_figure", "output_table"]


@dataclass(frozen=True)
class _Line:
    """One output with its TPR at the judged FPR and its AUC."""

    leak: OutputLeak
    tpr: Endpoint | None
    auc: Endpoint | None


def _lines(report: AuditReport) -> list[_Line]:
    fpr = report.plan.tpr_fpr
    return [
        _Line(leak, pick.endpoint(leak.outcome, Metric.TPR_AT_FPR, fpr), pick.endpoint(leak.outcome, Metric.AUC, fpr))
        for leak in report.output_matrix
    ]


def output_figure(report: AuditReport) -> Picture | None:
    """Dots with intervals from the finest output to the coarsest; None where nothing was measured."""
    lines = [line for line in _lines(report) if line.auc]
    if not lines:
        return None
    with_tpr = any(line.tpr for line in lines)
    dots = [
        figures.Dot(
            label=line.leak.granularity,
            estimates=tuple(
                end.estimate if end else None for end in ((line.tpr, line.auc) if with_tpr else (line.auc,))
            ),
            filled=False,
            group=str(line.leak.access),
        )
        for line in lines
    ]
    fpr = report.plan.tpr_fpr
    panels = [figures.Panel(metric_name(Metric.TPR_AT_FPR, fpr), fpr, percent=True)] if with_tpr else []
    panels.append(figures.Panel("AUC", 0.5, percent=False))
    return picture(figures.dots(dots, panels), captions.OUTPUTS, _alt(lines), output_table(report))


def _alt(lines: list[_Line]) -> str:
    ends = [f"{short(line.leak.granularity)} {cell(line.auc.estimate)}" for line in lines if line.auc]
    return f"AUC of the attack on each kind of output, finest first: {'; '.join(ends)}."


def output_table(report: AuditReport) -> Table:
    """Every kind of output with what is seen of it, and what that gives away or why it was not measured."""
    head = ("Output", "Attack", metric_name(Metric.TPR_AT_FPR, report.plan.tpr_fpr), "AUC", "n")
    caption = "What each kind of output gives away, with intervals, not corrected; * n is too small for a headline"
    return Table(caption, head, tuple(_row(line) for line in _lines(report)), frozenset({2, 3, 4}))


def _row(line: _Line) -> Row:
    leak = line.leak
    name = (f"{short(leak.granularity)} ({leak.access})", clean(leak.seen))
    match leak.outcome:
        case Skipped(reason=reason):
            return Row((name, f"not run: {clean(reason)}"), "skipped")
        case Failed(error=error):
            return Row((name, f"failed: {clean(error)}"), "fail")
    n = next((sides(end.estimate.n) for end in (line.auc, line.tpr) if end), "–")
    return Row((name, clean(leak.attack), _cell(line.tpr), _cell(line.auc), n))


def _cell(end: Endpoint | None) -> str:
    if end is None:
        return "–"
    return cell(end.estimate, metric_unit(end.metric)) + (" *" if end.appendix else "")


def exposed_groups(report: AuditReport) -> Table:
    """The groups with exposed records, most first."""
    rows = tuple(
        Row((short(one.id), printed(one.flagged, "share"), interval(one.flagged, "share"), sides(one.flagged.n)))
        for one in report.group_exposure
    )
    head = ("Group", "Exposed among its members", "Interval", "Members audited")
    caption = "Exposed records by group (one person, many records), under opaque ids, most first; 20 groups at most"
    return Table(caption, head, rows, frozenset({1, 2, 3}))
