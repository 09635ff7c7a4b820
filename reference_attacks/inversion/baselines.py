"""Two attacks without a search: the draw, or the public image, of which a model is surest.

Ours; no paper. Most inversion attacks pick among images by the target's confidence: that alone is an attack.

What it claims
    Nothing of the training records themselves: the images exist before the target is asked. They show what asking
    which of many images the target prefers gives away, so a search that does no better has found nothing.

What the attacker needs
    Access `scores`: released probabilities. For `best_of_draws` a generator of images, for `most_confident_public`
    public images.

Algorithm
    1. Draw N latents and make them images; or take the public images in a random order.
    2. Show each image to the target once; all classes share the answers.
    3. A class gets the images with its highest probabilities, the earlier one first where they are equal.
    The snapshots are the same over the first n images only. A generator that is told the class makes its own N images
    for each class, from the same latents; these are shown for each class.

What we changed
    Not applicable.

Published number and ours
    None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reference_attacks.inversion.material import Generator, Images, Inverted, Snapshot

__all__ = ["BestOfDraws", "MostConfidentPublic", "best_of_draws", "most_confident_public"]

_SNAPSHOTS = 8


@dataclass(frozen=True, slots=True)
class BestOfDraws:
    """How many draws are looked at.

    Attributes:
        draws: Latents drawn.
        restarts: Images handed in for each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    draws: int = 5000
    restarts: int = 5
    batch_size: int = 256

    def __post_init__(self) -> None:
        if self.restarts < 1 or self.batch_size < 1:
            raise ValueError(f"restarts and batch_size must be at least 1, got {self.restarts}, {self.batch_size}")
        if self.draws < self.restarts:
            raise ValueError(f"draws must be at least restarts ({self.restarts}), got {self.draws}")


@dataclass(frozen=True, slots=True)
class MostConfidentPublic:
    """How many public images are handed in.

    Attributes:
        restarts: Images handed in for each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    restarts: int = 5
    batch_size: int = 256

    def __post_init__(self) -> None:
        if self.restarts < 1 or self.batch_size < 1:
            raise ValueError(f"restarts and batch_size must be at least 1, got {self.restarts}, {self.batch_size}")


def best_of_draws(
    *,
    released: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: BestOfDraws = BestOfDraws(),
) -> Inverted:
    """The draws from a generator of which the target is surest.

    Args:
        released: Images to the probabilities that the target gives out [image, class].
        classes: Target class ids.
        generator: Draws latents and makes them images.
        rng: Draws the latents.
        settings: How many draws are looked at.

    Returns:
        `settings.restarts` images of each class. The queries are shared, unless the generator is told the class.

    Raises:
        ValueError: If there is no class or the probabilities are not finite.
    """
    _require(classes)
    latents = generator.draw(settings.draws, rng)
    device = latents.device

    def made(places: Tensor, told: Tensor) -> Tensor:
        parts = zip(places.split(settings.batch_size), told.split(settings.batch_size), strict=True)
        with torch.no_grad():
            images = [generator.images(latents[some.to(device)], each.to(device)) for some, each in parts]
        return torch.cat(images)

    def answers(told: int) -> Tensor:
        parts = torch.arange(settings.draws).split(settings.batch_size)
        return torch.cat([_asked(released, made(some, torch.full_like(some, told))) for some in parts])

    if generator.conditional:
        confidence = torch.stack([answers(each)[:, each] for each in classes], dim=1)
        return _surest(confidence, made, classes, settings.restarts, own_queries=settings.draws, shared_queries=0)
    confidence = answers(classes[0])[:, list(classes)]
    return _surest(confidence, made, classes, settings.restarts, own_queries=0, shared_queries=settings.draws)


def most_confident_public(
    *,
    released: Images,
    public_images: Tensor,
    classes: Sequence[int],
    rng: torch.Generator,
    settings: MostConfidentPublic = MostConfidentPublic(),
) -> Inverted:
    """The public images of which the target is surest; one image may stand for several classes.

    Args:
        released: Images to the probabilities that the target gives out [image, class].
        public_images: In 0..1 [image, channel, height, width].
        classes: Target class ids.
        rng: Draws the order in which they are shown, on which only the snapshots depend.
        settings: How many are handed in.

    Returns:
        `settings.restarts` images of each class.

    Raises:
        ValueError: If there is no class, there are fewer images than restarts or the probabilities are not finite.
    """
    _require(classes)
    if len(public_images) < settings.restarts:
        raise ValueError(f"public_images must hold at least {settings.restarts} images, got {len(public_images)}")
    shuffled = public_images[torch.randperm(len(public_images), generator=rng).to(public_images.device)]
    answers = torch.cat([_asked(released, some) for some in shuffled.split(settings.batch_size)])

    def picked(places: Tensor, _: Tensor) -> Tensor:
        return shuffled[places.to(shuffled.device)]

    return _surest(
        answers[:, list(classes)],
        picked,
        classes,
        settings.restarts,
        own_queries=0,
        shared_queries=len(public_images),
    )


def _require(classes: Sequence[int]) -> None:
    if not classes:
        raise ValueError("classes must name at least one class")


def _asked(released: Images, images: Tensor) -> Tensor:
    """What the target gives out, float64 [image, class]."""
    with torch.no_grad():
        answers = released(images).double()
    if not torch.isfinite(answers).all():
        raise ValueError("the released probabilities hold values that are not finite")
    return answers


def _surest(
    confidence: Tensor,
    picked: Callable[[Tensor, Tensor], Tensor],
    classes: Sequence[int],
    restarts: int,
    *,
    own_queries: int,
    shared_queries: int,
) -> Inverted:
    """Hand in the best candidates.

    Args:
        confidence: The target's, in the order of the queries [candidate, class].
        picked: Places of candidates [image] and the classes that they stand for [image], to images.
        classes: Class ids [class].
        restarts: How many for each class.
        own_queries: Images shown for each class.
        shared_queries: Images shown for all together.
    """
    wanted = torch.tensor(list(classes)).repeat_interleave(restarts)

    def of_first(n: int) -> tuple[Tensor, Tensor]:
        ranked = confidence[:n].sort(dim=0, descending=True, stable=True)
        images = picked(ranked.indices[:restarts].T.flatten(), wanted)
        return images.unflatten(0, (len(classes), restarts)), ranked.values[:restarts].T

    candidates = len(confidence)
    looks = np.unique(np.geomspace(restarts, candidates, _SNAPSHOTS + 1).round().astype(int))
    images, best = of_first(candidates)
    return Inverted(
        images=images,
        confidence=best.contiguous(),
        queries=torch.full((len(classes),), own_queries, dtype=torch.int64),
        shared_queries=shared_queries,
        snapshots=tuple(Snapshot(int(n), of_first(int(n))[0]) for n in looks if n < candidates),
    )
