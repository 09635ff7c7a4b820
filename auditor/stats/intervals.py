"""Intervals for proportions and means.

Records of one group (a patient, a video) are not independent. With groups a mean has the variance of its groups' sums
(`auditor.stats.groups`), and a proportion the Clopper-Pearson interval of as many independent records as that variance
is worth, fewer still for its degrees of freedom (Korn and Graubard 1998). With fewer than `LEAST_EFFECTIVE_GROUPS`
effective groups no variance can be trusted: the interval is everything possible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from auditor.stats._validate import FloatVector, check_count, check_fraction, float_vector, group_codes
from auditor.stats.estimate import Estimate
from auditor.stats.groups import LEAST_EFFECTIVE_GROUPS, Clustered

__all__ = [
    "TOO_FEW_GROUPS",
    "Prediction",
    "grouped_mean",
    "grouped_proportion",
    "mean",
    "paired_mean",
    "prediction_interval",
    "proportion",
    "proportion_lower_bound",
    "proportion_upper_bound",
]

TOO_FEW_GROUPS = f"all values: fewer than {LEAST_EFFECTIVE_GROUPS} effective groups"


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


def grouped_proportion(
    successes: npt.ArrayLike, groups: npt.ArrayLike, *, confidence: float = 0.95, unit: str
) -> Estimate:
    """Estimate the proportion of records that succeed, where those of one group are not independent.

    With as many groups as records it is the interval of `proportion`. Where all records do, or none does, no variance
    is seen: each effective group then counts as one record.

    Args:
        successes: bool [record], at least one.
        groups: int [record].
        confidence: Nominal coverage.
        unit: What one record is, for `Estimate.n`.

    Raises:
        ValueError: No records, or unequal lengths.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    sample = float_vector(successes, name="successes", least=1)
    codes = group_codes(groups, length=sample.size)
    value, n = float(sample.mean()), {unit: sample.size, "groups": int(codes.max()) + 1}
    if sample.size < 2 or not (spread := Clustered.of(sample, codes)).enough:
        return Estimate(value, 0.0, 1.0, confidence, TOO_FEW_GROUPS, n)
    worth = spread.effective
    if spread.variance > 0:
        shrunk = stats.t.isf(alpha, sample.size - 1) / stats.t.isf(alpha, spread.freedom)
        alone = value * (1 - value) / (sample.size - 1)
        worth = sample.size * alone / spread.variance * float(shrunk) ** 2
    low = float(proportion_lower_bound(value * worth, worth, alpha))
    high = float(proportion_upper_bound(value * worth, worth, alpha))
    return Estimate(value, min(low, value), max(high, value), confidence, "Korn-Graubard, groups", n)


def grouped_mean(
    values: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    least: float,
    most: float,
    confidence: float = 0.95,
    unit: str,
) -> Estimate:
    """Estimate a mean of records of which those of one group are not independent, with Student's t interval.

    With as many groups as records it is the interval of `mean`.

    Args:
        values: float [record], at least two.
        groups: int [record].
        least: Below this the mean cannot be.
        most: Above this it cannot be.
        confidence: Nominal coverage.
        unit: What one record is, for `Estimate.n`.

    Raises:
        ValueError: Fewer than two values, or unequal lengths.
    """
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / 2
    sample = float_vector(values, name="values", least=2)
    codes = group_codes(groups, length=sample.size)
    spread, centre = Clustered.of(sample, codes), float(sample.mean())
    n = {unit: sample.size, "groups": spread.groups}
    if not spread.enough:
        return Estimate(centre, min(least, centre), max(most, centre), confidence, TOO_FEW_GROUPS, n)
    reach = float(stats.t.isf(alpha, spread.freedom) * np.sqrt(spread.variance))
    low, high = max(centre - reach, least), min(centre + reach, most)
    return Estimate(centre, min(low, centre), max(high, centre), confidence, "Student t, groups", n)


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
