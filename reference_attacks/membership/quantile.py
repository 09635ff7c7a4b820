"""Quantile regression: learn from non-members what the target says about a record like this one.

Bertran, Tang, Kearns, Morgenstern, Roth and Wu (2023), "Scalable Membership Inference Attacks via Quantile Regression",
arXiv:2307.03694, and its released code (amazon-science/quantile-mia), Gaussian variant.

What it claims
    The threshold of a record can be predicted from the record itself: regress the target's margin on it over
    non-members, and call those members that lie far above their prediction. One model, no shadows of the target, no
    knowledge of its architecture or recipe.

What the attacker needs
    Access `scores` with `signals.released_margin` (or `weights` with `signals.logit_margin`): one query per record.
    Population records, trained on by nobody and not evaluated, and features of every record that don't come from the
    target: pixels, a public network's embedding, the class as one column each.

Algorithm
    1. Regress the population's margins on their features: the mean mu(x).
    2. Predict each population record by a regression fitted without its fold; e is what is left.
    3. Regress log |e| on the features: the scale sigma(x), a Gaussian's E log |e| = log sigma - 0.635 undone. Keep it
       within a factor `scale_range` of the overall scale, then multiply it so that the mean of (e / sigma)^2 is 1.
    4. The score is (t - mu(x)) / sigma(x) for the target's margin t.

What we changed
    A reduction. The paper trains a network on the images, for the Gaussian's mean and scale together or for a set of
    quantiles by the pinball loss. We regress in two steps on given features: ridge with its penalty chosen by leave one
    out among the population, or gradient-boosted trees. How good the attack is hangs on these features.
    The score instead of thresholds. The margin is against all other classes together, theirs against the largest.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from reference_attacks.membership._inputs import FloatArray, SignalArray, as_signal

__all__ = ["Quantile", "score"]

_FEWEST_RECORDS = 20
# E log |Z| of a standard normal Z: -(Euler's constant + log 2) / 2.
_LOG_ABS_NORMAL = -0.5 * (np.euler_gamma + np.log(2.0))


@dataclass(frozen=True, slots=True)
class Quantile:
    """How mean and scale are regressed; the defaults are ours.

    Attributes:
        regressor: "ridge" (linear in the features) or "boosting" (gradient-boosted trees).
        folds: Parts of the population that are left out in turn for the residuals.
        scale_range: How far a record's scale may lie from the overall one, as a factor.

    Raises:
        ValueError: If a value is out of range.
    """

    regressor: Literal["ridge", "boosting"] = "ridge"
    folds: int = 5
    scale_range: float = 5.0

    def __post_init__(self) -> None:
        if self.regressor not in {"ridge", "boosting"}:
            raise ValueError(f'regressor must be "ridge" or "boosting", got {self.regressor!r}')
        if not 2 <= self.folds <= _FEWEST_RECORDS // 2:
            raise ValueError(f"folds must lie in 2..{_FEWEST_RECORDS // 2}, got {self.folds}")
        if not 1.0 <= self.scale_range < np.inf:
            raise ValueError(f"scale_range must be at least 1, got {self.scale_range}")


class _Regressor(Protocol):
    def fit(self, features: FloatArray, values: FloatArray) -> object: ...

    def predict(self, features: FloatArray) -> FloatArray: ...


def score(
    *,
    target_signal: SignalArray,
    record_features: SignalArray,
    population_target_signal: SignalArray,
    population_features: SignalArray,
    settings: Quantile = Quantile(),
) -> FloatArray:
    """Score every record by how far its margin lies above what non-members like it get, in their sigmas.

    Args:
        target_signal: Margins of the true label by the target [record].
        record_features: What is known of the records without the target [record, feature].
        population_target_signal: Margins by the target on the population, its own records [record].
        population_features: The same features of the population [record, feature].
        settings: How mean and scale are regressed.

    Returns:
        Scores [record] in sigmas, larger = more likely a member.

    Raises:
        ValueError: If the arrays do not fit each other, a value is not finite or the population is too small.
    """
    target = as_signal("target_signal", target_signal, ("record",))
    population = as_signal("population_target_signal", population_target_signal, ("record",))
    features = _features("record_features", record_features, target)
    calibration = _features("population_features", population_features, population)
    if features.shape[1] != calibration.shape[1]:
        raise ValueError(f"the population has {calibration.shape[1]} features, the records have {features.shape[1]}")
    if population.size < _FEWEST_RECORDS:
        raise ValueError(f"the population has {population.size} records, a regression needs {_FEWEST_RECORDS}")
    spread = population.std()
    if spread == 0.0:
        raise ValueError("population_target_signal is constant, there is nothing to regress")
    residuals = _left_out_residuals(calibration, population, settings) / spread
    mean = _fitted(calibration, population, settings).predict(features)
    sigma = spread * _scale(calibration, residuals, features, settings)
    return np.asarray((target - mean) / sigma, dtype=np.float64)


def _features(name: str, values: SignalArray, signal: FloatArray) -> FloatArray:
    features = as_signal(name, values, ("record", "feature"))
    if features.shape[0] != signal.shape[0]:
        raise ValueError(f"{name} has {features.shape[0]} records, its signal has {signal.shape[0]}")
    return features


def _fitted(features: FloatArray, values: FloatArray, settings: Quantile) -> _Regressor:
    regressor: _Regressor
    if settings.regressor == "ridge":
        regressor = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2.0, 5.0, 15)))
    else:
        regressor = HistGradientBoostingRegressor(max_leaf_nodes=15, early_stopping=False, random_state=0)
    regressor.fit(features, values)
    return regressor


def _left_out_residuals(features: FloatArray, values: FloatArray, settings: Quantile) -> FloatArray:
    """What a regression that did not see the record leaves over [record]."""
    fold = np.arange(values.size) % settings.folds
    residuals = np.empty_like(values)
    for part in range(settings.folds):
        left_out = fold == part
        regressor = _fitted(features[~left_out], values[~left_out], settings)
        residuals[left_out] = values[left_out] - regressor.predict(features[left_out])
    return residuals


def _scale(calibration: FloatArray, residuals: FloatArray, features: FloatArray, settings: Quantile) -> FloatArray:
    """Scale of the residuals predicted for the records of `features` [record]."""
    overall = max(float(np.sqrt(np.mean(residuals**2))), 1e-6)
    sizes = np.log(np.maximum(np.abs(residuals) / overall, 1e-3)) - _LOG_ABS_NORMAL
    regressor = _fitted(calibration, sizes, settings)
    bound = np.log(settings.scale_range)
    known, asked = (np.exp(np.clip(regressor.predict(x), -bound, bound)) for x in (calibration, features))
    correction = max(float(np.sqrt(np.mean((residuals / overall / known) ** 2))), 1e-6)
    return np.asarray(overall * correction * asked, dtype=np.float64)
