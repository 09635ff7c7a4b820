"""Labels only: release the predicted class and nothing else. The plain baseline of every output-time defense."""

from __future__ import annotations

from auditor.defense import Holding
from auditor.target import Target
from auditor.wrappers import LabelsOnly

__all__ = ["wrap"]


def wrap(target: Target, holding: Holding, seed: int) -> LabelsOnly:
    """There is nothing to fit, so no argument is used."""
    del target, holding, seed
    return LabelsOnly()
