"""Simulated audits of `calibration.py`: what a target, its shadows and the null models would answer, by design.

A model's margin on a record is the record's difficulty, plus what the model has learned of its kind, plus noise, plus
what the model remembers if it was trained on the record. Four fifths of the noise's variance are common to the released
scores and the logits, the rest is drawn for each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from auditor.checks import Subject
from auditor.controls.nulls import two_class_signals
from auditor.laboratory import Answers
from auditor.membership.evidence import Context, Evidence, NullModels
from auditor.membership.measure import Jury
from auditor.shadows import AuditSet, inclusion_pairs, null_halves
from auditor.signals import Signals
from auditor.splits import Recipe, Records, Splits, SplitsFile

__all__ = ["RECIPE", "Design", "World", "simulate"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

RECIPE = Recipe(epochs=1, lr=0.1, batch_size=2)
_CLASSES = 5
_POPULATION = 500
_FEATURES = 8
_SHARED = 0.8
_REMEMBERED = 4.0  # within-record standard deviations, as in the planted control
_PER_GROUP = 5
_LARGEST_GROUP = 20


@dataclass(frozen=True)
class Design:
    """What is simulated. The standard deviation of a model's noise is 1, that of the difficulty 2.

    Attributes:
        name: In tables.
        n: Records a side.
        shadows: K.
        leak: How far the margin rises on own records, on average; exponential over records.
        spared: The target was trained on none of the stated members: shadows remember theirs, it does not.
        share: Share of records that a model trained on them remembers by four standard deviations.
        shift: How much easier members are, for any model.
        learned: By how much a model trained on members only is better on members; shadows learn half of it, of both.
        unlearned: The share of `learned` that null models missed, which are trained on fewer records.
        uneven: Standard deviation, as a share of `learned`, of what the target and each null model learned of it.
        visible: Difference of members' and non-members' means in each of eight features that the blind control sees.
        noise: Normal, or exponential less 1.
        groups: Records of one person come in fives, or in groups of 1 to 20; they share half of the noise.
    """

    name: str
    n: int
    shadows: int
    leak: float = 0.0
    spared: bool = False
    share: float = 0.0
    shift: float = 0.0
    learned: float = 0.0
    unlearned: float = 0.0
    uneven: float = 0.0
    visible: float = 0.0
    noise: Literal["normal", "skewed"] = "normal"
    groups: Literal["none", "fives", "unequal"] = "none"


@dataclass(frozen=True)
class World:
    """All that an audit works on after training."""

    evidence: Evidence
    nulls: NullModels
    jury: Jury
    subject: Subject
    features: Floats


def simulate(design: Design, rng: np.random.Generator) -> World:
    """Draw one audit's signals."""
    audit_set = _audit_set(design, rng)
    membership, seed = audit_set.membership, int(rng.integers(2**31))
    jury = Jury.of(audit_set.records, membership, seed)
    inclusion, halves = inclusion_pairs(2 * design.n, design.shadows, rng), null_halves(audit_set, rng)
    answers = _answers(design, audit_set.records.groups, np.vstack([membership, inclusion, halves]), rng)
    shadows = answers.without_models([0, design.shadows + 1, design.shadows + 2])
    nulls = Answers.stack([answers.model(design.shadows + 1 + index) for index in range(2)])
    features = rng.normal(size=(2 * design.n, _FEATURES)) + design.visible * membership[:, None]
    context = Context(
        labels=audit_set.records.labels,
        calibration_labels=audit_set.calibration.labels,
        features=features,
        calibration_features=rng.normal(size=(_POPULATION, _FEATURES)),
        seed=seed,
    )
    evidence = Evidence(answers.model(0), shadows, inclusion, context)
    subject = Subject(_splits(audit_set), audit_set, jury, evidence, recipe_stated=True, recipe=RECIPE)
    return World(evidence, NullModels(nulls, halves), jury, subject, features)


def _audit_set(design: Design, rng: np.random.Generator) -> AuditSet:
    records = _records(2 * design.n, rng, _groups(design, rng))
    population = _records(_POPULATION, rng, None)
    return AuditSet(
        records=records,
        membership=np.arange(2 * design.n) < design.n,
        others=records.take(np.arange(0)),
        calibration=population,
        reference=population,
        population_source="population/",
    )


def _records(count: int, rng: np.random.Generator, groups: Ints | None) -> Records:
    digests = tuple(index.to_bytes(8, "big") for index in range(count))
    return Records(np.zeros((count, 1), np.float32), rng.integers(0, _CLASSES, count), groups, digests)


def _groups(design: Design, rng: np.random.Generator) -> Ints | None:
    """The group of each record; no group has members and non-members."""
    if design.groups == "none":
        return None
    if design.groups == "fives":
        return np.arange(2 * design.n, dtype=np.int64) // _PER_GROUP
    sides = [_unequal(design.n, rng), _unequal(design.n, rng)]
    return np.concatenate([sides[0], sides[1] + sides[0].max() + 1])


def _unequal(count: int, rng: np.random.Generator) -> Ints:
    sizes = rng.integers(1, _LARGEST_GROUP + 1, count)
    return np.repeat(np.arange(count, dtype=np.int64), sizes)[:count]


def _splits(audit_set: AuditSet) -> Splits:
    return Splits(
        members=audit_set.records.take(audit_set.membership),
        non_members=audit_set.records.take(~audit_set.membership),
        population=audit_set.calibration,
        public=None,
        validation=None,
        class_names=tuple("abcde"),
        class_names_source="simulated",
        settings=SplitsFile(random_split=True),
        duplicates_dropped=0,
        folder=Path(),
    )


# --- margins -------------------------------------------------------------------------------------------------------


def _answers(design: Design, groups: Ints | None, included: Flags, rng: np.random.Generator) -> Answers:
    """Answers of the target, the shadows and both null models, in this order [model, record, query]."""
    members = np.arange(2 * design.n) < design.n
    centre = rng.normal(2.0, 2.0, 2 * design.n) + design.shift * members + _of_kind(design, members, rng)
    centre = centre + _remembered(design, included, rng)
    population = np.broadcast_to(rng.normal(2.0, 2.0, _POPULATION), (len(included), _POPULATION))
    return Answers(_signals(design, centre, groups, rng), _signals(design, population, None, rng))


def _of_kind(design: Design, members: Flags, rng: np.random.Generator) -> Floats:
    """What models have learned of a kind of record [model, record]: they were trained on members, shadows on both."""
    own = np.full(design.shadows + 3, 0.5)
    own[[0, -2, -1]] = 1.0, 1.0 - design.unlearned, 1.0 - design.unlearned
    if design.uneven:
        own[[0, -2, -1]] *= 1 + design.uneven * rng.normal(size=3)
    other = np.full(design.shadows + 3, 0.5)
    other[[0, -2, -1]] = 0.0
    return np.asarray(design.learned * np.where(members, own[:, None], other[:, None]))


def _remembered(design: Design, included: Flags, rng: np.random.Generator) -> Floats:
    """What models remember of their own records [model, record]."""
    lift = design.leak * rng.exponential(size=2 * design.n)
    lift += _REMEMBERED * (rng.random(2 * design.n) < design.share)
    trained = included.copy()
    trained[0] &= not design.spared
    return np.asarray(lift * trained)


def _signals(design: Design, centre: Floats, groups: Ints | None, rng: np.random.Generator) -> Signals:
    common, own, logits = (_noise(design, centre.shape, groups, rng) for _ in range(3))
    released, logit = (centre + np.sqrt(_SHARED) * common + np.sqrt(1 - _SHARED) * apart for apart in (own, logits))
    return replace(two_class_signals(released[..., None]), logit_margin=logit[..., None])


def _noise(design: Design, shape: tuple[int, ...], groups: Ints | None, rng: np.random.Generator) -> Floats:
    def draw(size: tuple[int, ...]) -> Floats:
        return rng.exponential(size=size) - 1.0 if design.noise == "skewed" else rng.normal(size=size)

    noise = draw(shape)
    if groups is None:
        return noise
    together = draw((shape[0], int(groups.max()) + 1))[:, groups]
    return np.asarray((noise + together) / np.sqrt(2.0))
