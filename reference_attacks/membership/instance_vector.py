"""The instance-vector attack: is the target's answer nearer to models trained with the record, or without it?

Li, Li and Ribeiro (2021), "Membership Inference Attacks and Defenses in Classification Models", arXiv:2002.12062.

What it claims
    What a trained-on answer looks like depends on the record. Shadow models with and without it show both typical
    answers, and the target's is compared with the two.

What the attacker needs
    Access `scores`: the whole released confidence vector, one query per record. The label is not used. Shadow models
    by the target's recipe, each record IN some and OUT of others: the same as for online LiRA.

Algorithm
    1. For record i, m_in and m_out are the mean confidence vectors of the shadows trained with it and without it.
    2. With p the target's vector, the score is KL(m_out || p) - KL(m_in || p).

What we changed
    The difference instead of the paper's yes or no, which is its sign.
    Every probability is raised to `FLOOR`, the smallest normal float32, and vectors are scaled to sum to 1. In the
    authors' code a zero in p makes both distances infinite, and the record is called a non-member.

Published number and ours
    None verified.
"""

from __future__ import annotations

import numpy as np

from reference_attacks.membership._inputs import FLOOR, BoolArray, FloatArray, SignalArray, mean_over_models
from reference_attacks.membership._vectors import ShadowVectors

__all__ = ["score"]


def score(*, target_vectors: SignalArray, shadow_vectors: SignalArray, shadow_membership: BoolArray) -> FloatArray:
    """Score every record by how much nearer its vector is to the IN mean than to the OUT mean.

    Args:
        target_vectors: Confidence vectors of the target [record, class].
        shadow_vectors: Confidence vectors of the shadows [model, record, class].
        shadow_membership: Whether the shadow was trained on the record [model, record].

    Returns:
        Scores [record] in nats, larger = more likely a member.

    Raises:
        ValueError: If a record lacks IN or OUT models, the arrays do not fit each other or a value is no probability.
    """
    vectors = ShadowVectors.check(
        target_vectors=target_vectors, shadow_vectors=shadow_vectors, shadow_membership=shadow_membership
    )
    vectors.require(in_models=1, out_models=1)
    target = _distribution(vectors.target)
    mean_in = _distribution(mean_over_models(vectors.shadows, vectors.trained_on))
    mean_out = _distribution(mean_over_models(vectors.shadows, ~vectors.trained_on))
    return _divergence(mean_out, target) - _divergence(mean_in, target)


def _distribution(vectors: FloatArray) -> FloatArray:
    """The vectors [record, class] without zeros, summing to 1."""
    floored = np.maximum(vectors, FLOOR)
    return np.asarray(floored / floored.sum(axis=1, keepdims=True), dtype=np.float64)


def _divergence(of: FloatArray, from_: FloatArray) -> FloatArray:
    """Kullback-Leibler divergence KL(of || from_) [record]."""
    return np.asarray((of * (np.log(of) - np.log(from_))).sum(axis=1), dtype=np.float64)
