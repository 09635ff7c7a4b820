"""Which column of a table holds what: as `splits.toml` says, or else by type and by the names that are in use.

A class is named by the schema where it holds what the `datasets` library leaves there (`ClassLabel`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from auditor.errors import InputError
from auditor.records import printable
from auditor.sources.stated import GROUP_NAMES
from auditor.splits_file import DataSection

__all__ = ["Column", "ColumnKind", "Columns", "choose_columns", "parse_features"]

_IMAGE_NAMES = ("image", "images", "img", "pixel_values", "picture", "photo", "jpg", "jpeg", "png", "webp")
_FEATURE_NAMES = ("features", "feature", "x", "inputs", "embedding", "embeddings")
_LABEL_NAMES = ("label", "labels", "fine_label", "coarse_label", "target", "targets", "class", "cls", "y")
_SAVE_STATED = "save integers, or text"
_SHOWN = 30
_LONGEST_SHOWN = 60


class ColumnKind(StrEnum):
    """What a column can serve as, by its type."""

    ENCODED = "encoded images"
    NUMBERS = "lists of numbers"
    INTEGER = "integers"
    TEXT = "text"
    NOTHING = "nothing"
    OTHER = "other"


_STATED = (ColumnKind.INTEGER, ColumnKind.TEXT)


@dataclass(frozen=True)
class Column:
    """A column of a table: `type` as the schema prints it."""

    name: str
    type: str
    kind: ColumnKind


@dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes:
        content: The images or features.
        encoded: Whether `content` holds encoded images.
        label: The classes, or None.
        group: The groups, or None.
        class_names: What the integers in `label` stand for, where the schema says it.
    """

    content: str
    encoded: bool
    label: str | None
    group: str | None
    class_names: tuple[str, ...] | None

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [name for name in (self.content, self.label, self.group) if name is not None]


def choose_columns(
    path: Path,
    columns: Sequence[Column],
    features: Mapping[str, object],
    section: DataSection,
    *,
    labels_needed: bool,
) -> Columns:
    """Say which columns are read.

    Args:
        path: The file, for messages.
        columns: All columns.
        features: What the `datasets` library says of them, by name.
        section: What the owner says.
        labels_needed: Whether a table without classes is refused.

    Raises:
        InputError: a column that is named is not there or has another type, or none or several could be meant.
    """
    table = _Table(path, columns)
    content = _content(table, section)
    listed = frozenset(name for name, feature in features.items() if _is_class_label(feature))
    if section.label_column is not None and (labels_needed or section.label_column in table.names):
        label: Column | None = table.named("label_column", section.label_column, _STATED)
    else:
        label = table.guess("label_column", _STATED, _LABEL_NAMES, listed)
        if labels_needed and (label is None or _doubtful(table, label, listed, content)):
            raise table.nothing("holds no column of classes", "label_column", _LABEL_NAMES, _SAVE_STATED)
    if section.group_column is not None:
        group: Column | None = table.named("group_column", section.group_column, _STATED)
    else:
        if table.unfit(GROUP_NAMES, content):
            raise table.nothing("holds no column of groups", "group_column", GROUP_NAMES, _SAVE_STATED)
        group = table.guess("group_column", _STATED, GROUP_NAMES, frozenset())
    return Columns(
        content=content.name,
        encoded=content.kind is ColumnKind.ENCODED,
        label=None if label is None else label.name,
        group=None if group is None else group.name,
        class_names=_class_names(path, label, features),
    )


@dataclass(frozen=True)
class _Table:
    path: Path
    columns: Sequence[Column]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    def named(self, key: str, name: str, kinds: Sequence[ColumnKind]) -> Column:
        """The column that the owner means."""
        found = [column for column in self.columns if column.name == name]
        if len(found) == 1 and found[0].kind in kinds:
            return found[0]
        raise self.complaint(f"holds no one column {printable(name)} of {' or '.join(kinds)}", key)

    def guess(
        self, key: str, kinds: Sequence[ColumnKind], names: Sequence[str], listed: frozenset[str]
    ) -> Column | None:
        """The one column of a usual name, or else the one in `listed`; None where there is neither."""
        fitting = [column for column in self.columns if column.kind in kinds]
        usual = [column for column in fitting if column.name.lower() in names]
        found = usual or [column for column in fitting if column.name in listed]
        if len(found) > 1:
            raise self.complaint("holds several columns that could be meant", key)
        return found[0] if found else None

    def unfit(self, names: Sequence[str], content: Column) -> bool:
        """Whether a column of one of these names, beside the content, holds what states nothing."""
        usual = [column for column in self.columns if column.name.lower() in names and column.name != content.name]
        return any(column.kind not in (*_STATED, ColumnKind.NOTHING) for column in usual)

    def nothing(self, what: str, key: str, names: Sequence[str], remedy: str) -> InputError:
        """No column serves; of one that has a usual name and another type the remedy is told first."""
        usual = [column for column in self.columns if column.name.lower() in names]
        unfit = min(usual, key=lambda one: (one.kind in _STATED, names.index(one.name.lower())), default=None)
        if unfit is None:
            return self.complaint(what, key)
        return self.complaint(what, key, f"`{_shown(unfit.name)}` is {_shown(unfit.type)}: {remedy}. Or name another")

    def complaint(self, what: str, key: str, remedy: str = "Name the right one") -> InputError:
        """What is wrong, and which columns there are."""
        there = [_shown(f"{column.name} ({column.type})") for column in self.columns[:_SHOWN]]
        more = len(self.columns) - len(there)
        listed = f"{', '.join(there) or 'none'}{f' and {more} more' if more else ''}"
        return InputError(
            f"{printable(self.path)} {what}; its columns: {listed}.",
            f"{remedy} as `{key}` under [data] in splits.toml.",
        )


def _shown(text: str) -> str:
    return printable(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def _doubtful(table: _Table, label: Column, listed: frozenset[str], content: Column) -> bool:
    """Whether a column of a likelier name than that of the guessed one is passed over for its type alone."""
    return label.name not in listed and table.unfit(_LABEL_NAMES[: _LABEL_NAMES.index(label.name.lower())], content)


def _content(table: _Table, section: DataSection) -> Column:
    if section.image_column is not None:
        return table.named("image_column", section.image_column, (ColumnKind.ENCODED,))
    if section.features_column is not None:
        return table.named("features_column", section.features_column, (ColumnKind.NUMBERS,))
    images, numbers = ("image_column", ColumnKind.ENCODED), ("features_column", ColumnKind.NUMBERS)
    for (key, kind), names in ((images, _IMAGE_NAMES), (numbers, _FEATURE_NAMES), (images, ()), (numbers, ())):
        found = table.guess(key, (kind,), names, frozenset() if names else table.names)
        if found is not None:
            return found
    what = "holds no column of encoded images, and none of lists of numbers"
    raise table.nothing(what, "image_column", _IMAGE_NAMES, "embed the bytes of the images; paths are not followed")


# --- what the datasets library leaves in a schema ------------------------------------------------------------------


def parse_features(path: Path, text: bytes, *, inside: tuple[str, ...]) -> Mapping[str, object]:
    """What `datasets` says of the columns: JSON, at the keys `inside`; empty where it says nothing.

    Raises:
        InputError: not JSON.
    """
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{printable(path)} describes its columns by what is not JSON.", "Write it again.") from error
    for key in inside:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _is_class_label(feature: object) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == "ClassLabel"


def _class_names(path: Path, label: Column | None, features: Mapping[str, object]) -> tuple[str, ...] | None:
    if label is None or label.kind is not ColumnKind.INTEGER:
        return None
    feature = features.get(label.name)
    if not isinstance(feature, dict) or not _is_class_label(feature) or feature.get("names") is None:
        return None
    names = feature["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{printable(path)}: the schema does not name the classes of {_shown(label.name)} by a list of texts.",
            "Write it again with the `datasets` library.",
        )
    return tuple(names)
