"""Intervals for proportions and means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from auditor.stats._validate import FloatVector, check_count, check_fraction, float_vector
from auditor.stats.estimate import Estimate

__all__ = [
    "Prediction",
    "mean",
    "paired_mean",
    "prediction_interval",
    "proportion",
    "proportion_lower_bound",
    "proportion_upper_bound",
]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Where one further value is expected.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


def proportion(successes: int, trials: int, *, confidence: float = 0.95, unit: str) -> Estimate:
    """Estimate a proportion from independent trials, with the exact Clopper-Pearson interval.

    Args:
        successes: Number of successes.
        trials: Number of trials.
        confidence: Coverage, at least this for every true proportion.
        unit: What one trial is, for `Estimate.n`, e.g. "records".

    Raises:
        ValueError: No trials, or successes outside [0, trials].
    """
    check_fraction(confidence, name="confidence")
    check_count(trials, name="trials")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie between 0 and {trials} (trials), got {successes}")
    interval = stats.binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="exact")
    value = successes / trials
    low, high = min(float(interval.low), value), max(float(interval.high), value)
    return Estimate(value, low, high, confidence, "Clopper-Pearson", {unit: trials})


def proportion_lower_bound(successes: npt.ArrayLike, trials: float, alpha: float) -> FloatVector:
    """Bound proportions from below, one-sided at error `alpha` (Clopper-Pearson); any shape of `successes`.

    Successes need not be whole numbers: the beta quantile continues the exact bound between them.
    """
    counted = np.asarray(successes, dtype=np.float64)
    some = np.where(counted > 0, counted, 1.0)
    bound = stats.beta.ppf(check_fraction(alpha, name="alpha"), some, trials - some + 1)
    return np.where(counted > 0, bound, 0.0)


def proportion_upper_bound(successes: npt.ArrayLike, trials: float, alpha: float) -> FloatVector:
    """Bound proportions from above, one-sided at error `alpha`; the mirror image of `proportion_lower_bound`."""
    return 1.0 - proportion_lower_bound(trials - np.asarray(successes, dtype=np.float64), trials, alpha)


def mean(values: npt.ArrayLike, *, confidence: float = 0.95, unit: str) -> Estimate:
    """Estimate a mean from independent values, with Student's t interval.

    Args:
        values: float [value], at least two.
        confidence: Nominal coverage; exact for normal values.
        unit: What one value is, for `Estimate.n`, e.g. "classes".

    Raises:
        ValueError: Fewer than two values: one value says nothing of its own spread.
    """
    sample = float_vector(values, name="values", least=2)
    centre = float(sample.mean())
    reach = _t_quantile(sample.size, confidence) * _standard_error(sample)
    return Estimate(centre, centre - reach, centre + reach, confidence, "Student t", {unit: sample.size})


def paired_mean(values: npt.ArrayLike, other_values: npt.ArrayLike, *, confidence: float = 0.95, unit: str) -> Estimate:
    """Estimate the mean of `values - other_values` over pairs, with Student's t interval of the differences.

    Args:
        values: float [pair], at least two.
        other_values: float [pair].
        confidence: Nominal coverage.
        unit: What one pair is, for `Estimate.n`.

    Raises:
        ValueError: Fewer than two pairs, or unequal lengths.
    """
    sample = float_vector(values, name="values", least=2)
    other = float_vector(other_values, name="other_values", length=sample.size)
    return mean(sample - other, confidence=confidence, unit=unit)


def prediction_interval(values: npt.ArrayLike, *, confidence: float = 0.99) -> Prediction:
    """Predict where one more value from the same normal population falls (Student's t).

    Args:
        values: float [value], at least two.
        confidence: Probability that the next value lies inside.

    Raises:
        ValueError: Fewer than two values.
    """
    sample = float_vector(values, name="values", least=2)
    spread = _standard_error(sample) * np.sqrt(sample.size + 1.0)
    reach = _t_quantile(sample.size, confidence) * float(spread)
    centre = float(sample.mean())
    return Prediction(centre - reach, centre + reach)


def _t_quantile(n: int, confidence: float) -> float:
    check_fraction(confidence, name="confidence")
    return float(stats.t.ppf(0.5 + confidence / 2, n - 1))


def _standard_error(sample: FloatVector) -> float:
    return float(sample.std(ddof=1) / np.sqrt(sample.size))
