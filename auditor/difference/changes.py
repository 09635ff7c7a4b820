"""Two reports of one model slot, the last release and the next: what changed, with intervals.

A report holds no score of a record. Where the scores kept in both run folders are given too, and both audits evaluated
the same records under one key with the same attacker, primary attacks are compared record by record. Otherwise, and for
all other attacks, the intervals of both reports decide. A paired change is of these two files, each in front of its own
shadows: no variance between models is added (docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose

from auditor.difference.pairing import ALONE, Kept, Missing, Pairs, match
from auditor.errors import InputError
from auditor.findings import (
    AttackCard,
    AttackResult,
    AuditReport,
    Completed,
    DataFacts,
    Endpoint,
    Family,
    InversionResult,
    Measurement,
    Metric,
    ModelFacts,
    Role,
    Severity,
    VerdictState,
)
from auditor.limits import LEAST_CLASSES
from auditor.stats.difference import paired_difference, unpaired_difference
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = ["Change", "Difference", "Exposed", "Turn", "compare", "refuse_itself", "refuse_other_task"]

_CLOSE = 1e-9


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
        paired: Whether that was found record by record.
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
    paired: bool
    unit: str
    unlike: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """A verdict then and now; `why` is the sentence of the new one."""

    access: Access
    family: Family
    old: VerdictState
    new: VerdictState
    why: str = ""


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
        unpaired: Why primary attacks could not be compared record by record, and what helps; empty: they could.
        unlike: What makes all attacks of one report stronger or weaker than those of the other.
        notes: What else differs.
        changes: Every number that both hold, primary attacks first.
        turns: All verdicts that both hold.
        severity: Then and now.
        exposed: The exposed records, where both list them.
        missing: Attacks that completed in the old report only.
        added: Attacks that completed in the new report only.
    """

    unpaired: str
    unlike: tuple[str, ...]
    notes: tuple[str, ...]
    changes: tuple[Change, ...]
    turns: tuple[Turn, ...]
    severity: tuple[Severity, Severity]
    exposed: Exposed | None
    missing: tuple[str, ...]
    added: tuple[str, ...]


def compare(old: AuditReport, new: AuditReport, kept: tuple[Kept, Kept] = ALONE) -> Difference:
    """Compare two complete reports of models for the same task.

    Args:
        old: Of the last release.
        new: Of the next.
        kept: The scores beside the old report and beside the new one (`auditor.difference.kept_scores.read_kept`).

    Raises:
        InputError: one is preliminary, or the models do not tell the same classes apart.
    """
    refuse_other_task(old, new.data, new.model.num_classes)
    _refuse_preliminary("new", new)
    unlike = tuple(_unlike(old, new))
    pairs = _pairs(old, new, kept, unlike)
    changes = [*_memberships(old, new, unlike, pairs), *_inversions(old, new, unlike)]
    ran = [{card.id for card, completed in _cards(report) if completed} for report in (old, new)]
    return Difference(
        unpaired=_why_unpaired(pairs, changes),
        unlike=unlike,
        notes=tuple(_notes(old, new)),
        changes=tuple(sorted(changes, key=lambda one: not one.primary)),
        turns=tuple(_turns(old, new)),
        severity=(old.severity, new.severity),
        exposed=_exposed(old, new),
        missing=tuple(sorted(ran[0] - ran[1])),
        added=tuple(sorted(ran[1] - ran[0])),
    )


def refuse_itself(old: AuditReport, plan_digest: str, sha256: str) -> None:
    """No report is its own last release: nothing can have become worse since.

    Raises:
        InputError: the old report is of the same weights by the same plan.
    """
    if (old.plan.digest, old.model.sha256) == (plan_digest, sha256):
        raise InputError(
            "The baseline is of the same model by the same plan as the report: it is compared with itself.",
            "Name the report of the last release with --baseline.",
        )


def refuse_other_task(old: AuditReport, data: DataFacts, num_classes: int) -> None:
    """Refuse a report of the last release that the next one could not be compared with.

    Args:
        old: Of the last release.
        data: What the next is audited on.
        num_classes: Of the next model.

    Raises:
        InputError: the report is preliminary, or the models do not tell the same classes apart.
    """
    _refuse_preliminary("old", old)
    slot = (old.data.classes, old.data.image_shape, old.model.num_classes)
    if slot != (data.classes, data.image_shape, num_classes):
        raise InputError(
            "The last release and the next are models for different tasks: their classes or the shape of their records "
            "differ.",
            "Compare a model with its next version.",
        )


def _refuse_preliminary(which: str, report: AuditReport) -> None:
    if report.stage != "complete":
        raise InputError(f"The {which} report is preliminary: nothing is decided in it.", "Finish its scan first.")


def _pairs(old: AuditReport, new: AuditReport, kept: tuple[Kept, Kept], unlike: Sequence[str]) -> Pairs | Missing:
    """The scores of both audits, record by record, or why they are not compared so and what helps."""
    if reason := _other_records(old, new):
        return Missing(f"{reason}; scan both versions with one --key, on the same records")
    if unlike:
        return Missing(f"{', '.join(unlike)}; scan both versions with the same options")
    found = match(*kept, seed=new.plan.seed)
    if isinstance(found, Missing):
        return Missing(f"{found.reason}; keep the run folders (--run-dir), and name the report.json in each")
    return found


def _why_unpaired(pairs: Pairs | Missing, changes: Sequence[Change]) -> str:
    if isinstance(pairs, Missing):
        return pairs.reason
    return "" if any(one.paired for one in changes) else "no primary attack has scores beside both reports"


def _other_records(old: AuditReport, new: AuditReport) -> str:
    """Why records cannot be matched, or nothing."""
    if old.data.key_fingerprint != new.data.key_fingerprint:
        return "the keys differ"
    if not old.data.audit_set or not new.data.audit_set:
        return "it is not known which records were evaluated"
    return "" if old.data.audit_set == new.data.audit_set else "other records were evaluated"


def _unlike(old: AuditReport, new: AuditReport) -> Iterator[str]:
    """What makes the attacker another one."""
    if old.plan.shadows != new.plan.shadows:
        yield f"{old.plan.shadows} shadows then, {new.plan.shadows} now"
    if old.plan.shadow_source != new.plan.shadow_source:
        yield f"shadows {old.plan.shadow_source} then, {new.plan.shadow_source} now"
    if old.plan.queries != new.plan.queries:
        yield f"{len(old.plan.queries)} queries a record then, {len(new.plan.queries)} now, or other ones"


def _notes(old: AuditReport, new: AuditReport) -> Iterator[str]:
    if old.model.sha256 == new.model.sha256:
        yield "both reports are of the same weights file"
    yield from _few_classes(old, new)
    yield from _defended(old.model, new.model)
    yield from _prepared(old.model, new.model)
    told = (
        ("architecture", old.model.architecture, new.model.architecture),
        ("recipe of the shadows", old.plan.recipe, new.plan.recipe),
        ("privaudit", old.environment.privaudit, new.environment.privaudit),
        ("release", old.plan.release, new.plan.release),
        ("evaluated a side", f"{old.data.evaluated:,}", f"{new.data.evaluated:,}"),
    )
    yield from (f"{name}: {then} then, {now} now" for name, then, now in told if then != now)


def _defended(old: ModelFacts, new: ModelFacts) -> Iterator[str]:
    """What either model has of a defense, told even where both have it."""
    for which, model in (("old", old), ("new", new)):
        if model.wrapper is not None:
            yield f"the {which} model stands behind the output wrapper {model.wrapper}"
        if model.trained_with is not None:
            yield f"the {which} model was trained with {model.trained_with}"
    if old.wrapper == new.wrapper and old.wrapper_sha256 != new.wrapper_sha256:
        yield "the wrappers are of the same kind and not the same"


def _prepared(old: ModelFacts, new: ModelFacts) -> Iterator[str]:
    """Which inputs the models are given otherwise, and how else the networks differ, where both reports tell."""
    then, now = (one.preprocessing.model_dump(mode="json", exclude={"source"}) for one in (old, new))
    differing = (name for name in then if then[name] != now[name])
    yield from (f"preprocessing, {name}: {then[name]} then, {now[name]} now" for name in differing)
    if None not in (old.model_args, new.model_args) and old.model_args != new.model_args:
        yield f"arguments of the network: {old.model_args} then, {new.model_args} now"
    if None not in (old.head, new.head) and old.head != new.head:
        yield f"last layer: {old.head} then, {new.head} now"


# --- numbers --------------------------------------------------------------------------------------------------------


def _memberships(
    old: AuditReport, new: AuditReport, unlike: tuple[str, ...], pairs: Pairs | Missing
) -> Iterator[Change]:
    before = {result.card.id: result for result in old.membership}
    for now in new.membership:
        then = before.get(now.card.id)
        if then is None:
            continue
        primary, otherwise = then.role is now.role is Role.PRIMARY, _other_settings(then.card, now.card)
        for was, found in _shared_endpoints(then, now):
            paired = None
            if primary and not otherwise and isinstance(pairs, Pairs):
                paired = _paired(pairs, now.card.id, was, found)
            yield Change(
                card=now.card,
                name="AUC" if found.metric is Metric.AUC else f"TPR at {100 * (found.fpr or 0):g} % FPR",
                metric=found.metric,
                fpr=found.fpr,
                primary=primary,
                old=was.estimate,
                new=found.estimate,
                change=unpaired_difference(found.estimate, was.estimate) if paired is None else paired,
                paired=paired is not None,
                unit="" if found.metric is Metric.AUC else "share",
                unlike=(*unlike, *otherwise),
            )


def _paired(pairs: Pairs, attack_id: str, was: Endpoint, found: Endpoint) -> Estimate | None:
    """The change record by record; None where the scores do not give the change that the reports tell."""
    change = pairs.change(attack_id, found.metric, found.fpr, found.estimate.confidence)
    told = found.estimate.value - was.estimate.value
    return change if change is not None and isclose(change.value, told, abs_tol=_CLOSE) else None


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
    for then, now in _both_inverted(old, new):
        for was, found in _shared_excesses(then, now) if _has_intervals(then, now) else ():
            yield Change(
                card=now.card,
                name=f"{found.name}, against {found.against}",
                metric=None,
                fpr=None,
                primary=False,
                old=was.estimate,
                new=found.estimate,
                change=unpaired_difference(found.estimate, was.estimate),
                paired=False,
                unit=found.unit,
                unlike=(*unlike, *_other_settings(then.card, now.card)),
            )


def _both_inverted(old: AuditReport, new: AuditReport) -> Iterator[tuple[InversionResult, InversionResult]]:
    """The attacks that completed in both reports."""
    before = {result.card.id: result for result in old.inversion if result.status == "completed"}
    for now in new.inversion:
        if now.status == "completed" and now.card.id in before:
            yield before[now.card.id], now


def _has_intervals(then: InversionResult, now: InversionResult) -> bool:
    """Whether both rebuilt classes enough for an interval."""
    return min(then.classes, now.classes) >= LEAST_CLASSES


def _few_classes(old: AuditReport, new: AuditReport) -> Iterator[str]:
    """Why inversion attacks that completed in both reports are not compared."""
    few = [pair for pair in _both_inverted(old, new) if not _has_intervals(*pair)]
    if few:
        attacks = "1 inversion attack is" if len(few) == 1 else f"{len(few):,} inversion attacks are"
        classes = min(one.classes for pair in few for one in pair)
        needed = f"an interval over classes needs at least {LEAST_CLASSES}"
        yield f"{attacks} not compared: {needed}, and there are {classes}"


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
            yield Turn(verdict.access, verdict.family, was, verdict.state, verdict.sentence)


def _cards(report: AuditReport) -> Iterator[tuple[AttackCard, bool]]:
    yield from ((one.card, isinstance(one.outcome, Completed)) for one in report.membership)
    yield from ((one.card, one.status == "completed") for one in report.inversion)


def _exposed(old: AuditReport, new: AuditReport) -> Exposed | None:
    """Record by record where the same were evaluated, else by the two shares."""
    was, found = old.record_exposure, new.record_exposure
    if was.flagged is None or found.flagged is None or was.attack_id != found.attack_id:
        return None
    if not isclose(was.flagged.confidence, found.flagged.confidence):
        return None
    if _other_records(old, new):
        return Exposed(unpaired_difference(found.flagged, was.flagged))
    then, now = set(was.records), set(found.records)
    gained, lost = len(now - then), len(then - now)
    if gained + lost > new.data.evaluated:
        raise InputError("The reports list more exposed records than they evaluated.", "Make them again.")
    change = paired_difference(gained, lost, new.data.evaluated, unit="members, the same in both")
    return Exposed(change, len(now & then), gained, lost)
