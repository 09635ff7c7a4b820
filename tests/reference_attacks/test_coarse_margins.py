"""The margin of the true class from the largest and from rounded probabilities."""

import numpy as np
import pytest
from scipy.special import logit, softmax

from reference_attacks.membership import signals

SMALLEST_REST = 2.0**-25


def random_probabilities(n=200, classes=6, seed=0):
    rng = np.random.default_rng(seed)
    released = softmax(rng.normal(scale=rng.exponential(6.0, size=(n, 1)), size=(n, classes)), axis=1)
    return released.astype(np.float32), rng.integers(classes, size=n)


def naive_top(vector, label, shown):
    order = sorted(range(len(vector)), key=lambda one: -vector[one])
    top, hidden = order[:shown], order[shown:]
    rest = max(1.0 - sum(vector[one] for one in top), SMALLEST_REST)
    guess = min(rest / len(hidden), vector[top[-1]])
    filled = [vector[one] if one in top else guess for one in range(len(vector))]
    others = sum(value for one, value in enumerate(filled) if one != label)
    return np.log(max(filled[label], signals.FLOOR)) - np.log(max(others, signals.FLOOR))


@pytest.mark.parametrize("shown", [1, 3, 5])
def test_top_agrees_with_the_naive_loop(shown):
    released, labels = random_probabilities()
    expected = [naive_top(vector, label, shown) for vector, label in zip(released.astype(float), labels, strict=True)]
    np.testing.assert_allclose(signals.top_margin(released, labels, shown=shown), expected, rtol=1e-9)


# vector (0.6, 0.2, 0.1, 0.06, 0.04): of the top 3 hides 0.1, so 0.05 each; top 1 hides 0.4, so 0.1 each
@pytest.mark.parametrize(
    ("shown", "label", "odds"),
    [(3, 0, 0.6 / 0.4), (3, 2, 0.1 / 0.9), (3, 3, 0.05 / 0.95), (3, 4, 0.05 / 0.95), (1, 0, 1.5), (1, 1, 0.1 / 0.9)],
)
def test_top_worked_by_hand(shown, label, odds):
    vector = np.array([[0.6, 0.2, 0.1, 0.06, 0.04]])
    np.testing.assert_allclose(signals.top_margin(vector, np.array([label]), shown=shown), np.log(odds))


def test_a_hidden_class_is_never_more_than_the_smallest_shown():
    vector = np.array([[0.3, 0.1, 0.05, 0.02, 0.01]])  # a wrapper's output need not sum to 1
    np.testing.assert_allclose(
        signals.top_margin(vector, np.array([4]), shown=3), np.log(0.05 / (0.3 + 0.1 + 0.05 + 0.05))
    )


def test_a_confidence_of_one_keeps_what_the_other_shown_classes_tell():
    logits = np.zeros((3, 10))
    logits[:, 0] = [25.0, 35.0, 45.0]
    logits[:, 1:3] = 5.0
    released = softmax(logits, axis=1).astype(np.float32)
    assert (released[:, 0] == 1).all()
    labels = np.zeros(3, dtype=np.int64)
    top = signals.top_margin(released, labels, shown=3)
    assert (np.diff(top) > 9).all()
    assert (top < signals.released_margin(released, labels)).all()
    np.testing.assert_allclose(signals.top_margin(released, labels, shown=1), -np.log(SMALLEST_REST))


@pytest.mark.parametrize("shown", [2, 3, 9])
def test_with_all_classes_shown_nothing_is_hidden(shown):
    released, labels = random_probabilities(classes=2)
    np.testing.assert_array_equal(
        signals.top_margin(released, labels, shown=shown), signals.released_margin(released, labels)
    )


def test_the_coarser_the_output_the_farther_from_the_exact_margin():
    released, labels = random_probabilities(n=2000, classes=10)
    exact = signals.released_margin(released, labels)
    shown = [signals.top_margin(released, labels, shown=k) for k in (9, 3, 1)]
    shown += [signals.rounded_margin(released, labels, decimals=d) for d in (2, 1)]
    errors = [np.abs(one - exact).mean() for one in shown]
    assert errors == sorted(errors)
    assert errors[0] > 0


@pytest.mark.parametrize(("decimals", "half_unit"), [(1, 0.05), (2, 0.005)])
def test_rounded_is_the_log_odds_of_the_rounded_number_within_half_a_unit(decimals, half_unit):
    released, labels = random_probabilities()
    p = released.astype(float)[np.arange(len(labels)), labels]
    rounded = np.array([float(f"{one:.{decimals}f}") for one in p])
    expected = np.log(np.maximum(rounded, half_unit) / np.maximum(1 - rounded, half_unit))
    found = signals.rounded_margin(released, labels, decimals=decimals)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(found).max() == pytest.approx(-np.log(half_unit))
    middle = (p > 0.3) & (p < 0.7)
    assert np.abs(found - logit(p))[middle].max() < 5 * half_unit


def test_nothing_shown_is_refused():
    released, labels = random_probabilities()
    with pytest.raises(ValueError, match="at least one"):
        signals.top_margin(released, labels, shown=0)
