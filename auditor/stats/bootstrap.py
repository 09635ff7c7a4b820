"""Bootstrap intervals for statistics that have no formula: bias-corrected and accelerated, by SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from auditor.stats._validate import FloatVector, check_count, check_fraction
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
    unit: str,
) -> Estimate:
    """Estimate a statistic of independent records with the BCa interval (Efron 1987).

    Where every resample gives the same value there is no acceleration to estimate: the interval is that value.

    Args:
        columns: One float array [record] for each argument of `statistic`; records are drawn whole.
        statistic: Takes the columns, returns a number.
        rng: Draws the resamples.
        confidence: Nominal coverage.
        resamples: How many, 99 at least.
        unit: What a record is, for `Estimate.n`.

    Raises:
        ValueError: No column, columns of different length, or fewer than two records.
    """
    check_fraction(confidence, name="confidence")
    check_count(resamples, name="resamples", least=99)
    sizes = {len(column) for column in columns}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"columns must be given and have the same length, 2 at least, got {sorted(sizes)}")
    value = float(statistic(*columns))
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # SciPy complains where all resamples are equal; the answer below says so by its width
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            tuple(columns),
            statistic,
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
        method=f"BCa bootstrap, {resamples} resamples",
        n={unit: min(sizes)},
    )
