"""MIFace: climb to the image that a model is surest about.

Fredrikson, Jha and Ristenpart (2015), "Model Inversion Attacks that Exploit Confidence Information and Basic
Countermeasures", CCS, doi:10.1145/2810103.2813677.

What it claims
    Ascending the confidence in a class from a blank image rebuilds what the training images of that class have in
    common. On convolutional networks the result is mostly adversarial noise at full confidence, so this is a floor: its
    failure shows nothing about stronger attacks.

What the attacker needs
    Access `weights`: logits and their gradient with respect to the image. No data; images to start from if there are
    any.

Algorithm
    1. Start from x = 0, or from a given image such as a mean of public ones.
    2. The cost is c(x) = 1 - p_t(x), for the target class t.
    3. Stop when c(x) <= stop_cost, or c has not improved on its best for `patience` steps, or after `max_iterations`.
    4. x <- x - step * gradient of c, clipped to 0..1; back to 3. The best x is the reconstruction.
    All classes run in one batch, but each stops on its own and then leaves the batch.

What we changed
    Steps have a fixed length, `step_size` as root mean square over the pixels. The gradient of 1 - p_t is p_t times
    that of -log p_t and vanishes where p_t is tiny; at a fixed length the two give the same step. So we descend
    -log p_t plus priors and judge progress by it: without priors, the path and the best image are those of the paper's
    cost. The stop test is the paper's.
    Three priors of later work, off by default: total variation, absolute differences of neighbouring pixels; L2, the
    mean square of what the first image was changed by; shifts, where each step also shows copies that are moved by
    whole pixels at random, borders repeated, and p_t and -log p_t are means over these and the image itself.
    Pixels at 0 or 1 that the step would push further take no part in its length (projected gradient).
    `aim`, 1 by default, is for whoever knows that a defense pins training images at one confidence below 1: the cost is
    (log p_t - log aim)^2, and the stop test |p_t - aim| <= stop_cost. Far below the aim the path is the same, as steps
    have a fixed length; it differs in ending there, with a last step no longer than Newton's, and in turning back from
    beyond.
    No denoising or sharpening between steps.

Published number and ours
    None verified. Ours, on four MNIST networks and a CIFAR-10 ResNet-20: with steps from .02 to .1 all ten classes of
    each reach confidence .99, from zeros and from the mean training image, the slowest in 338 steps (132 at the default
    of .05, chosen inside that range). With step = .1 * gradient of c instead, 3,000 steps from zeros leave six classes
    of one network and all ten of another below .99.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from reference_attacks.inversion._rows import wanted
from reference_attacks.inversion.material import Images, Inverted

__all__ = ["MIFace", "invert"]

_Shifts = Sequence[tuple[int, int]]
"""By how many rows and columns each copy of an image is moved."""


@dataclass(frozen=True, slots=True)
class MIFace:
    """How long and how far to climb.

    Attributes:
        step_size: Length of a step: root mean square over the pixels, which lie in 0..1.
        max_iterations: Most steps for a class.
        patience: Steps without improvement after which a class gives up.
        stop_cost: A class is done when its confidence is within this of `aim`.
        aim: The confidence to reach, up to 1; 1 is the paper's cost.
        tv_weight: Weight of the total variation; 0 is the paper's cost.
        l2_weight: Weight of the mean squared change of the first image; 0 is the paper's cost.
        max_shift: Most pixels by which a copy is moved, up or down and left or right.
        shifted_views: Moved copies that each step shows beside the image itself; 0 is the paper's cost.
        batch_size: Most images shown at once, but at least one and its copies; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range, or only one of `max_shift` and `shifted_views` is 0.
    """

    step_size: float = 0.05
    max_iterations: int = 10_000
    patience: int = 100
    stop_cost: float = 0.01
    aim: float = 1.0
    tv_weight: float = 0.0
    l2_weight: float = 0.0
    max_shift: int = 0
    shifted_views: int = 0
    batch_size: int = 256

    def __post_init__(self) -> None:
        if not 0.0 < self.step_size < math.inf:
            raise ValueError(f"step_size must be positive, got {self.step_size}")
        for name in ("max_iterations", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.stop_cost < 1.0:
            raise ValueError(f"stop_cost must lie in 0..1, got {self.stop_cost}")
        if not 0.0 < self.aim <= 1.0:
            raise ValueError(f"aim must lie above 0 and up to 1, got {self.aim}")
        for name in ("tv_weight", "l2_weight", "max_shift", "shifted_views"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if (self.max_shift == 0) != (self.shifted_views == 0):
            raise ValueError(f"max_shift and shifted_views need each other, got {self.max_shift}, {self.shifted_views}")


def invert(
    *,
    logits: Images,
    classes: Sequence[int],
    image_shape: tuple[int, int, int],
    start: Tensor | None = None,
    rng: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    settings: MIFace = MIFace(),
) -> Inverted:
    """Rebuild one image for each class. Classes do not influence each other, so many may be split over several calls.

    Args:
        logits: Maps images in 0..1 [image, channel, height, width] to logits [image, class], differentiably and each
            image for itself (eval mode).
        classes: Target class ids; repetitions are allowed.
        image_shape: Channel, height, width.
        start: First images in 0..1, one for all [channel, height, width] or one each [class, channel, height, width];
            zeros if not given.
        rng: Draws the shifts, on the CPU and the same for all classes; not needed without them.
        device: Where the model is.
        settings: How long and how far to climb.

    Returns:
        The best image of each class, as its only restart. Its queries are 1 + `shifted_views` for the first image and
        as many for each step.

    Raises:
        ValueError: If there is no class, the start does not fit, shifts lack an rng, or the logits carry no gradient.
    """
    if settings.shifted_views and rng is None:
        raise ValueError("shifted_views needs an rng to draw the shifts")
    targets = wanted(classes, torch.device(device))
    first = _first_images(start, image_shape, len(targets), targets.device)
    seed = int(torch.randint(2**31, (1,), generator=rng)) if rng else 0
    at_once = max(1, settings.batch_size // (1 + settings.shifted_views))
    parts = [
        _climbed(logits, *some, torch.Generator().manual_seed(seed), settings)
        for some in zip(targets.split(at_once), first.split(at_once), strict=True)
    ]
    images, confidence, queries = (torch.cat(each) for each in zip(*parts, strict=True))
    return Inverted(images[:, None], confidence[:, None], queries.cpu())


def _first_images(start: Tensor | None, shape: tuple[int, int, int], n: int, device: torch.device) -> Tensor:
    if start is None:
        return torch.zeros((n, *shape), device=device)
    if tuple(start.shape) not in (shape, (n, *shape)) or not bool(((start >= 0) & (start <= 1)).all()):
        raise ValueError(f"start must be an image {shape} in 0..1, or {n} of them, got shape {tuple(start.shape)}")
    return start.detach().to(device=device, dtype=torch.float32).expand(n, *shape).clone()


def _climbed(
    logits: Images, targets: Tensor, first: Tensor, rng: torch.Generator, settings: MIFace
) -> tuple[Tensor, Tensor, Tensor]:
    """The best image of each class, the confidence in it [class] and the queries that it took [class]."""
    climb = _Climb.begin(first, targets)
    images, confidence, queries = torch.empty_like(first), torch.empty_like(climb.best_cost), torch.empty_like(targets)
    for step in range(settings.max_iterations + 1):
        seen = _look(logits, climb, _shifts(settings, rng), settings)
        climb.note(seen, step)
        leaving = seen.done | (step - climb.improved >= settings.patience) | (step == settings.max_iterations)
        square = seen.cost if settings.aim < 1.0 else None
        climb.images = _moved(climb.images, seen.gradient, settings.step_size, square)
        if bool(leaving.any()):
            left, climb = climb.only(leaving), climb.only(~leaving)
            images[left.rows], confidence[left.rows] = left.best, left.confidence
            queries[left.rows] = (1 + settings.shifted_views) * (step + 1)
            if not len(climb.rows):
                break
    return images, confidence, queries


def _shifts(settings: MIFace, rng: torch.Generator) -> _Shifts:
    if not settings.shifted_views:
        return ()
    most = settings.max_shift
    drawn = torch.randint(-most, most + 1, (settings.shifted_views, 2), generator=rng).tolist()
    return [(down, right) for down, right in drawn]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A look at the classes that are still climbing.

    Attributes:
        cost: What is descended, float64 [class].
        confidence: The target's in the image itself, float64 [class].
        done: Whether the image is good enough [class].
        gradient: Of the cost by the image [class, channel, height, width].
    """

    cost: Tensor
    confidence: Tensor
    done: Tensor
    gradient: Tensor


@dataclass(slots=True, eq=False)
class _Climb:
    """The classes that are still climbing, and the best that each has found.

    Attributes:
        rows: Their places in the order given [class].
        targets: int64 [class].
        first: [class, channel, height, width].
        images: Where they are, likewise.
        best: The best so far, likewise.
        best_cost: Its cost, float64 [class].
        confidence: The target's in it, float64 [class].
        improved: The step that gave it, int64 [class].
    """

    rows: Tensor
    targets: Tensor
    first: Tensor
    images: Tensor
    best: Tensor
    best_cost: Tensor
    confidence: Tensor
    improved: Tensor

    @classmethod
    def begin(cls, first: Tensor, targets: Tensor) -> _Climb:
        nothing = torch.full_like(targets, math.inf, dtype=torch.float64)
        rows = torch.arange(len(targets), device=targets.device)
        return cls(rows, targets, first, first, first, nothing, torch.zeros_like(nothing), torch.zeros_like(targets))

    def only(self, which: Tensor) -> _Climb:
        """Some of them."""
        return _Climb(*(getattr(self, each.name)[which] for each in fields(self)))

    def note(self, seen: _Seen, step: int) -> None:
        """Keep what is better than before, or good enough."""
        better = (seen.cost < self.best_cost) | seen.done
        self.best = torch.where(better[:, None, None, None], self.images, self.best)
        self.best_cost = torch.where(better, seen.cost, self.best_cost)
        self.confidence = torch.where(better, seen.confidence, self.confidence)
        self.improved = torch.where(better, step, self.improved)


def _look(logits: Images, climb: _Climb, shifts: _Shifts, settings: MIFace) -> _Seen:
    """Show the images, and their copies if there are any, and follow the cost back."""
    n, of = len(climb.targets), climb.targets.repeat(1 + len(shifts)) if shifts else climb.targets
    with torch.enable_grad():
        images = climb.images.detach().requires_grad_()
        outputs = logits(torch.cat([images, *_moved_copies(images, shifts)]) if shifts else images)
        if not outputs.requires_grad:
            raise ValueError("logits must be differentiable: it was computed without gradients")
        surprise = F.cross_entropy(outputs.double(), of, reduction="none")
        missed = surprise if settings.aim == 1.0 else (surprise + math.log(settings.aim)).square()
        cost = missed.view(-1, n).mean(dim=0) if shifts else missed
        if settings.tv_weight:
            cost = cost + settings.tv_weight * _total_variation(images).double()
        if settings.l2_weight:
            cost = cost + settings.l2_weight * (images - climb.first).double().square().mean(dim=(1, 2, 3))
        (gradient,) = torch.autograd.grad(cost.sum(), images)
    p = surprise.detach().neg().exp()
    reached = p.view(-1, n).mean(dim=0) if shifts else p
    done = (reached >= settings.aim - settings.stop_cost) & (reached <= settings.aim + settings.stop_cost)
    return _Seen(cost.detach(), p[:n], done, gradient)


def _moved_copies(images: Tensor, shifts: _Shifts) -> list[Tensor]:
    """The images moved down and to the right by each shift, the border repeated [image, channel, height, width]."""
    (height, width), most = images.shape[2:], max(abs(by) for shift in shifts for by in shift)
    padded = F.pad(images, (most, most, most, most), mode="replicate")
    return [padded[:, :, most - down :, most - right :][:, :, :height, :width] for down, right in shifts]


def _moved(images: Tensor, gradient: Tensor, step_size: float, square: Tensor | None = None) -> Tensor:
    """One step of fixed length down the gradient, within 0..1.

    Where the gradient is that of a `square` [class], no step is longer than Newton's to the root.
    """
    blocked = (images - gradient.sign()).clamp(0.0, 1.0) == images
    direction, pixels = gradient.masked_fill(blocked, 0.0).double(), images[0].numel()
    length: Tensor = torch.linalg.vector_norm(direction, dim=(1, 2, 3), keepdim=True) / math.sqrt(pixels)
    length = length.clamp_min(torch.finfo(length.dtype).tiny)
    unit = (direction / length).to(images.dtype)
    if square is None:
        return (images - step_size * unit).clamp(0.0, 1.0)
    away = 2.0 * square.view(-1, 1, 1, 1) / (length * pixels)
    return (images - away.clamp_max(step_size).to(images.dtype) * unit).clamp(0.0, 1.0)


def _total_variation(images: Tensor) -> Tensor:
    """Sum of the absolute differences of neighbouring pixels, over the number of pixels [image]."""
    across = images.diff(dim=3).abs().sum(dim=(1, 2, 3))
    down = images.diff(dim=2).abs().sum(dim=(1, 2, 3))
    return (across + down) / images[0].numel()
