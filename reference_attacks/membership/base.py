"""BASE: the loss, measured against the log-mean-exp of the reference models' losses.

Lassila, Östman and Ngo (2025), "Practical Bayes-Optimal Membership Inference Attacks", arXiv:2505.24089; formulas and
constants as in LeakPro (aidotse/LeakPro).

What it claims
    The Bayes-optimal test compares the target's loss on x with a threshold that belongs to x; sampling models shows
    the threshold as a log-sum-exp. Cheap: no population, no Gaussian, useful from one or two reference models on.

What the attacker needs
    Access `scores`: the log probability of the true label for each query. Shadows by the target's recipe: online each
    record IN some and OUT of others, offline OUT of some.

Algorithm
    1. s = log p_y by the target, s_k by shadow k, for each query; minus `signals.cross_entropy`.
    2. Online: s - log mean over all shadows of exp(s_k).
    3. Offline: s - c log mean over the OUT shadows of exp(s_k), c making up for the IN models that are not there.
    4. Several queries are averaged.
    With one query and as many IN as OUT models the online order is that of online RMIA.

What we changed
    The temperature is not a setting: whoever computes the signal applies it. LeakPro takes softmax(logits / T) with
    T = 2; through an API the same is p_i^(1/T) over the sum of all p_j^(1/T). Plain log p_y, here as in RMIA, is T = 1.
    Averaging over queries is ours.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from reference_attacks.membership._inputs import BoolArray, FloatArray, Observations, SignalArray

__all__ = ["BASE", "offline", "online"]

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class BASE:
    """Parameter of the offline test; the default is LeakPro's.

    Attributes:
        offline_scale: How much of the OUT models' log-mean-exp is subtracted, in 0..1.

    Raises:
        ValueError: If it is out of range.
    """

    offline_scale: float = 0.33

    def __post_init__(self) -> None:
        if not 0.0 <= self.offline_scale <= 1.0:
            raise ValueError(f"offline_scale must lie in 0..1, got {self.offline_scale}")


def online(*, target_signal: SignalArray, shadow_signal: SignalArray, shadow_membership: BoolArray) -> FloatArray:
    """Score every record by its log probability less the log-mean-exp over all shadows.

    Args:
        target_signal: Log probabilities of the true label by the target [record, query], in nats.
        shadow_signal: The same by the shadows [model, record, query].
        shadow_membership: Whether the shadow was trained on the record [model, record]; about half should be.

    Returns:
        Scores [record] in nats, larger = more likely a member.

    Raises:
        ValueError: If a record lacks IN or OUT models, a signal is above 0 or the arrays do not fit each other.
    """
    seen = _observe(target_signal, shadow_signal, shadow_membership)
    seen.require(in_models=1, out_models=1)
    threshold = _log_mean_exp(seen.shadows, np.ones_like(seen.trained_on))
    return np.asarray((seen.target - threshold).mean(axis=1), dtype=np.float64)


def offline(
    *,
    target_signal: SignalArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    settings: BASE = BASE(),
) -> FloatArray:
    """Score every record by its log probability less a part of the log-mean-exp over the shadows without it.

    Args:
        target_signal: Log probabilities of the true label by the target [record, query], in nats.
        shadow_signal: The same by the shadows [model, record, query]; those of IN models are not looked at.
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: How large the part is.

    Returns:
        Scores [record] in nats, larger = more likely a member.

    Raises:
        ValueError: If a record lacks OUT models, a signal is above 0 or the arrays do not fit each other.
    """
    seen = _observe(target_signal, shadow_signal, shadow_membership)
    seen.require(in_models=0, out_models=1)
    threshold = settings.offline_scale * _log_mean_exp(seen.shadows, ~seen.trained_on)
    return np.asarray((seen.target - threshold).mean(axis=1), dtype=np.float64)


def _observe(target_signal: SignalArray, shadow_signal: SignalArray, shadow_membership: BoolArray) -> Observations:
    seen = Observations.check(
        target_signal=target_signal, shadow_signal=shadow_signal, shadow_membership=shadow_membership
    )
    for name, values in (("target_signal", seen.target), ("shadow_signal", seen.shadows)):
        if values.max() > _ROUNDING:
            raise ValueError(f"{name} must hold log probabilities, at most 0, got {values.max():g}")
    return seen


def _log_mean_exp(shadows: FloatArray, chosen: BoolArray) -> FloatArray:
    """Logarithm of the mean probability over the models chosen for each record [record, query]."""
    total = logsumexp(np.where(chosen[..., None], shadows, -np.inf), axis=0)
    return np.asarray(total - np.log(chosen.sum(axis=0))[:, None], dtype=np.float64)
