"""Families of distributions of latents, fitted to many classes at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Family", "Flow", "Gaussian"]

_FIRST_SPREAD = 0.05


class Family(Protocol):
    """Distributions of latents, one for each class."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What is fitted, each [class, ...]."""

    def sampled(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noise from N(0, I) [draw, latent] to latents [class, draw, latent] and the divergence [class]."""


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """z = mean + root e, for e from N(0, I).

    Attributes:
        mean: [class, latent].
        root: Of the covariance: C = root root^T [class, latent, latent].
    """

    mean: Tensor
    root: Tensor

    @classmethod
    def standard(cls, n_classes: int, like: Tensor) -> Gaussian:
        """N(0, I) for each class, for latents like some [image, latent]."""
        size = like.shape[1]
        return cls(like.new_zeros(n_classes, size), torch.eye(size).to(like).repeat(n_classes, 1, 1))

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What is fitted."""
        return self.mean, self.root

    def sampled(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noise [draw, latent] to latents [class, draw, latent] and the exact KL(q || N(0, I)) [class]."""
        size = self.mean.shape[1]
        spread = self.root.square().sum(dim=(1, 2)) - 2.0 * torch.linalg.slogdet(self.root).logabsdet
        divergence = 0.5 * (self.mean.square().sum(dim=1) + spread - size)
        return self.mean[:, None] + noise @ self.root.mT, divergence


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Steps of scale and shift, shuffle, and additive coupling.

    Attributes:
        shuffles: What entry takes each place, int64 [step, latent]; the same for all classes, not fitted.
        scales: Logarithms of the scales [class, step, latent].
        shifts: [class, step, latent].
        weights: Of the three layers of each step's network, each [class, step, in, out].
        biases: Likewise, each [class, step, 1, out].
    """

    shuffles: Tensor
    scales: Tensor
    shifts: Tensor
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @classmethod
    def standard(cls, n_classes: int, like: Tensor, *, steps: int, hidden: int, rng: torch.Generator) -> Flow:
        """N(0, I) for each class, for latents like some [image, latent]: networks end in a layer of zeros."""
        size = like.shape[1]
        widths = (size // 2, hidden, hidden, size - size // 2)
        spreads = (_FIRST_SPREAD, _FIRST_SPREAD, 0.0)

        def for_all(one: Tensor) -> Tensor:
            return one.to(like).repeat(n_classes, *([1] * one.ndim))

        return cls(
            shuffles=torch.stack([torch.randperm(size, generator=rng) for _ in range(steps)]).to(like.device),
            scales=for_all(torch.zeros(steps, size)),
            shifts=for_all(torch.zeros(steps, size)),
            weights=tuple(
                for_all(spread * torch.randn(steps, *shape, generator=rng))
                for spread, shape in zip(spreads, pairwise(widths), strict=True)
            ),
            biases=tuple(for_all(torch.zeros(steps, 1, width)) for width in widths[1:]),
        )

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What is fitted."""
        return self.scales, self.shifts, *self.weights, *self.biases

    def sampled(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noise [draw, latent] to latents [class, draw, latent] and KL(q || N(0, I)) [class], as these draws tell."""
        latents = noise.expand(len(self.scales), *noise.shape)
        for step, shuffle in enumerate(self.shuffles):
            latents = latents * self.scales[:, None, step].exp() + self.shifts[:, None, step]
            kept, moved = latents[:, :, shuffle].tensor_split([noise.shape[1] // 2], dim=2)
            latents = torch.cat([kept, moved + self._network(kept, step)], dim=2)
        further = 0.5 * (latents.square().sum(dim=2) - noise.square().sum(dim=1)).mean(dim=1)
        return latents, further - self.scales.sum(dim=(1, 2))

    def _network(self, kept: Tensor, step: int) -> Tensor:
        *inner, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in inner:
            kept = F.elu(kept @ weight[:, step] + bias[:, step])
        return kept @ last[0][:, step] + last[1][:, step]
