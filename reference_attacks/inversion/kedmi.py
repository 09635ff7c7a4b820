"""KEDMI: a discriminator that also learns what the target thinks, and a distribution of latents for each class.

Chen, Kahla, Jia and Qi (2021), "Knowledge-Enriched Distributional Model Inversion Attacks", ICCV, arXiv:2010.04092.
Checked against the released code (SCccc21/Knowledge-Enriched-DMI, commit 1ec92f4).

What it claims
    Public images carry more than how images look: what the target says of them, its soft labels, teaches the GAN which
    features matter to it. And a class has many images, so a distribution is recovered and not one latent.

What the attacker needs
    Access `weights`: logits and their gradient. Public images; a generator network on N(0, I) and a discriminator
    network that gives features and one logit for each of the K classes, both to be trained for this target (`teach`).

Algorithm
    1. With the discriminator's logits u, let e = logsumexp(u): the logit of "real", against the K+1st class "fake".
    2. Discriminator: cross-entropy from the target's softmax on public images to softmax(u), plus
       0.5 * mean[softplus(e) - e] on other public images plus 0.5 * mean[softplus(e)] on fakes.
    3. Generator, in every fifth step: mean over features of |mean f(fake) - mean f(real)|, plus 1e-4 times the entropy
       of softmax(u) on fakes, summed over the batch.
    4. For each class t, z ~ N(mu, diag exp(v)) from mu = 0 and v = 1. 2,400 steps of Adam (.02) on mu and v, down
       softplus(e) - e + 100 * (-log p_t) of the image of one z.
    5. Draw five z; their images are handed in.

What we changed
    Tested for its mechanics only. The networks are given; the authors' discriminator ends in minibatch discrimination,
    where images of a batch depend on each other, which step 4 must not have here.
    The released code asks the target anew in every batch; we ask once for each public image, with the same answers.
    It clips z to -1..1 after each step, but that z reaches no image, for each step draws afresh: no clip here.
    Losses of step 4 are added over classes, not averaged, which Adam does not notice. All classes draw the same noise.
    It scores the five draws alike; ours are ordered by the target's confidence, which shows it each once more.

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

from reference_attacks.inversion._rows import by_rows, gradient, shown_at_the_end, wanted
from reference_attacks.inversion.kedmi_generator import (
    Taught,
    Teaching,
    discriminator_loss,
    generator_loss,
    realness_loss,
    teach,
)
from reference_attacks.inversion.losses import cross_entropy
from reference_attacks.inversion.material import Generator, Images, Inverted

__all__ = ["KEDMI", "Taught", "Teaching", "discriminator_loss", "generator_loss", "invert", "realness_loss", "teach"]


@dataclass(frozen=True, slots=True)
class KEDMI:
    """How distributions are searched.

    Attributes:
        identity_weight: Of the cross-entropy; that of the discriminator's judgement is 1.
        learning_rate: Of Adam.
        iterations: Steps of each class.
        restarts: Draws from the distribution found, handed in for each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    identity_weight: float = 100.0
    learning_rate: float = 0.02
    iterations: int = 2400
    restarts: int = 5
    batch_size: int = 256

    def __post_init__(self) -> None:
        counts = (self.iterations, self.restarts, self.batch_size)
        if min(counts) < 1:
            raise ValueError(f"iterations, restarts and batch_size must be at least 1, got {counts}")
        if not 0.0 < self.identity_weight < math.inf:
            raise ValueError(f"identity_weight must be positive, got {self.identity_weight}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


def invert(
    *,
    logits: Images,
    critic: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    taught_queries: int = 0,
    settings: KEDMI = KEDMI(),
) -> Inverted:
    """Fit a Gaussian of latents for each class and draw from it. Classes do not influence each other.

    Args:
        logits: Images to logits [image, class], differentiably and each image for itself (eval mode).
        critic: Images to the discriminator's logits [image, class], likewise: `Taught.critic`.
        classes: Target class ids.
        generator: Trained together with the discriminator; its latents are N(0, I).
        rng: Draws noise, on the CPU.
        taught_queries: `Taught.queries`, to be handed on as shared.
        settings: How distributions are searched.

    Returns:
        `settings.restarts` images of each class, the one of which the target is surest first.

    Raises:
        ValueError: If there is no class or the logits carry no gradient.
    """
    like = generator.draw(1, torch.Generator().manual_seed(0))  # tells where the generator runs
    targets = wanted(classes, like.device)
    mean, log_variance = like.new_zeros(len(targets), like.shape[1]), like.new_ones(len(targets), like.shape[1])
    adam = torch.optim.Adam([mean, log_variance], lr=settings.learning_rate)
    for _ in range(settings.iterations):
        noise = torch.randn(like.shape[1], generator=rng).to(like)
        cost = partial(_cost, logits, critic, generator, settings.identity_weight, noise)
        slopes = [
            gradient(partial(cost, of), *rows)
            for of, *rows in zip(
                *(each.split(settings.batch_size) for each in (targets, mean, log_variance)), strict=True
            )
        ]
        mean.grad, log_variance.grad = (torch.cat([part[place] for part in slopes]) for place in (1, 2))
        adam.step()
    noise = torch.randn(settings.restarts, like.shape[1], generator=rng).to(like)
    latents = mean[:, None] + (0.5 * log_variance).exp()[:, None] * noise
    of = targets.repeat_interleave(settings.restarts)
    with torch.no_grad():
        images = by_rows(generator.images, latents.flatten(0, 1), of, batch_size=settings.batch_size)
    return shown_at_the_end(
        logits=logits,
        images=images.unflatten(0, (len(targets), settings.restarts)),
        targets=targets,
        queries=settings.iterations,
        shared=taught_queries,
        batch_size=settings.batch_size,
    )


def _cost(
    logits: Images,
    critic: Images,
    generator: Generator,
    identity_weight: float,
    noise: Tensor,
    targets: Tensor,
    mean: Tensor,
    log_variance: Tensor,
) -> Tensor:
    """What is descended for the image of one draw from each distribution [class]."""
    images = generator.images(mean + (0.5 * log_variance).exp() * noise, targets)
    return realness_loss(critic(images)) + identity_weight * cross_entropy(logits(images), targets)
