"""What inversion attacks are given and what they give back; they never measure themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Generator", "Images", "Inverted", "Snapshot"]

Images = Callable[[Tensor], Tensor]
"""Shows a model images in 0..1 [image, channel, height, width]; what comes back has one row per image."""


class Generator(Protocol):
    """An image prior: latents to images, from public data. Where it runs is its own matter.

    Attributes:
        latent_size: Length of a latent, in the space that attacks search (z, or w of a style network).
        image_shape: Channel, height, width.
        conditional: How many classes it can be told; 0: it takes none.
    """

    @property
    def latent_size(self) -> int:
        """Length of a latent."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channel, height, width."""

    @property
    def conditional(self) -> int:
        """How many classes it can be told."""

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Latents from its own prior, float32 [image, latent]; drawn on the CPU, so that devices agree."""

    def images(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images float32 in 0..1 [image, channel, height, width], differentiable in the latents.

        Args:
            latents: [image, latent].
            classes: int64 [image]; needed where the generator is conditional, ignored elsewhere.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What an attack would have handed in after fewer queries.

    Attributes:
        queries: Images shown to the target so far, per class.
        images: float32 in 0..1 [class, restart, channel, height, width].
    """

    queries: int
    images: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Inverted:
    """Reconstructions of every class, in the order in which the classes were given.

    Attributes:
        images: float32 in 0..1 [class, restart, channel, height, width]; the first restart of a class is the one that
            the attacker would hand in, as far as it can tell.
        confidence: The target's probability of the class for each image, float64 [class, restart]; None where the
            attacker saw labels only.
        queries: Images shown to the target for each class, int64 [class].
        shared_queries: Images shown to the target for all classes together, e.g. public ones.
        snapshots: The same at fewer queries, in increasing order; for attacks without gradients.
    """

    images: Tensor
    confidence: Tensor | None
    queries: Tensor
    shared_queries: int = 0
    snapshots: tuple[Snapshot, ...] = ()
