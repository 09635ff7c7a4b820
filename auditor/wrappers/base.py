"""What may stand between a model and the outside: output wrappers turn its probabilities into what is released.

A defense that acts at output time is fitted elsewhere and leaves one of these behind. The weights underneath stay as
they are, so a wrapper counts for nobody who holds the file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from auditor.threat import Access

__all__ = ["OutputWrapper", "Settings", "StoredSettings", "Width"]

Settings: TypeAlias = Mapping[str, int | float | tuple[int, ...]]
Width: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]


class StoredSettings(BaseModel):
    """What a saved wrapper says of itself, before anything is believed; every kind with settings has its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OutputWrapper(nn.Module, ABC):
    """Maps probabilities to what an API returns instead; the interface of all wrappers.

    Attributes:
        kind: The name under which a saved wrapper is built again; that of the defense that leaves it behind.
        shows: The most that a query of the wrapped model exposes, `scores` or `labels`.
        stochastic: Whether the same query may be answered differently twice.
        holds_members: Whether its tensors hold values derived from single members, so that it must not be published.
    """

    kind: ClassVar[str]
    shows: ClassVar[Access]
    stochastic: ClassVar[bool] = False
    holds_members: ClassVar[bool] = False

    @abstractmethod
    def forward(self, probabilities: Tensor) -> Tensor:
        """What is released, float32 [record, class], for probabilities float32 [record, class]."""

    def settings(self) -> Settings:
        """What `rebuilt` needs to build this wrapper again, without its tensors; nothing by default."""
        return {}

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """A wrapper of this kind whose tensors are still to be filled; by default one with nothing to set.

        Raises:
            ValidationError: the settings are impossible.
        """
        StoredSettings.model_validate(settings)
        return cls()
