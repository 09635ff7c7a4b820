"""The records that all workers read, memory-mapped from the run folder, and which of them a model trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.compute import RunFolder
from auditor.records import Inputs
from auditor.shadows import TrainingSet
from auditor.splits import Records

__all__ = ["published", "share_records", "training_records"]


def share_records(folder: RunFolder, name: str, records: Records) -> None:
    """Put decoded records into the run folder under the name of their part."""
    folder.share(f"data/{name}-inputs.npy", records.inputs)
    folder.share(f"data/{name}-labels.npy", records.labels)


def published(folder: RunFolder, name: str) -> tuple[Inputs, npt.NDArray[np.int64]]:
    """The inputs (memory-mapped) and labels of one part of the data, as `share_records` left them."""
    inputs = np.load(folder.path(f"data/{name}-inputs.npy"), mmap_mode="r", allow_pickle=False)
    return inputs, np.load(folder.path(f"data/{name}-labels.npy"), allow_pickle=False)


@dataclass(frozen=True)
class _Part:
    """Which records of one published part a model trains on, under which labels [record]."""

    inputs: Inputs
    rows: npt.NDArray[np.intp]
    labels: npt.NDArray[np.int64]

    def without(self, classes: Sequence[int]) -> _Part:
        kept = ~np.isin(self.labels, classes)
        return _Part(self.inputs, self.rows[kept], self.labels[kept])


def _training_parts(folder: RunFolder, training_set: TrainingSet) -> Iterator[_Part]:
    inputs, labels = published(folder, "audit")
    chosen = np.flatnonzero(training_set.included)
    yield _Part(inputs, chosen, labels[chosen])
    if training_set.others:
        inputs, labels = published(folder, "others")
        yield _Part(inputs, np.arange(len(labels)), labels)
    if (planting := training_set.planting) is not None:
        inputs, _ = published(folder, "reference")
        yield _Part(inputs, planting.rows[planting.included], planting.labels[planting.included])


def training_records(folder: RunFolder, training_set: TrainingSet) -> tuple[Inputs, npt.NDArray[np.int64]]:
    """What a model trains on, each input read into its place: a second copy beside it may not fit."""
    parts = [part.without(training_set.without_classes) for part in _training_parts(folder, training_set)]
    labels = np.concatenate([part.labels for part in parts])
    inputs = np.empty((len(labels), *parts[0].inputs.shape[1:]), parts[0].inputs.dtype)
    start = 0
    for part in parts:
        # by default numpy would buffer what it writes, a second copy
        np.take(part.inputs, part.rows, axis=0, out=inputs[start : start + len(part.rows)], mode="clip")
        start += len(part.rows)
    return inputs, labels
