"""Planted control (rule 5 of docs/rules-of-evidence.md): a leak of the size of the limit has to be found again.

For every audit record the first shadow without it and the first with it are set aside; of complementary pairs that is
the first pair. The answers without it stand in the target's place and pseudo-members are drawn at random: nothing
leaks. The other shadows are the pool, record by record. Then a share q of the pseudo-members gets the answers of the
model with the record, raised by four within-record standard deviations of the shadows, there and in every shadow that
contains it: what memorising that record would look like.
Where records come in groups, pseudo-members are whole groups, and so is what is planted: each group with chance q.
At q = (limit - FPR) / (1 - FPR) an attack that recognises every planted record just reaches the limit of rule 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.compute import generator
from auditor.controls.nulls import two_class_signals
from auditor.controls.relabelling import TOO_FEW_GROUPS, Relabelling, without_appendix
from auditor.findings import ControlResult, DosePoint, Measurement, RocCurve, Void
from auditor.laboratory import Answers
from auditor.limits import Limits, declared, declared_share
from auditor.membership.evidence import Attack, Evidence
from auditor.membership.measure import Jury, endpoint_p_values, plain_curve
from auditor.signals import Signals
from auditor.stats.intervals import mean, proportion
from auditor.stats.low_fpr import Standing, standing, tpr_at_fpr
from auditor.threat import Access

__all__ = ["Planted", "planted_control"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_PLANTINGS = 20
_NEEDED_RATE = 0.8
_SIGMAS = 4.0
_QUESTION = "Is a leak of the size of the limit found again?"
_DOSES = (0.0, 0.5, 1.0, 2.0)  # times the dose at the limit


@dataclass(frozen=True)
class Planted:
    """The control, and for which accesses the leak at the limit was recovered."""

    result: ControlResult
    recovered: frozenset[Access]


def planted_control(
    attacks: Sequence[Attack], evidence: Evidence, jury: Jury, limits: Limits, *, tests: int, seed: int
) -> Planted:
    """Plant leaks of growing size and look whether the primary tests find them.

    Args:
        attacks: The shadow-based primary attacks.
        evidence: The attacker in front of the target.
        jury: Gives the number of records and their groups; whose they are is drawn at random.
        limits: Limits and levels.
        tests: How many primary endpoints the audit corrects for.
        seed: The audit's seed.
    """
    low_fpr = standing(jury.non_members, limits.fpr) is Standing.HEADLINE and jury.groups is None
    at_limit = (limits.tpr - limits.fpr) / (1 - limits.fpr) if low_fpr else 2 * limits.auc - 1
    at_fpr = f"TPR {declared_share(limits.tpr)} at {declared_share(limits.fpr)} FPR"
    size = at_fpr if low_fpr else f"AUC {declared(limits.auc)}{'' if jury.groups is None else ', in whole groups,'}"
    relabelling = Relabelling.of(jury, seed)
    if relabelling is None or not attacks:
        reason = f"{TOO_FEW_GROUPS} So" if attacks else "No shadow-based primary attack ran, so"
        return Planted(_skipped(f"{reason} nothing could be planted."), frozenset())
    doses: list[DosePoint] = []
    found: list[Measurement] = []
    recovered: set[Access] = set()
    curve = None
    for attack in attacks:
        access, stage = attack.card.access, _Stage.of(evidence)
        for times in _DOSES:
            share = min(1.0, times * at_limit)
            rng = generator(seed, f"planted control, {attack.card.id}, {share:.6f}")
            point, example = _dose(attack, stage, relabelling, limits, share, tests, rng)
            doses.append(point)
            if share != at_limit:
                continue
            curve = example
            name = f"Planted leak found ({access})"
            found.append(Measurement(name=name, estimate=point.detected, against="80 %", unit="share"))
            if point.detected.value >= _NEEDED_RATE:
                recovered.add(access)
    passed = len(recovered) == len(found)
    return Planted(
        ControlResult(
            id="planted",
            title="Planted control",
            question=_QUESTION,
            status="pass" if passed else "fail",
            sentence=_sentence(found, size),
            measurements=tuple(found),
            voids=() if passed else (Void.NOTHING_FOUND,),
            roc=curve,
            doses=tuple(doses),
        ),
        frozenset(recovered),
    )


def _skipped(sentence: str) -> ControlResult:
    return ControlResult(
        id="planted",
        title="Planted control",
        question=_QUESTION,
        status="skipped",
        sentence=sentence,
        voids=(Void.NOTHING_FOUND,),
    )


def _sentence(found: Sequence[Measurement], size: str) -> str:
    least = min(one.estimate.value for one in found)
    share = f"all {_PLANTINGS}" if least == 1 else f"{round(least * _PLANTINGS)} of {_PLANTINGS}"
    rarest = ", at the access where that was rarest" if least < 1 and len(found) > 1 else ""
    return f"A planted leak of {size} was found again in {share} plantings{rarest}."


def _dose(
    attack: Attack,
    stage: _Stage,
    relabelling: Relabelling,
    limits: Limits,
    share: float,
    tests: int,
    rng: np.random.Generator,
) -> tuple[DosePoint, RocCurve]:
    detections, rates = 0, []
    for _ in range(_PLANTINGS):
        pseudo = relabelling.draw(rng)
        planted = pseudo.membership & relabelling.chosen(share, rng)
        scores = attack.score(stage.plant(planted))
        p_values = endpoint_p_values(without_appendix(attack, pseudo), scores, pseudo, limits)
        detections += min(p_values) <= limits.family_wise_error / tests
        rates.append(tpr_at_fpr(scores, pseudo.membership, limits.fpr).value)
    point = DosePoint(
        attack_id=attack.card.id,
        access=attack.card.access,
        dose=share,
        # plantings are the unit: they share their records, so pooling those would claim too much
        tpr=mean(rates, unit="plantings"),
        detected=proportion(detections, _PLANTINGS, unit="plantings"),
    )
    return point, plain_curve(scores, pseudo.membership)


@dataclass(frozen=True)
class _Stage:
    """Where leaks are planted: for every record a model without it, one with it, and the pool of the others.

    Calibrating answers are those of the first model, and of all from the third on, whoever is in the pool of a record:
    attacks take their mean and pair none of them with a record.
    """

    without: Signals
    inside: Signals
    pool: Answers
    pool_membership: Flags
    calibration: Signals
    lift: _Lift

    @classmethod
    def of(cls, evidence: Evidence) -> _Stage:
        audit, membership, calibration = (
            evidence.shadows.audit,
            evidence.shadow_membership,
            evidence.shadows.calibration,
        )
        records = np.arange(membership.shape[1])
        without, inside = membership.argmin(0), membership.argmax(0)
        left = np.ones(membership.shape, dtype=bool)
        left[without, records] = left[inside, records] = False
        pool = np.argsort(~left, axis=0, kind="stable")[:-2]
        return cls(
            _of_models(audit, without),
            _of_models(audit, inside),
            Answers(_of_models(audit, pool), calibration.without_models([0, 1])),
            membership[pool, records],
            calibration.model(0),
            _Lift.of(evidence),
        )

    def plant(self, planted: Flags) -> Evidence:
        """The answers without each record in the target's place, with a leak planted on some records."""
        target = _where(planted, self.lift.raised(self.inside), self.without)
        told = planted & self.pool_membership
        audit = _where(told, self.lift.raised(self.pool.audit), self.pool.audit)
        return Evidence(Answers(target, self.calibration), replace(self.pool, audit=audit), self.pool_membership)


def _of_models(signals: Signals, models: npt.NDArray[np.intp]) -> Signals:
    """Answers of another model for every record; `models` is [record], or [place in the pool, record]."""
    records = np.arange(models.shape[-1])
    return Signals(**{name: array[models, records] for name, array in signals.arrays().items()})


@dataclass(frozen=True)
class _Lift:
    """How far a memorised record stands out: four within-record standard deviations of the shadows."""

    logit_margin: float
    released_margin: float

    @classmethod
    def of(cls, evidence: Evidence) -> _Lift:
        audit, inside = evidence.shadows.audit, evidence.shadow_membership
        return cls(*(_SIGMAS * _within(margin, inside) for margin in (audit.logit_margin, audit.released_margin)))

    def raised(self, signals: Signals) -> Signals:
        """The same answers, more certain of the true class."""
        released = two_class_signals(signals.released_margin + self.released_margin)
        return replace(released, logit_margin=signals.logit_margin + self.logit_margin)


def _within(margin: Floats, inside: Flags) -> float:
    """Pooled standard deviation of a margin [model, record, query] around each record's IN and OUT means."""
    squares, freedom = 0.0, 0
    for group in (inside, ~inside):
        count = group.sum(0)
        weights = group[:, :, None]
        mean = (margin * weights).sum(0) / np.maximum(count, 1)[:, None]
        squares += float((((margin - mean) ** 2) * weights).sum())
        freedom += int(np.maximum(count - 1, 0).sum()) * margin.shape[2]
    return float(np.sqrt(squares / max(freedom, 1)))


def _where(chosen: Flags, yes: Signals, no: Signals) -> Signals:
    """Answers of `yes` on the chosen records, of `no` on the others; `chosen` is [record] or [model, record]."""
    other = no.arrays()
    return Signals(**{name: np.where(chosen[..., None], array, other[name]) for name, array in yes.arrays().items()})
