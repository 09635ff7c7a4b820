"""Which of the many results a page shows first. Nothing is computed here: results are found, sorted and paired."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from auditor.findings import (
    AttackCard,
    AttackResult,
    AuditReport,
    Completed,
    ControlResult,
    Endpoint,
    Family,
    InversionResult,
    Measurement,
    Metric,
    Outcome,
    Role,
    Verdict,
    VerdictState,
)
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = [
    "RELEASES",
    "Excess",
    "Shown",
    "best_endpoint",
    "best_inversion",
    "class_excess",
    "control",
    "control_value",
    "control_values",
    "doubtful_controls",
    "endpoint",
    "excesses",
    "has_curve",
    "headline",
    "inversion_state",
    "largest_bounds",
    "lesser_releases",
    "not_run",
    "not_run_by_reason",
    "primary_at",
    "record_excess",
    "released_inversion",
    "released_verdict",
    "state_at",
    "uninverted_by_reason",
    "verdicts_at",
]

RELEASES = (Access.WEIGHTS, Access.SCORES, Access.LABELS)


@dataclass(frozen=True)
class Shown:
    """An endpoint together with the attack that it belongs to."""

    attack: AttackResult
    endpoint: Endpoint


# --- verdicts --------------------------------------------------------------------------------------------------------


def verdicts_at(report: AuditReport, access: Access) -> tuple[Verdict, ...]:
    """The verdicts for one way of release, membership first."""
    order = list(Family)
    found = (verdict for verdict in report.verdicts if verdict.access is access)
    return tuple(sorted(found, key=lambda verdict: order.index(verdict.family)))


def state_at(report: AuditReport, access: Access) -> VerdictState:
    """What a tile says: a leak where either family has one, else what membership says."""
    verdicts = verdicts_at(report, access)
    if any(verdict.state is VerdictState.LEAK_FOUND for verdict in verdicts):
        return VerdictState.LEAK_FOUND
    return verdicts[0].state if verdicts else VerdictState.CANNOT_SAY


def released_verdict(report: AuditReport) -> Verdict | None:
    """The membership verdict for the way of release that was declared."""
    found = verdicts_at(report, report.plan.release)
    return found[0] if found and found[0].family is Family.MEMBERSHIP else None


def released_inversion(report: AuditReport) -> Verdict | None:
    """The verdict on inversion for the way of release that was declared."""
    return next((one for one in verdicts_at(report, report.plan.release) if one.family is Family.INVERSION), None)


def inversion_state(report: AuditReport, access: Access) -> VerdictState | None:
    """What is said of inversion for one way of release; None where nothing is."""
    found = (one.state for one in verdicts_at(report, access) if one.family is Family.INVERSION)
    return next(found, None)


# --- membership ------------------------------------------------------------------------------------------------------


def endpoint(outcome: Outcome, metric: Metric, fpr: float) -> Endpoint | None:
    """The endpoint of an attack for a metric (for TPR: at this FPR), if the attack ran and has it."""
    return next((found for found in _endpoints(outcome) if _is(found, metric, fpr)), None)


def best_endpoint(results: Iterable[AttackResult], fpr: float) -> Shown | None:
    """The largest number on the strictest metric: TPR at this FPR where n allows it, else AUC."""
    every = tuple(results)
    for metric in (Metric.TPR_AT_FPR, Metric.AUC):
        shown = [Shown(r, found) for r in every if (found := endpoint(r.outcome, metric, fpr)) and not found.appendix]
        if shown:
            return max(shown, key=lambda each: (each.endpoint.estimate.value, each.attack.card.access.rank))
    return None


def has_curve(result: AttackResult, report: AuditReport) -> bool:
    """Whether a ROC curve says more than one point: an attack with two values (right or wrong) has no low FPR."""
    fpr = report.plan.tpr_fpr
    every = any(endpoint(other.outcome, Metric.TPR_AT_FPR, fpr) for other in report.membership)
    return not every or endpoint(result.outcome, Metric.TPR_AT_FPR, fpr) is not None


def headline(report: AuditReport) -> Shown | None:
    """The membership number that carries the report: the best primary attack under the declared release."""
    possible = (result for result in report.membership if report.plan.release.includes(result.card.access))
    return best_primary(report) or best_endpoint(possible, report.plan.tpr_fpr)


def best_primary(report: AuditReport) -> Shown | None:
    """The best primary attack under the declared release.

    Where a leak was found it is one whose test rejected: a larger number that proves nothing would mislead.
    """
    release, fpr = report.plan.release, report.plan.tpr_fpr
    primary = [one for one in report.membership if one.role is Role.PRIMARY and release.includes(one.card.access)]
    return best_endpoint(_rejecting(primary, report), fpr) or best_endpoint(primary, fpr)


def _rejecting(primary: Iterable[AttackResult], report: AuditReport) -> Iterator[AttackResult]:
    """The primary attacks with no endpoint but those that found the leak; none where none was found."""
    verdict = released_verdict(report)
    if verdict is None or verdict.state is not VerdictState.LEAK_FOUND:
        return
    for result in primary:
        if found := tuple(one for one in _endpoints(result.outcome) if one.rejected):
            yield result.model_copy(update={"outcome": result.outcome.model_copy(update={"endpoints": found})})


def primary_at(report: AuditReport, access: Access) -> Shown | None:
    """The best primary attack that needs no more than `access`."""
    possible = (r for r in report.membership if r.role is Role.PRIMARY and access.includes(r.card.access))
    return best_endpoint(possible, report.plan.tpr_fpr)


def largest_bounds(report: AuditReport) -> dict[tuple[Metric, float | None], float]:
    """The largest simultaneous upper bound per endpoint, over the primary attacks that the declared release allows."""
    largest: dict[tuple[Metric, float | None], float] = {}
    for result in report.membership:
        if result.role is Role.PRIMARY and report.plan.release.includes(result.card.access):
            for found in _endpoints(result.outcome):
                if found.upper_bound is not None and not found.appendix:
                    end = (found.metric, found.fpr)
                    largest[end] = max(found.upper_bound, largest.get(end, 0.0))
    return largest


def lesser_releases(report: AuditReport) -> tuple[Access, ...]:
    """The ways of release that show less than the declared one and have no leak found, most useful first."""
    return tuple(
        access
        for access in RELEASES
        if access.rank < report.plan.release.rank and state_at(report, access) is VerdictState.NOTHING_FOUND
    )


def _is(found: Endpoint, metric: Metric, fpr: float | None) -> bool:
    """Whether two things are measured on the same scale."""
    return found.metric is metric and (metric is Metric.AUC or found.fpr == fpr)


def _endpoints(outcome: Outcome) -> tuple[Endpoint, ...]:
    return outcome.endpoints if isinstance(outcome, Completed) else ()


# --- inversion -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Excess:
    """What one attack shows in answer to one question, over the control that it stands least above."""

    result: InversionResult
    question: Literal["record", "class"]
    measurement: Measurement
    p_value: float | None
    p_adjusted: float | None
    found: bool


def excesses(results: Iterable[InversionResult]) -> tuple[Excess, ...]:
    """Both questions put to every attack, as far as they were."""
    return tuple(found for result in results for found in (record_excess(result), class_excess(result)) if found)


def record_excess(result: InversionResult) -> Excess | None:
    """What an attack shows of members; None where it was not measured."""
    if result.status != "completed" or not result.record_excess:
        return None
    least = _least(result.record_excess)
    return Excess(result, "record", least, result.record_p_value, result.record_p_adjusted, result.record_found)


def class_excess(result: InversionResult) -> Excess | None:
    """What an attack shows of classes; None where it was not measured."""
    if result.status != "completed" or not result.class_excess:
        return None
    least = _least(result.class_excess)
    return Excess(result, "class", least, result.class_p_value, result.class_p_adjusted, result.class_found)


def best_inversion(report: AuditReport) -> Excess | None:
    """Of what was found under the declared release, else of all that was tested, the highest lower bound.

    The two questions have units of their own: between them the bound counts in widths of its interval.
    """
    possible = excesses(r for r in report.inversion if report.plan.release.includes(r.card.access))
    tested = [one for one in possible if one.p_value is not None]
    candidates = [one for one in tested if one.found] or tested
    best = [
        max(same, key=lambda one: one.measurement.estimate.low)
        for question in ("record", "class")
        if (same := [one for one in candidates if one.question == question])
    ]
    return max(best, key=lambda one: _in_widths(one.measurement.estimate), default=None)


def _least(controls: Iterable[Measurement]) -> Measurement:
    return min(controls, key=lambda excess: excess.estimate.low)


def _in_widths(estimate: Estimate) -> float:
    width = estimate.high - estimate.low
    return estimate.low / width if width > 0 else math.copysign(math.inf, estimate.low)


def uninverted_by_reason(report: AuditReport) -> tuple[tuple[tuple[InversionResult, ...], str], ...]:
    """Inversion attacks that were skipped or crashed, those with one reason together."""
    grouped: dict[str, list[InversionResult]] = {}
    for result in report.inversion:
        if result.status != "completed":
            grouped.setdefault(result.reason, []).append(result)
    return tuple((tuple(results), reason) for reason, results in grouped.items())


# --- controls --------------------------------------------------------------------------------------------------------


def control(report: AuditReport, word: str) -> ControlResult | None:
    """The first control whose id contains `word`: "planted", "blind", or "null" (owner's labels before instrument)."""
    return next((found for found in report.controls if word in found.id), None)


def doubtful_controls(report: AuditReport) -> tuple[ControlResult, ...]:
    """Controls other than the owner-label null that ran and did not pass."""
    return tuple(
        one for one in report.controls if one.status in ("warn", "fail") and one is not control(report, "null")
    )


def control_value(report: AuditReport, shown: Shown) -> tuple[ControlResult, Measurement] | None:
    """The number of the owner-label null that belongs beside another one: of its metric and access, if there is one."""
    found = control(report, "null")
    if found is None or not found.measurements:
        return None
    stem = "AUC" if shown.endpoint.metric is Metric.AUC else "TPR"
    access = f"({shown.attack.card.access})"
    return found, max(found.measurements, key=lambda one: (one.name.startswith(stem), access in one.name))


def control_values(report: AuditReport, metric: Metric) -> tuple[tuple[ControlResult, Measurement], ...]:
    """The numbers of the blind control and of the owner-label null that lie on the scale of a metric."""
    stem = "AUC" if metric is Metric.AUC else "TPR"
    found = (one for word in ("blind", "null") if (one := control(report, word)) is not None)
    return tuple((one, told) for one in found for told in one.measurements if told.name.startswith(stem))


# --- what did not run ------------------------------------------------------------------------------------------------


def not_run(report: AuditReport) -> tuple[tuple[AttackCard, str], ...]:
    """Attacks that were skipped or crashed, each with its reason."""
    found: list[tuple[AttackCard, str]] = []
    for result in report.membership:
        match result.outcome:
            case Completed():
                continue
            case outcome:
                found.append((result.card, outcome.reason if outcome.status == "skipped" else outcome.error))
    found += [(result.card, result.reason) for result in report.inversion if result.status != "completed"]
    return tuple(found)


def not_run_by_reason(report: AuditReport) -> tuple[tuple[tuple[AttackCard, ...], str], ...]:
    """The same, those with one reason together."""
    grouped: dict[str, list[AttackCard]] = {}
    for card, reason in not_run(report):
        grouped.setdefault(reason, []).append(card)
    return tuple((tuple(cards), reason) for reason, cards in grouped.items())
