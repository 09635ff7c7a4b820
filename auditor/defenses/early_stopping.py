"""Early stopping: keep the weights of the epoch that did best on held-out records. A plain baseline of our own.

What it claims
    Nothing: it is what is commonly done against overfitting, measured as a defense.

What it needs
    Retraining, and held-out labelled records; they choose the epoch, so they are sensitive too.

Algorithm
    After each epoch measure the accuracy on the held-out records, in eval mode. Stop when it has not risen for a tenth
    of the recipe's epochs, but for at least 3. Keep the weights of the best epoch, the first on ties.

What is not the paper's
    All of it is ours. A learning rate that falls by the recipe does so as if all epochs came.

What it does not stop
    What is memorised before the accuracy peaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from auditor.defense import Defense, Holding, UnfitDefenseError
from auditor.defenses.teaching import ALL_ACCESSES, in_batches, share_right, taught
from auditor.findings import DefenseCard, Fidelity
from auditor.records import Records
from auditor.target import Target
from auditor.training import Classroom, Lesson

__all__ = ["ROW", "EarlyStopping", "StopEarly", "patience_for", "retrain"]


@dataclass(frozen=True)
class EarlyStopping:
    """For how many epochs the accuracy may stay: a share of the recipe's, but at least so many."""

    share: float = 0.1
    at_least: int = 3


def patience_for(epochs: int, settings: EarlyStopping) -> int:
    """After how many epochs without a rise training stops."""
    return max(settings.at_least, math.ceil(settings.share * epochs))


class StopEarly(Lesson):
    """Stops when the accuracy on held-out records no longer rises, and leaves the best epoch's weights.

    Args:
        reference: The held-out records.
        patience: After how many epochs without a rise it stops.
    """

    def __init__(self, reference: Records, patience: int) -> None:
        self._reference = reference
        self._patience = patience
        self._best = -1.0
        self._best_epoch = 0
        self._weights: dict[str, torch.Tensor] = {}

    def between_epochs(self, room: Classroom) -> bool:
        """Measure, remember the best, and go back to it at the end."""
        module = room.module.eval()
        reached = share_right(module, in_batches(self._reference, room.plain, room.labels.device))
        if reached > self._best:
            self._best, self._best_epoch = reached, room.epoch
            self._weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.train()
        going_on = room.epoch < room.epochs and room.epoch - self._best_epoch < self._patience
        if not going_on:
            module.load_state_dict(self._weights)
        return going_on


def retrain(template: Target, holding: Holding, seed: int, settings: EarlyStopping = EarlyStopping()) -> Target:
    """Train a network until held-out records gain nothing more.

    Raises:
        UnfitDefenseError: there are no held-out records, the recipe trains the head alone, or training fails.
    """
    if holding.reference.n == 0:
        raise UnfitDefenseError("there are no held-out records in the defender's half of the population")
    lesson = StopEarly(holding.reference, patience_for(holding.recipe.epochs, settings))
    return taught(template, holding, seed, lesson)


ROW = Defense(
    DefenseCard(
        id="early-stopping",
        title="Early stopping",
        paper=None,
        fidelity=Fidelity.OWN,
        acts_on="training",
        counts_for=ALL_ACCESSES,
        settings={"patience_share": 0.1, "patience_at_least": 3},
    ),
    retrain=retrain,
    budget="thorough",
)
