"""Which index is which class: the order of the classes, and when it cannot be told from the folder names.

timm numbers class folders in natural order (`2` before `10`), torchvision and `datasets` in text order (`10` before
`2`). With the wrong one every per-class result is garbage, so where the two differ and no `classes.txt` decides, both
are kept, and whoever has the model decides by its accuracy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from auditor.errors import InputError
from auditor.records import printable, read_text

__all__ = ["MAX_CLASSES", "MAX_NAME", "ClassList", "ClassOrder", "ClassOrders", "list_classes", "read_class_names"]

CLASSES_FILE = "classes.txt"
MAX_CLASSES = 100_000
MAX_NAME = 200


class ClassOrder(StrEnum):
    """How far the order of the classes is known."""

    FIXED = "fixed"
    AMBIGUOUS = "ambiguous"
    NATURAL = "natural"
    TEXT = "text"


@dataclass(frozen=True)
class ClassOrders:
    """The two orders of the same class folders that are in use."""

    natural: tuple[str, ...]
    text: tuple[str, ...]


@dataclass(frozen=True)
class ClassList:
    """The classes by index.

    Attributes:
        names: Class names as found, hostile text included.
        source: Where names and order came from, for the report.
        order: `FIXED`, or `AMBIGUOUS` with `names` in natural order.
        orders: Both orders where ambiguous, else None.
    """

    names: tuple[str, ...]
    source: str
    order: ClassOrder = ClassOrder.FIXED
    orders: ClassOrders | None = None


def list_classes(
    folder: Path,
    *,
    folder_names: frozenset[str] | None,
    highest_label: int | None,
    num_classes: int | None,
) -> ClassList:
    """Settle the classes of a data folder.

    Args:
        folder: The data folder; its `classes.txt` decides where there is one.
        folder_names: The class folders of all labelled roles together; None where no role is an image folder.
        highest_label: The highest label in the archives of labelled roles; None where no role is an archive.
        num_classes: How many classes the model has, where known.

    Raises:
        InputError: fewer than two classes or more than `MAX_CLASSES`, not as many as the model has, a name that is
            empty, too long, double or not UTF-8, or numbered and named classes mixed without `classes.txt`.
    """
    if (folder / CLASSES_FILE).exists():
        classes = ClassList(read_class_names(folder / CLASSES_FILE), CLASSES_FILE)
    elif folder_names is not None and highest_label is not None:
        raise InputError(
            f"{printable(folder)} mixes image folders and archives, so labels and class folders cannot be matched.",
            f"Add {CLASSES_FILE}: one class name per line, in the order of the labels.",
        )
    elif folder_names is not None:
        classes = _by_folder_names(folder, folder_names)
    else:
        classes = _by_label(folder, 1 + (highest_label or 0), num_classes)
    _check_count(folder, classes, num_classes)
    return classes


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read `classes.txt`: one name per line, in the order of the labels.

    Raises:
        InputError: unreadable, or a name that is empty, too long or double.
    """
    names = tuple(line.strip() for line in read_text(path).rstrip().split("\n"))
    _check_names(path, names)
    return names


def _by_folder_names(folder: Path, names: frozenset[str]) -> ClassList:
    _check_names(folder, sorted(names))
    text = tuple(sorted(names))
    natural = tuple(sorted(text, key=_natural_key))
    if natural == text:
        return ClassList(text, "class folders")
    return ClassList(natural, "class folders", ClassOrder.AMBIGUOUS, ClassOrders(natural=natural, text=text))


def _natural_key(name: str) -> tuple[str | int, ...]:
    """Texts at even places, numbers at odd ones; case does not count, as in timm."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))


def _by_label(folder: Path, labels: int, num_classes: int | None) -> ClassList:
    count = labels if num_classes is None else num_classes
    if max(count, labels) > MAX_CLASSES:
        raise InputError(
            f"{printable(folder)} has the label {labels - 1}, and at most {MAX_CLASSES} classes are read.",
            "Number the classes from 0.",
        )
    source = "highest label" if num_classes is None else "classes of the model"
    return ClassList(tuple(str(label) for label in range(count)), source)


def _check_names(path: Path, names: Sequence[str]) -> None:
    if len(names) > MAX_CLASSES:
        raise InputError(f"{printable(path)} names more than {MAX_CLASSES} classes.", "Give fewer.")
    for name in names:
        if not name or len(name) > MAX_NAME:
            raise InputError(
                f"{printable(path)} has a class name that is empty or longer than {MAX_NAME} characters.",
                "Give every class a short name.",
            )
    double = _first_double(names)
    if double is not None:
        raise InputError(f"{printable(path)} names the class {printable(double)} twice.", "Make the names distinct.")


def _first_double(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _check_count(folder: Path, classes: ClassList, num_classes: int | None) -> None:
    count = len(classes.names)
    if num_classes is not None and count != num_classes:
        raise InputError(
            f"{printable(folder)} has {count} classes (from {classes.source}), and the model has {num_classes}.",
            f"List the classes of the model in {CLASSES_FILE}, one per line, in the order of its outputs.",
        )
    if count < 2:
        raise InputError(f"{printable(folder)} has only one class.", "An audit needs a classifier of two or more.")
