"""What reconstructions show of training records, beyond what could be drawn without the model (rule 11).

*Record excess*: how much nearer reconstructions lie to members than to as many other records of the class, less the
same for each control that never saw the members. *Class excess*: how much surer the evaluation networks are of the
class than for the best of as many images that a model without the class, or public/, has to show. Those are drawn,
once: the best of a few is luck, of which the control needs as much as the attack. Intervals are over classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

from auditor.compute import generator
from auditor.findings import AttackCard, InversionResult, Measurement, QueryPoint
from auditor.inversion.given import Rebuilt
from auditor.inversion.scene import Scene
from auditor.inversion.similarity import structural_similarity
from auditor.limits import LEAST_CLASSES
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import mean, proportion
from auditor.stats.multiplicity import holm
from auditor.threat import Access
from auditor.verdict import InversionFacts
from reference_attacks.inversion.material import Inverted

__all__ = [
    "LeftOut",
    "best_of_draws",
    "inversion_facts",
    "measure_classes",
    "measure_records",
    "with_findings",
]

Floats = npt.NDArray[np.float64]

_LEAST_FOR_TOP5 = 10
_ANOTHER_MODEL = "a model trained on other records of the same classes"
_CLASS_MEAN = "the mean image of other records of the class"
_OTHER_CLASSES = "the best of as many reconstructions of other classes, by a model that never saw the class"
_TWO_RECORDS = "the distance of two records of a class"
_PUBLIC = "the best of as many images of public/, unselected"


@dataclass(frozen=True)
class LeftOut:
    """What a model without some classes shows of the others.

    Attributes:
        without: The classes that it never saw.
        images: Reconstructions of all others, in any order [image, channel, height, width].
    """

    without: frozenset[int]
    images: Tensor


def measure_classes(
    card: AttackCard,
    own: Inverted,
    control: Inverted,
    scene: Scene,
    left_out: Sequence[LeftOut] = (),
) -> InversionResult:
    """Measure images of classes.

    Args:
        card: Of the attack.
        own: What it made of the target.
        control: What it made of the control model, with equal settings.
        scene: What both are held against.
        left_out: What it made of models without some of the classes; none where this is not measured.
    """
    gains = _gains(own.images, scene)
    record = (
        _over_classes("Record excess", gains - _gains(control.images, scene), _ANOTHER_MODEL),
        _over_classes("Record excess", gains - (scene.mean_to_non_members - scene.mean_to_members), _CLASS_MEAN),
    )
    by_class = _class_excess(own.images, scene, left_out)
    return InversionResult(
        card=card,
        status="completed",
        classes=len(scene.classes),
        record_excess=tuple(one.measurement for one in record),
        record_p_value=max(one.p_value for one in record),
        class_excess=tuple(one.measurement for one in by_class),
        class_p_value=max(one.p_value for one in by_class) if len(by_class) == _CLASS_CONTROLS else None,
        measurements=(
            *_recognised(own.images, scene),
            *_distances(own.images, scene),
            *([] if own.confidence is None else [_plain("Target's confidence in the class", own.confidence[:, 0])]),
        ),
        success_by_queries=tuple(
            QueryPoint(queries=one.queries, success=_success(one.images, scene)) for one in own.snapshots
        ),
        queries_per_class=round(own.queries.double().mean().item() + own.shared_queries / len(scene.classes)),
    )


def measure_records(card: AttackCard, own: Rebuilt, control: Rebuilt, scene: Scene) -> InversionResult:
    """Measure images of records, in the order of `Rows.all`: the gap between members and non-members is what leaks.

    Args:
        card: Of the attack.
        own: What it made of the target's outputs.
        control: What it made of the control model's, with equal settings.
        scene: The records themselves.
    """
    rebuilt, other = (_by_class(one.images, scene) for one in (own, control))
    means = [(image.expand_as(a), image.expand_as(b)) for image, (a, b) in zip(scene.class_means, rebuilt, strict=True)]
    members, non_members = _errors(rebuilt, scene)
    members_by_mean, others_by_mean = _errors(means, scene)
    gap = non_members - members
    record = (
        _over_classes("Record excess", gap - _gap(other, scene), _ANOTHER_MODEL),
        _over_classes("Record excess", gap - (others_by_mean - members_by_mean), _CLASS_MEAN),
    )
    return InversionResult(
        card=card,
        status="completed",
        classes=len(scene.classes),
        record_excess=tuple(one.measurement for one in record),
        record_p_value=max(one.p_value for one in record),
        measurements=(
            _plain("Inversion error of members (MSE)", members),
            _plain("Inversion error of non-members (MSE)", non_members),
            _plain("Memorisation gap (MSE)", gap),
            _plain("What it shows beyond the class mean (MSE)", members_by_mean - members),
            *_similarity(rebuilt, scene),
            _plain("Right record found among those of its class, above chance", _retrieved(rebuilt, scene)),
            *_recognised(torch.stack([a[:1] for a, _ in rebuilt]), scene),
        ),
        queries_per_class=round(own.queries / len(scene.classes)),
    )


# --- findings --------------------------------------------------------------------------------------------------------


def with_findings(results: Sequence[InversionResult], family_wise_error: float) -> tuple[InversionResult, ...]:
    """Mark what is found: every test of the family corrected together (Holm), from 20 classes on.

    A test is one question to one attack; it has to reject against each of its controls, so that the largest p-value
    counts.
    """
    asked = [
        (index, name)
        for index, result in enumerate(results)
        for name in ("record", "class")
        if result.classes >= LEAST_CLASSES and getattr(result, f"{name}_p_value") is not None
    ]
    adjusted = holm([getattr(results[index], f"{name}_p_value") for index, name in asked]) if asked else ()
    found = list(results)
    for (index, name), p_value in zip(asked, adjusted, strict=True):
        update = {f"{name}_p_adjusted": float(p_value), f"{name}_found": bool(p_value <= family_wise_error)}
        found[index] = found[index].model_copy(update=update)
    return tuple(found)


def inversion_facts(
    results: Sequence[InversionResult], classes: Sequence[str], *, person: bool = False
) -> list[InversionFacts]:
    """What the verdict needs to know about each access; attacks that need gradients say nothing about less access."""
    facts = []
    for access in Access:
        ran = [one for one in results if one.status == "completed" and access.includes(one.card.access)]
        rebuilt = max((one.classes for one in ran), default=len(classes))
        facts.append(
            InversionFacts(
                access=access,
                attacks=len(ran),
                classes=rebuilt,
                record_found=tuple(one.card.title for one in ran if one.record_found),
                class_found=tuple(one.card.title for one in ran if one.class_found),
                class_measured=any(one.class_p_value is not None for one in ran),
                class_is_person=person,
                left_out=len(classes) - rebuilt,
            )
        )
    return facts


# --- record excess ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tested:
    measurement: Measurement
    p_value: float


def _over_classes(name: str, values: Floats, against: str) -> _Tested:
    """An excess with its interval, and the one-sided t test of a mean above zero."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    centre = float(values.mean())
    p_value = float(stats.t.sf(centre / error, len(values) - 1)) if error > 0 else float(centre <= 0)
    return _Tested(_plain(name, values, against), 1.0 if np.isnan(p_value) else p_value)


def _plain(name: str, values: npt.ArrayLike, against: str = "") -> Measurement:
    return Measurement(name=name, estimate=mean(values, unit="classes"), against=against)


def _gains(images: Tensor, scene: Scene) -> Floats:
    """How much nearer a class's images lie to a member than to a non-member, mean squared error [class]."""
    return scene.nearest_pixels(images, members=False) - scene.nearest_pixels(images, members=True)


# --- class excess ----------------------------------------------------------------------------------------------------

_CLASS_CONTROLS = 2


def _class_excess(images: Tensor, scene: Scene, left_out: Sequence[LeftOut]) -> tuple[_Tested, ...]:
    restarts = images.shape[1]
    shown = scene.recognition(images.flatten(0, 1)).reshape(len(scene.classes), restarts, -1)
    own = np.array([shown[index, :, label].max() for index, label in enumerate(scene.classes)])
    tested = []
    if left_out:
        others = [(one.without, scene.recognition(one.images)) for one in left_out]
        unseen = [next(seen[:, label] for without, seen in others if label in without) for label in scene.classes]
        tested.append(_over_classes("Class excess", own - _drawn(unseen, restarts, _OTHER_CLASSES), _OTHER_CLASSES))
    if (seen := scene.public_recognition) is not None:
        public = [seen[:, label] for label in scene.classes]
        tested.append(_over_classes("Class excess", own - _drawn(public, restarts, _PUBLIC), _PUBLIC))
    return tuple(tested)


def _drawn(shown: Sequence[Floats], draws: int, purpose: str) -> Floats:
    """The best of so many draws for each class; the same images give the same numbers, whatever the audit's seed."""
    rng = generator(0, purpose)
    return np.array([best_of_draws(values, draws, rng) for values in shown])


def best_of_draws(values: Floats, draws: int, rng: np.random.Generator) -> float:
    """The largest of so many values drawn without replacement; of all of them if there are fewer.

    Drawn, not expected: of an attack there is one best of as many too. Held against an expectation, images that show
    nothing were found in up to a third of tests at 5 % where recognition is near 0 or 1 (docs/decisions/0008).

    Args:
        values: float64 [value].
        draws: How many are drawn.
        rng: Draws them.
    """
    return float(rng.permutation(values)[:draws].max())


# --- what else is told -----------------------------------------------------------------------------------------------


def _recognised(images: Tensor, scene: Scene) -> list[Measurement]:
    """How many classes the evaluation networks recognise by the image that the attacker would hand in."""
    found = []
    for evaluator in scene.evaluators:
        seen = evaluator.probabilities(images[:, 0])
        rank = (seen > seen[np.arange(len(seen)), list(scene.classes)][:, None]).sum(1)
        for top in (1, 5) if seen.shape[1] > _LEAST_FOR_TOP5 else (1,):
            name = f"Recognised by the {evaluator.name} evaluation network (top {top})"
            share = proportion(int((rank < top).sum()), len(rank), unit="classes")
            found.append(Measurement(name=name, estimate=share, unit="share"))
    return found


def _success(images: Tensor, scene: Scene) -> Estimate:
    """Share of classes that the evaluation networks together recognise."""
    seen = scene.recognition(images[:, 0]).argmax(1)
    return proportion(int((seen == np.array(scene.classes)).sum()), len(seen), unit="classes")


def _distances(images: Tensor, scene: Scene) -> list[Measurement]:
    found = []
    for members, who in ((True, "member"), (False, "non-member")):
        found.append(_plain(f"Distance to the nearest {who} (MSE)", scene.nearest_pixels(images, members=members)))
    found.append(_plain("The class mean's to the nearest member (MSE)", scene.mean_to_members))
    for members, who in ((True, "member"), (False, "non-member")):
        values = scene.nearest_features(images, members=members)
        found.append(_plain(f"Feature distance to the nearest {who}", values, _TWO_RECORDS))
    return found


# --- images of records -----------------------------------------------------------------------------------------------

_Pairs = Sequence[tuple[Tensor, Tensor]]


def _by_class(images: Tensor, scene: Scene) -> list[tuple[Tensor, Tensor]]:
    """Reconstructions of members and non-members of each class."""
    sizes = [len(part) for pair in zip(scene.members, scene.non_members, strict=True) for part in pair]
    parts = images.split(sizes)
    return list(zip(parts[::2], parts[1::2], strict=True))


def _errors(pairs: _Pairs, scene: Scene) -> tuple[Floats, Floats]:
    """Mean squared error of members and of non-members [class]."""
    truth = (scene.members, scene.non_members)
    inside, outside = (
        np.array([(pair[side] - truth[side][index]).square().mean().item() for index, pair in enumerate(pairs)])
        for side in (0, 1)
    )
    return inside, outside


def _gap(pairs: _Pairs, scene: Scene) -> Floats:
    members, non_members = _errors(pairs, scene)
    return non_members - members


def _similarity(pairs: _Pairs, scene: Scene) -> list[Measurement]:
    values = [structural_similarity(pair[0], truth) for pair, truth in zip(pairs, scene.members, strict=True)]
    if any(value is None for value in values):
        return []
    return [_plain("Structural similarity of members (SSIM)", np.array([np.mean(v) for v in values if v is not None]))]


def _retrieved(pairs: _Pairs, scene: Scene) -> Floats:
    """Share of members to which their own reconstruction lies nearest in the class, less chance [class]."""
    found = []
    for (images, _), truth in zip(pairs, scene.members, strict=True):
        nearest = scene.feature_distances(images, truth).argmin(1)
        found.append((nearest == np.arange(len(truth))).mean() - 1 / len(truth))
    return np.array(found)
