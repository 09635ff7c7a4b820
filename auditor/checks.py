"""Can this audit be trusted? Each check is one reason to distrust, with the verdicts it voids (DESIGN 7.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.findings import Check, CheckLevel, Void
from auditor.membership.evidence import Evidence
from auditor.membership.measure import Jury
from auditor.shadows import AuditSet
from auditor.signals import Signals
from auditor.splits import Recipe, Splits
from auditor.stats.groups import LEAST_EFFECTIVE_GROUPS, effective_groups
from auditor.stats.intervals import prediction_interval
from auditor.training import source_of

__all__ = ["Subject", "run_checks"]

_FLOOR = 0.02
_NEAR_CHANCE = 1.5  # times 1 / classes
_SATURATED_WARNS = 0.5
_FEW_SHADOWS = 4


@dataclass(frozen=True)
class Subject:
    """All that a check may look at."""

    splits: Splits
    audit_set: AuditSet
    jury: Jury
    evidence: Evidence
    recipe_stated: bool
    recipe: Recipe
    shadows_given: bool = False


def run_checks(subject: Subject) -> tuple[Check, ...]:
    """Every check in order, of those that apply; before there are shadows, those that look at the rest."""
    return tuple(done for check in _CHECKS if (done := check(subject)) is not None)


def recipe(subject: Subject) -> Check | None:
    """Do the shadows behave like the target? Accuracy with and without the record, 99 % prediction interval (7.7)."""
    evidence, membership = subject.evidence, subject.jury.membership
    if not len(evidence.shadow_membership):
        return None
    shadows = [
        _accuracies(evidence.shadows.audit.model(index), evidence.shadow_membership[index])
        for index in range(len(evidence.shadow_membership))
    ]
    target = _accuracies(evidence.target.audit, membership)
    misses = []
    for position, name in enumerate(("training records", "other records")):
        spread = [pair[position] for pair in shadows]
        predicted = prediction_interval(spread, confidence=0.99)
        centre = float(np.mean(spread))
        low, high = min(predicted.low, centre - _FLOOR), max(predicted.high, centre + _FLOOR)
        if not low <= target[position] <= high:
            misses.append(f"accuracy on {name} is {target[position]:.1%}, shadows reach {low:.1%} to {high:.1%}")
    proxies = ", as frozen-feature proxies," if subject.recipe.proxy else ""
    source = f"trained by {source_of(subject.recipe, stated=subject.recipe_stated)}{proxies}"
    if subject.shadows_given:
        source = "that were given"
    if not misses:
        return Check(
            id="recipe",
            title="Recipe",
            level=CheckLevel.PASS,
            sentence=f"Shadows {source} are as accurate as the target, with the record and without.",
        )
    return Check(
        id="recipe",
        title="Recipe",
        level=CheckLevel.FAIL,
        sentence=f"The target does not behave like models {source.rstrip(',')}: {'; '.join(misses)}.",
        voids=(Void.NOTHING_FOUND, Void.PER_RECORD, Void.POWER),
    )


def _accuracies(signals: Signals, inside: npt.NDArray[np.bool_]) -> tuple[float, float]:
    correct = signals.correct[:, 0]
    return float(correct[inside].mean()), float(correct[~inside].mean())


def proxy_shadows(subject: Subject) -> Check | None:
    """Did the shadows learn as much as the target did, or only a head? Less can miss a leak, but not make one."""
    if not subject.recipe.proxy or subject.shadows_given or not len(subject.evidence.shadow_membership):
        return None
    return Check(
        id="proxy-shadows",
        title="Proxy shadows",
        level=CheckLevel.WARN,
        sentence=(
            "The target trained all layers, but its shadows trained only a head on frozen features: what the other "
            "layers remember of a record cannot be calibrated by them, so a leak may be missed."
        ),
        voids=(Void.NOTHING_FOUND, Void.PER_RECORD, Void.POWER),
    )


def members_learned(subject: Subject) -> Check:
    """Did the model see the members at all? It should beat chance on them, and be no worse than on the others."""
    inside, outside = _accuracies(subject.evidence.target.audit, subject.jury.membership)
    told = f"Accuracy is {inside:.1%} on members and {outside:.1%} on non-members."
    doubt = ""
    if inside <= _NEAR_CHANCE / subject.splits.num_classes:
        doubt = "On its own training records that is near chance: check mean, std, channel order and classes.txt."
    elif inside < outside - _FLOOR:
        doubt = "The model is worse on members: are the splits swapped, or is this another model's training data?"
    return Check(
        id="members-learned",
        title="Members were learned",
        level=CheckLevel.FAIL if doubt else CheckLevel.PASS,
        sentence=f"{told} {doubt}".strip(),
        voids=(Void.NOTHING_FOUND, Void.PER_RECORD) if doubt else (),
    )


def random_split(subject: Subject) -> Check:
    """Did chance alone tell members from non-members?"""
    stated = subject.splits.settings.random_split
    told = {
        True: "The owner states that members and non-members were told apart by chance alone.",
        False: "The owner states that the split was not random: differences need not come from the model.",
        None: "Whether the split was random is not stated (random_split in splits.toml).",
    }
    return Check(
        id="random-split",
        title="Random split",
        level=CheckLevel.PASS if stated else CheckLevel.WARN,
        sentence=told[stated],
    )


def duplicates(subject: Subject) -> Check:
    """Were equal records in two roles?"""
    dropped = subject.splits.duplicates_dropped
    return Check(
        id="duplicates",
        title="Duplicates",
        level=CheckLevel.WARN if dropped else CheckLevel.PASS,
        sentence=(
            f"{dropped:,} records were left out because an equal one stands in another role or earlier in the same one."
            if dropped
            else "No record stands in two roles."
        ),
    )


def saturation(subject: Subject) -> Check:
    """How many released probabilities of the true class are exactly 1, so that an order among them is gone?"""
    share = float((subject.evidence.target.audit.confidence[:, 0] >= 1.0).mean())
    return Check(
        id="saturation",
        title="Saturated probabilities",
        level=CheckLevel.WARN if share > _SATURATED_WARNS else CheckLevel.PASS,
        sentence=(
            f"{share:.1%} of the released true-class probabilities are exactly 1 in float32; the attacks on scores "
            "read the other classes instead."
        ),
    )


def stochastic(subject: Subject) -> Check:
    """Does the target answer the same query in the same way twice?"""
    difference = subject.evidence.target.repeat_difference
    told = "Equal queries are answered equally."
    if difference is None:
        told = "Whether the model answers equal queries equally was not measured."
    elif difference:
        told = (
            f"The model is stochastic: outputs differ between two equal queries by up to {difference:.2g}. Repeated "
            "queries average the noise away, and no attack here repeats its queries."
        )
    return Check(
        id="stochastic",
        title="Repeated queries",
        level=CheckLevel.PASS if difference == 0 else CheckLevel.WARN,
        sentence=told,
        voids=(Void.NOTHING_FOUND,) if difference else (),
    )


def few_shadows(subject: Subject) -> Check | None:
    """Are there shadows enough for an attack per record?"""
    shadows = len(subject.evidence.shadow_membership)
    if not shadows:
        return None
    inside = subject.evidence.shadow_membership.sum(0)
    least, most = int(inside.min()), int(inside.max())
    each = f"{least} with and {shadows - most} without each record"
    few = min(least, shadows - most) <= _FEW_SHADOWS // 2
    return Check(
        id="few-shadows",
        title="Number of shadows",
        level=CheckLevel.WARN if few else CheckLevel.PASS,
        sentence=f"{shadows} shadows, {each if least == most else f'at least {each}'}"
        + (": per-record attacks are weak." if few else "."),
    )


def population_size(subject: Subject) -> Check:
    """Who calibrates, and where did these records come from?"""
    source, size = subject.audit_set.population_source, subject.audit_set.calibration.n
    steered = source.startswith("validation")
    return Check(
        id="population",
        title="Population",
        level=CheckLevel.WARN if steered else CheckLevel.PASS,
        sentence=f"{size:,} records from {source} calibrate, as many others are for defenses; none is evaluated.",
    )


def groups(subject: Subject) -> Check | None:
    """Are there groups enough on either side, one that holds most records counting as little more than one?"""
    jury = subject.jury
    if jury.groups is None:
        return None
    worth = effective_groups(jury.membership, jury.groups)
    counted = (
        f"{worth.total:,} groups, worth {worth.members:,.1f} equal ones among members and {worth.non_members:,.1f} "
        "among non-members"
    )
    return Check(
        id="groups",
        title="Number of groups",
        level=CheckLevel.PASS if worth.enough else CheckLevel.FAIL,
        sentence=(
            f"Records are judged by their groups: {counted}."
            if worth.enough
            else f"Too few groups to judge by: {counted}, and each side needs {LEAST_EFFECTIVE_GROUPS}. Add records of "
            "other groups, or take some of the largest groups' away."
        ),
        voids=() if worth.enough else (Void.LEAK_FOUND, Void.NOTHING_FOUND, Void.PER_RECORD),
    )


_CHECKS = (
    recipe,
    proxy_shadows,
    members_learned,
    random_split,
    duplicates,
    saturation,
    stochastic,
    few_shadows,
    population_size,
    groups,
)
