"""What Purifier's 2023 version leaves behind: a conditional variational autoencoder, and a label swapper if wanted."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from auditor.threat import Access
from auditor.wrappers.base import OutputWrapper, Settings, StoredSettings

__all__ = ["ConditionalAutoencoder", "ReformingPurifier", "SwappingPurifier", "matches", "perceptron"]

_LEAST_PROBABILITY = 1e-30  # below it float32 has too few digits left to tell vectors apart
_LOG_VARIANCES = (-20.0, 10.0)
_MOST_LAYERS = 8

_Width = Annotated[int, Field(ge=1, le=2**20)]


class _Layout(StoredSettings):
    num_classes: Annotated[int, Field(ge=2, le=2**20)]
    hidden: Annotated[tuple[_Width, ...], Field(min_length=1, max_length=_MOST_LAYERS)]
    latent: _Width


class _Swapping(_Layout):
    indexed: Annotated[int, Field(ge=0, le=2**30)]
    tolerance: Annotated[float, Field(gt=0, le=1)]


class ConditionalAutoencoder(nn.Module):
    """Rewrites a probability vector, given which class it predicts, through a random code.

    As the layout is told, the encoder reads the vector and the one-hot predicted class, and the decoder the code alone.

    Args:
        num_classes: Length of the probability vectors.
        hidden: Widths of the encoder's hidden layers; the decoder has them in reverse.
        latent: Length of the code.
    """

    def __init__(self, num_classes: int, hidden: tuple[int, ...], latent: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.hidden = hidden
        self.latent = latent
        self.encoder = perceptron((2 * num_classes, *hidden, 2 * latent))
        self.decoder = perceptron((latent, *reversed(hidden), num_classes))

    def code(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, each float32 [record, latent]."""
        predicted = functional.one_hot(probabilities.argmax(1), self.num_classes).float()
        mean, log_variance = self.encoder(torch.cat([probabilities, predicted], dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(*_LOG_VARIANCES)

    def decoded(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Logits [record, class] of one code per record, drawn from torch's generator."""
        logits: Tensor = self.decoder(mean + (log_variance / 2).exp() * torch.randn_like(mean))
        return logits

    def forward(self, probabilities: Tensor) -> Tensor:
        """Rewritten probabilities, float32 [record, class]."""
        return torch.softmax(self.decoded(*self.code(probabilities)), dim=1)


class ReformingPurifier(OutputWrapper):
    """The confidence reformer of Yang et al. (2023, arXiv:2212.00612) alone: the autoencoder, and no label swapped."""

    kind = "purifier-2023-reformer"
    shows = Access.SCORES
    stochastic = True

    def __init__(self, autoencoder: ConditionalAutoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, probabilities: Tensor) -> Tensor:
        """Reformed probabilities, float32 [record, class]."""
        reformed: Tensor = self.autoencoder(probabilities)
        return reformed

    def settings(self) -> Settings:
        """The autoencoder's layout."""
        return _layout_of(self.autoencoder)

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """See `OutputWrapper.rebuilt`."""
        return cls(_autoencoder(_Layout.model_validate(settings)))


class SwappingPurifier(OutputWrapper):
    """Both parts of Yang et al. (2023, arXiv:2212.00612): the reformer, then the label swapper.

    Whoever asks about an indexed vector gets the two largest reformed probabilities in each other's place.

    Args:
        autoencoder: The confidence reformer.
        index: The model's probability vectors of the members whose label is swapped, float32 [entry, class].
        tolerance: See `matches`.
    """

    kind = "purifier-2023"
    shows = Access.SCORES
    stochastic = True
    holds_members = True

    index: Tensor

    def __init__(self, autoencoder: ConditionalAutoencoder, index: Tensor, tolerance: float) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.tolerance = tolerance
        self.register_buffer("index", index)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Reformed probabilities with some labels swapped, float32 [record, class]."""
        reformed: Tensor = self.autoencoder(probabilities)
        values, places = reformed.topk(2, dim=1)
        swapped = reformed.scatter(1, places, values.flip(1))
        indexed = matches(probabilities, self.index, self.tolerance).any(1)
        return torch.where(indexed[:, None], swapped, reformed)

    def settings(self) -> Settings:
        """The autoencoder's layout, the length of the index, and how near a match must be."""
        return {**_layout_of(self.autoencoder), "indexed": len(self.index), "tolerance": self.tolerance}

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """See `OutputWrapper.rebuilt`."""
        checked = _Swapping.model_validate(settings)
        index = torch.zeros(checked.indexed, checked.num_classes)
        return cls(_autoencoder(checked), index, checked.tolerance)


def matches(probabilities: Tensor, index: Tensor, tolerance: float) -> Tensor:
    """Which entries of an index are the same answer as which of these, bool [record, entry].

    Two vectors are the same if no logarithm of a probability differs by more than the tolerance: a confident model's
    vectors all lie near a corner, and only their logarithms tell them apart.

    Args:
        probabilities: float32 [record, class].
        index: float32 [entry, class].
        tolerance: In nats; it has to cover what another batch size changes by rounding.
    """
    asked, stored = (vectors.clamp_min(_LEAST_PROBABILITY).log() for vectors in (probabilities, index))
    return torch.cdist(asked, stored, p=torch.inf) <= tolerance


def perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    linear = [nn.Linear(width, next_width) for width, next_width in pairwise(widths)]
    return nn.Sequential(*(part for layer in linear[:-1] for part in (layer, nn.ReLU())), linear[-1])


def _layout_of(autoencoder: ConditionalAutoencoder) -> dict[str, int | float | tuple[int, ...]]:
    return {
        "num_classes": autoencoder.num_classes,
        "hidden": autoencoder.hidden,
        "latent": autoencoder.latent,
    }


def _autoencoder(layout: _Layout) -> ConditionalAutoencoder:
    return ConditionalAutoencoder(layout.num_classes, layout.hidden, layout.latent)
