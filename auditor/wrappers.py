"""What may stand between a model and the outside: output wrappers turn its probabilities into what is released.

A defense that acts at output time is fitted elsewhere and leaves one of these behind. The weights underneath stay as
they are, so a wrapper counts for nobody who holds the file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.threat import Access

__all__ = ["LabelsOnly", "OutputWrapper", "PurifierNet", "Settings"]

Settings: TypeAlias = Mapping[str, int | float | tuple[int, ...]]


class OutputWrapper(nn.Module, ABC):
    """Maps probabilities to what an API returns instead; the interface of all wrappers.

    Attributes:
        kind: The name under which a saved wrapper is built again.
        shows: The most that a query of the wrapped model exposes, `scores` or `labels`.
        stochastic: Whether the same query may be answered differently twice.
    """

    kind: ClassVar[str]
    shows: ClassVar[Access]
    stochastic: ClassVar[bool]

    @abstractmethod
    def forward(self, probabilities: Tensor) -> Tensor:
        """What is released, float32 [record, class], for probabilities float32 [record, class]."""

    @abstractmethod
    def settings(self) -> Settings:
        """What the constructor needs to build this wrapper again, without its tensors."""


class LabelsOnly(OutputWrapper):
    """Releases the predicted class alone, as a one-hot vector; the first of tied classes wins."""

    kind = "labels-only"
    shows = Access.LABELS
    stochastic = False

    def forward(self, probabilities: Tensor) -> Tensor:
        """One-hot predicted class, float32 [record, class]."""
        return functional.one_hot(probabilities.argmax(1), probabilities.shape[1]).float()

    def settings(self) -> Settings:
        """Nothing to set."""
        return {}


class PurifierNet(OutputWrapper):
    """The purifier G of Yang et al. (2020, arXiv:2005.03915): a small network that releases G(F(x)) in place of F(x).

    Batch normalisation and ReLU follow each hidden layer; softmax follows the linear output, so that what is released
    is a probability vector again.

    Args:
        num_classes: Length of the probability vectors.
        hidden: Widths of the hidden layers, e.g. (7, 4, 7) for ten classes.
    """

    kind = "purifier"
    shows = Access.SCORES
    stochastic = False

    def __init__(self, num_classes: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.hidden = hidden
        layers: list[nn.Module] = []
        for width, next_width in pairwise((num_classes, *hidden)):
            layers += [nn.Linear(width, next_width), nn.BatchNorm1d(next_width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear((num_classes, *hidden)[-1], num_classes))

    def raw(self, probabilities: Tensor) -> Tensor:
        """The logits before the softmax, float32 [record, class]; the purifier is trained on these."""
        logits: Tensor = self.layers(probabilities)
        return logits

    def forward(self, probabilities: Tensor) -> Tensor:
        """Purified probabilities, float32 [record, class]."""
        return torch.softmax(self.raw(probabilities), dim=1)

    def settings(self) -> Settings:
        """Layer widths."""
        return {"num_classes": self.num_classes, "hidden": self.hidden}
