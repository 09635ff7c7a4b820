"""What the Fashion-MNIST samples share: read the data, draw the splits, train, and write a folder that can be audited.

All roles of a sample come from the 60,000 training images, told apart by chance alone, so that members and non-members
differ by membership only. Everything follows from the numbers in a `Sample`; the same numbers on the same type of
machine give the same files.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from auditor.errors import InputError
from auditor.findings import ModelFacts, Preprocessing
from auditor.signals import accuracy
from auditor.splits import Recipe, Records
from auditor.target import Architecture, Target, save_target
from auditor.training import train

__all__ = ["CLASS_NAMES", "Sample", "main"]

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_DATA = Path("/usr/share/datasets/fashion-mnist")
_IMAGES = "train-images-idx3-ubyte.gz"
_LABELS = "train-labels-idx1-ubyte.gz"
_ROLES = ("train", "test", "population")


@dataclass(frozen=True)
class Sample:
    """All that a sample model is made from.

    Attributes:
        about: One line for `--help`.
        records: How many members; there are as many non-members, and as many population records.
        seed: Decides the draw of the records and the training.
        model_args: How the timm network `architecture` is shrunk.
        recipe: How the model is trained; goes to `splits.toml` for the shadows.
        architecture: A timm name.
    """

    about: str
    records: int
    seed: int
    model_args: tuple[tuple[str, int | tuple[int, ...]], ...]
    recipe: Recipe
    architecture: str = "resnet10t"


def main(sample: Sample, folder: Path) -> None:
    """Parse the command line of a sample's `train.py`, and make the sample again.

    Args:
        sample: What to make.
        folder: Where it lies, the default of `--output`.
    """
    parser = argparse.ArgumentParser(description=sample.about)
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of the .gz files (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=folder, help="folder to write into (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        _build(sample, arguments.data, arguments.output)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _build(sample: Sample, data: Path, output: Path) -> None:
    roles = _draw(sample, *_read(data))
    members = roles["train"]
    untrained = _untrained(sample, members)
    target = train(untrained, members.inputs, members.labels, sample.recipe, seed=sample.seed)
    _write_splits(sample, roles, output / "splits")
    _write_model(target, output)
    for role, records in roles.items():
        print(f"{role}: {records.n} records, accuracy {accuracy(target, records.inputs, records.labels):.3f}")


# --- data ----------------------------------------------------------------------------------------------------------


def _read(data: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images uint8 [record, height, width, channel] and labels [record] of the training set."""
    images, labels = _idx(data / _IMAGES), _idx(data / _LABELS)
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise InputError(f"{data} does not hold Fashion-MNIST: images {images.shape}, labels {labels.shape}.")
    return images[..., np.newaxis], labels.astype(np.int64)


def _idx(path: Path) -> npt.NDArray[np.uint8]:
    """An idx file of bytes: three magic bytes, the number of axes, their sizes as big-endian int32, the content."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read: {error}.",
            "Install Debian's package dataset-fashion-mnist, or name the folder of the four .gz files with --data.",
        ) from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise InputError(f"{path} is not an idx file of bytes.", "Fetch it again.")
    axes = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=axes, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def _draw(sample: Sample, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> dict[str, Records]:
    """Disjoint random records for every role."""
    order = np.random.default_rng(sample.seed).permutation(len(labels))
    parts = np.split(order[: len(_ROLES) * sample.records], len(_ROLES))
    return {role: Records.of(images[part], labels[part]) for role, part in zip(_ROLES, parts, strict=True)}


# --- model ---------------------------------------------------------------------------------------------------------


def _untrained(sample: Sample, members: Records) -> Target:
    """The network before training, with the mean and standard deviation of its training pixels."""
    pixels = members.inputs / 255
    preprocessing = Preprocessing(
        mean=(round(float(pixels.mean()), 4),),
        std=(round(float(pixels.std()), 4),),
        input_size=(1, 28, 28),
        source="training data",
    )
    architecture = Architecture(
        source="timm",
        name=sample.architecture,
        num_classes=len(CLASS_NAMES),
        in_chans=1,
        model_args=sample.model_args,
    )
    module = architecture.build().eval()
    facts = ModelFacts(
        name="untrained",
        file_format="in memory",
        sha256="",
        file_bytes=0,
        architecture=architecture.label,
        architecture_evidence="stated",
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        num_classes=len(CLASS_NAMES),
        weights="plain",
        trusted=False,
        preprocessing=preprocessing,
    )
    return Target(module, architecture, facts, torch.device("cpu"))


# --- files ---------------------------------------------------------------------------------------------------------


def _write_splits(sample: Sample, roles: Mapping[str, Records], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for role, records in roles.items():
        np.savez_compressed(folder / f"{role}.npz", images=records.inputs, labels=records.labels.astype(np.uint8))
    (folder / "classes.txt").write_text("\n".join(CLASS_NAMES) + "\n", encoding="utf-8")
    (folder / "splits.toml").write_text(_splits_toml(sample.recipe), encoding="utf-8")


def _splits_toml(recipe: Recipe) -> str:
    # numbers, strings and lists read the same in JSON and TOML
    settings = recipe.model_dump(mode="json", exclude={"init", "trainable", "shadows"})
    rows = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join(["random_split = true", "", "[training]", *rows, ""])


def _write_model(target: Target, folder: Path) -> None:
    """Put weights and configuration into a folder that may hold an older sample."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        saved = Path(name) / "saved"
        save_target(target, saved)
        config = saved / "config.json"
        content = json.loads(config.read_text(encoding="utf-8")) | {"label_names": CLASS_NAMES}
        config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        for file in saved.iterdir():
            file.replace(folder / file.name)
