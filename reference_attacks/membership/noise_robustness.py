"""Noise robustness: how often does the label survive random noise?

Choquette-Choo, Tramer, Carlini and Papernot (2021), "Label-Only Membership Inference Attacks", arXiv:2007.14321.

What it claims
    Members lie further from the decision boundary than non-members of the same difficulty. The share of noisy copies
    that keep the true label is a cheap stand-in for that distance, without a search for the boundary.

What the attacker needs
    Access `labels`: one query for x and `samples` for its copies, and the true label. No shadow models, no other data.

Algorithm
    1. Ask for the label of x; if it is not the true one the score is 0 and nothing more is asked.
    2. Draw copies x + e, e Gaussian with standard deviation 0.025 on every pixel, clipped into 0..1.
    3. The score is the share of the copies that are given the true label.

What we changed
    Nothing in the score; the authors choose a threshold for it on a shadow model. The share lies on a grid of
    1/samples, and records whose copies all keep the label tie at 1: at a low noise that can be most of them, so that
    the TPR at a low FPR says little. The authors' code takes 2,500 samples, which is the default; 100 are cheap and
    coarse.

Published number and ours
    None verified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reference_attacks.membership._images import ask, checked_images, checked_labels, noisy_copies, require_positive
from reference_attacks.membership._inputs import FloatArray

__all__ = ["NoiseRobustness", "probe"]


@dataclass(frozen=True, slots=True)
class NoiseRobustness:
    """How the neighbourhood is sampled; the defaults are those of the authors' code.

    Attributes:
        samples: Noisy copies per record.
        std: Standard deviation of the noise, in pixel units of images in 0..1.
        batch_size: Most images in one question, except that the copies of one record are drawn together.

    Raises:
        ValueError: If a value is out of range.
    """

    samples: int = 2_500
    std: float = 0.025
    batch_size: int = 512

    def __post_init__(self) -> None:
        require_positive("samples", self.samples)
        require_positive("batch_size", self.batch_size)
        if not 0.0 < self.std < np.inf:
            raise ValueError(f"std must be positive, got {self.std}")


def probe(
    *,
    predict: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    settings: NoiseRobustness = NoiseRobustness(),
    generator: torch.Generator,
) -> FloatArray:
    """Score every record by the share of its noisy copies that keep the true label.

    Args:
        predict: Maps images in 0..1 [image, channel, height, width] to predicted labels [image].
        inputs: Images in 0..1 [record, channel, height, width].
        labels: True labels [record].
        settings: How the neighbourhood is sampled.
        generator: Where the noise comes from; rightly classified records draw from it in their order.

    Returns:
        Scores [record] in 0..1, 0 for a misclassified record, larger = more likely a member.

    Raises:
        ValueError: If the inputs or labels are not as described.
    """
    images = checked_images("inputs", inputs)
    classes = checked_labels(labels, images)
    right = ask(predict, images, batch_size=settings.batch_size) == classes
    kept = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    parts = torch.nonzero(right).squeeze(1).split(max(1, settings.batch_size // settings.samples))
    for records in parts if right.any() else ():  # an empty tensor splits into one empty part
        copies = noisy_copies(images[records], copies=settings.samples, std=settings.std, generator=generator)
        found = ask(predict, copies.flatten(0, 1), batch_size=settings.batch_size).view(len(records), -1)
        kept[records] = (found == classes[records, None]).double().mean(dim=1)
    return np.asarray(kept.cpu().numpy(), dtype=np.float64)
