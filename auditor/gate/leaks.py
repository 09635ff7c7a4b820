"""The rules on what leaks: a limit on AUC, on TPR, on what inversion shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isclose
from typing import Literal

from auditor.findings import AttackResult, Endpoint, Family, InversionResult, Measurement, Metric, VerdictState
from auditor.gate.hearing import Hearing
from auditor.gate.numbers import bound_apart, metric_in_words, with_interval
from auditor.gate.ruling import Outcome, Ruling
from auditor.limits import Limits, declared, declared_share
from auditor.policy_file import Rule
from auditor.stats.estimate import Estimate

__all__ = ["limit_on", "limits_on_inversion", "measured", "why_no_tpr"]

_MEMBERSHIP = "membership"
_INVERSION = "inversion"


# --- membership -----------------------------------------------------------------------------------------------------


def limit_on(hearing: Hearing, metric: Metric) -> Ruling:
    """Hold every primary endpoint of one metric, at the release, against its limit.

    It fails where a test that found the leak has its whole interval at or above the limit. It is met where every
    simultaneous upper bound is under the limit, by an audit that would have seen a leak of that size, and no secondary
    attack reaches the limit on the half on which it was not chosen.
    """
    scale = _Scale.of(hearing, metric)
    found = [one for one in hearing.endpoints() if scale.measures(one[1])]
    leaking = hearing.leaking(Family.MEMBERSHIP)
    proven = [one for one in found if one[1].rejected and one[0].card.access in leaking]
    if beyond := [one for one in proven if one[1].estimate.low >= scale.limit]:
        worst = max(beyond, key=lambda one: one[1].estimate.low)
        return scale.ruling("fail", worst, f"The whole interval lies at or above the limit of {scale.limit_told}.")
    if doubt := hearing.doubt() or scale.doubt(hearing):
        return Ruling(scale.rule, "inconclusive", doubt, _MEMBERSHIP, limit=scale.limit)
    bounded = [one for one in found if one[1].upper_bound is not None]
    if not bounded:
        return Ruling(scale.rule, "inconclusive", scale.nothing_measured(hearing), _MEMBERSHIP, limit=scale.limit)
    if above := [one for one in bounded if one[1].estimate.low >= scale.limit]:
        worst = max(above, key=lambda one: one[1].estimate.low)
        why = f"Its whole interval lies at or above the limit of {scale.limit_told}, but that is not shown to be"
        return scale.ruling("inconclusive", worst, f"{why} the model's.")
    worst = max(bounded, key=lambda one: one[1].upper_bound or 0.0)
    bound = worst[1].upper_bound or 0.0
    told = f"Its simultaneous upper bound {bound_apart(bound, scale.limit, scale.unit)}"
    if bound < scale.limit:
        met = scale.ruling("pass", worst, f"{told} is under the limit of {scale.limit_told}.")
        return _beyond_by_a_secondary(hearing, scale, "stay under") or met
    reach = f"{told} is not under the limit of {scale.limit_told}, and its interval does not lie above it."
    ruling = hearing.between(scale.ruling("inconclusive", worst, reach))
    return (ruling.lenient and _beyond_by_a_secondary(hearing, scale, "do not lie above")) or ruling


def _beyond_by_a_secondary(hearing: Hearing, scale: _Scale, primaries: str) -> Ruling | None:
    """What a secondary attack reaches on the half on which it was not chosen; it is not corrected, and fails nothing.

    None: it is on another metric, or its whole interval does not lie at or above the limit.
    """
    choice = hearing.secondary_auc()
    if scale.metric is not Metric.AUC or choice is None or choice.reported_value.low < scale.limit:
        return None
    found = Measurement(name=f"AUC, {choice.attack_id}", estimate=choice.reported_value)
    told = (
        f"The primary attacks {primaries} the limit of {scale.limit_told}, but {choice.attack_id}, the best of "
        f"{choice.chosen_from:,} secondary attacks, chosen on one half of the records, reaches an AUC of "
        f"{with_interval(choice.reported_value, scale.unit)} on the other."
    )
    return Ruling(scale.rule, "inconclusive", told, _MEMBERSHIP, found, limit=scale.limit)


def why_no_tpr(hearing: Hearing) -> str:
    """Why no primary attack at the release was judged by its TPR, or the empty string where one was."""
    scale = _Scale.of(hearing, Metric.TPR_AT_FPR)
    return "" if any(scale.measures(one) for _, one in hearing.endpoints()) else scale.nothing_measured(hearing)


@dataclass(frozen=True)
class _Scale:
    """A metric with the limit that the policy states for it."""

    rule: Rule
    metric: Metric
    limit: float

    @classmethod
    def of(cls, hearing: Hearing, metric: Metric) -> _Scale:
        limits = hearing.policy.limits.stated()
        return cls("auc", metric, limits.auc) if metric is Metric.AUC else cls("tpr_at_fpr", metric, limits.tpr)

    @property
    def unit(self) -> str:
        return "" if self.metric is Metric.AUC else "share"

    @property
    def limit_told(self) -> str:
        return declared(self.limit) if self.metric is Metric.AUC else declared_share(self.limit)

    def measures(self, endpoint: Endpoint) -> bool:
        at_fpr = self.metric is Metric.AUC or (endpoint.fpr is not None and isclose(endpoint.fpr, Limits.fpr))
        return endpoint.metric is self.metric and at_fpr

    def doubt(self, hearing: Hearing) -> str:
        """Whether the planted control was asked for leaks as small as this limit: it plants one of the plan's."""
        plan, by_auc = hearing.report.plan, bool(why_no_tpr(hearing))
        planned = plan.auc_limit if self.metric is Metric.AUC else plan.tpr_limit
        planted = by_auc if self.metric is Metric.AUC else not by_auc
        if not planted or self.limit >= planned:
            return ""
        told = declared(planned) if self.metric is Metric.AUC else declared_share(planned)
        return (
            f"The audit was planned for a limit of {told}, and whether it would have seen a leak as small as "
            f"{self.limit_told} was not tried. Scan again with this policy."
        )

    def nothing_measured(self, hearing: Hearing) -> str:
        name, n = metric_in_words(self.metric, Limits.fpr), hearing.report.data.evaluated
        if self.metric is Metric.AUC:
            return f"No primary attack at release {hearing.release} has an upper bound of its {name}."
        least = round(10 / Limits.fpr)
        if n < least:
            return f"{name} takes at least {least:,} evaluated records a side, and there are {n:,}."
        return f"No primary attack at release {hearing.release} was judged by its {name}."

    def ruling(self, outcome: Outcome, on: tuple[AttackResult, Endpoint], why: str) -> Ruling:
        result, endpoint = on
        found = f"{metric_in_words(self.metric, endpoint.fpr)} of {result.card.id} is "
        return Ruling(
            self.rule,
            outcome,
            f"{found}{with_interval(endpoint.estimate, self.unit)}. {why}",
            _MEMBERSHIP,
            measured(result, endpoint),
            endpoint.upper_bound,
            self.limit,
        )


def measured(result: AttackResult, endpoint: Endpoint) -> Measurement:
    """An endpoint under the name of its attack."""
    return Measurement(
        name=f"{metric_in_words(endpoint.metric, endpoint.fpr)}, {result.card.id}",
        estimate=endpoint.estimate,
        unit="" if endpoint.metric is Metric.AUC else "share",
    )


# --- inversion ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Excess:
    """What one attack shows over each control, in answer to one question."""

    result: InversionResult
    question: Literal["record", "class"]
    over: tuple[Measurement, ...]
    tested: bool
    found: bool

    @property
    def least(self) -> Estimate:
        """Over the control that it stands least above: a finding has to stand above each."""
        return min((one.estimate for one in self.over), key=lambda one: one.low)

    @property
    def bound(self) -> float:
        """What the excess over the best control is at most."""
        return min(one.estimate.high for one in self.over)

    @property
    def told(self) -> str:
        return f"The {self.question} excess of {self.result.card.id} is {with_interval(self.least, 'excess')}."

    @property
    def as_measured(self) -> Measurement:
        return Measurement(name=f"{self.question} excess, {self.result.card.id}", estimate=self.least)


def limits_on_inversion(hearing: Hearing) -> Iterator[Ruling]:
    """Hold what reconstructions show over their controls against the limits; without a limit the verdict decides."""
    limits = hearing.policy.limits.inversion_excess
    excesses = list(_excesses(hearing))
    if limits.by_record is None and limits.by_class is None:
        yield _by_verdict(hearing, excesses)
    for question, limit in (("record", limits.by_record), ("class", limits.by_class)):
        if limit is not None:
            asked = [one for one in excesses if one.question == question and one.tested]
            yield replace(_under(hearing, asked, question, limit), on=question)


def _by_verdict(hearing: Hearing, excesses: Sequence[_Excess]) -> Ruling:
    """Without a limit; a lenient policy passes what was tested and not found, never what was not tested."""
    verdict = hearing.verdict(Family.INVERSION)
    if verdict is None:
        told = f"The report holds no verdict on inversion at release {hearing.release}."
        return Ruling("inversion_excess", "inconclusive", told, _INVERSION)
    if verdict.state is VerdictState.LEAK_FOUND:
        leaking = hearing.leaking(Family.INVERSION)
        proven = (one for one in excesses if one.found and one.result.card.access in leaking)
        found = max(proven, key=lambda one: one.least.low, default=None)
        told = f"{verdict.sentence} {found.told if found else ''}".strip()
        return Ruling("inversion_excess", "fail", told, _INVERSION, found.as_measured if found else None)
    told = f"The audit cannot say whether inversion leaks at release {hearing.release}: {verdict.sentence}"
    if doubt := hearing.voided() or hearing.broken_inversion():
        more = "" if doubt in told else f" {doubt}"
        return Ruling("inversion_excess", "inconclusive", f"{told}{more}", _INVERSION)
    ruling = Ruling("inversion_excess", "inconclusive", told, _INVERSION)
    tested = [one for one in excesses if one.tested]
    return hearing.between(ruling) if tested and not any(one.found for one in tested) else ruling


def _under(hearing: Hearing, asked: list[_Excess], question: str, limit: float) -> Ruling:
    if not asked:
        told = f"No inversion attack was tested on the {question} excess at release {hearing.release}; it takes enough "
        return Ruling("inversion_excess", "inconclusive", f"{told}classes and controls.", _INVERSION, limit=limit)
    leaking = hearing.leaking(Family.INVERSION)
    beyond = [one for one in asked if one.found and one.result.card.access in leaking and one.least.low >= limit]
    if beyond:
        worst = max(beyond, key=lambda one: one.least.low)
        why = f"The whole interval lies at or above the limit of {limit:g}, over every control."
        return _ruled("fail", worst, why, limit)
    if doubt := hearing.voided() or hearing.broken_inversion():
        told = f"More than was found may leak: {doubt}"
        return Ruling("inversion_excess", "inconclusive", told, _INVERSION, limit=limit)
    if above := [one for one in asked if one.least.low >= limit]:
        why = f"The whole interval lies at or above the limit of {limit:g}, but that is not shown to be the model's."
        return _ruled("inconclusive", max(above, key=lambda one: one.least.low), why, limit)
    worst = max(asked, key=lambda one: one.bound)
    bound = bound_apart(worst.bound, limit, "excess")
    if worst.bound < limit:
        return _ruled(
            "pass", worst, f"Over its best control it is at most {bound}, under the limit of {limit:g}.", limit
        )
    why = f"Over its best control it could be {bound}; the limit is {limit:g}."
    return hearing.between(_ruled("inconclusive", worst, why, limit))


def _ruled(outcome: Outcome, on: _Excess, why: str, limit: float) -> Ruling:
    return Ruling("inversion_excess", outcome, f"{on.told} {why}", _INVERSION, on.as_measured, on.bound, limit)


def _excesses(hearing: Hearing) -> Iterator[_Excess]:
    for one in hearing.report.inversion:
        if one.status != "completed" or not hearing.release.includes(one.card.access):
            continue
        if one.record_excess:
            tested = one.record_p_adjusted is not None
            yield _Excess(one, "record", one.record_excess, tested, one.record_found)
        if one.class_excess:
            tested = one.class_p_adjusted is not None
            yield _Excess(one, "class", one.class_excess, tested, one.class_found)
