"""Other heads for a network: what a training-time defense may put in the place of its last linear layer."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional

from auditor.checkpoint.head import heads_of
from auditor.errors import InputError
from auditor.wrappers.base import Width

__all__ = ["BottleneckHead", "LowRankHead", "NewHead", "linear_head", "place_head", "words_of"]

_STD_SHIFT = 5.0


class NewHead(BaseModel):
    """Which head a network got in place of its own, how narrow it is, and whether a bottleneck draws its code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["low-rank", "bottleneck"]
    width: Width
    noisy: bool = True


def words_of(head: NewHead | None) -> str:
    """A head as the report names it; None is the network's own."""
    if head is None:
        return "its own"
    return f"{head.kind}, width {head.width}{'' if head.noisy else ', without its noise'}"


class LowRankHead(nn.Sequential):
    """Features -> batch normalisation -> `rank` units -> tanh -> classes (CALoR's neck, arXiv:2410.05814v2).

    Args:
        features: Length of what the head receives.
        rank: Width of the neck.
        classes: Length of what it gives.
    """

    def __init__(self, features: int, rank: int, classes: int) -> None:
        super().__init__(nn.BatchNorm1d(features), nn.Linear(features, rank), nn.Tanh(), nn.Linear(rank, classes))


class BottleneckHead(nn.Module):
    """Features -> Gaussian code of `width` -> classes: a variational bottleneck, as MID's official code has it.

    The code is drawn afresh for every record, in eval mode too, so that the network answers at random.

    Args:
        features: Length of what the head receives.
        width: Length of the code.
        classes: Length of what it gives.
        noisy: Whether the code is drawn; else it is its mean.

    Attributes:
        divergence: Of the last batch: the mean Kullback-Leibler divergence of the code from N(0, I), in nats. It has a
            gradient in training mode only.
    """

    def __init__(self, features: int, width: int, classes: int, *, noisy: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Linear(features, 2 * width)
        self.decoder = nn.Linear(width, classes)
        self.noisy = noisy
        self.divergence = torch.zeros(())

    def forward(self, received: Tensor) -> Tensor:
        """Logits [record, class] of features [record, feature]."""
        mean, raw = self.encoder(received).chunk(2, dim=1)
        deviation = functional.softplus(raw - _STD_SHIFT)
        terms = 1 + 2 * (deviation + 1e-7).log() - mean.square() - deviation.square()
        divergence = -0.5 * terms.sum(1).mean()
        self.divergence = divergence if self.training else divergence.detach()
        logits: Tensor = self.decoder(mean + deviation * torch.randn_like(mean) if self.noisy else mean)
        return logits


def linear_head(module: nn.Module, classes: int, name: str) -> nn.Linear:
    """The one linear layer that gives the classes.

    Raises:
        InputError: the head is something else.
    """
    heads = heads_of(module, classes)
    if len(heads) != 1 or not isinstance(heads[0], nn.Linear):
        raise InputError(
            f"{name} has no single linear layer that gives the classes, so no other head can take its place.",
            "Leave defenses that change the head out of --defenses.",
        )
    return heads[0]


def place_head(module: nn.Module, head: NewHead, classes: int, name: str) -> nn.Module:
    """Put a fresh head in the place of the module's own; the module is changed and returned.

    Raises:
        InputError: the module's own head is not one linear layer.
    """
    own = linear_head(module, classes, name)
    sizes = (own.in_features, head.width, classes)
    fresh = LowRankHead(*sizes) if head.kind == "low-rank" else BottleneckHead(*sizes, noisy=head.noisy)
    if own is module:
        return fresh
    path = next(path for path, part in module.named_modules() if part is own)
    parent, _, attribute = path.rpartition(".")
    setattr(module.get_submodule(parent), attribute, fresh)
    return module
