"""`Records`: decoded inputs with their labels, and the names under which a report may mention one of them.

A record is known by the digest of its content. The digest itself would let anybody who holds a candidate image look it
up in a report, so outputs carry `record_id`: an HMAC of the digest under a key that stays with the owner.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from auditor.errors import InputError

__all__ = [
    "MAX_ROLE_BYTES",
    "Inputs",
    "Records",
    "key_fingerprint",
    "load_key",
    "printable",
    "read_text",
    "record_id",
]

Inputs: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Integers: TypeAlias = npt.NDArray[np.int64]

MAX_ROLE_BYTES = (
    8 * 2**30
)  # a role is held in memory, decoded: 2.8 million records of 32 x 32 x 3, or 57,000 of 224 x 224 x 3
_MAX_TEXT_BYTES = 64 * 2**20
_DIGEST_BYTES = 16
_KEY_BYTES = 32
_MAX_KEY_BYTES = 1024
_OWN_GROUPS = 2**62  # groups that we number ourselves start here

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Records:
    """Labelled inputs of one role. The arrays are read-only views.

    Attributes:
        inputs: uint8 [record, height, width, channel] or float32 [record, feature].
        labels: int64 [record]; -1 stands for "none of the classes" (public data only).
        groups: int64 [record], equal for records that belong together (one patient, one video); None: not stated.
        digests: One per record, of its content without the label.

    Raises:
        ValueError: the parts differ in length.
    """

    inputs: Inputs
    labels: Integers
    groups: Integers | None
    digests: tuple[bytes, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.inputs), len(self.labels), len(self.digests)}
        if self.groups is not None:
            lengths.add(len(self.groups))
        if len(lengths) != 1:
            raise ValueError(f"inputs, labels, groups and digests differ in length: {sorted(lengths)}")
        object.__setattr__(self, "inputs", _read_only(self.inputs))
        object.__setattr__(self, "labels", _read_only(self.labels))
        object.__setattr__(self, "groups", None if self.groups is None else _read_only(self.groups))

    @classmethod
    def of(cls, inputs: Inputs, labels: Integers, groups: Integers | None = None) -> Records:
        """Records whose digests are computed here: BLAKE2b over type, shape and bytes of each input."""
        return cls(inputs, labels, groups, _digests(inputs))

    @classmethod
    def concatenate(cls, parts: Sequence[Records]) -> Records:
        """Several sets of records as one, in order. Where only some state groups, every other record is its own group.

        Raises:
            ValueError: no parts, or inputs of different shape or type.
        """
        if len({(part.inputs.dtype, part.inputs.shape[1:]) for part in parts}) != 1:
            raise ValueError("records to concatenate must be given, and have the same shape and type")
        return cls(
            inputs=np.concatenate([part.inputs for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            groups=_concatenate_groups(parts),
            digests=tuple(digest for part in parts for digest in part.digests),
        )

    @property
    def n(self) -> int:
        """How many records."""
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Records:
        """Some of the records: positions in the order wanted, or a bool mask [record]."""
        chosen = np.arange(self.n)[indices]
        return Records(
            inputs=self.inputs[chosen],
            labels=self.labels[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            digests=tuple(self.digests[position] for position in chosen),
        )


def _read_only(array: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    view = array.view()
    view.setflags(write=False)
    return view


def _digests(inputs: Inputs) -> tuple[bytes, ...]:
    prefix = f"{inputs.dtype.name} {inputs.shape[1:]} ".encode()
    rows = np.ascontiguousarray(inputs)
    return tuple(hashlib.blake2b(prefix + row.tobytes(), digest_size=_DIGEST_BYTES).digest() for row in rows)


def _concatenate_groups(parts: Sequence[Records]) -> Integers | None:
    stated = [part.groups for part in parts if part.groups is not None]
    if not stated:
        return None
    own = max(_OWN_GROUPS, 1 + max(int(groups.max(initial=0)) for groups in stated))
    numbered = []
    for part in parts:
        numbered.append(part.groups if part.groups is not None else np.arange(own, own + part.n, dtype=np.int64))
        own += part.n
    return np.concatenate(numbered)


# --- names of records ----------------------------------------------------------------------------------------------


def record_id(key: bytes, digest: bytes) -> str:
    """The name of a record in any output: 16 hexadecimal digits of HMAC-SHA256 under the owner's key (RFC 2104)."""
    return hmac.new(key, digest, hashlib.sha256).hexdigest()[:16]


def key_fingerprint(key: bytes) -> str:
    """Tells two keys apart without showing either: 8 hexadecimal digits of SHA-256."""
    return hashlib.sha256(b"privaudit-key" + key).hexdigest()[:8]


def load_key(path: Path) -> bytes:
    """Read the owner's key; where there is none, make one of 32 random bytes that only the owner may read.

    Of several processes that find none, one makes it and all read the same.

    Raises:
        InputError: the file cannot be made or read, is no regular file, is shorter than 32 or longer than 1,024 bytes,
            or others may read it.
    """
    try:
        if not path.exists():
            _make_key(path)
        return _read_key(path)
    except OSError as error:
        raise InputError(
            f"The key file {printable(path)} cannot be read or made: {error.strerror}.",
            "Give --key a path that you own, on a file system with hard links.",
        ) from error


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # a link, unlike a rename, leaves the key alone that another process made meanwhile
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()


def _read_key(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"The key {printable(path)} is not a regular file.", "Give --key the path of a file.")
        if os.name == "posix" and status.st_mode & 0o077:
            raise InputError(
                f"The key file {printable(path)} can be read by others.",
                "Run `chmod 600` on it; if somebody may have read it, delete it and let a new one be made.",
            )
        key = file.read(_MAX_KEY_BYTES + 1)
    if not _KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise InputError(
            f"The key file {printable(path)} must hold {_KEY_BYTES} to {_MAX_KEY_BYTES} bytes.",
            "Delete it and let a new one be made, or restore it from your copy.",
        )
    return key


# --- hostile text --------------------------------------------------------------------------------------------------


def printable(name: object) -> str:
    """A path or a name from a file as it may be put into a message: escaped where it holds control characters."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def read_text(path: Path) -> str:
    """A small UTF-8 text file of the data folder, with or without byte order mark.

    Raises:
        InputError: it cannot be read, is no regular file, is not UTF-8, or is larger than 64 MiB.
    """
    try:
        if not path.is_file() or path.stat().st_size > _MAX_TEXT_BYTES:
            raise InputError(f"{printable(path)} is not a regular file of at most 64 MiB.", "Give a small text file.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be read: {error.strerror}.", "Check its permissions.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{printable(path)} is not UTF-8 text.", "Save it as UTF-8.") from error
