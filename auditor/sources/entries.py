"""Which entry of the data folder plays which role, and which files it consists of.

    train/                              a folder of images; or of parquet, arrow (`save_to_disk`) or tar shards
    train.npz  train.parquet  train.arrow  train.tar
    train-00000-of-00002.parquet ...    shards, by any of these endings but .npz; here or under data/
    train-000000.tar ...

Files come in the order of their numbers, whatever the file system lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from auditor.errors import InputError
from auditor.records import printable
from auditor.sources.decoding import EXTENSIONS
from auditor.sources.stated import GROUPS_FILE, group_told_otherwise
from auditor.splits_file import SplitsFile

__all__ = ["Entry", "Form", "SplitRole", "find_entries"]


class SplitRole(StrEnum):
    """What a part of the data folder is for, in the order in which a shared record is kept."""

    TRAIN = "train"
    TEST = "test"
    VALIDATION = "validation"
    POPULATION = "population"
    PUBLIC = "public"


_SYNONYMS = {
    SplitRole.TRAIN: ("train", "training", "members"),
    SplitRole.TEST: ("test", "testing", "eval", "evaluation", "nonmembers", "non_members"),
    SplitRole.VALIDATION: ("validation", "val", "valid", "dev"),
    SplitRole.POPULATION: ("population",),
    SplitRole.PUBLIC: ("public", "reference", "auxiliary"),
}


class Form(StrEnum):
    """How a role is stored."""

    FOLDER = "folder"
    NPZ = "npz"
    TABLE = "table"
    TAR = "tar"


_FORMS = {".npz": Form.NPZ, ".parquet": Form.TABLE, ".arrow": Form.TABLE, ".tar": Form.TAR}
_SHARDS = (".arrow", ".parquet", ".tar")
_UNREAD = (".npy", ".tar.gz", ".tgz", ".zip")
_SHARD_FOLDER = "data"
# train, train-00001, train-00001-of-00004, and as the hub once named them train-00001-of-00004-0123456789abcdef
_NAME = re.compile(r"(?P<stem>.*?)(?:(?:^|[-_])(?P<number>\d{1,9})(?:-of-(?P<count>\d{1,9})(?:-[0-9a-f]{8,})?)?)?")


@dataclass(frozen=True)
class Entry:
    """What a role is read from.

    Attributes:
        path: The entry, for messages.
        form: How it is stored.
        files: The files in order; of a folder of images the folder itself.
    """

    path: Path
    form: Form
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Name:
    """The parts of a file name; `number` is None where it is no shard, `count` where it does not say of how many."""

    stem: str
    number: int | None
    count: int | None
    ending: str

    @property
    def series(self) -> tuple[str, bool, str]:
        """Equal for all shards of one whole."""
        return self.stem, self.number is not None, self.ending


def find_entries(folder: Path, settings: SplitsFile) -> dict[SplitRole, Entry]:
    """Say what every role is read from.

    Raises:
        InputError: train or test is missing, a role stands there twice, a shard is missing, a format is not read, or
            [roles] in `splits.toml` names what is not there.
    """
    _refuse_idle_groups(_candidates(folder), "")
    named = {
        role: _named(folder, role, name) for role in SplitRole if (name := getattr(settings.roles, role)) is not None
    }
    taken = [file for entry in named.values() for file in entry.files]
    if len(set(taken)) < len(taken):
        raise InputError(
            f"{printable(folder / 'splits.toml')} gives one entry two roles.", "Name each entry once under [roles]."
        )
    paths = [
        path for path in _candidates(folder) if path not in taken and path not in {one.path for one in named.values()}
    ]
    entries = {}
    for role in SplitRole:
        found = named.get(role) or _by_name(folder, role, paths)
        if found is not None:
            entries[role] = found
        elif role in {SplitRole.TRAIN, SplitRole.TEST}:
            raise InputError(
                f"{printable(folder)} holds no {role} split.",
                f"Add {role}/ (an image folder), {role}.npz, {role}.parquet or {role}.tar, or name its entry under "
                "[roles] in splits.toml.",
            )
    return entries


def _candidates(folder: Path) -> list[Path]:
    paths = _listed(folder)
    inner = folder / _SHARD_FOLDER
    return (
        [*paths, *(path for path in _listed(inner) if path.is_file())] if inner in paths and inner.is_dir() else paths
    )


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{printable(folder)} cannot be listed: {error.strerror}.", "Check its permissions."
        ) from error


def _named(folder: Path, role: SplitRole, name: str) -> Entry:
    path = folder / name
    inside = name != "" and name == Path(name).name != ".."
    if inside and path.is_dir():
        return _folder_entry(path)
    if not inside or not path.is_file() or _parsed(path).ending not in _FORMS:
        raise InputError(
            f"`roles.{role}` in {printable(folder / 'splits.toml')} is {printable(name)}, "
            f"which is no folder and no {', '.join(_FORMS)} file directly in the data folder.",
            "Name an entry that is there; of shards any one.",
        )
    if path.suffix == ".npz":
        return _file_entry([path])
    series = _parsed(path).series
    return _file_entry([one for one in _listed(folder) if one.is_file() and _parsed(one).series == series])


def _by_name(folder: Path, role: SplitRole, paths: Sequence[Path]) -> Entry | None:
    candidates = list(_playing(folder, paths, role))
    if len(candidates) > 1:
        names = " and ".join(printable(_together(files).relative_to(folder)) for files in candidates)
        raise InputError(
            f"{printable(folder)} holds the {role} split more than once: {names}.",
            "Remove all but one, or name the one to use under [roles] in splits.toml.",
        )
    if not candidates:
        return None
    return _folder_entry(candidates[0][0]) if candidates[0][0].is_dir() else _file_entry(candidates[0])


def _playing(folder: Path, paths: Sequence[Path], role: SplitRole) -> Iterator[list[Path]]:
    """What could play a role: folders, files, and shards of one series together."""
    series: dict[tuple[Path, tuple[str, bool, str]], list[Path]] = {}
    for path in paths:
        if path.is_dir():
            if _normal(path.name) in _SYNONYMS[role]:
                yield [path]
            continue
        name = _parsed(path)
        shard = name.number is not None or path.parent != folder
        known = name.ending in (*_SHARDS, *_UNREAD) or (name.ending == ".npz" and not shard)
        if known and _normal(name.stem) in _SYNONYMS[role]:
            series.setdefault((path.parent, name.series), []).append(path)
    yield from series.values()


def _parsed(path: Path) -> _Name:
    ending = next((one for one in (*_UNREAD, *_FORMS) if path.name.lower().endswith(one)), path.suffix)
    name = path.name.removesuffix(path.name[len(path.name) - len(ending) :])
    found = _NAME.fullmatch(name)
    if found is None or found["number"] is None:
        return _Name(name, None, None, ending)
    return _Name(found["stem"], int(found["number"]), None if found["count"] is None else int(found["count"]), ending)


def _normal(name: str) -> str:
    return name.lower().replace("-", "_")


# --- the files of an entry -----------------------------------------------------------------------------------------


def _folder_entry(folder: Path) -> Entry:
    paths = _listed(folder)
    shards = [path for path in paths if path.is_file() and _is_shard(path)]
    _refuse_idle_groups(paths, "" if shards else GROUPS_FILE)
    if not shards:
        return Entry(folder, Form.FOLDER, (folder,))
    endings = {_parsed(path).ending for path in shards}
    pictures = any(path.is_dir() or path.suffix.lower() in EXTENSIONS for path in paths)
    if len(endings) > 1 or pictures:
        raise InputError(
            f"{printable(folder)} holds {', '.join(sorted(endings))} files beside folders, images or one another.",
            "Keep one form in the folder of a role.",
        )
    return Entry(folder, _FORMS[endings.pop()], _in_order(shards))


def _refuse_idle_groups(paths: Sequence[Path], read: str) -> None:
    """Files that say which records belong together and are not the one that is read there; empty: none is."""
    named = {path.stem if path.name != read else "": path for path in paths if path.suffix.lower() == ".csv"}
    idle = group_told_otherwise(named, "")
    if idle is not None:
        raise InputError(
            f"{printable(named[idle])} would be ignored.",
            f"A folder of images has its {GROUPS_FILE} inside; an .npz has an array `group`, a table a column and a "
            "tar JSON of that name.",
        )


def _is_shard(path: Path) -> bool:
    """Not what `datasets` lets lie about in such folders: notes on image files, and what it computed itself."""
    name = _parsed(path)
    computed = name.ending == ".arrow" and path.name.startswith("cache-")
    return name.ending in _SHARDS and name.stem != "metadata" and not computed


def _file_entry(files: Sequence[Path]) -> Entry:
    ending = _parsed(files[0]).ending
    if ending in _UNREAD:
        raise InputError(
            f"{printable(files[0])} is in a format that is not read.",
            "Save the split as an image folder, as one .npz, as parquet, or as a plain .tar.",
        )
    return Entry(_together(files), _FORMS[ending], _in_order(files))


def _together(files: Sequence[Path]) -> Path:
    """One name for all shards of a series."""
    name = _parsed(files[0])
    return files[0] if len(files) == 1 else files[0].with_name(f"{name.stem}-*{name.ending}")


def _in_order(files: Iterable[Path]) -> tuple[Path, ...]:
    """Shards by number and name, all of them there where one says how many there are."""
    ordered = sorted(files, key=lambda path: (_parsed(path).number or 0, path.name))
    counts = {_parsed(path).count for path in ordered}
    if counts == {None}:
        return tuple(ordered)
    count = max(count for count in counts if count is not None)
    numbers = [_parsed(path).number for path in ordered]
    if len(counts) > 1 or len(numbers) != count or numbers != list(range(count)):
        raise InputError(
            f"{printable(ordered[0].parent)} holds {len(ordered)} shard{'' if len(ordered) == 1 else 's'} like "
            f"{printable(ordered[0].name)}, not each of {count} once{_missing(ordered[0], numbers, counts)}.",
            "Put all shards of the split there, and no others.",
        )
    return tuple(ordered)


def _missing(like: Path, numbers: Sequence[int | None], counts: AbstractSet[int | None]) -> str:
    """The first shard that is not there, by its name; empty where its name cannot be told, or none is missing."""
    first = next((number for number in range(max(filter(None, counts), default=0)) if number not in numbers), None)
    shown = re.search(r"(\d+)(-of-\d+)", like.name)
    if first is None or shown is None or len(counts) > 1:
        return ""
    name = f"{like.name[: shown.start()]}{first:0{len(shown[1])}d}{shown[2]}{_parsed(like).ending}"
    return f": {printable(name)} is missing"
