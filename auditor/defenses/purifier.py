"""Purifier, 2020 preprint, basic form: release G(F(x)) in place of F(x) (Yang et al., arXiv:2005.03915).

What it claims
    A small network that rewrites confidence vectors like those of non-members hides who was a member; labels are
    hardly changed. The abstract reports up to 15 % lower membership-inference accuracy, up to 4 times the inversion
    error and less than 0.4 % accuracy loss.

What it needs
    Held-out records that the model never saw; labels are not used, the model is not changed.

Algorithm
    Fit G on the model's probability vectors p of the reference records, with
    L(G) = |softmax(G(p)) - p|^2 + weight * cross-entropy(G(p), argmax p), and release softmax(G(p)).

What is not the paper's
    The loss and the 10-7-4-7-10 network with batch normalisation are as a third party transcribed them. That both terms
    act on probabilities, the layer widths for other class counts (.7, .4 and .7 of the classes), optimiser, learning
    rate, batches and epochs are ours: the originals were not available. Fidelity: third-party-derived.

What it does not stop
    Labels stay, so label-only attacks are untouched; whoever holds the weights leaves G away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from auditor.defense import Defense, Holding
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.signals import class_probabilities
from auditor.target import Target
from auditor.threat import Access
from auditor.wrappers import PurifierNet

__all__ = ["PAPER", "ROW", "Purifier", "drawing_from", "reconstruction", "untrained", "wrap"]

Net = TypeVar("Net", bound=PurifierNet)


@dataclass(frozen=True)
class Purifier:
    """How G is fitted. `label_weight` is lambda of the loss; the rest is ours."""

    label_weight: float = 0.2
    epochs: int = 100
    batch_size: int = 64
    lr: float = 0.01


def wrap(target: Target, holding: Holding, seed: int, settings: Purifier = Purifier()) -> PurifierNet:
    """Fit a purifier on what `target` says about the reference records.

    Args:
        target: The model to defend; it is not changed.
        holding: Its reference records are used.
        seed: Decides initial weights and batch order.
        settings: How it is fitted.
    """
    probabilities = torch.from_numpy(class_probabilities(target, holding.reference.inputs)).to(target.device)
    records, classes = probabilities.shape
    with drawing_from(seed, target.device):
        net = untrained(PurifierNet, classes).to(target.device).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=settings.lr)
        steps = settings.epochs * max(1, records // settings.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            batch = probabilities[torch.randint(records, (min(settings.batch_size, records),), device=target.device)]
            raw = net.raw(batch)
            label_loss = functional.cross_entropy(raw, batch.argmax(1))
            loss = reconstruction(raw, batch) + settings.label_weight * label_loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)  # noqa: FBT003 - torch's own signature


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch draw from a seed on the CPU and on `device`, and leave its generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def untrained(kind: type[Net], classes: int) -> Net:
    """A fresh purifier for so many classes: hidden layers of .7, .4 and .7 times as many, as 10-7-4-7-10 has them."""
    return kind(classes, tuple(max(2, round(share * classes)) for share in (0.7, 0.4, 0.7)))


def reconstruction(raw: Tensor, probabilities: Tensor) -> Tensor:
    """Mean squared distance of released vectors softmax(raw) from the model's own, both [record, class]."""
    return (raw.softmax(1) - probabilities).square().sum(1).mean()


PAPER = Paper(
    citation="Yang, Shao, Xuan, Chang, Zhang: Defending Model Inversion and Membership Inference Attacks via "
    "Prediction Purification, 2020",
    url="https://arxiv.org/abs/2005.03915",
)

ROW = Defense(
    DefenseCard(
        id="purifier",
        title="Purifier (2020, basic)",
        paper=PAPER,
        fidelity=Fidelity.THIRD_PARTY,
        acts_on="output",
        counts_for=(Access.SCORES,),
        changed="Loss and network as transcribed by a third party; input domain, optimiser and epochs are ours.",
        claims="Purifier (2020) reports up to 15 % lower membership-inference accuracy, up to 4x inversion error, "
        "< 0.4 % accuracy loss and < 5.5 % score distortion (abstract).",
        settings=asdict(Purifier()),
    ),
    wrap=wrap,
    budget="quick",
)
