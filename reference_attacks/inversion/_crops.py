"""Random crops scaled back to the size of the image, the same crop for all images of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Crop", "Crops"]


@dataclass(frozen=True, slots=True)
class Crop:
    """One window of an image.

    Attributes:
        top: First row.
        left: First column.
        height: Rows.
        width: Columns.
        mirrored: Whether left and right change places.
    """

    top: int
    left: int
    height: int
    width: int
    mirrored: bool

    def of(self, images: Tensor) -> Tensor:
        """The window of each image [image, channel, height, width], bilinearly scaled to the size of the image."""
        window = images[:, :, self.top : self.top + self.height, self.left : self.left + self.width]
        if window.shape != images.shape:
            window = F.interpolate(window, size=images.shape[2:], mode="bilinear", align_corners=False)
        return window.flip(3) if self.mirrored else window


@dataclass(frozen=True, slots=True)
class Crops:
    """How crops are drawn.

    Attributes:
        smallest_area: Least share of the image; at most all of it.
        largest_area: Largest share.
        narrowest: Least width over height, both as shares of the image's.
        widest: Largest; between them the logarithm is uniform.
        flip: Whether half of them are mirrored.
    """

    smallest_area: float
    largest_area: float
    narrowest: float = 1.0
    widest: float = 1.0
    flip: bool = False

    def draw(self, count: int, image_shape: tuple[int, int, int], rng: torch.Generator) -> list[Crop]:
        """So many crops of images [channel, height, width]; five numbers are drawn for each."""
        return [self._crop(image_shape, chance) for chance in torch.rand(count, 5, generator=rng).tolist()]

    def _crop(self, image_shape: tuple[int, int, int], chance: list[float]) -> Crop:
        _, height, width = image_shape
        area = self.smallest_area + (self.largest_area - self.smallest_area) * chance[0]
        ratio = self.narrowest * (self.widest / self.narrowest) ** chance[1]
        rows = min(height, max(1, round(height * math.sqrt(area / ratio))))
        columns = min(width, max(1, round(width * math.sqrt(area * ratio))))
        top, left = int(chance[2] * (height - rows + 1)), int(chance[3] * (width - columns + 1))
        return Crop(top, left, rows, columns, mirrored=self.flip and chance[4] < 0.5)
