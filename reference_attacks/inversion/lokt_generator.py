"""LOKT's generator: an auxiliary-classifier GAN whose discriminator learns what a target calls its fakes.

Step 1 of `lokt`, which says where it is from and what is changed.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_attacks.inversion.material import Images

__all__ = ["Taught", "Teaching", "discriminator_loss", "generator_loss", "step_of", "teach"]


@dataclass(frozen=True, slots=True)
class Teaching:
    """How the generator and its discriminator are trained.

    Attributes:
        plain_steps: Of the generator, before labels come in.
        steps: Of the generator, with labels.
        discriminator_steps: For each of the generator's, after it.
        class_weight: Of the cross-entropies.
        learning_rate: Of both networks' Adam, betas 0 and .9.
        batch_size: Fakes and public images in a step.

    Raises:
        ValueError: If a value is out of range.
    """

    plain_steps: int = 1000
    steps: int = 19_000
    discriminator_steps: int = 5
    class_weight: float = 1.5
    learning_rate: float = 2e-4
    batch_size: int = 128

    def __post_init__(self) -> None:
        counts = (self.steps, self.discriminator_steps, self.batch_size)
        if min(counts) < 1 or self.plain_steps < 0:
            raise ValueError(
                "steps, discriminator_steps and batch_size must be at least 1 and plain_steps at least 0, "
                f"got {counts} and {self.plain_steps}"
            )
        if not 0.0 < self.class_weight < math.inf:
            raise ValueError(f"class_weight must be positive, got {self.class_weight}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """A conditional generator, as `material.Generator`, and the discriminator that it was trained against.

    Attributes:
        generator: Latents [image, latent] and classes, int64 [image], to images.
        discriminator: Images to logits of "real" [image] and of the classes [image, class].
        latent_size: Length of a latent.
        image_shape: Channel, height, width.
        conditional: How many classes it can be told.
        queries: Fakes whose label the target was asked for.
    """

    generator: nn.Module
    discriminator: nn.Module
    latent_size: int
    image_shape: tuple[int, int, int]
    conditional: int
    queries: int

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Latents from N(0, I), float32 [image, latent]; drawn on the CPU."""
        return torch.randn(count, self.latent_size, generator=rng).to(next(self.generator.parameters()).device)

    def images(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images in 0..1 [image, channel, height, width] of latents [image, latent] and classes, int64 [image]."""
        images: Tensor = self.generator(latents, classes)
        return images


def generator_loss(real: Tensor, logits: Tensor, classes: Tensor, *, class_weight: float) -> Tensor:
    """What the generator descends, a number.

    Args:
        real: The discriminator's logits of "real" on fakes [image].
        logits: Its class logits on them [image, class].
        classes: What they are to show, int64 [image].
        class_weight: Of the cross-entropy; 0 before labels come in.
    """
    return F.softplus(-real).mean() + class_weight * F.cross_entropy(logits, classes)


def discriminator_loss(
    fakes: Tensor, public: Tensor, logits: Tensor, labels: Tensor | None, *, class_weight: float
) -> Tensor:
    """What the discriminator descends, a number.

    Args:
        fakes: Its logits of "real" on fakes [image].
        public: The same on public images [image].
        logits: Its class logits on the fakes [image, class].
        labels: What the target takes the fakes for, int64 [image]; None before labels come in.
        class_weight: Of the cross-entropy.
    """
    loss = F.softplus(fakes).mean() + F.softplus(-public).mean()
    return loss if labels is None else loss + class_weight * F.cross_entropy(logits, labels)


def teach(
    *,
    label_of: Images,
    public_images: Tensor,
    generator: nn.Module,
    discriminator: nn.Module,
    latent_size: int,
    n_classes: int,
    rng: torch.Generator,
    settings: Teaching = Teaching(),
) -> Taught:
    """Train copies of a conditional generator and a discriminator for a target.

    Args:
        label_of: Images to the target's labels, int64 [image].
        public_images: In 0..1 [image, channel, height, width]; training happens where they are.
        generator: See `Taught`. Not changed.
        discriminator: See `Taught`. Not changed.
        latent_size: Length of the generator's latents, which are N(0, I).
        n_classes: The target's.
        rng: Draws batches, latents and classes, on the CPU.
        settings: How they are trained.

    Returns:
        The trained networks, in eval mode and frozen.

    Raises:
        ValueError: If there is no public image.
    """
    if not len(public_images):
        raise ValueError("public_images must hold at least one image")
    device, count = public_images.device, settings.batch_size
    made, judge = (copy.deepcopy(net).to(device).requires_grad_().train() for net in (generator, discriminator))
    made_by, judged_by = (
        torch.optim.Adam(net.parameters(), lr=settings.learning_rate, betas=(0.0, 0.9)) for net in (made, judge)
    )

    def fakes() -> tuple[Tensor, Tensor]:
        classes = torch.randint(n_classes, (count,), generator=rng).to(device)
        return made(torch.randn(count, latent_size, generator=rng).to(device), classes), classes

    for step in range(settings.plain_steps + settings.steps):
        labelled = step >= settings.plain_steps
        images, classes = fakes()
        real, said = judge(images)
        step_of(made_by, generator_loss(real, said, classes, class_weight=settings.class_weight if labelled else 0.0))
        for _ in range(settings.discriminator_steps):
            public = public_images[torch.randint(len(public_images), (count,), generator=rng).to(device)]
            with torch.no_grad():
                images, _ = fakes()
                labels = label_of(images).to(device) if labelled else None
            real, said = judge(images)
            loss = discriminator_loss(real, judge(public)[0], said, labels, class_weight=settings.class_weight)
            step_of(judged_by, loss)
    made, judge = (net.eval().requires_grad_(requires_grad=False) for net in (made, judge))
    shape = (public_images.shape[1], public_images.shape[2], public_images.shape[3])
    queries = settings.steps * settings.discriminator_steps * count
    return Taught(made, judge, latent_size, shape, n_classes, queries)


def step_of(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of an optimizer down a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
