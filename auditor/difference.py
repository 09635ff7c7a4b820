"""Two reports of one model slot, the last release and the next: what changed, with intervals.

A report holds no score of a record, so attacks are compared unpaired, from the intervals of both reports. Records can
be matched only where they are named: by the list of exposed records, under one key and on one audit set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose

from auditor.errors import InputError
from auditor.findings import (
    AttackCard,
    AttackResult,
    AuditReport,
    Completed,
    Endpoint,
    Family,
    InversionResult,
    Measurement,
    Metric,
    Role,
    Severity,
    VerdictState,
)
from auditor.stats.difference import paired_difference, unpaired_difference
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = ["Change", "Difference", "Exposed", "Turn", "compare"]


@dataclass(frozen=True, slots=True)
class Change:
    """One number in both reports.

    Attributes:
        card: The attack, as the new report tells it.
        name: What is measured.
        metric: The endpoint of a membership attack; None for inversion.
        fpr: Where a TPR is taken.
        primary: Whether the attack is primary in both.
        old: As it was.
        new: As it is.
        change: New less old.
        unit: As in `Measurement`.
        unlike: Why the two were not measured alike; empty: they were.
    """

    card: AttackCard
    name: str
    metric: Metric | None
    fpr: float | None
    primary: bool
    old: Estimate
    new: Estimate
    change: Estimate
    unit: str
    unlike: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """A verdict then and now."""

    access: Access
    family: Family
    old: VerdictState
    new: VerdictState


@dataclass(frozen=True, slots=True)
class Exposed:
    """The exposed records of both reports; the counts are None where records could not be matched."""

    change: Estimate
    stayed: int | None = None
    gained: int | None = None
    lost: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that changed.

    Attributes:
        paired: Whether both evaluated the same records, under one key.
        unlike: What makes all attacks of one report stronger or weaker than those of the other.
        notes: What else differs.
        changes: Every number that both hold, primary attacks first.
        turns: All verdicts that both hold.
        severity: Then and now.
        exposed: The exposed records, where both list them.
        missing: Attacks that completed in the old report only.
        added: Attacks that completed in the new report only.
    """

    paired: bool
    unlike: tuple[str, ...]
    notes: tuple[str, ...]
    changes: tuple[Change, ...]
    turns: tuple[Turn, ...]
    severity: tuple[Severity, Severity]
    exposed: Exposed | None
    missing: tuple[str, ...]
    added: tuple[str, ...]


def compare(old: AuditReport, new: AuditReport) -> Difference:
    """Compare two complete reports of models for the same task.

    Args:
        old: Of the last release.
        new: Of the next.

    Raises:
        InputError: one is preliminary, or the models do not tell the same classes apart.
    """
    _refuse_other_slot(old, new)
    paired = bool(new.data.audit_set) and _same_records(old, new)
    unlike = tuple(_unlike(old, new))
    changes = [*_memberships(old, new, unlike), *_inversions(old, new, unlike)]
    ran = [{card.id for card, completed in _cards(report) if completed} for report in (old, new)]
    return Difference(
        paired=paired,
        unlike=unlike,
        notes=tuple(_notes(old, new, paired=paired)),
        changes=tuple(sorted(changes, key=lambda one: not one.primary)),
        turns=tuple(_turns(old, new)),
        severity=(old.severity, new.severity),
        exposed=_exposed(old, new, paired=paired),
        missing=tuple(sorted(ran[0] - ran[1])),
        added=tuple(sorted(ran[1] - ran[0])),
    )


def _refuse_other_slot(old: AuditReport, new: AuditReport) -> None:
    for which, report in (("old", old), ("new", new)):
        if report.stage != "complete":
            raise InputError(f"The {which} report is preliminary: nothing is decided in it.", "Finish its scan first.")
    slots = [(one.data.classes, one.data.image_shape, one.model.num_classes) for one in (old, new)]
    if slots[0] != slots[1]:
        raise InputError(
            "The two reports are of models for different tasks: their classes or the shape of their records differ.",
            "Compare reports of one model and its next version.",
        )


def _same_records(old: AuditReport, new: AuditReport) -> bool:
    return (old.data.audit_set, old.data.key_fingerprint) == (new.data.audit_set, new.data.key_fingerprint)


def _unlike(old: AuditReport, new: AuditReport) -> Iterator[str]:
    """What makes the attacker another one."""
    if old.plan.shadows != new.plan.shadows:
        yield f"{old.plan.shadows} shadows then, {new.plan.shadows} now"
    if old.plan.shadow_source != new.plan.shadow_source:
        yield f"shadows {old.plan.shadow_source} then, {new.plan.shadow_source} now"
    if old.plan.queries != new.plan.queries:
        yield f"{len(old.plan.queries)} queries a record then, {len(new.plan.queries)} now, or other ones"


def _notes(old: AuditReport, new: AuditReport, *, paired: bool) -> Iterator[str]:
    if old.model.sha256 == new.model.sha256:
        yield "both reports are of the same weights file"
    if not paired:
        known = old.data.audit_set and new.data.audit_set
        keys = old.data.key_fingerprint == new.data.key_fingerprint
        why = "other records were evaluated" if known and keys else "the keys differ" if not keys else "it is not known"
        yield f"records are not matched: {why}"
    told = (
        ("architecture", old.model.architecture, new.model.architecture),
        ("recipe of the shadows", old.plan.recipe, new.plan.recipe),
        ("privaudit", old.environment.privaudit, new.environment.privaudit),
        ("release", old.plan.release, new.plan.release),
        ("evaluated a side", f"{old.data.evaluated:,}", f"{new.data.evaluated:,}"),
    )
    yield from (f"{name}: {then} then, {now} now" for name, then, now in told if then != now)


# --- numbers --------------------------------------------------------------------------------------------------------


def _memberships(old: AuditReport, new: AuditReport, unlike: tuple[str, ...]) -> Iterator[Change]:
    before = {result.card.id: result for result in old.membership}
    for now in new.membership:
        then = before.get(now.card.id)
        for was, found in () if then is None else _shared_endpoints(then, now):
            yield Change(
                card=now.card,
                name="AUC" if found.metric is Metric.AUC else f"TPR at {100 * (found.fpr or 0):g} % FPR",
                metric=found.metric,
                fpr=found.fpr,
                primary=then is not None and then.role is now.role is Role.PRIMARY,
                old=was.estimate,
                new=found.estimate,
                change=unpaired_difference(found.estimate, was.estimate),
                unit="" if found.metric is Metric.AUC else "share",
                unlike=(*unlike, *_other_settings(then.card if then else now.card, now.card)),
            )


def _shared_endpoints(then: AttackResult, now: AttackResult) -> Iterator[tuple[Endpoint, Endpoint]]:
    """The endpoints that both carry for judging, at one confidence."""
    if not isinstance(then.outcome, Completed) or not isinstance(now.outcome, Completed):
        return
    for found in now.outcome.endpoints:
        for was in then.outcome.endpoints:
            same = (was.metric, was.fpr) == (found.metric, found.fpr) and not (was.appendix or found.appendix)
            if same and isclose(was.estimate.confidence, found.estimate.confidence):
                yield was, found


def _inversions(old: AuditReport, new: AuditReport, unlike: tuple[str, ...]) -> Iterator[Change]:
    before = {result.card.id: result for result in old.inversion if result.status == "completed"}
    for now in new.inversion:
        then = before.get(now.card.id)
        for was, found in () if then is None or now.status != "completed" else _shared_excesses(then, now):
            yield Change(
                card=now.card,
                name=f"{found.name}, against {found.against}",
                metric=None,
                fpr=None,
                primary=False,
                old=was.estimate,
                new=found.estimate,
                change=unpaired_difference(found.estimate, was.estimate),
                unit=found.unit,
                unlike=(*unlike, *_other_settings(then.card if then else now.card, now.card)),
            )


def _shared_excesses(then: InversionResult, now: InversionResult) -> Iterator[tuple[Measurement, Measurement]]:
    before = {(one.name, one.against): one for one in (*then.record_excess, *then.class_excess)}
    for found in (*now.record_excess, *now.class_excess):
        was = before.get((found.name, found.against))
        if was is not None and isclose(was.estimate.confidence, found.estimate.confidence):
            yield was, found


def _other_settings(then: AttackCard, now: AttackCard) -> Sequence[str]:
    return () if then.settings == now.settings else ("the attack's own settings",)


# --- verdicts and records -------------------------------------------------------------------------------------------


def _turns(old: AuditReport, new: AuditReport) -> Iterator[Turn]:
    before = {(verdict.access, verdict.family): verdict.state for verdict in old.verdicts}
    for verdict in new.verdicts:
        if (was := before.get((verdict.access, verdict.family))) is not None:
            yield Turn(verdict.access, verdict.family, was, verdict.state)


def _cards(report: AuditReport) -> Iterator[tuple[AttackCard, bool]]:
    yield from ((one.card, isinstance(one.outcome, Completed)) for one in report.membership)
    yield from ((one.card, one.status == "completed") for one in report.inversion)


def _exposed(old: AuditReport, new: AuditReport, *, paired: bool) -> Exposed | None:
    """Record by record where the same were evaluated, else by the two shares."""
    was, found = old.record_exposure, new.record_exposure
    if was.flagged is None or found.flagged is None or was.attack_id != found.attack_id:
        return None
    if not isclose(was.flagged.confidence, found.flagged.confidence):
        return None
    if not paired:
        return Exposed(unpaired_difference(found.flagged, was.flagged))
    then, now = set(was.records), set(found.records)
    gained, lost = len(now - then), len(then - now)
    if gained + lost > new.data.evaluated:
        raise InputError("The reports list more exposed records than they evaluated.", "Make them again.")
    change = paired_difference(gained, lost, new.data.evaluated, unit="members, the same in both")
    return Exposed(change, len(now & then), gained, lost)
