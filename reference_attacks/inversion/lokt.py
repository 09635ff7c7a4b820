"""LOKT: teach a generator and surrogate models from labels alone, then search with the surrogates' gradients.

Nguyen, Chandrasegaran, Abdollahzadeh and Cheung (2023), "Label-Only Model Inversion Attacks via Knowledge Transfer",
NeurIPS, openreview.net/forum?id=NuoIThPPag. Checked against the released code (ngoc-nguyen-0/LOKT_neurips2023, commit
b751417).

What it claims
    Labels of generated images carry a model's knowledge over to models of the attacker's own; attacks that need weights
    then work on those, better than a search by labels.

What the attacker needs
    Access `labels`. Public images without labels; a conditional generator network, a discriminator network and several
    classifiers, all to be trained for this target.

Algorithm
    1. `teach`: an auxiliary-classifier GAN whose discriminator gives the probability D of "real" and class logits C.
       With a fake x = G(z, y), y uniform, and a public image r:
       generator, one step: -log D(x) + 1.5 * cross-entropy of C(x) to y;
       discriminator, five: -log(1 - D(x)) - log D(r) + 1.5 * cross-entropy of C(x) to the target's label of x.
       The class terms and the target's labels come in after 1,000 steps; 19,000 follow.
    2. `learn`: draw 500 fakes G(z, y) of each class y and ask for their labels. Each surrogate learns those by
       cross-entropy, half on the fakes and half on random views of them: SGD, .1 falling by a cosine, momentum .9,
       weight decay 5e-4, 200 epochs of 30,000 fakes.
    3. `invert`: for each class t and restart, draw z and take 600 steps of Adam (.1) on z, down the max-margin loss
       (largest other logit minus that of t) on two random views of G(z, t), summed, averaged over the surrogates.

What we changed
    Tested for its mechanics only. With the defaults, step 1 asks for 12 million labels. All networks are given; the
    authors' GAN is residual at 64 x 64, their surrogates are DenseNets 121, 161 and 169 that were trained on ImageNet
    first. The class logits of `Taught.discriminator` may serve as a surrogate too.
    The first steps without labels are 1,000 to 6,000 in the released code, by data set; 1,000 is that for CelebA.
    Views are those of `losses`. All classes start from the same latents and see the same views.
    The code scores all restarts; ours are ordered by the surrogates' mean loss on the image itself. The target is not
    asked again.

Published number and ours
    None verified, none measured.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_attacks.inversion._rows import best_first, by_rows, gradient, taken, wanted
from reference_attacks.inversion.lokt_generator import (
    Taught,
    Teaching,
    discriminator_loss,
    generator_loss,
    step_of,
    teach,
)
from reference_attacks.inversion.losses import Views, max_margin, random_view, view, view_chances
from reference_attacks.inversion.material import Generator, Images, Inverted

__all__ = [
    "LOKT",
    "Learned",
    "Learning",
    "Taught",
    "Teaching",
    "discriminator_loss",
    "generator_loss",
    "invert",
    "learn",
    "teach",
]


@dataclass(frozen=True, slots=True)
class Learning:
    """How surrogates are trained.

    Attributes:
        per_class: Fakes asked for each class.
        epochs: Of 30,000 fakes in the released code, see `epoch_images`.
        epoch_images: Fakes shown in an epoch; what does not fill a batch is left out.
        learning_rate: Of SGD at the start; it falls by a cosine.
        momentum: Of SGD.
        weight_decay: L2 penalty, as torch counts it.
        views: How much the views differ that make up half of the loss.
        batch_size: Fakes in a step.

    Raises:
        ValueError: If a value is out of range.
    """

    per_class: int = 500
    epochs: int = 200
    epoch_images: int = 30_000
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    views: Views = Views()  # noqa: RUF009 - frozen
    batch_size: int = 256

    def __post_init__(self) -> None:
        counts = (self.per_class, self.epochs, self.batch_size)
        if min(counts) < 1 or self.epoch_images < self.batch_size:
            raise ValueError(
                "per_class, epochs and batch_size must be at least 1 and epoch_images at least batch_size, "
                f"got {counts} and {self.epoch_images}"
            )
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum must lie in 0..1, got {self.momentum}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


@dataclass(frozen=True, slots=True)
class LOKT:
    """How latents are searched.

    Attributes:
        learning_rate: Of Adam on the latents.
        iterations: Steps of each restart.
        views: How much the views differ that the surrogates are shown.
        views_per_step: Of each image, for each surrogate.
        restarts: Latents tried for each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float = 0.1
    iterations: int = 600
    views: Views = Views()  # noqa: RUF009 - frozen
    views_per_step: int = 2
    restarts: int = 5
    batch_size: int = 256

    def __post_init__(self) -> None:
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        counts = (self.iterations, self.views_per_step, self.restarts, self.batch_size)
        if min(counts) < 1:
            raise ValueError(f"iterations, views_per_step, restarts and batch_size must be at least 1, got {counts}")


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Surrogates of a target.

    Attributes:
        surrogates: Images to logits [image, class], each differentiable.
        queries: Images shown to the target for its label, those for the generator included.
    """

    surrogates: tuple[Images, ...]
    queries: int


def learn(
    *,
    label_of: Images,
    generator: Generator,
    networks: Sequence[nn.Module],
    rng: torch.Generator,
    taught_queries: int = 0,
    settings: Learning = Learning(),
) -> Learned:
    """Train copies of classifiers on the target's labels of generated images.

    Args:
        label_of: Images to the target's labels, int64 [image].
        generator: Conditional, told the target's classes: a `Taught`.
        networks: Fresh ones, images to logits [image, class], where the generator runs. Not changed.
        rng: Draws fakes, batches and views, on the CPU.
        taught_queries: `Taught.queries`, to be counted along.
        settings: How they are trained.

    Returns:
        A surrogate for each network, in eval mode and frozen.

    Raises:
        ValueError: If there is no network or the generator takes no classes.
    """
    if not networks:
        raise ValueError("networks must hold at least one network")
    if not generator.conditional:
        raise ValueError("generator must be conditional: fakes are drawn for each class")
    latents = generator.draw(generator.conditional * settings.per_class, rng)
    classes = torch.arange(generator.conditional, device=latents.device).repeat_interleave(settings.per_class)

    def asked(latents: Tensor, classes: Tensor) -> Tensor:
        return label_of(generator.images(latents, classes)).to(latents.device)

    with torch.no_grad():
        labels = by_rows(asked, latents, classes, batch_size=settings.batch_size)
    surrogates = []
    for network in networks:
        surrogate = copy.deepcopy(network).requires_grad_().train()
        _learn_labels(surrogate, generator, latents, classes, labels, rng, settings)
        surrogates.append(surrogate.eval().requires_grad_(requires_grad=False))
    return Learned(tuple(surrogates), taught_queries + len(latents))


def invert(
    *,
    learned: Learned,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: LOKT = LOKT(),
) -> Inverted:
    """Search images of each class with the surrogates alone. Classes do not influence each other.

    Args:
        learned: What `learn` gave for this target.
        classes: Target class ids.
        generator: Conditional, told the target's classes: a `Taught`.
        rng: Draws the first latents and the views, on the CPU.
        settings: How latents are searched.

    Returns:
        `settings.restarts` images of each class, the one first of which the surrogates are surest.

    Raises:
        ValueError: If there is no class, the generator cannot be told one, or no surrogate carries a gradient.
    """
    if not all(0 <= each < generator.conditional for each in classes):
        raise ValueError(f"classes must be 0..{generator.conditional - 1}, what the generator can be told")
    starts = generator.draw(settings.restarts, rng)
    targets = wanted(classes, starts.device)
    of = targets.repeat_interleave(settings.restarts)
    latents = starts.repeat(len(targets), 1)

    def loss(images: Tensor, of: Tensor) -> Tensor:
        return torch.stack([max_margin(each(images), of) for each in learned.surrogates]).mean(dim=0)

    def slope(latents: Tensor, of: Tensor, *chances: Tensor) -> Tensor:
        def cost(latents: Tensor) -> Tensor:
            images = generator.images(latents, of)
            return torch.stack([loss(view(images, each, settings.views), of) for each in chances]).sum(dim=0)

        return gradient(cost, latents)[1]

    adam = torch.optim.Adam([latents], lr=settings.learning_rate)
    for _ in range(settings.iterations):
        chances = [view_chances(settings.restarts, rng).repeat(len(targets), 1) for _ in range(settings.views_per_step)]
        latents.grad = by_rows(slope, latents, of, *chances, batch_size=settings.batch_size)
        adam.step()
    with torch.no_grad():
        images = by_rows(generator.images, latents, of, batch_size=settings.batch_size)
        losses = by_rows(loss, images, of, batch_size=settings.batch_size)
    order = best_first(-losses.unflatten(0, (-1, settings.restarts)), settings.restarts)
    return Inverted(
        images=taken(images.unflatten(0, (-1, settings.restarts)), order),
        confidence=None,
        queries=torch.zeros(len(targets), dtype=torch.int64),
        shared_queries=learned.queries,
    )


def _learn_labels(
    surrogate: nn.Module,
    generator: Generator,
    latents: Tensor,
    classes: Tensor,
    labels: Tensor,
    rng: torch.Generator,
    settings: Learning,
) -> None:
    """Train a surrogate on the fakes of latents [image, latent] and classes [image], which the target labelled."""
    sgd = torch.optim.SGD(
        surrogate.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=settings.epochs)
    draw = _without_end(len(latents), settings.batch_size, rng)
    for _ in range(settings.epochs):
        for _ in range(settings.epoch_images // settings.batch_size):
            rows = draw().to(latents.device)
            with torch.no_grad():
                images = generator.images(latents[rows], classes[rows])
                seen = random_view(images, settings.views, rng)
            losses = [F.cross_entropy(surrogate(each), labels[rows]) for each in (images, seen)]
            step_of(sgd, 0.5 * (losses[0] + losses[1]))
        schedule.step()


def _without_end(n_rows: int, count: int, rng: torch.Generator) -> Callable[[], Tensor]:
    """What gives so many rows at each call, all once before any comes again."""
    left = torch.empty(0, dtype=torch.int64)

    def following() -> Tensor:
        nonlocal left
        while len(left) < count:
            left = torch.cat([left, torch.randperm(n_rows, generator=rng)])
        rows, left = left[:count], left[count:]
        return rows

    return following
