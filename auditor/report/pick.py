"""Which of the many results a page shows first. Nothing is computed here: results are found, sorted and paired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auditor.findings import (
    AttackCard,
    AttackResult,
    AuditReport,
    Completed,
    ControlResult,
    DefenseEffect,
    DefenseResult,
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
from auditor.threat import Access

__all__ = [
    "RELEASES",
    "Shown",
    "Utility",
    "best_defenses",
    "best_endpoint",
    "best_inversion",
    "control",
    "control_value",
    "defense_effect",
    "endpoint",
    "headline",
    "judged_at",
    "lesser_releases",
    "not_run",
    "primary_at",
    "released_verdict",
    "state_at",
    "utility",
    "verdicts_at",
]

RELEASES = (Access.WEIGHTS, Access.SCORES, Access.LABELS)


@dataclass(frozen=True)
class Shown:
    """An endpoint together with the attack that it belongs to."""

    attack: AttackResult
    endpoint: Endpoint


@dataclass(frozen=True)
class Utility:
    """What a defense costs in usefulness; `change` where it is a difference to the undefended model."""

    measurement: Measurement
    change: bool


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


# --- membership ------------------------------------------------------------------------------------------------------


def endpoint(outcome: Outcome, metric: Metric) -> Endpoint | None:
    """The endpoint of an attack for a metric, if the attack ran and has it."""
    endpoints = outcome.endpoints if isinstance(outcome, Completed) else ()
    return next((found for found in endpoints if found.metric is metric), None)


def best_endpoint(results: Iterable[AttackResult]) -> Shown | None:
    """The largest number on the strictest metric: TPR at a low FPR where n allows it, else AUC."""
    shown = [Shown(result, found) for result in results for found in _endpoints(result.outcome) if not found.appendix]
    return max(
        shown, key=lambda each: (each.endpoint.metric is Metric.TPR_AT_FPR, each.endpoint.estimate.value), default=None
    )


def headline(report: AuditReport) -> Shown | None:
    """The membership number that carries the report: the best primary attack under the declared release."""
    possible = [result for result in report.membership if report.plan.release.includes(result.card.access)]
    return best_endpoint(r for r in possible if r.role is Role.PRIMARY) or best_endpoint(possible)


def primary_at(report: AuditReport, access: Access) -> Shown | None:
    """The best primary attack that needs no more than `access`."""
    return best_endpoint(r for r in report.membership if r.role is Role.PRIMARY and access.includes(r.card.access))


def lesser_releases(report: AuditReport) -> tuple[Access, ...]:
    """The ways of release that show less than the declared one and have no leak found, most useful first."""
    return tuple(
        access
        for access in RELEASES
        if access.rank < report.plan.release.rank and state_at(report, access) is VerdictState.NOTHING_FOUND
    )


def _endpoints(outcome: Outcome) -> tuple[Endpoint, ...]:
    return outcome.endpoints if isinstance(outcome, Completed) else ()


# --- inversion -------------------------------------------------------------------------------------------------------


def best_inversion(report: AuditReport) -> tuple[InversionResult, Measurement] | None:
    """The inversion attack that stands highest above the control it stands least above."""
    weakest = [
        (result, min(result.record_excess, key=lambda excess: excess.estimate.low))
        for result in report.inversion
        if result.status == "completed" and result.record_excess
    ]
    return max(weakest, key=lambda pair: pair[1].estimate.low, default=None)


# --- controls --------------------------------------------------------------------------------------------------------


def control(report: AuditReport, word: str) -> ControlResult | None:
    """The first control whose id contains `word` ("null", "planted", "blind")."""
    return next((found for found in report.controls if word in found.id), None)


def control_value(report: AuditReport, metric: Metric) -> tuple[ControlResult, Measurement] | None:
    """The number of the owner-label null that belongs beside a number of this metric."""
    found = control(report, "null")
    if found is None or not found.measurements:
        return None
    stem = "AUC" if metric is Metric.AUC else "TPR"
    same = (measurement for measurement in found.measurements if measurement.name.startswith(stem))
    return found, next(same, found.measurements[0])


# --- defenses --------------------------------------------------------------------------------------------------------


def judged_at(defense: DefenseResult, release: Access) -> Access:
    """The way of release for which a defense is shown: the declared one, or the most open one that it survives."""
    if release in defense.card.counts_for:
        return release
    return max(defense.card.counts_for, key=lambda access: access.rank, default=release)


def defense_effect(defense: DefenseResult, metric: Metric, access: Access) -> DefenseEffect | None:
    """The effect on the attack that is left strongest: what the defense is worth against who knows of it."""
    effects = [
        (effect.adaptive.value, place, effect)
        for place, effect in enumerate(defense.effects)
        if effect.adaptive is not None and effect.metric is metric and access.includes(effect.access)
    ]
    return max(effects)[2] if effects else None


def best_defenses(report: AuditReport) -> tuple[tuple[DefenseResult, DefenseEffect], ...]:
    """Defenses that count under the declared release and whose measured change is below zero, least leakage first."""
    shown = headline(report)
    if shown is None:
        return ()
    release = report.plan.release
    found = [
        (effect.adaptive.value, place, defense, effect)
        for place, defense in enumerate(report.defenses)
        if defense.status == "completed" and release in defense.card.counts_for
        for effect in [defense_effect(defense, shown.endpoint.metric, release)]
        if effect is not None and effect.adaptive and effect.change is not None and effect.change.high < 0
    ]
    return tuple((defense, effect) for _, _, defense, effect in sorted(found))


def utility(defense: DefenseResult) -> Utility | None:
    """The cost in accuracy: the first cost with that word in its name."""
    found = next((cost for cost in defense.costs if "accuracy" in cost.name.lower()), None)
    return None if found is None else Utility(found, change=bool(found.against) or found.unit == "points")


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
