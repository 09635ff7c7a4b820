"""What a number of records can find and decide, told before anything is measured (rules 3 and 8).

Computed, not measured: for normal scores whose members are shifted, one endpoint at a time, each at the level that the
correction for all planned primary tests leaves it. Where records come in groups a group counts as one record, by
Kish's effective number; that is a rough guide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from auditor.findings import EndpointPower, Metric
from auditor.limits import Limits, declared, declared_share
from auditor.stats.groups import LEAST_EFFECTIVE_GROUPS
from auditor.stats.power import records_for_auc, records_for_tpr, smallest_detectable_auc, smallest_detectable_tpr

__all__ = ["Trial", "power_of"]

_Number = TypeVar("_Number", int, float)

_POWER = 0.8
_FALSE_FLAGS = 10  # expected; from so many on a TPR may carry a verdict (rule 3 of docs/rules-of-evidence.md)


@dataclass(frozen=True)
class Trial:
    """What decides the power of an audit.

    Attributes:
        limits: Limits and levels.
        records: Evaluated on each side.
        groups: What the groups of the lesser side are worth in equal ones; None: records are independent.
        auc_tests: Primary attacks; each is tested by its AUC.
        tpr_tests: Those of them whose scores are fine enough to be tested by a TPR at a low FPR, too.
    """

    limits: Limits
    records: int
    groups: int | None
    auc_tests: int
    tpr_tests: int

    @property
    def n(self) -> int:
        """How many records or groups a side count as independent."""
        return self.records if self.groups is None else self.groups

    @property
    def least(self) -> int:
        """Records a side from which on a TPR is judged."""
        return ceil(round(_FALSE_FLAGS / self.limits.fpr, 6))

    def tests(self, n: int) -> int:
        """How many primary tests are corrected for where n records or groups a side are evaluated."""
        with_tpr = self.groups is None and n >= self.least
        return self.auc_tests + (self.tpr_tests if with_tpr else 0)

    def level(self, n: int) -> float:
        """The one-sided level that this leaves to each test."""
        return self.limits.family_wise_error / self.tests(n)


def power_of(trial: Trial) -> tuple[EndpointPower, ...]:
    """The power of both endpoints, as far as a primary attack is tested by them."""
    auc = (_of_auc(trial),) if trial.auc_tests else ()
    tpr = (_of_tpr(trial),) if trial.tpr_tests else ()
    return auc + tpr


def _of_auc(trial: Trial) -> EndpointPower:
    n, limit = trial.n, trial.limits.auc
    needed = records_for_auc(limit, alpha=trial.level(n), power=_POWER)
    if n < trial.least <= needed:  # so many records bring further tests
        needed = records_for_auc(limit, alpha=trial.level(needed), power=_POWER)
    smallest = _unless_too_few(lambda: smallest_detectable_auc(n, n, alpha=trial.level(n), power=_POWER))
    if trial.groups is not None:
        needed = max(needed, LEAST_EFFECTIVE_GROUPS)
        smallest = smallest if n >= LEAST_EFFECTIVE_GROUPS else None
    return _power(Metric.AUC, trial, trial.level(n), smallest, needed)


def _of_tpr(trial: Trial) -> EndpointPower:
    n, least, fpr, limit = trial.n, trial.least, trial.limits.fpr, trial.limits.tpr
    alpha = trial.level(max(n, least))
    if trial.groups is not None:
        return _power(Metric.TPR_AT_FPR, trial, alpha, None, None)
    needed = _unless_too_few(lambda: max(records_for_tpr(limit, fpr, alpha=alpha, power=_POWER), least))
    found = _unless_too_few(lambda: smallest_detectable_tpr(n, n, fpr, alpha=alpha, power=_POWER))
    return _power(Metric.TPR_AT_FPR, trial, alpha, found if n >= least else None, needed)


def _unless_too_few(compute: Callable[[], _Number]) -> _Number | None:
    """What is computed, or None where the statistics refuse: too few records, or more than anybody has."""
    try:
        return compute()
    except ValueError:
        return None


def _power(metric: Metric, trial: Trial, level: float, smallest: float | None, needed: int | None) -> EndpointPower:
    decided = needed is not None and trial.n >= needed
    return EndpointPower(
        metric=metric,
        fpr=None if metric is Metric.AUC else trial.limits.fpr,
        limit=trial.limits.auc if metric is Metric.AUC else trial.limits.tpr,
        n=trial.n,
        grouped=trial.groups is not None,
        power=_POWER,
        level=level,
        smallest=smallest,
        needed=needed,
        decided=decided,
        sentence=_sentence(metric, trial, smallest, needed, decided=decided),
    )


def _sentence(metric: Metric, trial: Trial, smallest: float | None, needed: int | None, *, decided: bool) -> str:
    limits, n = trial.limits, f"{trial.n:,} {'records' if trial.groups is None else 'groups'} a side"
    if metric is Metric.AUC:
        name, limit, least = "AUC", declared(limits.auc), f"{smallest or 0:.3f}"
    else:
        name, limit = f"TPR at {declared_share(limits.fpr)} FPR", declared_share(limits.tpr)
        least = f"{100 * (smallest or 0):.1f} %"
        if trial.groups is not None:
            return f"{name}: records come in groups, so the limit of {limit} cannot be decided by any number of them."
    lacking = "more than anybody has would be needed" if needed is None else f"{needed:,} are needed"
    if smallest is None:
        return f"{name}: the limit of {limit} cannot be decided with {n}, and {lacking}."
    decides = f"and can decide the limit of {limit}" if decided else f"but cannot decide the limit of {limit}"
    return f"{name}: {n} find {least} or more with {declared_share(_POWER)} power, {decides}: {lacking}."
