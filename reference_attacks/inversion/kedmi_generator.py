"""KEDMI's GAN: a discriminator with a head for each class of a target, taught by what the target says.

Steps 1 to 3 of `kedmi`, which says where it is from and what is changed.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_attacks.inversion._rows import by_rows, probabilities
from reference_attacks.inversion.material import Images

__all__ = ["Taught", "Teaching", "discriminator_loss", "generator_loss", "realness_loss", "teach"]


@dataclass(frozen=True, slots=True)
class Teaching:
    """How the two networks are trained.

    Attributes:
        epochs: Passes over the public images.
        generator_every: Steps of the discriminator for one of the generator.
        entropy_weight: Of the entropy in the generator's loss.
        learning_rate: Of both networks' Adam, betas .5 and .999.
        batch_size: Images of each kind in a step; what is left over in an epoch is left out.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int = 120
    generator_every: int = 5
    entropy_weight: float = 1e-4
    learning_rate: float = 2e-4
    batch_size: int = 64

    def __post_init__(self) -> None:
        counts = (self.epochs, self.generator_every, self.batch_size)
        if min(counts) < 1:
            raise ValueError(f"epochs, generator_every and batch_size must be at least 1, got {counts}")
        if not 0.0 <= self.entropy_weight < math.inf:
            raise ValueError(f"entropy_weight must not be negative, got {self.entropy_weight}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """Networks that were trained for one target.

    Attributes:
        generator: Latents [image, latent] to images.
        discriminator: Images to features [image, feature] and logits [image, class].
        queries: Public images shown to the target.
    """

    generator: nn.Module
    discriminator: nn.Module
    queries: int

    def critic(self, images: Tensor) -> Tensor:
        """The discriminator's logits [image, class], as `invert` takes them."""
        logits: Tensor = self.discriminator(images)[1]
        return logits


def realness_loss(logits: Tensor) -> Tensor:
    """-log of the discriminator's probability of "real" [image]: softplus(e) - e.

    Args:
        logits: Of its K class heads [image, class].
    """
    return F.softplus(-logits.logsumexp(dim=1))


def discriminator_loss(labelled: Tensor, soft_labels: Tensor, unlabelled: Tensor, fakes: Tensor) -> Tensor:
    """What the discriminator descends, a number.

    Args:
        labelled: Its logits on public images [image, class].
        soft_labels: The target's probabilities on the same images [image, class].
        unlabelled: Its logits on other public images [image, class].
        fakes: Its logits on generated images [image, class].
    """
    taught = F.cross_entropy(labelled, soft_labels)
    found_out = F.softplus(fakes.logsumexp(dim=1)).mean()
    return taught + 0.5 * (realness_loss(unlabelled).mean() + found_out)


def generator_loss(
    fake_features: Tensor, real_features: Tensor, fake_logits: Tensor, *, entropy_weight: float
) -> Tensor:
    """What the generator descends, a number.

    Args:
        fake_features: The discriminator's features of generated images [image, feature].
        real_features: Its features of public images [image, feature].
        fake_logits: Its logits on the generated images [image, class].
        entropy_weight: Of the entropy of those, summed over the images.
    """
    matched = (fake_features.mean(dim=0) - real_features.mean(dim=0)).abs().mean()
    entropy = -(fake_logits.softmax(dim=1) * fake_logits.log_softmax(dim=1)).sum()
    return matched + entropy_weight * entropy


def teach(
    *,
    logits: Images,
    public_images: Tensor,
    generator: nn.Module,
    discriminator: nn.Module,
    latent_size: int,
    rng: torch.Generator,
    settings: Teaching = Teaching(),
) -> Taught:
    """Train copies of a generator and a discriminator for a target.

    Args:
        logits: Images to the target's logits [image, class]; the logarithm of released probabilities will do.
        public_images: In 0..1 [image, channel, height, width]; training happens where they are.
        generator: Latents [image, latent] to images in 0..1. Not changed.
        discriminator: Images to features [image, feature] and logits [image, class]. Not changed.
        latent_size: Length of the generator's latents, which are N(0, I).
        rng: Draws batches and latents, on the CPU.
        settings: How they are trained.

    Returns:
        The trained networks, in eval mode and frozen.

    Raises:
        ValueError: If there are fewer public images than a batch takes.
    """
    if len(public_images) < settings.batch_size:
        raise ValueError(f"public_images must fill a batch of {settings.batch_size}, got {len(public_images)}")
    soft_labels = by_rows(partial(probabilities, logits), public_images, batch_size=settings.batch_size).float()
    device = public_images.device
    made, judge = (copy.deepcopy(net).to(device).requires_grad_().train() for net in (generator, discriminator))
    made_by, judged_by = (
        torch.optim.Adam(net.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999)) for net in (made, judge)
    )
    step = 0
    for _ in range(settings.epochs):
        for labelled, unlabelled, other in _batches(len(public_images), settings.batch_size, rng):
            step += 1
            latents = torch.randn(2, settings.batch_size, latent_size, generator=rng).to(device)
            with torch.no_grad():
                fakes = made(latents[0])
            loss = discriminator_loss(
                judge(public_images[labelled])[1],
                soft_labels[labelled],
                judge(public_images[unlabelled])[1],
                judge(fakes)[1],
            )
            _step(judged_by, loss)
            if step % settings.generator_every == 0:
                features, said = judge(made(latents[1]))
                real = judge(public_images[other])[0].detach()
                _step(made_by, generator_loss(features, real, said, entropy_weight=settings.entropy_weight))
    made, judge = (net.eval().requires_grad_(requires_grad=False) for net in (made, judge))
    return Taught(made, judge, queries=len(public_images))


def _batches(n_images: int, size: int, rng: torch.Generator) -> list[tuple[Tensor, Tensor, Tensor]]:
    """An epoch's rows three times, each time in an order of its own."""
    orders = [torch.randperm(n_images, generator=rng).split(size) for _ in range(3)]
    return [(one, two, three) for one, two, three in zip(*orders, strict=True) if len(one) == size]


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
