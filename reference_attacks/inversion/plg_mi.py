"""PLG-MI: public images that a model takes for its classes teach a conditional generator, which is then searched.

Yuan, Chen, Zhang, Zhang, Yu and Zhang (2023), "Pseudo Label-Guided Model Inversion Attack via Conditional Generative
Adversarial Network", AAAI, arXiv:2302.09814. Checked against the released code (LetheSec/PLG-MI-Attack, commit
3cf8735).

What it claims
    A generator that knows the classes apart keeps the search for one class out of the others, and a margin loss goes on
    where the gradient of cross-entropy has vanished; so it stands a large shift between public and private images.

What the attacker needs
    Access `weights`: logits and their gradient. Public images. The generator is trained for one target.

Algorithm
    1. Pseudo-labels: for each class, the n public images that the target is surest about; one may serve several.
    2. A conditional GAN on them (projection critic, hinge); the generator's loss has alpha * L(T(view of G(z, c)), c)
       added, where L is the max-margin loss: the largest other logit minus that of the class.
    3. For each class t and restart, draw z from the prior and take 600 steps of Adam (.1) on z, down the sum of
       L(T(view of G(z, t)), t) over two random views. The last z gives the reconstruction.

What we changed
    The networks are small and not residual, and trained for fewer steps than the released 30,000, at rates of our own
    (see `priors.conditional_gan`). Training views are jittered always, not half of the time; what a turn brings in
    repeats the edge instead of being black. No noise below one grey level is added to the public images.
    The released code scores all restarts; ours are ordered by the target's confidence in the unchanged image.
    `clip` is ours, and off. Views may be mirrored: switch `flip` off where a mirror image is of no class, as with
    digits.

Published number and ours
    None verified. Ours, once, on a small network of the digits 0-4 with the digits 5-9 as public images, 400 for each
    class, and 2,000 steps of training (four minutes on one core), ten restarts. Mean squared distance to the nearest
    private training image of the class, in the features of another network: 9.5 for real test images, 20.9 for the
    public images that the target is surest of, 30.4 for the generator without a search, 53.6 for the search above and
    39.2 with `clip` 1; with cross-entropy 25.2 and 23.4. The target is sure of all of them: where nothing holds z, a
    margin that may grow for ever drives it out of the prior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reference_attacks.inversion._rows import by_rows, gradient, probabilities, shown_at_the_end, wanted
from reference_attacks.inversion.losses import LossName, Views, class_loss, random_view, view, view_chances
from reference_attacks.inversion.material import Generator, Images, Inverted
from reference_attacks.priors import conditional_gan
from reference_attacks.priors.conditional_gan import ConditionalPrior, Extra, GanSettings, Labelled, Progress

__all__ = ["PlgMi", "PseudoLabels", "TargetedPrior", "invert", "pseudo_label", "train_prior"]


@dataclass(frozen=True, slots=True)
class PlgMi:
    """How public images are labelled and the generator is trained and searched.

    Attributes:
        per_class: Public images pseudo-labelled with each class.
        loss: What says whether the target sees the class, in training and search.
        inversion_weight: Its weight in the generator's loss; at 0 the target is asked for pseudo-labels only.
        views: How much the views differ that the target is shown.
        views_per_step: Views of each image in a step of the search.
        learning_rate: Of Adam on the latents.
        iterations: Steps of each restart.
        clip: Latents are kept in -clip..clip after each step; at infinity, as in the released code, they are free.
        restarts: Latents tried for each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    per_class: int = 30
    loss: LossName = "max-margin"
    inversion_weight: float = 0.2
    views: Views = Views()  # noqa: RUF009 - frozen
    views_per_step: int = 2
    learning_rate: float = 0.1
    iterations: int = 600
    clip: float = math.inf
    restarts: int = 5
    batch_size: int = 256

    def __post_init__(self) -> None:
        class_loss(self.loss)
        if not 0.0 <= self.inversion_weight < math.inf:
            raise ValueError(f"inversion_weight must not be negative, got {self.inversion_weight}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not self.clip > 0.0:
            raise ValueError(f"clip must be positive, got {self.clip}")
        counts = (self.per_class, self.views_per_step, self.iterations, self.restarts, self.batch_size)
        if min(counts) < 1:
            raise ValueError(
                f"per_class, views_per_step, iterations, restarts and batch_size must be at least 1, got {counts}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabels:
    """Public images and the classes that they are to stand for; an image may occur under several.

    Attributes:
        rows: Places of the images among the public ones, int64 [image].
        classes: int64 [image].
    """

    rows: Tensor
    classes: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TargetedPrior:
    """A conditional generator made for one target.

    Attributes:
        prior: Told the target's classes.
        queries: Images that the target was shown for it: public ones, and fakes.
    """

    prior: ConditionalPrior
    queries: int


def pseudo_label(released: Tensor, per_class: int) -> PseudoLabels:
    """The public images of which the target is surest, for each class: surest first, in the order of the classes.

    Args:
        released: The target's probabilities of public images [image, class].
        per_class: How many for each class.

    Raises:
        ValueError: If there are fewer images.
    """
    if released.ndim != 2 or not 1 <= per_class <= len(released):
        raise ValueError(f"per_class must be 1..{len(released)}, the number of public images, got {per_class}")
    surest = released.argsort(dim=0, descending=True, stable=True)[:per_class]
    classes = torch.arange(released.shape[1], device=released.device).repeat_interleave(per_class)
    return PseudoLabels(surest.T.flatten(), classes)


def train_prior(
    *,
    logits: Images,
    public: Tensor,
    rng: torch.Generator,
    gan: GanSettings,
    settings: PlgMi = PlgMi(),
    progress: Progress | None = None,
) -> TargetedPrior:
    """Train the conditional generator for a target.

    Args:
        logits: Images to logits [image, class], differentiably and each image for itself (eval mode).
        public: Public images in 0..1, float32 [image, channel, height, width], where training is to happen.
        rng: Draws everything, on the CPU.
        gan: How large the networks are and how they are trained.
        settings: How images are labelled, and the target's part in the training.
        progress: How the training goes on, is kept and is watched. A resumed one asks for the pseudo-labels again.

    Raises:
        ValueError: If there are too few public images, the logits carry no gradient, or the state to resume from is
            not of this training.
        FloatingPointError: If the training diverges.
    """
    released = by_rows(partial(probabilities, logits), public, batch_size=settings.batch_size)
    chosen = pseudo_label(released, settings.per_class)
    labelled = Labelled(public[chosen.rows.to(public.device)], chosen.classes.to(public.device), released.shape[1])
    extra = _inversion_term(logits, settings) if settings.inversion_weight else None
    prior = conditional_gan.train(labelled, rng=rng, settings=gan, extra=extra, progress=progress)
    return TargetedPrior(prior, queries=len(public) + (gan.steps * gan.batch_size if extra else 0))


def invert(
    *,
    logits: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    prior_queries: int = 0,
    settings: PlgMi = PlgMi(),
) -> Inverted:
    """Search images of each class. How classes are batched changes what is drawn for them, not what is searched.

    Args:
        logits: Images to logits [image, class], differentiably and each image for itself (eval mode).
        classes: Target class ids.
        generator: Conditional, told the target's classes.
        rng: Draws the first latents and the views, on the CPU.
        prior_queries: `TargetedPrior.queries`, to be handed on as shared.
        settings: How the generator is searched.

    Returns:
        `settings.restarts` images of each class, the one of which the target is surest first.

    Raises:
        ValueError: If there is no class, the generator cannot be told one, or the logits carry no gradient.
    """
    if not all(0 <= each < generator.conditional for each in classes):
        raise ValueError(f"classes must be 0..{generator.conditional - 1}, what the generator can be told")
    latents = generator.draw(len(classes) * settings.restarts, rng)
    targets = wanted(classes, latents.device)
    of = targets.repeat_interleave(settings.restarts)
    latents = _searched(logits, generator, latents, of, rng, settings)
    with torch.no_grad():
        images = by_rows(generator.images, latents, of, batch_size=settings.batch_size)
    return shown_at_the_end(
        logits=logits,
        images=images.unflatten(0, (len(classes), settings.restarts)),
        targets=targets,
        queries=settings.restarts * settings.iterations * settings.views_per_step,
        shared=prior_queries,
        batch_size=settings.batch_size,
    )


def _inversion_term(logits: Images, settings: PlgMi) -> Extra:
    """What is added to the generator's loss: the target's loss on a random view of each fake, weighted."""
    loss = class_loss(settings.loss)

    def term(fakes: Tensor, classes: Tensor, rng: torch.Generator) -> Tensor:
        shown = logits(random_view(fakes, settings.views, rng))
        if not shown.requires_grad:
            raise ValueError("logits must be differentiable: it was computed without gradients")
        return settings.inversion_weight * loss(shown, classes).mean()

    return term


def _searched(
    logits: Images, generator: Generator, latents: Tensor, of: Tensor, rng: torch.Generator, settings: PlgMi
) -> Tensor:
    """Where Adam gets to from the latents [image, latent]."""
    loss = class_loss(settings.loss)

    def slope(latents: Tensor, of: Tensor, *chances: Tensor) -> Tensor:
        def cost(latents: Tensor) -> Tensor:
            images = generator.images(latents, of)
            return torch.stack([loss(logits(view(images, each, settings.views)), of) for each in chances]).sum(dim=0)

        return gradient(cost, latents)[1]

    latents = latents.clone()
    adam = torch.optim.Adam([latents], lr=settings.learning_rate)
    for _ in range(settings.iterations):
        chances = [view_chances(len(latents), rng) for _ in range(settings.views_per_step)]
        latents.grad = by_rows(slope, latents, of, *chances, batch_size=settings.batch_size)
        adam.step()
        latents.clamp_(-settings.clip, settings.clip)
    return latents
