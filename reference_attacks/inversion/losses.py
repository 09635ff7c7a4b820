"""What inversion attacks descend on a target's logits, and the random views of an image that they show it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "ClassLoss",
    "LossName",
    "Views",
    "class_loss",
    "cross_entropy",
    "max_margin",
    "minus_logit",
    "poincare",
    "random_view",
    "view",
    "view_chances",
]

ClassLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits [image, class] and the wanted classes, int64 [image], to a loss [image]; smaller is surer of the class."""

LossName = Literal["cross-entropy", "max-margin", "logit", "poincare"]

_TINY = 1e-12


def class_loss(name: LossName) -> ClassLoss:
    """The loss of that name.

    Raises:
        ValueError: If there is none.
    """
    match name:
        case "cross-entropy":
            return cross_entropy
        case "max-margin":
            return max_margin
        case "logit":
            return minus_logit
        case "poincare":
            return poincare
        case _:
            raise ValueError(f"loss must be 'cross-entropy', 'max-margin', 'logit' or 'poincare', got {name!r}")


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """-log p_t [image]: its gradient vanishes once the target is sure.

    Args:
        logits: [image, class].
        classes: The wanted class t of each image, int64 [image].
    """
    return F.cross_entropy(logits, classes, reduction="none")


def max_margin(logits: Tensor, classes: Tensor) -> Tensor:
    """The largest other logit minus that of the class [image]; it keeps falling when the target is sure.

    Yuan et al. (2023), "Pseudo Label-Guided Model Inversion Attack via Conditional Generative Adversarial Network".

    Args:
        logits: [image, class].
        classes: The wanted class of each image, int64 [image].

    Raises:
        ValueError: If there is no other class.
    """
    if logits.shape[1] < 2:
        raise ValueError(f"a margin needs at least two classes, got logits of {logits.shape[1]}")
    wanted = classes[:, None]
    others = logits.scatter(1, wanted, -math.inf)
    return others.amax(dim=1) - logits.gather(1, wanted).squeeze(1)


def minus_logit(logits: Tensor, classes: Tensor) -> Tensor:
    """The class's own logit, negative [image], whatever the others are.

    Nguyen et al. (2023), "Re-thinking Model Inversion Attacks Against Deep Neural Networks".

    Args:
        logits: [image, class].
        classes: The wanted class of each image, int64 [image].
    """
    return -logits.gather(1, classes[:, None]).squeeze(1)


def poincare(logits: Tensor, classes: Tensor, *, inside: float = 1e-4) -> Tensor:
    """Hyperbolic distance in the unit ball between L1-normed logits and the corner of the class [image].

    Struppek et al. (2022), "Plug & Play Attacks: Towards Robust and Flexible Model Inversion Attacks".

    Args:
        logits: [image, class].
        classes: The wanted class of each image, int64 [image].
        inside: How far inside the ball the corner is taken; at the rim all distances are infinite.
    """
    points = logits / logits.abs().sum(dim=1, keepdim=True).clamp_min(_TINY)
    corners = F.one_hot(classes, logits.shape[1]).to(logits) * (1.0 - inside)
    apart = (points - corners).square().sum(dim=1)
    rims = (1.0 - points.square().sum(dim=1)) * (1.0 - corners.square().sum(dim=1))
    return torch.arccosh(1.0 + 2.0 * apart / rims.clamp_min(_TINY))


@dataclass(frozen=True, slots=True)
class Views:
    """How much random views of an image differ from it; the defaults are those of the released code of PLG-MI.

    Attributes:
        smallest_area: A view is a random square-on crop of at least this share of the image, scaled back to its size.
        jitter: Brightness and contrast are each scaled by a factor within 1 - jitter..1 + jitter.
        flip: Half of the views are mirrored left to right. For digits, letters and the like this is wrong.
        rotation: Most degrees a view is turned, either way.

    Raises:
        ValueError: If a value is out of range.
    """

    smallest_area: float = 0.8
    jitter: float = 0.2
    flip: bool = True
    rotation: float = 5.0

    def __post_init__(self) -> None:
        if not 0.0 < self.smallest_area <= 1.0:
            raise ValueError(f"smallest_area must lie above 0 and up to 1, got {self.smallest_area}")
        if not 0.0 <= self.jitter < 1.0:
            raise ValueError(f"jitter must lie in 0..1, got {self.jitter}")
        if not 0.0 <= self.rotation <= 180.0:
            raise ValueError(f"rotation must lie in 0..180 degrees, got {self.rotation}")


def random_view(images: Tensor, views: Views, rng: torch.Generator) -> Tensor:
    """One random view of each image, differentiable in the images.

    Args:
        images: In 0..1 [image, channel, height, width].
        views: How much views differ.
        rng: On the CPU.

    Returns:
        In 0..1 [image, channel, height, width]; what a turn brings in from outside repeats the nearest edge.
    """
    return view(images, view_chances(len(images), rng), views)


def view_chances(count: int, rng: torch.Generator) -> Tensor:
    """What chance has in a view of each image, in 0..1 [image, 7], drawn on the CPU: see `view`."""
    return torch.rand(count, 7, generator=rng)


def view(images: Tensor, chances: Tensor, views: Views) -> Tensor:
    """The view of each image that chance has picked: each depends on its own row only, however they are batched.

    Args:
        images: In 0..1 [image, channel, height, width].
        chances: What `view_chances` drew [image, 7].
        views: How much views differ.
    """
    chances = chances.to(images)
    grid = F.affine_grid(_placement(chances[:, 2:], views, images.shape), list(images.shape), align_corners=False)
    seen: Tensor = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    factors = 1.0 + views.jitter * (2.0 * chances[:, :2, None, None, None] - 1.0)
    seen = (seen * factors[:, 0]).clamp(0.0, 1.0)
    grey = seen.mean(dim=(1, 2, 3), keepdim=True)
    return (grey + factors[:, 1] * (seen - grey)).clamp(0.0, 1.0)


def _placement(chances: Tensor, views: Views, shape: torch.Size) -> Tensor:
    """Affine maps from a view's coordinates to the image's, both in -1..1 [image, 2, 3]."""
    area, across, down, turn, mirror = chances.T
    side = (views.smallest_area + (1.0 - views.smallest_area) * area).sqrt()
    angle = math.radians(views.rotation) * (2.0 * turn - 1.0)
    facing = 1.0 - 2.0 * ((mirror < 0.5) & views.flip).to(chances)
    height, width = shape[2], shape[3]
    cos, sin = side * angle.cos(), side * angle.sin()
    right = torch.stack((facing * cos, -sin * height / width, (1.0 - side) * (2.0 * across - 1.0)), dim=1)
    below = torch.stack((facing * sin * width / height, cos, (1.0 - side) * (2.0 * down - 1.0)), dim=1)
    return torch.stack((right, below), dim=1)
