"""Signals of the true label: worked values, saturation in float32, and what they refuse."""

import numpy as np
import pytest
from scipy.special import softmax

from reference_attacks.membership import signals

LOGITS = np.array([[3.0, 1.0, -0.5], [3.0, 1.0, -0.5]])
LABELS = np.array([0, 1])
PROBABILITIES = softmax(LOGITS, axis=1)

# Worked by hand for logits (3, 1, -0.5), label 0 and label 1.
GOLDEN = [
    (signals.logit_margin, LOGITS, [1.79858672202, -2.02975041827]),
    (signals.released_margin, PROBABILITIES, [1.79858672202, -2.02975041827]),
    (signals.confidence, PROBABILITIES, [0.85797681, 0.11611453]),
    (signals.cross_entropy, PROBABILITIES, [0.15317820712, 2.15317820712]),
    (signals.modified_entropy, PROBABILITIES, [0.03676672506, 3.57841207776]),
]
FROM_PROBABILITIES = [signals.released_margin, signals.confidence, signals.cross_entropy, signals.modified_entropy]


@pytest.mark.parametrize(("signal", "values", "expected"), GOLDEN)
def test_worked_example(signal, values, expected):
    result = signal(values, LABELS)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, atol=6e-9)


def test_logit_margin_is_the_log_odds_of_the_label():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 7)), rng.integers(7, size=50)
    p = softmax(logits, axis=1)[np.arange(50), labels]
    np.testing.assert_allclose(signals.logit_margin(logits, labels), np.log(p / (1 - p)), rtol=1e-10)


def test_released_margin_survives_a_float32_confidence_of_one():
    logits = np.zeros((6, 10))
    logits[:, 3] = [15.0, 20.0, 30.0, 40.0, 60.0, 80.0]
    labels = np.full(6, 3)
    released = softmax(logits, axis=1).astype(np.float32)
    assert (released[1:, 3] == 1.0).all()
    np.testing.assert_allclose(
        signals.released_margin(released, labels), signals.logit_margin(logits, labels), rtol=1e-6
    )


@pytest.mark.parametrize("label", [0, 1])
def test_margin_and_loss_stay_finite_when_a_probability_is_exactly_zero(label):
    released, labels = np.array([[1.0, 0.0]], dtype=np.float32), np.array([label])
    margin = signals.released_margin(released, labels)
    np.testing.assert_allclose(margin, (1 - 2 * label) * -np.log(signals.FLOOR))
    assert np.isfinite(signals.cross_entropy(released, labels)).all()


def test_logit_margin_does_not_overflow():
    margin = signals.logit_margin(np.array([[1e5, -1e5, 0.0]], dtype=np.float32), np.array([0]))
    np.testing.assert_allclose(margin, 1e5)


def test_modified_entropy_punishes_a_confident_mistake_and_entropy_would_not():
    p = np.array([[0.98, 0.01, 0.01]])
    right, wrong = (signals.modified_entropy(p, np.array([label]))[0] for label in (0, 1))
    assert right < 0.01
    assert wrong > 4.0


def test_modified_entropy_clamps_its_logarithms():
    sure_and_wrong = np.array([[1.0, 0.0]])
    np.testing.assert_allclose(signals.modified_entropy(sure_and_wrong, np.array([1])), -2 * np.log(1e-30))


def test_rounding_above_one_is_not_an_error():
    p = np.array([[1.0000001, 0.0]], dtype=np.float32)
    assert p[0, 0] > 1
    assert signals.confidence(p, np.array([0]))[0] == 1.0


@pytest.mark.parametrize("signal", FROM_PROBABILITIES)
def test_logits_are_not_mistaken_for_probabilities(signal):
    with pytest.raises(ValueError, match=r"probabilities must hold probabilities in 0\.\.1, got -0\.5\.\.3"):
        signal(LOGITS, LABELS)


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        (LOGITS, np.array([0]), "labels must be 2 integers"),
        (LOGITS, np.array([0.0, 1.0]), "labels must be 2 integers"),
        (LOGITS, np.array([0, 3]), r"labels must lie in 0\.\.2"),
        (LOGITS, np.array([-1, 0]), r"labels must lie in 0\.\.2"),
        (LOGITS[:, :1], np.array([0, 0]), "two classes or more"),
        (LOGITS[0], np.array([0]), r"logits must be a non-empty array \[record, class\]"),
        (LOGITS * np.nan, LABELS, "not finite"),
    ],
)
def test_bad_input_is_named(values, labels, message):
    with pytest.raises(ValueError, match=message):
        signals.logit_margin(values, labels)
