"""Purifier, 2020 preprint, specialised against one attack by adversarial learning (Yang et al., arXiv:2005.03915).

What it claims
    Purifier can be specialised against membership inference or against model inversion; the abstract states that
    specialising against one also defends against the other. It gives no number for these variants.

What it needs
    Held-out records that the model never saw. Against membership inference also the members, and labels of both;
    against inversion the held-out records must be images.

Algorithm
    As the basic form, and an adversary learns beside the purifier G, one step each in turn:
    - against membership: I learns to tell members from reference records by log G(p) and the true label; G minimises
      |softmax(G(p)) - p|^2 + weight * cross-entropy(G(p), argmax p) - adversary weight * loss of I.
    - against inversion: H learns to rebuild the image x from log G(p) with squared error; G minimises the same with
      the squared error of H in place of the loss of I.
    The first term is of reference records only, as in the basic form; the second is of all, so that labels stay.

What is not the paper's
    All but the idea: losses, adversaries, their inputs, weights and schedule are a reconstruction, the originals were
    not available. H rebuilds images of at most 32 pixels a side. The adversaries' weights are the largest of three
    tried on small digits; about 3 of 100 labels changed there. Fidelity: reconstruction.

What it does not stop
    What the basic form does not: label-only attacks, and whoever holds the weights. It defends against the adversary
    that it met; how far that carries over to another attack is for the measurement to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.defense import Defense, Holding, UnfitDefenseError
from auditor.defenses import purifier
from auditor.findings import DefenseCard, Fidelity
from auditor.records import Inputs, Records
from auditor.signals import class_probabilities
from auditor.target import Target
from auditor.threat import Access
from auditor.wrappers import InversionPurifierNet, MembershipPurifierNet
from auditor.wrappers.conditional_purifier import perceptron

__all__ = ["ROWS", "Specialised", "wrap_against_inversion", "wrap_against_membership"]

_LARGEST_SIDE = 32
_POOLED_AT_ONCE = 256


@dataclass(frozen=True)
class Specialised:
    """How purifier and adversary are fitted.

    Attributes:
        adversary_weight: What the adversary's loss counts for the purifier.
        label_weight: Lambda of the basic loss.
        epochs: Passes over the reference records.
        batch_size: Reference records per step; against membership as many members join them.
        lr: The purifier's, falling to 0 along a cosine.
        adversary_lr: The adversary's.
    """

    adversary_weight: float
    label_weight: float = 0.2
    epochs: int = 100
    batch_size: int = 64
    lr: float = 0.01
    adversary_lr: float = 1e-3


_AGAINST_MEMBERSHIP = Specialised(adversary_weight=3.0)
_AGAINST_INVERSION = Specialised(adversary_weight=20.0)


@dataclass(frozen=True)
class _Batch:
    """What one step sees.

    Attributes:
        probabilities: The model's own vectors, float32 [record, class], reference records first.
        reference: How many of them are reference records.
        told: What the adversary is told besides, float32 [record, ...]; may be empty.
        wanted: What the adversary should say, float32 [record, ...].
    """

    probabilities: Tensor
    reference: int
    told: Tensor
    wanted: Tensor


@dataclass(frozen=True)
class _Adversary:
    """A net that reads log vectors and what it is told, and the loss that it minimises."""

    net: nn.Module
    error: Callable[[Tensor, Tensor], Tensor]

    def loss(self, raw: Tensor, batch: _Batch) -> Tensor:
        answer = self.net(torch.cat([raw.log_softmax(1), batch.told], dim=1))
        return self.error(answer, batch.wanted)


def wrap_against_membership(
    target: Target, holding: Holding, seed: int, settings: Specialised = _AGAINST_MEMBERSHIP
) -> MembershipPurifierNet:
    """Fit a purifier against a net that tells members from reference records.

    Args:
        target: The model to defend; it is not changed.
        holding: Its members and reference records are used.
        seed: Decides initial weights and batch order.
        settings: How it is fitted.

    Raises:
        UnfitDefenseError: there are no members.
    """
    if holding.members.n == 0:
        raise UnfitDefenseError("needs the members, and there are none")
    classes = target.facts.num_classes
    (inside, own), (outside, others) = (_answered(target, one) for one in (holding.members, holding.reference))
    at_once = min(settings.batch_size, len(outside))
    wanted = torch.cat([torch.zeros(at_once, 1), torch.ones(at_once, 1)]).to(target.device)

    def draw() -> _Batch:
        first, second = (_chosen(len(side), at_once, target.device) for side in (outside, inside))
        labels = torch.cat([others[first], own[second]])
        return _Batch(
            torch.cat([outside[first], inside[second]]), at_once, functional.one_hot(labels, classes).float(), wanted
        )

    with purifier.drawing_from(seed, target.device):
        net = purifier.untrained(MembershipPurifierNet, classes).to(target.device)
        guess = perceptron((2 * classes, 64, 32, 1)).to(target.device)
        adversary = _Adversary(guess, functional.binary_cross_entropy_with_logits)
        _alternate(net, adversary, draw, len(outside), settings)
    return net.eval().requires_grad_(requires_grad=False)


def wrap_against_inversion(
    target: Target, holding: Holding, seed: int, settings: Specialised = _AGAINST_INVERSION
) -> InversionPurifierNet:
    """Fit a purifier against a net that rebuilds images from released vectors.

    Args:
        target: The model to defend; it is not changed.
        holding: Its reference records are used, which must be images.
        seed: Decides initial weights and batch order.
        settings: How it is fitted.

    Raises:
        UnfitDefenseError: the records are features.
    """
    if holding.reference.inputs.ndim != 4:
        raise UnfitDefenseError("is fitted against a net that rebuilds images, and the records are features")
    classes, outside = target.facts.num_classes, _answered(target, holding.reference)[0]
    images = _small_images(holding.reference.inputs).to(target.device)

    def draw() -> _Batch:
        chosen = _chosen(len(outside), min(settings.batch_size, len(outside)), target.device)
        probabilities = outside[chosen]
        return _Batch(probabilities, len(chosen), probabilities[:, :0], images[chosen])

    def error(answer: Tensor, wanted: Tensor) -> Tensor:
        return functional.mse_loss(answer.sigmoid(), wanted)

    with purifier.drawing_from(seed, target.device):
        net = purifier.untrained(InversionPurifierNet, classes).to(target.device)
        rebuild = perceptron((classes, 128, 256, images.shape[1])).to(target.device)
        _alternate(net, _Adversary(rebuild, error), draw, len(outside), settings)
    return net.eval().requires_grad_(requires_grad=False)


def _alternate(
    net: MembershipPurifierNet | InversionPurifierNet,
    adversary: _Adversary,
    draw: Callable[[], _Batch],
    records: int,
    settings: Specialised,
) -> None:
    """Fit both, one step of the adversary and one of the purifier on every batch."""
    net.train()
    ours = torch.optim.Adam(net.parameters(), lr=settings.lr)
    theirs = torch.optim.Adam(adversary.net.parameters(), lr=settings.adversary_lr)
    steps = settings.epochs * max(1, records // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(ours, steps)
    for _ in range(steps):
        batch = draw()
        raw = net.raw(batch.probabilities)
        _step(theirs, adversary.loss(raw.detach(), batch))
        faithful = purifier.reconstruction(raw[: batch.reference], batch.probabilities[: batch.reference])
        label_loss = functional.cross_entropy(raw, batch.probabilities.argmax(1))
        fooled = settings.adversary_weight * adversary.loss(raw, batch)
        _step(ours, faithful + settings.label_weight * label_loss - fooled)
        schedule.step()


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _answered(target: Target, records: Records) -> tuple[Tensor, Tensor]:
    """The model's probability vectors float32 [record, class] and the true labels int64 [record]."""
    probabilities = torch.from_numpy(class_probabilities(target, records.inputs))
    return probabilities.to(target.device), torch.from_numpy(np.array(records.labels)).to(target.device)


def _chosen(records: int, count: int, device: torch.device) -> Tensor:
    return torch.randint(records, (count,), device=device)


def _small_images(inputs: Inputs) -> Tensor:
    """Images in 0..1 with averaged pixels, at most 32 a side, float32 [record, channel x height x width]."""
    height, width = (min(side, _LARGEST_SIDE) for side in inputs.shape[1:3])
    parts = []
    for start in range(0, len(inputs), _POOLED_AT_ONCE):
        images = torch.from_numpy(np.array(inputs[start : start + _POOLED_AT_ONCE])).permute(0, 3, 1, 2)
        parts.append(functional.adaptive_avg_pool2d(images.float() / 255, (height, width)).flatten(1))
    return torch.cat(parts)


_MEMBERSHIP_CARD = DefenseCard(
    id="purifier-membership",
    title="Purifier (2020, specialised against membership inference)",
    paper=purifier.PAPER,
    fidelity=Fidelity.RECONSTRUCTION,
    acts_on="output",
    counts_for=(Access.SCORES,),
    changed="A reconstruction: the membership net, its input (log vector and true label), the loss against it, all "
    "weights and the schedule are ours.",
    settings=asdict(_AGAINST_MEMBERSHIP),
)
_INVERSION_CARD = DefenseCard(
    id="purifier-inversion",
    title="Purifier (2020, specialised against model inversion)",
    paper=purifier.PAPER,
    fidelity=Fidelity.RECONSTRUCTION,
    acts_on="output",
    counts_for=(Access.SCORES,),
    changed="A reconstruction: the inversion net (fully connected, images of at most 32 pixels a side), the loss "
    "against it, all weights and the schedule are ours.",
    settings=asdict(_AGAINST_INVERSION),
)

ROWS = (
    Defense(_MEMBERSHIP_CARD, wrap=wrap_against_membership, uses_members=True, budget="thorough"),
    Defense(_INVERSION_CARD, wrap=wrap_against_inversion, budget="thorough"),
)
