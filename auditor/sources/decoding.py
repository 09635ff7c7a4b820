"""From one encoded image to pixels, whatever it was stored in.

Pixels come out as torchvision and timm see them: 8 bit, first frame, transparency dropped; an orientation tag is
followed where the library that trainers read such a store with does so. The content is hostile: it does not choose its
decoder, and a bomb is refused by its header.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image
from PIL import ImageFile as PillowFile

from auditor.errors import InputError
from auditor.records import printable

__all__ = ["EXTENSIONS", "SIDEWAYS", "UPRIGHT", "ImageForm", "decode", "opened", "orientation_of"]

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})

UPRIGHT = 1
SIDEWAYS = frozenset({5, 6, 7, 8})
# what brings an image upright, by the EXIF tag Orientation (CIPA DC-008, 4.6.4)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAYS_ORIENTATION = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})

# named, so that a file cannot choose a decoder by its content (PostScript, PSD, ...)
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB"})
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


@dataclass(frozen=True)
class ImageForm:
    """The form into which every image of the splits is brought. `resampling` is None where no size has to change."""

    height: int
    width: int
    channels: int
    resampling: Image.Resampling | None

    @property
    def nbytes(self) -> int:
        """What one image takes, decoded."""
        return self.height * self.width * self.channels


@contextmanager
def opened(content: Path | bytes, place: str) -> Iterator[Image.Image]:
    """An image whose header has been read and whose pixels have not.

    Args:
        content: The file, or what one would hold.
        place: Where it stands, for messages.

    Raises:
        InputError: damaged, here or while it is decoded, of more than 8 bit or of more than
            `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    with warnings.catch_warnings(), _whole_images_only():
        # damaged metadata is none of our business; a bomb is
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with _stream(content) as stream, Image.open(stream, formats=_FORMATS) as image:
                if image.mode not in _EIGHT_BIT_MODES:
                    raise InputError(
                        f"{printable(place)} has more than 8 bit per channel.", "Convert it to 8 bit grey or colour."
                    )
                yield image
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise InputError(
                f"{printable(place)} has more than {Image.MAX_IMAGE_PIXELS:,} pixels.", "Remove it or scale it down."
            ) from error
        except _DAMAGE as error:
            raise InputError(
                f"{printable(place)} cannot be read as an image.", "Remove it, or put an intact copy there."
            ) from error


def _stream(content: Path | bytes) -> BinaryIO:
    """Open it as torchvision does: of a path, Pillow maps a grey TIFF that lies on its side into scrambled rows."""
    if isinstance(content, bytes):
        return io.BytesIO(content)
    if not content.is_file():
        raise OSError("not a regular file")
    return content.open("rb")


@contextmanager
def _whole_images_only() -> Iterator[None]:
    """Refuse cut images even where another library (WeasyPrint is one) told Pillow to fill them up with grey."""
    before = PillowFile.LOAD_TRUNCATED_IMAGES
    PillowFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        PillowFile.LOAD_TRUNCATED_IMAGES = before


def orientation_of(image: Image.Image) -> int:
    """The EXIF tag: 1 is upright, and so is whatever cannot be read; TIFF counts as upright, as Pillow turns it."""
    if image.format == "TIFF" or not _SAYS_ORIENTATION & image.info.keys():
        return UPRIGHT
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return UPRIGHT
    return next((tag for tag in _TURNS if tag == found), UPRIGHT)


def decode(image: Image.Image, form: ImageForm, orientation: int = UPRIGHT) -> npt.NDArray[np.uint8]:
    """The pixels turned upright from an orientation: uint8 [height, width, channel], of the form if it resamples."""
    plain = image.convert("L" if form.channels == 1 else "RGB")
    if orientation != UPRIGHT:
        plain = plain.transpose(_TURNS[orientation])
    if form.resampling is not None:
        plain = plain.resize((form.width, form.height), form.resampling, box=_centre(plain, form))
    return np.asarray(plain, dtype=np.uint8).reshape(plain.height, plain.width, form.channels)


def _centre(image: Image.Image, form: ImageForm) -> tuple[float, float, float, float]:
    """The largest centred part of the image that has the sides of the form, as (left, upper, right, lower)."""
    scale = min(image.width / form.width, image.height / form.height)
    left, upper = (image.width - form.width * scale) / 2, (image.height - form.height * scale) / 2
    return left, upper, min(left + form.width * scale, image.width), min(upper + form.height * scale, image.height)
