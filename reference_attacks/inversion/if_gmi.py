"""IF-GMI: after the style, search the features between a StyleGAN's stages as well.

Qiu, Fang, Yu, Chen, Qiu and Xia (2024), "A Closer Look at GAN Priors: Exploiting Intermediate Features for Enhanced
Model Inversion Attacks", ECCV, arXiv:2407.13863. Checked against the released code (final-solution/IF-GMI, commit
e792ef1).

What it claims
    Features between the stages of a StyleGAN can say more than its style. Searched stage by stage, and kept near what
    the generator made of them, they give images nearer to the private ones, most of all where the public ones differ.

What the attacker needs
    Access `weights`: logits and their gradient. A style generator trained on public images that shows its features
    between stages.

Algorithm
    1. Pick 50 styles for each class as PPA does, from 5,000.
    2. Stage 0: 70 steps of Adam on the style w, learning rate .005, both betas .1, on PPA's Poincare loss of a random
       crop of 90 to 100 %.
    3. What the first stage makes of w are the features of stage 1. Search these and w together for 25 steps, then
       stages 2, 3 and 4 alike, each from the features that the stage before makes of what was found.
    4. After each step, what features and w differ from at the start of their stage is projected to the L1 ball of
       radius 1,000 for stage 0, 2,000 for stage 1, up to 5,000 for stage 4.
    5. All 50 are handed in.

What we changed
    Tested for its mechanics only, on tiny generators: it is meant for a StyleGAN at full size, which is the user's.
    Numbers are those of the released configuration for CelebA with FFHQ as public images; the others have up to eight
    stages, of 10 steps for FaceScrub. What PPA's header says of truncation, crops and sums holds here, too.
    The images are those after the last step of the last stage. The released code keeps those of every stage, from
    before its last step, and states the stage at which its evaluation network does best, which no attacker sees.
    From stage 1 on the released code leaves out the small pictures that earlier stages add to the image; here that is
    up to the generator.
    The 50 are ordered by the target's confidence.

Published number and ours
    None verified, none measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reference_attacks.inversion._crops import Crop, Crops
from reference_attacks.inversion._rows import by_rows, gradient, shown_at_the_end, wanted
from reference_attacks.inversion.losses import poincare
from reference_attacks.inversion.material import Images, Inverted
from reference_attacks.inversion.ppa import StyleSearch, promising_styles
from reference_attacks.inversion.style import StyleGenerator

__all__ = ["IFGMI", "invert", "within_l1_ball"]


@dataclass(frozen=True, slots=True)
class IFGMI(StyleSearch):
    """How styles are found and features searched, besides `StyleSearch`.

    Attributes:
        restarts: Styles improved and handed in for each class.
        steps: Of each stage, the first of which searches the style alone.
        radii: Of the L1 ball of each stage.

    Raises:
        ValueError: If a value is out of range.
    """

    restarts: int = 50
    steps: tuple[int, ...] = (70, 25, 25, 25, 25)
    radii: tuple[float, ...] = (1000.0, 2000.0, 3000.0, 4000.0, 5000.0)

    def __post_init__(self) -> None:
        StyleSearch.__post_init__(self)
        if not 1 <= self.restarts <= self.styles:
            raise ValueError(f"restarts must be at least 1 and not exceed styles, got {self.restarts}, {self.styles}")
        if not self.steps or min(self.steps) < 1:
            raise ValueError(f"steps must be at least 1 for one stage or more, got {self.steps}")
        if len(self.radii) != len(self.steps) or not all(0.0 < radius < math.inf for radius in self.radii):
            raise ValueError(f"radii must be positive, one for each of {len(self.steps)} stages, got {self.radii}")


def invert(
    *,
    logits: Images,
    classes: Sequence[int],
    generator: StyleGenerator,
    rng: torch.Generator,
    settings: IFGMI = IFGMI(),
) -> Inverted:
    """Rebuild images of each class. Classes share the styles drawn and the crops, and nothing else.

    Args:
        logits: Images to logits [image, class], differentiably and each image for itself (eval mode).
        classes: Target class ids.
        generator: Trained on public images, not conditional, with at least as many stages as are searched.
        rng: Draws styles and crops, on the CPU.
        settings: How styles are found and features searched.

    Returns:
        `settings.restarts` images of each class, the one of which the target is surest first.

    Raises:
        ValueError: If there is no class, the generator is conditional or has too few stages, or there is no gradient.
    """
    targets = wanted(classes, generator.mean_latent.device)
    if len(settings.steps) > generator.stages:
        raise ValueError(f"steps are for {len(settings.steps)} stages, but the generator has {generator.stages}")
    styles = promising_styles(logits, targets, generator, count=settings.restarts, rng=rng, search=settings)
    crops = Crops(settings.smallest_area, 1.0)
    shown = [crops.draw(steps, generator.image_shape, rng) for steps in settings.steps]
    of = targets.repeat_interleave(settings.restarts)
    work = partial(_rebuilt, logits, generator, shown, settings)
    images = by_rows(work, styles.flatten(0, 1), of, batch_size=settings.batch_size)
    return shown_at_the_end(
        logits=logits,
        images=images.unflatten(0, styles.shape[:2]),
        targets=targets,
        queries=settings.restarts * sum(settings.steps),
        shared=settings.shared_queries,
        batch_size=settings.batch_size,
    )


def within_l1_ball(rows: Tensor, radius: float) -> Tensor:
    """The nearest rows [row, ...] whose entries have magnitudes that sum to at most `radius`.

    Duchi, Shalev-Shwartz, Singer and Chandra (2008), "Efficient Projections onto the l1-Ball for Learning in High
    Dimensions".
    """
    sizes = rows.flatten(1).abs()
    largest = sizes.sort(dim=1, descending=True).values
    excess = (largest.cumsum(dim=1) - radius) / torch.arange(1, sizes.shape[1] + 1, device=rows.device)
    shrink = excess.amax(dim=1).clamp_min(0.0)
    return (sizes - shrink[:, None]).clamp_min(0.0).view_as(rows) * rows.sign()


def _rebuilt(
    logits: Images,
    generator: StyleGenerator,
    shown: Sequence[Sequence[Crop]],
    settings: IFGMI,
    styles: Tensor,
    targets: Tensor,
) -> Tensor:
    """The images [image, channel, height, width] in which the search from some styles [image, latent] ends."""
    features: Tensor | None = None
    for stage, crops in enumerate(shown):
        if stage:
            with torch.no_grad():
                features = generator.advanced(features, styles, stage - 1)
        costs = [partial(_cost, logits, generator, targets, stage, crop) for crop in crops]
        start = [styles] if features is None else [styles, features]
        styles, *rest = _searched(costs, start, settings.radii[stage], settings)
        features = rest[0] if rest else None
    with torch.no_grad():
        return generator.images_from(features, styles, len(shown) - 1)


def _cost(
    logits: Images,
    generator: StyleGenerator,
    targets: Tensor,
    stage: int,
    crop: Crop,
    styles: Tensor,
    features: Tensor | None = None,
) -> Tensor:
    """The loss of each image [image] that a stage begins."""
    return poincare(logits(crop.of(generator.images_from(features, styles, stage))), targets)


def _searched(
    costs: Sequence[Callable[..., Tensor]], start: Sequence[Tensor], radius: float, settings: IFGMI
) -> list[Tensor]:
    """Each tensor [image, ...] after one step down each cost, not further than `radius` from where it was."""
    moving = [tensor.clone() for tensor in start]
    optimizer = torch.optim.Adam(moving, lr=settings.learning_rate, betas=(settings.beta, settings.beta))
    for cost in costs:
        _, *slopes = gradient(cost, *moving)
        for tensor, slope in zip(moving, slopes, strict=True):
            tensor.grad = slope
        optimizer.step()
        for tensor, first in zip(moving, start, strict=True):
            tensor.copy_(first + within_l1_ball(tensor - first, radius))
    return moving
