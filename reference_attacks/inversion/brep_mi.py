"""BREP-MI: walk away from where labels change, into the middle of a class.

Kahla, Chen, Just and Jia (2022), "Label-Only Model Inversion Attacks via Boundary Repulsion", CVPR. Checked against the
released code (m-kahla/Label-Only-Model-Inversion-Attacks-via-Boundary-Repulsion, commit 8a2e200), whose steps and
settings these are.

What it claims
    Far from every boundary of its class a generated image is typical of the class. Labels suffice to get there: of
    points on a sphere around the current one, those outside the class say where not to go.

What the attacker needs
    Access `labels`, tens of thousands of queries for a class, and a generator trained on public images.

Algorithm
    1. Draw latents, clamped to -1.5..1.5, until one is labelled t; the radius R is 2.
    2. Show 32 random points z + R u at distance R. Where inside minus outside exceeds 24, that is with at least 29
       inside, R grows by 1.3.
    3. The move is min(R / 3, 3), with R before it grew, times the mean over all 32 points of -u, or 0 for a point
       inside. In a round in which R grew the released code divides it by 1.3, and so do we.
    4. Clamp; take the move if the label there is t. Otherwise stay, and draw anew.
    5. Stop after 1,000 moves without growth. The point to which the last move with growth led is handed in.

What we changed
    A walk ends after `max_iterations` rounds, too: refused moves do not count towards step 5, so the released code need
    not end. A walk whose radius never grew hands in where it is; the released code counts it as failed.
    Starts are looked for in at most `max_draws` draws, the same for all classes, unless the generator is told the
    class. A restart without a start hands in the last draw, labelled otherwise; such restarts come last, and a class
    without any has no queries of its own, or `max_draws` where the generator is told the class.
    Restarts, one in the released code, are ordered by the radius reached. All walks take their rounds together.

Published number and ours
    None verified. Ours, once: scikit-learn's digits, a small network trained on half of them, a linear generator (30
    principal components of the other half, of the same digits). Each of ten classes took 35,000 to 58,000 queries, that
    is 1,070 to 1,750 rounds; a network trained on the other half named 4 of 10 images right after the first round, 7
    after 330 queries a class, 10 from 1,056 on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from reference_attacks.inversion._gradient_free import handed_in, looks, rows_of_classes, streams
from reference_attacks.inversion._rows import by_rows, wanted
from reference_attacks.inversion.material import Generator, Images, Inverted, Snapshot

__all__ = ["BrepMI", "invert"]

_STEP_OF_RADIUS = 1.0 / 3.0

_Ask = Callable[[Tensor, Tensor], Tensor]
"""Latents [image, latent] and the classes that they are for, int64 [image], to the labels of their images [image]."""


@dataclass(frozen=True, slots=True)
class BrepMI:
    """How a class is explored.

    Attributes:
        directions: Points on the sphere.
        first_radius: Of the sphere.
        growth: Factor by which the radius grows.
        majority: It does where the points inside minus those outside exceed this share of all.
        patience: Moves without growth after which a walk ends.
        longest_step: Most that the factor of a move may be; otherwise a third of the radius.
        bound: Latents stay in -bound..bound.
        max_iterations: Most rounds of a walk; ours.
        restarts: Walks for each class.
        draw_batch: Latents drawn at once in search of a start.
        max_draws: Most latents drawn in search of starts; ours.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    directions: int = 32
    first_radius: float = 2.0
    growth: float = 1.3
    majority: float = 0.75
    patience: int = 1000
    longest_step: float = 3.0
    bound: float = 1.5
    max_iterations: int = 10_000
    restarts: int = 1
    draw_batch: int = 256
    max_draws: int = 25_600
    batch_size: int = 1024

    def __post_init__(self) -> None:
        for name in ("directions", "patience", "max_iterations", "restarts", "draw_batch", "max_draws", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("first_radius", "longest_step", "bound"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 1.0 < self.growth < math.inf:
            raise ValueError(f"growth must be above 1, got {self.growth}")
        if not -1.0 <= self.majority < 1.0:
            raise ValueError(f"majority must lie in -1..1, got {self.majority}")


def invert(
    *,
    label_of: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: BrepMI = BrepMI(),
) -> Inverted:
    """Walk into each class. Classes share the draws in search of a start, and nothing else.

    Args:
        label_of: Images to the class that the target names, int64 [image].
        classes: Target class ids.
        generator: Trained on public images; its latents are about standard normal.
        rng: Draws latents and directions, on the CPU.
        settings: How a class is explored.

    Returns:
        `settings.restarts` images of each class, that of the largest radius first, those without a start last, and what
        fewer rounds would have given. The queries of a snapshot are the most that a class can have had by then, shared
        ones aside.

    Raises:
        ValueError: If there is no class or `label_of` does not give one label for each image.
    """
    ask = _asking(label_of, generator, settings.batch_size)
    own = streams(classes, 1 + settings.restarts, rng)
    starts = _starts(ask, generator, classes, [row[0] for row in own], rng, settings)
    walks = _Walks.begin(starts, classes, [stream for row in own for stream in row[1:]], settings)
    before, each_round = int(starts.queries.max()), settings.restarts * (settings.directions + 1)
    moments, snapshots = looks(settings.max_iterations), []
    for iteration in range(1, settings.max_iterations + 1):
        if not len(walks.active):
            break
        walks.go_on(ask)
        if iteration in moments:
            snapshots.append(Snapshot(before + iteration * each_round, walks.images(generator)))
    return Inverted(walks.images(generator), None, walks.queries, starts.shared_queries, tuple(snapshots))


def _asking(label_of: Images, generator: Generator, batch_size: int) -> _Ask:
    @torch.no_grad()
    def labels(latents: Tensor, told: Tensor) -> Tensor:
        given = label_of(generator.images(latents, told))
        if given.shape != told.shape:
            raise ValueError(f"label_of must give one label for each of {len(told)} images, got {tuple(given.shape)}")
        return given.to(latents.device)

    return lambda latents, told: by_rows(labels, latents, told, batch_size=batch_size)


# --- where to start --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Starts:
    """The first latents that were labelled as wanted.

    Attributes:
        latents: Last draws where there was none [class, restart, latent].
        found: Whether there was one [class, restart].
        queries: Images of each class shown, int64 [class].
        shared_queries: Images shown for all classes together.
    """

    latents: Tensor
    found: Tensor
    queries: Tensor
    shared_queries: int


def _starts(
    ask: _Ask,
    generator: Generator,
    classes: Sequence[int],
    own: Sequence[torch.Generator],
    rng: torch.Generator,
    settings: BrepMI,
) -> _Starts:
    if not generator.conditional:
        latents, found, shown = _labelled(ask, generator, classes, rng, settings)
        return _Starts(latents, found, torch.zeros(len(classes), dtype=torch.int64), shown)
    each = [_labelled(ask, generator, [c], stream, settings) for c, stream in zip(classes, own, strict=True)]
    queries = torch.tensor([shown for *_, shown in each])
    return _Starts(torch.cat([one[0] for one in each]), torch.cat([one[1] for one in each]), queries, 0)


def _labelled(
    ask: _Ask, generator: Generator, classes: Sequence[int], rng: torch.Generator, settings: BrepMI
) -> tuple[Tensor, Tensor, int]:
    """Draw until each class has its starts: latents [class, restart, latent], whether found, how many were shown."""
    hits: list[list[Tensor]] = [[] for _ in classes]
    shown, last = 0, torch.empty(0)
    while shown < settings.max_draws and min(map(len, hits)) < settings.restarts:
        drawn = generator.draw(min(settings.draw_batch, settings.max_draws - shown), rng)
        drawn = drawn.clamp(-settings.bound, settings.bound)
        labels = ask(drawn, torch.full((len(drawn),), classes[0], device=drawn.device))
        for c, mine in zip(classes, hits, strict=True):
            mine.extend(drawn[labels == c][: settings.restarts - len(mine)])
        shown, last = shown + len(drawn), drawn[-1]
    latents = [torch.stack([*mine, *[last] * (settings.restarts - len(mine))]) for mine in hits]
    found = [[restart < len(mine) for restart in range(settings.restarts)] for mine in hits]
    return torch.stack(latents), torch.tensor(found, device=last.device), shown


# --- the walks -------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Walks:
    """All walks, a row each: restarts of the first class, then of the second.

    Attributes:
        targets: Class to stay in, int64 [walk].
        streams: Where the directions come from [walk].
        points: Where each is [walk, latent].
        kept: Where the last move with growth led, or where it is if there was none [walk, latent].
        radius: 0 for a walk that has no start [walk].
        has_grown: Whether `kept` is such a point [walk].
        idle: Moves since the radius grew [walk].
        active: Rows of the walks that go on.
        queries: Images of each class shown, int64 [class].
        settings: How a class is explored.
    """

    targets: Tensor
    streams: Sequence[torch.Generator]
    points: Tensor
    kept: Tensor
    radius: Tensor
    has_grown: Tensor
    idle: Tensor
    active: Tensor
    queries: Tensor
    settings: BrepMI

    @classmethod
    def begin(cls, starts: _Starts, classes: Sequence[int], own: Sequence[torch.Generator], settings: BrepMI) -> _Walks:
        points, found = starts.latents.flatten(0, 1), starts.found.flatten()
        return cls(
            targets=wanted(classes, points.device).repeat_interleave(settings.restarts),
            streams=own,
            points=points,
            kept=points.clone(),
            radius=torch.where(found, settings.first_radius, 0.0).to(points.dtype),
            has_grown=torch.zeros_like(found),
            idle=torch.zeros_like(found, dtype=torch.int64),
            active=found.nonzero().squeeze(1),
            queries=starts.queries.clone(),
            settings=settings,
        )

    def go_on(self, ask: _Ask) -> None:
        """One round of every walk that goes on."""
        rows, settings = self.active, self.settings
        targets, points, radius = self.targets[rows], self.points[rows], self.radius[rows]
        units = torch.stack([_units(settings.directions, points, self.streams[row]) for row in rows.tolist()])
        around = points[:, None] + radius[:, None, None] * units
        told = targets.repeat_interleave(settings.directions)
        inside = (ask(around.flatten(0, 1), told) == told).view(len(rows), -1)
        grew = (2 * inside.sum(dim=1) - settings.directions) > settings.majority * settings.directions

        step = (radius * _STEP_OF_RADIUS).clamp_max(settings.longest_step)
        step = torch.where(grew, step / settings.growth, step)
        away = -(units * ~inside[:, :, None]).mean(dim=1)
        tried = (points + step[:, None] * away).clamp(-settings.bound, settings.bound)
        moved = ask(tried, targets) == targets

        self._note(rows, tried, grew, moved)
        self.queries += (settings.directions + 1) * rows_of_classes(rows, settings.restarts, len(self.queries))
        self.active = rows[self.idle[rows] < settings.patience]

    def _note(self, rows: Tensor, tried: Tensor, grew: Tensor, moved: Tensor) -> None:
        self.points[rows[moved]] = tried[moved]
        self.radius[rows[grew]] *= self.settings.growth
        self.idle[rows] += moved & ~grew
        self.idle[rows[grew]] = 0
        self.has_grown[rows[moved & grew]] = True
        now = rows[moved & (grew | ~self.has_grown[rows])]
        self.kept[now] = self.points[now]

    def images(self, generator: Generator) -> Tensor:
        """What is handed in if nothing more is done [class, restart, channel, height, width]."""
        return handed_in(
            generator,
            self.kept,
            self.radius,
            self.targets,
            restarts=self.settings.restarts,
            batch_size=self.settings.batch_size,
        )[0]


def _units(count: int, like: Tensor, stream: torch.Generator) -> Tensor:
    """Uniform directions [direction, latent], drawn on the CPU."""
    drawn = torch.randn(count, like.shape[-1], generator=stream)
    return F.normalize(drawn, dim=1).to(like)
