"""Simulated audits at the level of signals: what models would have answered, with a leak of chosen size."""

from dataclasses import dataclass

import numpy as np

from auditor.battery import MEMBERSHIP
from auditor.controls.nulls import two_class_signals
from auditor.laboratory import Answers
from auditor.membership.evidence import Context, Evidence
from auditor.membership.measure import Jury
from auditor.shadows import inclusion_pairs
from auditor.splits import Records


def attack(attack_id):
    return next(one for one in MEMBERSHIP if one.card.id == attack_id)


@dataclass(frozen=True)
class World:
    evidence: Evidence
    jury: Jury
    nulls: Answers
    halves: np.ndarray


def world(n=1000, shadows=8, leak=0.0, shift=0.0, seed=0, classes=5, grouped=False):
    """`leak`: how far a model's margin rises on its own records; `shift`: how much easier members are anyway."""
    rng = np.random.default_rng(seed)
    membership = np.arange(2 * n) < n
    difficulty = rng.normal(2, 2, 2 * n) + shift * membership
    susceptibility = leak * rng.exponential(size=2 * n)

    def model(inside):
        margin = difficulty + rng.normal(size=2 * n) + susceptibility * inside
        population = rng.normal(2, 2, 500) + rng.normal(size=500)
        return Answers(two_class_signals(margin[:, None]), two_class_signals(population[:, None]))

    inclusion = inclusion_pairs(2 * n, shadows, rng)
    halves = np.zeros((2, 2 * n), dtype=bool)
    halves[0, : n // 2] = True
    halves[1, n // 2 : n] = True
    records = Records.of(
        np.zeros((2 * n, 1), np.float32),
        rng.integers(0, classes, 2 * n),
        np.arange(2 * n, dtype=np.int64) // 2 if grouped else None,
    )
    context = Context(
        labels=records.labels,
        calibration_labels=rng.integers(0, classes, 500),
        features=rng.normal(size=(2 * n, 3)),
        calibration_features=rng.normal(size=(500, 3)),
        seed=seed,
    )
    return World(
        Evidence(model(membership), Answers.stack([model(row) for row in inclusion]), inclusion, context),
        Jury.of(records, membership, seed),
        Answers.stack([model(half) for half in halves]),
        halves,
    )
