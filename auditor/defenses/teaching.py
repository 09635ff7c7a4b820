"""What training-time defenses share: training with a lesson of their own, and looking at records between epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn

from auditor.defense import Holding, UnfitDefenseError
from auditor.errors import InputError
from auditor.records import Records
from auditor.splits import Recipe
from auditor.target import Target
from auditor.threat import Access
from auditor.training import Lesson, train

__all__ = ["ALL_ACCESSES", "Batch", "in_batches", "share_right", "taught"]

ALL_ACCESSES = tuple(Access)
_BATCH = 256

Batch: TypeAlias = tuple[Tensor, Tensor]


def taught(
    template: Target,
    holding: Holding,
    seed: int,
    lesson: Lesson | None = None,
    *,
    recipe: Recipe | None = None,
    start: Target | None = None,
) -> Target:
    """Train the template on the holding's members, by the owner's recipe but for the lesson.

    Args:
        template: Gives the network, untrained.
        holding: Its members and its recipe.
        seed: Decides initial weights, batch order, augmentation and dropout.
        lesson: What the defense teaches; plain training without one.
        recipe: In place of the holding's.
        start: A model to go on from, in place of fresh weights.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    if holding.recipe.head_only:
        raise UnfitDefenseError("it changes how all layers are trained, but this recipe trains the head alone")
    inputs, labels, followed = holding.members.inputs, holding.members.labels, recipe or holding.recipe
    try:
        return train(template, inputs, labels, followed, seed=seed, lesson=lesson, start=start)
    except InputError as error:
        raise UnfitDefenseError(f"training with it failed: {error.message}") from error


def in_batches(records: Records, plain: Callable[[Tensor], Tensor], device: torch.device) -> Iterator[Batch]:
    """The module's inputs [record, ...] and labels int64 [record] of held-out records, in order.

    Args:
        records: The records.
        plain: Makes the module's input of stored records, as `Classroom.plain`.
        device: Where the labels go.
    """
    for start in range(0, records.n, _BATCH):
        part = slice(start, start + _BATCH)
        labels = torch.from_numpy(records.labels[part].copy()).to(device)
        yield plain(torch.from_numpy(records.inputs[part].copy())), labels


@torch.no_grad()
def share_right(module: nn.Module, batches: Iterable[Batch]) -> float:
    """Share of records whose top class is the true label, in whatever mode the module is.

    Args:
        module: Gives logits [record, class].
        batches: At least one.
    """
    right, seen = 0, 0
    for inputs, labels in batches:
        right += int((module(inputs).argmax(1) == labels).sum())
        seen += len(labels)
    return right / seen
