"""One role of the splits as a NumPy archive: `images` or `features`, `labels`, and `group` where records go together.

The file is hostile: nothing is unpickled, and what the headers announce is checked before anything is allocated.
"""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.errors import InputError
from auditor.records import MAX_ROLE_BYTES, Inputs, printable
from auditor.sources.stated import group_told_otherwise

__all__ = ["NpzArrays", "plain_features", "read_flags", "read_npz"]

_MAX_CHANNELS = 4
_EXACT_INTEGERS = 2  # bytes: wider integers do not all fit into float32
_LARGEST_INTEGER = 2**62
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    ArithmeticError,
    RuntimeError,
)


@dataclass(frozen=True, eq=False)
class NpzArrays:
    """What one archive holds. `labels` may still lie outside the classes.

    Attributes:
        inputs: uint8 [record, height, width, channel] or float32 [record, feature].
        labels: int64 [record].
        groups: int64 [record], or None.
    """

    inputs: Inputs
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64] | None


@dataclass(frozen=True)
class _Header:
    """What an array says about itself before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(path: Path) -> NpzArrays:
    """Read `<role>.npz`. Arrays of other names are left alone.

    Args:
        path: The archive: `images` uint8 [record, height, width(, channel)] or `features` [record, feature] (floats,
            bools or integers of up to 16 bit), `labels` integer [record], optionally `group` integer [record].

    Raises:
        InputError: no archive, damaged, an array missing or of the wrong type or shape, values that are not finite, or
            more than `MAX_ROLE_BYTES` once decoded.
    """
    with _opened(path) as archive:
        headers = {
            info.filename.removesuffix(".npy"): _header(archive, info, path)
            for info in archive.infolist()
            if info.filename in {"images.npy", "features.npy", "labels.npy", "group.npy"}
        }
        idle = group_told_otherwise((name.removesuffix(".npy") for name in archive.namelist()), "group")
        if idle is not None:
            raise InputError(
                f"{printable(path)} holds `{printable(idle)}`, which would be ignored.", "Name that array `group`."
            )
        kind = _kind(headers, path)
        _check_headers(headers, kind, path)
        inputs = _read(archive, kind)
        labels = _as_int64(_read(archive, "labels"), "labels", path)
        groups = _as_int64(_read(archive, "group"), "group", path) if "group" in headers else None
    return NpzArrays(_images(inputs) if kind == "images" else _features(inputs, path, kind), labels, groups)


def read_flags(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[np.bool_]]:
    """Read arrays of true and false whose shapes are known, those that are there. Arrays of other names are left alone.

    Raises:
        InputError: no archive, damaged, or an array of another type or shape.
    """
    with _opened(path) as archive:
        found = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if info.filename != f"{name}.npy" or name not in shapes:
                continue
            header = _header(archive, info, path)
            if header.dtype != np.bool_ or header.shape != shapes[name]:
                raise InputError(
                    f"{printable(path)}: `{name}` is {_told(header)}; bool of shape {list(shapes[name])} is needed.",
                    "Save it with that type and shape.",
                )
            found[name] = _read(archive, name).astype(np.bool_)
    return found


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        if not path.is_file():
            raise OSError("not a regular file")
        with zipfile.ZipFile(path) as archive:
            yield archive
    except MemoryError as error:
        raise InputError(f"{printable(path)} does not fit into memory.", "Use fewer records.") from error
    except _DAMAGE as error:
        raise InputError(
            f"{printable(path)} is damaged or not a NumPy archive.", "Write it with numpy.savez_compressed."
        ) from error


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> _Header:
    with archive.open(info) as stream:
        # version 2 exists for huge structured types, and reads a header of any announced length
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not a plain array")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    header = _Header(shape, dtype)
    if min(shape, default=0) < 0:
        raise ValueError("negative shape")
    name = info.filename.removesuffix(".npy")
    if dtype.hasobject:
        raise InputError(
            f"{printable(path)}: `{name}` holds Python objects, which are never unpickled.",
            "Save plain numbers: images of one size as uint8, labels as integers.",
        )
    if header.nbytes > MAX_ROLE_BYTES:
        raise InputError(
            f"{printable(path)}: `{name}` announces {header.nbytes / 2**30:,.1f} GiB; "
            f"at most {MAX_ROLE_BYTES // 2**30} GiB are read.",
            "Use fewer records, or a smaller size.",
        )
    if info.file_size < header.nbytes:
        raise ValueError("shorter than announced")
    return header


def _kind(headers: dict[str, _Header], path: Path) -> str:
    kinds = [name for name in ("images", "features") if name in headers]
    if len(kinds) != 1 or "labels" not in headers:
        raise InputError(
            f"{printable(path)} must hold `labels` and either `images` or `features`.",
            "Name the arrays so in numpy.savez_compressed.",
        )
    return kinds[0]


def _check_headers(headers: dict[str, _Header], kind: str, path: Path) -> None:
    if kind == "images":
        _check_images(headers["images"], path)
    else:
        _check_features(headers["features"], path, kind)
    records = headers[kind].shape[0]
    for name in ("labels", "group"):
        if name not in headers:
            continue
        header = headers[name]
        if header.dtype.kind not in "iu" or len(header.shape) != 1:
            raise InputError(
                f"{printable(path)}: `{name}` is {_told(header)}; one integer per record is needed.",
                f"Save `{name}` as int64 of shape [record].",
            )
        if header.shape[0] != records:
            raise InputError(
                f"{printable(path)} holds {records} {kind}, but {header.shape[0]} entries in `{name}`.",
                "Save one entry per record.",
            )


def _check_images(header: _Header, path: Path) -> None:
    plain = header.dtype == np.uint8 and len(header.shape) in {3, 4} and min(header.shape[1:]) > 0
    if not plain or (len(header.shape) == 4 and header.shape[3] > _MAX_CHANNELS):
        raise InputError(
            f"{printable(path)}: `images` is {_told(header)}; "
            "uint8 of [record, height, width] or [record, height, width, channel] is needed.",
            "Save pixels from 0 to 255 with the channels (1 to 4) last.",
        )


def plain_features(array: npt.NDArray[np.generic], path: Path, name: str) -> npt.NDArray[np.float32]:
    """Features of another kind of file under the rules of this one: float32 [record, feature].

    Raises:
        InputError: of the wrong type or shape, or not finite.
    """
    _check_features(_Header(array.shape, array.dtype), path, name)
    return _features(array, path, name)


def _check_features(header: _Header, path: Path, name: str) -> None:
    small = header.dtype.kind in "iu" and header.dtype.itemsize <= _EXACT_INTEGERS
    numbers = small or header.dtype.kind == "b" or (header.dtype.kind == "f" and header.dtype.itemsize <= 8)
    if not numbers or len(header.shape) != 2 or header.shape[1] == 0:
        raise InputError(
            f"{printable(path)}: `{printable(name)}` is {_told(header)}; float32 of [record, feature] is needed.",
            "Save float32, one row per record.",
        )


def _told(header: _Header) -> str:
    kind = "text" if header.dtype.kind in "US" else header.dtype.name
    return f"{kind} of shape {list(header.shape)}"


def _read(archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.generic]:
    with archive.open(f"{name}.npy") as stream:
        array: npt.NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _as_int64(array: npt.NDArray[np.generic], name: str, path: Path) -> npt.NDArray[np.int64]:
    if array.size and not -_LARGEST_INTEGER < int(array.min()) <= int(array.max()) < _LARGEST_INTEGER:
        raise InputError(f"{printable(path)}: `{name}` holds a number of more than 62 bits.", "Renumber from 0.")
    return array.astype(np.int64)


def _images(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    images = np.ascontiguousarray(array, dtype=np.uint8)
    return images[..., np.newaxis] if images.ndim == 3 else images


def _features(array: npt.NDArray[np.generic], path: Path, name: str) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(features).all():
        raise InputError(
            f"{printable(path)}: `{printable(name)}` holds NaN or infinite numbers.", "Fill in or drop these records."
        )
    # -0.0 becomes 0.0: equal records must have equal bytes
    return np.add(features, np.float32(0), out=features)
