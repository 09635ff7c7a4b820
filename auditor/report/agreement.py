"""Whether the parts of a report agree: a verdict with the tests behind it, the severity with both.

Nothing is decided again, since a report does not keep all that an audit knew. Held together is what had to follow,
whatever else was known (rules 2 and 8 of docs/rules-of-evidence.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import isclose

from auditor.findings import (
    AttackResult,
    AuditReport,
    Check,
    Completed,
    ControlResult,
    Endpoint,
    Family,
    Metric,
    Role,
    Verdict,
    VerdictState,
    Void,
)
from auditor.policy import severity_of
from auditor.stats.multiplicity import holm
from auditor.threat import Access

__all__ = ["contradiction"]

_ROUNDING = 1e-9
_LEAK, _NOTHING = VerdictState.LEAK_FOUND, VerdictState.NOTHING_FOUND


def contradiction(report: AuditReport) -> str:
    """What a report says against itself, in one sentence; empty where its parts agree."""
    return next(_contradictions(report), "")


def _contradictions(report: AuditReport) -> Iterator[str]:
    yield from _missing(report)
    yield from _unplanned(report)
    yield from _unmeasured(report)
    if report.stage == "complete":
        yield from _untested(report)
    for verdict in report.verdicts:
        against = (_against_lesser, _against_evidence, _against_width)
        for why in (one for each in against for one in each(report, verdict)):
            yield f"the verdict on {verdict.family} at {verdict.access} is {str(verdict.state)!r}, but {why}"
    severity = severity_of(report.verdicts, report.membership, report.plan.release, report.plan.severity)
    if severity is not report.severity:
        yield f"the severity is {str(report.severity)!r}, but verdicts and tests make it {str(severity)!r}"


def _missing(report: AuditReport) -> Iterator[str]:
    """Each question is answered once at each access, each attack told once."""
    answers = Counter((one.access, one.family) for one in report.verdicts)
    for access, family in product(Access, Family):
        if answers[access, family] != 1:
            yield f"there must be one verdict on {family} at {access}, and there are {answers[access, family]}"
    told = Counter(one.card.id for one in report.membership) + Counter(one.card.id for one in report.inversion)
    for name, times in told.items():
        if times > 1:
            yield f"the attack {name} is told {times} times"
    found: tuple[ControlResult | Check, ...] = (*report.controls, *report.checks)
    for name, times in Counter(one.id for one in found).items():
        if times > 1:
            yield f"the control or check {name} is told {times} times"


def _unplanned(report: AuditReport) -> Iterator[str]:
    """Each attack of the plan is told in its role, whatever became of it, and none completed that was not planned."""
    plan, told = report.plan, {one.card.id: one for one in report.membership}
    for role, names in ((Role.PRIMARY, plan.primary), (Role.SECONDARY, plan.secondary)):
        for name in names:
            if name not in told or told[name].role is not role:
                yield f"the plan has {name} among its {role} attacks, and the results do not"
    planned = {*plan.primary, *plan.secondary}
    for name, result in told.items():
        if isinstance(result.outcome, Completed) and name not in planned:
            yield f"{name} completed, and the plan does not name it"
    inverted = [one.card.id for one in report.inversion]
    for name in (one for one in plan.inversion if one not in inverted):
        yield f"the plan has {name} among its inversion attacks, and the results do not"


def _unmeasured(report: AuditReport) -> Iterator[str]:
    """What is told of an attack, a defense or a claim was measured, and bears it out."""
    for choice in report.secondary:
        allowed = [one for one in report.membership if choice.access.includes(one.card.access)]
        if choice.attack_id not in [one.card.id for one in allowed if one.role is Role.SECONDARY]:
            yield f"the best secondary attack at {choice.access}, {choice.attack_id}, is not among them"
    for one in report.inversion:
        for question, found, over in (
            ("record", one.record_found, one.record_excess),
            ("class", one.class_found, one.class_excess),
        ):
            if found and not (over and all(each.estimate.low > 0 for each in over)):
                yield f"{one.card.id} found a {question} excess, but does not stand above every control"
    measured = [one.card.id for one in report.defenses if one.status == "completed"]
    for advice in report.advice:
        if advice.defense_id is not None and advice.defense_id not in measured:
            yield f"the defense that is advised, {advice.defense_id}, was not measured"
    if report.canaries is not None and report.canaries.claim is not None:
        bounds = [one.epsilon for one in report.canaries.bounds if one.declared]
        if report.canaries.contradicted is not any(one > report.canaries.claim.epsilon for one in bounds):
            yield "what the canaries say of the claim is not what their bound says"


# --- tests -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tested:
    """An endpoint that may decide: of a primary attack that completed, at an n that it can be judged at."""

    attack: AttackResult
    endpoint: Endpoint

    @property
    def access(self) -> Access:
        return self.attack.card.access

    @property
    def name(self) -> str:
        return f"the {'AUC' if self.endpoint.metric is Metric.AUC else 'TPR'} of {self.attack.card.id}"


def _tested(report: AuditReport) -> list[_Tested]:
    return [
        _Tested(attack, endpoint)
        for attack in report.membership
        if attack.role is Role.PRIMARY and isinstance(attack.outcome, Completed)
        for endpoint in attack.outcome.endpoints
        if not endpoint.appendix
    ]


def _untested(report: AuditReport) -> Iterator[str]:
    """Each attack has one AUC; primary endpoints were corrected together, and held against the plan's limits."""
    for attack in report.membership:
        if isinstance(attack.outcome, Completed):
            metrics = Counter(endpoint.metric for endpoint in attack.outcome.endpoints)
            if metrics[Metric.AUC] != 1 or metrics[Metric.TPR_AT_FPR] > 1:
                yield f"{attack.card.id} completed, and must have one AUC and at most one TPR"
    tested = _tested(report)
    broken_off = [1.0] * (report.primary_tests - len(tested))
    adjusted = holm([*(one.endpoint.p_value for one in tested), *broken_off])[: len(tested)]
    for one, expected in zip(tested, adjusted.tolist(), strict=True):
        if why := _against_correction(report, one.endpoint, expected):
            yield f"{one.name} {why}"


def _against_correction(report: AuditReport, found: Endpoint, expected: float) -> str:
    """What is wrong with an endpoint that decides; `expected` is its adjusted p."""
    if found.p_adjusted is None or found.upper_bound is None or found.limit is None or found.rejected is None:
        return "decides, and lacks its correction"
    plan, value, adjusted = report.plan, found.estimate.value, found.p_adjusted
    limit = plan.auc_limit if found.metric is Metric.AUC else plan.tpr_limit
    judged = max((n for unit, n in found.estimate.n.items() if unit != "groups"), default=0)
    problems = (
        (
            not isclose(adjusted, expected, rel_tol=1e-6, abs_tol=_ROUNDING),
            f"has an adjusted p of {adjusted:.2g}, but Holm's is {expected:.2g}",
        ),
        (
            found.rejected is not (adjusted <= plan.family_wise_error),
            f"was {'' if found.rejected else 'not '}rejected, but its adjusted p is {adjusted:.2g}",
        ),
        (
            not isclose(found.limit, limit),
            f"was held against {found.limit:g}, but the plan's limit is {limit:g}",
        ),
        (
            found.upper_bound < value - _ROUNDING,
            f"is {value:.3g}, but bounded by {found.upper_bound:.3g}",
        ),
        (
            judged > report.data.evaluated,
            f"is of {judged:,} records a side, but {report.data.evaluated:,} were evaluated",
        ),
    )
    return next((told for wrong, told in problems if wrong), "")


# --- verdicts --------------------------------------------------------------------------------------------------------


def _against_lesser(report: AuditReport, verdict: Verdict) -> Iterator[str]:
    """A leak at lesser access is inherited, and only from there."""
    below = [
        one.access
        for one in report.verdicts
        if one.family is verdict.family and one.state is _LEAK
        if verdict.access.includes(one.access) and one.access is not verdict.access
    ]
    if verdict.inherited_from is not None and (verdict.state is not _LEAK or verdict.inherited_from not in below):
        yield f"nothing is inherited from {verdict.inherited_from}"
    if below and verdict.state is not _LEAK:
        yield f"what leaks at {below[0]} leaks there too"


def _against_evidence(report: AuditReport, verdict: Verdict) -> Iterator[str]:
    if verdict.state is VerdictState.CANNOT_SAY or verdict.inherited_from is not None:
        return
    if voided := _voided(report, verdict.state):
        yield f"this takes it away: {voided}"
    if verdict.family is Family.INVERSION:
        yield from _against_inversion(report, verdict)
    elif verdict.state is _LEAK:
        if not any(one.endpoint.rejected for one in _tested(report) if one.access is verdict.access):
            yield "no primary test rejects there"
    else:
        yield from _against_nothing([one for one in _tested(report) if verdict.access.includes(one.access)], verdict)
        yield from _unplanted(report, verdict)


def _voided(report: AuditReport, state: VerdictState) -> str:
    """The first control or check that rules the answer out; what rules out a leak rules out its absence too."""
    against = {Void.LEAK_FOUND} if state is _LEAK else {Void.LEAK_FOUND, Void.NOTHING_FOUND}
    found: tuple[ControlResult | Check, ...] = (*report.controls, *report.checks)
    return next((one.sentence for one in found if against & set(one.voids)), "")


def _against_nothing(tested: Sequence[_Tested], verdict: Verdict) -> Iterator[str]:
    own = [one for one in tested if one.access is verdict.access]
    if not own:
        yield "no primary attack was judged there"
    for one in tested:
        found = one.endpoint
        if found.rejected:
            yield f"the primary test on {one.name} rejects"
        elif found.upper_bound is None or found.limit is None or found.upper_bound >= found.limit:
            yield f"{one.name} is not bounded under its limit"
    if verdict.auc_only is any(one.endpoint.metric is Metric.TPR_AT_FPR for one in own):
        yield f"it {'rests' if verdict.auc_only else 'does not rest'} on AUC alone, unlike its tests"


def _unplanted(report: AuditReport, verdict: Verdict) -> Iterator[str]:
    """Nothing is found only where a leak that was planted at that access was found again."""
    planted = next((one for one in report.controls if one.id == "planted"), None)
    if planted is None or planted.status != "pass":
        yield f"the planted control {'is missing' if planted is None else f'ended with {planted.status}'}"
    elif verdict.access not in [dose.access for dose in planted.doses]:
        yield "no leak was planted there"


def _against_width(report: AuditReport, verdict: Verdict) -> Iterator[str]:
    """Wide bounds alone are the reason where all else that *nothing found* takes is there."""
    if not verdict.too_wide:
        return
    told = "its bounds are said to be too wide and nothing else to be missing"
    if verdict.family is not Family.MEMBERSHIP or verdict.state is not VerdictState.CANNOT_SAY:
        yield "only a verdict on membership that cannot say is kept from nothing found by wide bounds"
        return
    if voided := _voided(report, _NOTHING):
        yield f"{told}, and this takes it away: {voided}"
    yield from (f"{told}, and {why}" for why in _unplanted(report, verdict))
    tested = [one for one in _tested(report) if verdict.access.includes(one.access)]
    if verdict.access not in [one.access for one in tested]:
        yield f"{told}, and no primary attack was judged there"
    if rejecting := next((one.name for one in tested if one.endpoint.rejected), ""):
        yield f"{told}, and the primary test on {rejecting} rejects"
    bounds = [(one.endpoint.upper_bound, one.endpoint.limit) for one in tested]
    if not any(bound is not None and limit is not None and bound >= limit for bound, limit in bounds):
        yield f"{told}, and every bound is under its limit"


def _against_inversion(report: AuditReport, verdict: Verdict) -> Iterator[str]:
    """Only attacks that stand above every control find a leak, and no verdict on inversion says that there is none."""
    usable = [one for one in report.inversion if one.status == "completed" and verdict.access.includes(one.card.access)]
    if verdict.state is _NOTHING:
        yield "no audit can say that of inversion"
    elif not any(one.record_found or one.class_found for one in usable):
        yield "no inversion attack found anything there"
