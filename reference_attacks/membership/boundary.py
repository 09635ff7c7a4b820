"""The boundary distance: how far must an image be changed until its label changes?

Choquette-Choo, Tramer, Carlini and Papernot (2021), "Label-Only Membership Inference Attacks", arXiv:2007.14321, and
Li and Zhang (2021), "Membership Leakage in Label-Only Exposures", arXiv:2007.15528. The search for the boundary is
HopSkipJump: Chen, Jordan and Wainwright (2020), arXiv:1904.02144.

What it claims
    Training pushes the decision boundary away from the records trained on, so a member is further from it. Labels
    alone are enough to measure that distance. It also grows with how easy a record is, so low-FPR power is small.

What the attacker needs
    Access `labels`, some 2,500 queries per record at our defaults, and the true label. No shadow models for the score.

Algorithm
    1. A misclassified record has distance 0. For another draw random images until one is given another label, and
       halve the segment from x to it until its end is within 0.001 of its length of the boundary.
    2. In iteration t, from 0, at the boundary point x_t: n = 100 sqrt(t + 1) random unit directions of length delta,
       clipped into the image cube; delta is 0.1 at t = 0, then 0.01 |x_t - x|. phi is +1 where the label changes and
       -1 elsewhere.
    3. The estimated normal of the boundary is the mean of (phi - mean phi) u; where all phi are equal, of phi u.
    4. Step along it by |x_t - x| / sqrt(t + 1), halved until the label is changed there.
    5. Halve the segment from x to that point down to 0.01 / sqrt(pixels) of its length.
    6. The score is the L2 distance in units of pixels in 0..1.

What we changed
    Reduced: 10 iterations instead of 50 and at most 500 directions instead of 10,000, so distances are upper bounds of
    a coarser search. The smallest distance of all iterations counts, not the last.
    A class that random noise is assigned to has no random start: then the nearest of the given `starts` with another
    label is taken. Without one the record is `censored` and its distance the diagonal of the image cube, above all
    others: give starts, or such records decide the low-FPR end. A step is halved at most 25 times, then not taken.
    Every record has a random stream of its own, so its result does not depend on how many records are asked about.

Published number and ours
    None verified. Ours, against the true distance to a plane, images near the centre of the cube, one to six planes: 10
    iterations find 1.02 to 1.04 times the distance at 8x8 pixels, 1.25 to 1.30 at 28x28, 1.78 to 1.88 at 32x32x3; the
    authors' 50 with 10,000 directions 1.11 to 1.12 at 32x32x3, for ten times the queries. The order of the records was
    right throughout; on a plane that is the easy case. So at 10 iterations read it as an order, not as a distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reference_attacks.membership._images import ask, checked_images, checked_labels, require_positive
from reference_attacks.membership._inputs import BoolArray, FloatArray

__all__ = ["BoundaryDistances", "HopSkipJump", "probe"]

_FIRST_TOLERANCE = 1e-3
_MOST_HALVINGS = 25


@dataclass(frozen=True, slots=True)
class HopSkipJump:
    """How long the boundary is followed.

    Attributes:
        iterations: Steps along the boundary; the authors' default is 50.
        first_directions: Random directions in the first iteration.
        most_directions: Most random directions in any iteration; the authors' default is 10,000.
        tries: Random images tried as a start.
        batch_size: Most images in one question.

    Raises:
        ValueError: If a value is out of range.
    """

    iterations: int = 10
    first_directions: int = 100
    most_directions: int = 500
    tries: int = 100
    batch_size: int = 512

    def __post_init__(self) -> None:
        for name in ("iterations", "tries"):
            require_positive(name, getattr(self, name), least=0)
        for name in ("first_directions", "most_directions", "batch_size"):
            require_positive(name, getattr(self, name))


@dataclass(frozen=True, slots=True, eq=False)
class BoundaryDistances:
    """What was found and what it cost.

    Attributes:
        distance: The scores: L2 distances to the boundary, 0 for a misclassified record [record].
        queries: Labels asked for, those of the `starts` not counted, int64 [record].
        censored: Whether no image with another label was found, so that the distance is only the largest possible
            one [record].
    """

    distance: FloatArray
    queries: npt.NDArray[np.int64]
    censored: BoolArray


class _Search:
    """The records, the model, and how often it was asked about each."""

    def __init__(self, predict: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, batch_size: int) -> None:
        self.images, self.labels = images, labels
        self.queries = torch.zeros_like(labels)
        self._predict, self._batch_size = predict, batch_size

    def predicted(self, images: Tensor) -> Tensor:
        return ask(self._predict, images, batch_size=self._batch_size)

    def changed(self, images: Tensor, records: Tensor) -> Tensor:
        """Whether images, each a variant of the record beside it, have lost that record's label [image]."""
        self.queries.index_add_(0, records, torch.ones_like(records))
        lost: Tensor = self.predicted(images) != self.labels[records]
        return lost

    def pull_back(self, points: Tensor, records: Tensor, tolerance: float) -> Tensor:
        """Halve the segments from the records to changed points until the boundary is known to the tolerance."""
        origin = self.images[records]
        low = torch.zeros((len(records), 1, 1, 1), dtype=points.dtype, device=points.device)
        high = torch.ones_like(low)
        for _ in range(math.ceil(-math.log2(tolerance))):
            middle = (low + high) / 2
            changed = self.changed(torch.lerp(origin, points, middle), records).view(-1, 1, 1, 1)
            low, high = torch.where(changed, low, middle), torch.where(changed, middle, high)
        return torch.lerp(origin, points, high)

    def normal(self, point: Tensor, record: int, n: int, delta: float, generator: torch.Generator) -> Tensor:
        """The estimated unit normal of the boundary, towards the changed side [channel, height, width]."""
        drawn = torch.randn((n, *point.shape), generator=generator, device=generator.device, dtype=point.dtype)
        unit = drawn.to(point.device) / drawn.flatten(1).norm(dim=1).view(-1, 1, 1, 1).to(point.device)
        images = (point + delta * unit).clamp(0.0, 1.0)
        unit = (images - point) / delta
        records = torch.full((n,), record, device=point.device)
        phi = self.changed(images, records).to(point.dtype) * 2.0 - 1.0
        if bool((phi != phi[0]).any()):
            phi = phi - phi.mean()
        mean: Tensor = (phi.view(-1, 1, 1, 1) * unit).mean(dim=0)
        return mean / mean.square().sum().sqrt().clamp_min(torch.finfo(mean.dtype).tiny)

    def step(self, points: Tensor, normals: Tensor, records: Tensor, lengths: Tensor) -> Tensor:
        """Move points along their normals, each by half as much again and again until the label is changed there."""
        moved, waiting = points.clone(), torch.arange(len(records), device=points.device)
        for halvings in range(_MOST_HALVINGS):
            length = lengths[waiting].view(-1, 1, 1, 1) * 0.5**halvings
            tried = (points[waiting] + length.to(points.dtype) * normals[waiting]).clamp(0.0, 1.0)
            changed = self.changed(tried, records[waiting])
            moved[waiting[changed]] = tried[changed]
            waiting = waiting[~changed]
            if not len(waiting):
                break
        return moved


def probe(
    *,
    predict: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    settings: HopSkipJump = HopSkipJump(),
    generator: torch.Generator,
    starts: Tensor | None = None,
) -> BoundaryDistances:
    """Measure how far every record is from the decision boundary, asking for labels only.

    Args:
        predict: Maps images in 0..1 [image, channel, height, width] to predicted labels [image].
        inputs: Images in 0..1 [record, channel, height, width].
        labels: True labels [record].
        settings: How long the boundary is followed.
        generator: Seeds one random stream per record, in their order.
        starts: Images in 0..1 to start from where random ones do not do, best of all classes, as from a population
            [image, channel, height, width]. Their labels are asked for once.

    Returns:
        Distances [record], larger = more likely a member, and their cost.

    Raises:
        ValueError: If the inputs, labels or starts are not as described.
    """
    images = checked_images("inputs", inputs)
    search = _Search(predict, images, checked_labels(labels, images), settings.batch_size)
    streams = _streams(len(images), generator)
    everyone = torch.arange(len(images), device=images.device)
    distance = torch.zeros(len(images), dtype=torch.float64, device=images.device)

    waiting = everyone[~search.changed(images, everyone)]
    points, found = _first_points(search, waiting, streams, starts, settings)
    censored = waiting[~found]
    distance[censored] = math.sqrt(images[0].numel())
    records, points = waiting[found], points[found]
    if len(records):
        points = search.pull_back(points, records, _FIRST_TOLERANCE)
        distance[records] = _follow(search, points, records, streams, settings)
    return BoundaryDistances(
        distance=np.asarray(distance.cpu().numpy(), dtype=np.float64),
        queries=np.asarray(search.queries.cpu().numpy(), dtype=np.int64),
        censored=torch.isin(everyone, censored).cpu().numpy(),
    )


def _streams(n: int, generator: torch.Generator) -> list[torch.Generator]:
    seeds = torch.randint(2**62, (n,), generator=generator, device=generator.device)
    return [torch.Generator(device=generator.device).manual_seed(seed) for seed in seeds.tolist()]


def _first_points(
    search: _Search, records: Tensor, streams: list[torch.Generator], starts: Tensor | None, settings: HopSkipJump
) -> tuple[Tensor, Tensor]:
    """A changed image for each record [record, channel, height, width], and whether there is one [record]."""
    points = search.images[records].clone()
    found = torch.zeros(len(records), dtype=torch.bool, device=records.device)
    for _ in range(settings.tries):
        missing = torch.nonzero(~found).squeeze(1)
        if not len(missing):
            return points, found
        drawn = [
            torch.rand(points.shape[1:], generator=stream, device=stream.device, dtype=points.dtype)
            for stream in (streams[record] for record in records[missing].tolist())
        ]
        tried = torch.stack(drawn).to(points.device)
        changed = search.changed(tried, records[missing])
        points[missing[changed]], found[missing[changed]] = tried[changed], True
    if starts is not None:
        _borrow_starts(search, records, points, found, starts)
    return points, found


def _borrow_starts(search: _Search, records: Tensor, points: Tensor, found: Tensor, starts: Tensor) -> None:
    """Fill the missing points with the nearest start of another label, where there is one."""
    given = checked_images("starts", starts).to(points)
    if given.shape[1:] != points.shape[1:]:
        raise ValueError(f"starts {tuple(given.shape[1:])} are not of the shape of inputs {tuple(points.shape[1:])}")
    predicted = search.predicted(given)
    for missing in torch.nonzero(~found).squeeze(1).tolist():
        usable = given[predicted != search.labels[records[missing]]]
        if len(usable):
            nearest = (usable - points[missing]).flatten(1).norm(dim=1).argmin()
            points[missing], found[missing] = usable[nearest], True


def _follow(
    search: _Search, points: Tensor, records: Tensor, streams: list[torch.Generator], settings: HopSkipJump
) -> Tensor:
    """Follow the boundary from the points towards the records; the smallest distance met, float64 [record]."""
    tolerance = 0.01 / math.sqrt(points[0].numel())
    now = _distances(search, points, records)
    smallest = now
    for t in range(settings.iterations):
        n = min(int(settings.first_directions * math.sqrt(t + 1)), settings.most_directions)
        normals = torch.zeros_like(points)
        for index, (record, length) in enumerate(zip(records.tolist(), now.tolist(), strict=True)):
            delta = max(0.1 if t == 0 else 0.01 * length, torch.finfo(points.dtype).eps)
            normals[index] = search.normal(points[index], record, n, delta, streams[record])
        moved = search.step(points, normals, records, now / math.sqrt(t + 1))
        points = search.pull_back(moved, records, tolerance)
        now = _distances(search, points, records)
        smallest = torch.minimum(smallest, now)
    return smallest


def _distances(search: _Search, points: Tensor, records: Tensor) -> Tensor:
    differences = points.double() - search.images[records].double()
    return differences.flatten(1).square().sum(dim=1).sqrt()
