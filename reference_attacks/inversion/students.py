"""Students: networks that learn a model's answers on public images, so that an attack need not fool that one alone.

Not an attack. LOMMA (Nguyen et al. 2023, CVPR) searches for images that its students recognise as well; whatever is
special to the target's own weights then counts for less.

Algorithm
    1. Ask the target once for every public image; softmax at temperature T gives the soft labels q.
    2. Each epoch, in a fresh random order, SGD on KL(q || softmax of the student's logits at T), the rate constant.
    3. The student after the last epoch is taken, in eval mode and frozen.

What we changed
    The released code asks the target anew in every batch, which gives the same answers. It starts from EfficientNets
    b0, b1 and b2 trained on ImageNet; `small_networks` are plain, fresh convolutional networks for small images. Its
    training takes a rate of .01, as we do; the students that its attack loads are named after .02.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_attacks.inversion.material import Images

__all__ = ["StudentTraining", "Students", "distill_students", "small_networks"]


@dataclass(frozen=True, slots=True)
class StudentTraining:
    """How students are trained; the defaults are those of LOMMA's released code.

    Attributes:
        epochs: Passes over the public images.
        learning_rate: Of SGD.
        momentum: Of SGD.
        weight_decay: L2 penalty, as torch counts it.
        temperature: Divides the logits of both, teacher and student.
        batch_size: Images per step.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int = 20
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    temperature: float = 1.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs}, {self.batch_size}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum must lie in 0..1, got {self.momentum}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


@dataclass(frozen=True, slots=True, eq=False)
class Students:
    """Trained students, and what they took.

    Attributes:
        networks: In eval mode, frozen; images in 0..1 to logits [image, class].
        queries: Images shown to the target.
    """

    networks: tuple[nn.Module, ...]
    queries: int


def small_networks(
    count: int, *, image_shape: tuple[int, int, int], n_classes: int, rng: torch.Generator
) -> tuple[nn.Module, ...]:
    """Fresh convolutional networks for images up to about 64 x 64, each wider than the one before.

    Args:
        count: How many.
        image_shape: Channel, height, width.
        n_classes: Logits that they give.
        rng: Draws their weights.
    """
    seed = int(torch.randint(2**62, (), generator=rng))
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)  # layers draw their first weights from torch's global generator
        return tuple(_small_network(image_shape[0], 16 + 8 * place, n_classes) for place in range(count))


def distill_students(
    *,
    logits: Images,
    public_images: Tensor,
    networks: Sequence[nn.Module],
    rng: torch.Generator,
    settings: StudentTraining = StudentTraining(),
) -> Students:
    """Train copies of networks on the target's answers to public images.

    Args:
        logits: Images to logits [image, class]; the logarithm of released probabilities will do. Asked once for every
            image, and not at all without networks.
        public_images: In 0..1 [image, channel, height, width].
        networks: Fresh ones, of the target's classes, each on the device where it is to be trained. Not changed.
        rng: Draws the batches and the students' dropout; on the CPU.
        settings: How students are trained.

    Returns:
        A student for each network, in the same order.

    Raises:
        ValueError: If there is no public image.
        FloatingPointError: If a student diverges.
    """
    if not len(public_images):
        raise ValueError("public_images must hold at least one image")
    if not networks:
        return Students((), 0)
    with torch.no_grad():
        answers = torch.cat([logits(batch).detach() for batch in public_images.split(settings.batch_size)])
    soft_labels = F.softmax(answers / settings.temperature, dim=1)
    students = tuple(_student(network, public_images, soft_labels, rng, settings) for network in networks)
    return Students(students, len(public_images))


def _small_network(channels: int, width: int, n_classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inward, outward in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(inward, outward, 3, stride=2, padding=1), nn.BatchNorm2d(outward), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, n_classes))


def _student(
    network: nn.Module, images: Tensor, soft_labels: Tensor, rng: torch.Generator, settings: StudentTraining
) -> nn.Module:
    student = copy.deepcopy(network).requires_grad_(requires_grad=True)
    device = next(student.parameters()).device
    optimizer = torch.optim.SGD(
        student.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    student.train()
    for epoch in range(settings.epochs):
        order = torch.randperm(len(images), generator=rng)
        seed = int(torch.randint(2**62, (), generator=rng))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)  # a student's dropout asks torch's global generator
            _epoch(student, images, soft_labels, _batches(order, settings.batch_size), optimizer, settings.temperature)
        if not all(torch.isfinite(weights).all() for weights in student.parameters()):
            raise FloatingPointError(f"a student diverged in epoch {epoch}: lower learning_rate")
    return student.eval().requires_grad_(requires_grad=False)


def _epoch(
    student: nn.Module,
    images: Tensor,
    soft_labels: Tensor,
    batches: list[Tensor],
    optimizer: torch.optim.Optimizer,
    temperature: float,
) -> None:
    device = next(student.parameters()).device
    for rows in batches:
        said = F.log_softmax(student(images[rows.to(images.device)].to(device)) / temperature, dim=1)
        wanted = soft_labels[rows.to(soft_labels.device)].to(device)
        optimizer.zero_grad()
        F.kl_div(said, wanted, reduction="batchmean").backward()
        optimizer.step()


def _batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Batches in that order; a last one of a single image is left out, for batch norm cannot train on it."""
    batches = list(order.split(batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches
