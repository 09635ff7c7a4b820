"""Pictures of what was rebuilt, for a report whose owner asked to see it (`--show-records`)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from auditor.findings import PICTURE_SIDE, PICTURES, GalleryPicture
from auditor.inversion.scene import Rows

__all__ = ["gallery_of_classes", "gallery_of_members"]

_COLOURS = 3
_HANDED_IN = "what the attacker would hand in"
_MEMBER = "a member, rebuilt from what the model says of it"


def gallery_of_classes(images: Tensor, classes: Sequence[int], names: Sequence[str]) -> tuple[GalleryPicture, ...]:
    """The first restart of the first classes.

    Args:
        images: float32 in [0, 1] [class, restart, channel, height, width].
        classes: Which they are, as indices of `names`.
        names: Of every class of the model, as the report prints them.
    """
    shown = zip(classes, images[:, 0], strict=True)
    return tuple(_picture(image, names[label], _HANDED_IN) for label, image in list(shown)[:PICTURES])


def gallery_of_members(images: Tensor, rows: Rows, names: Sequence[str]) -> tuple[GalleryPicture, ...]:
    """One rebuilt member of each class, then a second of each, as many as are shown at most.

    Args:
        images: float32 in [0, 1] [record, channel, height, width], in the order of `rows.all`.
        rows: Who they are.
        names: Of every class of the model, as the report prints them.
    """
    found: list[tuple[int, int, Tensor]] = []
    start = 0
    for label, members, others in zip(rows.classes, rows.members, rows.non_members, strict=True):
        found += [(turn, label, images[start + turn]) for turn in range(min(len(members), PICTURES))]
        start += len(members) + len(others)
    found.sort(key=lambda one: one[0])
    return tuple(_picture(image, names[label], _MEMBER) for _, label, image in found[:PICTURES])


def _picture(image: Tensor, label: str, caption: str) -> GalleryPicture:
    """One image [channel, height, width] as PNG, averaged down where it is large."""
    picture = Image.fromarray(_pixels(image))
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BOX)
    written = BytesIO()
    picture.save(written, "PNG", optimize=True)
    return GalleryPicture(label=label, caption=caption, png=b64encode(written.getvalue()).decode("ascii"))


def _pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    """[height, width, colour]; in grey, [height, width], where the channels are no colours."""
    unit = image.detach().cpu().nan_to_num().clamp(0.0, 1.0)
    shown = unit.movedim(0, -1) if len(unit) == _COLOURS else unit.mean(0)
    return np.ascontiguousarray((255 * shown).round().byte().numpy())
