"""The battery before and after each defense, paired on the same records (DESIGN 7.12).

A defended target is attacked twice: by an attacker who does not know of the defense (static), and by one who refits
everything through it, shadows included (adaptive). Only the second speaks about what the defense buys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.compute import generator
from auditor.defense import Applied, Defense, Holding
from auditor.defenses import DEFENSES
from auditor.findings import DefenseEffect, DefenseResult, Endpoint, Measurement, Metric, Role
from auditor.laboratory import Answers, Laboratory
from auditor.limits import Limits
from auditor.membership.evidence import Attack, Evidence
from auditor.membership.measure import Jury, Scored, crash_report, run_attack
from auditor.shadows import TrainingSet
from auditor.signals import class_probabilities
from auditor.splits import Records
from auditor.stats.auc import auc_difference
from auditor.stats.bootstrap import bca
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import mean, proportion
from auditor.stats.low_fpr import tpr_at_fpr_difference
from auditor.target import Target
from auditor.threat import Access

__all__ = ["Undefended", "compare", "compare_all"]

Floats = npt.NDArray[np.float64]

_CALIBRATION_BINS = 15
_RESAMPLES = 299
_VOID = (
    "Whoever holds the file leaves an output-time defense away: with released weights {title} buys nothing, and no "
    "defense that would count there was measured."
)


@dataclass(frozen=True)
class Undefended:
    """The battery as it ran on the target alone, and what is needed to run it again."""

    target: Target
    evidence: Evidence
    scored: Sequence[Scored]
    shadows: Sequence[TrainingSet]
    jury: Jury
    limits: Limits
    seed: int


def compare_all(chosen: Sequence[str], laboratory: Laboratory, before: Undefended) -> tuple[DefenseResult, ...]:
    """Every defense that the plan names, in the order of the table."""
    return tuple(compare(defense, laboratory, before) for defense in DEFENSES if defense.card.id in chosen)


def compare(defense: Defense, laboratory: Laboratory, before: Undefended) -> DefenseResult:
    """Apply one defense and run the primary attacks again; a crash is a result, not an end."""
    if before.target.wrapper is not None:
        reason = f"the checkpoint carries {before.target.wrapper.kind}; audit the bare model to compare defenses"
        return DefenseResult(card=defense.card, status="skipped", reason=reason)
    try:
        return _compare(defense, laboratory, before)
    except Exception as error:  # noqa: BLE001 - whatever a defense raises, the rest of the report must still come
        return DefenseResult(card=defense.card, status="failed", reason=crash_report(error))


def _compare(defense: Defense, laboratory: Laboratory, before: Undefended) -> DefenseResult:
    applied, audit_set = Applied(defense), laboratory.audit_set
    members = Records.concatenate([audit_set.records.take(audit_set.membership), audit_set.others])
    defended = applied.apply(before.target, Holding(members, audit_set.reference, laboratory.recipe), before.seed)
    through = replace(laboratory, defense=applied)
    answers = through.ask(defended)
    shadows = through.train(before.shadows, task=f"{defense.card.title}: shadows")
    adaptive = replace(before.evidence, target=answers, shadows=Answers.stack(shadows))
    static = before.evidence.attacking(answers)
    effects = [
        effect
        for one in before.scored
        if one.role is Role.PRIMARY and one.scores is not None and one.attack.card.access is not Access.WEIGHTS
        for effect in _effects(one, defended, static, adaptive, before)
    ]
    return DefenseResult(
        card=defense.card,
        status="completed",
        effects=tuple(effects),
        costs=tuple(_costs(before.target, defended, laboratory)),
        void_when_weights=_VOID.format(title=defense.card.title) if defense.card.acts_on == "output" else "",
    )


def _effects(
    one: Scored, defended: Target, static: Evidence, adaptive: Evidence, before: Undefended
) -> list[DefenseEffect]:
    if one.scores is None or one.outcome.status != "completed":
        return []
    exposed = defended.exposes(one.attack.card.access)
    blind = _endpoints(one.attack, static, before) if exposed else None
    told = _endpoints(one.attack, adaptive, before) if exposed else None
    effects = []
    for position, undefended in enumerate(one.outcome.endpoints):
        effects.append(
            DefenseEffect(
                attack_id=one.attack.card.id,
                access=one.attack.card.access,
                metric=undefended.metric,
                fpr=undefended.fpr,
                undefended=undefended.estimate,
                static=blind.estimates[position] if blind else None,
                adaptive=told.estimates[position] if told else None,
                change=_change(undefended, told.scores, one.scores, before) if told else None,
            )
        )
    return effects


@dataclass(frozen=True)
class _Measured:
    scores: Floats
    estimates: tuple[Estimate, ...]


def _endpoints(attack: Attack, evidence: Evidence, before: Undefended) -> _Measured:
    scored = run_attack(attack, Role.PRIMARY, evidence, before.jury, before.limits)
    if scored.scores is None or scored.outcome.status != "completed":
        raise RuntimeError(f"{attack.card.title} did not run against the defended model: {scored.outcome}")
    return _Measured(scored.scores, tuple(endpoint.estimate for endpoint in scored.outcome.endpoints))


def _change(endpoint: Endpoint, after: Floats, scores: Floats, before: Undefended) -> Estimate:
    jury, limits = before.jury, before.limits
    if endpoint.metric is Metric.AUC:
        difference = auc_difference(after, scores, jury.membership, confidence=limits.confidence, groups=jury.groups)
        return difference.estimate
    rng = generator(before.seed, "defense change")
    return tpr_at_fpr_difference(
        after, scores, jury.membership, limits.fpr, rng, confidence=limits.confidence, groups=jury.groups
    )


def _costs(target: Target, defended: Target, laboratory: Laboratory) -> list[Measurement]:
    """What the defense costs on the audited non-members: accuracy, distortion, calibration."""
    audit_set = laboratory.audit_set
    records = audit_set.records.take(~audit_set.membership)
    before, after = (class_probabilities(model, records.inputs) for model in (target, defended))
    right, right_after = (vectors.argmax(1) == records.labels for vectors in (before, after))
    distortion = np.abs(after.astype(np.float64) - before).sum(1)
    changed = int((before.argmax(1) != after.argmax(1)).sum())
    return [
        Measurement(name="Accuracy on non-members, undefended", estimate=_share(right)),
        Measurement(name="Accuracy on non-members, defended", estimate=_share(right_after)),
        Measurement(name="Labels changed", estimate=proportion(changed, records.n, unit="non-members")),
        Measurement(name="L1 distance of the released vector", estimate=mean(distortion, unit="non-members")),
        Measurement(name="Expected calibration error, undefended", estimate=_calibration(before, right)),
        Measurement(name="Expected calibration error, defended", estimate=_calibration(after, right_after)),
    ]


def _share(right: npt.NDArray[np.bool_]) -> Estimate:
    return proportion(int(right.sum()), len(right), unit="non-members")


def _calibration(vectors: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> Estimate:
    """Expected calibration error in 15 equal bins."""
    columns = (vectors.max(1).astype(np.float64), right.astype(np.float64))
    return bca(columns, _gap, np.random.default_rng(0), resamples=_RESAMPLES, unit="non-members")


def _gap(confidence: Floats, right: Floats) -> float:
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    sums = np.bincount(bins, weights=confidence - right, minlength=_CALIBRATION_BINS)
    return float(np.abs(sums).sum() / len(right))
