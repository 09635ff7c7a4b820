"""Structural similarity of images, by scikit-image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from skimage import metrics
from torch import Tensor

__all__ = ["structural_similarity"]

_WINDOW = 11  # of a Gaussian with sigma 1.5, cut at 3.5 sigma


def structural_similarity(images: Tensor, references: Tensor) -> npt.NDArray[np.float64] | None:
    """SSIM of each image with its reference, Gaussian window with sigma 1.5 [image]; None for images under 11 pixels.

    Args:
        images: In [0, 1] [image, channel, height, width].
        references: The same shape.
    """
    if min(images.shape[2:]) < _WINDOW:
        return None
    compare: Callable[..., float] = metrics.structural_similarity
    return np.array(
        [
            compare(
                one,
                other,
                data_range=1.0,
                channel_axis=0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for one, other in zip(images.double().numpy(), references.double().numpy(), strict=True)
        ]
    )
