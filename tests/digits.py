"""Real data small enough for whole scans in tests: UCI digits from scikit-learn, a tiny network, image folders."""

import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from auditor.findings import ModelFacts, Preprocessing
from auditor.splits import Recipe
from auditor.target import Architecture, Target
from auditor.training import train

SIDE = 300
RECIPE = Recipe(epochs=12, optimizer="adamw", lr=0.01, batch_size=32, schedule="cosine")
NETWORK = """
from torch import nn


def network(num_classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, num_classes))
"""
SPLITS = """
random_split = true
[preprocessing]
mean = [0.3]
std = [0.35]
input_size = [1, 8, 8]
[training]
epochs = 12
optimizer = "adamw"
lr = 0.01
batch_size = 32
schedule = "cosine"
"""


def digits():
    """Images uint8 [record, height, width, channel] and labels, in a fixed random order."""
    data = load_digits()
    order = np.random.default_rng(7).permutation(len(data.target))
    images = np.round(data.images * (255 / 16)).astype(np.uint8)[order][..., None]
    return images, data.target[order].astype(np.int64)


def write_folder(folder: Path, images, labels, prefix):
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{prefix}-{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)


def write_network(folder: Path) -> str:
    (folder / "network.py").write_text(textwrap.dedent(NETWORK))
    return f"{folder / 'network.py'}:network"


def template(folder: Path) -> Target:
    """An untrained network."""
    architecture = Architecture("factory", write_network(folder), 10, 1, ())
    preprocessing = Preprocessing(mean=(0.3,), std=(0.35,), input_size=(1, 8, 8), source="test")
    facts = ModelFacts(
        name="digits",
        file_format="in memory",
        sha256="0" * 64,
        file_bytes=0,
        architecture="network",
        architecture_evidence="test",
        parameters=0,
        num_classes=10,
        weights="plain",
        preprocessing=preprocessing,
    )
    return Target(architecture.build().eval(), architecture, facts, torch.device("cpu"))


def trained_weights(folder: Path, images, labels) -> Path:
    """A network trained on these records, as a bare safetensors file."""
    model = train(template(folder), images, labels, RECIPE, seed=11)
    path = folder / "digits.safetensors"
    save_file(model.module.state_dict(), path)
    return path


def write_splits(folder: Path, train_set, test_set, population, *, as_images=False, settings=SPLITS):
    """`train_set` and the others are (images, labels)."""
    folder.mkdir()
    (folder / "splits.toml").write_text(settings)
    (folder / "classes.txt").write_text("\n".join(map(str, range(10))))
    for name, (images, labels) in (("train", train_set), ("test", test_set), ("population", population)):
        if as_images:
            write_folder(folder / name, images, labels, f"secret-{name}")
        else:
            np.savez(folder / f"{name}.npz", images=images, labels=labels)
    return folder


def parts(*sizes):
    """Disjoint runs of the digits, one per size."""
    images, labels = digits()
    ends = np.cumsum(sizes)
    return [(images[end - size : end], labels[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
