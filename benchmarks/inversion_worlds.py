"""The worlds of the inversion study: a data folder and a target for each, drawn from a seed.

Faces are used as they are licensed for research: no picture of them is written outside the work folder.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import inversion_nets
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch.nn import functional

__all__ = ["DIGITS", "WORLDS", "World"]

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

_EPOCHS = 30
_SETTINGS = """
random_split = true
class_is_person = {person}
[preprocessing]
mean = {mean}
std = {std}
input_size = [{channels}, {side}, {side}]
[training]
epochs = {epochs}
optimizer = "adam"
lr = 0.001
batch_size = 64
schedule = "constant"
"""


@dataclass(frozen=True)
class Data:
    """Images uint8 [record, height, width, channel] and labels by role; public images have none."""

    train: tuple[Images, Labels]
    test: tuple[Images, Labels]
    population: tuple[Images, Labels] | None
    public: Images | None


@dataclass(frozen=True)
class World:
    """One data set, and how it is cut.

    Attributes:
        name: Of the data set.
        draw: Data folder and seed to what is in each role.
        factory: Of the target, in `benchmarks/inversion_nets.py`.
        person: Whether a class is one person.
    """

    name: str
    draw: Callable[[Path, int], Data]
    factory: str
    person: bool

    def write(self, source: Path, folder: Path, seed: int, *, blind: bool = False) -> Path:
        """Write splits/ and train the target; returns the weights.

        Args:
            source: Where the data sets lie.
            folder: New or finished before.
            seed: Of the draw and the target.
            blind: Whether the target is trained on as many population or held-out records in place of the members, so
                that it never saw them.
        """
        weights = folder / "model.safetensors"
        if weights.exists():
            return weights
        data = self.draw(source, seed)
        taught = data.train
        if blind:
            data, taught = _never_seen(data, seed)
        _write_splits(folder / "splits", data, person=self.person)
        save_file(_trained(getattr(inversion_nets, self.factory), taught, seed), weights)
        return weights


def _never_seen(data: Data, seed: int) -> tuple[Data, tuple[Images, Labels]]:
    """Half of the members keep that name; the target learns from the other half."""
    half = np.random.default_rng((seed, 1)).random(len(data.train[1])) < 0.5
    stays, taught = ((data.train[0][one], data.train[1][one]) for one in (half, ~half))
    return Data(stays, data.test, data.population, data.public), taught


def _mnist(source: Path, seed: int) -> Data:
    """Digits 0 to 4 are private, the others public."""
    rng, stored = np.random.default_rng(seed), np.load(source / "mnist" / "train.npz")
    images, labels = stored["images"], stored["labels"]
    if images.ndim == 3:
        images = images[..., None]
    private = rng.permutation(np.flatnonzero(labels < 5))
    cut = np.split(private[:5000], [2000, 4000])
    roles = [(images[np.sort(rows)], labels[np.sort(rows)].astype(np.int64)) for rows in cut]
    public = images[np.sort(rng.permutation(np.flatnonzero(labels >= 5))[:5000])]
    return Data(roles[0], roles[1], roles[2], public)


def _faces(source: Path, seed: int) -> Data:
    """62 people at 32 pixels, cut anew at random within each person; others are public."""
    rng = np.random.default_rng(seed)
    stored = [np.load(source / "faces62" / f"{role}.npz") for role in ("train", "test")]
    images = np.concatenate([_halved(one["images"]) for one in stored])
    labels = np.concatenate([one["labels"] for one in stored]).astype(np.int64)
    inside = np.zeros(len(labels), dtype=bool)
    for person in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == person))
        inside[rows[: len(rows) // 2]] = True
    public = _halved(np.load(source / "faces62" / "public.npz")["images"])
    return Data((images[inside], labels[inside]), (images[~inside], labels[~inside]), None, public)


def _digits(_: Path, seed: int) -> Data:
    """Scikit-learn's digits, for many repeated runs."""
    stored = load_digits()
    images = np.round(stored.images * (255 / 16)).astype(np.uint8)[..., None]
    rows = np.split(np.random.default_rng(seed).permutation(len(images)), [800, 1300])
    roles = [(images[one], stored.target[one].astype(np.int64)) for one in rows]
    return Data(roles[0], roles[1], roles[2], None)


def _halved(images: Images) -> Images:
    """64 to 32 pixels, by averaging."""
    return np.stack([np.asarray(Image.fromarray(one).reduce(2)) for one in images])


WORLDS = (World("mnist", _mnist, "grey", person=False), World("faces62", _faces, "colour", person=True))
DIGITS = World("digits", _digits, "grey", person=False)


def _write_splits(folder: Path, data: Data, *, person: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", data.train), ("test", data.test), ("population", data.population)):
        if part is not None:
            np.savez_compressed(folder / f"{name}.npz", images=part[0], labels=part[1])
    if data.public is not None:
        np.savez_compressed(folder / "public.npz", images=data.public, labels=np.full(len(data.public), -1))
    classes = sorted(set(data.train[1].tolist()))
    (folder / "classes.txt").write_text("".join(f"class {one}\n" for one in classes), encoding="utf-8")
    side, channels = data.train[0].shape[1], data.train[0].shape[3]
    settings = _SETTINGS.format(
        person=str(person).lower(),
        mean=[0.5] * channels,
        std=[0.5] * channels,
        channels=channels,
        side=side,
        epochs=_EPOCHS,
    )
    (folder / "splits.toml").write_text(textwrap.dedent(settings), encoding="utf-8")


def _trained(
    build: Callable[[int], torch.nn.Module], taught: tuple[Images, Labels], seed: int
) -> dict[str, torch.Tensor]:
    """By the recipe in splits.toml, but with a loop of its own: the target is not one of the audit's models."""
    torch.manual_seed(seed)
    images = torch.from_numpy(taught[0]).movedim(3, 1).float() / 127.5 - 1.0
    labels = torch.from_numpy(taught[1])
    module = build(int(labels.max()) + 1)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(labels)).split(64):
            loss = functional.cross_entropy(module(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
