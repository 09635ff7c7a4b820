"""Plain ways to show less of a probability vector: the three largest, rounded, or flattened."""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from auditor.threat import Access
from auditor.wrappers.base import OutputWrapper, Settings, StoredSettings

__all__ = ["Rounded", "Temperature", "TopThree"]


class TopThree(OutputWrapper):
    """Releases the three largest probabilities, divided by their sum; the rest is 0. The first of tied ones counts."""

    kind = "top-3"
    shows = Access.SCORES
    shown = 3

    def forward(self, probabilities: Tensor) -> Tensor:
        """At most three numbers above 0 per record, float32 [record, class]."""
        order = probabilities.argsort(dim=1, descending=True, stable=True)[:, : self.shown]
        top = probabilities.gather(1, order)
        released = torch.zeros_like(probabilities).scatter(1, order, top / top.sum(1, keepdim=True))
        return _with_label(released, probabilities.argmax(1))


class _StoredRounded(StoredSettings):
    digits: int = Field(ge=1, le=6)


class Rounded(OutputWrapper):
    """Releases probabilities rounded to some decimals, half to even, divided by their sum.

    Where all of them round to 0, the predicted class is left alone.

    Args:
        digits: How many decimals are kept.
    """

    kind = "rounding"
    shows = Access.SCORES

    def __init__(self, digits: int) -> None:
        super().__init__()
        self.digits = digits

    def forward(self, probabilities: Tensor) -> Tensor:
        """Rounded probabilities, float32 [record, class]."""
        labels = probabilities.argmax(1)
        rounded = probabilities.round(decimals=self.digits)
        total = rounded.sum(1, keepdim=True)
        alone = functional.one_hot(labels, probabilities.shape[1]).to(probabilities)
        return _with_label(torch.where(total > 0, rounded / total, alone), labels)

    def settings(self) -> Settings:
        """The number of decimals."""
        return {"digits": self.digits}

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """See `OutputWrapper.rebuilt`."""
        return cls(_StoredRounded.model_validate(settings).digits)


class _StoredTemperature(StoredSettings):
    temperature: float = Field(ge=1, le=1000)


class Temperature(OutputWrapper):
    """Releases the softmax of the log-probabilities divided by a temperature: flatter vectors in the same order.

    Args:
        temperature: 1 changes nothing; the larger, the flatter.
    """

    kind = "temperature"
    shows = Access.SCORES

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, probabilities: Tensor) -> Tensor:
        """Flattened probabilities, float32 [record, class]."""
        flat = torch.softmax(probabilities.log() / self.temperature, dim=1)
        return _with_label(flat, probabilities.argmax(1))

    def settings(self) -> Settings:
        """The temperature."""
        return {"temperature": self.temperature}

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """See `OutputWrapper.rebuilt`."""
        return cls(_StoredTemperature.model_validate(settings).temperature)


def _with_label(released: Tensor, labels: Tensor) -> Tensor:
    """Vectors whose first maximum is at the label: where floats have made it a tie, the next float above decides it."""
    lost = released.argmax(1) != labels
    above = released.amax(1).nextafter(torch.full_like(released[:, 0], 2.0))
    at_label = functional.one_hot(labels, released.shape[1]).bool()
    return torch.where(lost[:, None] & at_label, above[:, None], released)
