"""The two small convolutional networks of the priors: a generator and a critic, told classes or not.

Layers are those of DCGAN (Radford et al. 2016) without anything at full resolution, which is what keeps them quick on a
CPU; the generator's start and the critic's end are chosen so that images of any size fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["CriticNetwork", "GeneratorNetwork", "above", "below", "restored"]

_WIDEST = 8
_SLOPE = 0.2

_Network = TypeVar("_Network", bound=nn.Module)


def _halvings(side: int, largest: int) -> int:
    """How often a side is halved until it is at most the largest; at least once."""
    halvings = 1
    while -(-side // 2**halvings) > largest:
        halvings += 1
    return halvings


def _channels(width: int, halvings: int) -> list[int]:
    """Channels of half the image's resolution, of a quarter, and so on."""
    return [width * min(2**level, _WIDEST) for level in range(halvings)]


class _PerClassNorm(nn.Module):
    """Batch norm whose scale and shift belong to the class that an image is to show (Dumoulin et al. 2017)."""

    def __init__(self, channels: int, n_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(n_classes, channels)
        self.shift = nn.Embedding(n_classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        scale, shift = self.scale(classes), self.shift(classes)
        told: Tensor = self.norm(features) * scale[:, :, None, None] + shift[:, :, None, None]
        return told


class GeneratorNetwork(nn.Module):
    """Latents to images: a start of at most 7x7 is doubled until it covers the image, then cropped.

    A class enters twice: in every norm, and as a learned code beside the latent, which a short training needs. Codes
    start at zero: if as large as latents, they are all that the generator heeds, and each class gets a single image.

    Args:
        image_shape: Channel, height, width.
        latent_size: Length of a latent.
        width: Channels at half the image's resolution; up to 8 times as many below.
        n_classes: How many classes it can be told; 0: it takes none.
    """

    def __init__(self, image_shape: tuple[int, int, int], *, latent_size: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.image_shape, self.latent_size, self.n_classes = image_shape, latent_size, n_classes
        doublings = _halvings(max(image_shape[1:]), largest=7)
        channels = _channels(width, doublings)[::-1]
        self.start = [-(-side // 2**doublings) for side in image_shape[1:]]
        self.codes = nn.Embedding(n_classes, latent_size) if n_classes else None
        if self.codes is not None:
            nn.init.zeros_(self.codes.weight)
        self.first = nn.Linear(latent_size * (2 if n_classes else 1), channels[0] * math.prod(self.start))
        self.norms = nn.ModuleList(
            _PerClassNorm(count, n_classes) if n_classes else nn.BatchNorm2d(count) for count in channels
        )
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(count, following, 4, stride=2, padding=1)
            for count, following in pairwise([*channels, image_shape[0]])
        )

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Standard normal latents [image, latent], drawn on the CPU and put where the weights are."""
        return torch.randn(count, self.latent_size, generator=rng).to(self.first.weight.device)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Latents [image, latent] and the classes to show, int64 [image], to images in 0..1."""
        told = () if self.codes is None else (classes,)
        start = latents if self.codes is None else torch.cat((latents, self.codes(classes)), dim=1)
        features = self.first(start).unflatten(1, [-1, *self.start])
        for norm, doubling in zip(self.norms, self.doublings, strict=True):
            features = doubling(F.relu(norm(features, *told)))
        _, height, width = self.image_shape
        return torch.sigmoid(features[:, :, :height, :width])


class CriticNetwork(nn.Module):
    """Images to how real they look; told classes, also how well they show them, by projection (Miyato and Koyama 2018).

    Args:
        image_shape: Channel, height, width.
        width: Channels at half the image's resolution; up to 8 times as many below.
        n_classes: How many classes it can be told; 0: it takes none.
        spectral: Whether the spectral norm of every layer is held at 1 (Miyato et al. 2018).
    """

    def __init__(self, image_shape: tuple[int, int, int], *, width: int, n_classes: int, spectral: bool) -> None:
        super().__init__()
        halvings = _halvings(min(image_shape[1:]), largest=4)
        channels = _channels(width, halvings)
        size = channels[-1] * math.prod(side // 2**halvings for side in image_shape[1:])

        def bounded(layer: nn.Module) -> nn.Module:
            return spectral_norm(layer) if spectral else layer

        self.halvings = nn.ModuleList(
            bounded(nn.Conv2d(count, following, 4, stride=2, padding=1))
            for count, following in pairwise([image_shape[0], *channels])
        )
        self.judge = bounded(nn.Linear(size, 1))
        self.table = bounded(nn.Embedding(n_classes, size)) if n_classes else None

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images in 0..1 [image, channel, height, width] and their classes, int64 [image], to realness [image]."""
        features = 2.0 * images - 1.0
        for halving in self.halvings:
            features = F.leaky_relu(halving(features), _SLOPE)
        features = features.flatten(1)
        realness: Tensor = self.judge(features).squeeze(1)
        return realness if self.table is None else realness + (self.table(classes) * features).sum(dim=1)


def above(name: str, network: nn.Module) -> dict[str, Tensor]:
    """Copies of a network's tensors, with a name put before theirs."""
    return {f"{name}.{key}": value.detach().clone() for key, value in network.state_dict().items()}


def below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Copies of the tensors whose names start with a name, without it."""
    start = f"{name}."
    return {key.removeprefix(start): value.clone() for key, value in tensors.items() if key.startswith(start)}


def restored(network: _Network, name: str, tensors: Mapping[str, Tensor]) -> _Network:
    """The network with the tensors below a name, on their device, in eval mode and without gradients for its weights.

    Args:
        network: Its own tensors are replaced; it may have been made on torch's `meta` device.
        name: Of the network among the tensors.
        tensors: What `above` gave.

    Raises:
        ValueError: If the tensors are of another network.
    """
    try:
        network.load_state_dict(below(tensors, name), assign=True)
    except RuntimeError as error:
        raise ValueError(f"the tensors are not of this prior: {error}") from error
    return network.requires_grad_(requires_grad=False).eval()
