"""Which rules of a policy a planned audit cannot decide, and what it would take: told before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from auditor.battery.attacks import MEMBERSHIP
from auditor.battery.inversion import INVERSION
from auditor.battery.plan import Plan, why_not, why_not_inverting
from auditor.checks.shadows import FEW_SHADOWS
from auditor.findings import Family, Metric, Role
from auditor.inversion import InversionAttack
from auditor.limits import LEAST_CLASSES
from auditor.membership.evidence import Attack
from auditor.policy_file import CheckName, Policy, Rule
from auditor.stats.auc import auc
from auditor.stats.difference import unpaired_difference
from auditor.stats.epsilon import one_run
from auditor.stats.low_fpr import tpr_at_fpr
from auditor.threat import Access

__all__ = ["Ahead", "records_for_margin"]

_POWER = 0.8
_CONFIDENCE = 0.95
_MOST_RECORDS = 200_000
_FEWEST_CANARIES, _MOST_CANARIES = 20, 20_000


@dataclass(frozen=True)
class Ahead:
    """A policy in front of a plan.

    Attributes:
        policy: What will be asked.
        plan: What will run.
        classes: How many there are.
        canaries: How many were in the coin flips; None: none are given.
        release: The way in which the model goes out, where the policy states none.
    """

    policy: Policy
    plan: Plan
    classes: int
    canaries: int | None
    release: Access = Access.WEIGHTS

    @property
    def undecided(self) -> tuple[str, ...]:
        """A sentence for each rule that no number of records decides, or that is on more than limits.

        How many records the limits take is told by `Plan.power`.
        """
        told = (
            self._membership(),
            self._severity(),
            self._evaluated(),
            self._attacks(),
            self._checks(),
            self._inversion(),
            self._claim(),
            self._margins(),
        )
        return tuple(sentence for one in told for sentence in one)

    @property
    def _judged(self) -> Access:
        """The release at which the rules will be judged."""
        stated = self.policy.gate.release
        return self.release if stated is None else Access(stated)

    @cached_property
    def _least_for_tpr(self) -> int:
        return math.ceil(round(10 / self.plan.limits.fpr, 6))

    def _membership(self) -> Iterator[str]:
        """What keeps every rule on membership from being met, however many records there are."""
        gate = self.policy.gate
        limits: tuple[Rule, ...] = ("auc", "tpr_at_fpr") if Family.MEMBERSHIP in gate.families else ()
        asked: list[Rule] = [*limits]
        asked += ["severity"] if gate.fail_on is not None else []
        asked += ["no_worse_than_last"] if gate.no_worse_than_last is not None else []
        if asked and (why := self._blocked()):
            yield f"{', '.join(asked)}: cannot pass at release {self._judged}: {why}."

    def _blocked(self) -> str:
        """A primary attack that will be missing at the release, or that no leak can be planted for."""
        allowed = [one for one in self._primaries if self._judged.includes(one.card.access)]
        for one in allowed:
            if reason := self._why_not(one):
                return f"the primary attack {one.card.id} will not run ({reason})"
        own = [one for one in allowed if one.card.access is self._judged]
        if any(one.least_shadows for one in own):
            return ""
        named = ", ".join(one.card.id for one in own)
        return f"its primary attack, {named}, uses no shadows, so that no leak can be planted for it to find"

    @property
    def _primaries(self) -> list[Attack]:
        return [one for one in MEMBERSHIP if self.plan.role(one) is Role.PRIMARY]

    def _why_not(self, attack: Attack) -> str:
        return why_not(attack, self.plan, Access.WEIGHTS)

    def _severity(self) -> Iterator[str]:
        least = self._least_for_tpr
        if self.policy.gate.fail_on is None:
            return
        asks = "severity: its rows also ask for a TPR, which"
        if self.plan.groups is not None:
            yield f"{asks} is not judged where records come in groups, so that it can fail but not pass."
        elif self.plan.evaluated < least:
            yield (
                f"{asks} takes {least:,} records a side; {self.plan.evaluated:,} are evaluated, so that it can fail "
                "but not pass."
            )

    def _evaluated(self) -> Iterator[str]:
        least = self.policy.gate.least_evaluated
        if least is not None and self.plan.evaluated < least:
            yield f"least_evaluated: {self.plan.evaluated:,} records a side are evaluated, {least:,} are needed."

    def _attacks(self) -> Iterator[str]:
        reasons = {one.card.id: self._why_not(one) for one in MEMBERSHIP}
        reasons |= {one.card.id: why_not_inverting(one, self.plan) for one in INVERSION}
        missing: dict[str, list[str]] = {}
        for name in self.policy.gate.required_attacks:
            if reason := reasons.get(name, "is not in the box"):
                missing.setdefault(reason, []).append(name)
        if missing:
            told = (f"{', '.join(names)} will not run ({reason})" for reason, names in missing.items())
            yield f"required_attacks: {'; '.join(told)}."

    def _checks(self) -> Iterator[str]:
        for name in self.policy.gate.required_checks:
            if reason := self._idle_checks.get(name, ""):
                yield f"required_checks: {name} will not pass ({reason})."

    @cached_property
    def _idle_checks(self) -> Mapping[CheckName, str]:
        """Why a check cannot pass in such an audit; empty where it may. Those not named here run in every audit."""
        plan, least = self.plan, self._least_for_tpr
        running = [one for one in self._primaries if not self._why_not(one)]
        planting = any(one.least_shadows for one in running)
        return {
            "proxy-shadows": "it warns of frozen-feature proxies, and says nothing where there are none",
            "given-inclusion": "" if plan.given else "it is asked of given shadows alone",
            "groups": "it is asked only where records come in groups" if plan.groups is None else "",
            "few-records": f"it warns below {least:,} records a side" if plan.evaluated < least else "",
            "few-shadows": f"it warns of {plan.shadows} shadows" if plan.shadows <= FEW_SHADOWS else "",
            "attack-ceiling": "" if running else "no primary attack will run",
            "planted": "" if planting else "no primary attack that uses shadows will run",
        }

    def _inversion(self) -> Iterator[str]:
        gate, limits = self.policy.gate, self.policy.limits.inversion_excess
        if Family.INVERSION not in gate.families:
            return
        if self.classes < LEAST_CLASSES:
            yield (
                f"inversion_excess: its intervals are over classes, of which {LEAST_CLASSES} are needed; "
                f"there are {self.classes}."
            )
        if gate.mode == "strict" and limits.by_record is None and limits.by_class is None:
            yield "inversion_excess: without a limit it can fail but not pass; state one under [limits]."
        if gate.mode == "lenient" and limits.by_record is None and limits.by_class is None and not self._inverting:
            yield f"inversion_excess: no inversion attack will run that release {self._judged} allows."
        if limits.by_record is not None and not self._inverting:
            yield f"inversion_excess (record): no inversion attack will run that release {self._judged} allows."
        if limits.by_class is not None and not any(one.rebuilds == "classes" for one in self._inverting):
            yield (
                f"inversion_excess (class): no attack that rebuilds classes will run that release {self._judged} "
                "allows."
            )
        elif limits.by_class is not None and not self.plan.class_controls:
            yield "inversion_excess (class): no model is trained without a part of the classes, so it is not tested."

    @property
    def _inverting(self) -> list[InversionAttack]:
        """The inversion attacks that will run and that the release allows."""
        running = (one for one in INVERSION if not why_not_inverting(one, self.plan))
        return [one for one in running if self._judged.includes(one.card.access)]

    def _claim(self) -> Iterator[str]:
        claim = self.policy.gate.claimed_epsilon
        if claim is None:
            return
        needed = _canaries_for(claim.epsilon, claim.delta)
        takes = "more than anybody plants" if needed is None else f"{needed:,}"
        if self.canaries is None:
            yield f"claimed_epsilon: nothing can contradict it without canaries; it would take {takes}."
        elif _ceiling(self.canaries, claim.delta) <= claim.epsilon:
            yield f"claimed_epsilon: {self.canaries:,} canaries cannot contradict it; it would take {takes}."

    def _margins(self) -> Iterator[str]:
        margins = self.policy.gate.no_worse_than_last
        if margins is None:
            return
        rates = margins.tpr_at_fpr
        stated = ((Metric.AUC, margins.auc), (Metric.TPR_AT_FPR, None if rates is None else rates.at_one_percent))
        n = self.plan.evaluated if self.plan.groups is None else self.plan.groups
        for metric, margin in stated:
            needed = None if margin is None else records_for_margin(margin, metric, self.plan.limits.fpr)
            takes = f"more than {_MOST_RECORDS:,}" if needed is None else f"{needed:,}"
            if margin is not None and (needed is None or n < needed):
                yield (
                    f"no_worse_than_last: a margin of {margin:g} on {metric.value} takes {takes} a side in both "
                    f"audits where nothing changed, compared unpaired; {n:,} are evaluated."
                )


def records_for_margin(margin: float, metric: Metric, fpr: float) -> int | None:
    """Records a side that bring the interval of an unpaired difference under a margin where nothing leaks or changed.

    Four times of five: for scores at their expected places the interval is widened by the same normal quantile.

    Args:
        margin: What the upper end has to stay under.
        metric: AUC or TPR.
        fpr: Where the TPR is taken.

    Returns:
        The number, within one percent; None: more than 200,000.
    """
    low, high = (math.ceil(round(10 / fpr, 6)) if metric is Metric.TPR_AT_FPR else 20), _MOST_RECORDS
    if _reach(low, metric, fpr) < margin:
        return low
    if _reach(high, metric, fpr) >= margin:
        return None
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if _reach(middle, metric, fpr) < margin else (middle, high)
    return high


def _reach(n: int, metric: Metric, fpr: float) -> float:
    """How far above no change the upper end comes to lie, four times of five."""
    places = stats.norm.ppf((np.arange(n) + 0.5) / n)
    scores, membership = np.concatenate([places, places]), np.arange(2 * n) < n
    rate = auc(scores, membership) if metric is Metric.AUC else tpr_at_fpr(scores, membership, fpr)
    reach = float(stats.norm.ppf(0.5 + _CONFIDENCE / 2))
    return unpaired_difference(rate, rate).high * (reach + float(stats.norm.ppf(_POWER))) / reach


def _canaries_for(epsilon: float, delta: float) -> int | None:
    """Canaries that could contradict a claim, were every guess right, to the next power of two times 20."""
    count = _FEWEST_CANARIES
    while count <= _MOST_CANARIES:
        if _ceiling(count, delta) > epsilon:
            return count
        count *= 2
    return None


def _ceiling(canaries: int, delta: float) -> float:
    included = np.arange(canaries) % 2 == 0
    return one_run(included.astype(np.float64), included, delta=delta).ceiling
