"""MIRROR with scores alone: styles are bred, and kept where they are usual.

An, Tao, Xu, Liu, Shen, Yao, Xu and Zhang (2022), "MIRROR: Model Inversion for Deep Learning Network with High
Fidelity", NDSS. Checked against the released code (njuaplusplus/mirror, commit 2730a14).

What it claims
    A genetic algorithm finds recognisable faces without gradients, for styles are clipped where they are close to
    Gaussian, as in `mirror`.

What the attacker needs
    Access `scores`: the released probabilities. A generator trained on public images, whose latents are styles w out of
    a leaky ReLU of slope .2, as a StyleGAN's.

Algorithm
    1. Draw 100,000 styles, show each to the target once, and take their spread in p-space, as `mirror` does.
    2. The 1,000 likeliest styles of a class are its population; the likeliest one, the elite, lives on unchanged.
    3. Parents are drawn in proportion to the probability. A child takes each entry from the first with chance
       p_t(first) / (p_t(first) + p_t(second)), else from the second.
    4. Each entry of a child changes with chance .1, in p-space, by uniform noise within +- .1 deviation. Then p is
       clipped to mean +- 1 deviation.
    5. Stop when the target is 95 % sure of the elite, or after 100 generations; the elite is handed in.

What we changed
    Tested for its mechanics only, on tiny generators: it is meant for a StyleGAN at full size, which is the user's.
    The released code takes the chance of step 3 from log-probabilities, which are negative, so that there the worse
    parent gives more; here the better one does. Its noise is the same for all children of a generation; here it is not.
    The elite keeps its score and is not shown again. Parents, chances and noise are drawn once for all classes.
    The released generator truncates styles (.7, 8 of 14 layers) as it makes images; here that is up to the generator.
    For generators without styles there is `genetic`.

Published number and ours
    None verified, none measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_attacks.inversion._gradient_free import looks
from reference_attacks.inversion._rows import best_first, by_rows, taken
from reference_attacks.inversion._usual_styles import Box, Usual, drawn, pictures, require_positive
from reference_attacks.inversion.material import Generator, Images, Inverted, Snapshot

__all__ = ["MirrorBlackBox", "invert"]

_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class MirrorBlackBox(Usual):
    """How styles are bred, besides `Usual`.

    Attributes:
        population: Styles of a generation.
        generations: At most.
        mutation_chance: That an entry of a child changes.
        mutation_size: Most it changes by, in standard deviations.
        enough: A class is done when the target gives its elite this probability.
        restarts: The likeliest styles of the last population are handed in, so many of each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    population: int = 1000
    generations: int = 100
    mutation_chance: float = 0.1
    mutation_size: float = 0.1
    enough: float = 0.95
    restarts: int = 1
    batch_size: int = 64

    def __post_init__(self) -> None:
        Usual.__post_init__(self)
        require_positive(self, "generations", "restarts", "batch_size")
        for name in ("mutation_chance", "enough"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if not 0.0 <= self.mutation_size < math.inf:
            raise ValueError(f"mutation_size must not be negative, got {self.mutation_size}")
        if not max(2, self.restarts) <= self.population <= self.draws:
            raise ValueError(
                "population must be at least 2, hold all restarts and not exceed draws: "
                f"got {self.population}, {self.restarts}, {self.draws}"
            )


def invert(
    *,
    released: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: MirrorBlackBox = MirrorBlackBox(),
) -> Inverted:
    """Rebuild images of each class. Classes share all draws and nothing else.

    Args:
        released: Images to probabilities [image, class].
        classes: Target class ids.
        generator: Trained on public images, not conditional; its latents are styles w.
        rng: Draws styles, parents and changes, on the CPU.
        settings: How styles are bred.

    Returns:
        `settings.restarts` images of each class, the likeliest first, and what fewer generations would have given.

    Raises:
        ValueError: If there is no class or the generator is conditional.
    """

    @torch.no_grad()
    def seen(images: Tensor) -> Tensor:
        return released(images).double()

    def fitness_of(some: Tensor, of: Tensor) -> Tensor:
        images = pictures(generator, some, settings.batch_size)
        return seen(images).gather(1, of[:, None]).squeeze(1)

    def best() -> Tensor:
        found = taken(population, best_first(fitness, settings.restarts))
        images = pictures(generator, found.flatten(0, 1), settings.batch_size)
        return images.view(*found.shape[:2], *images.shape[1:])

    styles, likely, targets = drawn(seen, classes, generator, rng, count=settings.draws, batch_size=settings.batch_size)
    box = Box.of(styles, settings)

    first = best_first(likely, settings.population)
    population, fitness = styles[first], likely.gather(1, first)
    queries = torch.zeros(len(targets), dtype=torch.int64)
    moments, snapshots = looks(settings.generations), []
    for generation in range(1, settings.generations + 1):
        open_ = (fitness.amax(dim=1) < settings.enough).nonzero().squeeze(1)
        if not len(open_):
            break
        children = _children(population[open_], fitness[open_], box, settings, rng)
        of = targets[open_].repeat_interleave(children.shape[1])
        theirs = by_rows(fitness_of, children.flatten(0, 1), of, batch_size=settings.batch_size)
        elite = best_first(fitness[open_], 1)
        population[open_] = torch.cat([taken(population[open_], elite), children], dim=1)
        fitness[open_] = torch.cat([fitness[open_].gather(1, elite), theirs.view(children.shape[:2])], dim=1)
        queries[open_.cpu()] += children.shape[1]
        if generation in moments:
            snapshots.append(Snapshot(int(queries.max()), best()))
    sure = fitness.gather(1, best_first(fitness, settings.restarts))
    return Inverted(best(), sure, queries, shared_queries=settings.draws, snapshots=tuple(snapshots))


def _children(population: Tensor, fitness: Tensor, box: Box, settings: MirrorBlackBox, rng: torch.Generator) -> Tensor:
    """All of the next generation but the elite [class, child, latent]."""
    shape = (population.shape[1] - 1, population.shape[2])
    pick = torch.rand(2, shape[0], generator=rng, dtype=torch.float64).to(population.device)
    mix, change, noise = torch.rand(3, *shape, generator=rng).to(population)
    chance = fitness.clamp_min(_TINY).cumsum(dim=1)
    heights = (pick.flatten() * chance[:, -1:]).contiguous()
    parents = torch.searchsorted(chance, heights).clamp_max(population.shape[1] - 1)
    first, second = parents.chunk(2, dim=1)
    ahead = fitness.clamp_min(_TINY).gather(1, first), fitness.clamp_min(_TINY).gather(1, second)
    from_first = mix < (ahead[0] / (ahead[0] + ahead[1]))[:, :, None]
    mixed = torch.where(from_first, taken(population, first), taken(population, second))
    shift = settings.mutation_size * box.deviation * (2.0 * noise - 1.0) * (change < settings.mutation_chance)
    return box.clipped(box.shifted(mixed, shift))
