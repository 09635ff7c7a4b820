"""GMI: search a generator of public images for the one that a model is surest about.

Zhang, Jia, Pei, Wang, Li and Song (2020), "The Secret Revealer: Generative Model-Inversion Attacks Against Deep Neural
Networks", CVPR. Checked against the released code (AI-secure/GMI-Attack, commit dac39bc).

What it claims
    A generator trained on public images keeps the search among images that could be real, so that what a model has
    learned of a class shows as a picture and not as noise.

What the attacker needs
    Access `weights`: logits and their gradient. A generator trained on public images, and its critic: a number for
    each image, larger for what looks more real.

Algorithm
    1. For each class t and restart, draw a latent z from the generator's prior.
    2. Of the image x = G(z), the loss is 100 * (-log p_t(x)) - critic(x), averaged over the images of a batch.
    3. 1,500 steps of SGD on z with Nesterov's momentum .9 and learning rate .02; after each z is clipped to -1..1.
    4. Of five restarts, the one of which the target is surest is handed in.

What we changed
    `averaged_over` stands for the batch of step 2: 100 classes in the released code, so one image's step is a hundredth
    of what the learning rate says. With the number fixed, classes do not depend on how many are attacked together. For
    MNIST the released code takes a learning rate of .01 and 5 classes, that is steps ten times as long.
    Restarts are compared by the log-probability of the class; the released code compares its logit.
    Whether the generator is a WGAN-GP, as the paper's, is up to whoever trained it. No blurred or masked image of the
    person is used. `identity_loss` "max-margin" (that of PLG-MI) keeps its gradient where cross-entropy has none left.

Published number and ours
    None verified. Ours, one run: a small network on MNIST's digits 0-4, a hinge GAN of 5-9, 5 images per class. Random
    draws have a mean confidence of .18; all searches, .999 or more. Two networks trained on other records of 0-4 name
    the class in 60 and 80 % of the images of cross-entropy, in 100 and 96 % of those of max-margin; in 88 and 72 % of
    the best of 5,000 draws. All three convince the target; only max-margin convinces both other networks as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from reference_attacks.inversion.losses import class_loss
from reference_attacks.inversion.material import Generator, Images, Inverted

__all__ = ["GMI", "IdentityLoss", "differentiable_logits", "invert", "search"]

IdentityLoss = Literal["cross-entropy", "max-margin", "logit"]

_Objective = Callable[[Tensor, Tensor], Tensor]
"""Images and the wanted classes, int64 [image], to what is descended [image]."""


@dataclass(frozen=True, slots=True)
class GMI:
    """How latents are searched.

    Attributes:
        identity_loss: What says whether the target sees the class; "cross-entropy" is the paper's.
        identity_weight: Its weight; the critic's is 1.
        learning_rate: Of SGD.
        momentum: Of SGD, in Nesterov's form.
        iterations: Steps of each restart.
        clip: Latents are kept in -clip..clip after each step; infinity leaves them free.
        restarts: Latents tried for each class.
        averaged_over: Number by which an image's loss is divided: the images of one batch in the released code.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    identity_loss: IdentityLoss = "cross-entropy"
    identity_weight: float = 100.0
    learning_rate: float = 0.02
    momentum: float = 0.9
    iterations: int = 1500
    clip: float = 1.0
    restarts: int = 5
    averaged_over: int = 100
    batch_size: int = 256

    def __post_init__(self) -> None:
        if self.identity_loss not in get_args(IdentityLoss):
            allowed = "'cross-entropy', 'max-margin' or 'logit'"
            raise ValueError(f"identity_loss must be {allowed}, got {self.identity_loss!r}")
        if not 0.0 < self.identity_weight < math.inf:
            raise ValueError(f"identity_weight must be positive, got {self.identity_weight}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum must lie in 0..1, got {self.momentum}")
        if not self.clip > 0.0:
            raise ValueError(f"clip must be positive, got {self.clip}")
        counts = (self.iterations, self.restarts, self.averaged_over, self.batch_size)
        if min(counts) < 1:
            raise ValueError(f"iterations, restarts, averaged_over and batch_size must be at least 1, got {counts}")


def invert(
    *,
    logits: Images,
    critic: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: GMI = GMI(),
) -> Inverted:
    """Search images for each class. Classes do not influence each other, so many may be split over several calls.

    Args:
        logits: Images to logits [image, class], differentiably and each image for itself (eval mode).
        critic: Images to how real each looks [image], differentiably.
        classes: Target class ids.
        generator: Trained on public images.
        rng: Draws the first latents.
        settings: How latents are searched.

    Returns:
        `settings.restarts` images of each class, the one of which the target is surest first.

    Raises:
        ValueError: If there is no class, the logits carry no gradient or the critic does not judge each image.
    """
    loss = class_loss(settings.identity_loss)

    def identity(images: Tensor, targets: Tensor) -> Tensor:
        return loss(differentiable_logits(logits, images), targets)

    return search(
        identity=identity,
        logits=logits,
        critic=critic,
        classes=classes,
        generator=generator,
        rng=rng,
        settings=settings,
    )


def search(
    *,
    identity: Callable[[Tensor, Tensor], Tensor],
    logits: Images,
    critic: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: GMI,
) -> Inverted:
    """The search of GMI, whatever says that an image shows the class.

    Args:
        identity: Images and the wanted classes, int64 [image], to a loss [image], differentiably.
        logits: What ranks the restarts at the end; see `invert`.
        critic: See `invert`.
        classes: Target class ids.
        generator: Trained on public images.
        rng: Draws the first latents.
        settings: How latents are searched; `identity_loss` is not looked at.

    Returns:
        As `invert`; `queries` takes it that `identity` shows each image to the target once.

    Raises:
        ValueError: If there is no class or the critic does not judge each image.
    """
    if not classes:
        raise ValueError("classes must name at least one class")

    def objective(images: Tensor, targets: Tensor) -> Tensor:
        return settings.identity_weight * identity(images, targets) - _realness(critic, images)

    latents = generator.draw(len(classes) * settings.restarts, rng)
    targets = torch.tensor(list(classes), device=latents.device).repeat_interleave(settings.restarts)
    parts = [
        _found(objective, logits, generator, some, wanted, settings)
        for some, wanted in zip(latents.split(settings.batch_size), targets.split(settings.batch_size), strict=True)
    ]
    images = torch.cat([images for images, _ in parts]).unflatten(0, (len(classes), settings.restarts))
    log_p = torch.cat([log_p for _, log_p in parts]).unflatten(0, (len(classes), settings.restarts))
    best_first = log_p.argsort(dim=1, descending=True, stable=True)
    return Inverted(
        images=images[torch.arange(len(classes), device=images.device)[:, None], best_first],
        confidence=log_p.gather(1, best_first).exp(),
        queries=torch.full((len(classes),), settings.restarts * (settings.iterations + 1), dtype=torch.int64),
    )


def differentiable_logits(logits: Images, images: Tensor) -> Tensor:
    """What the target says of images [image, class].

    Raises:
        ValueError: If it carries no gradient.
    """
    outputs = logits(images)
    if not outputs.requires_grad:
        raise ValueError("logits must be differentiable: it was computed without gradients")
    return outputs


def _found(
    objective: _Objective, logits: Images, generator: Generator, latents: Tensor, targets: Tensor, settings: GMI
) -> tuple[Tensor, Tensor]:
    """Where the search from some latents ends: images, and their log-probability of the class, float64 [image]."""
    velocity = torch.zeros_like(latents)
    for _ in range(settings.iterations):
        gradient = _gradient(objective, generator, latents, targets) / settings.averaged_over
        before, velocity = velocity, settings.momentum * velocity - settings.learning_rate * gradient
        latents = latents - settings.momentum * before + (1.0 + settings.momentum) * velocity
        latents = latents.clamp(-settings.clip, settings.clip)
    with torch.no_grad():
        images = generator.images(latents, targets)
        log_p = F.log_softmax(logits(images).double(), dim=1).gather(1, targets.to(images.device)[:, None])
    return images, log_p.squeeze(1)


def _gradient(objective: _Objective, generator: Generator, latents: Tensor, targets: Tensor) -> Tensor:
    with torch.enable_grad():
        latents = latents.detach().requires_grad_()
        images = generator.images(latents, targets)
        (gradient,) = torch.autograd.grad(objective(images, targets.to(images.device)).sum(), latents)
    return gradient


def _realness(critic: Images, images: Tensor) -> Tensor:
    judged = critic(images)
    if judged.numel() != len(images):
        raise ValueError(f"critic must give one number for each of {len(images)} images, got {tuple(judged.shape)}")
    return judged.flatten()
