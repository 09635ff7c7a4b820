"""The worlds of `defenses.py`: which records, which networks, which recipes. Nothing here is chosen by a result.

docs/validation/defenses-protocol.md states the same in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from auditor.compute import generator, rename_into_place
from auditor.findings import ModelFacts, Preprocessing
from auditor.splits import Recipe
from auditor.target import Architecture, Target
from auditor.training import train

__all__ = ["WORLDS", "World", "smoke"]

Inputs = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

_NETS = Path(__file__).resolve().parent / "defenses_nets.py"
_ROLES = ("train", "test", "population")


@dataclass(frozen=True)
class World:
    """One data set, how it is cut, and how its target is made.

    Attributes:
        name: Of the data set.
        load: Data folder to all records and their labels.
        sizes: How many members, non-members and population records are drawn.
        factory: Of the network, in `defenses_nets.py`.
        classes: How many there are.
        preprocessing: What the network receives.
        recipe: How it is trained.
        noise: Whether inputs are drawn at random, for trying the script.
    """

    name: str
    load: Callable[[Path], tuple[Inputs, Labels]]
    sizes: tuple[int, int, int]
    factory: str
    classes: int
    preprocessing: Preprocessing
    recipe: Recipe
    noise: bool = False

    @property
    def arch(self) -> str:
        """The network, as `--arch` takes it."""
        return f"{_NETS}:{self.factory}"

    def write(self, source: Path, folder: Path, seed: int) -> Path:
        """Write splits/ and the trained target, unless they are there.

        Args:
            source: Where the data sets lie.
            folder: New, or finished before.
            seed: Decides which records are drawn, and the target's weights.

        Returns:
            The target's weights.
        """
        weights = folder / "model.safetensors"
        if not weights.exists():
            drawn = self._drawn(source, seed)
            self._write_splits(folder / "splits", drawn)
            inputs, labels = drawn["train"]
            chance = int(generator(seed, "target of the defense study").integers(2**31))
            trained = train(self._template(), inputs, labels, self.recipe, seed=chance)
            state = {name: tensor.contiguous() for name, tensor in trained.module.state_dict().items()}
            rename_into_place(weights, lambda temporary: save_file(state, temporary))
        return weights

    def _drawn(self, source: Path, seed: int) -> Mapping[str, tuple[Inputs, Labels]]:
        """Records by role: a random order of all, cut at `sizes`."""
        inputs, labels = self.load(source)
        rng = generator(seed, f"{self.name} records of the defense study")
        cuts = np.split(rng.permutation(len(labels)), np.cumsum(self.sizes))[: len(_ROLES)]
        drawn = {role: (inputs[rows], labels[rows]) for role, rows in zip(_ROLES, cuts, strict=True)}
        if self.noise:
            return {role: (_random_like(part, rng), known) for role, (part, known) in drawn.items()}
        return drawn

    def _template(self) -> Target:
        """A fresh, untrained network."""
        architecture = Architecture("factory", self.arch, self.classes, self.preprocessing.input_size[0], ())
        module = architecture.build().eval()
        facts = ModelFacts(
            name=self.name,
            file_format="in memory",
            sha256="0" * 64,
            file_bytes=0,
            architecture=architecture.label,
            architecture_evidence="protocol",
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            num_classes=self.classes,
            weights="plain",
            preprocessing=self.preprocessing,
        )
        return Target(module, architecture, facts, torch.device("cpu"))

    def _write_splits(self, folder: Path, drawn: Mapping[str, tuple[Inputs, Labels]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for role, (inputs, labels) in drawn.items():
            file = folder / f"{role}.npz"
            if inputs.dtype == np.uint8:
                np.savez_compressed(file, images=inputs, labels=labels)
            else:
                np.savez_compressed(file, features=inputs, labels=labels)
        names = "".join(f"class {index}\n" for index in range(self.classes))
        (folder / "classes.txt").write_text(names, encoding="utf-8")
        seen = self.preprocessing.model_dump(mode="json", include={"mean", "std", "input_size"})
        taught = self.recipe.model_dump(mode="json", exclude_defaults=True)
        lines = ["random_split = true", "[preprocessing]", *_toml(seen), "[training]", *_toml(taught)]
        (folder / "splits.toml").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _toml(table: Mapping[str, object]) -> list[str]:
    """Numbers, strings and lists of them are written in TOML as in JSON."""
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]


def _random_like(inputs: Inputs, rng: np.random.Generator) -> Inputs:
    if inputs.dtype == np.uint8:
        return rng.integers(0, 256, inputs.shape, dtype=np.uint8)
    return rng.integers(0, 2, inputs.shape).astype(np.float32)


def _cifar10(source: Path) -> tuple[Inputs, Labels]:
    parts = [np.load(source / "cifar10" / f"{name}.npz") for name in ("train", "test")]
    images, labels = (np.concatenate([part[key] for part in parts]) for key in ("images", "labels"))
    return images, labels


def _location30(source: Path) -> tuple[Inputs, Labels]:
    stored = np.load(source / "location30" / "all.npz")
    return stored["features"].astype(np.float32), stored["labels"]


_COLOUR = Preprocessing(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26), input_size=(3, 32, 32), source="protocol")
_BITS = Preprocessing(mean=(0.12,), std=(0.33,), input_size=(446, 1, 1), source="protocol")

WORLDS = (
    World(
        name="cifar10",
        load=_cifar10,
        sizes=(1_000, 1_000, 1_000),
        factory="conv",
        classes=10,
        preprocessing=_COLOUR,
        recipe=Recipe(epochs=10, optimizer="adam", lr=2e-3, batch_size=32, schedule="cosine"),
    ),
    World(
        name="location30",
        load=_location30,
        sizes=(1_200, 1_200, 800),
        factory="mlp",
        classes=30,
        preprocessing=_BITS,
        recipe=Recipe(epochs=40, optimizer="adam", lr=1e-3, batch_size=64, schedule="cosine"),
    ),
)


def smoke(world: World) -> World:
    """The same with noise in the place of 600 records, trained for one epoch: it shows nothing of the study."""
    return replace(world, sizes=(200, 200, 200), recipe=world.recipe.model_copy(update={"epochs": 1}), noise=True)
