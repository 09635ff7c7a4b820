"""One role of the splits as a folder of images: `<role>/<class>/.../<image>`.

The class is the first-level folder, as in torchvision. Entries whose name starts with a dot are passed over; so are
files with other extensions than those in `EXTENSIONS`. Optional `groups.csv` in the role folder, with the columns
`file` (relative, with slashes) and `group`, says which records belong together.

Pixels come out as torchvision and timm see them: 8 bit, first frame, transparency dropped, orientation tags not
followed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL import ImageFile as PillowFile

from auditor.errors import InputError
from auditor.records import MAX_ROLE_BYTES, printable, read_text
from auditor.splits_file import PreprocessingSection

__all__ = [
    "EXTENSIONS",
    "FileTraces",
    "ImageFile",
    "ImageFolder",
    "ImageForm",
    "Traces",
    "common_form",
    "read_images",
    "scan_folder",
]

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
GROUPS_FILE = "groups.csv"

# named, so that a file cannot choose a decoder by its content (PostScript, PSD, ...)
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB"})
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image before it is decoded.

    Attributes:
        path: Where it lies.
        name: Below the role folder, with slashes.
        class_name: Empty where it lies directly in the role folder.
        width: In pixels.
        height: In pixels.
        mode: Pillow's.
        size: In bytes.
        container: The file format.
        compression: A number that is equal for equal quantisation tables of JPEG, and for all that have none.
        exif: Whether it holds EXIF data.
    """

    path: Path
    name: str
    class_name: str
    width: int
    height: int
    mode: str
    size: int
    container: str
    compression: int
    exif: bool


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
class ImageFolder:
    """What a role folder holds, by file name; `groups` int64 [record], or None."""

    path: Path
    files: tuple[ImageFile, ...]
    groups: npt.NDArray[np.int64] | None

    def traces(self) -> FileTraces:
        """What the files are like beside their pixels; times are left out, since copying a folder sets them."""
        marks = {
            "format": [_number(file.container) for file in self.files],
            "JPEG compression": [file.compression for file in self.files],
            "EXIF data": [int(file.exif) for file in self.files],
            "width and height": [_number(f"{file.width} x {file.height}") for file in self.files],
            "pattern of file names": [_number(_pattern(file.name)) for file in self.files],
        }
        return FileTraces(
            sizes=np.array([file.size for file in self.files], dtype=np.int64),
            marks={mark: np.array(found, dtype=np.int64) for mark, found in marks.items()},
        )


@dataclass(frozen=True)
class ImageForm:
    """The form into which every image of the splits is brought. `resampling` is None where no size has to change."""

    height: int
    width: int
    channels: int
    resampling: Image.Resampling | None


# --- listing -------------------------------------------------------------------------------------------------------


def scan_folder(folder: Path) -> ImageFolder:
    """List a role folder and read the header of every image, in the order of their names.

    Raises:
        InputError: no images, an unreadable one, one of more than 8 bit or more than `PIL.Image.MAX_IMAGE_PIXELS`, a
            linked folder below a class, a name that is not UTF-8, or a `groups.csv` that does not fit.
    """
    paths = sorted(_image_paths(folder), key=lambda path: path.relative_to(folder).as_posix())
    files = tuple(_read_header(path, folder) for path in paths)
    if not files:
        raise InputError(
            f"{printable(folder)} holds no images ({', '.join(sorted(EXTENSIONS))}).",
            "Put them into one folder per class.",
        )
    return ImageFolder(folder, files, _read_groups(folder, files))


def _image_paths(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_unlistable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            child = Path(parent, name)
            # walking does not enter links: below the role folder they would be left out silently
            if child.is_symlink():
                raise InputError(f"{printable(child)} is a link to a folder.", "Put the folder itself there.")
        for name in names:
            if Path(name).suffix.lower() in EXTENSIONS and not name.startswith("."):
                yield Path(parent, name)


def _unlistable(error: OSError) -> None:
    raise InputError(f"{printable(error.filename)} cannot be listed: {error.strerror}.", "Check its permissions.")


def _read_header(path: Path, folder: Path) -> ImageFile:
    relative = path.relative_to(folder)
    name = relative.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"The name of {printable(path)} is not UTF-8.", "Rename it.") from error
    class_name = relative.parts[0] if len(relative.parts) > 1 else ""
    with _opened(path) as image:
        return ImageFile(
            path=path,
            name=name,
            class_name=class_name,
            width=image.width,
            height=image.height,
            mode=image.mode,
            size=path.stat().st_size,
            container=str(image.format),
            compression=_number(str(getattr(image, "quantization", None))),
            exif="exif" in image.info,
        )


def _pattern(name: str) -> str:
    """The last part of a name, with any number in it as 0."""
    return re.sub(r"\d+", "0", name.rpartition("/")[2])


@contextmanager
def _whole_images_only() -> Iterator[None]:
    """Refuse cut images even where another library (WeasyPrint is one) told Pillow to fill them up with grey."""
    before = PillowFile.LOAD_TRUNCATED_IMAGES
    PillowFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        PillowFile.LOAD_TRUNCATED_IMAGES = before


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings(), _whole_images_only():
        # damaged metadata is none of our business; a bomb is
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if not path.is_file():
                raise OSError("not a regular file")
            with Image.open(path, formats=_FORMATS) as image:
                if image.mode not in _EIGHT_BIT_MODES:
                    raise InputError(
                        f"{printable(path)} has more than 8 bit per channel.", "Convert it to 8 bit grey or colour."
                    )
                yield image
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise InputError(
                f"{printable(path)} has more than {Image.MAX_IMAGE_PIXELS:,} pixels.", "Remove it or scale it down."
            ) from error
        except _DAMAGE as error:
            raise InputError(
                f"{printable(path)} cannot be read as an image.", "Remove it, or put an intact copy there."
            ) from error


# --- groups --------------------------------------------------------------------------------------------------------


def _read_groups(folder: Path, files: Sequence[ImageFile]) -> npt.NDArray[np.int64] | None:
    path = folder / GROUPS_FILE
    if not path.exists():
        return None
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise InputError(f"{printable(path)} is not valid CSV: {error}.", "Correct it.") from error
    if not rows or rows[0] != ["file", "group"] or any(len(row) != 2 for row in rows):
        raise InputError(f"{printable(path)} must have two columns, `file` and `group`.", "Start it with `file,group`.")
    groups = {name: _number(group) for name, group in rows[1:]}
    names = {file.name for file in files}
    if len(groups) != len(rows) - 1 or groups.keys() != names:
        stray = next(iter(sorted(groups.keys() ^ names)), "a file twice")
        raise InputError(
            f"{printable(path)} does not name every image of the folder once: see {printable(stray)}.",
            "Write one row per image.",
        )
    return np.array([groups[file.name] for file in files], dtype=np.int64)


def _number(text: str) -> int:
    """Equal for equal texts in every file; a whole number stands for itself, as a group in an archive does."""
    if text.isascii() and text.isdigit() and len(text) <= 18 and str(int(text)) == text:
        return int(text)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 2


# --- decoding ------------------------------------------------------------------------------------------------------


def common_form(folders: Sequence[ImageFolder], preprocessing: PreprocessingSection | None) -> ImageForm:
    """The one form for all image folders of the splits.

    Grey (one channel) if every image is of Pillow's mode L, else RGB; a 1 or 3 in front of `input_size` decides
    instead. Images of one size keep it. Others are scaled to cover `input_size` / `crop_pct` and cropped to that at
    the centre, so that the model's own centre crop then leaves what timm's evaluation transform would.

    Raises:
        InputError: the sizes differ, and `splits.toml` gives no `input_size`.
    """
    files = [file for folder in folders for file in folder.files]
    channels = 1 if all(file.mode == "L" for file in files) else 3
    if preprocessing is not None and preprocessing.input_size[0] in {1, 3}:
        channels = preprocessing.input_size[0]
    first = files[0]
    other = next((file for file in files if (file.width, file.height) != (first.width, first.height)), None)
    if other is None:
        return ImageForm(first.height, first.width, channels, resampling=None)
    if preprocessing is None:
        raise InputError(
            f"Images differ in size: {printable(first.path)} is {first.width} x {first.height}, "
            f"{printable(other.path)} is {other.width} x {other.height}.",
            "Give `input_size` under [preprocessing] in splits.toml, or resize them.",
        )
    height, width = (int(side / preprocessing.crop_pct) for side in preprocessing.input_size[1:])
    return ImageForm(height, width, channels, _FILTERS[preprocessing.interpolation])


def read_images(folder: ImageFolder, form: ImageForm) -> npt.NDArray[np.uint8]:
    """Decode a role folder: uint8 [record, height, width, channel], in the order of `folder.files`.

    Raises:
        InputError: an image is damaged, or all together take more than `MAX_ROLE_BYTES`.
    """
    shape = (len(folder.files), form.height, form.width, form.channels)
    size = len(folder.files) * form.height * form.width * form.channels
    if size > MAX_ROLE_BYTES:
        raise InputError(
            f"{printable(folder.path)} decodes to {size / 2**30:,.1f} GiB; "
            f"at most {MAX_ROLE_BYTES // 2**30} GiB are read.",
            "Use fewer images, or a smaller `input_size`.",
        )
    pixels = np.empty(shape, dtype=np.uint8)
    for position, file in enumerate(folder.files):
        with _opened(file.path) as image:
            pixels[position] = _decode(image, form)
    return pixels


def _decode(image: Image.Image, form: ImageForm) -> npt.NDArray[np.uint8]:
    plain = image.convert("L" if form.channels == 1 else "RGB")
    if form.resampling is not None:
        plain = plain.resize((form.width, form.height), form.resampling, box=_centre(plain, form))
    return np.asarray(plain, dtype=np.uint8).reshape(form.height, form.width, form.channels)


def _centre(image: Image.Image, form: ImageForm) -> tuple[float, float, float, float]:
    """The largest centred part of the image that has the sides of the form, as (left, upper, right, lower)."""
    scale = min(image.width / form.width, image.height / form.height)
    left, upper = (image.width - form.width * scale) / 2, (image.height - form.height * scale) / 2
    return left, upper, min(left + form.width * scale, image.width), min(upper + form.height * scale, image.height)
