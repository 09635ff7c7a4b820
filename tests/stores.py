"""The same records in every way that a role can be stored, for tests that compare what is read."""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("cat", "dog", "emu")


@dataclass(frozen=True)
class Row:
    """One record as it is stored."""

    name: str
    content: bytes
    label: int
    group: str | None = None


def png(seed, height=5, width=4):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
        stream, "PNG"
    )
    return stream.getvalue()


def rows(n, seed=0, grouped=False):
    """In the order in which a folder lists them: by class and name."""
    labels = np.sort(np.arange(n) % len(NAMES))
    return [
        Row(f"{k:04d}.png", png(1_000 * seed + k), int(label), f"p{k // 2}" if grouped else None)
        for k, label in enumerate(labels)
    ]


def as_folder(folder: Path, records):
    for row in records:
        path = folder / NAMES[row.label] / row.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row.content)
    if records[0].group is not None:
        lines = [f"{NAMES[row.label]}/{row.name},{row.group}\n" for row in records]
        (folder / "groups.csv").write_text("file,group\n" + "".join(lines))


def tar_of(path: Path, files, **options):
    """A tar of (name, content) pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tar_files(records, notes="cls", classes=NAMES):
    """The files of records: the class by name, or by number where there are no `classes`."""
    for row in records:
        key = row.name.removesuffix(".png")
        label = row.label if classes is None else classes[row.label]
        yield f"{key}.png", row.content
        if notes == "cls":
            yield f"{key}.cls", str(label).encode()
        if notes == "json" or row.group is not None:
            stated = {"group": row.group} if notes == "cls" else {"label": label, "group": row.group, "other": [1]}
            yield f"{key}.json", json.dumps(stated).encode()


def as_tar(path: Path, records, **how):
    tar_of(path, tar_files(records, **how))


def halves(records):
    return records[: len(records) // 2], records[len(records) // 2 :]
