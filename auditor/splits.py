"""A data folder becomes `Splits`: who was in the training set, who was not, and what else there is.

    splits/
      train/        members; also: training, members
      test/         non-members; also: testing, eval, evaluation, nonmembers, non_members
      population/   calibration (optional)
      public/       the attacker's data (optional); also: reference, auxiliary
      validation/   what steered training (optional); also: val, valid, dev
      classes.txt   one class name per line, in the order of the model's outputs (optional)
      splits.toml   see `auditor.splits_file` (optional)

Each role is a folder as `auditor.image_folder` reads it, or instead one archive, `train.npz` and so on, as
`auditor.npz_file` reads it. A role is held in memory, decoded: `auditor.records.MAX_ROLE_BYTES` is the limit.

No record stands in two roles. Roles are ranked train, test, validation, population, public: a record with the same
content as one of an earlier role is dropped, as long as these are at most 1 % of the smaller role; more is an error.
Within a role only the first of several equal records is kept, except in train, where the model saw each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from auditor.class_names import ClassList, ClassOrder, ClassOrders, list_classes
from auditor.errors import InputError
from auditor.image_folder import ImageFolder, Traces, common_form, read_images, scan_folder
from auditor.npz_file import NpzArrays, read_npz
from auditor.records import Records, key_fingerprint, load_key, printable, record_id
from auditor.splits_file import Recipe, SplitsFile, read_splits_file

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
_UNREAD = (".arrow", ".npy", ".parquet", ".tar", ".tar.gz", ".tgz", ".zip")


class SplitRole(StrEnum):
    """What a part of the data folder is for, in the order in which a shared record is kept."""

    TRAIN = "train"
    TEST = "test"
    VALIDATION = "validation"
    POPULATION = "population"
    PUBLIC = "public"


_SYNONYMS = {
    SplitRole.TRAIN: ("train", "training", "members"),
    SplitRole.TEST: ("test", "testing", "eval", "evaluation", "nonmembers", "non_members"),
    SplitRole.VALIDATION: ("validation", "val", "valid", "dev"),
    SplitRole.POPULATION: ("population",),
    SplitRole.PUBLIC: ("public", "reference", "auxiliary"),
}


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
        traces: What their files are like, where both are folders of images.
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

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def with_class_order(self, order: Literal[ClassOrder.NATURAL, ClassOrder.TEXT]) -> Splits:
        """The same records, numbered by the natural or by the text order of the class folders.

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
            class_names_source=f"class folders in {order} order",
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


def load_splits(folder: Path, *, num_classes: int | None = None) -> Splits:
    """Read a data folder.

    Args:
        folder: Laid out as the module says.
        num_classes: How many classes the model has, where known; checked against the classes found.

    Returns:
        The splits, decoded and in memory, with every promise of `Splits` checked.

    Raises:
        InputError: anything that is missing, damaged, contradictory or too large, with the file and the remedy.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{printable(folder)} is not a folder.", "Give --data the folder that holds train and test.")
    settings = read_splits_file(folder)
    sources = _find_sources(folder, settings)
    material = {role: scan_folder(path) if path.is_dir() else read_npz(path) for role, path in sources.items()}
    classes = _classes(folder, material, num_classes)
    labels = {role: _labels(role, sources[role], material[role], classes) for role in sources}
    records = _decode(material, labels, settings)
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
        traces=_traces(material[SplitRole.TRAIN], material[SplitRole.TEST]),
    )


def _traces(members: ImageFolder | NpzArrays, non_members: ImageFolder | NpzArrays) -> Traces | None:
    if isinstance(members, ImageFolder) and isinstance(non_members, ImageFolder):
        return Traces(members.traces(), non_members.traces())
    return None


# --- which file plays which role -----------------------------------------------------------------------------------


def _find_sources(folder: Path, settings: SplitsFile) -> dict[SplitRole, Path]:
    named = {
        role: _named(folder, role, name) for role in SplitRole if (name := getattr(settings.roles, role)) is not None
    }
    if len(set(named.values())) < len(named):
        raise InputError(
            f"{printable(folder / 'splits.toml')} gives one entry two roles.", "Name each entry once under [roles]."
        )
    entries = [path for path in _entries(folder) if path not in named.values()]
    sources = {}
    for role in SplitRole:
        found = named.get(role) or _by_name(folder, role, entries)
        if found is not None:
            sources[role] = found
        elif role in {SplitRole.TRAIN, SplitRole.TEST}:
            raise InputError(
                f"{printable(folder)} holds no {role} split.",
                f"Add {role}/ (an image folder) or {role}.npz, or name its entry under [roles] in splits.toml.",
            )
    return sources


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{printable(folder)} cannot be listed: {error.strerror}.", "Check its permissions."
        ) from error


def _named(folder: Path, role: SplitRole, name: str) -> Path:
    path = folder / name
    inside = name != "" and name == Path(name).name != ".."
    if not inside or not (path.is_dir() or (path.is_file() and path.suffix == ".npz")):
        raise InputError(
            f"`roles.{role}` in {printable(folder / 'splits.toml')} is {printable(name)}, "
            "which is no folder and no .npz file directly in the data folder.",
            "Name an entry that is there.",
        )
    return path


def _by_name(folder: Path, role: SplitRole, entries: Sequence[Path]) -> Path | None:
    candidates = [path for path in entries if _plays(path, role)]
    if len(candidates) > 1:
        names = " and ".join(printable(path.name) for path in candidates)
        raise InputError(
            f"{printable(folder)} holds the {role} split more than once: {names}.",
            "Remove all but one, or name the one to use under [roles] in splits.toml.",
        )
    if candidates and not candidates[0].is_dir() and candidates[0].suffix != ".npz":
        raise InputError(
            f"{printable(candidates[0])} is in a format that is not read.",
            "Save the split as an image folder or as one .npz.",
        )
    return candidates[0] if candidates else None


def _plays(path: Path, role: SplitRole) -> bool:
    if path.is_dir():
        return _normal(path.name) in _SYNONYMS[role]
    stem, _, suffix = path.name.partition(".")
    return _normal(stem) in _SYNONYMS[role] and f".{suffix}" in {".npz", *_UNREAD}


def _normal(name: str) -> str:
    return name.lower().replace("-", "_")


# --- labels --------------------------------------------------------------------------------------------------------


def _classes(folder: Path, material: Mapping[SplitRole, ImageFolder | NpzArrays], num_classes: int | None) -> ClassList:
    labelled = [part for role, part in material.items() if role is not SplitRole.PUBLIC]
    folders = [part for part in labelled if isinstance(part, ImageFolder)]
    archives = [part for part in labelled if isinstance(part, NpzArrays)]
    return list_classes(
        folder,
        folder_names=frozenset(file.class_name for part in folders for file in part.files) if folders else None,
        highest_label=max(int(part.labels.max(initial=0)) for part in archives) if archives else None,
        num_classes=num_classes,
    )


def _labels(role: SplitRole, path: Path, part: ImageFolder | NpzArrays, classes: ClassList) -> npt.NDArray[np.int64]:
    if isinstance(part, ImageFolder):
        return _folder_labels(role, part, classes)
    lowest = -1 if role is SplitRole.PUBLIC else 0
    outside = (part.labels < lowest) | (part.labels >= len(classes.names))
    if outside.any():
        raise InputError(
            f"{printable(path)} has the label {part.labels[outside][0]}; "
            f"{len(classes.names)} classes are known (from {classes.source}).",
            f"Use labels from {lowest} to {len(classes.names) - 1}; -1, for no class, is for the public split only.",
        )
    return part.labels


def _folder_labels(role: SplitRole, part: ImageFolder, classes: ClassList) -> npt.NDArray[np.int64]:
    index = {name: position for position, name in enumerate(classes.names)}
    for file in part.files:
        if file.class_name not in index and role is not SplitRole.PUBLIC:
            raise InputError(
                f"{printable(file.path)} lies in none of the {len(classes.names)} class folders "
                f"(from {classes.source}).",
                "Put every image into the folder of its class, and every class into classes.txt.",
            )
    return np.array([index.get(file.class_name, -1) for file in part.files], dtype=np.int64)


# --- records -------------------------------------------------------------------------------------------------------


def _decode(
    material: Mapping[SplitRole, ImageFolder | NpzArrays],
    labels: Mapping[SplitRole, npt.NDArray[np.int64]],
    settings: SplitsFile,
) -> dict[SplitRole, Records]:
    inputs = {role: part.inputs for role, part in material.items() if isinstance(part, NpzArrays)}
    folders = {role: part for role, part in material.items() if isinstance(part, ImageFolder)}
    if folders:
        form = common_form(list(folders.values()), settings.preprocessing)
        inputs |= {role: read_images(part, form) for role, part in folders.items()}
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
