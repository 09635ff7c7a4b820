"""Runs an inversion attack and measures what its images show of training records (DESIGN 7.11).

What counts is not that the target recognises the reconstruction, but how much nearer it lies to the members of its
class than to as many other records of that class, beyond what controls without the members reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from auditor.findings import AttackCard, InversionResult, Measurement
from auditor.membership.measure import crash_report
from auditor.shadows import AuditSet
from auditor.signals import same_noise
from auditor.stats.intervals import mean
from auditor.target import Target
from auditor.threat import Access
from auditor.verdict import InversionFacts
from reference_attacks.inversion import miface

__all__ = ["InversionAttack", "Reconstruction", "inversion_facts", "invert_with_miface", "run_inversion"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reconstruction:
    """What an inversion attack gives back: images in [0, 1], float64 [class, channel, height, width]."""

    images: Floats
    confidence: Floats
    queries_per_class: int


@dataclass(frozen=True)
class InversionAttack:
    """A row of the battery: the card, and the adapter from a target to the attack file."""

    card: AttackCard
    invert: Callable[[Target, Sequence[int]], Reconstruction]


def invert_with_miface(target: Target, classes: Sequence[int]) -> Reconstruction:
    """MIFace on all classes at once, from a black image."""
    settings = miface.MIFace(max_iterations=1000)
    found = miface.invert(
        logits=lambda images: target.logits(images.movedim(1, -1)),
        classes=classes,
        image_shape=target.facts.preprocessing.input_size,
        device=target.device,
        settings=settings,
    )
    return Reconstruction(
        images=found.images.double().cpu().numpy(),
        confidence=found.confidence.double().cpu().numpy(),
        queries_per_class=found.queries // len(classes),
    )


def run_inversion(attack: InversionAttack, target: Target, control: Target, audit_set: AuditSet) -> InversionResult:
    """Reconstruct every class from the target and from the control model, and compare the distances.

    A crash of the attack is an outcome, not an end; where there are no images to rebuild, the attack is skipped.

    The record excess of a class is how much nearer the target's image lies to the nearest member than to the nearest
    of as many non-members, less the same for the control: mean squared pixel error in [0, 1].

    Args:
        attack: Which attack.
        target: The audited model.
        control: A model trained on the audited non-members instead of the members.
        audit_set: Members and non-members, and population records for class means.
    """
    if audit_set.records.inputs.ndim != 4:
        return InversionResult(
            card=attack.card, status="skipped", reason="rebuilds images, and the records are features"
        )
    try:
        scene = _Scene.of(target, audit_set)
        if not scene.classes:
            reason = "no class has enough records of every kind"
            return InversionResult(card=attack.card, status="skipped", reason=reason)
        return _compared(attack, target, control, scene)
    except Exception as error:  # noqa: BLE001 - whatever a method raises, the rest of the report must still come
        return InversionResult(card=attack.card, status="failed", reason=crash_report(error))


def _compared(attack: InversionAttack, target: Target, control: Target, scene: _Scene) -> InversionResult:
    own, other = (_inverted(attack, model, scene) for model in (target, control))
    gains = scene.gains(own.images)
    against_model = gains - scene.gains(other.images)
    against_mean = gains - scene.gains(scene.class_means)
    return InversionResult(
        card=attack.card,
        status="completed",
        classes=len(scene.classes),
        record_excess=(
            _over_classes("Record excess", against_model, "a model trained on other records of the same classes"),
            _over_classes("Record excess", against_mean, "the mean image of other records of the class"),
        ),
        measurements=(
            _over_classes("Distance to the nearest member (MSE)", scene.nearest(own.images, scene.members)),
            _over_classes("The same for the class mean", scene.nearest(scene.class_means, scene.members)),
            _over_classes("Target confidence in its class", own.confidence),
        ),
        queries_per_class=own.queries_per_class,
    )


def _inverted(attack: InversionAttack, model: Target, scene: _Scene) -> Reconstruction:
    with same_noise(model):
        return attack.invert(model, scene.classes)


def inversion_facts(results: Sequence[InversionResult], classes: Sequence[str]) -> list[InversionFacts]:
    """What the verdict needs to know about each access; attacks that need gradients say nothing about less access."""
    facts = []
    for access in Access:
        ran = [one for one in results if one.status == "completed" and access.includes(one.card.access)]
        bounds = [min(excess.estimate.low for excess in one.record_excess) for one in ran if one.record_excess]
        facts.append(
            InversionFacts(
                access=access,
                attacks=len(ran),
                classes=max((one.classes for one in ran), default=len(classes)),
                record_lower_bounds=(max(bounds),) if bounds else (),
                class_excess_measured=any(one.class_excess for one in ran),
                attack_titles=", ".join(one.card.title for one in ran),
            )
        )
    return facts


def _over_classes(name: str, values: Floats, against: str = "") -> Measurement:
    return Measurement(name=name, estimate=mean(values, unit="classes"), against=against)


@dataclass(frozen=True)
class _Scene:
    """Per class as many members as non-members, and the mean of population records; images in [0, 1]."""

    classes: tuple[int, ...]
    members: tuple[Floats, ...]
    non_members: tuple[Floats, ...]
    class_means: Floats

    @classmethod
    def of(cls, target: Target, audit_set: AuditSet) -> _Scene:
        records, population = audit_set.records, audit_set.calibration
        classes, members, non_members, means = [], [], [], []
        for label in range(target.facts.num_classes):
            inside = np.flatnonzero((records.labels == label) & audit_set.membership)
            outside = np.flatnonzero((records.labels == label) & ~audit_set.membership)
            known = np.flatnonzero(population.labels == label)
            count = min(len(inside), len(outside))
            if not count or not len(known):
                continue
            classes.append(label)
            members.append(_unit(target, records.inputs[inside[:count]]))
            non_members.append(_unit(target, records.inputs[outside[:count]]))
            means.append(_unit(target, population.inputs[known]).mean(0))
        return cls(tuple(classes), tuple(members), tuple(non_members), np.array(means))

    def gains(self, images: Floats) -> Floats:
        """How much nearer each class's image lies to a member than to a non-member [class]."""
        return self.nearest(images, self.non_members) - self.nearest(images, self.members)

    def nearest(self, images: Floats, references: Sequence[Floats]) -> Floats:
        """Mean squared error of each class's image to the nearest reference of that class [class]."""
        return np.array(
            [
                ((reference - image) ** 2).reshape(len(reference), -1).mean(1).min()
                for image, reference in zip(images, references, strict=True)
            ]
        )


def _unit(target: Target, inputs: npt.NDArray[np.generic]) -> Floats:
    """Stored records as the model sees them, in [0, 1], float64 [record, channel, height, width]."""
    with torch.inference_mode():
        prepared = target.prepare(inputs).double().cpu().numpy()
    mean, std = (np.array(getattr(target.facts.preprocessing, name)).reshape(-1, 1, 1) for name in ("mean", "std"))
    return np.asarray(prepared * std + mean)
