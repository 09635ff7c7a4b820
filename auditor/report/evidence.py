"""The rest of the evidence: controls and checks."""

from __future__ import annotations

from auditor.findings import AuditReport, ControlResult
from auditor.report import captions, defaults, figures, pick, wording
from auditor.report.text import cell, clean, counts, scaled
from auditor.report.view import Picture, Row, Table, picture

__all__ = ["checks", "controls", "doses"]


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
