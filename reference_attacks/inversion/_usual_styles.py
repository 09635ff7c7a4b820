"""Where the styles of a StyleGAN are usual, and those that MIRROR begins with, by gradient or by breeding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from reference_attacks.inversion._rows import by_rows, wanted
from reference_attacks.inversion.material import Generator, Images
from reference_attacks.inversion.style import require_unconditional

__all__ = ["Box", "Usual", "drawn", "pictures", "require_positive"]


@dataclass(frozen=True, slots=True)
class Usual:
    """Where styles are usual; what both searches have in common.

    Attributes:
        draws: Styles drawn and shown, to find out and to begin with.
        deviations: Standard deviations in p-space by which an entry may differ from its mean.
        slope: Of the leaky ReLU that leads to p-space; the inverse of the slope of the generator's own.

    Raises:
        ValueError: If a value is out of range.
    """

    draws: int = 100_000
    deviations: float = 1.0
    slope: float = 5.0

    def __post_init__(self) -> None:
        require_positive(self, "draws", "deviations", "slope")


def require_positive(settings: object, *names: str) -> None:
    """Refuse settings that are not positive and finite.

    Raises:
        ValueError: If one is not, naming it.
    """
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be positive, got {getattr(settings, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """What styles may be.

    Attributes:
        slope: Of the leaky ReLU that leads to p-space.
        deviation: Standard deviation of each entry in p-space [latent].
        low: Least w of each entry [latent].
        high: Largest.
    """

    slope: float
    deviation: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, styles: Tensor, usual: Usual) -> Box:
        """The box of some styles [draw, latent]."""
        p = F.leaky_relu(styles, usual.slope)
        deviation, mean = torch.std_mean(p, dim=0, correction=0)
        ends = [F.leaky_relu(mean + side * usual.deviations * deviation, 1.0 / usual.slope) for side in (-1, 1)]
        return cls(usual.slope, deviation, *ends)

    def clipped(self, styles: Tensor) -> Tensor:
        """Styles [..., latent] within the box."""
        return torch.clamp(styles, self.low, self.high)

    def shifted(self, styles: Tensor, noise: Tensor) -> Tensor:
        """Styles with noise [..., latent] added in p-space."""
        p: Tensor = F.leaky_relu(styles, self.slope) + noise
        return torch.where(p < 0, p / self.slope, p)


def drawn(
    seen: Images, classes: Sequence[int], generator: Generator, rng: torch.Generator, *, count: int, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw styles and show each once.

    Returns:
        Styles [draw, latent], the probability of each class for each [class, draw], and the classes [class].

    Raises:
        ValueError: If there is no class or the generator is conditional.
    """
    require_unconditional(generator)
    styles = generator.draw(count, rng)
    targets = wanted(classes, styles.device)

    def likely(some: Tensor) -> Tensor:
        with torch.no_grad():
            return seen(generator.images(some))[:, targets]

    return styles, by_rows(likely, styles, batch_size=batch_size).T, targets


def pictures(generator: Generator, styles: Tensor, batch_size: int) -> Tensor:
    """Images of styles [image, latent], without gradients and not shown to anyone."""
    with torch.no_grad():
        return by_rows(generator.images, styles, batch_size=batch_size)
