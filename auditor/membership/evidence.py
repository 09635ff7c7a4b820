"""What a membership attack is given, and what a row of the battery is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from auditor.findings import AttackCard

if TYPE_CHECKING:  # rows are read without torch
    from auditor.laboratory import Answers, Arrays

__all__ = ["Attack", "Context", "Evidence", "NullModels", "Oracle", "Probed", "Unavailable"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Unavailable(Exception):  # noqa: N818 - an outcome, not a fault
    """What an attack needs was not gathered here; the message says what, and the attack is skipped."""


@dataclass(frozen=True)
class Probed:
    """What a probe saw.

    Attributes:
        target: Of the target [row, ...]; a probe that counts what it asks says so under "queries" [row].
        shadows: Of some shadows [model, row, ...]; nothing where the probe is not read there.
        shadow_membership: bool [model, row], which of the rows each of those trained on.
        rows: Position of each row among the audit records.
        records: How many audit records there are.
    """

    target: Arrays
    shadows: Arrays
    shadow_membership: Flags
    rows: npt.NDArray[np.intp]
    records: int

    def over_records(self, scores: Floats) -> Floats:
        """Scores [row] as scores [record], NaN for records that were not asked about."""
        spread = np.full(self.records, np.nan)
        spread[self.rows] = scores
        return spread

    @property
    def queries(self) -> int | None:
        """How often the target was asked about a record, on average; None where the probe did not count."""
        counted = self.target.get("queries")
        return None if counted is None else round(float(counted.mean()))

    def pooled(self, name: str) -> Floats:
        """What was seen of all those shadows, one below the other [model x row, ...]."""
        seen = self.shadows[name]
        return seen.reshape(-1, *seen.shape[2:])


@dataclass(frozen=True)
class Context:
    """What everybody knows of the records: their classes, and what can be seen of them without a model.

    Attributes:
        labels: int64 [record] of the audit set.
        calibration_labels: int64 [record] of the calibrating half of the population.
        features: float64 [record, feature] of the audit set.
        calibration_features: float64 [record, feature].
        seed: The audit's seed, for attacks that train a model of their own.
    """

    labels: npt.NDArray[np.int64]
    calibration_labels: npt.NDArray[np.int64]
    features: Floats
    calibration_features: Floats
    seed: int


@dataclass(frozen=True)
class Oracle:
    """What no attacker has, for the one row that combines attacks: scores of the others, and who half of them are.

    Attributes:
        scores: Of every attack that scored all records by labels or scores alone [attack, record].
        fitting: The half on which choices are made, bool [record].
        membership: Of that half only, bool [fitting record].
        queries: How often those attacks together ask about a record.
    """

    scores: Floats
    fitting: Flags
    membership: Flags
    queries: int


@dataclass(frozen=True)
class Evidence:
    """What the attacker has: answers of the attacked model, answers of the shadows, and who was in which shadow.

    Attributes:
        target: Answers of the attacked model, [record, query].
        shadows: Answers of the shadows, [model, record, query].
        shadow_membership: bool [model, record] over the audit set.
        context: What is known of the records themselves; None in simulations.
        probes: What further passes saw, by probe id, or why one saw nothing; gone in front of another model.
        oracle: Given to an attack that `combines`, and to no other.
    """

    target: Answers
    shadows: Answers
    shadow_membership: Flags
    context: Context | None = None
    probes: Mapping[str, Probed | Exception] = field(default_factory=dict)
    oracle: Oracle | None = None

    def attacking(self, target: Answers) -> Evidence:
        """The same attacker in front of another model."""
        return replace(self, target=target, probes={}, oracle=None)

    def known(self) -> Context:
        """What is known of the records.

        Raises:
            Unavailable: nothing was told.
        """
        if self.context is None:
            raise Unavailable("needs the records' classes and features")
        return self.context

    def probed(self, probe_id: str) -> Probed:
        """What a probe saw.

        Raises:
            Unavailable: it did not run here.
            Exception: what it crashed with.
        """
        found = self.probes.get(probe_id, Unavailable(f"needs the {probe_id} probe, which did not run here"))
        if isinstance(found, Exception):
            raise found
        return found

    def kin(self, index: int) -> list[int]:
        """A shadow, and those trained on the same audit records or on exactly the others: one tells of the other."""
        agreement = (self.shadow_membership == self.shadow_membership[index]).mean(1)
        return np.flatnonzero((agreement == 0) | (agreement == 1)).tolist()

    def attacking_shadow(self, index: int) -> Evidence:
        """One shadow in the target's place; it and its twin leave the pool (rule 1 of docs/rules-of-evidence.md)."""
        leaving = self.kin(index)
        return Evidence(
            target=self.shadows.model(index),
            shadows=self.shadows.without_models(leaving),
            shadow_membership=np.delete(self.shadow_membership, leaving, axis=0),
            context=self.context,
        )


@dataclass(frozen=True)
class NullModels:
    """Answers of the two null models [model, record, query], and bool [model, record] what each trained on."""

    answers: Answers
    halves: Flags


@dataclass(frozen=True)
class Attack:
    """A row of the battery.

    Attributes:
        card: What the report says of the attack.
        score: The adapter to the attack file: evidence -> scores [record].
        primary: Whether it is the declared primary attack of its access.
        low_fpr_endpoint: Whether its scores are fine enough for a TPR at a low FPR.
        least_shadows: How many shadows it needs.
        budget: The smallest budget that runs it.
        probe: The id of the probe it reads, if any.
        queries: How often it asks about a record; None: as often as the plan asks everybody. A probe that counts its
            questions knows better.
        combines: Whether it weighs the scores of the others, with an oracle; it runs after them.
    """

    card: AttackCard
    score: Callable[[Evidence], Floats]
    primary: bool = False
    low_fpr_endpoint: bool = True
    least_shadows: int = 0
    budget: str = "quick"
    probe: str | None = None
    queries: int | None = None
    combines: bool = False
