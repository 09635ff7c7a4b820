"""Labels only: release the predicted class and nothing else. The plain baseline of every output-time defense."""

from __future__ import annotations

from auditor.splits import Records
from auditor.target import Target
from auditor.wrappers import LabelsOnly

__all__ = ["apply"]


def apply(target: Target, reference: Records, seed: int) -> Target:
    """Put a wrapper behind the target that releases the label; there is nothing to fit, so neither argument is used."""
    del reference, seed
    return target.with_wrapper(LabelsOnly())
