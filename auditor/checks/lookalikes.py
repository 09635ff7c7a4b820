"""Images that are another one in all but the bytes: saved again, scaled, a little brighter or noisier.

A perceptual hash proposes, pixels decide. The hash holds 128 bits, for every cell of an 8 x 8 raster whether the next
one to the right, and the next one below, is clearly brighter. The 64 nearest hashes within 12 bits are compared as grey
thumbnails of 16 x 16. The mean absolute difference is taken relative to the image's own contrast: two digits on black
differ little in absolute terms, whoever wrote them.

Even so some images have many neighbours (the digit 1), of which the nearest is near by number alone. So a lookalike
must also be much nearer than the fifth nearest; where all five are copies of one image it is not seen.

How often that finds copies, and takes other images for copies: docs/checks.md. Mirrored, rotated and shifted copies are
not looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from auditor.records import Inputs

__all__ = ["Album"]

_RASTER = 8
_BITS = 2 * _RASTER * _RASTER
_NEAR_BITS = 12
_CLEARLY = 0.1  # of the contrast: below that, noise decides
_PROPOSED = 64
_THUMBNAIL = 16
_ALIKE = 0.1  # of the contrast
_RIVAL = 5
_NEARER = 0.4  # times as far as the rival
_BATCH = 4096
_CELLS = 2**24  # of a block of comparisons: 64 MB


@dataclass(frozen=True)
class Album:
    """Images as they are compared.

    Attributes:
        hashes: -1 or 1 [image, bit], float32: the product of two of them counts the bits that differ.
        thumbnails: Grey, uint8 [image, pixel].
    """

    hashes: Tensor
    thumbnails: Tensor

    @classmethod
    def of(cls, images: Inputs) -> Album:
        """Take images [record, height, width, channel] in, at least one."""
        pages = [(_hashes(grey), _thumbnails(grey)) for grey in _grey(images)]
        return cls(torch.cat([hashes for hashes, _ in pages]), torch.cat([small for _, small in pages]))

    def resembling(self, others: Album) -> npt.NDArray[np.bool_]:
        """Which of the images here look like one of the others, bool [image]."""
        rows = max(1, _CELLS // max(len(others.hashes), _PROPOSED * _THUMBNAIL**2))
        pages = zip(self.hashes.split(rows), self.thumbnails.split(rows), strict=True)
        like: npt.NDArray[np.bool_] = torch.cat([_alike(Album(*page), others) for page in pages]).numpy()
        return like


def _alike(few: Album, others: Album) -> Tensor:
    """Which of a few images look like one of the others, bool [image]."""
    agreeing, proposed = (few.hashes @ others.hashes.T).topk(min(_PROPOSED, len(others.hashes)), dim=1)
    near = agreeing >= _BITS - 2 * _NEAR_BITS
    apart = torch.full_like(agreeing, torch.inf)
    apart[near] = _differences(few.thumbnails[near.nonzero()[:, 0]], others.thumbnails[proposed[near]])
    ordered = functional.pad(apart, (0, _RIVAL), value=torch.inf).sort(dim=1).values
    nearest, rival = ordered[:, 0], ordered[:, _RIVAL - 1]
    return (nearest <= _ALIKE) & (nearest <= _NEARER * rival)


def _grey(images: Inputs) -> Iterator[Tensor]:
    """Batches of float32 [image, 1, height, width]."""
    for start in range(0, len(images), _BATCH):
        yield torch.from_numpy(images[start : start + _BATCH].mean(-1, dtype=np.float32))[:, None]


def _centred(grey: Tensor, axes: tuple[int, ...]) -> Tensor:
    return grey - grey.mean(axes, keepdim=True)


def _hashes(grey: Tensor) -> Tensor:
    least = _CLEARLY * _centred(grey, (2, 3)).abs().mean((2, 3), keepdim=True)
    right = functional.adaptive_avg_pool2d(grey, (_RASTER, _RASTER + 1)).diff(dim=3) > least
    below = functional.adaptive_avg_pool2d(grey, (_RASTER + 1, _RASTER)).diff(dim=2) > least
    return torch.cat([right.flatten(1), below.flatten(1)], dim=1).float() * 2 - 1


def _thumbnails(grey: Tensor) -> Tensor:
    height, width = (min(side, _THUMBNAIL) for side in grey.shape[2:])
    return functional.adaptive_avg_pool2d(grey, (height, width)).flatten(1).round().to(torch.uint8)


def _differences(one: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of each pair [pair, pixel] but for brightness, relative to the smaller contrast.

    Infinite where an image has none.
    """
    first, second = (_centred(side.float(), (1,)) for side in (one, other))
    contrast = torch.minimum(first.abs().mean(1), second.abs().mean(1))
    return torch.where(contrast > 0, (first - second).abs().mean(1) / contrast, torch.inf)
