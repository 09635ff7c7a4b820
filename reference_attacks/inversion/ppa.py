"""PPA: the styles that a model likes best already, each improved under random crops, the most robust kept.

Struppek, Hintersdorf, De Almeida Correia, Adler and Kersting (2022), "Plug & Play Attacks: Towards Robust and Flexible
Model Inversion Attacks", ICML, arXiv:2201.12179. Checked against the released code
(LukasStruppek/Plug-and-Play-Attacks, commit 3087a4f).

What it claims
    One StyleGAN of public images serves against any model of the same kind of pictures: the attack neither trains nor
    tunes a generator for its target, and its images stay sharp under a shift between public and private pictures.

What the attacker needs
    Access `weights`: logits and their gradient. A style generator trained on public images, and its mean style.

Algorithm
    1. Draw 5,000 styles w and pull each halfway to the mean: w <- mean + .5 * (w - mean).
    2. The target's probability of the class, averaged over an image and its mirror image, picks 200 of them a class.
    3. 70 steps of Adam on w, learning rate .005, both betas .1, on the Poincare distance between the logits, divided
       by their sum of magnitudes, and the corner of the class, at .9999; each step shows a random crop of 90 to 100 %.
    4. Score each result by its mean probability over 100 random crops of 50 to 90 % of the area, half of them mirrored.
    5. The 50 with the highest score are handed in.

What we changed
    Tested for its mechanics only, on tiny generators: it is meant for a StyleGAN at full size, which is the user's.
    Numbers are those of the released configuration for CelebA (FaceScrub with FFHQ: 2,000 styles, 50 steps; Stanford
    Dogs: 2,000, 100 steps, learning rate .01). Only the example files lower the learning rate on the way.
    Styles are pulled to the mean for all stages. The released code does so for the first 8 layers where it scores
    styles, and then goes on with that first layer's style for all.
    Cropping a generator's picture to the middle, 800 of 1,024 pixels there, is up to the generator. Its images are cut
    to 0..1, where the released code steps on what lies outside as well.
    All images of a step are cropped alike, as in one batch there; crops that would stick out are cut, not redrawn.
    Losses are added over images and not averaged, which Adam does not notice but for its epsilon.

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

from reference_attacks.inversion._crops import Crop, Crops
from reference_attacks.inversion._rows import (
    best_first,
    by_rows,
    confidence,
    gradient,
    probabilities,
    shown_at_the_end,
    taken,
    wanted,
)
from reference_attacks.inversion.losses import poincare
from reference_attacks.inversion.material import Images, Inverted
from reference_attacks.inversion.style import StyleGenerator, require_unconditional

__all__ = ["PPA", "StyleSearch", "invert", "promising_styles"]


@dataclass(frozen=True, slots=True)
class StyleSearch:
    """How first styles are found, and the steps that improve them; shared with IF-GMI.

    Attributes:
        styles: How many are drawn, for all classes together.
        truncation: What is left of a drawn style's distance to the mean.
        learning_rate: Of Adam.
        beta: Both of Adam's.
        smallest_area: Each step shows a random square-on crop of at least this share of the image's area.
        flip: Whether mirrored images are shown as well; for digits, letters and the like this is wrong.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    styles: int = 5000
    truncation: float = 0.5
    learning_rate: float = 0.005
    beta: float = 0.1
    smallest_area: float = 0.9
    flip: bool = True
    batch_size: int = 25

    def __post_init__(self) -> None:
        for name in ("styles", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("truncation", "smallest_area"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie above 0 and up to 1, got {getattr(self, name)}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.beta < 1.0:
            raise ValueError(f"beta must lie in 0..1, got {self.beta}")

    @property
    def shared_queries(self) -> int:
        """Images shown to find the first styles of all classes."""
        return self.styles * (1 + self.flip)


@dataclass(frozen=True, slots=True)
class PPA(StyleSearch):
    """How styles are found, improved and chosen, besides `StyleSearch`.

    Attributes:
        candidates: Styles improved for each class.
        steps: Of each.
        selection_crops: Random crops over which each result is judged.
        restarts: Results handed in for each class.

    Raises:
        ValueError: If a value is out of range.
    """

    candidates: int = 200
    steps: int = 70
    selection_crops: int = 100
    restarts: int = 50

    def __post_init__(self) -> None:
        StyleSearch.__post_init__(self)
        for name in ("candidates", "steps", "selection_crops", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.restarts <= self.candidates <= self.styles:
            raise ValueError(
                "restarts may not exceed candidates, nor these styles: "
                f"got {self.restarts}, {self.candidates}, {self.styles}"
            )


def invert(
    *,
    logits: Images,
    classes: Sequence[int],
    generator: StyleGenerator,
    rng: torch.Generator,
    settings: PPA = PPA(),
) -> Inverted:
    """Rebuild images of each class. Classes share the styles drawn and the crops, and nothing else.

    Args:
        logits: Images to logits [image, class], differentiably and each image for itself (eval mode).
        classes: Target class ids.
        generator: Trained on public images, not conditional.
        rng: Draws styles and crops, on the CPU.
        settings: How styles are found, improved and chosen.

    Returns:
        `settings.restarts` images of each class, the one with the highest mean probability under crops first.

    Raises:
        ValueError: If there is no class, the generator is conditional or the logits carry no gradient.
    """
    targets = wanted(classes, generator.mean_latent.device)
    shape, batch_size = generator.image_shape, settings.batch_size
    styles = promising_styles(logits, targets, generator, count=settings.candidates, rng=rng, search=settings)
    shown = Crops(settings.smallest_area, 1.0).draw(settings.steps, shape, rng)
    judged = Crops(0.5, 0.9, 0.8, 1.2, flip=settings.flip).draw(settings.selection_crops, shape, rng)

    def improved(some: Tensor, of: Tensor) -> Tensor:
        return _improved(logits, generator, some, of, shown, settings)

    def robustness(some: Tensor, of: Tensor) -> Tensor:
        images = _images(generator, some)
        return torch.stack([confidence(logits, crop.of(images), of) for crop in judged]).mean(dim=0)

    of = targets.repeat_interleave(settings.candidates)
    styles = by_rows(improved, styles.flatten(0, 1), of, batch_size=batch_size)
    scores = by_rows(robustness, styles, of, batch_size=batch_size)
    per_class = (len(targets), settings.candidates)
    chosen = taken(styles.unflatten(0, per_class), best_first(scores.unflatten(0, per_class), settings.restarts))
    images = by_rows(partial(_images, generator), chosen.flatten(0, 1), batch_size=batch_size)
    return shown_at_the_end(
        logits=logits,
        images=images.unflatten(0, chosen.shape[:2]),
        targets=targets,
        queries=settings.candidates * (settings.steps + settings.selection_crops),
        shared=settings.shared_queries,
        batch_size=batch_size,
        ranked=True,
    )


def promising_styles(
    logits: Images,
    targets: Tensor,
    generator: StyleGenerator,
    *,
    count: int,
    rng: torch.Generator,
    search: StyleSearch,
) -> Tensor:
    """The drawn styles of which the target is surest [class, count, latent], for each class the surest first.

    Args:
        logits: Images to logits [image, class].
        targets: Wanted class, int64 [class].
        generator: Trained on public images.
        count: Styles for each class.
        rng: Draws the styles.
        search: How many, and how far from the mean.

    Raises:
        ValueError: If the generator is conditional.
    """
    require_unconditional(generator)
    styles = torch.lerp(generator.mean_latent, generator.draw(search.styles, rng), search.truncation)

    def thought(some: Tensor) -> Tensor:
        images = _images(generator, some)
        first = probabilities(logits, images)[:, targets]
        return (first + probabilities(logits, images.flip(3))[:, targets]) / 2.0 if search.flip else first

    likely = by_rows(thought, styles, batch_size=search.batch_size).T
    return styles[best_first(likely, count)]


def _improved(
    logits: Images,
    generator: StyleGenerator,
    styles: Tensor,
    targets: Tensor,
    crops: Sequence[Crop],
    settings: PPA,
) -> Tensor:
    """Styles [image, latent] after one step for each crop."""
    styles = styles.clone()
    optimizer = torch.optim.Adam([styles], lr=settings.learning_rate, betas=(settings.beta, settings.beta))
    for crop in crops:
        _, styles.grad = gradient(lambda w, crop=crop: poincare(logits(crop.of(generator.images(w))), targets), styles)
        optimizer.step()
    return styles


def _images(generator: StyleGenerator, styles: Tensor) -> Tensor:
    with torch.no_grad():
        return generator.images(styles)
