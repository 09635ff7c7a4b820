"""Checks on the shadows: are they like the target, enough, and of one make?"""

from __future__ import annotations

import numpy as np

from auditor.checks.subject import CONFIDENCE, MATERIAL, Subject, accuracies
from auditor.findings import Check, CheckLevel, Void
from auditor.stats.auc import auc
from auditor.stats.intervals import mean, prediction_interval
from auditor.training import source_of

__all__ = ["FEW_SHADOWS", "few_shadows", "given_inclusion", "proxy_shadows", "recipe", "stale_shadows"]

FEW_SHADOWS = 4


def recipe(subject: Subject) -> Check | None:
    """Do the shadows behave like the target? Accuracy with and without the record, 99 % prediction interval (7.7)."""
    evidence, membership = subject.evidence, subject.jury.membership
    if not len(evidence.shadow_membership):
        return None
    shadows = [
        accuracies(evidence.shadows.audit.model(index), evidence.shadow_membership[index])
        for index in range(len(evidence.shadow_membership))
    ]
    target = accuracies(evidence.target.audit, membership)
    misses = []
    for position, name in enumerate(("training records", "other records")):
        spread = [pair[position] for pair in shadows]
        predicted = prediction_interval(spread, confidence=CONFIDENCE)
        centre = float(np.mean(spread))
        low, high = min(predicted.low, centre - MATERIAL), max(predicted.high, centre + MATERIAL)
        if not low <= target[position] <= high:
            misses.append(
                f"accuracy on {name} is {100 * target[position]:.1f} %, shadows reach {100 * low:.1f} % to "
                f"{100 * high:.1f} %"
            )
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


def few_shadows(subject: Subject) -> Check | None:
    """Are there shadows enough for an attack per record?"""
    shadows = len(subject.evidence.shadow_membership)
    if not shadows:
        return None
    inside = subject.evidence.shadow_membership.sum(0)
    least, most = int(inside.min()), int(inside.max())
    each = f"{least} with and {shadows - most} without each record"
    few = min(least, shadows - most) <= FEW_SHADOWS // 2
    return Check(
        id="few-shadows",
        title="Number of shadows",
        level=CheckLevel.WARN if few else CheckLevel.PASS,
        sentence=f"{shadows} shadows, {each if least == most else f'at least {each}'}"
        + (": per-record attacks are weak." if few else "."),
    )


def given_inclusion(subject: Subject) -> Check | None:
    """Do given shadows answer better on the records that they are said to have trained on? Over shadows, t interval."""
    evidence = subject.evidence
    if not subject.shadows_given or not len(evidence.shadow_membership):
        return None
    inside = evidence.shadow_membership
    margins = evidence.shadows.audit.logit_margin[:, :, 0]
    told = mean([auc(one, row).value for one, row in zip(margins, inside, strict=True)], unit="shadows")
    shown = (
        f"over {told.n['shadows']} given shadows the mean AUC is {told.value:.3f} ({told.low:.3f} to {told.high:.3f})"
    )
    title = "Given shadows"
    if told.low > 0.5:
        sentence = f"Given shadows tell the records that they trained on, as inclusion.npz says: {shown}."
        return Check(id="given-inclusion", title=title, level=CheckLevel.PASS, sentence=sentence)
    return Check(
        id="given-inclusion",
        title=title,
        level=CheckLevel.FAIL,
        sentence=(
            f"Given shadows do not tell the records that inclusion.npz says they trained on: {shown}. Either it is "
            "wrong, or they leak too little to calibrate by."
        ),
        voids=(Void.NOTHING_FOUND, Void.PER_RECORD, Void.POWER),
    )


def stale_shadows(subject: Subject) -> Check:
    """Does a run go on with what other versions left behind?"""
    mixed = subject.planned_with != subject.running
    return Check(
        id="stale-shadows",
        title="Versions",
        level=CheckLevel.WARN if mixed else CheckLevel.PASS,
        sentence=(
            f"The plan was made by {subject.planned_with}, and {subject.running} runs now: models and answers kept "
            "from then were made by other code. A fresh --run-dir without --plan makes all of them anew."
            if mixed
            else f"Planned and run by the same versions: {subject.running}."
        ),
    )
