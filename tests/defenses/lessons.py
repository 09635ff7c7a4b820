"""What the tests of training-time defenses train: few digits, a network that overfits them, and one with dropout."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from auditor.compute import generator
from auditor.defense import Holding
from auditor.splits import Recipe, Records
from auditor.target import Architecture, Target
from auditor.training import Classroom
from tests.digits import RECIPE, parts, template

NORMED = """
from torch import nn


def network(num_classes=10):
    layers = nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2)
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(32, num_classes))
"""


def holding(*, members=150, reference=300, **changes) -> Holding:
    learned, held_out = (Records.of(*part) for part in parts(members, reference))
    return Holding(learned, held_out, RECIPE.model_copy(update=changes))


def head_only() -> Holding:
    recipe = Recipe(**{**RECIPE.model_dump(), "trainable": "head", "init": Path("public.safetensors")})
    return replace(holding(), recipe=recipe)


def without_class(records: Records, number: int) -> Records:
    return records.take(records.labels != number)


def mislabelled(records: Records, seed: int) -> Records:
    """The same records, 15 % of them with a label drawn at random."""
    rng = generator(seed, "labels")
    wrong = rng.random(records.n) < 0.15
    return Records.of(records.inputs, np.where(wrong, rng.integers(0, 10, records.n), records.labels))


def normed(folder: Path) -> Target:
    """A network whose training has a state beside the weights, and randomness beside the order of batches."""
    (folder / "normed.py").write_text(NORMED)
    architecture = Architecture("factory", f"{folder / 'normed.py'}:network", 10, 1, ())
    return replace(template(folder), module=architecture.build().eval(), architecture=architecture)


class Watched(nn.Module):
    """Gives features as logits, times one weight, and remembers what it was asked and in which mode."""

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(scale))
        self.asked: list[tuple[bool, torch.Tensor]] = []

    def forward(self, batch):
        self.asked.append((self.training, batch.detach().clone()))
        return self.weight * batch


def room(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, *, epoch=1, epochs=3) -> Classroom:
    """A classroom over features that are logits."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    return Classroom(module.train(), optimizer, inputs.__getitem__, lambda stored: stored, labels, epoch, epochs)


def features(count: int, seed: int, *, right=1.0) -> Records:
    """Features float32 [record, 3] whose largest is the label's for a share `right` of the records."""
    rng = generator(seed, "features")
    labels = rng.integers(0, 3, count)
    values = rng.random((count, 3), dtype=np.float32)
    shown = np.where(np.arange(count) < right * count, labels, (labels + 1) % 3)
    values[np.arange(count), shown] += 2
    return Records.of(values, labels)
