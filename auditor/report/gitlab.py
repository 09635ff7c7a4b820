"""GitLab's code quality report, for the merge request: every point that there is something to tell of.

GitLab compares reports by fingerprint: what the target branch had already is not told again. Fingerprints are those of
the SARIF format; the path is the name of the checkpoint, as paths stay with the owner.
"""

from __future__ import annotations

from auditor.findings import AuditReport, Severity
from auditor.gate.ruling import Gate
from auditor.report import points
from auditor.report.jsonfile import inert_json
from auditor.report.points import Kind, Point
from auditor.report.sarif import place

__all__ = ["render_gitlab"]


def render_gitlab(report: AuditReport, gate: Gate | None = None) -> str:
    """The report, with what a policy says of it, as a JSON array of findings; empty where there is nothing to tell."""
    return inert_json(
        [
            {
                "description": point.told,
                "check_name": f"privaudit/{point.rule.id}",
                "fingerprint": points.fingerprint(report.model.name, point),
                "severity": _severity(report, point),
                "location": {"path": place(report), "lines": {"begin": 1}},
            }
            for point in points.of(report, gate)
            if point.level != "none"
        ]
    )


def _severity(report: AuditReport, point: Point) -> str:
    """GitLab has five: blocker is for a leak of severity critical alone."""
    critical = point.kind is Kind.VERDICT and report.severity is Severity.CRITICAL
    match point.level:
        case "error":
            return "blocker" if critical else "critical"
        case "warning":
            return "major"
        case _:
            return "info"
