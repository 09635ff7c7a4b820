"""Checks on the shadows: are they like the target, enough, and of one make?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.checks.subject import CONFIDENCE, MATERIAL, Subject, accuracies
from auditor.findings import Check, CheckLevel, Void
from auditor.membership.evidence import Evidence
from auditor.stats.auc import auc
from auditor.stats.intervals import mean, prediction_interval
from auditor.training import source_of

__all__ = ["FEW_SHADOWS", "few_shadows", "given_inclusion", "proxy_shadows", "recipe", "stale_shadows"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FEW_SHADOWS = 4
_MARGINS = {"logit_margin": "logit margin", "released_margin": "released margin"}
_SIDES = {True: "training records", False: "other records"}
_COMPARISONS = 8  # location and spread of both margins on either side; all together keep the confidence
_COARSE = 10  # values: labels alone say no more than the accuracy does


def recipe(subject: Subject) -> Check | None:
    """Do the shadows behave like the target, and are they as certain (rule 7, docs/decisions/0012)?

    Accuracy, and location and spread of the true class's margins, with and without the record: each inside the
    prediction interval of the shadows' own.
    """
    evidence, membership = subject.evidence, subject.jury.membership
    if not len(evidence.shadow_membership):
        return None
    misses = [*_accuracy_misses(evidence, membership), *_margin_misses(evidence, membership)]
    proxies = ", as frozen-feature proxies," if subject.recipe.proxy else ""
    source = f"trained by {source_of(subject.recipe, stated=subject.recipe_stated)}{proxies}"
    if subject.shadows_given:
        source = "that were given"
    if not misses:
        return Check(
            id="recipe",
            title="Recipe",
            level=CheckLevel.PASS,
            sentence=f"Shadows {source} are as accurate as the target, and as certain, with the record and without.",
        )
    return Check(
        id="recipe",
        title="Recipe",
        level=CheckLevel.FAIL,
        sentence=f"The target does not behave like models {source.rstrip(',')}: {'; '.join(misses)}.",
        voids=(Void.NOTHING_FOUND, Void.PER_RECORD, Void.POWER),
    )


def _accuracy_misses(evidence: Evidence, membership: Flags) -> list[str]:
    """In what the target's accuracies are unlike those of the shadows."""
    shadows = [
        accuracies(evidence.shadows.audit.model(index), evidence.shadow_membership[index])
        for index in range(len(evidence.shadow_membership))
    ]
    target = accuracies(evidence.target.audit, membership)
    misses = []
    for position, name in enumerate(_SIDES.values()):
        spread = [pair[position] for pair in shadows]
        predicted = prediction_interval(spread, confidence=CONFIDENCE)
        centre = float(np.mean(spread))
        low, high = min(predicted.low, centre - MATERIAL), max(predicted.high, centre + MATERIAL)
        if not low <= target[position] <= high:
            misses.append(
                f"accuracy on {name} is {100 * target[position]:.1f} %, shadows reach {100 * low:.1f} % to "
                f"{100 * high:.1f} %"
            )
    return misses


@dataclass(frozen=True)
class _Trait:
    """One number of a model, beside where the shadows' own lie; `told` says what it is, with the target's value."""

    told: str
    target: float
    low: float
    high: float

    @classmethod
    def of(cls, told: str, target: float, shadows: Floats, tolerated: tuple[float, float]) -> _Trait:
        """Against the shadows' prediction interval, no narrower than what is tolerated."""
        predicted = prediction_interval(shadows, confidence=1 - (1 - CONFIDENCE) / _COMPARISONS)
        return cls(told.format(target), target, min(predicted.low, tolerated[0]), max(predicted.high, tolerated[1]))

    @property
    def beyond(self) -> float:
        """How far the target lies outside, in widths of the interval; 0 inside."""
        outside = max(self.low - self.target, self.target - self.high, 0.0)
        return outside / max(self.high - self.low, np.finfo(float).tiny) if outside else 0.0


def _margin_misses(evidence: Evidence, membership: Flags) -> list[str]:
    """In what the target is more or less certain than the shadows: what is furthest off, and the likely cause."""
    traits = list(_traits(evidence, membership))
    missed = [trait for trait in traits if trait.beyond]
    if not missed:
        return []
    worst = max(missed, key=lambda trait: trait.beyond)
    told = (
        f"{worst.told}, and shadows reach {worst.low:.2f} to {worst.high:.2f} ({len(missed)} of {len(traits)} such "
        "comparisons fail), as after a temperature in its last layer or training by another recipe; state the recipe "
        "that it was trained by, or give shadows made as it was (--shadows), temperature included"
    )
    return [told]


def _traits(evidence: Evidence, membership: Flags) -> Iterator[_Trait]:
    for name, words in _MARGINS.items():
        shadows = _within_reach(getattr(evidence.shadows.audit, name)[..., 0])
        target = _within_reach(getattr(evidence.target.audit, name)[:, 0])
        models = np.vstack([target, shadows])
        if len(np.unique(models)) <= _COARSE:
            continue
        usual = _usual(shadows, evidence.shadow_membership)
        included = np.vstack([membership, evidence.shadow_membership])
        for side, records in _SIDES.items():
            yield _location(models - usual, included == side, f"the median {words} on {records}")
            yield _spread(models, included == side, f"the interquartile range of the {words} on {records}")


def _within_reach(margins: Floats) -> Floats:
    """Without infinities, which have no spread."""
    return np.asarray(np.nan_to_num(np.clip(margins, -1e6, 1e6)))


def _usual(shadows: Floats, inside: Flags) -> Floats:
    """What models say of each record, half of them trained on it: [record], from margins [model, record]."""
    sides = [(shadows * group).sum(0) / np.maximum(group.sum(0), 1) for group in (inside, ~inside)]
    return np.asarray(np.mean(sides, axis=0))


def _location(excess: Floats, chosen: Flags, told: str) -> _Trait:
    """How far models, the target first, lie above what is usual of the same records."""
    low, middle, high = _quantiles(excess, chosen, (0.5 - MATERIAL, 0.5, 0.5 + MATERIAL))
    told = f"{told} lies {{:+.2f}} from what shadows give the same records"
    return _Trait.of(told, float(middle[0]), middle[1:], (float(low[1:].mean()), float(high[1:].mean())))


def _spread(margins: Floats, chosen: Flags, told: str) -> _Trait:
    shares = [share + off for share in (0.25, 0.75) for off in (-MATERIAL, 0.0, MATERIAL)]
    first = _quantiles(margins, chosen, shares)
    wide, middle, narrow = first[5] - first[0], first[4] - first[1], first[3] - first[2]
    tolerated = (float(narrow[1:].mean()), float(wide[1:].mean()))
    return _Trait.of(f"{told} is {{:.2f}}", float(middle[0]), middle[1:], tolerated)


def _quantiles(values: Floats, chosen: Flags, shares: Sequence[float]) -> Floats:
    """Of each model's values [model, record] on the records chosen for it: [share, model]."""
    return np.stack([np.quantile(row[mask], shares) for row, mask in zip(values, chosen, strict=True)], axis=1)


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
