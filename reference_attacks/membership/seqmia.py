"""SeqMIA: read several metrics along the distillation as one sequence.

Li, Li, Wu, Hu, Ye, Zhang, Feng and Zhang (2024), "SeqMIA: Sequential-Metric Based Membership Inference Attack",
arXiv:2407.15098.

What it claims
    Members differ from non-members in how metrics move together from epoch to epoch, not only in the values at each
    epoch. A recurrent network with attention sees that order; TrajectoryMIA's network takes the losses as a bag.

What the attacker needs
    What `trajectory` needs: access `scores` and true labels, unlabelled records to distil on, one shadow model by the
    target's recipe with records IN and OUT, and the snapshots of a student of each (`distillation`).

Algorithm
    1. Under each snapshot of the student, in order, then under the model itself, a record has five metrics: loss,
       largest probability, standard deviation of the probabilities, entropy, modified entropy (`metrics`).
    2. An LSTM reads the sequence: states h_1 .. h_T. Attention weights are the softmax over t of <h_t, h_T>, the
       context is the weighted sum of the states.
    3. A linear layer on (h_T, context) learns IN against OUT from the shadow's sequences.
    4. The score of a record is the log-odds that it gives to the target's sequence.

What we changed
    The LSTM has 4 hidden units, the default of the authors' network class; their script passes 50, `hidden=50`.
    One output instead of two, weight decay on matrices only, metrics standardised by the shadow's records over all
    snapshots. Adam at 0.01 falling by a tenth every 10 epochs, weight decay 1e-4, 150 epochs and batches of 100 are
    theirs. Training is in float32 as there, the scores are computed in float64.
    The shadow is trained on half of the audited records, so its records may be the target's. Several shadows may be
    given one below the other: each (shadow, record) is a row to learn from.
    The number of snapshots is that of the arrays; the authors take 50.

Published number and ours
    None verified. The abstract speaks of about ten times the TPR at 0.1 % FPR of earlier attacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_attacks.membership import signals
from reference_attacks.membership._inputs import (
    BoolArray,
    FloatArray,
    LabelArray,
    SignalArray,
    as_probability,
    as_signal,
)
from reference_attacks.membership._learners import own_order
from reference_attacks.membership._vectors import as_membership

__all__ = ["METRICS", "SeqMIA", "metrics", "score"]

METRICS = ("loss", "largest probability", "standard deviation", "entropy", "modified entropy")

_ENTROPY_FLOOR = 1e-30
_AXES = ("record", "snapshot", "metric")


@dataclass(frozen=True, slots=True)
class SeqMIA:
    """The attack network and its training.

    Attributes:
        hidden: Width of the LSTM.
        learning_rate: Of Adam, at the start.
        decay: Factor on the learning rate every `decay_every` epochs.
        decay_every: Epochs between two decays.
        weight_decay: L2 penalty on matrices, as torch counts it.
        epochs: Passes over the shadow's records, all of them made.
        batch_size: Records per step.

    Raises:
        ValueError: If a value is out of range.
    """

    hidden: int = 4
    learning_rate: float = 0.01
    decay: float = 0.9
    decay_every: int = 10
    weight_decay: float = 1e-4
    epochs: int = 150
    batch_size: int = 100

    def __post_init__(self) -> None:
        if min(self.hidden, self.decay_every, self.epochs, self.batch_size) < 1:
            raise ValueError(
                "hidden, decay_every, epochs and batch_size must be at least 1, "
                f"got {self.hidden}, {self.decay_every}, {self.epochs}, {self.batch_size}"
            )
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 < self.decay <= 1.0:
            raise ValueError(f"decay must lie in 0..1, got {self.decay}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


def metrics(probabilities: SignalArray, labels: LabelArray) -> FloatArray:
    """The five metrics of one snapshot, in the order of `METRICS`.

    Args:
        probabilities: Probabilities of the snapshot [record, class].
        labels: True labels [record].

    Returns:
        The metrics [record, metric], in nats where they are logarithms.

    Raises:
        ValueError: If the arrays do not fit each other or a value is not a probability.
    """
    values = as_probability("probabilities", probabilities, ("record", "class"))
    entropy = -(values * np.log(np.maximum(values, _ENTROPY_FLOOR))).sum(axis=1)
    columns = (
        signals.cross_entropy(values, labels),
        values.max(axis=1),
        values.std(axis=1),
        entropy,
        signals.modified_entropy(values, labels),
    )
    return np.stack(columns, axis=1)


def score(
    *,
    target_sequences: SignalArray,
    shadow_sequences: SignalArray,
    shadow_membership: BoolArray,
    generator: torch.Generator,
    settings: SeqMIA = SeqMIA(),
) -> FloatArray:
    """Score every record by what an attention LSTM of the shadow's metric sequences makes of the target's.

    Args:
        target_sequences: Metrics under the snapshots of the target's student, in order, and last under the target
            itself [record, snapshot, metric].
        shadow_sequences: The same for the shadow, over its own records [record, snapshot, metric].
        shadow_membership: Whether the shadow was trained on its record [record].
        generator: Draws the network's first weights and batches; on the CPU.
        settings: The attack network and its training.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If the snapshots or metrics differ in number, a value is not finite or the shadow's records are all
            IN or all OUT.
    """
    target = as_signal("target_sequences", target_sequences, _AXES)
    shadow = as_signal("shadow_sequences", shadow_sequences, _AXES)
    if target.shape[1:] != shadow.shape[1:]:
        raise ValueError(f"the target's [snapshot, metric] is {target.shape[1:]}, the shadow's {shadow.shape[1:]}")
    membership = as_membership(shadow_membership, shadow.shape[:1])
    order = own_order(shadow.reshape(len(shadow), -1), membership)
    shadow, membership = shadow[order], membership[order]
    centre, spread = shadow.mean(axis=(0, 1)), shadow.std(axis=(0, 1))
    spread = np.where(spread > 0.0, spread, 1.0)
    sequences, statuses = _float32((shadow - centre) / spread), _float32(membership)
    net = _trained(sequences, statuses, generator, settings).double()
    with torch.no_grad():
        log_odds = net(torch.from_numpy((target - centre) / spread))
    return np.asarray(log_odds.numpy(), dtype=np.float64)


class _AttentionLSTM(nn.Module):
    """Sequences [record, snapshot, metric] -> log-odds [record]."""

    def __init__(self, n_metrics: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_metrics, hidden, batch_first=True)
        self.head = nn.Linear(2 * hidden, 1)

    def forward(self, sequences: Tensor) -> Tensor:
        states, (last, _) = self.lstm(sequences)
        final = last[0]
        attention = F.softmax(torch.einsum("rsh,rh->rs", states, final), dim=1)
        context = torch.einsum("rs,rsh->rh", attention, states)
        log_odds: Tensor = self.head(torch.cat([final, context], dim=1))
        return log_odds[:, 0]


def _trained(sequences: Tensor, membership: Tensor, generator: torch.Generator, settings: SeqMIA) -> _AttentionLSTM:
    net = _fresh(sequences.shape[2], settings.hidden, generator)
    matrices = [weights for weights in net.parameters() if weights.ndim > 1]
    biases = [weights for weights in net.parameters() if weights.ndim == 1]
    optimizer = torch.optim.Adam(matrices, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    optimizer.add_param_group({"params": biases, "weight_decay": 0.0})
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, settings.decay_every, settings.decay)
    for _ in range(settings.epochs):
        for batch in torch.randperm(len(sequences), generator=generator).split(settings.batch_size):
            loss = F.binary_cross_entropy_with_logits(net(sequences[batch]), membership[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return net


def _fresh(n_metrics: int, hidden: int, generator: torch.Generator) -> _AttentionLSTM:
    """A network with torch's usual first weights, drawn from the generator and not from torch's global one."""
    with torch.device("meta"):
        net = _AttentionLSTM(n_metrics, hidden)
    net.to_empty(device="cpu")
    with torch.no_grad():
        for layer, fan_in in ((net.lstm, hidden), (net.head, 2 * hidden)):
            bound = 1.0 / math.sqrt(fan_in)
            for weights in layer.parameters():
                weights.uniform_(-bound, bound, generator=generator)
    return net


def _float32(values: FloatArray | BoolArray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
