"""TrajectoryMIA: follow the loss of a record while a student learns the target.

Liu, Zhao, Backes and Zhang (2022), "Membership Inference Attacks by Exploiting Loss Trajectory", arXiv:2208.14933.

What it claims
    Two records with the same final loss can have come to it in different ways, and members come down differently. The
    target's training is not seen, but its distillation by the attacker stands in for it.

What the attacker needs
    Access `scores`: the target's probabilities on unlabelled records of the attacker's own, to distil it, and the loss
    of each audited record with its true label. One shadow model by the target's recipe, with records IN and OUT,
    distilled in the same way on the same records (`distillation`).

Algorithm
    1. Distil the target into a fresh student, keeping the student after every epoch; distil the shadow likewise.
    2. The features of a record are its losses under the student's snapshots, in order, then under the model itself.
    3. A network (512-128-32) learns IN against OUT from the shadow's features.
    4. The score of a record is the log-odds that the network gives to the target's features.

What we changed
    The authors' code reports the epoch with the best AUC on the target; we keep the last epoch, all of them being made.
    Its network ends in two softmax outputs and a cross-entropy that applies another softmax; ours has one output and a
    plain cross-entropy. Layers, SGD at 0.01 with momentum .9, weight decay 1e-4, 100 epochs and batches of 128 are
    theirs. Losses are standardised, each snapshot by the shadow's records.
    The shadow is trained on half of the audited records, so its records may be the target's. Several shadows may be
    given one below the other: each (shadow, record) is a row to learn from.
    The number of snapshots is that of the arrays; the authors take 100, which is most of the cost.

Published number and ours
    One run in the comparison of RPI-DSPlab/mia-disparity (CCS 2025), ResNet-56, AUC and TPR at 0.1 % FPR: CIFAR-10 .635
    and .2 %, CIFAR-100 .852 and 4.2 %, CINIC-10 .673 and .8 %. Ours: not measured on that setting. Such figures belong
    to a training recipe: compare within one audit only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_attacks.membership._inputs import BoolArray, FloatArray, SignalArray, as_signal
from reference_attacks.membership._learners import Network
from reference_attacks.membership._vectors import as_membership

__all__ = ["Network", "Trajectory", "score"]

_NETWORK = Network(
    hidden=(512, 128, 32), optimizer="sgd", learning_rate=0.01, weight_decay=1e-4, epochs=100, batch_size=128
)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The attack network.

    Attributes:
        network: Its shape and training.
    """

    network: Network = _NETWORK


def score(
    *,
    target_trajectory: SignalArray,
    shadow_trajectory: SignalArray,
    shadow_membership: BoolArray,
    rng: np.random.Generator,
    settings: Trajectory = Trajectory(),
) -> FloatArray:
    """Score every record by what a network of the shadow's loss trajectories makes of the target's.

    Args:
        target_trajectory: Losses under the snapshots of the target's student, in order, and last under the target
            itself [record, snapshot].
        shadow_trajectory: The same for the shadow, over its own records [record, snapshot].
        shadow_membership: Whether the shadow was trained on its record [record].
        rng: Draws the network's first weights and batches.
        settings: The attack network.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If the numbers of snapshots differ, a loss is not finite or the shadow's records are all IN or all
            OUT.
    """
    target = as_signal("target_trajectory", target_trajectory, ("record", "snapshot"))
    shadow = as_signal("shadow_trajectory", shadow_trajectory, ("record", "snapshot"))
    if target.shape[1] != shadow.shape[1]:
        raise ValueError(f"the target has {target.shape[1]} snapshots, the shadow has {shadow.shape[1]}")
    membership = as_membership(shadow_membership, shadow.shape[:1])
    return settings.network.fit(shadow, membership, target, int(rng.integers(2**31)))
