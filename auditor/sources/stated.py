"""What a role says of its records beside their content: classes and groups, before either is numbered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.errors import InputError
from auditor.records import Inputs, printable

__all__ = [
    "GROUPS_FILE",
    "GROUP_NAMES",
    "MAX_NAME",
    "ArrayRole",
    "Stated",
    "StatedLabels",
    "group_told_otherwise",
    "label_in_text",
    "number_of",
    "state_groups",
    "state_labels",
]

Stated = int | str | None

MAX_NAME = 200  # characters of a class

GROUPS_FILE = "groups.csv"
GROUP_NAMES = ("group", "groups", "group_id")  # in small letters

_LARGEST_INTEGER = 2**62
_MOST_DIGITS = 18
_SHOWN = 30


@dataclass(frozen=True, eq=False)
class StatedLabels:
    """What a role says of the classes of its records.

    Attributes:
        numbers: int64 [record]: the class, or the place of its name in `names`; -1: none is stated.
        names: The names; None where classes are numbered.
        named_by: What names them, for the report.
        listed: Whether the order of `names` is that of the labels.
    """

    numbers: npt.NDArray[np.int64]
    names: tuple[str, ...] | None = None
    named_by: str = ""
    listed: bool = False


@dataclass(frozen=True, eq=False)
class ArrayRole:
    """A role whose inputs need no decoding; `groups` int64 [record], or None."""

    path: Path
    inputs: Inputs
    labels: StatedLabels
    groups: npt.NDArray[np.int64] | None

    def place(self, record: int) -> str:
        """Where a record stands, for messages."""
        return f"record {record} of {self.path}"


def state_labels(
    path: Path, labels: Sequence[Stated], *, named_by: str, listed: tuple[str, ...] | None
) -> StatedLabels:
    """The labels of a role as one statement.

    Args:
        path: The role, for messages.
        labels: The class of each record, by number or by name; None where there is none.
        named_by: What the names are, where they are names.
        listed: The names that numbers stand for, where the role lists them.

    Raises:
        InputError: numbers and names are mixed, or a number is out of bounds.
    """
    texts = sorted({label for label in labels if isinstance(label, str)})
    if texts and any(isinstance(label, int) for label in labels):
        raise InputError(
            f"{printable(path)} gives some classes by number and others by name, {printable(texts[0][:200])} for one.",
            "Write all as numbers or all as names.",
        )
    if texts or not any(isinstance(label, int) for label in labels):
        place = {name: position for position, name in enumerate(texts)}
        numbers = [place.get(label, -1) if isinstance(label, str) else -1 for label in labels]
        return StatedLabels(np.array(numbers, dtype=np.int64), tuple(texts), named_by)
    numbers = [label if isinstance(label, int) else -1 for label in labels]
    allowed = range(-_LARGEST_INTEGER, _LARGEST_INTEGER) if listed is None else range(-1, len(listed))
    outside = next((number for number in numbers if number not in allowed), None)
    if outside is not None:
        known = "numbers of up to 62 bits are read" if listed is None else f"its schema names {len(listed)} classes"
        raise InputError(
            f"{printable(path)} has the label {str(outside)[:_SHOWN]}; {known}.", "Number the classes from 0."
        )
    return StatedLabels(np.array(numbers, dtype=np.int64), listed, named_by, listed=listed is not None)


def state_groups(path: Path, groups: Sequence[Stated]) -> npt.NDArray[np.int64] | None:
    """The groups of a role, int64 [record], or None where no record states one; blank text states none.

    Raises:
        InputError: only some records state one, or a number has more than 62 bits.
    """
    stated = [group for group in groups if not (group is None or (isinstance(group, str) and not group.strip()))]
    if not stated:
        return None
    if len(stated) < len(groups):
        raise InputError(f"{printable(path)} states a group for some records only.", "State it for all, or for none.")
    numbers = [number_of(group) if isinstance(group, str) else group for group in stated]
    if not all(-_LARGEST_INTEGER < number < _LARGEST_INTEGER for number in numbers):
        raise InputError(f"{printable(path)} has a group of more than 62 bits.", "Renumber from 0.")
    return np.array(numbers, dtype=np.int64)


def group_told_otherwise(names: Iterable[str], told_by: str) -> str | None:
    """The first of `names` that means a group and is not what the form of storage reads, which is `told_by`."""
    return next((name for name in sorted(names) if name.lower() in GROUP_NAMES and name != told_by), None)


def number_of(text: str) -> int:
    """Equal for equal texts in every file; a whole number stands for itself, as a group in an archive does."""
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and str(int(text)) == text:
        return int(text)
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()) >> 2


def label_in_text(text: str) -> int | str:
    """A label written as text: a whole number, or else a name."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS else text
