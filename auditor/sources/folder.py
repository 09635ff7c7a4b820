"""One role of the splits as a folder of images: `<role>/<class>/.../<image>`.

The class is the first-level folder, as in torchvision. Entries whose name starts with a dot are passed over; so are
files with other extensions than those in `EXTENSIONS`. Optional `groups.csv` in the role folder, with the columns
`file` (relative, with slashes) and `group`, says which records belong together.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import InputError
from auditor.records import printable, read_text
from auditor.sources.decoding import EXTENSIONS
from auditor.sources.images import EncodedImage
from auditor.sources.stated import GROUPS_FILE

__all__ = ["FolderImages", "list_folder"]


@dataclass(frozen=True, eq=False)
class FolderImages:
    """The images of a role folder, by file name.

    Attributes:
        path: The folder.
        names: Below it, with slashes.
        groups: By name; None: not stated.
        named_by: What gives a class its name.
        class_names: No order of the classes is known.
        upright: Orientation tags are not followed, as torchvision and webdataset do not.
    """

    path: Path
    names: tuple[str, ...]
    groups: Mapping[str, str] | None
    named_by: str = "class folders"
    class_names: None = None
    upright: bool = False

    def images(self) -> Iterator[EncodedImage]:
        """All images, in the order of their names."""
        for name in self.names:
            class_name, slash, _ = name.partition("/")
            yield EncodedImage(
                place=str(self.path / name),
                name=name,
                content=self.path / name,
                label=class_name if slash else None,
                group=None if self.groups is None else self.groups[name],
            )


def list_folder(folder: Path) -> FolderImages:
    """List a role folder, in the order of the names.

    Raises:
        InputError: a linked folder below a class, a name that is not UTF-8, or a `groups.csv` that does not fit.
    """
    names = tuple(sorted(path.relative_to(folder).as_posix() for path in _image_paths(folder)))
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"The name of {printable(folder / name)} is not UTF-8.", "Rename it.") from error
    return FolderImages(folder, names, _read_groups(folder, names) if names else None)


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


def _read_groups(folder: Path, names: tuple[str, ...]) -> Mapping[str, str] | None:
    path = folder / GROUPS_FILE
    if not path.exists():
        return None
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise InputError(f"{printable(path)} is not valid CSV: {error}.", "Correct it.") from error
    if not rows or rows[0] != ["file", "group"] or any(len(row) != 2 for row in rows):
        raise InputError(f"{printable(path)} must have two columns, `file` and `group`.", "Start it with `file,group`.")
    groups = dict(rows[1:])
    if len(groups) != len(rows) - 1 or groups.keys() != set(names):
        stray = next(iter(sorted(groups.keys() ^ set(names))), "a file twice")
        raise InputError(
            f"{printable(path)} does not name every image of the folder once: see {printable(stray)}.",
            "Write one row per image.",
        )
    return groups
