"""The network of Purifier's 2020 preprint, as its basic form and two specialised ones leave it behind."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from auditor.threat import Access
from auditor.wrappers.base import OutputWrapper, Settings, StoredSettings, Width

__all__ = ["InversionPurifierNet", "MembershipPurifierNet", "PurifierNet"]


class _Stored(StoredSettings):
    num_classes: Width
    hidden: tuple[Width, ...]


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

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """See `OutputWrapper.rebuilt`."""
        checked = _Stored.model_validate(settings)
        return cls(checked.num_classes, checked.hidden)


class MembershipPurifierNet(PurifierNet):
    """The same network, fitted against a membership net.

    It has learned from members, but no tensor is derived from a single one.
    """

    kind = "purifier-membership"


class InversionPurifierNet(PurifierNet):
    """The same network, fitted against an inversion net."""

    kind = "purifier-inversion"
