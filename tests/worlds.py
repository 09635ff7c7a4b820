"""Simulated audits at the level of signals: what models would have answered, with a leak of chosen size."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from auditor.battery import MEMBERSHIP
from auditor.controls.nulls import two_class_signals
from auditor.laboratory import Answers
from auditor.membership.evidence import Context, Evidence, Probed
from auditor.membership.measure import Jury
from auditor.shadows import inclusion_pairs
from auditor.splits import Records
from reference_attacks.membership import seqmia

SNAPSHOTS = 3
SAMPLED = 200


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


def with_probes(simulated, seed=0):
    """The same world, every probe having seen what these margins would have shown, and the boundary's only a sample."""
    evidence, rng = simulated.evidence, np.random.default_rng(seed)
    asked = (evidence.target, evidence.shadows.model(0), evidence.shadows.model(1))
    margins = [answers.audit.released_margin[:, 0] for answers in asked]
    records = len(simulated.jury.membership)
    everybody = np.arange(records)
    sample = np.sort(rng.permutation(records)[:SAMPLED])

    def probed(rows, see, *, on_shadows=True):
        target, *shadows = (see(margin[rows]) for margin in margins)
        return Probed(
            target=target,
            shadows={name: np.stack([shadow[name] for shadow in shadows]) for name in target} if on_shadows else {},
            shadow_membership=evidence.shadow_membership[: 2 * on_shadows, rows],
            rows=rows,
            records=records,
        )

    def noisy(margin, copies):
        return margin[:, None] + rng.normal(size=(len(margin), copies))

    def distilled(margin):
        students = [vectors(noisy(0.5 * margin, 1)[:, 0]) for _ in range(SNAPSHOTS - 1)]
        return np.stack([seqmia.metrics(each, labels) for each in (*students, vectors(margin))], axis=1)

    def vectors(margin):
        spread = np.full((len(margin), classes), expit(-margin)[:, None] / (classes - 1))
        spread[np.arange(len(margin)), labels] = expit(margin)
        return spread

    labels = evidence.context.labels
    classes = int(labels.max()) + 1
    easy = np.mean(margins[1:], axis=0)
    probes = {
        "vectors": probed(everybody, lambda margin: {"vectors": vectors(margin)}),
        "merlin": probed(
            everybody,
            lambda margin: {"ratio": rng.binomial(100, expit(margin / 4)) / 100, "loss": np.logaddexp(0, -margin)},
        ),
        "translations": probed(everybody, lambda margin: {"correct": (noisy(margin, 5) > 2).astype(float)}),
        "rotations": probed(everybody, lambda margin: {"correct": (noisy(margin, 11) > 2).astype(float)}),
        "label noise": probed(everybody, lambda margin: {"share": (noisy(margin, 100) > 2).mean(1)}, on_shadows=False),
        "gradients": probed(
            everybody,
            lambda margin: {"norms": np.exp(-noisy(margin, 3) / 4), "loss": np.logaddexp(0, -margin)},
        ),
        "boundary": probed(
            sample,
            lambda margin: {"distance": np.maximum(margin, 0), "queries": np.where(margin > 0, 2000.0, 1.0)},
            on_shadows=False,
        ),
        "distillation": probed(everybody, lambda margin: {"metrics": distilled(margin)}),
        "students": probed(everybody, lambda margin: {"margins": noisy(easy, 4)}, on_shadows=False),
    }
    return replace(simulated, evidence=replace(evidence, probes=probes))
