"""A small GAN trained on public images: the prior of GMI, and of every attack that searches an unconditional generator.

Two losses: hinge with spectral norms (Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks",
ICLR), and WGAN-GP (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", NeurIPS), which is what GMI trains.
The battery trains the first, for GMI as well.

What we changed
    The networks are small, with nothing at the image's full resolution, and the default settings are ours, so that
    training takes minutes on a CPU. What is handed out is a moving average of the generator's weights.

Ours
    On the digits 5-9 of MNIST a step takes .09 seconds of one core; at 64x64 in colour, .5. Checked by `quality` on
    1,000 held-out digits: after 1,000, 2,000 and 3,000 steps coverage is .31, .62 and .77, and a sample's nearest image
    is a sample for .73, .64 and .59. WGAN-GP with five critic steps is at .53 and .81 after 500, in the time of 2,500.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_attacks.priors._networks import CriticNetwork, GeneratorNetwork, above, restored
from reference_attacks.priors._training import GanSettings, GanTrainer, Progress

__all__ = ["GanPrior", "GanSettings", "Progress", "load", "train"]


@dataclass(frozen=True, slots=True, eq=False)
class GanPrior:
    """A trained generator with its critic; a `Generator` of `reference_attacks.inversion.material`.

    Attributes:
        latent_size: Length of a latent.
        image_shape: Channel, height, width.
        generator: In eval mode, without gradients for its weights.
        judge: The critic, likewise.
        conditional: 0: it takes no classes.
    """

    latent_size: int
    image_shape: tuple[int, int, int]
    generator: GeneratorNetwork
    judge: CriticNetwork
    conditional: int = 0

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Standard normal latents [image, latent], drawn on the CPU and put where the generator is."""
        return self.generator.draw(count, rng)

    def images(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:  # noqa: ARG002 - the protocol's
        """Images in 0..1 [image, channel, height, width]; classes are ignored."""
        images: Tensor = self.generator(latents)
        return images

    def critic(self, images: Tensor) -> Tensor:
        """How real images in 0..1 look, larger for more real [image], differentiably."""
        realness: Tensor = self.judge(images)
        return realness

    def tensors(self) -> dict[str, Tensor]:
        """All weights by flat names, for `load`."""
        return above("generator", self.generator) | above("critic", self.judge)


def train(images: Tensor, *, rng: torch.Generator, settings: GanSettings, progress: Progress | None = None) -> GanPrior:
    """Learn a prior from public images.

    Args:
        images: In 0..1, float32 [image, channel, height, width]; training happens where they are.
        rng: Draws everything, on the CPU.
        settings: How large the networks are and how they are trained.
        progress: How the training goes on, is kept and is watched.

    Raises:
        ValueError: If the images do not fit, or what is to be resumed is of another training.
        FloatingPointError: If the training diverges.
    """
    trainer = GanTrainer(images, settings, rng)
    trainer.run(progress or Progress())
    tensors = above("generator", trainer.average) | above("critic", trainer.critic)
    return load(tensors, image_shape=trainer.generator.image_shape, settings=settings)


def load(tensors: Mapping[str, Tensor], *, image_shape: tuple[int, int, int], settings: GanSettings) -> GanPrior:
    """A prior from its tensors, on their device.

    Args:
        tensors: What `GanPrior.tensors` gave.
        image_shape: Channel, height, width that it was trained for.
        settings: Those of its training.

    Raises:
        ValueError: If the tensors are of other networks.
    """
    with torch.device("meta"):
        generator = GeneratorNetwork(image_shape, latent_size=settings.latent_size, width=settings.width, n_classes=0)
        judge = CriticNetwork(image_shape, width=settings.width, n_classes=0, spectral=settings.loss == "hinge")
    return GanPrior(
        latent_size=settings.latent_size,
        image_shape=image_shape,
        generator=restored(generator, "generator", tensors),
        judge=restored(judge, "critic", tensors),
    )
