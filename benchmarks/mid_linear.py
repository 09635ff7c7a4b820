"""Linear regressions for the MID study: least squares, MID, and a differentially private one.

MID (Wang, Zhang, Jia, AAAI 2021; arXiv 2009.05241) minimises `loss + lambda * I(X; Yhat)`. With Yhat = w.x + N(0, s^2)
the information is H(Yhat) - log(2 pi e s^2) / 2, and only the first term depends on w: over the training people Yhat
follows a mixture of Gaussians, one around each mean answer.

Fidelity: reconstruction. The paper's way to approximate the entropy was not available; here it is integrated on a grid,
so that value and gradient are exact up to rounding. s and the optimiser (L-BFGS from least squares) are ours, and so is
the private regression (noise on second moments, as in Dwork et al., "Analyze Gauss", STOC 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

__all__ = ["Line", "fit_least_squares", "fit_mid", "fit_private", "mixture_entropy"]

_STEPS_PER_SD, _REACH = 4.0, 8.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A linear regression as it is released.

    Attributes:
        weights: float [1 + feature], the constant first.
        noise: Standard deviation of what is added to every answer.
    """

    weights: Floats
    noise: float

    def mean(self, features: Floats) -> Floats:
        """Answers without their noise, float [record]."""
        return np.asarray(self.weights[0] + features @ self.weights[1:])


def mixture_entropy(centres: Floats, sd: float) -> tuple[float, Floats]:
    """Entropy of an equal mixture of Gaussians, and its gradient.

    The gradient for one centre is minus the mean of d log p / dy under its Gaussian, over the number of centres. The
    trapezoid rule is exact to rounding here: the integrands are smooth on the scale of `sd`, and vanish at both ends.

    Args:
        centres: float [record].
        sd: Standard deviation of every component.

    Returns:
        The entropy in nats, and float [record].
    """
    low, high = centres.min() - _REACH * sd, centres.max() + _REACH * sd
    points = np.linspace(low, high, int(np.ceil((high - low) / sd * _STEPS_PER_SD)) + 1)
    step = points[1] - points[0]
    apart = (points[:, None] - centres) / sd
    components = np.exp(-0.5 * apart**2) / (sd * np.sqrt(2 * np.pi))
    density = np.maximum(components.mean(axis=1), np.finfo(np.float64).tiny)
    slope = (components * (-apart / sd)).mean(axis=1) / density
    entropy = -step * float((density * np.log(density)).sum())
    return entropy, -step * (slope @ components) / len(centres)


def fit_least_squares(features: Floats, outcome: Floats) -> Line:
    """No defense: ordinary least squares with a constant; `features` is float [record, feature]."""
    return Line(np.asarray(np.linalg.lstsq(_with_constant(features), outcome, rcond=None)[0], dtype=np.float64), 0.0)


def fit_mid(features: Floats, outcome: Floats, penalty: float, *, noise: float) -> Line:
    """Minimise the mean squared error plus `penalty` times the entropy of the released answer.

    Args:
        features: float [record, feature].
        outcome: float [record].
        penalty: lambda, in units of squared error per nat.
        noise: Standard deviation of the noise on every answer; it adds a constant to the error and is left out of it.
    """
    rows = _with_constant(features)
    start = fit_least_squares(features, outcome).weights
    if penalty == 0:
        return Line(start, noise)

    def objective(weights: Floats) -> tuple[float, Floats]:
        answers = rows @ weights
        entropy, towards = mixture_entropy(answers, noise)
        missed = answers - outcome
        value = float(missed @ missed) / len(rows) + penalty * entropy
        return value, rows.T @ (2 * missed / len(rows) + penalty * towards)

    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-6})
    return Line(np.asarray(found.x, dtype=np.float64), noise)


def fit_private(
    features: Floats, outcome: Floats, epsilon: float, rng: np.random.Generator, *, delta: float, most: float
) -> Line:
    """Least squares from second moments with Gaussian noise: (epsilon, delta)-DP for one person more or less.

    A person's row is (1, features, outcome clipped to `most` / most), shortened if it is longer than such a row can be.
    The noise follows from the zero-concentrated budget of (epsilon, delta) (Bun and Steinke, TCC 2016). Making the
    noisy moments positive is post-processing.

    Args:
        features: float [record, feature], each within -0.5 to 0.5.
        outcome: float [record].
        epsilon: Of the released weights.
        rng: Draws the noise.
        delta: The same.
        most: Outcomes are clipped to -most to most.
    """
    rows = np.column_stack([_with_constant(features), np.clip(outcome, -most, most) / most])
    bound = np.sqrt(2.0 + features.shape[1] / 4)
    rows = rows * np.minimum(1.0, bound / np.linalg.norm(rows, axis=1))[:, None]
    rho = (np.sqrt(epsilon + np.log(1 / delta)) - np.sqrt(np.log(1 / delta))) ** 2
    sd = bound**2 / np.sqrt(2 * rho)
    upper = np.triu(rng.normal(0.0, sd, (rows.shape[1],) * 2))
    moments = rows.T @ rows + upper + np.triu(upper, 1).T
    values, vectors = np.linalg.eigh(moments[:-1, :-1])
    # A direction that drowns in the noise must not be divided by what is left of it
    values = np.maximum(values, sd * np.sqrt(len(values)))
    weights = vectors @ ((vectors.T @ moments[:-1, -1]) / values)
    return Line(most * weights, 0.0)


def _with_constant(features: Floats) -> Floats:
    return np.column_stack([np.ones(len(features)), features])
