"""Bootstrap intervals for statistics that have no formula: bias-corrected and accelerated, by SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from auditor.stats._validate import FloatVector, IntVector, check_count, check_fraction, group_codes
from auditor.stats.estimate import Estimate

__all__ = ["bca"]

_BATCH = 100  # the jackknife would otherwise hold records x records at once


def bca(
    columns: Sequence[FloatVector],
    statistic: Callable[..., float],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 999,
    groups: npt.ArrayLike | None = None,
    unit: str,
) -> Estimate:
    """Estimate a statistic with the BCa interval (Efron 1987), of independent records or of independent groups of them.

    With groups these are drawn, and left out, whole; whether they are enough to be drawn is for the caller to say.
    Where every resample gives the same value there is no acceleration to estimate: the interval is that value.

    Args:
        columns: One float array [record] for each argument of `statistic`; records are drawn whole.
        statistic: Takes the columns, returns a number.
        rng: Draws the resamples.
        confidence: Nominal coverage.
        resamples: How many, 99 at least.
        groups: int [record] or None, two different ones at least.
        unit: What a record is, for `Estimate.n`.

    Raises:
        ValueError: No column, columns of different length, or fewer than two records or groups.
    """
    check_fraction(confidence, name="confidence")
    check_count(resamples, name="resamples", least=99)
    sizes = {len(column) for column in columns}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"columns must be given and have the same length, 2 at least, got {sorted(sizes)}")
    value, n = float(statistic(*columns)), {unit: min(sizes)}
    drawn: tuple[FloatVector | IntVector, ...] = tuple(columns)
    of_drawn = statistic
    if groups is not None:
        codes = group_codes(groups, length=min(sizes))
        n["groups"] = check_count(int(codes.max()) + 1, name="groups", least=2)
        drawn, of_drawn = (np.arange(n["groups"]),), _of_groups(columns, statistic, codes)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # SciPy complains where all resamples are equal; the answer below says so by its width
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            drawn,
            of_drawn,
            paired=True,
            vectorized=False,
            n_resamples=resamples,
            batch=_BATCH,
            confidence_level=confidence,
            method="BCa",
            rng=rng,
        ).confidence_interval
    ends = [value if np.isnan(end) else float(end) for end in (interval.low, interval.high)]
    return Estimate(
        value=value,
        low=min(ends[0], value),
        high=max(ends[1], value),
        confidence=confidence,
        method=f"BCa bootstrap, {resamples} resamples{'' if groups is None else ' of groups'}",
        n=n,
    )


def _of_groups(
    columns: Sequence[FloatVector], statistic: Callable[..., float], codes: IntVector
) -> Callable[..., float]:
    """The statistic as a function of which groups are drawn."""
    records = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])

    def of_drawn(drawn: IntVector) -> float:
        chosen = np.concatenate([records[group] for group in drawn])
        return statistic(*(column[chosen] for column in columns))

    return of_drawn
