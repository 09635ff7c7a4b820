"""By which program a file is compressed, told by how it starts: for messages, since such files are not read."""

from __future__ import annotations

from pathlib import Path

__all__ = ["packed_by"]

_STARTS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
}


def packed_by(path: Path) -> str | None:
    """The name of the program; None where the start is of none, or there is no plain file to read."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            start = file.read(max(map(len, _STARTS)))
    except OSError:
        return None
    return next((name for magic, name in _STARTS.items() if start.startswith(magic)), None)
