"""What searches without gradients share: randomness of a class's own, when they are looked at, what they hand in.

Their restarts are rows: those of the first class, then those of the second, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reference_attacks.inversion._rows import best_first, by_rows, taken
from reference_attacks.inversion.material import Generator

__all__ = ["handed_in", "looks", "rows_of_classes", "streams"]

_LOOKS = 8


def streams(classes: Sequence[int], count: int, rng: torch.Generator) -> list[list[torch.Generator]]:
    """Generators of random numbers of their own for each class, whichever classes are beside it [class][count].

    Args:
        classes: Class ids; a repeated one gets the same numbers again.
        count: How many for each class.
        rng: One number is drawn from it.

    Raises:
        ValueError: If there is no class.
    """
    if not classes:
        raise ValueError("classes must name at least one class")
    base = int(torch.randint(2**31, (1,), generator=rng))
    seeds = [torch.randint(2**31, (count,), generator=torch.Generator().manual_seed(base + c)) for c in classes]
    return [[torch.Generator().manual_seed(seed) for seed in row.tolist()] for row in seeds]


def looks(most: int) -> frozenset[int]:
    """About eight of the rounds before the last of `most`, evenly spaced in the logarithm, from the first."""
    return frozenset(round(most ** (share / _LOOKS)) for share in range(_LOOKS)) - {most}


def rows_of_classes(rows: Tensor, restarts: int, n_classes: int) -> Tensor:
    """How many of some rows belong to each class, int64 [class], on the CPU."""
    return torch.bincount(rows.cpu() // restarts, minlength=n_classes)


def handed_in(
    generator: Generator, latents: Tensor, scores: Tensor, targets: Tensor, *, restarts: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Images [class, restart, channel, height, width] and their scores [class, restart], largest score first.

    Args:
        generator: Makes the images; the target is not asked.
        latents: [row, latent].
        scores: [row].
        targets: Wanted class of each, int64 [row].
        restarts: Rows of a class.
        batch_size: Most images made at once.
    """
    scores = scores.unflatten(0, (-1, restarts))
    order = best_first(scores, restarts)
    latents = taken(latents.unflatten(0, (-1, restarts)), order).flatten(0, 1)
    with torch.no_grad():
        images = by_rows(generator.images, latents, targets, batch_size=batch_size)
    return images.unflatten(0, (-1, restarts)), scores.gather(1, order)
