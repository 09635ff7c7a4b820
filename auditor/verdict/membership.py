"""The verdicts on membership, from least to most access (rules 4 to 8), and the sentences that tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from auditor.findings import Endpoint, Family, Metric, SecondaryChoice, Verdict, VerdictState, Void
from auditor.limits import Limits, declared, declared_share
from auditor.stats.estimate import Estimate, rounded_up
from auditor.threat import Access
from auditor.verdict.doubt import Doubt

__all__ = ["AccessFacts", "ShadowData", "decide_membership"]

ShadowData: TypeAlias = Literal["audited", "audited and others", "given"]
"""Half of the audited records; those and all members that are not audited; what the owner's shadows were trained on."""

_PRIOR = 0.01
_CHANCE = 0.5


@dataclass(frozen=True)
class AccessFacts:
    """What was measured for one access.

    Attributes:
        access: Which one.
        endpoints: The corrected endpoints of this access's own primary attack; empty where it has none that ran.
        evaluated: Records a side.
        shadows: Shadows behind a shadow-based primary attack that completed here; 0 where there is none.
        planted_recovered: Whether the planted leak at the limit was found by this access's primary tests.
        shift: Whether members and non-members differ without the model (blind control or owner-label null).
        matched_significant: Attack AUC above .5 within propensity-matched strata; None where it could not be tested.
        excess_significant: Paired excess over the owner-label null, beyond what that may have missed; None where it
            could not be tested.
        leans: Whether the owner-label null of this access leans above .5, if only with 80 % certainty.
        excess_tested: That excess less what the null may have missed, at the level of the test.
        attack: Title of the primary attack, or empty.
        random_split: Whether the owner states that chance alone told members from non-members.
        not_made: What became of the declared primary attack if it did not complete, as half a sentence; else empty.
        secondary: The best of the secondary attacks that this access allows; None where none ran on all records.
        secondary_title: Its title.
        shadow_data: What each shadow was trained on.
    """

    access: Access
    endpoints: tuple[Endpoint, ...]
    evaluated: int
    shadows: int
    planted_recovered: bool
    shift: bool = False
    matched_significant: bool | None = None
    excess_significant: bool | None = None
    leans: bool = False
    excess_tested: Estimate | None = None
    attack: str = ""
    random_split: bool = False
    not_made: str = ""
    secondary: SecondaryChoice | None = None
    secondary_title: str = ""
    shadow_data: ShadowData = "audited"

    @property
    def rejected(self) -> bool:
        """Whether a primary test rejects after correction."""
        return any(endpoint.rejected for endpoint in self.endpoints)

    @property
    def leak_attributable(self) -> bool:
        """Rule 6: under a suspected shift both tests must say that the model caused the difference.

        Where the null merely leans towards one the excess must say so: a slight shift is seen too seldom to be ruled
        out, and gives an attack as much as a slight leak (docs/decisions/0007).
        """
        if self.shift:
            return bool(self.matched_significant and self.excess_significant)
        return not self.leans or bool(self.excess_significant)


def decide_membership(facts: Sequence[AccessFacts], doubts: Sequence[Doubt], limits: Limits) -> tuple[Verdict, ...]:
    """The membership verdicts, from least to most access; a leak at lesser access is inherited upward."""
    verdicts: list[Verdict] = []
    for one in sorted(facts, key=lambda fact: fact.access.rank):
        below = next((verdict for verdict in verdicts if verdict.state is VerdictState.LEAK_FOUND), None)
        lesser = [other for other in facts if one.access.includes(other.access)]
        verdicts.append(_membership_verdict(one, lesser, below, doubts, limits))
    return tuple(verdicts)


def _membership_verdict(
    own: AccessFacts,
    lesser: Sequence[AccessFacts],
    below: Verdict | None,
    doubts: Sequence[Doubt],
    limits: Limits,
) -> Verdict:
    against_leak = [doubt.sentence for doubt in doubts if Void.LEAK_FOUND in doubt.voids]
    if own.rejected and own.leak_attributable and not against_leak:
        return _verdict(own, VerdictState.LEAK_FOUND, leak_sentence(own, limits), (_rejections(own),))
    if below is not None:
        sentence = f"What leaks through {below.access.value} leaks here too. {below.sentence}"
        return _verdict(
            own, VerdictState.LEAK_FOUND, sentence, below.reasons, inherited_from=below.inherited_from or below.access
        )
    missing = [*against_leak, *_missing_for_leak(own), *_missing_for_nothing(own, lesser, doubts, limits)]
    if missing:
        too_wide = set(missing) <= set(_too_wide(lesser))
        return _verdict(own, VerdictState.CANNOT_SAY, missing[0], tuple(dict.fromkeys(missing)), too_wide=too_wide)
    endpoints = [endpoint for one in lesser for endpoint in one.endpoints]
    sentence = nothing_sentence(own, endpoints, limits)
    auc_only = not any(endpoint.metric is Metric.TPR_AT_FPR for endpoint in own.endpoints)
    reasons = (
        "no primary test rejects, every simultaneous upper bound is under its limit, the planted leak was found",
    )
    return _verdict(own, VerdictState.NOTHING_FOUND, sentence, reasons, auc_only=auc_only)


def _verdict(
    own: AccessFacts,
    state: VerdictState,
    sentence: str,
    reasons: tuple[str, ...],
    *,
    inherited_from: Access | None = None,
    auc_only: bool = False,
    too_wide: bool = False,
) -> Verdict:
    return Verdict(
        access=own.access,
        family=Family.MEMBERSHIP,
        state=state,
        sentence=sentence,
        reasons=reasons,
        inherited_from=inherited_from,
        auc_only=auc_only,
        too_wide=too_wide,
    )


def _missing_for_leak(own: AccessFacts) -> list[str]:
    if not own.rejected or own.leak_attributable:
        return []
    if not own.shift:
        return [
            (
                "The attack tells members from non-members, but models that never saw the members lean the same way, "
                f"and the excess over them is not significant{_as_tested(own)}. {_settled_by(own)}"
            )
        ]
    if own.matched_significant is None or own.excess_significant is None:
        return [
            (
                "The attack tells members from non-members, but so does a classifier that never asked the model, and "
                f"too few alike records are left to tell the two apart. {_settled_by(own)}"
            )
        ]
    return [
        (
            "The attack tells members from non-members, but the records differ without the model, and what is left "
            f"after taking that away is not significant{_as_tested(own)}. {_settled_by(own)}"
        )
    ]


def _as_tested(own: AccessFacts) -> str:
    """What the excess is held against, where that is why it is not significant."""
    found = own.excess_tested
    if found is None or own.excess_significant:
        return ""
    return (
        f": less what they may have missed it is {found.value:+.4f} ({100 * found.confidence:.1f} % interval "
        f"{found.low:+.4f} to {found.high:+.4f}), and it must lie above 0 as a whole; two null models carry this"
    )


def _settled_by(own: AccessFacts) -> str:
    if own.random_split:
        return "The split is stated to be random: more records, or more null models than two, may settle it."
    if own.shift:
        return "Use a random split of one data set."
    return "More records, or a random split, may settle it."


def _missing_for_nothing(
    own: AccessFacts, lesser: Sequence[AccessFacts], doubts: Sequence[Doubt], limits: Limits
) -> list[str]:
    missing = [doubt.sentence for doubt in doubts if Void.NOTHING_FOUND in doubt.voids]
    missing += [_not_completed(one) for one in lesser if one.not_made]
    missing += _stronger_secondary(lesser, limits)
    if not own.endpoints:
        return [*missing, f"No primary attack ran for {own.access.value}."]
    if not own.shadows:
        missing.append(
            f"The primary attack on {own.access.value} uses no shadows, at any budget: it can find a leak, but cannot "
            "rule one out. What attacks on more access did not find is no answer here, as they ask other questions."
        )
    elif not own.planted_recovered:
        missing.append("No planted leak at the limit was found again, so a real one could have gone unseen.")
    missing += [_not_attributed(one) for one in lesser if one.rejected and not _told_already(one, own)]
    return [*missing, *_too_wide(lesser)]


def _not_completed(one: AccessFacts) -> str:
    return (
        f"At {one.access.value} the plan declared a primary attack ({one.attack}) that did not complete "
        f"({one.not_made}): what it would have found is not known."
    )


def _stronger_secondary(lesser: Sequence[AccessFacts], limits: Limits) -> list[str]:
    """The best secondary attack whose AUC surely reaches the limit of the primary ones; of the widest access alone."""
    stronger = [one for one in lesser if one.secondary and one.secondary.reported_value.low >= limits.auc]
    if not stronger:
        return []
    widest = max(stronger, key=lambda one: one.access.rank)
    sentence = (
        f"{_best_secondary(widest)}: all of that lies at or above the limit of {declared(limits.auc)}. The primary "
        "attacks did not see it, so they rule nothing out."
    )
    return [sentence]


def _best_secondary(own: AccessFacts) -> str:
    """What the best secondary attack of an access reached, without the full stop; empty where none ran."""
    if own.secondary is None:
        return ""
    value = own.secondary.reported_value
    return (
        f"The best of {own.secondary.chosen_from} secondary attacks ({own.secondary_title}), chosen on one half, "
        f"reached AUC {value.value:.2f} ({value.low:.2f} to {value.high:.2f}) on the other"
    )


def _secondary_note(own: AccessFacts) -> str:
    """The same where nothing was found: being above chance decides nothing."""
    if own.secondary is None:
        return ""
    above = own.secondary.reported_value.low > _CHANCE
    return f"{_best_secondary(own)}{': above chance, but not corrected, so it decides nothing' if above else ''}."


def _told_already(one: AccessFacts, own: AccessFacts) -> bool:
    """Whether `_missing_for_leak` has said of this access why its rejection is no leak."""
    return one is own and not own.leak_attributable


def _not_attributed(one: AccessFacts) -> str:
    """That a primary test rejects, and why that is no leak."""
    if one.leak_attributable:
        why = "a check or control takes that away"
    elif one.shift:
        why = "the records may differ without the model"
    else:
        why = "models that never saw the members lean the same way"
    attack = f" ({one.attack})" if one.attack else ""
    return (
        f"At {one.access.value} the primary attack{attack} rejects: {_rejected(one)}. But {why}, so neither a leak nor "
        "nothing was found."
    )


def _too_wide(lesser: Sequence[AccessFacts]) -> list[str]:
    """The upper bounds that reach their limits."""
    return [
        f"With {one.evaluated:,} records a side {_name(endpoint)} could be as high as "
        f"{_bound(endpoint.upper_bound, endpoint.metric)} (limit {_limit(endpoint, endpoint.limit)})."
        for one in lesser
        for endpoint in one.endpoints
        if endpoint.upper_bound is not None and endpoint.limit is not None and endpoint.upper_bound >= endpoint.limit
    ]


def _attacker(own: AccessFacts) -> str:
    """Who does this, and with what."""
    if not own.shadows:
        return "An outsider who holds a candidate record and its true class"
    if own.shadow_data == "given":
        held = f"{own.shadows} models, each trained on a known part of such records,"
        return f"An outsider who holds a candidate record and {held}"
    others = " and all other training records" if own.shadow_data == "audited and others" else ""
    return (
        f"An outsider who holds a candidate record, knows the recipe and trains {own.shadows} models on half of the "
        f"audited records{others}"
    )


def leak_sentence(own: AccessFacts, limits: Limits) -> str:
    """What a found leak means for a person whose record was in the training set."""
    attacker = _attacker(own)
    tpr = next((one for one in own.endpoints if one.metric is Metric.TPR_AT_FPR and not one.appendix), None)
    if tpr is not None and tpr.rejected:
        found, chance = tpr.estimate, _percent(limits.fpr)
        right = _right_flags(found, limits.fpr)
        return (
            f"{attacker} recognises {_share(found)} of the audited training records while wrongly flagging {chance} "
            f"of the others; guessing would reach {chance}. If 1 in 100 candidates was a member, "
            f"{_percent(right.value)} of the flags would be right ({_percent(right.low)} to {_percent(right.high)})."
        )
    auc = next(one for one in own.endpoints if one.metric is Metric.AUC)
    return (
        f"{attacker} tells a training record from another record of the same kind in {_share(auc.estimate)} of pairs; "
        "guessing would reach 50 %."
    )


def _right_flags(tpr: Estimate, fpr: float) -> Estimate:
    """How many flags would be right if few candidates were members: at this FPR it rises with the TPR, end by end."""
    value, low, high = (_PRIOR * one / (_PRIOR * one + (1 - _PRIOR) * fpr) for one in (tpr.value, tpr.low, tpr.high))
    return replace(tpr, value=value, low=low, high=high)


def nothing_sentence(own: AccessFacts, endpoints: Sequence[Endpoint], limits: Limits) -> str:
    """What was not found, with the bound that says how much could have been missed."""
    tpr = [one for one in endpoints if one.metric is Metric.TPR_AT_FPR and one.upper_bound is not None]
    if tpr:
        bound = max(one.upper_bound or 0.0 for one in tpr)
        planted = f"A planted leak of {declared_share(limits.tpr)} was found again."
        first = (
            f"The primary attacks recognise at most {_bound(bound)} (simultaneous 95 % bound, {own.evaluated:,} "
            f"records a side) of the audited training records at {_percent(limits.fpr)} false flags; guessing reaches "
            f"{_percent(limits.fpr)}."
        )
    else:
        bound = max(one.upper_bound or 0.0 for one in endpoints)
        planted = "A planted leak at the limit was found again."
        first = (
            f"By AUC only: the primary attacks order at most {_bound(bound)} of pairs rightly (simultaneous 95 % "
            f"bound, {own.evaluated:,} records a side); guessing reaches 50 %."
        )
    shift = (
        "Members and non-members differ a little without the model, within what this audit tolerates: see the controls."
        if own.shift
        else ""
    )
    secondary = _secondary_note(own)
    return " ".join(part for part in (first, secondary, planted, shift, "Attacks not run may do better.") if part)


def _rejections(own: AccessFacts) -> str:
    return f"Primary tests that reject: {_rejected(own)}."


def _rejected(own: AccessFacts) -> str:
    return "; ".join(
        f"{_name(endpoint)} {_number(endpoint, endpoint.estimate.value)} "
        f"({_number(endpoint, endpoint.estimate.low)} to {_number(endpoint, endpoint.estimate.high)}, "
        f"adjusted p {endpoint.p_adjusted:.2g})"
        for endpoint in own.endpoints
        if endpoint.rejected
    )


def _name(endpoint: Endpoint) -> str:
    return "AUC" if endpoint.metric is Metric.AUC else f"TPR at {_percent(endpoint.fpr or 0.0)} FPR"


def _number(endpoint: Endpoint, value: float) -> str:
    return f"{value:.3f}" if endpoint.metric is Metric.AUC else _percent(value)


def _bound(bound: float, metric: Metric = Metric.TPR_AT_FPR) -> str:
    """What a number is at most: rounded up, or less than the bound would be promised."""
    if metric is Metric.AUC:
        return f"{rounded_up(bound, 3):.3f}"
    return _percent(rounded_up(bound, 2 + _percent_digits(bound)))


def _limit(endpoint: Endpoint, limit: float) -> str:
    return declared(limit) if endpoint.metric is Metric.AUC else declared_share(limit)


def _share(found: Estimate) -> str:
    return f"{_percent(found.value)} (95 % interval {_percent(found.low)} to {_percent(found.high)})"


def _percent(share: float) -> str:
    """A share with two significant digits."""
    return f"{100 * share:.{_percent_digits(share)}f} %"


def _percent_digits(share: float) -> int:
    return 0 if share >= 0.0995 or share == round(share, 2) else 1
