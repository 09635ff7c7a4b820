"""MIRROR: keep the search of a StyleGAN where styles are usual; here by gradient, with the weights.

An, Tao, Xu, Liu, Shen, Yao, Xu and Zhang (2022), "MIRROR: Model Inversion for Deep Learning Network with High
Fidelity", NDSS. Checked against the released code (njuaplusplus/mirror, commit 2730a14).

What it claims
    What ends in a leaky ReLU is close to Gaussian before it. Clipped there, styles stay such as give real faces, and
    models other than the target recognise the images. `mirror_black_box` does so with scores alone.

What the attacker needs
    Access `weights`: logits and their gradient. A generator trained on public images, whose latents are styles w out of
    a leaky ReLU of slope .2, as a StyleGAN's.

Algorithm
    1. Draw 100,000 styles and show each to the target once. In p = LeakyReLU_5(w), which undoes the slope of .2, take
       mean and standard deviation of each entry.
    2. From the 8 likeliest styles of a class, 20,000 steps of Adam on w, on 10 * cross-entropy. Its learning rate of
       .25 is ramped up over the first 20th and down over the last quarter. A coin decides whether a step shows the
       images mirrored.
    3. After each step clip p to mean +- 1 deviation.
    4. The style with the least loss on its way is handed in.

What we changed
    Tested for its mechanics only, on tiny generators: it is meant for a StyleGAN at full size, which is the user's.
    Each restart keeps its own best style, as it was when its loss was measured; the released code goes by the mean over
    restarts and keeps what the step made of it. First styles are clipped, too.
    Losses are added over images and not averaged, which Adam does not notice but for its epsilon.
    The released generator truncates styles (.7, 8 of 14 layers) as it makes images; here that is up to the generator.
    `slope` 1 leaves latents as they are, for a generator without styles: then this is its search, and not MIRROR.

Published number and ours
    None verified, none measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reference_attacks.inversion._rows import best_first, by_rows, gradient, probabilities, shown_at_the_end
from reference_attacks.inversion._usual_styles import Box, Usual, drawn, pictures, require_positive
from reference_attacks.inversion.losses import cross_entropy
from reference_attacks.inversion.material import Generator, Images, Inverted

__all__ = ["Mirror", "invert"]


@dataclass(frozen=True, slots=True)
class Mirror(Usual):
    """How styles are searched, besides `Usual`.

    Attributes:
        steps: Of Adam.
        learning_rate: Its highest.
        weight: Of the cross-entropy.
        flip: Whether half of the steps show mirrored images; for digits, letters and the like this is wrong.
        restarts: Styles improved and handed in for each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    steps: int = 20_000
    learning_rate: float = 0.25
    weight: float = 10.0
    flip: bool = True
    restarts: int = 8
    batch_size: int = 64

    def __post_init__(self) -> None:
        Usual.__post_init__(self)
        require_positive(self, "steps", "learning_rate", "weight", "restarts", "batch_size")
        if self.restarts > self.draws:
            raise ValueError(f"restarts may not exceed draws: got {self.restarts}, {self.draws}")


def invert(
    *,
    logits: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: Mirror = Mirror(),
) -> Inverted:
    """Rebuild images of each class. Classes share the styles drawn and the coins, and nothing else.

    Args:
        logits: Images to logits [image, class], differentiably and each image for itself (eval mode).
        classes: Target class ids.
        generator: Trained on public images, not conditional; its latents are styles w.
        rng: Draws styles and coins, on the CPU.
        settings: How styles are searched.

    Returns:
        `settings.restarts` images of each class, the one of which the target is surest first.

    Raises:
        ValueError: If there is no class, the generator is conditional or the logits carry no gradient.
    """
    styles, likely, targets = drawn(
        partial(probabilities, logits),
        classes,
        generator,
        rng,
        count=settings.draws,
        batch_size=settings.batch_size,
    )
    box = Box.of(styles, settings)
    mirrored = ((torch.rand(settings.steps, generator=rng) > 0.5) & settings.flip).tolist()

    def climbed(some: Tensor, of: Tensor) -> Tensor:
        return _climbed(logits, generator, some, of, mirrored, box, settings)

    first = box.clipped(styles[best_first(likely, settings.restarts)])
    of = targets.repeat_interleave(settings.restarts)
    found = by_rows(climbed, first.flatten(0, 1), of, batch_size=settings.batch_size)
    return shown_at_the_end(
        logits=logits,
        images=pictures(generator, found, settings.batch_size).unflatten(0, first.shape[:2]),
        targets=targets,
        queries=settings.restarts * settings.steps,
        shared=settings.draws,
        batch_size=settings.batch_size,
    )


def _climbed(
    logits: Images,
    generator: Generator,
    styles: Tensor,
    targets: Tensor,
    mirrored: Sequence[bool],
    box: Box,
    settings: Mirror,
) -> Tensor:
    """The style of least loss on the way from each [image, latent], by one step for each coin."""
    styles, best = styles.clone(), styles
    least = torch.full((len(styles),), math.inf, device=styles.device)
    optimizer = torch.optim.Adam([styles], lr=settings.learning_rate)
    for step, turned in enumerate(mirrored, start=1):

        def cost(w: Tensor, *, turned: bool = turned) -> Tensor:
            images = generator.images(w)
            return settings.weight * cross_entropy(logits(images.flip(3) if turned else images), targets)

        losses, styles.grad = gradient(cost, styles)
        best = torch.where((losses < least)[:, None], styles, best)
        least = torch.minimum(losses, least)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * _ramp(step / settings.steps)
        optimizer.step()
        styles.copy_(box.clipped(styles))
    return best


def _ramp(share: float) -> float:
    """How much of the learning rate applies after this share of the steps."""
    return (0.5 - 0.5 * math.cos(math.pi * min(1.0, 4.0 * (1.0 - share)))) * min(1.0, 20.0 * share)
