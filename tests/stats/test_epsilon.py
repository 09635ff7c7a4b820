"""Epsilon: closed forms, worked examples, and that the bounds hold where the truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from auditor.stats.epsilon import (
    GUESSED_SHARES,
    gaussian_delta,
    gaussian_mu,
    implied_epsilon,
    one_run,
    one_run_gaussian,
    one_run_p_value,
    rejects_gaussian,
)


def test_at_epsilon_zero_the_p_value_is_the_binomial_tail_of_a_coin():
    assert one_run_p_value(100, 60, 100, 0.0, 0.0) == pytest.approx(stats.binom.sf(59, 100, 0.5))


def test_delta_adds_what_the_theorem_says():
    guesses, correct, canaries, epsilon, delta = 30, 25, 40, 0.7, 1e-3
    rate = math.exp(epsilon) / (1 + math.exp(epsilon))

    def tail(least):
        return sum(math.comb(guesses, k) * rate**k * (1 - rate) ** (guesses - k) for k in range(least, guesses + 1))

    gain = max((tail(correct - i) - tail(correct)) / i for i in range(1, correct + 1))
    expected = tail(correct) + 2 * canaries * delta * gain
    assert one_run_p_value(guesses, correct, canaries, epsilon, delta) == pytest.approx(expected, rel=1e-9)


def largest(rejects):
    grid = np.arange(0.0, 8.0, 0.001)
    return max(epsilon for epsilon in grid if rejects(epsilon))


@pytest.mark.parametrize(("guesses", "canaries", "epsilon"), [(100, 1_000, 3.465), (1_000, 10_000, 5.529)])
def test_all_guesses_right_reach_the_known_ceilings(guesses, canaries, epsilon):
    found = largest(lambda e: one_run_p_value(guesses, guesses, canaries, e, 1e-5) < 0.05)
    assert found == pytest.approx(epsilon, abs=0.002)


@pytest.mark.parametrize(("mu", "epsilon"), [(0.5, 1.993), (1.0, 4.377), (2.0, 9.997)])
def test_gaussian_mechanisms_have_the_known_epsilons(mu, epsilon):
    assert gaussian_mu(epsilon, 1e-5) == pytest.approx(mu, abs=1e-3)
    assert gaussian_delta(epsilon, mu) == pytest.approx(1e-5, rel=0.02)


def test_a_better_attack_contradicts_a_stronger_gaussian_mechanism():
    assert rejects_gaussian(100, 90, 200, 0.1, 0.05)
    assert not rejects_gaussian(100, 50, 200, 0.1, 0.05)
    assert not rejects_gaussian(100, 90, 200, 5.0, 0.05)


def flipped(signal, n=2_000, seed=0):
    rng = np.random.default_rng(seed)
    coins = rng.random(n) < 0.5
    return signal * coins + rng.normal(size=n), coins


@pytest.mark.parametrize("bound", [one_run, one_run_gaussian])
def test_the_bound_lies_under_the_epsilon_of_a_mechanism_that_is_known(bound):
    """A signal of mu under unit noise is a mu-Gaussian mechanism for each canary; 60 runs at 95 % allow 7 misses."""
    truth = 1.993
    bounds = [bound(*flipped(0.5, seed=seed), delta=1e-5).epsilon for seed in range(60)]
    assert sum(one > truth for one in bounds) <= 7
    assert np.mean(bounds) > 0.05


def test_without_a_signal_the_bound_is_zero_nearly_always():
    misses = sum(one_run(*flipped(0.0, n=200, seed=seed), delta=1e-5).epsilon > 0 for seed in range(200))
    assert misses <= stats.binom.ppf(0.999, 200, 0.05)


@pytest.mark.parametrize("bound", [one_run, one_run_gaussian])
@pytest.mark.parametrize(
    "scores", [np.zeros(200), np.repeat([0.0, 1.0, 0.0, 1.0], 50)], ids=["all equal", "two values"]
)
@pytest.mark.parametrize("first", [False, True])
def test_the_order_of_a_sorted_log_tells_nothing_where_scores_are_equal(bound, scores, first):
    coins = np.arange(200) < 100
    assert bound(scores, coins == first, delta=1e-5).epsilon == 0.0


def test_the_gaussian_bound_is_larger_on_its_premise():
    scores, coins = flipped(2.0)
    plain, gaussian = (bound(scores, coins, delta=1e-5) for bound in (one_run, one_run_gaussian))
    assert 0 < plain.epsilon < gaussian.epsilon
    assert plain.epsilon <= plain.ceiling
    assert plain.guesses in {2 * math.floor(share * 1_000) for share in GUESSED_SHARES}


def test_monotone_transformations_change_nothing():
    scores, coins = flipped(1.0)
    assert one_run(np.exp(scores), coins, delta=0.0) == one_run(scores, coins, delta=0.0)


def test_implied_epsilon_by_hand():
    found = implied_epsilon(50, 1_000, 10, 1_000)
    assert found.value == pytest.approx(math.log(5))
    low = stats.beta.ppf(0.0125, 50, 951) / stats.beta.ppf(0.9875, 11, 990)
    assert found.low == pytest.approx(math.log(low), rel=1e-6)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: one_run([1.0] * 30, [1] * 30, delta=0.0), "booleans"),
        (lambda: one_run([1.0] * 10, [True] * 10, delta=0.0), "20"),
        (lambda: one_run_gaussian([1.0] * 30, [True] * 30, delta=0.0), "delta"),
        (lambda: one_run_p_value(10, 11, 20, 0.0, 0.0), "correct"),
        (lambda: implied_epsilon(5, 10, 0, 10), "false positive"),
    ],
)
def test_bad_input_is_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
