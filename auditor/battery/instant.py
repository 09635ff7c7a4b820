"""The instant answer: what can be said from the target alone, in seconds, before any shadow is trained.

Attacks that read nothing but the target's answers run at once. Beside them stands an estimate without shadows of what
shadows may find (`reference_attacks.membership.tail`): it is the owner's, no attack, and decides nothing. No test is
corrected and no verdict reached, since that is for the whole family of primary tests at the end; what shadows found is
then put beside the estimate, and neither is said to predict the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.battery import INVERSION, MEMBERSHIP
from auditor.battery.plan import Plan, why_not
from auditor.compute import generator
from auditor.findings import (
    Completed,
    Endpoint,
    Family,
    InstantAnswer,
    InversionResult,
    Measurement,
    Metric,
    Role,
    SecondaryChoice,
    Skipped,
    TailEstimate,
    Verdict,
    VerdictState,
)
from auditor.laboratory import Answers
from auditor.limits import Limits
from auditor.membership.evidence import Attack, Context, Evidence
from auditor.membership.measure import Jury, Scored, choose_secondary, run_attack, strongest_primary
from auditor.report.text import phrase
from auditor.stats.low_fpr import Standing, standing, tpr_at_fpr
from auditor.threat import Access
from reference_attacks.membership import tail

__all__ = [
    "AtOnce",
    "answer_at_once",
    "answer_with_shadows",
    "not_inverted_yet",
    "tail_estimates",
    "undecided",
]

_MISSED = (0.01, 0.05)
_LATER = "needs shadows, which are not trained yet"
_ASKED_LATER = "asks further queries, which come after the shadows"
_UNDECIDED = "Nothing is decided yet: no shadow model has been trained."
_ESTIMATE = "an estimate without shadows of what shadows may find, not an attack, and it decides nothing"


@dataclass(frozen=True)
class AtOnce:
    """What the target alone shows.

    Attributes:
        evidence: The attacker in front of the target, with no shadow.
        scored: Every attack with what became of it.
        choice: The best of the secondary ones that ran.
        answer: What goes into the report.
    """

    evidence: Evidence
    scored: tuple[Scored, ...]
    choice: SecondaryChoice | None
    answer: InstantAnswer


def answer_at_once(
    plan: Plan, answers: Answers, context: Context, jury: Jury, *, shows: Access, release: Access
) -> AtOnce:
    """Run what needs the target's answers only, and estimate what shadows may find.

    Args:
        plan: Which attacks.
        answers: What the target answered.
        context: What is known of the records without asking.
        jury: Who is evaluated.
        shows: The most that queries of the target show.
        release: How the model will go out: no other attack competes for the best secondary one.
    """
    evidence = _before_shadows(answers, context)
    scored = tuple(_run(attack, plan, evidence, jury, shows) for attack in MEMBERSHIP)
    choice = choose_secondary(scored, jury, plan.limits, release)
    found = tail_estimates(answers, jury, plan.limits) if shows.includes(Access.SCORES) else ()
    sentence = f"Before any shadow is trained: {_best_told(scored, choice)}. {_tail_told(found)}"
    return AtOnce(evidence, scored, choice, InstantAnswer(tail=found, sentence=sentence))


def _before_shadows(answers: Answers, context: Context) -> Evidence:
    return Evidence(
        target=answers,
        shadows=Answers.stack([answers]).without_models([0]),
        shadow_membership=np.zeros((0, len(context.labels)), dtype=bool),
        context=context,
    )


def _run(attack: Attack, plan: Plan, evidence: Evidence, jury: Jury, shows: Access) -> Scored:
    role = plan.role(attack)
    if reason := why_not(attack, plan, shows) or _why_later(attack):
        return Scored(attack, role, None, Skipped(reason=reason))
    # With groups a TPR at a low FPR takes thousands of resamples, and is for the appendix only
    coarse = replace(attack, low_fpr_endpoint=attack.low_fpr_endpoint and jury.groups is None)
    return replace(run_attack(coarse, role, evidence, jury, plan.limits), attack=attack)


def _why_later(attack: Attack) -> str:
    """Why an attack has to wait, or nothing."""
    if attack.least_shadows or attack.combines:
        return _LATER
    return _ASKED_LATER if attack.probe else ""


def tail_estimates(answers: Answers, jury: Jury, limits: Limits) -> tuple[TailEstimate, ...]:
    """The share of non-members with a larger loss than nearly all members, where there are members enough.

    With the two groups exchanged and the sign turned it is a TPR at a low FPR, whose interval it therefore has.
    """
    members = int(jury.membership.sum())
    missed = tuple(share for share in _MISSED if standing(members, share) is not Standing.REFUSE)
    if not missed:
        return ()
    loss = answers.audit.loss[:, 0]
    rates = tail.estimate(target_loss=loss, membership=jury.membership, settings=tail.Tail(missed))
    return tuple(_interval(rate, loss, jury, limits) for rate in rates)


def _interval(rate: tail.TailRate, loss: npt.NDArray[np.float64], jury: Jury, limits: Limits) -> TailEstimate:
    bracket = tpr_at_fpr(
        loss,
        ~jury.membership,
        rate.false_negative_rate,
        confidence=limits.confidence,
        groups=jury.groups,
        rng=generator(jury.rng_seed, "tail estimate"),
    )
    n = {**bracket.n, "members": rate.members, "non-members": rate.non_members}
    return TailEstimate(missed=rate.false_negative_rate, estimate=replace(bracket, value=rate.true_negative_rate, n=n))


def answer_with_shadows(before: InstantAnswer, scored: Sequence[Scored]) -> InstantAnswer:
    """The same answer beside what LiRA on scores, with shadows, then found."""
    first = f"Before any shadow was trained: {_tail_told(before.tail)}"
    found = next((end for one in scored if one.attack.card.id == "lira-scores" for end in _low_fpr(one)), None)
    if found is None:
        then = "No TPR of LiRA on scores at a low FPR was then measured to put beside it."
        return before.model_copy(update={"sentence": f"{first} {then}"})
    fpr = _level(found.fpr or 0.0)
    name = f"TPR at {fpr} FPR, LiRA on scores" + (", n too small for a headline" if found.appendix else "")
    measured = Measurement(name=name, estimate=found.estimate, against=f"{fpr} by guessing", unit="share")
    then = (
        f"At this n LiRA's TPR at {fpr} FPR is for the appendix only."
        if found.appendix
        else f"LiRA on scores, with shadows, then found a TPR of {phrase(found.estimate, 'share')} at {fpr} FPR."
    )
    return InstantAnswer(tail=before.tail, sentence=f"{first} {then}", found=(measured,))


def _low_fpr(one: Scored) -> tuple[Endpoint, ...]:
    outcome = one.outcome
    ends = outcome.endpoints if isinstance(outcome, Completed) else ()
    return tuple(end for end in ends if end.metric is Metric.TPR_AT_FPR)


def undecided() -> tuple[Verdict, ...]:
    """The verdicts before any shadow is trained: every one is open."""
    return tuple(
        Verdict(
            access=access,
            family=family,
            state=VerdictState.CANNOT_SAY,
            sentence=_UNDECIDED,
            reasons=(_UNDECIDED,),
        )
        for family in Family
        for access in Access
    )


def not_inverted_yet(plan: Plan) -> tuple[InversionResult, ...]:
    """The planned inversion attacks, none of which has run."""
    return tuple(
        InversionResult(card=one.card, status="skipped", reason="needs a control model, which is not trained yet")
        for one in INVERSION
        if one.card.id in plan.attacks
    )


# --- sentences -------------------------------------------------------------------------------------------------------


def _best_told(scored: Sequence[Scored], choice: SecondaryChoice | None) -> str:
    """The best attack on the target alone: chosen on one half and told on the other, or the declared one."""
    if choice is not None:
        title = next(one.attack.card.title for one in scored if one.attack.card.id == choice.attack_id)
        chosen = f"best of {choice.chosen_from} attacks, chosen on one half of the records"
        return f"{title} ({chosen}) reaches AUC {phrase(choice.reported_value)} on the other half"
    declared = strongest_primary([one for one in scored if one.role is Role.PRIMARY])
    if declared is None or not isinstance(declared.outcome, Completed):
        return "no attack on the target alone ran"
    return f"{declared.attack.card.title} reaches AUC {phrase(declared.outcome.endpoints[0].estimate)}"


def _tail_told(found: Sequence[TailEstimate]) -> str:
    """The estimate at the smallest share of missed members that n is enough for, with what it is not."""
    fit = [one for one in found if _is_headline(one)]
    if not fit:
        return "There are too few independent losses for an estimate without shadows of what shadows may find."
    told = min(fit, key=lambda one: one.missed)
    return (
        f"{phrase(told.estimate, 'share')} of non-members have losses above all but {_level(told.missed)} of "
        f"the members', where {_level(told.missed)} is expected without a leak: {_ESTIMATE}."
    )


def _is_headline(one: TailEstimate) -> bool:
    n = one.estimate.n
    return "groups" not in n and standing(n["members"], one.missed) is Standing.HEADLINE


def _level(share: float) -> str:
    return f"{100 * share:g} %"
