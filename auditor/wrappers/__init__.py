"""What may stand between a model and the outside, one file per kind; `WRAPPERS` are all that a folder may name."""

from __future__ import annotations

from auditor.wrappers.base import OutputWrapper, Settings
from auditor.wrappers.labels_only import LabelsOnly
from auditor.wrappers.purifier import PurifierNet

__all__ = ["WRAPPERS", "LabelsOnly", "OutputWrapper", "PurifierNet", "Settings"]

WRAPPERS: tuple[type[OutputWrapper], ...] = (
    LabelsOnly,
    PurifierNet,
)
