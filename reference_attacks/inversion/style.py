"""Generators in two parts, noise to style and style to image: what attacks on StyleGANs ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from reference_attacks.inversion.material import Generator

__all__ = ["NoiseSpace", "StyleGenerator", "require_unconditional"]


@runtime_checkable
class StyleGenerator(Generator, Protocol):
    """A generator that maps noise z to a style w and lets stages, one after the other, turn w into an image.

    The latents of `Generator` are w here, one style for all stages: `draw` maps noise that it draws, `latent_size` is
    the length of w and `images` starts from w. The first stage takes no features, for it starts from a constant.

    Attributes:
        noise_size: Length of z, whose prior is N(0, I).
        mean_latent: The mean of w over the prior [latent], where the generator runs.
        stages: How many there are.
    """

    @property
    def noise_size(self) -> int:
        """Length of z."""

    @property
    def mean_latent(self) -> Tensor:
        """The mean of w over the prior [latent]."""

    @property
    def stages(self) -> int:
        """How many stages there are."""

    def mapped(self, noise: Tensor) -> Tensor:
        """Noise [image, noise] to styles [image, latent], differentiable and not truncated."""

    def advanced(self, features: Tensor | None, latents: Tensor, stage: int) -> Tensor:
        """The features that stage `stage` hands to the next one, differentiable in both.

        Args:
            features: What it receives itself, any shape [image, ...]; None for stage 0.
            latents: w [image, latent].
            stage: 0 up to `stages` - 2.
        """

    def images_from(self, features: Tensor | None, latents: Tensor, stage: int) -> Tensor:
        """Images as of `images`, by the stages from `stage` on; from None and stage 0 the same as `images`.

        Args:
            features: What stage `stage` receives [image, ...]; None for stage 0.
            latents: w [image, latent].
            stage: 0 up to `stages` - 1.
        """


@dataclass(frozen=True, slots=True)
class NoiseSpace:
    """A style generator as a plain one whose latents are z, for attacks that take these for N(0, I).

    Attributes:
        style: Where noise is mapped and turned into images.
    """

    style: StyleGenerator

    @property
    def latent_size(self) -> int:
        """Length of z."""
        return self.style.noise_size

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channel, height, width."""
        return self.style.image_shape

    @property
    def conditional(self) -> int:
        """How many classes it can be told."""
        return self.style.conditional

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Latents z from N(0, I), float32 [image, noise]; drawn on the CPU."""
        return torch.randn(count, self.latent_size, generator=rng).to(self.style.mean_latent.device)

    def images(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images float32 in 0..1 [image, channel, height, width] of z [image, noise], differentiably."""
        return self.style.images(self.style.mapped(latents), classes)


def require_unconditional(generator: Generator) -> None:
    """Refuse a generator that must be told a class, where one draw is tried for all classes.

    Raises:
        ValueError: If it is conditional.
    """
    if generator.conditional:
        raise ValueError(f"the generator must not be conditional, but it takes one of {generator.conditional} classes")
