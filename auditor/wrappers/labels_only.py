"""Releases the predicted class alone."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from auditor.threat import Access
from auditor.wrappers.base import OutputWrapper

__all__ = ["LabelsOnly"]


class LabelsOnly(OutputWrapper):
    """Releases the predicted class alone, as a one-hot vector; the first of tied classes wins."""

    kind = "labels-only"
    shows = Access.LABELS

    def forward(self, probabilities: Tensor) -> Tensor:
        """One-hot predicted class, float32 [record, class]."""
        return functional.one_hot(probabilities.argmax(1), probabilities.shape[1]).float()
