"""Attack R: compare a record's loss with its losses under models that were trained without it.

Ye, Maddi, Murakonda, Bindschaedler and Shokri (2022), "Enhanced Membership Inference Attacks against Machine Learning
Models", arXiv:2111.09679.

What it claims
    A small loss may only mean an easy record. Reference models trained without x show the losses that x has anyway;
    where the target's loss lies among them is a p-value that is x's own.

What the attacker needs
    Access `scores` with `signals.released_margin` (or `weights` with `signals.logit_margin`): one query per record.
    Reference models by the target's recipe, some OUT of each record. No IN models are used, no population.

Algorithm
    1. Take the log-odds of the true label by the target and by the OUT models of x; they fall as the loss rises.
    2. estimate="fraction": the score is the fraction of OUT models whose loss on x is larger than the target's.
    3. estimate="logit-gaussian": fit a Gaussian to the OUT models' log-odds, mean and standard deviation (ddof 0);
       the score is how many of its standard deviations the target's log-odds lie above its mean.
    4. With several queries either is averaged.
    A record with fraction s is called a member at false-positive rate 1 - s and above.

What we changed
    The score instead of a threshold at one false-positive rate. An OUT model with exactly the target's loss counts
    half. The fraction stays on its grid of 1/(number of OUT models): with few of them a low FPR cannot be resolved, and
    the released code interpolates between losses with dummies 0 and 1000 at the ends; use "logit-gaussian" instead.
    That is the released code's Gaussian on log(exp(-l) / (1 - exp(-l))), computed from the margin so that l = 0 stays
    finite, as z and not its CDF, which orders alike and saturates; sigma is at least `sigma_floor`. It is the same as
    offline LiRA with per-record variance. The variants that take the mean or the minimum of both tests are left out.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reference_attacks.membership._inputs import (
    BoolArray,
    FloatArray,
    Observations,
    SignalArray,
    mean_over_models,
)

__all__ = ["AttackR", "score"]


@dataclass(frozen=True, slots=True)
class AttackR:
    """How the losses without the record are described.

    Attributes:
        estimate: "fraction" counts OUT models, "logit-gaussian" fits a Gaussian to their log-odds.
        sigma_floor: Smallest standard deviation of that Gaussian, in units of the signal.

    Raises:
        ValueError: If a value is not one of these.
    """

    estimate: Literal["fraction", "logit-gaussian"] = "fraction"
    sigma_floor: float = 1e-6

    def __post_init__(self) -> None:
        if self.estimate not in {"fraction", "logit-gaussian"}:
            raise ValueError(f'estimate must be "fraction" or "logit-gaussian", got {self.estimate!r}')
        if not 0.0 < self.sigma_floor < np.inf:
            raise ValueError(f"sigma_floor must be positive, got {self.sigma_floor}")


def score(
    *,
    target_signal: SignalArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    settings: AttackR = AttackR(),
) -> FloatArray:
    """Score every record by where the target lies among the models that were trained without it.

    Args:
        target_signal: Log-odds of the true label by the target [record, query]. For "fraction" anything that falls as
            the loss rises.
        shadow_signal: The same by the shadows [model, record, query]; those of IN models are not looked at.
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: Fraction or Gaussian.

    Returns:
        Scores [record], larger = more likely a member: in 0..1 for "fraction", in sigmas for "logit-gaussian".

    Raises:
        ValueError: If a record lacks OUT models (one; two for the Gaussian), or the arrays do not fit each other.
    """
    seen = Observations.check(
        target_signal=target_signal, shadow_signal=shadow_signal, shadow_membership=shadow_membership
    )
    without = ~seen.trained_on
    if settings.estimate == "fraction":
        seen.require(in_models=0, out_models=1)
        beaten = 0.5 * (1.0 + np.sign(seen.target - seen.shadows))
        return np.asarray(mean_over_models(beaten, without).mean(axis=1), dtype=np.float64)
    seen.require(in_models=0, out_models=2)
    mean = mean_over_models(seen.shadows, without)
    sigma = np.maximum(np.sqrt(mean_over_models((seen.shadows - mean) ** 2, without)), settings.sigma_floor)
    return np.asarray(((seen.target - mean) / sigma).mean(axis=1), dtype=np.float64)
