"""What an inversion attacker is given: a model to ask, public images, and a prior made of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from auditor.checkpoint.head import heads_of
from auditor.records import Inputs
from auditor.target import Target
from reference_attacks.inversion.material import Generator, Images

__all__ = ["Given", "Prior", "Rebuilt", "UnfitError", "View", "unit_images"]

_BATCH = 256


class UnfitError(Exception):
    """What is given does not fit an attack, for the reason in the message: it is skipped."""


def unit_images(target: Target, inputs: Inputs) -> Tensor:
    """Stored images as the model sees them, float32 in [0, 1] [record, channel, height, width], on the CPU."""
    mean, std = (torch.tensor(getattr(target.facts.preprocessing, name)).view(-1, 1, 1) for name in ("mean", "std"))
    parts = []
    with torch.inference_mode():
        for start in range(0, len(inputs), _BATCH):
            prepared = target.prepare(np.asarray(inputs[start : start + _BATCH])).float().cpu()
            parts.append((prepared * std + mean).clamp(0.0, 1.0))
    return torch.cat(parts).clone() if parts else torch.empty(0, *target.facts.preprocessing.input_size)


@dataclass(frozen=True)
class View:
    """A model as an attacker sees it, asked about images in [0, 1] [image, channel, height, width] of its own size."""

    target: Target

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channel, height, width."""
        return self.target.facts.preprocessing.input_size

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.target.device

    def logits(self, images: Tensor) -> Tensor:
        """float32 [image, class], differentiable in the images; for whoever holds the weights."""
        return self.target.logits(images.movedim(1, -1))

    def released(self, images: Tensor) -> Tensor:
        """The probabilities that the model gives out, float32 [image, class]."""
        with torch.no_grad():
            return self.target.released(self.logits(images))

    def labels(self, images: Tensor) -> Tensor:
        """The class that the model names, int64 [image]."""
        return self.released(images).argmax(1)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer receives, float32 [image, feature], differentiable in the images.

        Raises:
            UnfitError: no layer can be told that gives the classes.
        """
        received: list[Tensor] = []
        hook = self._head.register_forward_pre_hook(lambda _, arguments: received.append(arguments[0]))
        try:
            self.logits(images)
        finally:
            hook.remove()
        return received[0].flatten(1).float()

    @cached_property
    def _head(self) -> nn.Module:
        heads = heads_of(self.target.module, self.target.facts.num_classes)
        if len(heads) != 1:
            raise UnfitError("the network has no single layer that gives the classes")
        return heads[0]


@dataclass(frozen=True)
class Prior:
    """What an attacker learned from public images alone.

    Attributes:
        generator: Latents to images.
        critic: How real an image looks [image], where it was trained along.
    """

    generator: Generator
    critic: Images | None = None


@dataclass(frozen=True)
class Given:
    """All that an inversion attack may use.

    Attributes:
        view: The model.
        classes: Which to rebuild.
        public: Images of public/, float32 in [0, 1] [image, channel, height, width]; None where there are none.
        auxiliary: Images of the attacker's own to learn from: `public`, or else population records of the same classes.
        prior: A generator that was trained on `public`, or the user's own; None without either.
        asked: Audited records of which the attacker sees what the model says, and nothing else; stored inputs.
        seed: For whatever it draws.
        effort: Share of the full work, for timed trials; 1 is the attack.
    """

    view: View
    classes: tuple[int, ...]
    public: Tensor | None
    auxiliary: Tensor
    prior: Prior | None
    asked: Tensor
    seed: int
    effort: float = 1.0

    def rng(self) -> torch.Generator:
        """A generator of random numbers on the CPU, from the seed."""
        return torch.Generator().manual_seed(self.seed)

    def share(self, steps: int, least: int = 2) -> int:
        """How many of `steps` are made at this effort."""
        return max(min(least, steps), round(steps * self.effort))


@dataclass(frozen=True)
class Rebuilt:
    """One reconstruction for each record of which the attacker saw the output.

    Attributes:
        images: float32 in [0, 1] [record, channel, height, width].
        queries: Images shown to the model to learn how to rebuild.
    """

    images: Tensor
    queries: int
