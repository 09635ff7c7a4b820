"""Releases the order of the classes, with values that belong to random inputs."""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from auditor.threat import Access
from auditor.wrappers.base import OutputWrapper, Settings, StoredSettings

__all__ = ["Hamp"]

_MOST = 1_000_000


class _Stored(StoredSettings):
    num_answers: int = Field(ge=1, le=_MOST)
    num_classes: int = Field(ge=2, le=_MOST)


class Hamp(OutputWrapper):
    """The output change of HAMP (Chen, Pattabiraman, NDSS 2024): rank by rank the values of another answer.

    With each query one of the stored answers is drawn, and its values are given to the classes in the order of the
    query's own probabilities; of tied classes the first comes first. The label stays.

    Args:
        answers: Probabilities [answer, class] in descending order, the largest of each alone.
    """

    kind = "hamp"
    shows = Access.SCORES
    stochastic = True
    answers: Tensor

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.register_buffer("answers", answers)

    def forward(self, probabilities: Tensor) -> Tensor:
        """What is released, float32 [record, class]."""
        order = torch.argsort(probabilities, dim=1, descending=True, stable=True)
        drawn = torch.randint(len(self.answers), (len(probabilities),), device=probabilities.device)
        return torch.zeros_like(probabilities).scatter(1, order, self.answers[drawn])

    def settings(self) -> Settings:
        """How much is stored."""
        return {"num_answers": self.answers.shape[0], "num_classes": self.answers.shape[1]}

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """See `OutputWrapper.rebuilt`."""
        checked = _Stored.model_validate(settings)
        return cls(torch.empty(checked.num_answers, checked.num_classes))
