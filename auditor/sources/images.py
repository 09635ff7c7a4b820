"""The images of one role: read twice from wherever they are stored, first their headers, then their pixels.

`ImageSource` is all that a store of encoded images has to be. No store holds more than a few of them in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from auditor.errors import InputError
from auditor.findings import Preprocessing
from auditor.records import MAX_ROLE_BYTES, printable
from auditor.sources.decoding import (
    EXTENSIONS,
    SIDEWAYS,
    UPRIGHT,
    ImageForm,
    decode,
    opened,
    orientation_of,
)
from auditor.sources.stated import Stated, StatedLabels, number_of, state_groups, state_labels
from auditor.splits_file import PreprocessingSection

__all__ = [
    "MAX_ENCODED_BYTES",
    "EncodedImage",
    "FileTraces",
    "ImageFile",
    "ImageRole",
    "ImageSource",
    "Traces",
    "common_form",
    "read_images",
    "survey",
    "traces_of",
]

MAX_ENCODED_BYTES = 2**28  # what `PIL.Image.MAX_IMAGE_PIXELS` take in colour, uncompressed
_MAX_IMAGES = 2**24


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image as it is stored.

    Attributes:
        place: Where it stands, for messages.
        name: Under which name, inside its role; empty where it has none.
        content: Its file, or the bytes that one would hold.
        label: The class by number or by name; None where there is none.
        group: What it belongs to; None: not stated.
    """

    place: str
    name: str
    content: Path | bytes
    label: Stated
    group: Stated


class ImageSource(Protocol):
    """Where the encoded images of a role come from."""

    @property
    def path(self) -> Path:
        """The role, for messages."""

    @property
    def named_by(self) -> str:
        """What gives a class its name, where labels are names."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes by label, where the source lists them."""

    @property
    def upright(self) -> bool:
        """Whether images are turned as their EXIF orientation says, as the library does that such stores are of."""

    def images(self) -> Iterator[EncodedImage]:
        """All images; every pass gives the same ones in the same order.

        Raises:
            InputError: the source is damaged, or holds what is not read.
        """


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What an image says before it is decoded.

    Attributes:
        place: Where it stands, for messages.
        name: As in `EncodedImage`.
        width: In pixels, after any turn.
        height: In pixels, after any turn.
        mode: Pillow's.
        size: In bytes, encoded.
        container: The file format.
        compression: A number that is equal for equal quantisation tables of JPEG, and for all that have none.
        exif: Whether it holds EXIF data.
        orientation: As EXIF tells it; 1 is upright.
    """

    place: str
    name: str
    width: int
    height: int
    mode: str
    size: int
    container: str
    compression: int
    exif: bool
    orientation: int


@dataclass(frozen=True, eq=False)
class FileTraces:
    """What the files of a role are like beside their pixels. No name is kept.

    Attributes:
        sizes: Bytes, int64 [file].
        marks: By what is looked at, int64 [file], equal for files that are alike in it.
    """

    sizes: npt.NDArray[np.int64]
    marks: Mapping[str, npt.NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Traces:
    """What the files of train and test are like beside their pixels, the dropped ones included."""

    members: FileTraces
    non_members: FileTraces


@dataclass(frozen=True, eq=False)
class ImageRole:
    """What a role of images holds, in the order of its source; `groups` int64 [record], or None."""

    source: ImageSource
    files: tuple[ImageFile, ...]
    labels: StatedLabels
    groups: npt.NDArray[np.int64] | None

    @property
    def path(self) -> Path:
        """The role, for messages."""
        return self.source.path

    def place(self, record: int) -> str:
        """Where a record stands, for messages."""
        return self.files[record].place

    @property
    def oriented(self) -> int:
        """How many images have an EXIF orientation other than upright."""
        return sum(file.orientation != UPRIGHT for file in self.files)

    @property
    def not_turned(self) -> int:
        """How many images have an EXIF orientation that is not followed."""
        return 0 if self.source.upright else self.oriented

    def traces(self) -> FileTraces:
        """What the files are like beside their pixels; times are left out, since copying a folder sets them."""
        marks = {
            "format": [number_of(file.container) for file in self.files],
            "JPEG compression": [file.compression for file in self.files],
            "EXIF data": [int(file.exif) for file in self.files],
            "EXIF orientation": [file.orientation for file in self.files],
            "width and height": [number_of(f"{file.width} x {file.height}") for file in self.files],
            "pattern of file names": [number_of(_pattern(file.name)) for file in self.files],
        }
        return FileTraces(
            sizes=np.array([file.size for file in self.files], dtype=np.int64),
            marks={mark: np.array(found, dtype=np.int64) for mark, found in marks.items()},
        )


def _pattern(name: str) -> str:
    """The last part of a name, with any number in it as 0."""
    return re.sub(r"\d+", "0", name.rpartition("/")[2])


def traces_of(members: object, non_members: object) -> Traces | None:
    """Traces of both where both are images from one kind of source: else the kinds would tell them apart."""
    if not isinstance(members, ImageRole) or not isinstance(non_members, ImageRole):
        return None
    alike = type(members.source) is type(non_members.source)
    return Traces(members.traces(), non_members.traces()) if alike else None


# --- headers -------------------------------------------------------------------------------------------------------


def survey(source: ImageSource) -> ImageRole:
    """Read the header of every image.

    Raises:
        InputError: what the source refuses; no images or too many; one that is unreadable, of more than 8 bit or of
            more than `PIL.Image.MAX_IMAGE_PIXELS`; labels by number and by name; groups for some only.
    """
    files: list[ImageFile] = []
    labels: list[Stated] = []
    groups: list[Stated] = []
    for image in source.images():
        if len(files) == _MAX_IMAGES:
            raise InputError(
                f"{printable(source.path)} holds more than {_MAX_IMAGES:,} images.", "Use fewer of them in this role."
            )
        files.append(_read_header(image, upright=source.upright))
        labels.append(image.label)
        groups.append(image.group)
    if not files:
        raise InputError(
            f"{printable(source.path)} holds no images ({', '.join(sorted(EXTENSIONS))}).",
            "docs/bring-your-own-model.md shows where they belong.",
        )
    stated = state_labels(source.path, labels, named_by=source.named_by, listed=source.class_names)
    return ImageRole(source, tuple(files), stated, state_groups(source.path, groups))


def _read_header(image: EncodedImage, *, upright: bool) -> ImageFile:
    with opened(image.content, image.place) as header:
        orientation = orientation_of(header)
        turned = upright and orientation in SIDEWAYS
        return ImageFile(
            place=image.place,
            name=image.name,
            width=header.height if turned else header.width,
            height=header.width if turned else header.height,
            mode=header.mode,
            size=len(image.content) if isinstance(image.content, bytes) else image.content.stat().st_size,
            container=str(header.format),
            compression=number_of(str(getattr(header, "quantization", None))),
            exif="exif" in header.info,
            orientation=orientation,
        )


# --- pixels --------------------------------------------------------------------------------------------------------


def common_form(roles: Sequence[ImageRole], preprocessing: Preprocessing | PreprocessingSection | None) -> ImageForm:
    """The one form for all images of the splits.

    Grey (one channel) if every image is of Pillow's mode L or the model takes one channel, else RGB. Images of one size
    keep it, unless a role would then take more than `MAX_ROLE_BYTES`. Others are scaled to cover `input_size` /
    `crop_pct` and cropped to that at the centre, so that the model's own centre crop then leaves what timm's evaluation
    transform would.

    Args:
        roles: All roles that hold images.
        preprocessing: What the model does with images, or as much of it as is known.

    Raises:
        InputError: the sizes differ, and no `input_size` is known.
    """
    files = [file for role in roles for file in role.files]
    wanted = None if preprocessing is None else preprocessing.input_size
    grey = all(file.mode == "L" for file in files) or (wanted is not None and wanted[0] == 1)
    channels = 1 if grey else 3
    first = files[0]
    other = next((file for file in files if (file.width, file.height) != (first.width, first.height)), None)
    as_stored = ImageForm(first.height, first.width, channels, resampling=None)
    if preprocessing is None or wanted is None:
        if other is None:
            return as_stored
        raise InputError(
            f"Images differ in size: {printable(first.place)} is {first.width} x {first.height}, "
            f"{printable(other.place)} is {other.width} x {other.height}.",
            "Give `input_size` under [preprocessing] in splits.toml, or resize them.",
        )
    height, width = (int(side / preprocessing.crop_pct) for side in wanted[1:])
    larger = first.height > height and first.width > width
    too_much = max(len(role.files) for role in roles) * as_stored.nbytes > MAX_ROLE_BYTES
    if other is None and not (larger and too_much):
        return as_stored
    return ImageForm(height, width, channels, Image.Resampling[preprocessing.interpolation.upper()])


def read_images(role: ImageRole, form: ImageForm) -> npt.NDArray[np.uint8]:
    """Decode a role: uint8 [record, height, width, channel], in the order of `role.files`.

    Raises:
        InputError: an image is damaged, all together take more than `MAX_ROLE_BYTES`, or the role has changed.
    """
    shape = (len(role.files), form.height, form.width, form.channels)
    size = len(role.files) * form.nbytes
    if size > MAX_ROLE_BYTES:
        raise InputError(
            f"{printable(role.path)} decodes to {size / 2**30:,.1f} GiB; "
            f"at most {MAX_ROLE_BYTES // 2**30} GiB are read.",
            "Use fewer images, or resize the image files.",
        )
    pixels = np.empty(shape, dtype=np.uint8)
    position = 0
    for image in role.source.images():
        if position == len(pixels):
            raise _changed(role)
        with opened(image.content, image.place) as header:
            turn = role.files[position].orientation if role.source.upright else UPRIGHT
            decoded = decode(header, form, turn)
        if decoded.shape != shape[1:]:
            raise InputError(
                f"{printable(image.place)} decodes to {decoded.shape[1]} x {decoded.shape[0]} pixels, and its header "
                f"told {form.width} x {form.height}.",
                "Store its pixels upright, and write nothing there while it is read.",
            )
        pixels[position] = decoded
        position += 1
    if position < len(pixels):
        raise _changed(role)
    return pixels


def _changed(role: ImageRole) -> InputError:
    return InputError(f"{printable(role.path)} changed while it was read.", "Start again when nothing writes to it.")
