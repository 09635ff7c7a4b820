"""The shadow-model attack: learn per class what a trained-on confidence vector looks like.

Shokri, Stronati, Song and Shmatikov (2017), "Membership Inference Attacks against Machine Learning Models",
arXiv:1610.05820.

What it claims
    A model answers differently on its training records, and models trained alike differ alike. A classifier that has
    seen the answers of shadow models with known training sets can therefore judge the answers of the target.

What the attacker needs
    Access `scores`: the whole released confidence vector, one query per record, and the record's true label. Shadow
    models by the target's recipe, with records IN and OUT.

Algorithm
    1. Every shadow k and record i give a row: the vector p_k(i), the class of i, and whether k was trained on i.
    2. For each class, a binary network (one hidden layer of 64 ReLUs) learns IN against OUT from the rows of the class.
    3. The score of a record is the log-odds that its class's network gives to the target's vector.

What we changed
    Shadows are trained on halves of the audited records and not on disjoint data of the attacker's own. Which shadow
    was trained on a record says nothing of the target, so the records' own rows may be learned from.
    A class with fewer than `min_rows` IN or OUT rows is judged by one network for all classes.
    Width, Adam at 0.01, 100 epochs, batches of 100 and the penalty are those of EvaluatingDPML (Jayaraman and Evans), a
    third party. Its code builds two hidden layers of that width, `hidden=(64, 64)`, and computes the penalty without
    adding it to the loss; here there is one layer, and the penalty counts.
    Vectors are standardised. Log-odds instead of a yes or no.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_attacks.membership._inputs import BoolArray, FloatArray, LabelArray, SignalArray
from reference_attacks.membership._learners import Network, per_class
from reference_attacks.membership._vectors import ShadowVectors, as_labels

__all__ = ["Network", "Shokri", "score"]

_NETWORK = Network(hidden=(64,), learning_rate=0.01, weight_decay=1e-6, epochs=100, batch_size=100)


@dataclass(frozen=True, slots=True)
class Shokri:
    """The attack networks.

    Attributes:
        network: Their shape and training.
        min_rows: IN rows and OUT rows that a class needs for a network of its own; a row is one shadow's vector for one
            record.

    Raises:
        ValueError: If a class could do without rows.
    """

    network: Network = _NETWORK
    min_rows: int = 50

    def __post_init__(self) -> None:
        if self.min_rows < 1:
            raise ValueError(f"min_rows must be at least 1, got {self.min_rows}")


def score(
    *,
    target_vectors: SignalArray,
    labels: LabelArray,
    shadow_vectors: SignalArray,
    shadow_membership: BoolArray,
    rng: np.random.Generator,
    settings: Shokri = Shokri(),
) -> FloatArray:
    """Score every record by the log-odds of its class's attack network.

    Args:
        target_vectors: Confidence vectors of the target [record, class].
        labels: True labels [record].
        shadow_vectors: Confidence vectors of the shadows [model, record, class].
        shadow_membership: Whether the shadow was trained on the record [model, record].
        rng: Draws the networks' first weights and batches.
        settings: The attack networks.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If the arrays do not fit each other, a value is no probability or all rows are IN or all OUT.
    """
    vectors = ShadowVectors.check(
        target_vectors=target_vectors, shadow_vectors=shadow_vectors, shadow_membership=shadow_membership
    )
    classes = as_labels(labels, *vectors.target.shape)
    return per_class(vectors, classes, settings.network.fit, settings.min_rows, rng)
