"""A user's networks as generators: what they make is cropped, scaled to 0..1 and resized, differentiably."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Facts", "ModuleGenerator", "StyleGAN2", "is_style_network"]

_RANGES = ((-1, 1), (0, 1))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a network does not tell about itself.

    Attributes:
        latent_size: Length of the vectors that its `forward` takes; they are drawn from N(0, I).
        output_range: Between what its pixels lie: (-1, 1) or (0, 1).
        conditional: How many classes `forward` can be told as its second argument; 0: it takes none.
        crop: Share of height and width that is kept, from the middle, before images are resized.

    Raises:
        ValueError: If a value is out of range.
    """

    latent_size: int
    output_range: tuple[int, int]
    conditional: int = 0
    crop: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.latent_size, int) or self.latent_size < 1:
            raise ValueError(f"latent_size must be a whole number of at least 1, got {self.latent_size!r}")
        if tuple(self.output_range) not in _RANGES:
            raise ValueError(f"output_range must be (-1, 1) or (0, 1), got {self.output_range!r}")
        if not isinstance(self.conditional, int) or self.conditional < 0:
            raise ValueError(f"conditional must be a number of classes, or 0, got {self.conditional!r}")
        if not 0.0 < self.crop <= 1.0:
            raise ValueError(f"crop must lie above 0 and up to 1, got {self.crop!r}")

    def fitted(self, made: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
        """What a network made as images in 0..1 of the wanted size [image, channel, height, width]."""
        images = made.float().clamp(*self.output_range)
        if self.output_range[0]:
            images = (images + 1.0) / 2.0
        height, width = images.shape[2:]
        rows, columns = max(1, round(height * self.crop)), max(1, round(width * self.crop))
        top, left = (height - rows) // 2, (width - columns) // 2
        images = images[:, :, top : top + rows, left : left + columns]
        if (rows, columns) != image_shape[1:]:
            images = F.interpolate(
                images, size=image_shape[1:], mode="bilinear", align_corners=False, antialias=True
            ).clamp(0.0, 1.0)
        return images


@dataclass(frozen=True, slots=True, eq=False)
class ModuleGenerator:
    """A network from vectors to images, as `material.Generator`.

    Attributes:
        module: Maps latents [image, latent], and classes where it is conditional, to [image, channel, height, width].
        facts: What it does not tell.
        image_shape: Channel, height, width of the images wanted.
        device: Where it runs.
    """

    module: nn.Module
    facts: Facts
    image_shape: tuple[int, int, int]
    device: torch.device

    @property
    def latent_size(self) -> int:
        """Length of a latent."""
        return self.facts.latent_size

    @property
    def conditional(self) -> int:
        """How many classes it can be told."""
        return self.facts.conditional

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Latents from N(0, I), float32 [image, latent]; drawn on the CPU."""
        return torch.randn(count, self.latent_size, generator=rng).to(self.device)

    def made(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """What the network itself makes [image, channel, height, width].

        Raises:
            ValueError: If it needs classes and gets none.
        """
        if not self.conditional:
            return _tensor(self.module(latents))
        if classes is None:
            raise ValueError("the generator is conditional: it needs the class of each image")
        return _tensor(self.module(latents, classes.to(latents.device)))

    def images(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images float32 in 0..1 [image, channel, height, width], differentiable in the latents."""
        return self.facts.fitted(self.made(latents, classes), self.image_shape)


def _tensor(made: object) -> Tensor:
    if not isinstance(made, Tensor):
        raise ValueError(f"the network must return one tensor of images, got {type(made).__name__}")  # noqa: TRY004
    return made


def is_style_network(module: nn.Module) -> bool:
    """Whether it is built like those of NVIDIA's stylegan2-ada-pytorch."""
    return isinstance(getattr(module, "mapping", None), nn.Module) and hasattr(
        getattr(module, "synthesis", None), "block_resolutions"
    )


@dataclass(frozen=True, slots=True, eq=False)
class StyleGAN2:
    """A generator built like those of NVIDIA's stylegan2-ada-pytorch, as `style.StyleGenerator`.

    Stages are its synthesis blocks. One that begins with features leaves out the pictures which earlier blocks would
    have added, as the released code of IF-GMI does. The noise inside is the network's constant one.

    Attributes:
        network: With `z_dim`, `w_dim`, `mapping`, `mapping.w_avg` and `synthesis`.
        facts: Its `latent_size` is that of z.
        image_shape: Channel, height, width of the images wanted.
        device: Where it runs.
    """

    network: Any
    facts: Facts
    image_shape: tuple[int, int, int]
    device: torch.device

    @property
    def latent_size(self) -> int:
        """Length of w."""
        return int(self.network.w_dim)

    @property
    def noise_size(self) -> int:
        """Length of z."""
        return int(self.network.z_dim)

    @property
    def conditional(self) -> int:
        """None are taken."""
        return 0

    @property
    def mean_latent(self) -> Tensor:
        """The mean of w over the prior, as followed in training [latent]."""
        mean: Tensor = self.network.mapping.w_avg
        return mean.detach()

    @property
    def stages(self) -> int:
        """How many synthesis blocks there are."""
        return len(self.network.synthesis.block_resolutions)

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Styles w of noise from N(0, I), float32 [image, latent]; the noise is drawn on the CPU."""
        with torch.no_grad():
            return self.mapped(torch.randn(count, self.noise_size, generator=rng).to(self.device))

    def mapped(self, noise: Tensor) -> Tensor:
        """Noise [image, noise] to styles [image, latent]."""
        styles: Tensor = self.network.mapping(noise, None)
        return styles[:, 0]

    def advanced(self, features: Tensor | None, latents: Tensor, stage: int) -> Tensor:
        """The features that block `stage` hands to the next one."""
        return self._block(features, None, latents, stage)[0]

    def made(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:  # noqa: ARG002 - there are no classes
        """What the network itself makes of styles."""
        return self._made(None, latents, 0)

    def images(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:  # noqa: ARG002 - there are no classes
        """Images float32 in 0..1 [image, channel, height, width], differentiable in the styles."""
        return self.images_from(None, latents, 0)

    def images_from(self, features: Tensor | None, latents: Tensor, stage: int) -> Tensor:
        """Images by the blocks from `stage` on."""
        return self.facts.fitted(self._made(features, latents, stage), self.image_shape)

    def _made(self, features: Tensor | None, latents: Tensor, stage: int) -> Tensor:
        picture: Tensor | None = None
        for block in range(stage, self.stages):
            features, picture = self._block(features, picture, latents, block)
        return _tensor(picture)

    def _block(
        self, features: Tensor | None, picture: Tensor | None, latents: Tensor, stage: int
    ) -> tuple[Tensor, Tensor]:
        synthesis = self.network.synthesis
        block = getattr(synthesis, f"b{synthesis.block_resolutions[stage]}")
        styles = latents[:, None].expand(-1, block.num_conv + block.num_torgb, -1)
        found: tuple[Tensor, Tensor] = block(features, picture, styles, noise_mode="const", force_fp32=True)
        return found
