"""The worlds of `membership.py`: which records, which networks, which recipes. Nothing here is chosen by a result.

docs/validation/membership-protocol.md states the same in words.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from auditor.compute import digest, generator, rename_into_place
from auditor.findings import ModelFacts, Preprocessing
from auditor.splits import Recipe, Records
from auditor.target import Architecture, Target
from auditor.training import train

__all__ = ["PRETRAINING", "SEED", "SETTINGS", "Setting", "World", "load_worlds", "pretrain", "smoke", "template"]

SEED = 31
_NETS = Path(__file__).resolve().parent / "membership_nets.py"
_PRETRAINING_RECORDS = 20_000


@dataclass(frozen=True)
class World:
    """Disjoint records: of the pool half are in each model, the population calibrates, the trial times the recipes."""

    pool: Records
    population: Records
    trial: Records

    @property
    def digest(self) -> str:
        """Names the drawn records, in their order."""
        return digest(*(array for part in (self.pool, self.population) for array in (part.inputs, part.labels)))


@dataclass(frozen=True)
class Setting:
    """Models of one make on the records of one world.

    Attributes:
        name: In files and tables.
        world: Whose records.
        models: How many are trained, in complementary pairs.
        shadows: Numbers of shadows K at which each of them is attacked.
        recipe: How each is trained.
        architecture: What is trained.
        preprocessing: What the network receives.
        pretrained: Whether training starts from the public weights.
    """

    name: str
    world: str
    models: int
    shadows: tuple[int, ...]
    recipe: Recipe
    architecture: Architecture
    preprocessing: Preprocessing
    pretrained: bool = False


_COLOUR = Preprocessing(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26), input_size=(3, 32, 32), source="protocol")
_BITS = Preprocessing(mean=(0.12,), std=(0.33,), input_size=(446, 1, 1), source="protocol")
_CONV = Architecture("factory", f"{_NETS}:conv", 10, 3, ())
_MLP = Architecture("factory", f"{_NETS}:mlp", 30, 1, ())
_RESNET = Architecture("timm", "resnet10t", 10, 3, (("channels", (16, 32, 64, 64)), ("stem_width", 8)))

PRETRAINING = Recipe(epochs=3, lr=0.05, weight_decay=5e-4, batch_size=64, schedule="cosine")
_FROM_SCRATCH = Recipe(epochs=30, lr=0.02, weight_decay=5e-4, batch_size=64, schedule="cosine")
_ON_BITS = Recipe(epochs=50, optimizer="adam", lr=1e-3, batch_size=64)
_FINE_TUNING = Recipe(epochs=25, lr=0.05, weight_decay=5e-4, batch_size=64, schedule="cosine")

_SIZES = (2, 4, 8, 14)
SETTINGS = (
    Setting("cifar10", "cifar10", 16, _SIZES, _FROM_SCRATCH, _CONV, _COLOUR),
    Setting("location30", "location30", 32, (*_SIZES, 30), _ON_BITS, _MLP, _BITS),
    Setting("fine-tuned", "fine-tuned", 16, _SIZES, _FINE_TUNING, _RESNET, _COLOUR, pretrained=True),
    Setting("cifar10, 12 epochs", "cifar10", 8, (4,), _FROM_SCRATCH.model_copy(update={"epochs": 12}), _CONV, _COLOUR),
    Setting("cifar10, 5 epochs", "cifar10", 8, (4,), _FROM_SCRATCH.model_copy(update={"epochs": 5}), _CONV, _COLOUR),
)


def smoke(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """The same settings, trained for one epoch."""
    return tuple(replace(one, recipe=one.recipe.model_copy(update={"epochs": 1})) for one in settings)


def template(setting: Setting) -> Target:
    """A fresh, untrained network of the setting."""
    module = setting.architecture.build().eval()
    facts = ModelFacts(
        name=setting.name,
        file_format="in memory",
        sha256="0" * 64,
        file_bytes=0,
        architecture=setting.architecture.label,
        architecture_evidence="protocol",
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        num_classes=setting.architecture.num_classes,
        weights="plain",
        preprocessing=setting.preprocessing,
    )
    return Target(module, setting.architecture, facts, torch.device("cpu"))


# --- records -------------------------------------------------------------------------------------------------------


def load_worlds(data: Path, *, noise: bool) -> Mapping[str, World]:
    """Draw the records of all worlds.

    Args:
        data: Holds cifar10/train.npz, cifar10/test.npz (`images`, `labels`) and location30/all.npz (`features`,
            `labels`).
        noise: Give random inputs instead, pools of 2,000 and populations of 300, for trying the script.

    Raises:
        ValueError: the files hold other numbers of records than the protocol says, or equal ones.
    """
    files = [np.load(data / "cifar10" / f"{part}.npz") for part in ("train", "test")]
    images = np.concatenate([file["images"] for file in files])
    labels = np.concatenate([file["labels"] for file in files])
    places = np.load(data / "location30" / "all.npz")
    colour = _drawn("cifar10", images, labels, (10_000, 3_000, 4_000, 1_000, 2_000))
    bits = _drawn("location30", places["features"].astype(np.float32), places["labels"], (3_800, 800, 410))
    worlds = {
        "cifar10": World(colour[0], colour[1], colour[4]),
        "fine-tuned": World(colour[2], colour[3], colour[4]),
        "location30": World(*bits),
    }
    return {name: _noise(name, world) for name, world in worlds.items()} if noise else worlds


def _drawn(
    name: str,
    inputs: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    sizes: tuple[int, ...],
) -> list[Records]:
    """Disjoint random records: a permutation of the file's order, cut at `sizes`, which use up all of it."""
    records = Records.of(inputs, labels)
    if records.n != sum(sizes) or len(set(records.digests)) != records.n:
        raise ValueError(f"{name} must hold {sum(sizes)} different records, got {records.n}")
    order = generator(SEED, f"{name} records").permutation(records.n)
    ends = np.cumsum(sizes)
    return [records.take(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _noise(name: str, world: World) -> World:
    """Random inputs with the labels of 2,000 and 300 records: a smoke run is to show nothing of the study."""
    rng = generator(SEED, f"{name} noise")
    parts = (world.pool.take(np.arange(2_000)), world.population.take(np.arange(300)))
    drawn = [(_random_like(part, rng), part.labels) for part in parts]
    pool, population = (Records.of(inputs, labels) for inputs, labels in drawn)
    return World(pool, population, world.trial)


def _random_like(records: Records, rng: np.random.Generator) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    if records.inputs.dtype == np.uint8:
        return rng.integers(0, 256, records.inputs.shape, dtype=np.uint8)
    return rng.integers(0, 2, records.inputs.shape).astype(np.float32)


# --- public weights ------------------------------------------------------------------------------------------------


def pretrain(fashion: Path, folder: Path, setting: Setting, recipe: Recipe) -> Path:
    """Train the setting's network on Fashion-MNIST once, and keep the weights in `folder`.

    Args:
        fashion: Holds train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz.
        folder: Where the weights go.
        setting: What will start from them.
        recipe: How they are trained.
    """
    stated = recipe.model_dump(mode="json", exclude_defaults=True)
    path = folder / f"public-{digest(setting.architecture.fingerprint, stated, SEED)}.safetensors"
    if not path.exists():
        images, labels = _fashion(fashion)
        chosen = generator(SEED, "fashion-mnist records").permutation(len(labels))[:_PRETRAINING_RECORDS]
        target = train(template(setting), images[chosen], labels[chosen], recipe, seed=SEED)
        state = {name: tensor.contiguous() for name, tensor in target.module.state_dict().items()}
        rename_into_place(path, lambda temporary: save_file(state, temporary))
    return path


def _fashion(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images [record, 32, 32, 3], two black pixels added at each side and the grey repeated, and labels [record]."""
    pixels = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    grey = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    padded = np.pad(grey, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return np.repeat(padded, 3, axis=3), np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
