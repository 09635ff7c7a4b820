"""Instance probability: for every record a logistic regression of its own, over the shadows.

Li, Li and Ribeiro (2021), "Membership Inference Attacks and Defenses in Classification Models", arXiv:2002.12062, and
its released code (colaalex111/MMD-mixup-Defense).

What it claims
    Whether a confidence speaks for a member depends on the record. Shadows trained with and without x are labelled
    examples of just that question: learn the boundary between their confidences, then look where the target falls.

What the attacker needs
    Access `scores`: the probability of the true label. Shadows by the target's recipe, each record IN some and OUT of
    others; with two of each the boundary is a guess.

Algorithm
    1. v = log(0.01 + p_y) - log(1.01 - p_y), for the target and every shadow; |v| is at most about 4.6.
    2. For each record and query fit P(IN | v) = sigmoid(w v + b) on its shadows by logistic regression with a ridge
       penalty: minimise w^2 / 2 + C * (sum of log losses); the intercept b is free.
    3. The score is w v + b for the target's v, averaged over queries.
    Nothing forces w above 0: if a record's IN shadows are less sure of it, so is the score of a member.

What we changed
    All regressions are solved at once by a damped Newton method, to convergence; the released code calls scikit-learn's
    stochastic solver record by record, at its defaults: C = 1 and the same free intercept. Without the penalty w would
    be infinite wherever IN and OUT shadows do not overlap.
    log(IN shadows / OUT shadows) is taken off b, so that a record with more IN shadows is not called a member for that.
    With equally many it changes nothing. The score instead of the decision; averaging over queries is ours.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from reference_attacks.membership._inputs import BoolArray, FloatArray, Observations, SignalArray, as_probability

__all__ = ["InstanceProbability", "score"]

_NEWTON_STEPS = 100
_HALVINGS = 30
_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class InstanceProbability:
    """The regression of each record; the default is the released code's.

    Attributes:
        inverse_penalty: C, how much the log losses weigh against half the squared slope.

    Raises:
        ValueError: If it is not positive.
    """

    inverse_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.inverse_penalty < np.inf:
            raise ValueError(f"inverse_penalty must be positive, got {self.inverse_penalty}")


def score(
    *,
    target_signal: SignalArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    settings: InstanceProbability = InstanceProbability(),
) -> FloatArray:
    """Score every record by the log-odds that its own regression gives the target's confidence.

    Args:
        target_signal: Probabilities of the true label by the target [record, query].
        shadow_signal: The same by the shadows [model, record, query].
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: How strongly the slopes are penalised.

    Returns:
        Scores [record], log-odds at equal numbers of IN and OUT, larger = more likely a member.

    Raises:
        ValueError: If a record lacks IN or OUT models, a signal is no probability or the arrays do not fit each other.
    """
    seen = Observations.check(
        target_signal=_rescaled("target_signal", target_signal, ("record", "query")),
        shadow_signal=_rescaled("shadow_signal", shadow_signal, ("model", "record", "query")),
        shadow_membership=shadow_membership,
    )
    seen.require(in_models=1, out_models=1)
    slope, intercept = _fit(seen.shadows, seen.trained_on, settings.inverse_penalty)
    n_in = seen.trained_on.sum(axis=0)
    prior = np.log(n_in / (seen.trained_on.shape[0] - n_in))[:, None]
    return np.asarray((slope * seen.target + intercept - prior).mean(axis=1), dtype=np.float64)


def _rescaled(name: str, signal: SignalArray, axes: tuple[str, ...]) -> FloatArray:
    p = as_probability(name, signal, axes)
    return np.asarray(np.log(0.01 + p) - np.log(1.01 - p), dtype=np.float64)


def _fit(values: FloatArray, trained_on: BoolArray, weight: float) -> tuple[FloatArray, FloatArray]:
    """Slope and intercept [record, query] for values [model, record, query] and status [model, record]."""
    status = trained_on[..., None].astype(np.float64)
    slope = np.zeros(values.shape[1:], dtype=np.float64)
    intercept = np.zeros_like(slope)
    for _ in range(_NEWTON_STEPS):
        p = expit(slope * values + intercept)
        curvature = weight * p * (1.0 - p)
        error = weight * (p - status)
        grad_slope = slope + (error * values).sum(axis=0)
        grad_intercept = error.sum(axis=0)
        a = 1.0 + (curvature * values**2).sum(axis=0)
        b, c = (curvature * values).sum(axis=0), curvature.sum(axis=0)
        determinant = a * c - b**2
        step_slope = (c * grad_slope - b * grad_intercept) / determinant
        step_intercept = (a * grad_intercept - b * grad_slope) / determinant
        length = _step_length(values, status, weight, (slope, intercept), (step_slope, step_intercept))
        slope -= length * step_slope
        intercept -= length * step_intercept
        if max(np.abs(step_slope).max(), np.abs(step_intercept).max()) < _TOLERANCE:
            break
    return slope, intercept


def _step_length(
    values: FloatArray,
    status: FloatArray,
    weight: float,
    start: tuple[FloatArray, FloatArray],
    step: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Halve each record's Newton step until its objective no longer rises [record, query]."""
    before = _objective(values, status, weight, *start)
    length = np.ones_like(before)
    for _ in range(_HALVINGS):
        after = _objective(values, status, weight, start[0] - length * step[0], start[1] - length * step[1])
        rises = after > before + 1e-12 * (1.0 + np.abs(before))
        if not rises.any():
            break
        length[rises] *= 0.5
    return length


def _objective(
    values: FloatArray, status: FloatArray, weight: float, slope: FloatArray, intercept: FloatArray
) -> FloatArray:
    odds = slope * values + intercept
    losses = np.logaddexp(0.0, odds) - status * odds
    return np.asarray(0.5 * slope**2 + weight * losses.sum(axis=0), dtype=np.float64)
