"""RAPID: a small network weighs the loss of a record against its loss calibrated by difficulty.

He, Li, Wang et al. (2024), "Is Difficulty Calibration All We Need? Towards More Practical Membership Inference
Attacks", arXiv:2409.00426, and its released code (T0hsakar1n/RAPID).

What it claims
    Difficulty calibration throws something away: a record that every model fits has a difference of about 0, member or
    not. With the plain loss kept as a second feature a network learns when to believe which.

What the attacker needs
    Access `scores`: the cross-entropy of the true label, one query or several. Reference models by the target's recipe,
    some OUT of each record. At least one more shadow whose members are known, to train the network on.

Algorithm
    1. Average the loss over queries for the target, each training shadow and each reference model.
    2. Features of a record under a model: (loss, loss - mean loss of the reference models not trained on it).
    3. Train a multilayer perceptron to tell the training shadows' members from their non-members by these features.
    4. The score is the network's log-odds for the target's features.

What we changed
    The network is smaller: two hidden layers instead of 512-256-128, no dropout, a larger step and fewer epochs; weight
    decay and batch size are the code's. Features are standardised by the training shadows. The last epoch counts: the
    released script keeps the epoch with the best TPR on the *target*, which is peeking.
    Reference models may have been trained on other audited records; those trained on x are left out for x. The paper
    trains them on separate data. Several training shadows may be pooled, the paper has one. Queries are the caller's:
    the paper averages eight random augmentations and four reference models.
    Training rows are put into one order first, so that the order of records and shadows changes nothing.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_attacks.membership._inputs import BoolArray, FloatArray, Observations, SignalArray, mean_over_models
from reference_attacks.membership._learners import Network

__all__ = ["RAPID", "score"]

_NETWORK = Network(hidden=(64, 32), learning_rate=1e-3, weight_decay=5e-4, epochs=30, batch_size=128)


@dataclass(frozen=True, slots=True)
class RAPID:
    """How the network is trained.

    Attributes:
        network: Its shape and its training; weight decay and batch size are the released code's, the rest is smaller.
    """

    network: Network = _NETWORK


def score(
    *,
    target_signal: SignalArray,
    reference_signal: SignalArray,
    reference_membership: BoolArray,
    shadow_signal: SignalArray,
    shadow_membership: BoolArray,
    rng: np.random.Generator,
    settings: RAPID = RAPID(),
) -> FloatArray:
    """Score every record by a network that learned on shadows what a member's loss looks like.

    Args:
        target_signal: Cross-entropies of the true label by the target [record, query], in nats.
        reference_signal: The same by the reference models [model, record, query].
        reference_membership: Whether the reference model was trained on the record [model, record].
        shadow_signal: The same by the shadows to train on [model, record, query]. They must be none of the reference
            models, nor the complementary twin of one: a twin is OUT exactly where its shadow is IN.
        shadow_membership: Whether the shadow was trained on the record [model, record].
        rng: Starts the network and shuffles its batches.
        settings: The network and its training.

    Returns:
        Scores [record], log-odds, larger = more likely a member.

    Raises:
        ValueError: If a record has no OUT reference, the shadows have no member or no non-member, or the arrays do not
            fit each other.
    """
    reference = _observe("reference", target_signal, reference_signal, reference_membership)
    reference.require(in_models=0, out_models=1)
    shadow = _observe("shadow", target_signal, shadow_signal, shadow_membership)
    if shadow.trained_on.all() or not shadow.trained_on.any():
        raise ValueError("shadow_membership must hold members and non-members, the network learns to tell them apart")
    difficulty = mean_over_models(reference.shadows, ~reference.trained_on).mean(axis=1)
    rows = _features(shadow.shadows.mean(axis=2), difficulty)
    asked = _features(reference.target.mean(axis=1)[None], difficulty)
    return settings.network.fit(rows, shadow.trained_on.ravel(), asked, int(rng.integers(2**31)))


def _observe(
    name: str, target_signal: SignalArray, model_signal: SignalArray, model_membership: BoolArray
) -> Observations:
    """Check one group of models, naming it in the error."""
    try:
        return Observations.check(
            target_signal=target_signal, shadow_signal=model_signal, shadow_membership=model_membership
        )
    except ValueError as error:
        raise ValueError(str(error).replace("shadow_", f"{name}_")) from None


def _features(losses: FloatArray, difficulty: FloatArray) -> FloatArray:
    """Loss and calibrated loss [model x record, feature] of models [model, record], by difficulty [record]."""
    return np.stack([losses.ravel(), (losses - difficulty).ravel()], axis=1)
