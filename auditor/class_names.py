"""Which index is which class: the order of the classes, and when it cannot be told from the folder names.

timm numbers class folders in natural order (`2` before `10`), torchvision and `datasets` in text order (`10` before
`2`). With the wrong one every per-class result is garbage, so where the two differ and neither `classes.txt` nor a list
in the data decides, both are kept, and whoever has the model decides by its accuracy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from auditor.errors import InputError
from auditor.records import printable, read_text
from auditor.sources.stated import MAX_NAME, StatedLabels

__all__ = ["MAX_CLASSES", "ClassList", "ClassOrder", "ClassOrders", "list_classes", "read_class_names"]

CLASSES_FILE = "classes.txt"
MAX_CLASSES = 100_000


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


def list_classes(folder: Path, stated: Mapping[Path, StatedLabels], *, num_classes: int | None) -> ClassList:
    """Settle the classes of a data folder.

    Args:
        folder: The data folder; its `classes.txt` decides where there is one.
        stated: What all labelled roles say, by their paths.
        num_classes: How many classes the model has, where known.

    Raises:
        InputError: fewer than two classes or more than `MAX_CLASSES`, not as many as the model has, a name that is
            empty, too long, double or not UTF-8, or, without `classes.txt`, numbered and named classes mixed or two
            lists that differ.
    """
    named = [labels for labels in stated.values() if labels.names is not None]
    listed = {path: labels.names for path, labels in stated.items() if labels.listed and labels.names is not None}
    if (folder / CLASSES_FILE).exists():
        classes = ClassList(read_class_names(folder / CLASSES_FILE), CLASSES_FILE)
    elif 0 < len(named) < len(stated):
        raise InputError(
            f"{printable(folder)} gives the classes of some splits by number and of others by name, so they cannot be "
            "matched.",
            f"Add {CLASSES_FILE}: one class name per line, in the order of the labels.",
        )
    elif listed:
        classes = _as_listed(folder, listed)
    elif named:
        source = named[0].named_by if len({labels.named_by for labels in named}) == 1 else "class names"
        classes = _by_name(folder, frozenset(name for labels in named for name in labels.names or ()), source)
    else:
        highest = max((int(labels.numbers.max(initial=0)) for labels in stated.values()), default=0)
        classes = _by_label(folder, 1 + highest, num_classes)
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


def _as_listed(folder: Path, listed: Mapping[Path, tuple[str, ...]]) -> ClassList:
    (path, names), *others = listed.items()
    other = next((other for other, found in others if found != names), None)
    if other is not None:
        raise InputError(
            f"{printable(path)} and {printable(other)} list the classes differently.",
            f"Add {CLASSES_FILE}: one class name per line, in the order of the model's outputs.",
        )
    _check_names(path, names)
    return ClassList(names, f"schema of {path.relative_to(folder)}")


def _by_name(folder: Path, names: frozenset[str], source: str) -> ClassList:
    _check_names(folder, sorted(names))
    text = tuple(sorted(names))
    natural = tuple(sorted(text, key=_natural_key))
    if natural == text:
        return ClassList(text, source)
    return ClassList(natural, source, ClassOrder.AMBIGUOUS, ClassOrders(natural=natural, text=text))


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
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise InputError(f"{printable(path)} has a class name that is not UTF-8.", "Rename the class.")
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
