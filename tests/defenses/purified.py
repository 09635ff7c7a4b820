"""What the tests of the Purifier family defend: a small network that has memorised digits with some wrong labels."""

import numpy as np
import torch

from auditor.defense import Holding
from auditor.splits import Records
from auditor.target import Target
from auditor.training import train
from tests.digits import RECIPE, digits, template

CORNERS = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])


def memorised(folder) -> tuple[Target, Holding, Records]:
    """A target, what its defender holds, and records that nobody has seen."""
    images, labels = digits()
    rng = np.random.default_rng(0)
    wrong = rng.random(len(labels)) < 0.12
    labels[wrong] = rng.integers(0, 10, wrong.sum())
    members, reference, others = (Records.of(images[part], labels[part]) for part in _PARTS)
    recipe = RECIPE.model_copy(update={"epochs": 40})
    target = train(template(folder), members.inputs, members.labels, recipe, seed=1)
    return target, Holding(members, reference, recipe), others


def as_features(records: Records) -> Records:
    return Records.of(records.inputs.reshape(records.n, -1).astype(np.float32), records.labels)


_PARTS = (slice(0, 200), slice(200, 600), slice(600, 800))
