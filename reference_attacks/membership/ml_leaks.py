"""ML-Leaks: the shadow-model attack with one shadow, and a threshold without any.

Salem, Zhang, Humbert, Berrang, Fritz and Backes (2019), "ML-Leaks: Model and Data Independent Membership Inference
Attacks and Defenses on Machine Learning Models", arXiv:1806.01246.

What it claims
    The many shadows and per-class networks of Shokri et al. are not needed: one shadow, the three largest posteriors
    and one classifier do (adversary 1). Even the largest posterior alone separates members (adversary 3).

What the attacker needs
    Access `scores`: the three largest posteriors, one query per record. No true label. Adversary 1: one shadow model by
    the target's recipe, with records IN and OUT. Adversary 3: nothing else at all.

Algorithm
    1. The features of a record are its `top` largest posteriors, sorted down (both of them if there are two classes).
    2. Adversary 1: one classifier for all classes learns IN against OUT from the shadow's features; the score is its
       log-odds for the target's.
    3. Adversary 3: the score is the largest posterior of the target.

What we changed
    The shadow is one of those that other attacks use too, trained on half of the audited records and not on data of its
    own; what it was trained on says nothing of the target.
    Features are standardised. The authors' code trains the classifier in 50 epochs with batches of 10, by default
    without a hidden layer; that is our logistic regression, run to its optimum with C = 1. The 64-unit network is a
    setting, with their numbers.
    Adversary 2, a shadow trained on a different data set, is left out.

Published number and ours
    Issue 7 of AhmedSalem2/ML-Leaks: reimplementations on CIFAR-10 got about 55 % precision, another 70 % accuracy and
    73 % precision. Ours: not measured on that setting. Such figures belong to a target's overfitting: compare within
    one audit only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reference_attacks.membership._inputs import BoolArray, FloatArray, SignalArray, as_probability
from reference_attacks.membership._learners import Network, fit_logistic
from reference_attacks.membership._vectors import ShadowVectors, as_membership

__all__ = ["MLLeaks", "Network", "adversary_1", "adversary_3"]

_NETWORK = Network(hidden=(64,), learning_rate=0.01, weight_decay=1e-6, epochs=50, batch_size=10)


@dataclass(frozen=True, slots=True)
class MLLeaks:
    """The first adversary.

    Attributes:
        classifier: "logistic" regression or "network".
        network: Shape and training of the network, if that is the classifier.
        top: How many of the largest posteriors are looked at.
        shadow: Which of the shadows is the adversary's only one.

    Raises:
        ValueError: If a value is not one of these.
    """

    classifier: Literal["logistic", "network"] = "logistic"
    network: Network = _NETWORK
    top: int = 3
    shadow: int = 0

    def __post_init__(self) -> None:
        if self.classifier not in {"logistic", "network"}:
            raise ValueError(f'classifier must be "logistic" or "network", got {self.classifier!r}')
        if self.top < 1 or self.shadow < 0:
            raise ValueError(f"top must be at least 1 and shadow not negative, got {self.top}, {self.shadow}")


def adversary_1(
    *,
    target_vectors: SignalArray,
    shadow_vectors: SignalArray,
    shadow_membership: BoolArray,
    rng: np.random.Generator,
    settings: MLLeaks = MLLeaks(),
) -> FloatArray:
    """Score every record by what a classifier of one shadow's largest posteriors makes of the target's.

    Args:
        target_vectors: Confidence vectors of the target [record, class].
        shadow_vectors: Confidence vectors of the shadows [model, record, class]; one model is looked at.
        shadow_membership: Whether the shadow was trained on the record [model, record].
        rng: Draws the network's first weights and batches; the logistic regression has nothing random.
        settings: The adversary.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If the arrays do not fit each other, a value is no probability, there is no such shadow or all its
            records are IN or all OUT.
    """
    vectors = ShadowVectors.check(
        target_vectors=target_vectors, shadow_vectors=shadow_vectors, shadow_membership=shadow_membership
    )
    if settings.shadow >= len(vectors.shadows):
        raise ValueError(f"shadow {settings.shadow} was asked for, there are {len(vectors.shadows)}")
    membership = as_membership(vectors.trained_on[settings.shadow], vectors.target.shape[:1])
    rows, asked = _largest(vectors.shadows[settings.shadow], settings.top), _largest(vectors.target, settings.top)
    learn = fit_logistic if settings.classifier == "logistic" else settings.network.fit
    return learn(rows, membership, asked, int(rng.integers(2**31)))


def adversary_3(*, target_vectors: SignalArray) -> FloatArray:
    """Score every record by the largest posterior, whichever class it belongs to.

    Args:
        target_vectors: Confidence vectors of the target [record, class].

    Returns:
        Scores [record] in 0..1, larger = more likely a member. Records whose posterior has rounded to 1 are tied.

    Raises:
        ValueError: If a value is no probability.
    """
    vectors = as_probability("target_vectors", target_vectors, ("record", "class"))
    return np.asarray(vectors.max(axis=1), dtype=np.float64)


def _largest(vectors: FloatArray, top: int) -> FloatArray:
    """The largest values of each vector, sorted down [record, rank]."""
    return np.asarray(np.sort(vectors, axis=1)[:, ::-1][:, :top], dtype=np.float64)
