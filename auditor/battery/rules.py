"""Which rules of a policy a planned audit cannot decide, and what it would take: told before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from auditor.battery.attacks import MEMBERSHIP
from auditor.battery.inversion import INVERSION
from auditor.battery.plan import Plan, why_not
from auditor.findings import Family, Metric
from auditor.limits import LEAST_CLASSES
from auditor.policy_file import Margins, Policy
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
    """

    policy: Policy
    plan: Plan
    classes: int
    canaries: int | None

    @property
    def undecided(self) -> tuple[str, ...]:
        """One sentence for each rule on more than limits that will stay inconclusive; `Plan.power` tells of limits."""
        told = (self._severity(), self._evaluated(), self._attacks(), self._inversion(), self._claim(), self._margins())
        return tuple(sentence for one in told for sentence in one)

    @cached_property
    def _least_for_tpr(self) -> int:
        return math.ceil(round(10 / self.plan.limits.fpr, 6))

    def _severity(self) -> Iterator[str]:
        least = self._least_for_tpr
        if self.policy.gate.fail_on is not None and self.plan.evaluated < least:
            yield (
                f"severity: its rows also ask for a TPR, which takes {least:,} records a side; "
                f"{self.plan.evaluated:,} are evaluated, so that it can fail but not pass."
            )

    def _evaluated(self) -> Iterator[str]:
        least = self.policy.gate.least_evaluated
        if least is not None and self.plan.evaluated < least:
            yield f"least_evaluated: {self.plan.evaluated:,} records a side are evaluated, {least:,} are needed."

    def _attacks(self) -> Iterator[str]:
        reasons = {one.card.id: why_not(one, self.plan, Access.WEIGHTS) for one in MEMBERSHIP}
        reasons |= {one.card.id: "" if one.card.id in self.plan.attacks else "is not planned" for one in INVERSION}
        for name in self.policy.gate.required_attacks:
            if reason := reasons.get(name, "is not in the box"):
                yield f"required_attacks: {name} will not run ({reason})."

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
        margins = self.policy.gate.no_worse_than_last or Margins()
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
