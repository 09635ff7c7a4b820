"""RMIA, the robust membership inference attack.

Zarifzadeh, Liu and Shokri (2024), "Low-Cost High-Power Membership Inference Attacks", arXiv:2312.03262.

What it claims
    Testing x against many population records z, one pair at a time, uses reference models better than one test against
    an average does: strong with one to four shadows, where LiRA has too few to fit its Gaussians.

What the attacker needs
    Access `scores`: the probability P of the true label, in 0..1, for each query. Shadows by the target's recipe:
    online each record IN some and OUT of others, offline OUT of some. Population records, trained on by neither the
    target nor any shadow, and not evaluated.

Algorithm
    1. P(x) = (mean over IN shadows + mean over OUT shadows) / 2 online; offline, with m the mean over the OUT shadows,
       P(x) = ((1 + a) m + 1 - a) / 2, from the guess that IN shadows would show a m + 1 - a.
    2. P(z) = the mean over all shadows online; offline the same line as for x, applied to that mean.
    3. r_x = P(x | target) / P(x) and r_z = P(z | target) / P(z), the likelihood ratio of the pair being r_x / r_z.
    4. The score of x is the fraction of z with r_x / r_z > gamma: a search for r_x / gamma among the sorted r_z.
    5. Several queries vote on each z: it counts with more than half of the votes, for one half with exactly half.

What we changed
    Ties are broken. All x above every z get fraction 1 and all below get 0, so that a strict TPR at a low FPR would be
    0. We order by (fraction, then mean over queries of log r_x): with t that mean, the score is the fraction plus
    t / (1 + |t|) / 2 steps of its grid. The grid is 1/|Z|, for Q > 1 queries 1/(Q |Z|) or, voting, 1/(2 |Z|); rounded
    to it the score is the fraction again, so it can leave 0..1 by half a step. With one query the order is that of
    r_x, whatever gamma.
    Means over shadows are plain; the research code trims a fifth at each end. P is the plain softmax probability raised
    to the smallest normal float32, not a Taylor softmax. The half for a split vote is ours; with two queries it makes
    voting the same as `queries="mean"`, the average of the queries' fractions, which needs no |records| x |Z| pairs.
    gamma, a and the signal are never tuned on the target.

Published number and ours
    CIFAR-10 as quoted from the paper in issues 146 and 151 of ml_privacy_meter: AUC 72.25 and TPR 4.31 % at 0.01 % FPR
    with 254 references; offline with 4, 71.02 and 2.91 %. A user there got 60.9 and 0.31 %, and 64.7 and 0.7-0.8 %.
    Ours: not measured on that setting. Such figures belong to a training recipe: compare within one audit only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from reference_attacks.membership._inputs import (
    FLOOR,
    BoolArray,
    FloatArray,
    Observations,
    SignalArray,
    as_probability,
    mean_over_models,
)

__all__ = ["RMIA", "offline", "online"]

_PAIRS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class RMIA:
    """Parameters of the test; the defaults are the authors' for CIFAR-10.

    Attributes:
        gamma: How many times more x must have gained than z to beat it.
        a: Slope of the offline guess of an IN probability from the OUT probability, in 0..1.
        queries: "majority" (the authors' code) lets the queries vote on each z, "mean" averages their fractions.

    Raises:
        ValueError: If a value is out of range.
    """

    gamma: float = 2.0
    a: float = 0.3
    queries: Literal["majority", "mean"] = "majority"

    def __post_init__(self) -> None:
        if not 0.0 < self.gamma < np.inf:
            raise ValueError(f"gamma must be positive, got {self.gamma}")
        if not 0.0 <= self.a <= 1.0:
            raise ValueError(f"a must lie in 0..1, got {self.a}")
        if self.queries not in {"majority", "mean"}:
            raise ValueError(f'queries must be "majority" or "mean", got {self.queries!r}')


def online(
    *,
    target_signal: SignalArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    population_target_signal: SignalArray,
    population_shadow_signal: SignalArray,
    settings: RMIA = RMIA(),
) -> FloatArray:
    """Score every record by the share of the population that it beats, knowing models with and without it.

    Args:
        target_signal: Probabilities of the true label by the target [record, query].
        shadow_signal: The same by the shadows [model, record, query].
        shadow_membership: Whether the shadow was trained on the record [model, record].
        population_target_signal: Probabilities by the target on the population, its own records [record, query].
        population_shadow_signal: The same by the shadows [model, record, query].
        settings: Parameters of the test; `a` is not used.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If a record lacks IN or OUT models, a signal is no probability or the arrays do not fit each other.
    """
    seen = _observe(target_signal, shadow_signal, shadow_membership)
    n_in = seen.require(in_models=1, out_models=1)[:, None]
    by_target, by_shadows = _population(population_target_signal, population_shadow_signal, seen)
    return _score(seen.target / _mean_of_means(seen, n_in), by_target / by_shadows, settings)


def offline(
    *,
    target_signal: SignalArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    population_target_signal: SignalArray,
    population_shadow_signal: SignalArray,
    settings: RMIA = RMIA(),
) -> FloatArray:
    """Score every record by the share of the population that it beats, knowing models without it only.

    Args:
        target_signal: Probabilities of the true label by the target [record, query].
        shadow_signal: The same by the shadows [model, record, query]; those of IN models are not looked at.
        shadow_membership: Whether the shadow was trained on the record [model, record].
        population_target_signal: Probabilities by the target on the population, its own records [record, query].
        population_shadow_signal: The same by the shadows [model, record, query].
        settings: Parameters of the test.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If a record lacks OUT models, a signal is no probability or the arrays do not fit each other.
    """
    seen = _observe(target_signal, shadow_signal, shadow_membership)
    seen.require(in_models=0, out_models=1)
    by_target, by_shadows = _population(population_target_signal, population_shadow_signal, seen)
    r_x = seen.target / _offline_reference(mean_over_models(seen.shadows, ~seen.trained_on), settings.a)
    r_z = by_target / _offline_reference(by_shadows, settings.a)
    return _score(r_x, r_z, settings)


def _population(
    target_signal: SignalArray, shadow_signal: SignalArray, seen: Observations
) -> tuple[FloatArray, FloatArray]:
    """Probabilities of the population by the target, and their mean over the shadows, both [record, query]."""
    target = _floored("population_target_signal", target_signal, ("record", "query"))
    shadows = _floored("population_shadow_signal", shadow_signal, ("model", "record", "query"))
    expected = (seen.shadows.shape[0], target.shape[0], seen.target.shape[1])
    if shadows.shape != expected or target.shape != expected[1:]:
        raise ValueError(
            f"the population's signals {target.shape} and {shadows.shape} do not fit each other or "
            f"the records' shadow signals {seen.shadows.shape}"
        )
    return target, np.asarray(shadows.mean(axis=0), dtype=np.float64)


def _observe(target_signal: SignalArray, shadow_signal: SignalArray, shadow_membership: BoolArray) -> Observations:
    target = _floored("target_signal", target_signal, ("record", "query"))
    shadows = _floored("shadow_signal", shadow_signal, ("model", "record", "query"))
    return Observations.join(target, shadows, shadow_membership)


def _floored(name: str, signal: SignalArray, axes: tuple[str, ...]) -> FloatArray:
    return as_probability(name, signal, axes, floor=FLOOR)


def _mean_of_means(seen: Observations, n_in: npt.NDArray[np.int32]) -> FloatArray:
    """Half the mean over the IN models plus half the mean over the OUT models [record, query]."""
    inside = np.einsum("mr,mrq->rq", seen.trained_on, seen.shadows)
    # What cancels here is small beside the other half, so a second masked sum would add no accuracy.
    outside = seen.shadows.sum(axis=0) - inside
    return np.asarray(0.5 * (inside / n_in + outside / (seen.shadows.shape[0] - n_in)), dtype=np.float64)


def _offline_reference(without_x: FloatArray, a: float) -> FloatArray:
    return 0.5 * ((1.0 + a) * without_x + (1.0 - a))


def _score(r_x: FloatArray, r_z: FloatArray, settings: RMIA) -> FloatArray:
    """Fraction of the population that each record beats, ties broken by log r_x; [record, query] x 2 -> [record]."""
    n_population, n_queries = r_z.shape
    bars = r_x / settings.gamma
    if settings.queries == "mean" or n_queries <= 2:
        beaten, steps = _votes(bars, r_z), n_queries * n_population
    else:
        beaten, steps = _half_majorities(bars, r_z), 2 * n_population
    margin = np.log(r_x).mean(axis=1)
    return np.asarray((beaten + 0.5 * margin / (1.0 + np.abs(margin))) / steps, dtype=np.float64)


def _votes(bars: FloatArray, r_z: FloatArray) -> FloatArray:
    """Number of (z, query) below each record's bars [record]."""
    beaten = np.zeros(bars.shape[0], dtype=np.float64)
    for bar, ratio in zip(bars.T, r_z.T, strict=True):
        # Sorted bars make neighbouring searches touch the same memory.
        order = np.argsort(bar)
        beaten[order] += np.searchsorted(np.sort(ratio), bar[order], side="left")
    return beaten


def _half_majorities(bars: FloatArray, r_z: FloatArray) -> FloatArray:
    """Number of z below the bars in most queries, counted twice, plus those in exactly half of them [record]."""
    n_population, n_queries = r_z.shape
    beaten = np.empty(bars.shape[0], dtype=np.float64)
    rows = max(1, _PAIRS_AT_ONCE // n_population)
    for start in range(0, bars.shape[0], rows):
        chunk = bars[start : start + rows]
        votes = np.zeros((chunk.shape[0], n_population), dtype=np.int32)
        for q in range(n_queries):
            votes += r_z[None, :, q] < chunk[:, q, None]
        beaten[start : start + rows] = (2 * votes > n_queries).sum(axis=1) + (2 * votes >= n_queries).sum(axis=1)
    return beaten
