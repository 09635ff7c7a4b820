"""Coverage and power of statistics for `calibration.py`, on binormal scores, whose AUC and TPR are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from calibration_rows import FPR, SEED, CoverageRow, PowerRow, Rows
from scipy import stats

from auditor.compute import generator
from auditor.stats.auc import auc, auc_difference, auc_p_value, auc_upper_bound, stratified_auc
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion, proportion_upper_bound
from auditor.stats.low_fpr import tpr_at_fpr, tpr_at_fpr_difference, tpr_at_fpr_p_value, tpr_at_fpr_upper_bound
from auditor.stats.power import records_for_auc, records_for_tpr, smallest_detectable_tpr

__all__ = ["bootstrap", "differences", "grouped", "perfect", "plain", "power", "proportions", "strata"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_CONFIDENCE = 0.95
_ERROR = 0.01  # of a bound: 5 % over the five primary endpoints
_TEST_LEVEL = 0.0125  # rule 3
_POWER = 0.8
_STRATA = 10


@dataclass(frozen=True)
class _Sample:
    scores: Floats
    membership: Flags
    other: Floats
    codes: Ints


@dataclass(frozen=True)
class _Statistic:
    name: str
    nominal: float
    exact: bool
    holds: Callable[[_Sample, np.random.Generator], bool]


def _inside(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def _shift(area: float) -> float:
    """How far members of a binormal score of unit variance lie above, for this AUC."""
    return float(np.sqrt(2.0) * stats.norm.ppf(area))


def _true_tpr(area: float) -> float:
    return float(stats.norm.cdf(stats.norm.ppf(FPR) + _shift(area)))


def _count(
    case: str,
    n: int,
    repetitions: int,
    draw: Callable[[np.random.Generator], _Sample],
    statistics: tuple[_Statistic, ...],
    *,
    judged: bool = True,
) -> Rows:
    """Draw samples, and count how often each statistic holds the truth."""
    rng = generator(SEED, f"coverage, {case}, n {n}, {statistics[0].name}")
    held = dict.fromkeys(statistics, 0)
    for _ in range(repetitions):
        sample = draw(rng)
        for one in statistics:
            held[one] += one.holds(sample, rng)
    return Rows(
        coverage=tuple(
            CoverageRow(
                statistic=one.name,
                case=case,
                n=n,
                nominal=one.nominal,
                exact=one.exact,
                held=held[one],
                trials=repetitions,
                judged=judged,
            )
            for one in statistics
        )
    )


# --- independent records -------------------------------------------------------------------------------------------


def plain(area: float, n: int, repetitions: int, *, low_fpr: bool, judged: bool = True) -> Rows:
    """AUC, or TPR at a low FPR, of a binormal score of that AUC."""

    def draw(rng: np.random.Generator) -> _Sample:
        return _independent(n, rng, _shift(area))

    statistics = _of_tpr(_true_tpr(area)) if low_fpr else _of_auc(area)
    return _count(f"true AUC {area:g}", n, repetitions, draw, statistics, judged=judged)


def perfect(n: int, repetitions: int) -> Rows:
    """Every member above every non-member: the truth is 1."""

    def draw(rng: np.random.Generator) -> _Sample:
        membership = np.arange(2 * n) < n
        scores = rng.random(2 * n) + 2.0 * membership
        return _Sample(scores, membership, scores, np.zeros(2 * n, np.int64))

    return _count("true AUC 1", n, repetitions, draw, (*_of_auc(1.0), *_of_tpr(1.0)), judged=False)


def _independent(n: int, rng: np.random.Generator, shift: float) -> _Sample:
    membership = np.arange(2 * n) < n
    scores = rng.normal(size=2 * n) + shift * membership
    return _Sample(scores, membership, scores, np.zeros(2 * n, np.int64))


def _of_auc(truth: float) -> tuple[_Statistic, ...]:
    return (
        _Statistic(
            "AUC, interval", _CONFIDENCE, exact=False, holds=lambda s, _: _inside(auc(s.scores, s.membership), truth)
        ),
        _Statistic(
            "AUC, upper bound",
            1 - _ERROR,
            exact=False,
            holds=lambda s, _: auc_upper_bound(s.scores, s.membership, _ERROR) >= truth,
        ),
    )


def _of_tpr(truth: float) -> tuple[_Statistic, ...]:
    return (
        _Statistic(
            "TPR at 1 % FPR, interval",
            _CONFIDENCE,
            exact=True,
            holds=lambda s, _: _inside(tpr_at_fpr(s.scores, s.membership, FPR), truth),
        ),
        _Statistic(
            "TPR at 1 % FPR, upper bound",
            1 - _ERROR,
            exact=True,
            holds=lambda s, _: tpr_at_fpr_upper_bound(s.scores, s.membership, FPR, _ERROR) >= truth,
        ),
    )


def proportions(n: int) -> Rows:
    """Clopper-Pearson, counted over all outcomes of a binomial in place of trials."""
    rows = []
    for truth in (0.01, 0.05, 0.5):
        weights = stats.binom.pmf(np.arange(n + 1), n, truth)
        likely = np.flatnonzero(weights > 1e-15)
        inside = sum(weights[k] for k in likely if _inside(proportion(int(k), n, unit="records"), truth))
        below = float(weights[proportion_upper_bound(np.arange(n + 1), n, _ERROR) >= truth].sum())
        kinds = (("proportion, interval", _CONFIDENCE, inside), ("proportion, upper bound", 1 - _ERROR, below))
        rows += [
            CoverageRow(
                statistic=name,
                case=f"true share {truth:g}",
                n=n,
                nominal=nominal,
                exact=True,
                held=0,
                trials=0,
                weighed=float(weighed),
            )
            for name, nominal, weighed in kinds
        ]
    return Rows(coverage=tuple(rows))


# --- groups, pairs, strata -----------------------------------------------------------------------------------------


def grouped(kind: str, n: int, repetitions: int, area: float = 0.6) -> Rows:
    """AUC with groups whose records share half of their variance."""

    def draw(rng: np.random.Generator) -> _Sample:
        membership = np.arange(2 * n) < n
        codes = _LAYOUTS[kind](n, rng)
        scores = (rng.normal(size=2 * n) + rng.normal(size=codes.max() + 1)[codes]) / np.sqrt(2.0)
        return _Sample(scores + _shift(area) * membership, membership, scores, codes)

    statistics = (
        _Statistic(
            "AUC with groups, interval",
            _CONFIDENCE,
            exact=False,
            holds=lambda s, _: _inside(auc(s.scores, s.membership, groups=s.codes), area),
        ),
        _Statistic(
            "AUC with groups, upper bound",
            1 - _ERROR,
            exact=False,
            holds=lambda s, _: auc_upper_bound(s.scores, s.membership, _ERROR, groups=s.codes) >= area,
        ),
    )
    return _count(kind, n, repetitions, draw, statistics)


def _fives(n: int, _: np.random.Generator) -> Ints:
    return np.arange(2 * n, dtype=np.int64) // 5


def _across(n: int, _: np.random.Generator) -> Ints:
    return np.tile(np.arange(n, dtype=np.int64) // 3, 2)


def _unequal(n: int, rng: np.random.Generator) -> Ints:
    sides = [np.repeat(np.arange(n, dtype=np.int64), rng.integers(1, 21, n))[:n] for _ in range(2)]
    return np.concatenate([sides[0], sides[1] + sides[0].max() + 1])


_LAYOUTS: Mapping[str, Callable[[int, np.random.Generator], Ints]] = {
    "groups of 5 on one side": _fives,
    "groups of 3 members and 3 others": _across,
    "groups of 1 to 20 on one side": _unequal,
}


def _two_scores(n: int, areas: tuple[float, float], rng: np.random.Generator) -> _Sample:
    """Two scores of the same records, half of whose variance is shared."""
    membership, shared = np.arange(2 * n) < n, rng.normal(size=2 * n)
    first, other = ((shared + rng.normal(size=2 * n)) / np.sqrt(2.0) + _shift(area) * membership for area in areas)
    return _Sample(first, membership, other, np.zeros(2 * n, np.int64))


def differences(areas: tuple[float, float], n: int, repetitions: int) -> Rows:
    """The paired difference of two AUCs."""
    truth = areas[0] - areas[1]
    statistic = _Statistic(
        "AUC difference, paired interval",
        _CONFIDENCE,
        exact=False,
        holds=lambda s, _: _inside(auc_difference(s.scores, s.other, s.membership).estimate, truth),
    )
    case = f"true AUCs {areas[0]:g} and {areas[1]:g}"
    return _count(case, n, repetitions, lambda rng: _two_scores(n, areas, rng), (statistic,))


def bootstrap(areas: tuple[float, float], n: int, repetitions: int) -> Rows:
    """The paired difference of two TPRs at a low FPR, by bootstrap."""
    truth = _true_tpr(areas[0]) - _true_tpr(areas[1])
    statistic = _Statistic(
        "TPR difference, bootstrap",
        _CONFIDENCE,
        exact=False,
        holds=lambda s, rng: _inside(tpr_at_fpr_difference(s.scores, s.other, s.membership, FPR, rng), truth),
    )
    case = f"true AUCs {areas[0]:g} and {areas[1]:g}"
    return _count(case, n, repetitions, lambda rng: _two_scores(n, areas, rng), (statistic,))


def strata(area: float, n: int, repetitions: int) -> Rows:
    """AUC within ten strata of one AUC, which members and non-members are unequally in and which shift the score."""
    weights = np.arange(1, _STRATA + 1) / (_STRATA * (_STRATA + 1) / 2)

    def draw(rng: np.random.Generator) -> _Sample:
        sample = _independent(n, rng, _shift(area))
        codes = rng.choice(_STRATA, 2 * n, p=weights)
        codes = np.where(sample.membership, codes, _STRATA - 1 - codes).astype(np.int64)
        return _Sample(sample.scores + 2.0 * codes, sample.membership, sample.other, codes)

    statistic = _Statistic(
        "stratified AUC, interval",
        _CONFIDENCE,
        exact=False,
        holds=lambda s, _: _inside(stratified_auc(s.scores, s.membership, s.codes).estimate, area),
    )
    return _count(f"true AUC {area:g}, 10 strata", n, repetitions, draw, (statistic,))


# --- power ---------------------------------------------------------------------------------------------------------


def power(repetitions: int) -> Rows:
    """Tests at the leak that they are said to find, and bounds at the number of records that they are said to need."""
    rng = generator(SEED, "power")
    rows = []
    for n in (1_000, 2_000, 5_000, 10_000):
        leak = smallest_detectable_tpr(n, n, FPR, alpha=_TEST_LEVEL, power=_POWER)
        shift = float(stats.norm.ppf(leak) - stats.norm.ppf(FPR))
        found, alarms = (_share_rejected(n, value, repetitions, rng) for value in (shift, 0.0))
        rows += [
            _power(f"exact test finds TPR {leak:.2%} at 1 % FPR", n, _POWER, found, repetitions, "about"),
            _power("exact test rejects without a leak", n, _TEST_LEVEL, alarms, repetitions, "most"),
        ]
    for limit in (0.60, 0.55, 0.53):
        n = records_for_auc(limit, alpha=_ERROR, power=_POWER)
        hits = sum(_auc_bound(n, rng) < limit for _ in range(repetitions))
        rows.append(_power(f"AUC bound under {limit:g} without a leak", n, _POWER, hits, repetitions, "about"))
    for limit in (0.05, 0.03):
        n = records_for_tpr(limit, FPR, alpha=_ERROR, power=_POWER)
        hits = sum(_tpr_bound(n, rng) <= limit for _ in range(repetitions))
        rows.append(_power(f"TPR bound under {limit:.0%} without a leak", n, _POWER, hits, repetitions, "least"))
    for n in (200, 1_000, 5_000):
        alarms = sum(_rejects_auc(n, rng) for _ in range(repetitions))
        rows.append(_power("AUC test at 5 % rejects without a leak", n, 0.05, alarms, repetitions, "about"))
    return Rows(power=tuple(rows))


def _power(question: str, n: int, stated: float, hits: int, trials: int, meant: str) -> PowerRow:
    return PowerRow.model_validate(
        {"question": question, "n": n, "stated": stated, "hits": hits, "trials": trials, "meant": meant}
    )


def _share_rejected(n: int, shift: float, repetitions: int, rng: np.random.Generator) -> int:
    samples = (_independent(n, rng, shift) for _ in range(repetitions))
    return sum(tpr_at_fpr_p_value(one.scores, one.membership, FPR) <= _TEST_LEVEL for one in samples)


def _auc_bound(n: int, rng: np.random.Generator) -> float:
    sample = _independent(n, rng, 0.0)
    return auc_upper_bound(sample.scores, sample.membership, _ERROR)


def _tpr_bound(n: int, rng: np.random.Generator) -> float:
    sample = _independent(n, rng, 0.0)
    return tpr_at_fpr_upper_bound(sample.scores, sample.membership, FPR, _ERROR)


def _rejects_auc(n: int, rng: np.random.Generator) -> bool:
    sample = _independent(n, rng, 0.0)
    return auc_p_value(sample.scores, sample.membership) <= 0.05
