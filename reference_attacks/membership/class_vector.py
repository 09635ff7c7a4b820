"""The class-vector attack: a classifier per class on the whole confidence vector.

Li, Li and Ribeiro (2021), "Membership Inference Attacks and Defenses in Classification Models", arXiv:2002.12062.

What it claims
    Shokri's attack needs no elaborate network: for records of one class a logistic regression on the vector, or a
    single small layer, separates members from non-members as far as the generalisation gap lets it.

What the attacker needs
    Access `scores`: the whole released confidence vector, one query per record, and the record's true label. Shadow
    models by the target's recipe, with records IN and OUT.

Algorithm
    1. Every shadow k and record i give a row: the vector p_k(i), and whether k was trained on i.
    2. For each class, a logistic regression (or a network with one hidden layer of 64) learns IN against OUT from it.
    3. The score of a record is the log-odds that its class's classifier gives to the target's vector.

What we changed
    Vectors are standardised before both classifiers. The authors' network has two softmax outputs and a cross-entropy
    that applies another softmax to them; ours has one output and a plain cross-entropy. Its width, Adam at 0.01, weight
    decay 1e-7, 100 epochs and batches of 100 are theirs, as is the logistic regression's penalty (C = 1).
    A class with fewer than `min_rows` IN or OUT rows is judged by one classifier for all classes.
    Log-odds instead of a yes or no.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reference_attacks.membership._inputs import BoolArray, FloatArray, LabelArray, SignalArray
from reference_attacks.membership._learners import Network, fit_logistic, per_class
from reference_attacks.membership._vectors import ShadowVectors, as_labels

__all__ = ["ClassVector", "Network", "score"]

_NETWORK = Network(hidden=(64,), learning_rate=0.01, weight_decay=1e-7, epochs=100, batch_size=100)


@dataclass(frozen=True, slots=True)
class ClassVector:
    """The classifiers.

    Attributes:
        classifier: "logistic" regression or "network".
        network: Shape and training of the network, if that is the classifier.
        min_rows: IN rows and OUT rows that a class needs for a classifier of its own; a row is one shadow's vector for
            one record.

    Raises:
        ValueError: If a value is not one of these.
    """

    classifier: Literal["logistic", "network"] = "logistic"
    network: Network = _NETWORK
    min_rows: int = 50

    def __post_init__(self) -> None:
        if self.classifier not in {"logistic", "network"}:
            raise ValueError(f'classifier must be "logistic" or "network", got {self.classifier!r}')
        if self.min_rows < 1:
            raise ValueError(f"min_rows must be at least 1, got {self.min_rows}")


def score(
    *,
    target_vectors: SignalArray,
    labels: LabelArray,
    shadow_vectors: SignalArray,
    shadow_membership: BoolArray,
    rng: np.random.Generator,
    settings: ClassVector = ClassVector(),
) -> FloatArray:
    """Score every record by the log-odds of its class's classifier.

    Args:
        target_vectors: Confidence vectors of the target [record, class].
        labels: True labels [record].
        shadow_vectors: Confidence vectors of the shadows [model, record, class].
        shadow_membership: Whether the shadow was trained on the record [model, record].
        rng: Draws the networks' first weights and batches; the logistic regression has nothing random.
        settings: The classifiers.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If the arrays do not fit each other, a value is no probability or all rows are IN or all OUT.
    """
    vectors = ShadowVectors.check(
        target_vectors=target_vectors, shadow_vectors=shadow_vectors, shadow_membership=shadow_membership
    )
    classes = as_labels(labels, *vectors.target.shape)
    learn = fit_logistic if settings.classifier == "logistic" else settings.network.fit
    return per_class(vectors, classes, learn, settings.min_rows, rng)
