"""One role of the splits as a WebDataset: tar files in which the files of a record stand together under one name.

    0001.jpg  0001.cls      the class by number, or by name
    0002.png  0002.json     or as "label" or "cls" in an object; "group" there says which records belong together

A name ends at the first dot of its last part. The image has one of `EXTENSIONS`; where there are both, `.cls` goes
before `.json`. Files of other kinds are passed over, and so are names with a part that starts with a dot.

The archive is hostile: it is read from front to back, nothing of it is written anywhere, and no name is taken for a
path.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from auditor.errors import InputError
from auditor.records import printable
from auditor.sources.decoding import EXTENSIONS
from auditor.sources.images import MAX_ENCODED_BYTES, EncodedImage
from auditor.sources.packed import packed_by
from auditor.sources.stated import MAX_NAME, Stated, group_told_otherwise, label_in_text

__all__ = ["TarImages"]

_LABEL, _NOTES = ".cls", ".json"
_READ = EXTENSIONS | {_LABEL, _NOTES}
_MAX_NOTES_BYTES = 2**20
_ALLOWANCE = 2 * MAX_ENCODED_BYTES + 2**20  # one file passed over, one read, and their headers
_CHUNK = 2**20
_DAMAGE = (tarfile.TarError, OSError, EOFError, ValueError, ArithmeticError, LookupError, RecursionError, MemoryError)


@dataclass(frozen=True)
class _Part:
    """One file of a record: `key` and `extension` make up its name."""

    key: str
    extension: str
    content: bytes


@dataclass(frozen=True, eq=False)
class TarImages:
    """The images of tar shards, in the order in which they stand there.

    Attributes:
        path: The role, for messages.
        shards: The files, in order.
        named_by: What gives a class its name.
        class_names: No order of the classes is known.
        upright: Orientation tags are not followed, as torchvision and webdataset do not.
    """

    path: Path
    shards: tuple[Path, ...]
    named_by: str = "class names"
    class_names: None = None
    upright: bool = False

    def images(self) -> Iterator[EncodedImage]:
        """All images, shard by shard.

        Raises:
            InputError: a shard is damaged, cut off or no plain tar; a record has no image or several; a file stands
                there twice, apart from the others of its record, as a link or device, under a path that leads out, or
                is too large; a label or a note cannot be read.
        """
        for shard in self.shards:
            seen: set[str] = set()
            for key, parts in groupby(_parts(shard), lambda part: part.key):
                if key in seen:
                    raise InputError(
                        f"{printable(shard)}: the files named {printable(key)} do not stand together.",
                        "Pack it again with `tar --sort=name`, each record under a name of its own.",
                    )
                seen.add(key)
                image = _image(shard, key, parts)
                if image is not None:
                    yield image


# --- one record ----------------------------------------------------------------------------------------------------


def _image(shard: Path, key: str, parts: Iterator[_Part]) -> EncodedImage | None:
    found: dict[str, bytes] = {}
    for part in parts:
        if part.extension in found:
            raise InputError(
                f"{printable(shard)}: {printable(key + part.extension)} stands there twice.",
                "Give each a name of its own.",
            )
        found[part.extension] = part.content
    images = sorted(found.keys() & EXTENSIONS)
    place = f"{shard}: {key}"
    notes = _read_notes(found[_NOTES], place) if _NOTES in found else _Notes(None, None)
    label = _read_label(found[_LABEL], place) if _LABEL in found else notes.label
    if not images and label is None:
        return None
    if len(images) != 1:
        raise InputError(
            f"{printable(place)} has {'several images' if images else 'a class and no image'} "
            f"({', '.join(images or sorted(EXTENSIONS))}).",
            "Give every record one image.",
        )
    name = key + images[0]
    return EncodedImage(f"{shard}: {name}", name, found[images[0]], label, notes.group)


@dataclass(frozen=True)
class _Notes:
    """What the JSON of a record says."""

    label: Stated
    group: Stated


def _read_notes(content: bytes, place: str) -> _Notes:
    try:
        notes = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{printable(place)}{_NOTES} is not valid JSON.", "Correct it.") from error
    if not isinstance(notes, dict):
        raise InputError(f"{printable(place)}{_NOTES} is no JSON object.", 'Write {"label": 3}, for instance.')
    idle = group_told_otherwise(notes, "group")
    if idle is not None:
        raise InputError(f"{printable(place)}{_NOTES} has `{idle}`, which would be ignored.", "Name it `group`.")
    label = notes.get("label") if notes.get("cls") is None else notes["cls"]
    if None not in (notes.get("label"), notes.get("cls")) and notes["label"] != notes["cls"]:
        raise InputError(f"{printable(place)}{_NOTES} has a `label` and another `cls`.", "Remove the wrong one.")
    for key, value in (("label", label), ("group", notes.get("group"))):
        if isinstance(value, bool) or not (value is None or isinstance(value, int | str)):
            raise InputError(f"{printable(place)}{_NOTES}: `{key}` is no whole number and no text.", "Correct it.")
    return _Notes(label, notes.get("group"))


def _read_label(content: bytes, place: str) -> Stated:
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{printable(place)}{_LABEL} is not UTF-8 text.", "Write the class into it.") from error
    if not text or len(text) > MAX_NAME:
        raise InputError(
            f"{printable(place)}{_LABEL} is empty or longer than {MAX_NAME} characters.",
            "Write the number or the name of the class into it.",
        )
    return label_in_text(text)


# --- one archive ---------------------------------------------------------------------------------------------------


def _parts(shard: Path) -> Iterator[_Part]:
    """The files of a shard that say something, in their order."""
    try:
        if not shard.is_file():
            raise OSError("not a regular file")
        end = 0
        with _Metered(shard) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined] # it would keep all that it has seen
                file.left = _ALLOWANCE
                _check_member(shard, member)
                end = member.offset_data + (_in_blocks(member.size) if member.isreg() else 0)
                part = _read_part(archive, member)
                if part is not None:
                    yield part
        _check_end(shard, end)
    except _DAMAGE as error:
        if (packing := packed_by(shard)) is not None:
            raise InputError(
                f"{printable(shard)} is no plain tar file: it is compressed with {packing}.",
                "Unpack it, or write it again uncompressed (`tar -cf`).",
            ) from error
        raise InputError(
            f"{printable(shard)} is no plain tar file, or it is damaged or cut off.", "Write it again, uncompressed."
        ) from error


class _Metered(io.FileIO):
    """A file for `tarfile`, which reads whatever a header announces into memory: here no more than `left` bytes."""

    left = _ALLOWANCE

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes."""
        content: bytes = super().read(size)
        self.left -= len(content)
        if self.left < 0:
            raise ValueError("a header of that size")
        return content


def _in_blocks(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _check_member(shard: Path, member: tarfile.TarInfo) -> None:
    name = printable(f"{shard}: {member.name}")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not _is_utf8(member.name):
        raise InputError(
            f"{name} is a name that leads out of the archive, or is not UTF-8.", "Pack it from inside its folder."
        )
    if not (member.isdir() or member.isreg()) or member.issparse():
        raise InputError(
            f"{name} is a link, a device or another special file.", "Pack plain files (`tar -h --hard-dereference`)."
        )
    if not 0 <= member.size <= MAX_ENCODED_BYTES:
        raise InputError(
            f"{name} announces {member.size:,} bytes; at most {MAX_ENCODED_BYTES:,} are read.", "Remove it."
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_part(archive: tarfile.TarFile, member: tarfile.TarInfo) -> _Part | None:
    path = PurePosixPath(member.name)
    stem, dot, rest = path.name.partition(".")
    extension = (dot + rest).lower()
    hidden = any(part.startswith(".") for part in path.parts)
    if not member.isreg() or hidden or extension not in _READ:
        return None
    if extension not in EXTENSIONS and member.size > _MAX_NOTES_BYTES:
        raise ValueError("a class or a note of that size")
    stream = archive.extractfile(member)
    content = b"" if stream is None else stream.read()
    if len(content) != member.size:
        raise EOFError("cut off")
    return _Part(str(path.with_name(stem)), extension, content)


def _check_end(shard: Path, end: int) -> None:
    """After the last file come zeros: where tarfile meets anything else, it stops without a word."""
    with shard.open("rb") as file:
        file.seek(end)
        rest = file.read(tarfile.BLOCKSIZE)
        if len(rest) < tarfile.BLOCKSIZE:
            raise EOFError("cut off")
        while rest:
            if any(rest):
                raise ValueError("it goes on after its end")
            rest = file.read(_CHUNK)
