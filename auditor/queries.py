"""How a record is asked about: as it is, and as the training augmentation may have changed it.

Carlini et al. (2022, arXiv:2112.03570) ask about the mirrored and shifted copies that training can have drawn. A plan
and a report hold queries by name; the first one is always the record itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

__all__ = ["IDENTITY", "Query", "copies", "crop_pad", "describe", "largest_shift"]

IDENTITY = "identity"
_MIRROR = "mirror"
_CROP_SHARE = 8  # random crops move by at most one eighth of the side: 4 pixels of 32, the field's habit
_SHIFT = re.compile(r"shift ([+-]\d{1,4}) ([+-]\d{1,4})( mirror)?")


@dataclass(frozen=True)
class Query:
    """One copy of an image; the default is the image itself.

    Attributes:
        down: By how many pixels it is shifted down; zeros come in.
        right: By how many to the right.
        mirror: Whether left and right change places, after the shift.
    """

    down: int = 0
    right: int = 0
    mirror: bool = False

    @classmethod
    def named(cls, name: str) -> Query:
        """The query of that name.

        Raises:
            ValueError: no query is called so.
        """
        shift = _SHIFT.fullmatch(name)
        query = cls(int(shift[1]), int(shift[2]), shift[3] is not None) if shift else cls(mirror=name == _MIRROR)
        if query.name != name:
            raise ValueError(f"{name!r} is no query")
        return query

    @property
    def name(self) -> str:
        """`identity`, `mirror`, `shift -4 +4` or `shift -4 +4 mirror`: down, then right."""
        if not (self.down or self.right):
            return _MIRROR if self.mirror else IDENTITY
        return f"shift {self.down:+d} {self.right:+d}" + (f" {_MIRROR}" if self.mirror else "")

    def of(self, inputs: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The copies of images [record, height, width, channel]; records of other shapes have none but themselves.

        Raises:
            ValueError: a changed copy of records that are no images.
        """
        if self == Query():
            return inputs
        if inputs.ndim != 4:
            raise ValueError(f"only images have a copy {self.name!r}, and the records have shape {inputs.shape[1:]}")
        copy = inputs
        if self.down or self.right:
            copy = np.zeros_like(inputs, subok=False)
            (to_rows, rows), (to_columns, columns) = (
                _overlap(shift, side) for shift, side in zip((self.down, self.right), inputs.shape[1:3], strict=True)
            )
            copy[:, to_rows, to_columns] = inputs[:, rows, columns]
        return copy[:, :, ::-1] if self.mirror else copy


def _overlap(shift: int, side: int) -> tuple[slice, slice]:
    """Where a shifted line keeps pixels, and which of the line they were."""
    shift = max(-side, min(shift, side))
    return slice(max(shift, 0), side + min(shift, 0)), slice(max(-shift, 0), side - max(shift, 0))


def crop_pad(height: int) -> int:
    """How many pixels of zeros a random crop is padded with on each side, and moves by at most."""
    return max(1, height // _CROP_SHARE)


def copies(pad: int = 0, *, mirrored: bool = False, diagonal: bool = False) -> tuple[str, ...]:
    """Names of the copies that training by random crops and flips can have drawn, the record itself first.

    Args:
        pad: The crop's padding in pixels, 0 for no crop: shifts by 0, -pad and +pad, down and to the right.
        mirrored: Whether each is asked about mirrored too.
        diagonal: Down and to the right by the same only: 3 shifts instead of 9.
    """
    steps = (0, -pad, pad) if pad else (0,)
    shifts = [(down, right) for down, right in product(steps, steps) if down == right or not diagonal]
    mirrors = (False, True) if mirrored else (False,)
    return tuple(Query(down, right, mirror).name for mirror in mirrors for down, right in shifts)


def largest_shift(names: Sequence[str]) -> int:
    """By how many pixels the farthest of the named queries is shifted.

    Raises:
        ValueError: a name is no query's.
    """
    queries = [Query.named(name) for name in names]
    return max((max(abs(query.down), abs(query.right)) for query in queries), default=0)


def describe(names: Sequence[str]) -> str:
    """Named queries in one phrase; names that are no query's are listed as they are."""
    try:
        queries, pad = [Query.named(name) for name in names], largest_shift(names)
    except ValueError:
        return ", ".join(names)
    mirrored = any(query.mirror for query in queries)
    if not pad:
        return "2 queries: the record and its mirror image" if mirrored else "1 query: the record itself"
    line = " along a diagonal" if all(query.down == query.right for query in queries) else ""
    shifts = f"shifts by {pad} pixel{'' if pad == 1 else 's'}{line}"
    return f"{len(queries)} queries: {'mirror images and ' if mirrored else ''}{shifts}"
