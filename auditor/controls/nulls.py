"""Null controls (DESIGN 7.4): what the split alone gives, and that the instrument reads zero when there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import binom

from auditor.compute import generator
from auditor.findings import ControlResult, Measurement, Role, Void
from auditor.laboratory import Answers
from auditor.membership.evidence import Attack, Evidence, NullModels
from auditor.membership.measure import Jury, Scored, endpoint_p_values, plain_curve
from auditor.shadows import inclusion_pairs
from auditor.signals import Signals
from auditor.stats.auc import auc, auc_difference
from auditor.stats.intervals import proportion
from auditor.stats.multiplicity import holm
from auditor.threat import Access
from auditor.verdict import Limits

__all__ = ["NullExcess", "instrument_null", "owner_label_excess", "owner_label_result", "two_class_signals"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_RELABELLINGS = 200
_ZERO_LEAK_RECORDS = 2000
_ZERO_LEAK_SHADOWS = (4, 8, 16)


@dataclass(frozen=True)
class NullExcess:
    """The owner-label null at one access.

    Attributes:
        access: For which access.
        null: AUC of the primary attack on models that never saw the record.
        excess: The target's paired excess over it.
        significant: Whether the excess is, at the family-wise level shared by the accesses.
        shift: Whether the null itself lies above .5.
        scores: The null's score per audit record, float64 [record].
    """

    access: Access
    null: Measurement
    excess: Measurement
    significant: bool
    shift: bool
    scores: Floats


def owner_label_excess(
    attack: Attack, evidence: Evidence, nulls: NullModels, jury: Jury, limits: Limits, seed: int
) -> NullExcess:
    """What a primary attack makes of the split in front of two models that never saw the records it is judged on.

    Each record is scored once, by a null model that did not train on it: a member by the one without it, a non-member
    by either, on a coin. Averaging both for non-members only would bias the AUC where scores are skewed
    (docs/decisions/0002).

    Args:
        attack: The primary attack of its access.
        evidence: The attacker in front of the target.
        nulls: The two null models.
        jury: Membership and groups of the audit records.
        limits: Levels.
        seed: The audit's seed.
    """
    member = jury.membership
    coin = generator(seed, "owner-label null").random(len(member)) < 0.5
    judge = np.where(member, nulls.halves[0], coin)
    each = [attack.score(evidence.attacking(nulls.answers.model(index))) for index in range(2)]
    scores = np.where(judge, each[1], each[0])
    parts = [auc(each[i][judge == i], member[judge == i]).value for i in range(2)]
    between_models = (parts[0] - parts[1]) ** 2 / 2
    null = auc(scores, member, confidence=limits.confidence, groups=jury.groups)
    excess = auc_difference(
        attack.score(evidence),
        scores,
        member,
        confidence=limits.confidence,
        extra_variance=1.5 * between_models,
        groups=jury.groups,
    )
    access = attack.card.access
    return NullExcess(
        access=access,
        null=Measurement(name=f"AUC on models that never saw the record ({access})", estimate=null, against="0.5"),
        excess=Measurement(
            name=f"Excess of the target's AUC ({access})", estimate=excess.estimate, against="owner-label null"
        ),
        significant=excess.p_value <= limits.family_wise_error / len(Access),
        shift=null.low > 0.5,
        scores=scores,
    )


def owner_label_result(excesses: Sequence[NullExcess], jury: Jury) -> ControlResult:
    """The owner-label null of every access as one control."""
    if not excesses:
        return ControlResult(
            id="owner-label-null",
            title="Null control, owner's labels",
            question="What does the split alone give, on models that never saw the record?",
            status="skipped",
            sentence="No primary attack ran, so there is nothing to compare with models that never saw the records.",
        )
    shift = any(one.shift for one in excesses)
    return ControlResult(
        id="owner-label-null",
        title="Null control, owner's labels",
        question="What does the split alone give, on models that never saw the record?",
        status="warn" if shift else "pass",
        sentence=(
            "Models that never saw the records already order members above non-members: the split alone gives part of "
            "the result, so a leak needs a significant excess over them."
            if shift
            else "Models that never saw the records do not tell members from non-members."
        ),
        measurements=tuple(measurement for one in excesses for measurement in (one.null, one.excess)),
        roc=plain_curve(excesses[-1].scores, jury.membership),
    )


def instrument_null(scored: Sequence[Scored], jury: Jury, limits: Limits, seed: int) -> ControlResult:
    """Does the instrument read zero when there is nothing to read?

    Labels are drawn at random 200 times before the primary tests see them, and signals without any leak go through
    every shadow-based primary attack with a shadow in the target's place, at K = 4, 8 and 16.
    """
    rng = generator(seed, "instrument null")
    primaries = [one for one in scored if one.role is Role.PRIMARY and one.scores is not None]
    alarms = sum(_false_alarm(primaries, jury, limits, rng) for _ in range(_RELABELLINGS))
    allowed = int(binom.ppf(0.99, _RELABELLINGS, limits.family_wise_error))
    zero_leak = [
        _zero_leak(one.attack, shadows, rng)
        for one in primaries
        if one.attack.least_shadows
        for shadows in _ZERO_LEAK_SHADOWS
        if shadows - 2 >= one.attack.least_shadows
    ]
    reads_zero = all(one.estimate.low <= 0.5 <= one.estimate.high for one in zero_leak)
    rate = proportion(alarms, _RELABELLINGS, confidence=limits.confidence, unit="relabellings")
    name = "False alarms with labels drawn at random"
    return ControlResult(
        id="instrument-null",
        title="Null control, instrument",
        question="Does the instrument read zero when there is nothing to read?",
        status="pass" if alarms <= allowed and reads_zero else "fail",
        sentence=(
            f"With labels drawn at random the primary tests rejected in {alarms} of {_RELABELLINGS} draws "
            f"(up to {allowed} agree with {limits.family_wise_error:.0%}); signals without a leak "
            + ("gave AUC 0.5." if reads_zero else "did not give AUC 0.5.")
        ),
        measurements=(Measurement(name=name, estimate=rate, against=f"{limits.family_wise_error:.0%}"), *zero_leak),
        voids=() if alarms <= allowed and reads_zero else (Void.LEAK_FOUND, Void.NOTHING_FOUND),
    )


def _false_alarm(primaries: Sequence[Scored], jury: Jury, limits: Limits, rng: np.random.Generator) -> bool:
    relabelled = replace(jury, membership=rng.permutation(jury.membership), groups=None)
    tests = [
        endpoint_p_values(one.attack, one.scores, relabelled, limits) for one in primaries if one.scores is not None
    ]
    p_values = [p for test in tests for p in test]
    return bool(p_values) and bool(holm(p_values).min() <= limits.family_wise_error)


def _zero_leak(attack: Attack, shadows: int, rng: np.random.Generator) -> Measurement:
    centre = rng.normal(2.0, 3.0, size=(1, _ZERO_LEAK_RECORDS, 1))
    audit = two_class_signals(centre + rng.normal(size=(shadows, _ZERO_LEAK_RECORDS, 1)))
    pool = Answers(audit, two_class_signals(rng.normal(2.0, 3.0, size=(shadows, _ZERO_LEAK_RECORDS, 1))))
    membership = inclusion_pairs(_ZERO_LEAK_RECORDS, shadows, rng)
    scores = attack.score(Evidence(pool.model(0), pool, membership).attacking_shadow(0))
    return Measurement(
        name=f"{attack.card.title}, signals without a leak, {shadows} shadows",
        estimate=auc(scores, membership[0], confidence=0.999),
        against="AUC 0.5",
    )


def two_class_signals(margin: Floats) -> Signals:
    """The signals of a two-class model with this margin [model, record, query], for simulations and plantings."""
    confidence = expit(margin)
    loss = np.logaddexp(0.0, -margin)
    return Signals(
        logit_margin=margin,
        released_margin=margin,
        confidence=confidence,
        loss=loss,
        entropy=confidence * loss + (1 - confidence) * np.logaddexp(0.0, margin),
        modified_entropy=2 * (1 - confidence) * loss,
        correct=(margin > 0).astype(np.float64),
    )
