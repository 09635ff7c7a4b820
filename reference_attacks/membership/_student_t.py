"""Variances for LiRA when shadows are few: each record's own, drawn towards those of the others.

A reconstruction. The idea is that of BaVarIA (Brännvall, 2026, "Exponential-Family Membership Inference: From LiRA and
RMIA to BaVarIA", arXiv:2603.11799): a conjugate prior on a record's variance makes the predictive distribution a
Student-t. No code was available; the prior, fitted by moments, and the formulas below are textbook ones and ours.

For one query, a record with the squares SS around its own means and df degrees of freedom has s2 = SS / df. With
E1 = mean of s2 and E2 = mean of s2^2 / (1 + 2 / df) over the records, the variance of the variances is V = E2 - E1^2
and the prior an inverse gamma with a0 = 2 + E1^2 / V and b0 = E1 (a0 - 1). The record's posterior is a = a0 + df / 2
and b = b0 + SS / 2; the next signal around a mean of n values is a Student-t with 2a degrees of freedom and scale
sqrt(b / a (1 + 1 / n)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_attacks.membership._inputs import FLOOR, FloatArray

__all__ = ["Predictive", "log_density_ratio", "normal_deviate"]

# Smallest V / E1^2: below it the records count as equally variable, which makes the prior strong but finite.
_LEAST_VARIABILITY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Predictive:
    """What is known of a record's variance after its shadows were seen.

    Attributes:
        freedom: Degrees of freedom of the Student-t [record, query].
        sigma: Its scale if the mean were known [record, query].
    """

    freedom: FloatArray
    sigma: FloatArray

    @classmethod
    def fit(cls, squares: FloatArray, freedom: npt.NDArray[np.int64], sigma_floor: float) -> Predictive:
        """Fit the prior to all records of a query and update it with each record's own squares.

        Args:
            squares: Sums of squares around the record's own means [record, query].
            freedom: How many terms they have, less the number of means [record].
            sigma_floor: Smallest sigma, in units of the signal.

        Raises:
            ValueError: If no record has a degree of freedom.
        """
        known = freedom > 0
        if not known.any():
            raise ValueError("a variance needs a record with two shadows of the same status; train more shadows")
        terms = freedom[known, None].astype(np.float64)
        variance = squares[known] / terms
        mean = np.maximum(variance.mean(axis=0), max(sigma_floor**2, FLOOR))
        spread = ((variance / mean) ** 2 / (1.0 + 2.0 / terms)).mean(axis=0) - 1.0
        excess = 1.0 / np.maximum(spread, _LEAST_VARIABILITY)
        shape = 2.0 + excess + 0.5 * freedom[:, None]
        rate = mean * (1.0 + excess) + 0.5 * squares
        return cls(2.0 * shape, np.maximum(np.sqrt(rate / shape), sigma_floor))

    def scale(self, n_models: npt.NDArray[np.int64]) -> FloatArray:
        """Scale for one more signal around the mean of `n_models` [record] signals [record, query]."""
        return np.asarray(self.sigma * np.sqrt(1.0 + 1.0 / n_models)[:, None], dtype=np.float64)


def log_density_ratio(z: FloatArray, other_z: FloatArray, freedom: FloatArray) -> FloatArray:
    """Logarithm of the standard Student-t density at z over that at `other_z`, elementwise."""
    return np.asarray(
        0.5 * (freedom + 1.0) * (np.log1p(other_z**2 / freedom) - np.log1p(z**2 / freedom)), dtype=np.float64
    )


def normal_deviate(z: FloatArray, freedom: FloatArray) -> FloatArray:
    """The standard normal deviate with about the CDF of a Student-t at z: rises with z and never saturates.

    Source: Wallace (1959), "Bounds on Normal Approximations to Student's and the Chi-Square Distributions".
    """
    shrunk = np.sqrt(freedom * np.log1p(z**2 / freedom))
    return np.asarray(np.sign(z) * shrunk * (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0), dtype=np.float64)
