"""Distillation: a student learns a model's answers, and is looked at after every epoch.

Not an attack. TrajectoryMIA (Liu et al. 2022, arXiv:2208.14933) and SeqMIA (Li et al. 2024, arXiv:2407.15098) take the
student's snapshots; Attack-D (Ye et al. 2022, arXiv:2111.09679) takes several students' last ones.

What it claims
    A student that only ever sees the model's answers on other records still behaves towards the model's training
    records somewhat as the model does, and passes on the way there.

What the attacker needs
    Access `scores`: the model's probabilities on records of the attacker's own, no labels. Records that the model was
    not trained on and that are not evaluated. A fresh network, best of the model's architecture.

Algorithm
    1. Ask the teacher once for every record; softmax gives the soft labels q.
    2. Each epoch, in a fresh random order, SGD on KL(q || softmax of the student's logits), learning rate on a cosine.
    3. After each epoch the student is handed out in eval mode.

What we changed
    TrajectoryMIA's code asks the teacher anew for augmented records in every batch; we ask once, without augmentation.
    SGD at 0.1 with momentum .9, weight decay 1e-4 and a cosine over 100 epochs are theirs for a ResNet-56, and so are
    batches of 512, no temperature and the learning rate of epoch t, .05 (1 + cos(pi t / epochs)).

Published number and ours
    None: distillation is not measured, the attacks that use it are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Distillation", "snapshots"]


@dataclass(frozen=True, slots=True)
class Distillation:
    """How the student is trained.

    Attributes:
        epochs: Passes over the records; as many snapshots.
        learning_rate: Of SGD, at the start.
        momentum: Of SGD.
        weight_decay: L2 penalty, as torch counts it.
        batch_size: Records per step.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int = 100
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 512

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs}, {self.batch_size}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum must lie in 0..1, got {self.momentum}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


def snapshots(
    *,
    teacher: Callable[[Tensor], Tensor],
    student: nn.Module,
    inputs: Tensor,
    generator: torch.Generator,
    settings: Distillation = Distillation(),
) -> Iterator[nn.Module]:
    """Train a student on the teacher's answers and hand it out after every epoch.

    It is the same module each time: ask it what you want to know before you go on to the next epoch.

    Args:
        teacher: Maps inputs to logits [record, class]; the logarithm of released probabilities will do. Asked once for
            every record, before this function returns.
        student: A fresh network of the same inputs and classes, on the device of the inputs. It is trained in place.
        inputs: What to distil on, as the networks take it [record, ...].
        generator: Draws the batches and the student's dropout; on the CPU.
        settings: How the student is trained.

    Returns:
        The student in eval mode, `settings.epochs` times.

    Raises:
        ValueError: If there is no input, or the teacher's logits are not finite or not [record, class].
        FloatingPointError: While going through the snapshots, if the student diverges.
    """
    if not len(inputs):
        raise ValueError("inputs must hold at least one record")
    with torch.no_grad():
        logits = torch.cat([teacher(batch) for batch in inputs.split(settings.batch_size)])
    if logits.ndim != 2 or len(logits) != len(inputs):
        raise ValueError(f"the teacher must answer [record, class] for {len(inputs)} inputs, got {tuple(logits.shape)}")
    if not torch.isfinite(logits).all():
        raise ValueError("the teacher's logits hold values that are not finite")
    return _epochs(student, inputs, F.softmax(logits, dim=1), generator, settings)


def _epochs(
    student: nn.Module, inputs: Tensor, soft_labels: Tensor, generator: torch.Generator, settings: Distillation
) -> Iterator[nn.Module]:
    optimizer = torch.optim.SGD(
        student.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    for epoch in range(settings.epochs):
        batches = _batches(len(inputs), settings.batch_size, generator)
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng([inputs.device] if inputs.is_cuda else []):
            torch.manual_seed(seed)  # the student's dropout asks torch's global generator
            _epoch(student, inputs, soft_labels, batches, optimizer)
        schedule.step()
        if not all(torch.isfinite(weights).all() for weights in student.parameters()):
            raise FloatingPointError(f"the student diverged in epoch {epoch}: lower learning_rate")
        student.eval()
        yield student


def _epoch(
    student: nn.Module, inputs: Tensor, soft_labels: Tensor, batches: list[Tensor], optimizer: torch.optim.Optimizer
) -> None:
    student.train()
    for batch in batches:
        rows = batch.to(inputs.device)
        loss = F.kl_div(F.log_softmax(student(inputs[rows]), dim=1), soft_labels[rows], reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _batches(n_records: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Shuffled batches; a last one of a single record is left out, for batch norm cannot train on it."""
    batches = list(torch.randperm(n_records, generator=generator).split(batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches
