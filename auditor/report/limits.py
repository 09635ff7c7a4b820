"""What the evidence was held against: limits, the table of severity, and what so many records can decide of it."""

from __future__ import annotations

from auditor.findings import AuditReport, CheckLevel, EndpointPower, Metric, Void
from auditor.limits import Limits
from auditor.report.text import clean, count, level, listing, metric_name, metric_unit, scaled, stated
from auditor.report.view import Facts, Row, Table

__all__ = ["facts", "own_policy", "power", "power_told", "undecided"]


def facts(report: AuditReport) -> Facts:
    """Limits and severity table as they were used, and whose they are."""
    whose = "the defaults" if report.plan.default_policy else "the owner's, not the defaults"
    return (
        ("Limits", f"{_limits(report)}; {whose}"),
        ("Severity", f"by lower interval bounds: {_severity(report)} at {level(Limits.fpr)} FPR; {whose}"),
    )


def own_policy(report: AuditReport) -> str:
    """What a reader has to know at once where the defaults were not used; else nothing."""
    told = f"not the defaults of privaudit; limits: {_limits(report)}; severity: {_severity(report)}"
    return "" if report.plan.default_policy else told


def _limits(report: AuditReport) -> str:
    plan = report.plan
    return f"AUC {stated(plan.auc_limit, Metric.AUC)}, TPR {level(plan.tpr_limit)} at {level(plan.tpr_fpr)} FPR"


def _severity(report: AuditReport) -> str:
    rows = report.plan.severity.rows
    return ", ".join(f"{name} from AUC {stated(row.auc, Metric.AUC)} or TPR {level(row.tpr)}" for name, row in rows)


def power(report: AuditReport) -> Table:
    """What this many records find, and which limits they can decide."""
    head = ("Endpoint", "n a side", "Smallest leak found", "Limit", "n that decides it", "Decided by this n")
    shares = {level(one.power) for one in report.plan.power}
    caption = f"Computed, not measured: what this n finds and decides, with {listing(sorted(shares))} power"
    return Table(caption, head, tuple(map(_power_row, report.plan.power)), frozenset({1, 2, 3, 4}))


def _power_row(one: EndpointPower) -> Row:
    unit = "groups" if one.grouped else "records"
    found = "nothing" if one.smallest is None else scaled(one.smallest, metric_unit(one.metric))
    needed = "–" if one.needed is None else count(one.needed)
    name, limit = metric_name(one.metric, one.fpr), stated(one.limit, one.metric)
    cells = (name, f"{count(one.n)} {unit}", found, limit, needed, "yes" if one.decided else "no")
    return Row(cells, "" if one.decided else "warn")


def power_told(report: AuditReport) -> str:
    """How the power was computed, and what takes it away."""
    found = report.plan.power
    if not found:
        return ""
    tests = listing(list(dict.fromkeys(scaled(one.level, "share") for one in found)))
    told = [
        (
            "The smallest leak that the primary tests would find with this many records, and how many bring the upper "
            "bound under each limit where nothing leaks. Each endpoint by itself, for normal scores that membership "
            f"shifts, with one-sided tests at {tests}."
        )
    ]
    if any(one.grouped for one in found):
        told.append("Groups of records count as one record each, which is a rough guide.")
    if voided := _voided(report):
        told.append(f"Taken away by: {listing(voided)}. A leak may stay unseen whatever the number of records.")
    return " ".join(told)


def _voided(report: AuditReport) -> list[str]:
    controls = [clean(control.title) for control in report.controls if Void.POWER in control.voids]
    checks = [clean(c.title) for c in report.checks if Void.POWER in c.voids and c.level is not CheckLevel.PASS]
    return controls + checks


def undecided(report: AuditReport) -> str:
    """The limits that so many records cannot decide, in words."""
    return " ".join(clean(one.sentence) for one in report.plan.power if not one.decided)
