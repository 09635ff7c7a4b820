"""Against what reconstructions are held: equal numbers of members and non-members per class, and two judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from auditor.inversion.attack import Supply
from auditor.inversion.evaluators import Evaluator
from auditor.inversion.given import unit_images
from auditor.shadows import AuditSet
from auditor.splits import Records
from auditor.target import Target

__all__ = ["Rows", "Scene", "rows_of", "supply_of"]

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]

_MOST_VALUES = 2**28  # pixels of audited records held at once, in all: 1 GiB as float32


@dataclass(frozen=True)
class Rows:
    """Which audited records are compared with reconstructions, as positions in the audit set.

    Attributes:
        classes: Those with at least one record of every kind.
        members: For each of them.
        non_members: For each of them, as many as members.
    """

    classes: tuple[int, ...]
    members: tuple[Positions, ...]
    non_members: tuple[Positions, ...]

    @property
    def all(self) -> Positions:
        """Every position once: class by class, members before non-members."""
        pairs = zip(self.members, self.non_members, strict=True)
        return np.concatenate([np.concatenate(pair) for pair in pairs]) if self.classes else np.empty(0, dtype=np.intp)


def rows_of(audit_set: AuditSet, num_classes: int, values_per_image: int) -> Rows:
    """As many members as non-members of each class that the population knows too; fewer where images are large."""
    records, known = audit_set.records, set(_population_labels(audit_set).tolist())
    most = max(2, _MOST_VALUES // (2 * num_classes * values_per_image))
    found = []
    for label in range(num_classes):
        inside = np.flatnonzero((records.labels == label) & audit_set.membership)
        outside = np.flatnonzero((records.labels == label) & ~audit_set.membership)
        count = min(len(inside), len(outside), most)
        if count and label in known:
            found.append((label, inside[:count], outside[:count]))
    classes, members, non_members = zip(*found, strict=True) if found else ((), (), ())
    return Rows(classes, members, non_members)


def supply_of(
    audit_set: AuditSet, rows: Rows, input_size: tuple[int, int, int], public: Records | None, *, generator: bool
) -> Supply:
    """What there is for inversion attacks.

    Args:
        audit_set: Who is evaluated.
        rows: Which of them reconstructions are held against.
        input_size: Channel, height and width as the model takes an image.
        public: Records of public/, if there are any.
        generator: Whether the user gives a generator.
    """
    side = min(input_size[1:]) if audit_set.records.inputs.ndim == 4 else 0
    return Supply(side, len(rows.classes), 0 if public is None else public.n, generator)


def _population_labels(audit_set: AuditSet) -> npt.NDArray[np.int64]:
    return np.concatenate([audit_set.calibration.labels, audit_set.reference.labels])


@dataclass(frozen=True)
class Scene:
    """The audited records, images float32 in [0, 1] [record, channel, height, width], and the judges.

    Attributes:
        classes: Which classes are rebuilt.
        members: Images of each.
        non_members: As many of each.
        class_means: Mean population image of each class [class, channel, height, width].
        evaluators: Evaluation networks.
        public: Unselected images [image, channel, height, width]; None where there are none.
    """

    classes: tuple[int, ...]
    members: tuple[Tensor, ...]
    non_members: tuple[Tensor, ...]
    class_means: Tensor
    evaluators: tuple[Evaluator, ...]
    public: Tensor | None = None

    @classmethod
    def of(
        cls,
        target: Target,
        audit_set: AuditSet,
        rows: Rows,
        evaluators: Sequence[Evaluator],
        public: Tensor | None,
    ) -> Scene:
        """Decode what the rows name."""
        inputs = audit_set.records.inputs
        labels = _population_labels(audit_set)
        population = np.concatenate([audit_set.calibration.inputs, audit_set.reference.inputs])
        return cls(
            classes=rows.classes,
            members=tuple(unit_images(target, inputs[one]) for one in rows.members),
            non_members=tuple(unit_images(target, inputs[one]) for one in rows.non_members),
            class_means=torch.stack(
                [unit_images(target, population[labels == label]).mean(0) for label in rows.classes]
            ),
            evaluators=tuple(evaluators),
            public=public,
        )

    # --- pixels ------------------------------------------------------------------------------------------------------

    def nearest_pixels(self, images: Tensor, *, members: bool) -> Floats:
        """Mean squared error to the nearest record of the class, averaged over restarts [class].

        Args:
            images: [class, restart, channel, height, width].
            members: Whether to members or to non-members.
        """
        references = self.members if members else self.non_members
        return np.array(
            [_nearest(own.flatten(1), records.flatten(1)) for own, records in zip(images, references, strict=True)]
        ) / float(images[0, 0].numel())

    # --- features ----------------------------------------------------------------------------------------------------

    def nearest_features(self, images: Tensor, *, members: bool) -> Floats:
        """The same in the features of the evaluation networks, averaged over them.

        The unit is the mean squared distance between two records of one class: 1 is as far as they lie apart.
        """
        found = []
        for evaluator, known in zip(self.evaluators, self._known_features, strict=True):
            own = evaluator.features(images.flatten(0, 1)).reshape(*images.shape[:2], -1)
            references = known.members if members else known.non_members
            pairs = zip(own, references, strict=True)
            found.append(np.array([_nearest(torch.from_numpy(a), torch.from_numpy(b)) for a, b in pairs]) / known.unit)
        return np.asarray(np.mean(found, axis=0))

    def feature_distances(self, images: Tensor, references: Tensor) -> Floats:
        """Squared feature distances in that unit, averaged over the evaluation networks [image, reference]."""
        found = []
        for evaluator, known in zip(self.evaluators, self._known_features, strict=True):
            own, other = (torch.from_numpy(evaluator.features(one)) for one in (images, references))
            found.append(torch.cdist(own, other).square().numpy() / known.unit)
        return np.asarray(np.mean(found, axis=0))

    @cached_property
    def _known_features(self) -> tuple[_Features, ...]:
        return tuple(_Features.of(one, self.members, self.non_members) for one in self.evaluators)

    # --- recognition -------------------------------------------------------------------------------------------------

    def recognition(self, images: Tensor) -> Floats:
        """Mean probability of every class by the evaluation networks, float64 [image, class]."""
        return np.asarray(np.mean([one.probabilities(images) for one in self.evaluators], axis=0))

    @cached_property
    def public_recognition(self) -> Floats | None:
        """The same of the unselected images: what every attack is held against is asked once."""
        return None if self.public is None else self.recognition(self.public)

    @cached_property
    def mean_to_members(self) -> Floats:
        """Error of each class mean to the nearest member [class]."""
        return self.nearest_pixels(self.class_means[:, None], members=True)

    @cached_property
    def mean_to_non_members(self) -> Floats:
        """Error of each class mean to the nearest non-member [class]."""
        return self.nearest_pixels(self.class_means[:, None], members=False)


@dataclass(frozen=True)
class _Features:
    members: tuple[Floats, ...]
    non_members: tuple[Floats, ...]
    unit: float

    @classmethod
    def of(cls, evaluator: Evaluator, members: Sequence[Tensor], non_members: Sequence[Tensor]) -> _Features:
        inside, outside = (tuple(evaluator.features(one) for one in side) for side in (members, non_members))
        between = [
            torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).square().mean().item()
            for a, b in zip(inside, outside, strict=True)
        ]
        return cls(inside, outside, max(float(np.mean(between)), np.finfo(float).tiny))


def _nearest(images: Tensor, references: Tensor) -> float:
    """Mean over images of the squared distance to the nearest reference."""
    exact = torch.cdist(images.double(), references.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return float(exact.square().min(1).values.mean())
