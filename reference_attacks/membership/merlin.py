"""Merlin: is the loss at x lower than all around it?

Jayaraman, Wang, Knipmeyer, Gu and Evans (2021), "Revisiting Membership Inference Under Realistic Assumptions",
arXiv:2005.10881.

What it claims
    Training pushes x towards a local minimum of the loss, so around a member noise mostly raises the loss, while around
    a non-member it may as well lower it. The direction of the change says something that the loss itself does not.

What the attacker needs
    Access `scores`: the loss of x and of 100 noisy copies, and the true label. No shadow models for the score.

Algorithm
    1. Draw T = 100 copies x + e, e Gaussian with standard deviation 0.01 on every pixel.
    2. r = the share of the copies whose loss is strictly larger than that of x. That is `probe`.
    3. `score` is r, with equal r ordered by minus the loss.
    The paper calls x a member where r reaches a threshold chosen on a shadow model for a wanted false-positive rate.

What we changed
    Sigma is in pixel units, images being in 0..1; the authors' code adds it in whatever scale its inputs have.
    Copies are clipped into 0..1, because an API takes images; the authors do not clip.
    Ties are broken, since r lies on a grid of 1/T where the strict TPR at a low FPR is often 0. With
    u = -log(loss), the loss raised to the smallest normal float32, the score is r + u / (1 + |u|) / (2 T): rounded to
    the grid it is r again, so it can leave 0..1 by half a step.
    Give the loss as log(1 + (sum of the other p) / p_y) in float64, which equals -log p_y without its rounding. Where
    -log p_y has rounded to 0 for x and its copies, r is 0 as well and the best-known members look like non-members: on
    a saturated toy network AUC .42, against .81 with the other formula.

Published number and ours
    None verified. Ours: on the tests' network of one hidden layer that knows 40 random labels by heart, three seeds of
    the noise gave AUC .53 to .66 at sigma 0.01, .83 to .87 at 0.1; the loss alone .95. Noise too small for the model's
    curvature leaves a coin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reference_attacks.membership._images import ask, checked_images, checked_labels, noisy_copies, require_positive
from reference_attacks.membership._inputs import FLOOR, FloatArray, SignalArray, as_probability, as_signal

__all__ = ["Merlin", "probe", "score"]

_OFF_GRID = 1e-6


@dataclass(frozen=True, slots=True)
class Merlin:
    """How the neighbourhood is sampled; the defaults are the authors'.

    Attributes:
        copies: Noisy copies per record, T.
        sigma: Standard deviation of the noise, in pixel units of images in 0..1.
        batch_size: Most images in one question, except that the copies of one record are drawn together.

    Raises:
        ValueError: If a value is out of range.
    """

    copies: int = 100
    sigma: float = 0.01
    batch_size: int = 512

    def __post_init__(self) -> None:
        require_positive("copies", self.copies)
        require_positive("batch_size", self.batch_size)
        if not 0.0 < self.sigma < np.inf:
            raise ValueError(f"sigma must be positive, got {self.sigma}")


def probe(
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    settings: Merlin = Merlin(),
    generator: torch.Generator,
) -> FloatArray:
    """Ask the model 1 + `copies` times per record how the loss changes with noise.

    Args:
        loss: Maps images in 0..1 [image, channel, height, width] and their true labels [image] to losses [image],
            not rounded to 0 where the model is sure (see the header).
        inputs: Images in 0..1 [record, channel, height, width].
        labels: True labels [record].
        settings: How the neighbourhood is sampled.
        generator: Where the noise comes from; records draw from it in their order.

    Returns:
        The Merlin ratios [record]: shares of the copies with a larger loss, in 0..1.

    Raises:
        ValueError: If the inputs or labels are not as described, or a loss is not finite.
    """
    images = checked_images("inputs", inputs)
    classes = checked_labels(labels, images)
    at_once = max(1, settings.batch_size // settings.copies)
    ratios = []
    for start in range(0, len(images), at_once):
        some, of_class = images[start : start + at_once], classes[start : start + at_once]
        copies = noisy_copies(some, copies=settings.copies, std=settings.sigma, generator=generator).flatten(0, 1)
        before = ask(loss, some, of_class, batch_size=settings.batch_size)
        after = ask(loss, copies, of_class.repeat_interleave(settings.copies), batch_size=settings.batch_size)
        raised = after.view(len(some), settings.copies) > before[:, None]
        ratios.append(raised.double().mean(dim=1))
    return np.asarray(torch.cat(ratios).cpu().numpy(), dtype=np.float64)


def score(*, merlin_ratio: SignalArray, loss: SignalArray, settings: Merlin = Merlin()) -> FloatArray:
    """Score every record by its Merlin ratio; among equal ratios the smaller loss looks more like a member.

    Args:
        merlin_ratio: What `probe` returned [record].
        loss: Losses of the records themselves [record], at least 0.
        settings: Those of the probe; only `copies` is used.

    Returns:
        Scores [record], the ratio within half a step of 1 / copies; larger = more likely a member.

    Raises:
        ValueError: If the arrays do not fit each other, a loss is negative or a ratio is not on the grid of the copies.
    """
    ratio = as_probability("merlin_ratio", merlin_ratio, ("record",))
    losses = as_signal("loss", loss, ("record",))
    if losses.shape != ratio.shape:
        raise ValueError(f"loss {losses.shape} does not fit merlin_ratio {ratio.shape}")
    if losses.min() < 0.0:
        raise ValueError(f"loss must not be negative, got {losses.min():g}")
    raised = np.rint(ratio * settings.copies)
    if np.abs(ratio * settings.copies - raised).max() > _OFF_GRID * settings.copies:
        raise ValueError(f"merlin_ratio does not come from {settings.copies} copies: pass the settings of the probe")
    smallness = -np.log(np.maximum(losses, FLOOR))
    return np.asarray((raised + 0.5 * smallness / (1.0 + np.abs(smallness))) / settings.copies, dtype=np.float64)
