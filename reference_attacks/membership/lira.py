"""LiRA, the likelihood-ratio attack.

Carlini, Chien, Nasr, Song, Terzis and Tramer (2022), "Membership Inference Attacks From First Principles",
arXiv:2112.03570.

What it claims
    Records differ in how hard they are. Shadow models trained with and without x show what the target's output on x
    would be either way; the ratio of the two likelihoods tests membership record by record, above all at low FPR.

What the attacker needs
    One signal per query that is roughly Gaussian over retrainings: `signals.logit_margin` at access `weights`,
    `signals.released_margin` at `scores`. Shadow models trained by the target's recipe on a known part of the records:
    online each record IN some and OUT of others, offline OUT of some. A recipe that differs is the main silent failure.

Algorithm
    1. For record i and query q split the shadow signals into IN (trained on i) and OUT; mu_in, mu_out are their means.
    2. sigma_in, sigma_out: each record's own spreads ("per-record"), or one for all records ("pooled"); "student-t"
       lies between: a Student-t for the record's own spread, drawn towards those of the other records.
    3. Online, with t the target's signal: the mean over q of log N(t; mu_in, sigma_in) - log N(t; mu_out, sigma_out).
    4. Offline: the mean over q of (t - mu_out) / sigma_out. One-sided: a low signal never looks like a member.

What we changed
    Pooled is the default, since per-record sigmas are noise below some 64 shadows. It is the within-record variance:
    squares around the record's own IN and OUT means, summed over all records of a query, divided by the degrees of
    freedom (number of terms minus number of means); IN and OUT share it. The authors' scripts (TensorFlow Privacy,
    mi_lira_2021) take one standard deviation over everything, which mixes the spread between records into sigma.
    The centre is the mean, as in the paper; `centre="median"` is what TensorFlow Privacy uses. Per-record sigmas have
    ddof 0 as there, but are raised to `sigma_floor`, 1e-6 and not 1e-30.
    Offline scores are z and not the Gaussian CDF, which orders alike and saturates. TensorFlow Privacy ranks by a
    two-sided density instead; that is `offline_two_sided`, beside the paper's test and not in its place.
    variance="student-t" is not in the paper: a reconstruction of the idea of BaVarIA (arXiv:2603.11799), for few
    shadows, with formulas of our own in `_student_t`. Offline it ranks by the Student-t CDF, as a normal deviate.

Published number and ours
    CIFAR-10, WRN at 91 % test accuracy, 16 shadows (README of TensorFlow Privacy's mi_lira_2021), AUC and TPR at 0.1 %
    FPR: online .668 and 1.7 %, online with fixed variance .686 and 5.9 %, offline with fixed variance .555 and 3.0 %.
    Ours: not measured on that setting. Such figures belong to a training recipe, not to the attack: compare within one
    audit only.
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
from reference_attacks.membership._student_t import Predictive, log_density_ratio, normal_deviate

__all__ = ["LiRA", "offline", "offline_two_sided", "online"]


@dataclass(frozen=True, slots=True)
class LiRA:
    """How the Gaussians are fitted.

    Attributes:
        variance: "pooled" over the records of a query, each record's own ("per-record", for 64 shadows and more), or a
            Student-t between the two ("student-t", with centre "mean").
        centre: "mean" (the paper) or "median" (TensorFlow Privacy) of a record's shadow signals.
        sigma_floor: Smallest sigma, in units of the signal.

    Raises:
        ValueError: If a value is not one of these.
    """

    variance: Literal["pooled", "per-record", "student-t"] = "pooled"
    centre: Literal["mean", "median"] = "mean"
    sigma_floor: float = 1e-6

    def __post_init__(self) -> None:
        if self.variance not in {"pooled", "per-record", "student-t"}:
            raise ValueError(f'variance must be "pooled", "per-record" or "student-t", got {self.variance!r}')
        if self.centre not in {"mean", "median"}:
            raise ValueError(f'centre must be "mean" or "median", got {self.centre!r}')
        if self.variance == "student-t" and self.centre != "mean":
            raise ValueError(f'variance "student-t" needs centre "mean", got {self.centre!r}')
        if not 0.0 < self.sigma_floor < np.inf:
            raise ValueError(f"sigma_floor must be positive, got {self.sigma_floor}")


def online(
    *,
    target_signal: SignalArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    settings: LiRA = LiRA(),
) -> FloatArray:
    """Score every record by the log-likelihood ratio of IN against OUT, averaged over the queries.

    Args:
        target_signal: Signals of the target [record, query].
        shadow_signal: Signals of the shadows [model, record, query].
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: How the Gaussians are fitted.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If a record lacks IN or OUT models (one of each; two of each for per-record variance), or the arrays
            do not fit each other.
    """
    seen = Observations.check(
        target_signal=target_signal, shadow_signal=shadow_signal, shadow_membership=shadow_membership
    )
    needed = 2 if settings.variance == "per-record" else 1
    seen.require(in_models=needed, out_models=needed)
    trained_with, trained_without = seen.trained_on, ~seen.trained_on
    if settings.variance == "student-t":
        return _student_t_ratio(seen, settings)
    if settings.variance == "pooled":
        sigma_in = sigma_out = _pooled_sigma(seen.shadows, (trained_with, trained_without), settings)
    else:
        sigma_in = _record_sigma(seen.shadows, trained_with, settings)
        sigma_out = _record_sigma(seen.shadows, trained_without, settings)
    z_in = (seen.target - _centre(seen.shadows, trained_with, settings)) / sigma_in
    z_out = (seen.target - _centre(seen.shadows, trained_without, settings)) / sigma_out
    log_ratio = np.log(sigma_out / sigma_in) + 0.5 * (z_out**2 - z_in**2)
    return np.asarray(log_ratio.mean(axis=1), dtype=np.float64)


def offline(
    *,
    target_signal: SignalArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    settings: LiRA = LiRA(),
) -> FloatArray:
    """Score every record by how far it lies above what models without it show, in sigmas, averaged over the queries.

    Args:
        target_signal: Signals of the target [record, query].
        shadow_signal: Signals of the shadows [model, record, query]; those of IN models are not looked at.
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: How the Gaussian is fitted.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If a record lacks OUT models (one; two for per-record variance), or the arrays do not fit each
            other.
    """
    seen = Observations.check(
        target_signal=target_signal, shadow_signal=shadow_signal, shadow_membership=shadow_membership
    )
    if settings.variance == "student-t":
        return _student_t_deviate(seen, settings)
    sigma = _sigma_without(seen, settings)
    z = (seen.target - _centre(seen.shadows, ~seen.trained_on, settings)) / sigma
    return np.asarray(z.mean(axis=1), dtype=np.float64)


def offline_two_sided(
    *,
    target_signal: SignalArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    settings: LiRA = LiRA(),
) -> FloatArray:
    """Score every record by how unlikely its signal is under models without it, as TensorFlow Privacy's code does.

    The score is the mean over queries of -log N(t; mu_out, sigma_out), i.e. of (t - mu_out)^2 / (2 sigma_out^2) +
    log sigma_out + log(2 pi) / 2: an unusually low signal counts for membership like an unusually high one. The paper's
    test is `offline`.

    Args:
        target_signal: Signals of the target [record, query].
        shadow_signal: Signals of the shadows [model, record, query]; those of IN models are not looked at.
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: How the Gaussian is fitted; the variance may not be "student-t".

    Returns:
        Scores [record] in nats, larger = more likely a member.

    Raises:
        ValueError: If a record lacks OUT models (one; two for per-record variance), the arrays do not fit each other or
            the variance is "student-t".
    """
    if settings.variance == "student-t":
        raise ValueError('offline_two_sided is a Gaussian density: variance must be "pooled" or "per-record"')
    seen = Observations.check(
        target_signal=target_signal, shadow_signal=shadow_signal, shadow_membership=shadow_membership
    )
    sigma = _sigma_without(seen, settings)
    z = (seen.target - _centre(seen.shadows, ~seen.trained_on, settings)) / sigma
    return np.asarray((0.5 * z**2 + np.log(sigma) + 0.5 * np.log(2.0 * np.pi)).mean(axis=1), dtype=np.float64)


def _sigma_without(seen: Observations, settings: LiRA) -> FloatArray:
    """Pooled [query] or per-record [record, query] sigma of the models that were not trained on a record."""
    without = ~seen.trained_on
    if settings.variance == "pooled":
        seen.require(in_models=0, out_models=1)
        return _pooled_sigma(seen.shadows, (without,), settings)
    seen.require(in_models=0, out_models=2)
    return _record_sigma(seen.shadows, without, settings)


def _student_t_ratio(seen: Observations, settings: LiRA) -> FloatArray:
    """Mean over queries of the log-likelihood ratio of two Student-t with one variance [record]."""
    inside, outside = seen.trained_on, ~seen.trained_on
    n_in, n_out = inside.sum(axis=0), outside.sum(axis=0)
    squares = _squares(seen.shadows, inside) + _squares(seen.shadows, outside)
    predictive = Predictive.fit(squares, n_in + n_out - 2, settings.sigma_floor)
    scale_in, scale_out = predictive.scale(n_in), predictive.scale(n_out)
    z_in = (seen.target - mean_over_models(seen.shadows, inside)) / scale_in
    z_out = (seen.target - mean_over_models(seen.shadows, outside)) / scale_out
    ratio = log_density_ratio(z_in, z_out, predictive.freedom) + np.log(scale_out / scale_in)
    return np.asarray(ratio.mean(axis=1), dtype=np.float64)


def _student_t_deviate(seen: Observations, settings: LiRA) -> FloatArray:
    """Mean over queries of the target's place in the Student-t of the OUT models, as a normal deviate [record]."""
    seen.require(in_models=0, out_models=1)
    outside = ~seen.trained_on
    n_out = outside.sum(axis=0)
    predictive = Predictive.fit(_squares(seen.shadows, outside), n_out - 1, settings.sigma_floor)
    z = (seen.target - mean_over_models(seen.shadows, outside)) / predictive.scale(n_out)
    return np.asarray(normal_deviate(z, predictive.freedom).mean(axis=1), dtype=np.float64)


def _centre(shadows: FloatArray, chosen: BoolArray, settings: LiRA) -> FloatArray:
    """Mean or median of each record over the models chosen for it [record, query]."""
    if settings.centre == "mean":
        return mean_over_models(shadows, chosen)
    ordered = np.sort(np.where(chosen[..., None], shadows, np.inf), axis=0)
    n_chosen = chosen.sum(axis=0)[None, :, None]
    middle = [np.take_along_axis(ordered, place, axis=0)[0] for place in ((n_chosen - 1) // 2, n_chosen // 2)]
    return np.asarray(0.5 * (middle[0] + middle[1]), dtype=np.float64)


def _squares(shadows: FloatArray, chosen: BoolArray) -> FloatArray:
    """Sum of the squared distances of each record from its own mean over the models chosen for it [record, query]."""
    residuals = shadows - mean_over_models(shadows, chosen)
    return np.asarray(np.einsum("mr,mrq,mrq->rq", chosen, residuals, residuals), dtype=np.float64)


def _record_sigma(shadows: FloatArray, chosen: BoolArray, settings: LiRA) -> FloatArray:
    """Standard deviation (ddof 0) of each record over the models chosen for it [record, query]."""
    variance = _squares(shadows, chosen) / chosen.sum(axis=0)[:, None]
    return np.asarray(np.maximum(np.sqrt(variance), settings.sigma_floor), dtype=np.float64)


def _pooled_sigma(shadows: FloatArray, groups: tuple[BoolArray, ...], settings: LiRA) -> FloatArray:
    """Standard deviation within records and groups, one for all records of a query [query]."""
    squares = np.sum([_squares(shadows, group).sum(axis=0) for group in groups], axis=0)
    freedom = sum(int(group.sum()) - group.shape[1] for group in groups)
    if freedom < 1:
        raise ValueError("the pooled variance needs a record with two shadows of the same status; train more shadows")
    return np.asarray(np.maximum(np.sqrt(squares / freedom), settings.sigma_floor), dtype=np.float64)
