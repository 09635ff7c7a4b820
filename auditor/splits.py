"""A data folder becomes `Splits`: who was in the training set, who was not, and what else there is.

    splits/
      train/        members; also: training, members
      test/         non-members; also: testing, eval, evaluation, nonmembers, non_members
      population/   calibration (optional)
      public/       the attacker's data (optional); also: reference, auxiliary
      validation/   what steered training (optional); also: val, valid, dev
      classes.txt   one class name per line, in the order of the model's outputs (optional)
      splits.toml   see `auditor.splits_file` (optional)

Each role is a folder of images (`auditor.sources.folder`), parquet or arrow (`table`), a WebDataset tar (`tar_shards`),
or one archive, `train.npz` and so on (`npz`); `auditor.sources.entries` says which files play which role.
A role is held in memory, decoded: `auditor.records.MAX_ROLE_BYTES` is the limit.

No record stands in two roles. Roles are ranked train, test, validation, population, public: a record with the same
content as one of an earlier role is dropped, as long as these are at most 1 % of the smaller role; more is an error.
Within a role only the first of several equal records is kept, except in train, where the model saw each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from auditor.class_names import ClassList, ClassOrder, ClassOrders, list_classes
from auditor.errors import InputError
from auditor.findings import Preprocessing
from auditor.records import Records, key_fingerprint, load_key, printable, record_id
from auditor.sources.entries import Entry, Form, SplitRole, find_entries
from auditor.sources.folder import list_folder
from auditor.sources.images import ImageRole, Traces, common_form, read_images, survey, traces_of
from auditor.sources.npz import read_npz
from auditor.sources.stated import MAX_NAME, ArrayRole, StatedLabels
from auditor.sources.table import read_table
from auditor.sources.tar_shards import TarImages
from auditor.splits_file import DataSection, Recipe, SplitsFile, read_splits_file

__all__ = [
    "ClassOrder",
    "ClassOrders",
    "Recipe",
    "Records",
    "SplitRole",
    "Splits",
    "SplitsFile",
    "key_fingerprint",
    "load_key",
    "load_splits",
    "record_id",
]

_LARGEST_OVERLAP = 0.01
_FEWEST_RECORDS = 2


@dataclass(frozen=True, eq=False)
class Splits:
    """The owner's data by role. All roles hold inputs of one shape, and no record stands in two of them.

    Attributes:
        members: What the model was trained on; equal records are all kept.
        non_members: What it was not trained on.
        population: Labelled records for calibration, or None.
        public: The attacker's data, labels of -1 included, or None.
        validation: What steered training, or None.
        class_names: By class index, as found: hostile text included, to be escaped where printed.
        class_names_source: Where names and order came from.
        settings: `splits.toml`.
        duplicates_dropped: Records left out because an equal one is there already.
        folder: Where all this was read.
        class_order: `AMBIGUOUS`: the model's accuracy has to decide between `class_orders`, see `with_class_order`.
        class_orders: Both orders where the folder names left it open, else None.
        test_as_read: Digest of every record of the test split in the order of reading, the dropped ones included; all
            records of the train split are members.
        traces: What their files are like, where both are images that are stored in one way.
        not_turned: How many images, in all roles, have an EXIF orientation that is not followed.
        one_form: Whether both come in one form: a class folder is read class by class, a table as it is.
    """

    members: Records
    non_members: Records
    population: Records | None
    public: Records | None
    validation: Records | None
    class_names: tuple[str, ...]
    class_names_source: str
    settings: SplitsFile
    duplicates_dropped: int
    folder: Path
    class_order: ClassOrder = ClassOrder.FIXED
    class_orders: ClassOrders | None = None
    test_as_read: tuple[bytes, ...] = ()
    traces: Traces | None = None
    not_turned: int = 0
    one_form: bool = True

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def with_class_order(self, order: Literal[ClassOrder.NATURAL, ClassOrder.TEXT]) -> Splits:
        """The same records, numbered by the natural or by the text order of the class names.

        Raises:
            ValueError: the order was never open, or `order` is neither.
        """
        if self.class_orders is None:
            raise ValueError(f"the class order comes from {self.class_names_source} and is not open")
        candidates = {ClassOrder.NATURAL: self.class_orders.natural, ClassOrder.TEXT: self.class_orders.text}
        names = candidates[ClassOrder(order)]
        index = {name: position for position, name in enumerate(names)}
        table = np.array([index[name] for name in self.class_names], dtype=np.int64)
        return replace(
            self,
            members=_relabelled(self.members, table),
            non_members=_relabelled(self.non_members, table),
            population=None if self.population is None else _relabelled(self.population, table),
            public=None if self.public is None else _relabelled(self.public, table),
            validation=None if self.validation is None else _relabelled(self.validation, table),
            class_names=names,
            class_names_source=f"{self.class_names_source.partition(' in ')[0]} in {order} order",
            class_order=order,
        )

    def keeping_out(self, digests: Collection[bytes]) -> Splits:
        """The splits without the records of these digests, in whatever role they stand."""
        return replace(
            self,
            members=_without(self.members, digests),
            non_members=_without(self.non_members, digests),
            population=None if self.population is None else _without(self.population, digests),
            public=None if self.public is None else _without(self.public, digests),
            validation=None if self.validation is None else _without(self.validation, digests),
        )


def _without(records: Records, digests: Collection[bytes]) -> Records:
    return records.take(np.array([digest not in digests for digest in records.digests], dtype=np.bool_))


def _relabelled(records: Records, table: npt.NDArray[np.int64]) -> Records:
    return replace(records, labels=np.where(records.labels < 0, records.labels, table[records.labels]))


def load_splits(folder: Path, *, num_classes: int | None = None, preprocessing: Preprocessing | None = None) -> Splits:
    """Read a data folder.

    Args:
        folder: Laid out as the module says.
        num_classes: How many classes the model has, where known; checked against the classes found.
        preprocessing: What the model does with images, where known; images that have to be resized are so for it.
            Without it, `splits.toml` alone decides.

    Returns:
        The splits, decoded and in memory, with every promise of `Splits` checked.

    Raises:
        InputError: anything that is missing, damaged, contradictory or too large, with the file and the remedy.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{printable(folder)} is not a folder.", "Give --data the folder that holds train and test.")
    settings = read_splits_file(folder)
    entries = find_entries(folder, settings)
    _refuse_idle_columns(folder, settings.data, entries)
    material = {role: _read(role, entry, settings.data) for role, entry in entries.items()}
    _refuse_turned_and_not(material)
    sources = {role: entry.path for role, entry in entries.items()}
    classes = _classes(folder, material, num_classes)
    labels = {role: _labels(role, part, classes) for role, part in material.items()}
    records = _decode(material, labels, settings, preprocessing)
    _check_shapes(records, sources)
    kept, dropped = _disjoint(records, sources)
    return Splits(
        members=kept[SplitRole.TRAIN],
        non_members=kept[SplitRole.TEST],
        population=kept.get(SplitRole.POPULATION),
        public=kept.get(SplitRole.PUBLIC),
        validation=kept.get(SplitRole.VALIDATION),
        class_names=classes.names,
        class_names_source=classes.source,
        settings=settings,
        duplicates_dropped=dropped,
        folder=folder,
        class_order=classes.order,
        class_orders=classes.orders,
        test_as_read=records[SplitRole.TEST].digests,
        traces=traces_of(material[SplitRole.TRAIN], material[SplitRole.TEST]),
        not_turned=sum(part.not_turned for part in material.values() if isinstance(part, ImageRole)),
        one_form=entries[SplitRole.TRAIN].form is entries[SplitRole.TEST].form,
    )


def _refuse_idle_columns(folder: Path, columns: DataSection, entries: Mapping[SplitRole, Entry]) -> None:
    if columns != DataSection() and all(entry.form is not Form.TABLE for entry in entries.values()):
        raise InputError(
            f"{printable(folder / 'splits.toml')} names columns under [data], and no split there is parquet or arrow.",
            "Remove [data].",
        )


def _refuse_turned_and_not(material: Mapping[SplitRole, ImageRole | ArrayRole]) -> None:
    """Two roles must not differ by what we make of their EXIF orientations."""
    lying = [part for part in material.values() if isinstance(part, ImageRole) and part.oriented]
    turned = next((part for part in lying if part.source.upright), None)
    as_stored = next((part for part in lying if not part.source.upright), None)
    if turned is not None and as_stored is not None:
        raise InputError(
            f"{printable(turned.path)} and {printable(as_stored.path)} hold images with an EXIF orientation, which is "
            "followed in parquet and arrow, and not in folders and tar files.",
            "Store the pixels upright, or all roles in one form.",
        )


def _read(role: SplitRole, entry: Entry, columns: DataSection) -> ImageRole | ArrayRole:
    match entry.form:
        case Form.FOLDER:
            return survey(list_folder(entry.path))
        case Form.TAR:
            return survey(TarImages(entry.path, entry.files))
        case Form.TABLE:
            return read_table(entry.path, entry.files, columns, labels_needed=role is not SplitRole.PUBLIC)
        case Form.NPZ:
            arrays = read_npz(entry.path)
            return ArrayRole(entry.path, arrays.inputs, StatedLabels(arrays.labels), arrays.groups)


# --- labels --------------------------------------------------------------------------------------------------------


def _classes(folder: Path, material: Mapping[SplitRole, ImageRole | ArrayRole], num_classes: int | None) -> ClassList:
    labelled = [part for role, part in material.items() if role is not SplitRole.PUBLIC]
    for part in labelled:
        none = np.flatnonzero(part.labels.numbers < 0)
        if part.labels.names is not None and none.size:
            raise InputError(
                f"{printable(part.place(int(none[0])))} has no class.",
                "Give every record one, an image by the folder that it lies in; only the public split does without.",
            )
    return list_classes(folder, {part.path: part.labels for part in labelled}, num_classes=num_classes)


def _labels(role: SplitRole, part: ImageRole | ArrayRole, classes: ClassList) -> npt.NDArray[np.int64]:
    if part.labels.names is not None:
        return _labels_by_name(role, part, part.labels.names, classes)
    numbers = part.labels.numbers
    none = np.flatnonzero(numbers == -1)
    if none.size and role is not SplitRole.PUBLIC:
        raise InputError(
            f"{printable(part.place(int(none[0])))} has no label (none is written, or label -1, which means none).",
            f"Give every record one, from 0 to {len(classes.names) - 1}; only the public split does without.",
        )
    lowest = -1 if role is SplitRole.PUBLIC else 0
    outside = (numbers < lowest) | (numbers >= len(classes.names))
    if outside.any():
        raise InputError(
            f"{printable(part.path)} has the label {numbers[outside][0]}; "
            f"{len(classes.names)} classes are known (from {classes.source}).",
            f"Use labels from {lowest} to {len(classes.names) - 1}; -1, for no class, is for the public split only.",
        )
    return numbers


def _labels_by_name(
    role: SplitRole, part: ImageRole | ArrayRole, names: tuple[str, ...], classes: ClassList
) -> npt.NDArray[np.int64]:
    index = {name: position for position, name in enumerate(classes.names)}
    # the last entry stands for records without a class: -1 finds it
    table = np.array([*(index.get(name, -1) for name in names), -1], dtype=np.int64)
    labels = table[part.labels.numbers]
    if role is not SplitRole.PUBLIC and (labels < 0).any():
        first = int(np.argmin(labels))
        name = names[part.labels.numbers[first]]
        raise InputError(
            f"{printable(part.place(first))} is of the class {printable(name[:MAX_NAME])}, which is none of the "
            f"{len(classes.names)} classes (from {classes.source}).",
            "Name every class in classes.txt, as the data names it.",
        )
    return labels


# --- records -------------------------------------------------------------------------------------------------------


def _decode(
    material: Mapping[SplitRole, ImageRole | ArrayRole],
    labels: Mapping[SplitRole, npt.NDArray[np.int64]],
    settings: SplitsFile,
    preprocessing: Preprocessing | None,
) -> dict[SplitRole, Records]:
    inputs = {role: part.inputs for role, part in material.items() if isinstance(part, ArrayRole)}
    images = {role: part for role, part in material.items() if isinstance(part, ImageRole)}
    if images:
        form = common_form(list(images.values()), preprocessing or settings.preprocessing)
        inputs |= {role: read_images(part, form) for role, part in images.items()}
    return {role: Records.of(inputs[role], labels[role], part.groups) for role, part in material.items()}


def _check_shapes(records: Mapping[SplitRole, Records], sources: Mapping[SplitRole, Path]) -> None:
    members = records[SplitRole.TRAIN]
    train = printable(sources[SplitRole.TRAIN])
    for role, part in records.items():
        if _form(part) != _form(members):
            raise InputError(
                f"{printable(sources[role])} holds {_form(part)}, but {train} {_form(members)}.",
                "Bring all roles into one form.",
            )
    if (members.groups is None) != (records[SplitRole.TEST].groups is None):
        raise InputError(
            f"Only one of {train} and {printable(sources[SplitRole.TEST])} states groups.",
            "State them for both or for neither.",
        )


def _form(records: Records) -> str:
    sides = " x ".join(str(side) for side in records.inputs.shape[1:])
    return f"{'images' if records.inputs.dtype == np.uint8 else 'features'} of {sides}"


def _disjoint(
    records: Mapping[SplitRole, Records], sources: Mapping[SplitRole, Path]
) -> tuple[dict[SplitRole, Records], int]:
    """Every role without what stands in it, or in an earlier role, already; and how many records that cost."""
    kept: dict[SplitRole, Records] = {}
    for role in (role for role in SplitRole if role in records):
        part = records[role] if role is SplitRole.TRAIN else _without_repeats(records[role])
        for earlier, other in kept.items():
            part = _without_shared(part, sources[role], other, sources[earlier])
        if part.n < _FEWEST_RECORDS:
            raise InputError(
                f"{printable(sources[role])} holds {part.n} distinct record{'' if part.n == 1 else 's'}.",
                f"A split needs at least {_FEWEST_RECORDS} to be read, and train and test more to be audited.",
            )
        kept[role] = part
    return kept, sum(records[role].n - part.n for role, part in kept.items())


def _without_repeats(part: Records) -> Records:
    first = {digest: position for position, digest in reversed(list(enumerate(part.digests)))}
    return part if len(first) == part.n else part.take(np.sort(np.fromiter(first.values(), dtype=np.intp)))


def _without_shared(part: Records, path: Path, other: Records, other_path: Path) -> Records:
    known = set(other.digests)
    shared = np.array([digest in known for digest in part.digests], dtype=bool)
    count, smaller = int(shared.sum()), min(part.n, other.n)
    if count == 0:
        return part
    if count > _LARGEST_OVERLAP * smaller:
        raise InputError(
            f"{count} of the {part.n} distinct records of {printable(path)} also stand in {printable(other_path)}.",
            f"Remove them from one of the two; up to {_LARGEST_OVERLAP:.0%} of the smaller one is dropped for you.",
        )
    return part.take(~shared)
