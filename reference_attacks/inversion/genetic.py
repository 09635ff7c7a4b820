"""Genetic search (MIRROR-style, reduced): breed latents that a target gives a high probability.

After the black-box search of An, Tao, Xu, Liu, Shen, Yao, Xu and Zhang (2022), "MIRROR: Model Inversion for Deep
Learning Network with High Fidelity", NDSS, whose steps were read in the released code (njuaplusplus/mirror, commit
2730a14). It is not MIRROR: that breeds the styles of a StyleGAN, as `mirror_black_box` does.

What it claims
    With probabilities but no gradients, mixing and changing the draws that a target likes best finds images that it
    likes better than any draw.

What the attacker needs
    Access `scores`: released probabilities, and a generator trained on public images.

Algorithm
    1. Draw 10,000 latents, show each to the target, and take mean and standard deviation of each entry.
    2. The 200 of highest p_t are the population of class t; its best one, the elite, lives on unchanged.
    3. Parents of the other 199 are drawn in proportion to p_t. A child takes each entry from its first parent with
       chance p_t(first) / (p_t(first) + p_t(second)), else from the second.
    4. Each entry of a child changes with chance .1, by uniform noise within +- .1 deviation; then all are clipped to
       mean +- 1 deviation.
    5. Stop when p_t of the elite is .95, or after 100 generations. The elite is handed in.

What we changed
    Latents z are bred as they are; MIRROR breeds styles w, undoing a leaky ReLU before step 4. Any generator will do,
    also one that is told the class: then each class has draws of its own.
    MIRROR draws 100,000 and its scripts keep 1,000.
    Its code takes the chance of step 3 from log-probabilities: as they are negative, the worse parent gives more. Its
    noise is the same for all children of a generation; here it is not. It shows the elite again in every generation.
    Restarts, one there, breed populations of their own: the best draws are dealt out to them in turn.

Published number and ours
    None verified. Ours, once, on the network and generator of `brep_mi`: the best of 10,000 draws had a mean p_t of
    .9995 and a network trained on other records named all ten right; 100 generations made it .9997. Where draws do so
    well there is nothing left to breed: compare with `baselines.best_of_draws`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_attacks.inversion._gradient_free import handed_in, looks, rows_of_classes, streams
from reference_attacks.inversion._rows import best_first, by_rows, taken, wanted
from reference_attacks.inversion.material import Generator, Images, Inverted, Snapshot

__all__ = ["Genetic", "invert"]

_TINY = 1e-30

_Fitness = Callable[[Tensor, Tensor], Tensor]
"""Latents [image, latent] and the classes they are for, int64 [image], to probabilities, float64 [image]."""


@dataclass(frozen=True, slots=True)
class Genetic:
    """How latents are bred.

    Attributes:
        draws: Latents drawn and shown to begin with; 100,000 in MIRROR.
        population: Latents of a generation; 1,000 in MIRROR's scripts.
        generations: At most.
        mutation_chance: That an entry of a child changes.
        mutation_size: Most it changes by, in standard deviations.
        deviations: Standard deviations by which an entry of a child may differ from its mean.
        enough: A restart is done when the target gives its elite this probability.
        restarts: Populations of each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    draws: int = 10_000
    population: int = 200
    generations: int = 100
    mutation_chance: float = 0.1
    mutation_size: float = 0.1
    deviations: float = 1.0
    enough: float = 0.95
    restarts: int = 1
    batch_size: int = 256

    def __post_init__(self) -> None:
        for name in ("generations", "restarts", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.population < 2:
            raise ValueError(f"population must be at least 2, got {self.population}")
        if self.draws < self.population * self.restarts:
            raise ValueError(
                f"draws must fill {self.restarts} populations of {self.population}, got {self.draws}: draw more"
            )
        for name in ("mutation_chance", "enough"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        for name in ("mutation_size", "deviations"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


def invert(
    *,
    released: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: Genetic = Genetic(),
) -> Inverted:
    """Breed latents for each class. Classes share the first draws, unless the generator is told them, and nothing else.

    Args:
        released: Images to the probabilities that the target gives out [image, class].
        classes: Target class ids.
        generator: Trained on public images.
        rng: Draws latents, parents and changes, on the CPU.
        settings: How latents are bred.

    Returns:
        `settings.restarts` images of each class, the likeliest first, and what fewer generations would have given. The
        queries of a snapshot are the most that a class can have had by then, shared ones aside; the first is of the
        draws alone.

    Raises:
        ValueError: If there is no class or the probabilities are not finite.
    """
    own = streams(classes, 1 + settings.restarts, rng)
    fitness = _fitness(released, generator, settings.batch_size)
    first = _first_draws(released, generator, classes, [row[0] for row in own], rng, settings)
    herds = _Herds.of(first, classes, [stream for row in own for stream in row[1:]], settings)
    before, each_time = int(first.queries.max()), settings.restarts * (settings.population - 1)
    queries, moments = first.queries.clone(), looks(settings.generations)
    snapshots = [Snapshot(before, herds.elites(generator)[0])]
    for generation in range(1, settings.generations + 1):
        unsure = (herds.fitness[:, 0] < settings.enough).nonzero().squeeze(1)
        if not len(unsure):
            break
        herds.breed(unsure, fitness)
        queries += (settings.population - 1) * rows_of_classes(unsure, settings.restarts, len(classes))
        if generation in moments:
            snapshots.append(Snapshot(before + generation * each_time, herds.elites(generator)[0]))
    return Inverted(*herds.elites(generator), queries, first.shared_queries, tuple(snapshots))


def _fitness(released: Images, generator: Generator, batch_size: int) -> _Fitness:
    @torch.no_grad()
    def of_some(latents: Tensor, told: Tensor) -> Tensor:
        answers = released(generator.images(latents, told)).double()
        return _finite(answers).gather(1, told[:, None]).squeeze(1)

    return lambda latents, told: by_rows(of_some, latents, told, batch_size=batch_size)


def _finite(answers: Tensor) -> Tensor:
    if not bool(torch.isfinite(answers).all()):
        raise ValueError("the released probabilities hold values that are not finite")
    return answers


@dataclass(frozen=True, slots=True, eq=False)
class _Draws:
    """What was drawn to begin with.

    Attributes:
        latents: [class, draw, latent].
        fitness: The probability of the class, float64 [class, draw].
        queries: Images of each class shown, int64 [class].
        shared_queries: Images shown for all classes together.
    """

    latents: Tensor
    fitness: Tensor
    queries: Tensor
    shared_queries: int


def _first_draws(
    released: Images,
    generator: Generator,
    classes: Sequence[int],
    own: Sequence[torch.Generator],
    rng: torch.Generator,
    settings: Genetic,
) -> _Draws:
    if generator.conditional:
        fitness = _fitness(released, generator, settings.batch_size)
        latents = torch.stack([generator.draw(settings.draws, stream) for stream in own])
        told = wanted(classes, latents.device)[:, None].expand(-1, settings.draws)
        sure = torch.stack([fitness(some, each) for some, each in zip(latents, told, strict=True)])
        return _Draws(latents, sure, torch.full((len(classes),), settings.draws), 0)

    @torch.no_grad()
    def of_classes(some: Tensor) -> Tensor:
        return _finite(released(generator.images(some)).double())[:, list(classes)]

    drawn = generator.draw(settings.draws, rng)
    sure = by_rows(of_classes, drawn, batch_size=settings.batch_size).T
    none = torch.zeros(len(classes), dtype=torch.int64)
    return _Draws(drawn.expand(len(classes), -1, -1), sure, none, settings.draws)


@dataclass(slots=True, eq=False)
class _Herds:
    """All populations, best first: the restarts of the first class, then of the second.

    Attributes:
        latents: [herd, individual, latent].
        fitness: float64 [herd, individual].
        low: Least entries of a child [herd, 1, latent].
        high: Largest.
        deviation: Of the entries of the draws [herd, 1, latent].
        targets: int64 [herd].
        streams: Where parents and changes come from [herd].
        settings: How latents are bred.
    """

    latents: Tensor
    fitness: Tensor
    low: Tensor
    high: Tensor
    deviation: Tensor
    targets: Tensor
    streams: Sequence[torch.Generator]
    settings: Genetic

    @classmethod
    def of(cls, draws: _Draws, classes: Sequence[int], own: Sequence[torch.Generator], settings: Genetic) -> _Herds:
        """Deal the best draws out: the r-th herd of R gets those of rank r, r + R, r + 2 R, ..."""
        restarts = settings.restarts
        ranks = best_first(draws.fitness, settings.population * restarts)
        dealt = ranks.unflatten(1, (-1, restarts)).mT.flatten(1)
        deviation, mean = torch.std_mean(draws.latents, dim=1, correction=0, keepdim=True)
        deviation, mean = (each.repeat_interleave(restarts, dim=0) for each in (deviation, mean))
        return cls(
            latents=taken(draws.latents, dealt).unflatten(1, (restarts, -1)).flatten(0, 1),
            fitness=draws.fitness.gather(1, dealt).unflatten(1, (restarts, -1)).flatten(0, 1),
            low=mean - settings.deviations * deviation,
            high=mean + settings.deviations * deviation,
            deviation=deviation,
            targets=wanted(classes, draws.latents.device).repeat_interleave(restarts),
            streams=own,
            settings=settings,
        )

    def breed(self, rows: Tensor, fitness: _Fitness) -> None:
        """Replace all of some herds but the elites by their children, and put the best first."""
        children = torch.stack([self._children(row) for row in rows.tolist()])
        children = children.clamp(self.low[rows], self.high[rows])
        told = self.targets[rows].repeat_interleave(children.shape[1])
        theirs = fitness(children.flatten(0, 1), told).view(len(rows), -1)
        everyone = torch.cat([self.latents[rows, :1], children], dim=1)
        fit = torch.cat([self.fitness[rows, :1], theirs], dim=1)
        order = best_first(fit, fit.shape[1])
        self.latents[rows], self.fitness[rows] = taken(everyone, order), fit.gather(1, order)

    def _children(self, row: int) -> Tensor:
        """Children of one herd, not yet clipped [child, latent]; chance is drawn on the CPU."""
        latents, stream = self.latents[row], self.streams[row]
        count, size = len(latents) - 1, latents.shape[1]
        chance = self.fitness[row].clamp_min(_TINY)
        parents = torch.multinomial(chance.cpu(), 2 * count, replacement=True, generator=stream).view(2, count)
        mix, change, noise = torch.rand(3, count, size, generator=stream).to(latents)
        first, second = parents.to(latents.device)
        from_first = mix < (chance[first] / (chance[first] + chance[second]))[:, None]
        children = torch.where(from_first, latents[first], latents[second])
        changed = change < self.settings.mutation_chance
        noise = self.settings.mutation_size * self.deviation[row] * (2.0 * noise - 1.0)
        return torch.where(changed, children + noise, children)

    def elites(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Images [class, restart, channel, height, width] and their probabilities [class, restart], likeliest first."""
        return handed_in(
            generator,
            self.latents[:, 0],
            self.fitness[:, 0],
            self.targets,
            restarts=self.settings.restarts,
            batch_size=self.settings.batch_size,
        )
