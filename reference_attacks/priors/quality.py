"""Is a prior any good? Its samples are held against public images that it was not trained on.

Nearest neighbours only, so that a few hundred small images suffice; no Fréchet distance, which needs thousands and a
network trained on photographs. Distances are Euclidean, between features if there is a callable for them, else between
images averaged to 8x8 pixels.

Sources: telling two samples apart by nearest neighbours is Lopez-Paz and Oquab (2017), "Revisiting Classifier
Two-Sample Tests", and Xu et al. (2018), "An empirical study on evaluation metrics of generative adversarial networks";
coverage is Naeem et al. (2020), "Reliable Fidelity and Diversity Metrics for Generative Models".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from reference_attacks.inversion.material import Images

__all__ = ["Quality", "check"]

_PIXELS = 8
_NEIGHBOURS = 5
_LEAST_DIVERSITY = 0.5
_LEAST_COVERAGE = 0.1


@dataclass(frozen=True, slots=True)
class Quality:
    """How samples of a prior compare with as many real images.

    Attributes:
        samples: Images of each kind.
        generated_told: Share of samples whose nearest other image, of both kinds, is a sample: .5 if nothing tells them
            from real images, 1 if each can be told.
        real_told: Share of real images whose nearest other image is real.
        distance_ratio: Mean distance from a sample to the nearest real image, over that from a real image to the
            nearest other one: 1 if nothing tells them, above if samples lie off, below if they are copies.
        coverage: Share of real images with a sample nearer than their 5th nearest real image: .97 for another draw of
            the same.
        diversity: Mean distance between two samples over that between two real images.
        collapsed: Whether diversity is below .5 or coverage below .1: the samples are variations of a few images, or
            of none that is real. Both limits are ours.
    """

    samples: int
    generated_told: float
    real_told: float
    distance_ratio: float
    coverage: float
    diversity: float
    collapsed: bool


def check(*, generated: Tensor, real: Tensor, features: Images | None = None) -> Quality:
    """Compare samples of a prior with held-out public images.

    Args:
        generated: Samples in 0..1 [image, channel, height, width].
        real: As many public images that the prior was not trained on, drawn at random.
        features: Maps images to features [image, feature]; 8x8 pixels if not given.

    Raises:
        ValueError: If the numbers differ, there are too few, or all real images look the same.
    """
    if generated.shape != real.shape or len(real) <= _NEIGHBOURS:
        raise ValueError(
            f"equal shapes and at least {_NEIGHBOURS + 1} images are needed, "
            f"got {tuple(generated.shape)} generated and {tuple(real.shape)} real"
        )
    with torch.no_grad():
        samples, others = ((features or _pooled)(images).flatten(1).double() for images in (generated, real))
    spread = torch.pdist(others).mean()
    if not (torch.isfinite(samples).all() and spread.isfinite() and spread > 0.0):
        raise ValueError("features must be finite, and those of real images not all the same")
    among_samples, among_real, across = _among(samples), _among(others), torch.cdist(samples, others)
    spacing, to_real, to_samples = among_real.amin(dim=1), across.amin(dim=1), across.amin(dim=0)
    coverage = float((to_samples < among_real.kthvalue(_NEIGHBOURS, dim=1).values).double().mean())
    diversity = float(torch.pdist(samples).mean() / spread)
    return Quality(
        samples=len(samples),
        generated_told=_told(among_samples.amin(dim=1), to_real),
        real_told=_told(spacing, to_samples),
        distance_ratio=float(to_real.mean() / spacing.mean()),
        coverage=coverage,
        diversity=diversity,
        collapsed=diversity < _LEAST_DIVERSITY or coverage < _LEAST_COVERAGE,
    )


def _pooled(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images, _PIXELS)


def _among(points: Tensor) -> Tensor:
    """Distances between points, infinite from a point to itself."""
    return torch.cdist(points, points).fill_diagonal_(torch.inf)


def _told(to_own: Tensor, to_other: Tensor) -> float:
    """Share of points whose nearest other point is of their own kind; a tie counts half."""
    return float(((to_own < to_other).double() + 0.5 * (to_own == to_other).double()).mean())
