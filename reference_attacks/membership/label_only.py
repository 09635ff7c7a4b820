"""The augmentation attack: ask for labels only, of the image and of shifted or rotated copies.

Choquette-Choo, Tramer, Carlini and Papernot (2021), "Label-Only Membership Inference Attacks", arXiv:2007.14321.

What it claims
    A model trained with augmentation, or that has memorised x, is right about slightly moved copies of x more often
    than about copies of a record it has not seen. Hiding the scores therefore hides less than it seems.

What the attacker needs
    Access `labels`: 4 d + 1 queries for shifts by d pixels, 2 a more for rotations by up to a degrees; the true label.
    One shadow model or more by the target's recipe, with known membership.

Algorithm
    1. Move x by all whole (i, j) with |i| + |j| = d, edge pixels repeated; the first query is x itself.
    2. Rotate x by the whole degrees from -a to a, corners filled with 0.
    3. For each query note whether the predicted label is the true one: a vector of bits. That is `probe`.
    4. Train a small network on the shadows' vectors to tell members; its log-odds on the target's are the score.

What we changed
    One network for all classes, ReLU (not leaky), where the authors train one per class and pick its learning rate; a
    class has few records in an audit. The shadows are pooled: each (model, record) is one training vector.
    Shifts and rotations may be asked together; the authors do one or the other. Rotation by 0 is x and not asked again.
    Rotations are bilinear instead of cubic. The score has no more values than there are vectors: ties are real.

Published number and ours
    None verified.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logit
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor
from torch.nn import functional as F

from reference_attacks.membership._images import ask, checked_images, checked_labels, require_positive
from reference_attacks.membership._inputs import BoolArray, FloatArray, Observations

__all__ = ["AttackNet", "Augmentations", "probe", "score"]

_SURE = 1e-12


@dataclass(frozen=True, slots=True)
class Augmentations:
    """Which copies are asked about.

    Attributes:
        shift: Sum of the vertical and horizontal shift in pixels, d; 0 asks about no shift.
        rotation: Largest rotation in degrees, a; 0 asks about none.
        batch_size: Most images in one question.

    Raises:
        ValueError: If a value is out of range.
    """

    shift: int = 1
    rotation: int = 0
    batch_size: int = 512

    def __post_init__(self) -> None:
        require_positive("shift", self.shift, least=0)
        require_positive("rotation", self.rotation, least=0)
        require_positive("batch_size", self.batch_size)

    @property
    def n_queries(self) -> int:
        """Questions per record, x itself included."""
        return 1 + 4 * self.shift + 2 * self.rotation


@dataclass(frozen=True, slots=True)
class AttackNet:
    """The network that reads the bits.

    Attributes:
        hidden: Units of the hidden layers; the authors' are 10 and 10.
        learning_rate: Of Adam; the authors try 0.001 to 0.05.
        max_epochs: Most passes over the shadows' vectors; training stops earlier when its loss no longer falls.

    Raises:
        ValueError: If a value is out of range.
    """

    hidden: tuple[int, ...] = (10, 10)
    learning_rate: float = 1e-3
    max_epochs: int = 100

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must name at least one layer of at least one unit, got {self.hidden}")
        require_positive("max_epochs", self.max_epochs)
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


def probe(
    *,
    predict: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    settings: Augmentations = Augmentations(),
) -> BoolArray:
    """Ask the model for the label of every record and its moved copies.

    Args:
        predict: Maps images in 0..1 [image, channel, height, width] to predicted labels [image].
        inputs: Images in 0..1 [record, channel, height, width].
        labels: True labels [record].
        settings: Which copies are asked about.

    Returns:
        Whether the prediction equals the true label [record, query]: x itself, then the shifts, then the rotations.

    Raises:
        ValueError: If the inputs or labels are not as described.
    """
    images = checked_images("inputs", inputs)
    classes = checked_labels(labels, images)
    right = np.empty((len(images), settings.n_queries), dtype=np.bool_)
    for start in range(0, len(images), settings.batch_size):
        batch = slice(start, start + settings.batch_size)
        some, of_class = images[batch], classes[batch]
        copies = [_shifted(some, down, across) for down, across in _shifts(settings.shift)]
        copies += [_rotated(some, degrees) for degrees in _angles(settings.rotation)]
        for query, moved in enumerate(copies):
            right[batch, query] = (ask(predict, moved, batch_size=settings.batch_size) == of_class).cpu().numpy()
    return right


def score(
    *,
    target_correct: BoolArray,
    shadow_correct: BoolArray,
    shadow_membership: BoolArray,
    settings: AttackNet = AttackNet(),
    rng: np.random.Generator,
) -> FloatArray:
    """Score every record by the log-odds of membership that a network trained on the shadows gives its bits.

    Args:
        target_correct: Whether the target was right [record, query].
        shadow_correct: Whether the shadows were [model, record, query].
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: The network.
        rng: Where its initial weights and the order of the batches come from.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: If the arrays are not boolean or do not fit each other, or the shadows have no members or no
            non-members among the records.
    """
    seen = Observations.check(
        target_signal=_bits("target_correct", target_correct),
        shadow_signal=_bits("shadow_correct", shadow_correct),
        shadow_membership=shadow_membership,
    )
    trained_on = seen.trained_on.ravel()
    if trained_on.all() or not trained_on.any():
        raise ValueError("shadow_membership must hold members and non-members")
    network = MLPClassifier(
        hidden_layer_sizes=settings.hidden,
        learning_rate_init=settings.learning_rate,
        max_iter=settings.max_epochs,
        random_state=int(rng.integers(2**31)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(seen.shadows.reshape(len(trained_on), -1), trained_on)
    p_member = np.asarray(network.predict_proba(seen.target), dtype=np.float64)[:, 1]
    return np.asarray(logit(np.clip(p_member, _SURE, 1.0 - _SURE)), dtype=np.float64)


def _bits(name: str, values: BoolArray) -> FloatArray:
    if np.asarray(values).dtype != np.bool_:
        raise ValueError(f"{name} must be boolean, got {np.asarray(values).dtype}")
    return np.asarray(values, dtype=np.float64)


def _shifts(distance: int) -> list[tuple[int, int]]:
    """No shift, then every (down, across) in whole pixels whose absolute values add up to the distance."""
    around = {
        (down, sign * (distance - abs(down))) for down in range(-distance, distance + 1) for sign in (-1, 1) if distance
    }
    return [(0, 0), *sorted(around)]


def _angles(largest: int) -> list[int]:
    return [degrees for degrees in range(-largest, largest + 1) if degrees]


def _shifted(images: Tensor, down: int, across: int) -> Tensor:
    """Images moved by whole pixels, the edge repeated."""
    height, width = images.shape[2:]
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - across).clamp(0, width - 1)
    return images[:, :, rows][:, :, :, columns]


def _rotated(images: Tensor, degrees: float) -> Tensor:
    """Images turned about their centre, bilinear, with 0 where nothing was."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # The grid of torch spans -1..1 along each side, so a turn in pixels needs the ratio of the sides.
    ratio = images.shape[2] / images.shape[3]
    turn = images.new_tensor([[cos, -sin * ratio, 0.0], [sin / ratio, cos, 0.0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False).clamp(0.0, 1.0)
