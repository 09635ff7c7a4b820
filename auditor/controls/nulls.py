"""Null controls (rule 4): what the split alone gives, and that the instrument reads zero when there is nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import binom

from auditor.compute import generator
from auditor.controls.relabelling import TOO_FEW_GROUPS, Relabelling, without_appendix
from auditor.findings import ControlResult, Measurement, Role, Void
from auditor.laboratory import Answers
from auditor.limits import Limits
from auditor.membership.evidence import Attack, Evidence, NullModels
from auditor.membership.measure import Jury, Scored, endpoint_p_values, plain_curve
from auditor.shadows import inclusion_pairs
from auditor.signals import Signals
from auditor.stats.auc import auc
from auditor.stats.excess import excess_over_null
from auditor.stats.intervals import proportion
from auditor.stats.multiplicity import holm
from auditor.threat import Access

__all__ = ["NullExcess", "instrument_null", "owner_label_excess", "owner_label_result", "two_class_signals"]

Floats = npt.NDArray[np.float64]

_UNLEARNED = 0.2  # of a shift: null models train on fewer records than the target
_LEANS = 0.2  # p of a null that lies above .5; with 80 % certainty
_RELABELLINGS = 200
_ALARMS_ALLOWED = 0.99  # quantile of how many there are at the family-wise level
_ZERO_LEAK_RECORDS = 2000
_ZERO_LEAK_SHADOWS = (4, 8, 16)
_ZERO_LEAK_CONFIDENCE = 0.999


@dataclass(frozen=True)
class NullExcess:
    """The owner-label null at one access.

    Attributes:
        access: For which access.
        null: AUC of the primary attack on models that never saw the record.
        excess: The target's paired excess over it.
        beyond: The same less what null models may have missed of a shift, at the family-wise level shared by the
            accesses.
        significant: Whether that is above 0.
        shift: Whether the null itself lies above .5.
        leans: Whether it does with 80 % certainty at least.
        masks: Whether it lies wholly below .5: the split takes from every AUC.
        hides: Whether what it takes may hide an AUC that reaches the limit of *nothing found*.
        scores: The null's score per audit record, float64 [record], for its curve.
    """

    access: Access
    null: Measurement
    excess: Measurement
    beyond: Measurement
    significant: bool
    shift: bool
    leans: bool
    masks: bool
    hides: bool
    scores: Floats


def owner_label_excess(
    attack: Attack, evidence: Evidence, nulls: NullModels, jury: Jury, limits: Limits, seed: int
) -> NullExcess:
    """What a primary attack makes of the split in front of two models that never saw the records it is judged on.

    A member is judged by the model without it, a non-member by both, in an AUC of each model's own (docs/decisions/0002
    and 0007). The curve needs one score a record: there a coin decides which model's a non-member has.

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
    each = np.stack([attack.score(evidence.attacking(nulls.answers.model(index))) for index in range(2)])
    error = limits.family_wise_error / len(Access)
    found = excess_over_null(
        attack.score(evidence),
        each,
        ~nulls.halves,
        member,
        unlearned=_UNLEARNED,
        confidence=limits.confidence,
        error=error,
        groups=jury.groups,
    )
    access, masks = attack.card.access, found.null.high < 0.5
    return NullExcess(
        access=access,
        null=Measurement(
            name=f"AUC on models that never saw the record ({access})", estimate=found.null, against="0.5"
        ),
        excess=Measurement(
            name=f"Excess of the target's AUC ({access})", estimate=found.estimate, against="owner-label null"
        ),
        beyond=Measurement(
            name=f"That excess less what null models may have missed ({access})",
            estimate=found.beyond,
            against=f"0, with an error of {100 * error:.1f} % on each side",
        ),
        significant=found.p_value <= error,
        shift=found.null.low > 0.5,
        leans=found.null_p_value <= _LEANS,
        masks=masks,
        hides=masks and 0.5 + found.estimate.high >= limits.auc,
        scores=np.where(np.where(member, nulls.halves[0], coin), each[1], each[0]),
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
    masks, hides = any(one.masks for one in excesses), any(one.hides for one in excesses)
    shift, leans = any(one.shift for one in excesses), any(one.leans for one in excesses)
    return ControlResult(
        id="owner-label-null",
        title="Null control, owner's labels",
        question="What does the split alone give, on models that never saw the record?",
        status="fail" if hides else "warn" if shift or masks else "pass",
        sentence=" ".join(_null_told(shift=shift, leans=leans, masks=masks, hides=hides)),
        voids=(Void.NOTHING_FOUND,) if hides else (),
        measurements=(
            *(told for one in excesses for told in (one.null, one.excess)),
            *(one.beyond for one in excesses),
        ),
        roc=plain_curve(excesses[-1].scores, jury.membership),
    )


_NOT_SEEN = (
    "What the target learned of a difference between the splits passes for a leak where these models learned less than "
    f"{100 * (1 - _UNLEARNED):.0f} % of it; only a random split rules that out."
)
_TESTED = (
    f"Significant means: by more than {100 * _UNLEARNED / (1 - _UNLEARNED):.0f} % of how far they lie above 0.5, which "
    "two models may have missed."
)


def _null_told(*, shift: bool, leans: bool, masks: bool, hides: bool) -> Iterator[str]:
    if masks:
        yield (
            "Models that never saw the records order non-members above members: the split takes from every AUC, and a "
            f"leak reads smaller than it is{', by so much that one over the limit may be hidden' if hides else ''}."
        )
    if shift:
        yield (
            "Models that never saw the records already order members above non-members: the split alone gives part of "
            f"the result, so a leak needs a significant excess over them. {_TESTED}"
        )
    elif leans:
        yield (
            "Models that never saw the records score members a little higher than non-members, which may be chance: "
            f"where they do, a leak needs a significant excess over them. {_TESTED}"
        )
    elif not masks:
        yield "Models that never saw the records do not tell members from non-members."
    yield _NOT_SEEN


def instrument_null(scored: Sequence[Scored], jury: Jury, limits: Limits, seed: int) -> ControlResult:
    """Does the instrument read zero when there is nothing to read?

    Labels are drawn at random 200 times, for groups as a whole, before the primary tests see them, and signals without
    any leak go through every shadow-based primary attack with a shadow in the target's place, at K = 4, 8 and 16.
    """
    relabelling = Relabelling.of(jury, seed)
    if relabelling is None:
        return ControlResult(
            id="instrument-null",
            title="Null control, instrument",
            question="Does the instrument read zero when there is nothing to read?",
            status="skipped",
            sentence=f"{TOO_FEW_GROUPS} How often the primary tests reject when there is nothing is not known.",
            voids=(Void.LEAK_FOUND, Void.NOTHING_FOUND),
        )
    rng = generator(seed, "instrument null")
    primaries = [one for one in scored if one.role is Role.PRIMARY and one.scores is not None]
    alarms = sum(_false_alarm(primaries, relabelling.draw(rng), limits) for _ in range(_RELABELLINGS))
    allowed = int(binom.ppf(_ALARMS_ALLOWED, _RELABELLINGS, limits.family_wise_error))
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
            f"With labels drawn at random{_for_groups(jury)} the primary tests rejected in {alarms} of {_RELABELLINGS} "
            f"draws (up to {allowed} agree with {100 * limits.family_wise_error:.0f} %); signals without a leak "
            + ("gave AUC 0.5." if reads_zero else "did not give AUC 0.5.")
        ),
        measurements=(
            Measurement(name=name, estimate=rate, against=f"{100 * limits.family_wise_error:.0f} %", unit="share"),
            *zero_leak,
        ),
        voids=() if alarms <= allowed and reads_zero else (Void.LEAK_FOUND, Void.NOTHING_FOUND),
    )


def _for_groups(jury: Jury) -> str:
    return "" if jury.groups is None else ", for groups as a whole,"


def _false_alarm(primaries: Sequence[Scored], relabelled: Jury, limits: Limits) -> bool:
    tests = [
        endpoint_p_values(without_appendix(one.attack, relabelled), one.scores, relabelled, limits)
        for one in primaries
        if one.scores is not None
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
        estimate=auc(scores, membership[0], confidence=_ZERO_LEAK_CONFIDENCE),
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
