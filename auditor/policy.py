"""What a release may show: how severe a found membership leak is, and whether it stops a release.

A leak that was found is at least low. It is moderate, high or critical where a primary endpoint lies, with its whole
interval, at or above either number of that row of the plan's table (`auditor.limits.SeverityTable`, whose rows a policy
may change): the TPR at 1 % FPR, or the AUC. The highest row that holds is the severity.

Lower interval bounds decide, never point estimates and never the best of many attacks: only primary endpoints whose
test rejected after correction count, of attacks usable at the release. So a leak inherited from lesser access
counts with the endpoints of that access.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Literal

from auditor.findings import (
    AttackResult,
    AuditReport,
    Completed,
    Endpoint,
    Family,
    Metric,
    Role,
    Severity,
    Verdict,
    VerdictState,
)
from auditor.limits import Limits, SeverityRow, SeverityTable
from auditor.threat import Access

__all__ = ["Gate", "judge", "severity_of"]


@dataclass(frozen=True, slots=True)
class Gate:
    """The answer to "may it go out?", with the reason in one sentence."""

    outcome: Literal["pass", "fail", "inconclusive"]
    sentence: str


def severity_of(
    verdicts: Iterable[Verdict], membership: Iterable[AttackResult], release: Access, table: SeverityTable
) -> Severity:
    """How bad the membership leak at a release is.

    Args:
        verdicts: The verdicts of the audit; those on membership count.
        membership: The membership attacks; the primary ones count.
        release: The way in which the model goes out.
        table: What each severity asks for.
    """
    leaking = {
        verdict.access
        for verdict in verdicts
        if verdict.family is Family.MEMBERSHIP and verdict.state is VerdictState.LEAK_FOUND
    }
    if release not in leaking:
        return Severity.NONE
    usable = [result for result in _primary_at(membership, release) if result.card.access in leaking]
    endpoints = list(_rejected_endpoints(usable))
    for name, row in reversed(table.rows):
        if any(_reaches(endpoint, row) for endpoint in endpoints):
            return Severity(name)
    return Severity.LOW


def _reaches(endpoint: Endpoint, row: SeverityRow) -> bool:
    """Whether the whole interval of this endpoint lies at or above the row."""
    if endpoint.metric is Metric.AUC:
        return endpoint.estimate.low >= row.auc
    at_table_fpr = endpoint.fpr is not None and isclose(endpoint.fpr, Limits.fpr)
    return at_table_fpr and endpoint.estimate.low >= row.tpr


def judge(report: AuditReport, fail_on: Severity) -> Gate:
    """Hold the membership findings at the report's release against the least severity that stops it, by its own table.

    A leak that is severe enough fails even where other attacks are missing. Anything short of that passes only when
    the audit could have seen it: with *cannot say*, with a primary attack missing, or with too few records for the
    rows on TPR, the gate is inconclusive. So it is for a preliminary report, whatever that holds.

    Args:
        report: The audit.
        fail_on: The least severity that fails; not `Severity.NONE`, which no audit could pass.

    Raises:
        ValueError: `fail_on` is `Severity.NONE`.
    """
    if fail_on is Severity.NONE:
        raise ValueError("a gate that fails on severity none cannot be passed")
    if report.stage == "target alone":
        return Gate("inconclusive", "The report is preliminary: no shadow model has been trained, nothing is decided.")
    release = report.plan.release
    verdict = report.verdict(release, Family.MEMBERSHIP)
    severity = severity_of(report.verdicts, report.membership, release, report.plan.severity)
    if severity.rank >= fail_on.rank:
        return Gate("fail", f"A membership leak of severity {severity} was found at release {release}.")
    doubt = _doubt(verdict, _primary_at(report.membership, release))
    if doubt:
        return Gate("inconclusive", doubt)
    found = f"a leak of severity {severity} was found" if severity is not Severity.NONE else "nothing was found"
    return Gate("pass", f"Membership at release {release}: {found}; the gate fails from {fail_on} on.")


def _doubt(verdict: Verdict, primary: Sequence[AttackResult]) -> str:
    """Why nothing can be concluded, or the empty string."""
    if verdict.state is VerdictState.CANNOT_SAY:
        return f"The audit cannot say whether membership leaks at release {verdict.access}: {verdict.sentence}"
    missing = [result.card.id for result in primary if not isinstance(result.outcome, Completed)]
    if missing:
        return f"A primary attack did not complete: {', '.join(missing)}."
    if verdict.auc_only:
        return (
            "The verdict rests on AUC alone; the severity table also asks for the true positive rate at 1 % false "
            "positives, which takes at least 1,000 evaluated records a side."
        )
    return ""


def _primary_at(membership: Iterable[AttackResult], release: Access) -> list[AttackResult]:
    return [result for result in membership if result.role is Role.PRIMARY and release.includes(result.card.access)]


def _rejected_endpoints(results: Iterable[AttackResult]) -> Iterator[Endpoint]:
    for result in results:
        if isinstance(result.outcome, Completed):
            yield from (each for each in result.outcome.endpoints if each.rejected and not each.appendix)
