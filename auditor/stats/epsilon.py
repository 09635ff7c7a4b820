"""Differential privacy read off an attack: lower bounds from one run with logged coin flips, and implied epsilon.

A lower bound needs canaries: records that were added to the training set by independent fair coin flips, logged.
Without the coins a ratio of rates is descriptive and bounds nothing (rule 10). A bound of 0 is no evidence of
privacy.

Sources: Steinke, Nasr and Jagielski (2023), "Privacy Auditing with One (1) Training Run", Theorem 5.2, `one_run`;
Mahloujifar, Melis and Chaudhuri (2024), "Auditing f-Differential Privacy in One Run", `one_run_gaussian`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats
from scipy.special import ndtr, ndtri

from auditor.stats._validate import check_count, check_fraction, float_vector
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion

__all__ = [
    "GUESSED_SHARES",
    "EpsilonBound",
    "gaussian_delta",
    "gaussian_mu",
    "implied_epsilon",
    "one_run",
    "one_run_gaussian",
    "one_run_p_value",
    "rejects_gaussian",
]

GUESSED_SHARES = (0.1, 0.25, 0.5, 1.0)
"""Shares of the canaries that are guessed, declared in advance; the level is split evenly over them."""

_LARGEST_EPSILON = 50.0
_STEP = 1e-4


@dataclass(frozen=True, slots=True)
class EpsilonBound:
    """A lower bound: a mechanism with a smaller epsilon, at this delta, is contradicted at this confidence.

    Attributes:
        epsilon: The bound; 0 where nothing is contradicted.
        delta: For which delta.
        confidence: Probability with which such a bound holds.
        canaries: How many coins were flipped.
        guesses: How many canaries were guessed for the bound.
        correct: How many of the guesses were right.
        ceiling: The largest bound that these coins could have given: the one of scores that tell them all apart.
        method: How it was made.
    """

    epsilon: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    correct: int
    ceiling: float
    method: str


@dataclass(frozen=True, slots=True)
class _Guessed:
    guesses: int
    correct: int


def one_run(scores: npt.ArrayLike, included: npt.ArrayLike, *, delta: float, confidence: float = 0.95) -> EpsilonBound:
    """Bound epsilon from below by the canaries of one training run, for any (epsilon, delta) mechanism.

    The top and the bottom of the scores are guessed in equal numbers, the middle is left open. Four shares are tried,
    as declared in `GUESSED_SHARES`, each at a quarter of the level, and the largest bound counts.

    Args:
        scores: float [canary], larger = more likely included.
        included: bool [canary], the coins.
        delta: Probability with which the guarantee may fail, 0 or more.
        confidence: Of the bound.

    Raises:
        ValueError: Shapes differ, scores are not finite, there are fewer than 20 canaries, or delta is not in 0..1.
    """

    def bound(guessed: _Guessed, canaries: int, alpha: float) -> float:
        return _largest_rejected(
            lambda epsilon: one_run_p_value(guessed.guesses, guessed.correct, canaries, epsilon, delta) < alpha
        )

    method = f"one run, {len(GUESSED_SHARES)} declared numbers of guesses, Bonferroni"
    return _best(scores, included, delta, confidence, bound, method)


def one_run_gaussian(
    scores: npt.ArrayLike, included: npt.ArrayLike, *, delta: float, confidence: float = 0.95
) -> EpsilonBound:
    """The same for a mechanism whose trade-off curve is Gaussian, as DP-SGD's nearly is: larger, on that premise.

    Args:
        scores: float [canary], larger = more likely included.
        included: bool [canary], the coins.
        delta: Above 0: a Gaussian mechanism has no epsilon at delta 0.
        confidence: Of the bound.

    Raises:
        ValueError: As for `one_run`, or delta is 0.
    """
    check_fraction(delta, name="delta")

    def bound(guessed: _Guessed, canaries: int, alpha: float) -> float:
        return _largest_rejected(
            lambda epsilon: rejects_gaussian(
                guessed.guesses, guessed.correct, canaries, gaussian_mu(epsilon, delta), alpha
            )
        )

    method = f"one run, Gaussian trade-off, {len(GUESSED_SHARES)} declared numbers of guesses, Bonferroni"
    return _best(scores, included, delta, confidence, bound, method)


def one_run_p_value(guesses: int, correct: int, canaries: int, epsilon: float, delta: float) -> float:
    """The probability, at most, of so many right guesses under an (epsilon, delta) mechanism (Steinke et al., Thm 5.2).

    Raises:
        ValueError: counts out of order, epsilon negative or delta outside 0..1.
    """
    check_count(guesses, name="guesses")
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"need 0 <= correct <= guesses <= canaries, got {correct}, {guesses}, {canaries}")
    if epsilon < 0.0 or not 0.0 <= delta < 1.0:
        raise ValueError(f"epsilon must not be negative and delta lie in 0..1, got {epsilon}, {delta}")
    rate = 1.0 / (1.0 + math.exp(-epsilon))
    tail = float(stats.binom.sf(correct - 1, guesses, rate))
    if delta == 0.0 or correct == 0:
        return tail
    fewer = np.arange(1, correct + 1)
    gains = (stats.binom.sf(correct - fewer - 1, guesses, rate) - tail) / fewer
    return min(1.0, tail + 2.0 * canaries * delta * float(gains.max()))


def rejects_gaussian(guesses: int, correct: int, canaries: int, mu: float, alpha: float) -> bool:
    """Whether so many right guesses contradict a Gaussian mechanism of this mu (Mahloujifar et al., Algorithm 3).

    Args:
        guesses: How many canaries were guessed.
        correct: How many of them rightly.
        canaries: How many coins were flipped.
        mu: Distance of the two Gaussians in standard deviations.
        alpha: Level.
    """
    right, wrong = alpha * correct / canaries, alpha * (guesses - correct) / canaries
    for index in range(correct - 1, -1, -1):
        raised = max(wrong, float(ndtr(ndtri(right) - mu)))
        if raised == wrong:
            break
        right = min(1.0, right + index / (guesses - index) * (raised - wrong))
        wrong = raised
    return right + wrong > guesses / canaries


def gaussian_delta(epsilon: float, mu: float) -> float:
    """The delta of a mu-Gaussian mechanism at an epsilon (Dong, Roth and Su 2019, Corollary 2.13)."""
    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The mu at which a Gaussian mechanism is just (epsilon, delta) differentially private.

    Raises:
        ValueError: epsilon is negative or delta outside (0, 1).
    """
    check_fraction(delta, name="delta")
    if epsilon < 0.0:
        raise ValueError(f"epsilon must not be negative, got {epsilon}")
    # at epsilon 0 the root is 2.5 delta, and it grows with epsilon
    return float(optimize.brentq(lambda mu: gaussian_delta(epsilon, mu) - delta, delta, 1e3, xtol=1e-12))


def implied_epsilon(
    true_positives: int, members: int, false_positives: int, non_members: int, *, confidence: float = 0.95
) -> Estimate:
    """The log-ratio of the two rates at one threshold: descriptive, no bound on any mechanism (rule 10).

    The interval takes exact ends of both rates, each at half of the error. Where no flag was right, the ratio is that
    of the bounds.

    Raises:
        ValueError: a count is out of range, or there is no false positive, so that the ratio has no upper end.
    """
    if false_positives < 1:
        raise ValueError("at least one false positive is needed, or the ratio has no upper end")
    each = 1.0 - (1.0 - check_fraction(confidence, name="confidence")) / 2
    true = proportion(true_positives, members, confidence=each, unit="members")
    false = proportion(false_positives, non_members, confidence=each, unit="non-members")
    value = math.log(true.value / false.value) if true_positives else 0.0
    low = math.log(true.low / false.high) if true.low else 0.0
    return Estimate(
        value=max(0.0, value),
        low=max(0.0, low),
        high=max(0.0, math.log(true.high / false.low)),
        confidence=confidence,
        method="log-ratio of Clopper-Pearson ends",
        n={"members": members, "non-members": non_members},
    )


def _best(
    scores: npt.ArrayLike,
    included: npt.ArrayLike,
    delta: float,
    confidence: float,
    bound: Callable[[_Guessed, int, float], float],
    method: str,
) -> EpsilonBound:
    values = float_vector(scores, name="scores", least=20)
    coins = np.asarray(included)
    if coins.dtype != np.bool_ or coins.shape != values.shape:
        raise ValueError(f"included must be {values.size} booleans [canary], got {coins.dtype} {coins.shape}")
    if not 0.0 <= delta < 1.0:
        raise ValueError(f"delta must lie in 0..1, got {delta}")
    alpha = (1.0 - check_fraction(confidence, name="confidence")) / len(GUESSED_SHARES)
    tried = [_guess(values, coins, share) for share in GUESSED_SHARES]
    found = [bound(guessed, values.size, alpha) for guessed in tried]
    best = int(np.argmax(found))
    knowing = [_guess(coins.astype(np.float64), coins, share) for share in GUESSED_SHARES]
    return EpsilonBound(
        epsilon=found[best],
        delta=delta,
        confidence=confidence,
        canaries=values.size,
        guesses=tried[best].guesses,
        correct=tried[best].correct,
        ceiling=max(bound(guessed, values.size, alpha) for guessed in knowing),
        method=method,
    )


def _guess(values: npt.NDArray[np.float64], coins: npt.NDArray[np.bool_], share: float) -> _Guessed:
    """Guess IN for the largest and OUT for the smallest scores; lots decide between equal ones, always the same."""
    each = max(1, math.floor(share * values.size / 2))
    lots = np.random.default_rng(0).permutation(values.size)  # a log sorted by its coins would tell them by its order
    order = np.lexsort((lots, values))
    correct = int((~coins[order[:each]]).sum() + coins[order[-each:]].sum())
    return _Guessed(2 * each, correct)


def _largest_rejected(rejects: Callable[[float], bool]) -> float:
    """The largest epsilon that is rejected, by bisection; 0 where not even epsilon 0 is."""
    if not rejects(0.0):
        return 0.0
    low, high = 0.0, _LARGEST_EPSILON
    if rejects(high):
        return high
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if rejects(middle) else (low, middle)
    return low
