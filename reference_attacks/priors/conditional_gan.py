"""A small conditional GAN trained on public images with (pseudo-)labels: the prior of PLG-MI and its kind.

Conditional batch norm in the generator (Dumoulin et al. 2017, "A Learned Representation for Artistic Style", ICLR), a
projection critic (Miyato and Koyama 2018, "cGANs with Projection Discriminator", ICLR) with spectral norms and hinge.

What we changed
    As in `gan`: small networks without residual blocks, settings of ours, a moving average of the generator's weights.
    The class also enters beside the latent, as a learned code: with conditional batch norm alone, a training of a few
    minutes hardly tells the classes apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_attacks.priors._networks import GeneratorNetwork, above, restored
from reference_attacks.priors._training import Extra, GanSettings, GanTrainer, Progress

__all__ = ["ConditionalPrior", "Extra", "GanSettings", "Labelled", "Progress", "load", "train"]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Public images and what they are taken to show.

    Attributes:
        images: In 0..1, float32 [image, channel, height, width]; training happens where they are.
        classes: int64 [image].
        n_classes: How many classes the generator can be told; those without an image are asked of it all the same.
    """

    images: Tensor
    classes: Tensor
    n_classes: int


@dataclass(frozen=True, slots=True, eq=False)
class ConditionalPrior:
    """A trained conditional generator; a `Generator` of `reference_attacks.inversion.material`.

    Attributes:
        latent_size: Length of a latent.
        image_shape: Channel, height, width.
        conditional: How many classes it can be told.
        generator: In eval mode, without gradients for its weights.
    """

    latent_size: int
    image_shape: tuple[int, int, int]
    conditional: int
    generator: GeneratorNetwork

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Standard normal latents [image, latent], drawn on the CPU and put where the generator is."""
        return self.generator.draw(count, rng)

    def images(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images in 0..1 [image, channel, height, width] of the classes, int64 [image].

        Raises:
            ValueError: If no classes are given.
        """
        if classes is None:
            raise ValueError("a conditional prior must be told the class of each image")
        images: Tensor = self.generator(latents, classes.to(latents.device))
        return images

    def tensors(self) -> dict[str, Tensor]:
        """All weights by flat names, for `load`."""
        return above("generator", self.generator)


def train(
    public: Labelled,
    *,
    rng: torch.Generator,
    settings: GanSettings,
    extra: Extra | None = None,
    progress: Progress | None = None,
) -> ConditionalPrior:
    """Learn a prior from labelled public images.

    Args:
        public: What to learn from.
        rng: Draws everything, on the CPU.
        settings: How large the networks are and how they are trained.
        extra: Maps fakes [image, channel, height, width], the classes they are to show [image] and `rng`, for random
            views, to what is added to the generator's loss, a scalar. No gradient reaches what it asks.
        progress: How the training goes on, is kept and is watched.

    Raises:
        ValueError: If images and classes do not fit, or what is to be resumed is of another training.
        FloatingPointError: If the training diverges.
    """
    trainer = GanTrainer(public.images, settings, rng, classes=public.classes, n_classes=public.n_classes, extra=extra)
    trainer.run(progress or Progress())
    return load(
        above("generator", trainer.average),
        image_shape=trainer.generator.image_shape,
        n_classes=public.n_classes,
        settings=settings,
    )


def load(
    tensors: Mapping[str, Tensor], *, image_shape: tuple[int, int, int], n_classes: int, settings: GanSettings
) -> ConditionalPrior:
    """A prior from its tensors, on their device.

    Args:
        tensors: What `ConditionalPrior.tensors` gave.
        image_shape: Channel, height, width that it was trained for.
        n_classes: How many classes it can be told.
        settings: Those of its training.

    Raises:
        ValueError: If the tensors are of another network.
    """
    with torch.device("meta"):
        network = GeneratorNetwork(
            image_shape, latent_size=settings.latent_size, width=settings.width, n_classes=n_classes
        )
    return ConditionalPrior(
        latent_size=settings.latent_size,
        image_shape=image_shape,
        conditional=n_classes,
        generator=restored(network, "generator", tensors),
    )
