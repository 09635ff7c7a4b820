"""Shadows that the owner has trained already, instead of ours: `--shadows DIR` (docs/bring-your-own-shadows.md).

    DIR/
      <any name>.safetensors   one per shadow, plain weights of the target's architecture (.pt, .pth, .bin, ... too)
      inclusion.npz            which records each trained on: `train` and `test`, bool [model, record]

Models are numbered by file name, sorted as text; records by their place in train/ and test/ as these are read (the rows
of an archive, the images of a folder sorted by path), before duplicates are dropped. Equal records are one record: a
shadow that trained on either has trained on it. Nothing here is ever unpickled, whatever --trust-checkpoint says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.checkpoint.weights import is_weights_name, locate, read_state, refuse_non_finite
from auditor.compute import digest
from auditor.errors import InputError
from auditor.records import printable
from auditor.shadows import AuditSet, Coverage, GivenModel
from auditor.sources.npz import read_flags
from auditor.splits import Records, Splits
from auditor.target import Target

__all__ = ["INCLUSION_NAME", "GivenShadows", "load_given", "read_given_shadows"]

Flags = npt.NDArray[np.bool_]

INCLUSION_NAME = "inclusion.npz"
_LEAST_EACH = 2  # shadows with a record, and as many without: a spread needs two
_PLAIN = "Save the plain state dict of a model like the audited one with safetensors.torch.save_file."


@dataclass(frozen=True, eq=False)
class GivenShadows:
    """Shadows as the owner hands them in.

    Attributes:
        name: Of the folder, without its path.
        models: In the order of their file names.
        trained_on: bool [model, record] over distinct records.
        columns: The column of each distinct record, by its digest.
        digest: Names weights and inclusion by their content.
    """

    name: str
    models: tuple[GivenModel, ...]
    trained_on: Flags
    columns: Mapping[bytes, int]
    digest: str

    def of(self, records: Records) -> Flags:
        """Which of these members and non-members each shadow trained on, bool [model, record]."""
        return self.trained_on[:, [self.columns[one] for one in records.digests]]

    def coverage(self, splits: Splits) -> Coverage:
        """Who can be evaluated: a record with two shadows that trained on it, and two that did not."""
        test = self.of(splits.non_members)
        return Coverage(_covered(self.of(splits.members)), _covered(test), np.asarray(test.any(0)))

    def inclusion(self, audit_set: AuditSet) -> Flags:
        """Which audit records each shadow trained on, bool [model, record].

        Raises:
            InputError: a shadow trained on none or on all of them.
        """
        inclusion = self.of(audit_set.records)
        for model, row in zip(self.models, inclusion, strict=True):
            if row.all() or not row.any():
                raise InputError(
                    f"{printable(model.path)} was trained on {'all' if row.all() else 'none'} of the "
                    f"{len(row)} records that are evaluated ({INCLUSION_NAME}).",
                    "Leave it out, or train it on a random half of train/ and of test/.",
                )
        return inclusion


def _covered(trained_on: Flags) -> Flags:
    covered: Flags = np.minimum(trained_on.sum(0), (~trained_on).sum(0)) >= _LEAST_EACH
    return covered


def read_given_shadows(folder: Path, target: Target, splits: Splits) -> GivenShadows:
    """Read and check a folder of shadows.

    Args:
        folder: Laid out as the module says.
        target: The audited model: every shadow must fit its architecture, and none may be the model itself.
        splits: The owner's data.

    Raises:
        InputError: fewer than 4 shadows or an odd number, a file that cannot be used or stands there twice, or an
            inclusion that does not fit models and records.
    """
    paths = _model_paths(folder)
    models = tuple(GivenModel(path, _opened(target, path).facts.sha256) for path in paths)
    _refuse_copies(models, target)
    test = splits.test_as_read or splits.non_members.digests
    train_flags, test_flags = _inclusion(folder / INCLUSION_NAME, len(models), splits.members.n, len(test))
    every = (*splits.members.digests, *test)
    columns = {one: column for column, one in enumerate(dict.fromkeys(every))}
    trained_on = np.zeros((len(models), len(columns)), dtype=bool)
    places = np.array([columns[one] for one in every])
    for row, flags in zip(trained_on, np.hstack([train_flags, test_flags]), strict=True):
        row[places[flags]] = True
    content = digest([one.sha256 for one in models], np.packbits(train_flags, axis=1), np.packbits(test_flags, axis=1))
    return GivenShadows(folder.resolve().name, models, trained_on, columns, content)


def _model_paths(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.absolute().iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise InputError(
            f"{printable(folder)} cannot be listed: {error.strerror}.", "Give --shadows the folder that holds them."
        ) from error
    paths = [path for path in entries if is_weights_name(path.name) and not path.name.startswith(".")]
    if len(paths) < 2 * _LEAST_EACH or len(paths) % 2:
        raise InputError(
            f"{printable(folder)} holds {len(paths)} weights files; an even number of at least {2 * _LEAST_EACH} "
            "shadows is needed.",
            "Each record needs two that trained on it and two that did not, and their halves are compared.",
        )
    return paths


def _opened(target: Target, path: Path) -> Target:
    """A shadow's weights in the target's architecture, behind no wrapper.

    Raises:
        InputError: the file cannot be read without unpickling, is not finite, or does not fit.
    """
    try:
        tensors = read_state(locate(path)).tensors
        refuse_non_finite(tensors, path)
    except InputError as error:
        raise InputError(error.message, f"{_PLAIN} Shadows are never unpickled.") from error
    try:
        return target.with_weights(tensors)
    except InputError as error:
        raise InputError(f"{printable(path)} is no shadow of the audited model: {error.message}", _PLAIN) from error


def load_given(template: Target, given: GivenModel) -> Target:
    """A given shadow, to be asked.

    Raises:
        InputError: its file has changed since the plan was settled, or cannot be read any more.
    """
    model = _opened(template, given.path)
    if model.facts.sha256 != given.sha256:
        raise InputError(f"{printable(given.path)} has changed since it was checked.", "Start the scan again.")
    return model


def _refuse_copies(models: Sequence[GivenModel], target: Target) -> None:
    own = target.with_weights(target.module.state_dict()).facts.sha256
    seen = {own: "the audited checkpoint"}
    for model in models:
        if model.sha256 in seen:
            raise InputError(
                f"{printable(model.path)} has the same weights as {seen[model.sha256]}.",
                "Give models that were trained apart from each other, each on records of its own.",
            )
        seen[model.sha256] = printable(model.path.name)


def _inclusion(path: Path, models: int, members: int, tested: int) -> tuple[Flags, Flags]:
    """Bool [model, record] of train/ and of test/ as read; without `test`, no shadow trained on any of it."""
    if not path.is_file():
        raise InputError(f"There is no {printable(path)}.", "Say there which records each shadow was trained on.")
    found = read_flags(path, {"train": (models, members), "test": (models, tested)})
    if "train" not in found:
        raise InputError(f"{printable(path)} holds no `train`.", "Save it as bool [model, record] of train/.")
    return found["train"], found.get("test", np.zeros((models, tested), dtype=bool))
