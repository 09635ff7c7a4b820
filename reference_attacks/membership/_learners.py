"""The small classifiers that attacks train on shadows: fit to known membership, asked about the target.

Every learner answers in log-odds, which unlike probabilities do not saturate and so do not tie the surest records.
Features are standardised by the training rows. Training rows are put into an order of their own first: the order in
which records or shadows come cannot change the result.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from reference_attacks.membership._inputs import BoolArray, FloatArray, LabelArray
from reference_attacks.membership._vectors import ShadowVectors

__all__ = ["Learner", "Network", "fit_logistic", "own_order", "per_class"]

_LOGISTIC_STEPS = 1000

# Rows [row, feature], their membership [row], the rows asked about [query, feature], a seed -> log-odds [query].
Learner = Callable[[FloatArray, BoolArray, FloatArray, int], FloatArray]


@dataclass(frozen=True, slots=True)
class Network:
    """A small ReLU network and how it is trained.

    Attributes:
        hidden: Widths of the hidden layers.
        optimizer: "adam", or "sgd" with momentum .9.
        learning_rate: Of the optimizer, constant.
        weight_decay: L2 penalty as torch counts it: this times the weight is added to the gradient of the mean loss.
        epochs: Passes over the training rows, all of them made: there is no early stop.
        batch_size: Rows per step.

    Raises:
        ValueError: If a value is out of range.
    """

    hidden: tuple[int, ...] = (64,)
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    epochs: int = 100
    batch_size: int = 100

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must hold positive widths, got {self.hidden}")
        if self.optimizer not in {"adam", "sgd"}:
            raise ValueError(f'optimizer must be "adam" or "sgd", got {self.optimizer!r}')
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs}, {self.batch_size}")

    def fit(self, rows: FloatArray, membership: BoolArray, asked: FloatArray, seed: int) -> FloatArray:
        """Train on rows [row, feature] of known membership [row]; log-odds of the rows asked about [query]."""
        order = own_order(rows, membership)
        scaler = StandardScaler().fit(rows[order])
        batch_size = min(self.batch_size, len(rows))
        net = MLPClassifier(
            hidden_layer_sizes=self.hidden,
            solver=self.optimizer,
            alpha=self.weight_decay * batch_size,  # scikit-learn divides its penalty by the rows of the batch
            batch_size=batch_size,
            learning_rate_init=self.learning_rate,
            max_iter=self.epochs,
            n_iter_no_change=self.epochs + 1,
            momentum=0.9,
            nesterovs_momentum=False,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs is what was asked for
            net.fit(scaler.transform(rows[order]), membership[order].astype(np.int64))
        return _log_odds(net, scaler.transform(asked))


def fit_logistic(rows: FloatArray, membership: BoolArray, asked: FloatArray, seed: int) -> FloatArray:
    """A logistic regression with an L2 penalty (C = 1) in the place of a network; the seed has nothing to decide."""
    del seed
    order = own_order(rows, membership)
    scaler = StandardScaler().fit(rows[order])
    model = LogisticRegression(max_iter=_LOGISTIC_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last step is as good as it gets
        model.fit(scaler.transform(rows[order]), membership[order].astype(np.int64))
    return np.asarray(model.decision_function(scaler.transform(asked)), dtype=np.float64)


def per_class(
    vectors: ShadowVectors, labels: LabelArray, learn: Learner, min_rows: int, rng: np.random.Generator
) -> FloatArray:
    """Score the records of each class by a learner of that class, trained on the rows of all shadows.

    Args:
        vectors: What the target and the shadows say.
        labels: True labels [record].
        learn: Trains and answers.
        min_rows: A class with fewer IN or fewer OUT rows (one row per shadow and record) is left to one learner that is
            trained on the rows of all classes.
        rng: Gives each class a seed of its own.

    Returns:
        Log-odds [record].
    """
    n_classes = vectors.target.shape[1]
    seeds = rng.integers(2**31, size=n_classes + 1)
    log_odds = np.empty(len(labels), dtype=np.float64)
    poor = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        chosen = labels == label
        trained_on = vectors.trained_on[:, chosen]
        if min(trained_on.sum(), (~trained_on).sum()) < min_rows:
            poor |= chosen
        else:
            rows = vectors.shadows[:, chosen].reshape(-1, n_classes)
            log_odds[chosen] = learn(rows, trained_on.ravel(), vectors.target[chosen], int(seeds[label]))
    if poor.any():
        rows = vectors.shadows.reshape(-1, n_classes)
        log_odds[poor] = learn(rows, vectors.trained_on.ravel(), vectors.target[poor], int(seeds[n_classes]))
    return log_odds


def own_order(rows: FloatArray, membership: BoolArray) -> LabelArray:
    """The order of the rows [row, feature] by value, so that shuffled rows are trained on alike."""
    return np.asarray(np.lexsort((membership, *rows.T)), dtype=np.int64)


def _log_odds(net: MLPClassifier, rows: FloatArray) -> FloatArray:
    """The network's output before its sigmoid [row]; scikit-learn shows it only after."""
    values = rows
    for weights, bias in zip(net.coefs_[:-1], net.intercepts_[:-1], strict=True):
        values = np.maximum(values @ weights + bias, 0.0)
    return np.asarray((values @ net.coefs_[-1] + net.intercepts_[-1])[:, 0], dtype=np.float64)
