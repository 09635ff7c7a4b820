"""Difficulty calibration: take off what a record shows to models that were trained without it.

Watson, Guo, Cormode and Sablayrolles (2022), "On the Importance of Difficulty Calibration in Membership Inference
Attacks", arXiv:2111.08440.

What it claims
    Scores such as the loss flag easy records, members or not, hence their false alarms. The mean score of a record
    under reference models without it is its difficulty; the difference is what the target knows beyond that.

What the attacker needs
    Access `scores`: one query per record. One reference model by the target's recipe is enough, OUT of each record.
    With `signals.logit_margin` as the signal access `weights`.

Algorithm
    1. Take a signal of the target that is large for members: minus the loss in the paper.
    2. Take the same signal of the reference models that were not trained on x, and average it.
    3. The score is the first less the second, averaged over queries.
    A record that every model knows by heart gets about 0 even as a member; RAPID keeps the plain loss for that reason.

What we changed
    The reference models may have been trained on other audited records: for each record those that were trained on it
    are left out. Averaging over queries is ours. Offline LiRA is this, divided by a sigma.

Published number and ours
    CIFAR-10, ResNet-56, one run: AUC .603, TPR 0.5 % at 0.1 % FPR (RPI-DSPlab/mia-disparity, CCS 2025, other authors).
    Ours: not measured on that setting. Such figures belong to a training recipe: compare within one audit only.
"""

from __future__ import annotations

import numpy as np

from reference_attacks.membership._inputs import BoolArray, FloatArray, Observations, SignalArray, mean_over_models

__all__ = ["score"]


def score(*, target_signal: SignalArray, shadow_signal: SignalArray, shadow_membership: BoolArray) -> FloatArray:
    """Score every record by the target's signal less the mean signal of the models without it.

    Args:
        target_signal: Signals of the target, larger = more likely a member, e.g. minus the loss [record, query].
        shadow_signal: The same by the shadows [model, record, query]; those of IN models are not looked at.
        shadow_membership: Whether the shadow was trained on the record [model, record].

    Returns:
        Scores [record] in units of the signal, larger = more likely a member.

    Raises:
        ValueError: If a record lacks OUT models or the arrays do not fit each other.
    """
    seen = Observations.check(
        target_signal=target_signal, shadow_signal=shadow_signal, shadow_membership=shadow_membership
    )
    seen.require(in_models=0, out_models=1)
    return np.asarray((seen.target - mean_over_models(seen.shadows, ~seen.trained_on)).mean(axis=1), dtype=np.float64)
