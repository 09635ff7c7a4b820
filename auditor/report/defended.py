"""Which of the results on defenses a page shows: found, sorted and paired, nothing computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from auditor.findings import (
    LABELS_ONLY,
    AttackCard,
    AuditReport,
    Completed,
    DefenseAdvice,
    DefenseCard,
    DefenseProbeResult,
    DefenseResult,
    InversionEffect,
    Metric,
    StrongestAttack,
)
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = [
    "Advised",
    "Placed",
    "accuracy",
    "advice_at",
    "advised",
    "by_whole",
    "inversion_at",
    "label_attacks",
    "low_fpr_at",
    "made_easier",
    "made_harder",
    "masks_scores",
    "of_how_many",
    "shown_at",
    "static_at",
    "stronger_probe",
    "strongest_at",
    "unmeasured_by_reason",
]


@dataclass(frozen=True)
class Advised:
    """A defense that is advised, and the attack that it leaves strongest."""

    defense: DefenseResult
    advice: DefenseAdvice
    strongest: StrongestAttack


@dataclass(frozen=True)
class Placed:
    """A defense in its place on the page; `part` of the one before it that is none."""

    defense: DefenseResult
    part: bool


def advice_at(report: AuditReport, release: Access) -> DefenseAdvice | None:
    """What is advised for one way of release; None where no defense that counts there was measured."""
    return next((advice for advice in report.advice if advice.release is release), None)


def advised(report: AuditReport, release: Access) -> Advised | None:
    """The defense to take for one way of release, if one is advised."""
    advice = advice_at(report, release)
    if advice is None or advice.strongest is None:
        return None
    found = (one for one in report.defenses if one.card.id == advice.defense_id)
    return next((Advised(one, advice, advice.strongest) for one in found), None)


def of_how_many(card: DefenseCard, strongest: StrongestAttack) -> str:
    """The strongest attack on a defense, with how many it was chosen from."""
    many, what = strongest.chosen_from, "on labels" if card.id == LABELS_ONLY else "refitted to it"
    return f"the only attack {what}" if many == 1 else f"the strongest of {many:,} attacks {what}"


def strongest_at(defense: DefenseResult, access: Access) -> StrongestAttack | None:
    """The strongest attack that was refitted through a defense, of those that need no more than `access`."""
    return next((one for one in defense.strongest if one.access is access), None)


def shown_at(defense: DefenseResult, release: Access) -> StrongestAttack | None:
    """The same for the declared way of release, else for the most open one for which the defense counts."""
    counting = sorted(defense.card.counts_for, key=lambda access: -access.rank)
    order = [release, *counting] if release in counting else counting
    return next((one for access in order if (one := strongest_at(defense, access))), None)


def static_at(defense: DefenseResult, access: Access) -> Estimate | None:
    """What a declared attack reaches that does not know of a defense: the highest AUC."""
    found = (
        one.static
        for one in defense.effects
        if one.static is not None and one.metric is Metric.AUC and access.includes(one.access)
    )
    return max(found, key=lambda estimate: estimate.value, default=None)


def low_fpr_at(defense: DefenseResult, access: Access, fpr: float) -> Estimate | None:
    """The highest TPR at this FPR that a declared attack reaches that knows of a defense."""
    found = (
        one.adaptive
        for one in defense.effects
        if one.adaptive is not None
        and one.metric is Metric.TPR_AT_FPR
        and one.fpr == fpr
        and access.includes(one.access)
    )
    return max(found, key=lambda estimate: estimate.value, default=None)


def stronger_probe(defense: DefenseResult, strongest: StrongestAttack) -> DefenseProbeResult | None:
    """The probe of members made for a defense that does best, if it does better than every attack that is not."""
    found = [
        (one.auc.value, one)
        for one in defense.probes
        if one.asks == "members"
        and one.auc is not None
        and strongest.access.includes(one.access)
        and one.auc.value > strongest.adaptive.value
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def label_attacks(report: AuditReport, found: Advised) -> tuple[tuple[AttackCard, Estimate], ...]:
    """Attacks on labels that reach further than the strongest one told, where labels alone would be released."""
    if found.defense.card.id != LABELS_ONLY:
        return ()
    reached = (
        (one.card, end.estimate)
        for one in report.membership
        if one.card.access is Access.LABELS and isinstance(one.outcome, Completed)
        for end in one.outcome.endpoints
        if end.metric is Metric.AUC
    )
    further = (
        (card, auc)
        for card, auc in reached
        if auc.value > found.strongest.adaptive.value and card.id != found.strongest.attack_id
    )
    return tuple(sorted(further, key=lambda each: -each[1].value))


def inversion_at(defense: DefenseResult, release: Access) -> tuple[InversionEffect, ...]:
    """What a defense does to each inversion attack that a release allows, once for each.

    The strongest, chosen on other classes, stands for all of its measure; what is measured in itself for what is told
    as a multiple of that; members, told last, for non-members.
    """
    found = [one for one in defense.inversion if release.includes(one.access)]
    chosen = {one.measure for one in found if one.chosen_from}
    standing = (one for one in found if one.chosen_from or one.measure not in chosen)
    return tuple({one.attack_id: one for one in standing if one.undefended.low < one.undefended.high}.values())


def made_easier(effect: InversionEffect) -> bool:
    """Whether an attack was shown to get more of the defended model."""
    return effect.change.high < 0 if effect.better == "higher" else effect.change.low > 0


def made_harder(effect: InversionEffect) -> bool:
    """Whether an attack was shown to get less of the defended model."""
    return effect.change.low > 0 if effect.better == "higher" else effect.change.high < 0


def accuracy(defense: DefenseResult, state: Literal["undefended", "defended"]) -> Estimate | None:
    """Accuracy on non-members, without or with a defense."""
    name = f"Accuracy on non-members, {state}"
    return next((cost.estimate for cost in defense.costs if cost.name == name), None)


def masks_scores(defense: DefenseResult) -> bool:
    """Whether a defense changes what is released and leaves the label alone."""
    return defense.card.acts_on == "output" and Access.LABELS not in defense.card.counts_for


def by_whole(report: AuditReport) -> tuple[Placed, ...]:
    """All defenses, those that are a part of another one behind it."""
    by_id = {one.card.id: one for one in report.defenses}
    whole_of = {id(one): _whole(one, by_id) for one in report.defenses}
    return tuple(
        Placed(one, part=one is not whole)
        for whole in report.defenses
        if whole_of[id(whole)] is None
        for one in (whole, *(part for part in report.defenses if whole_of[id(part)] is whole))
    )


def _whole(defense: DefenseResult, by_id: Mapping[str, DefenseResult]) -> DefenseResult | None:
    """Of what a defense is a part, if that is here; a part of a part stands for itself."""
    whole = by_id.get(defense.card.part_of)
    return None if whole is None or whole.card.part_of in by_id else whole


def unmeasured_by_reason(report: AuditReport) -> tuple[tuple[tuple[DefenseResult, ...], str], ...]:
    """Defenses that were not planned, skipped or crashed, those with one reason together."""
    grouped: dict[str, list[DefenseResult]] = {}
    for defense in (*report.defenses, *report.defenses_not_planned):
        if defense.status != "completed":
            grouped.setdefault(f"{'failed: ' * (defense.status == 'failed')}{defense.reason}", []).append(defense)
    return tuple((tuple(results), reason) for reason, results in grouped.items())
