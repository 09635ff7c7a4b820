"""Rows of latents shown to a target a batch at a time, and the best of them handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from reference_attacks.inversion.material import Images, Inverted

__all__ = [
    "best_first",
    "by_rows",
    "confidence",
    "gradient",
    "probabilities",
    "shown_at_the_end",
    "taken",
    "wanted",
]


def wanted(classes: Sequence[int], device: torch.device) -> Tensor:
    """The target classes as int64 [class].

    Raises:
        ValueError: If there is none.
    """
    if not classes:
        raise ValueError("classes must name at least one class")
    return torch.tensor(list(classes), dtype=torch.int64, device=device)


def by_rows(work: Callable[..., Tensor], *rows: Tensor, batch_size: int) -> Tensor:
    """Do work on at most `batch_size` rows at once, where no row depends on another.

    Args:
        work: Maps some rows of each tensor to as many rows.
        rows: Tensors with equal first axes.
        batch_size: Most rows at once.
    """
    return torch.cat([work(*part) for part in zip(*(each.split(batch_size) for each in rows), strict=True)])


def probabilities(logits: Images, images: Tensor) -> Tensor:
    """What the target thinks of images, float64 [image, class], without gradients."""
    with torch.no_grad():
        return logits(images).double().softmax(dim=1)


def gradient(cost: Callable[..., Tensor], *variables: Tensor) -> tuple[Tensor, ...]:
    """The cost of each row [row] and, for each variable, the gradient of the sum; the target keeps none.

    Args:
        cost: Maps the variables to costs [row].
        variables: Tensors [row, ...].

    Raises:
        ValueError: If the cost carries no gradient.
    """
    with torch.enable_grad():
        moving = [variable.detach().requires_grad_() for variable in variables]
        costs = cost(*moving)
        if not costs.requires_grad:
            raise ValueError("logits and generator must be differentiable: the cost was computed without gradients")
        slopes = torch.autograd.grad(costs.sum(), moving, materialize_grads=True)
    return costs.detach(), *slopes


def confidence(logits: Images, images: Tensor, targets: Tensor) -> Tensor:
    """The target's probability of the wanted class of each image, float64 [image], without gradients."""
    return probabilities(logits, images).gather(1, targets[:, None]).squeeze(1)


def best_first(scores: Tensor, count: int) -> Tensor:
    """Places of the largest scores of each class, largest first, int64 [class, count], from [class, candidate]."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count]


def taken(rows: Tensor, places: Tensor) -> Tensor:
    """The rows [class, count, ...] at some places [class, count] of [class, candidate, ...]."""
    return rows[torch.arange(len(rows), device=rows.device)[:, None], places]


def shown_at_the_end(
    *, logits: Images, images: Tensor, targets: Tensor, queries: int, shared: int, batch_size: int, ranked: bool = False
) -> Inverted:
    """Hand in reconstructions, each shown once more for the target's confidence in it.

    Args:
        logits: Images to logits [image, class].
        images: float32 in 0..1 [class, restart, channel, height, width].
        targets: Wanted class, int64 [class].
        queries: Images of each class shown so far.
        shared: Images shown so far for all classes together.
        batch_size: Most images shown at once.
        ranked: The restarts have their order; otherwise the one of which the target is surest comes first.
    """
    shape = images.shape[:2]
    of = targets.repeat_interleave(shape[1])
    sure = by_rows(partial(confidence, logits), images.flatten(0, 1), of, batch_size=batch_size).unflatten(0, shape)
    if not ranked:
        order = best_first(sure, shape[1])
        images, sure = taken(images, order), taken(sure, order)
    return Inverted(images, sure, torch.full((shape[0],), queries + shape[1]), shared_queries=shared)
