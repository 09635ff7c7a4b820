"""The hypotheses of docs/validation/membership-protocol.md, as comparisons, and how each is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
from membership_study import Results
from scipy import stats

from auditor.stats.estimate import Estimate
from auditor.stats.intervals import mean, paired_mean

__all__ = ["HYPOTHESES", "Comparison", "Judgement", "Side", "judge", "over_pairs", "pair_means", "tail_orders"]

Floats = npt.NDArray[np.float64]

WORLDS = ("cifar10", "location30", "fine-tuned")
CONFIDENCE = 0.95
_ENOUGH = 0.25


class Side(StrEnum):
    """Where the interval of a difference lies."""

    PREDICTED = "as predicted"
    OPPOSITE = "opposite"
    OPEN = "open"


class Judgement(StrEnum):
    """What becomes of a hypothesis."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Comparison:
    """One predicted inequality, `better` above `worse`, at K shadows in one setting.

    Attributes:
        setting: Where.
        shadows: K.
        better: What should have the higher TPR at 1 % FPR.
        worse: Than what.
        tpr: Mean difference of the TPR over the pairs of pseudo-targets.
        auc: The same of the AUC; not judged.
    """

    setting: str
    shadows: int
    better: str
    worse: str
    tpr: Estimate
    auc: Estimate

    @property
    def side(self) -> Side:
        """By the interval of the TPR."""
        return side_of(self.tpr.low, self.tpr.high)


def side_of(low: float, high: float) -> Side:
    """Where an interval lies of which the prediction says that it is above 0."""
    if low > 0:
        return Side.PREDICTED
    return Side.OPPOSITE if high < 0 else Side.OPEN


def judge(sides: Sequence[Side]) -> Judgement:
    """The rule of the protocol, in its order: all; most opposite; a quarter and more than opposite; else."""
    right, wrong = sides.count(Side.PREDICTED), sides.count(Side.OPPOSITE)
    if sides and right == len(sides):
        return Judgement.REPRODUCED
    if wrong > len(sides) / 2:
        return Judgement.NOT_REPRODUCED
    if right > wrong and right >= _ENOUGH * len(sides):
        return Judgement.PARTLY
    return Judgement.CANNOT_TELL


# --- values over pairs ---------------------------------------------------------------------------------------------


def pair_means(results: Results, setting: str, shadows: int, attack: str, metric: str) -> Floats:
    """`auc` or `tpr` of an attack, averaged over the two twins of each pair, [pair]."""
    values = [
        (row.target, row.tpr if metric == "tpr" else row.auc)
        for row in results.scores
        if (row.setting, row.shadows, row.attack) == (setting, shadows, attack)
    ]
    return _paired([value for _, value in sorted(values)])


def _paired(values: Sequence[float]) -> Floats:
    return np.asarray(np.reshape(values, (-1, 2)).mean(axis=1), dtype=np.float64)


def over_pairs(results: Results, setting: str, shadows: int, attack: str, metric: str) -> Estimate:
    """Mean over the pseudo-targets, with Student's t interval over their pairs."""
    return mean(pair_means(results, setting, shadows, attack, metric), confidence=CONFIDENCE, unit="pairs")


def _compare(results: Results, setting: str, shadows: int, better: str, worse: str) -> Comparison:
    def difference(metric: str) -> Estimate:
        one, other = (
            pair_means(results, setting, 0 if name in _GLOBAL else shadows, name, metric) for name in (better, worse)
        )
        return paired_mean(one, other, confidence=CONFIDENCE, unit="pairs")

    return Comparison(setting, shadows, better, worse, difference("tpr"), difference("auc"))


# --- the hypotheses ------------------------------------------------------------------------------------------------

_GLOBAL = ("loss", "modified entropy")
_H1 = ("LiRA online, pooled", "RMIA online", "Attack-R, Gaussian", "difficulty calibration")
_H2 = ("LiRA online, pooled", "LiRA online, Student-t")
_H3 = ("RMIA online", "RMIA offline", "BASE offline", "LiRA offline, pooled")
_H3_RIVALS = (
    "LiRA online, pooled",
    "LiRA online, Student-t",
    "LiRA online, per record",
    "Attack-R, Gaussian",
    "difficulty calibration",
    "loss",
)
_H3_AT_TWO, _H3_RIVALS_AT_TWO = _H3[:3], _H3_RIVALS[4:]


def _h1(results: Results) -> Iterator[Comparison]:
    for world, better, worse in product(WORLDS, _H1, _GLOBAL):
        yield _compare(results, world, 14, better, worse)


def _h2(results: Results) -> Iterator[Comparison]:
    for world, shadows, better in product(WORLDS, (4, 8, 14), _H2):
        yield _compare(results, world, shadows, better, "LiRA online, per record")


def _h3(results: Results) -> Iterator[Comparison]:
    for world in WORLDS:
        for better, worse in product(_H3_AT_TWO, _H3_RIVALS_AT_TWO):
            yield _compare(results, world, 2, better, worse)
        for better, worse in product(_H3, _H3_RIVALS):
            yield _compare(results, world, 4, better, worse)


@dataclass(frozen=True)
class Hypothesis:
    """A claim in words, and the comparisons that it stands for."""

    name: str
    claim: str
    comparisons: Callable[[Results], Iterator[Comparison]]


HYPOTHESES = (
    Hypothesis("H1", "per-record attacks beat global thresholds at low FPR", _h1),
    Hypothesis("H2", "pooled and Student-t variances beat per-record ones at K <= 16", _h2),
    Hypothesis("H3", "RMIA, BASE and offline LiRA lead at K <= 4", _h3),
)


# --- H4 ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ordering:
    """Two settings: the difference (first less second) of LiRA's TPR and of the tail rate, with Welch intervals."""

    first: str
    second: str
    lira: Estimate
    tail: Estimate

    @property
    def decided(self) -> bool:
        """Whether LiRA tells the two apart."""
        return side_of(self.lira.low, self.lira.high) is not Side.OPEN

    @property
    def side(self) -> Side:
        """Whether the tail rate agrees with LiRA on which leaks more."""
        found = side_of(self.tail.low, self.tail.high)
        if found is Side.OPEN:
            return found
        return Side.PREDICTED if self.tail.value * self.lira.value > 0 else Side.OPPOSITE


def tail_orders(results: Results) -> list[Ordering]:
    """H4: every two settings, by the tail rate at 1 % FNR and by pooled online LiRA with four shadows."""
    names = list(dict.fromkeys(row.setting for row in results.models))
    rates = {name: _paired([row.tail for row in results.models if row.setting == name]) for name in names}
    risks = {name: pair_means(results, name, 4, "LiRA online, pooled", "tpr") for name in names}
    return [
        Ordering(first, second, _welch(risks[first], risks[second]), _welch(rates[first], rates[second]))
        for first, second in combinations(names, 2)
    ]


def _welch(one: Floats, other: Floats) -> Estimate:
    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval(CONFIDENCE)
    value, n = float(one.mean() - other.mean()), {"pairs": len(one), "other pairs": len(other)}
    return Estimate(value, float(interval.low), float(interval.high), CONFIDENCE, "Welch", n)
