"""What each kind of output gives away, and how many records of each group are exposed."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.findings import AuditReport, Endpoint, Failed, Metric, OutputLeak, Skipped
from auditor.report import captions, figures, pick
from auditor.report.endpoints import in_cell, missing
from auditor.report.text import cell, clean, interval, metric_name, short, sides
from auditor.report.text import value as printed
from auditor.report.view import Picture, Row, Table, picture

__all__ = ["exposed_groups", "output_figure", "output_table"]


@dataclass(frozen=True)
class _Line:
    """One output with its TPR at the judged FPR and its AUC."""

    leak: OutputLeak
    tpr: Endpoint | None
    auc: Endpoint | None

    def ends(self, *, with_tpr: bool) -> tuple[Endpoint | None, ...]:
        """What is drawn of it."""
        return (self.tpr, self.auc) if with_tpr else (self.auc,)


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
    with_tpr, fpr = any(line.tpr for line in lines), report.plan.tpr_fpr
    dots = [
        figures.Dot(
            label=line.leak.granularity,
            estimates=tuple(end.estimate if end else None for end in line.ends(with_tpr=with_tpr)),
            filled=False,
            group=str(line.leak.access),
            missing=missing(line.auc, fpr),
            starred=tuple(end is not None and end.appendix for end in line.ends(with_tpr=with_tpr)),
        )
        for line in lines
    ]
    panels = [figures.Panel(metric_name(Metric.TPR_AT_FPR, fpr), fpr, percent=True)] if with_tpr else []
    panels.append(figures.Panel("AUC", 0.5, percent=False, from_chance=True))
    return picture(figures.dots(dots, panels), captions.OUTPUTS, _alt(lines), output_table(report))


def _alt(lines: list[_Line]) -> str:
    ends = [f"{short(line.leak.granularity)} {cell(line.auc.estimate)}" for line in lines if line.auc]
    return f"AUC of the attack on each kind of output, finest first: {'; '.join(ends)}."


def output_table(report: AuditReport) -> Table:
    """Every kind of output with what is seen of it, and what that gives away or why it was not measured."""
    head = ("Output", "Attack", metric_name(Metric.TPR_AT_FPR, report.plan.tpr_fpr), "AUC", "n")
    rows = tuple(_row(line, report.plan.tpr_fpr) for line in _lines(report))
    caption = "By kind of output, with intervals, not corrected; * n is too small for a headline"
    return Table(caption, head, rows, frozenset({2, 3, 4}))


def _row(line: _Line, fpr: float) -> Row:
    leak = line.leak
    name = (f"{short(leak.granularity)} ({leak.access})", clean(leak.seen))
    match leak.outcome:
        case Skipped(reason=reason):
            return Row((name, f"not run: {clean(reason)}"), "skipped")
        case Failed(error=error):
            return Row((name, f"failed: {clean(error)}"), "fail")
    n = next((sides(end.estimate.n) for end in (line.auc, line.tpr) if end), "–")
    return Row((name, clean(leak.attack), in_cell(line.tpr, missing(line.auc, fpr)), in_cell(line.auc), n))


def exposed_groups(report: AuditReport) -> Table:
    """The groups with exposed records, most first."""
    rows = tuple(
        Row((short(one.id), printed(one.flagged, "share"), interval(one.flagged, "share"), sides(one.flagged.n)))
        for one in report.group_exposure
    )
    head = ("Group", "Exposed among its members", "Interval", "Members audited")
    caption = "Exposed records by group (one person, many records), under opaque ids, most first; 20 groups at most"
    return Table(caption, head, rows, frozenset({1, 2, 3}))
