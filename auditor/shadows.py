"""The audit set and the design of the shadows: who is evaluated, and who trains on whom.

Each audit record is IN for half the shadows, drawn in complementary pairs; every other member is in all of them, so
that a shadow has the target's training size (rule 1). Null models train on members only (rule 4). Where the owner
gives the shadows (`auditor.given_shadows`), who trained on whom is given too, and `Coverage` says who can be evaluated.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.compute import generator
from auditor.errors import InputError
from auditor.splits import Records, Splits

__all__ = [
    "LEAST_POPULATION",
    "AuditSet",
    "Coverage",
    "GivenModel",
    "Planting",
    "TrainingSet",
    "draw_audit_set",
    "draw_planting",
    "inclusion_pairs",
    "null_halves",
]

Flags = npt.NDArray[np.bool_]

LEAST_POPULATION = 100
_LEAST_EVALUATED = 20  # a side: null models train on half of the members, attacks are chosen on half of the records
_LEAST_GROUPS = 10  # a side: the same halves, and intervals that resample groups
_RESERVED_SHARE = 1 / 3
_MOST_PLANTED = 200


@dataclass(frozen=True)
class AuditSet:
    """Which records are evaluated, and which only calibrate.

    Attributes:
        records: The m members, then the m non-members, on which results are stated.
        membership: bool [record], True for the first m.
        others: Members that are not evaluated; every shadow trains on them.
        calibration: Half of the population: RMIA's Z, thresholds.
        reference: The other half: what defenses may be fitted on.
        population_source: Where the population came from, for the report.
    """

    records: Records
    membership: Flags
    others: Records
    calibration: Records
    reference: Records
    population_source: str

    @property
    def evaluated(self) -> int:
        """m, the number of members (and of non-members) that are evaluated."""
        return int(self.membership.sum())

    def sample(self, per_side: int) -> npt.NDArray[np.intp]:
        """Positions of that many members and as many non-members, in order: those with the smallest digests."""
        by_digest = sorted(range(self.records.n), key=lambda index: self.records.digests[index])
        sides = [[index for index in by_digest if self.membership[index] == side][:per_side] for side in (True, False)]
        return np.sort(np.array(sides[0] + sides[1], dtype=np.intp))


@dataclass(frozen=True)
class Coverage:
    """What given shadows leave to the draw.

    Attributes:
        members: bool [member], whether shadows enough trained with it, and enough without.
        non_members: bool [non-member], the same.
        seen: bool [non-member], whether any shadow trained on it, so that it must not calibrate.
    """

    members: Flags
    non_members: Flags
    seen: Flags


def draw_audit_set(splits: Splits, *, cap: int, seed: int, coverage: Coverage | None = None) -> AuditSet:
    """Fix who is evaluated: m members and m non-members at random; unused test records join the population.

    With given shadows (`coverage`) only records that they cover are evaluated, and an unused test record that one of
    them trained on is left out altogether.

    Raises:
        InputError: there are fewer than 20 members or 20 non-members to evaluate, where groups are stated fewer than
            10 of them a side, or fewer than 100 population records.
    """
    rng = generator(seed, "audit set")
    test, population, source = _test_and_population(splits, rng, coverage)
    candidates = rng.permutation(_standing_once(splits.members, coverage))
    m = min(len(candidates), test.n, cap)
    if m < _LEAST_EVALUATED:
        raise _too_few(splits, len(candidates), test.n, source, coverage)
    members, non_members = candidates[:m], rng.permutation(test.n)
    if coverage is None:
        population = Records.concatenate([population, test.take(np.sort(non_members[m:]))])
    if population.n < LEAST_POPULATION:
        raise InputError(
            f"{splits.folder}: {population.n} population records are left, and {LEAST_POPULATION} are needed.",
            "Add a population/ split: labelled records of the same classes that no model was trained on.",
        )
    order = rng.permutation(population.n)
    audited = [splits.members.take(np.sort(members)), test.take(np.sort(non_members[:m]))]
    for side, part in zip(("members", "non-members"), audited, strict=True):
        _refuse_few_groups(splits, side, part)
    return AuditSet(
        records=Records.concatenate(audited),
        membership=np.arange(2 * m) < m,
        others=splits.members.take(np.setdiff1d(np.arange(splits.members.n), members)),
        calibration=population.take(np.sort(order[: population.n // 2])),
        reference=population.take(np.sort(order[population.n // 2 :])),
        population_source=source,
    )


def _refuse_few_groups(splits: Splits, side: str, records: Records) -> None:
    groups = _LEAST_GROUPS if records.groups is None else len(np.unique(records.groups))
    if groups >= _LEAST_GROUPS:
        return
    raise InputError(
        f"{splits.folder}: groups among the evaluated {side}: {groups}, and an audit needs {_LEAST_GROUPS}.",
        "Add records of other groups, or state no `group` if records are independent of each other.",
    )


def _too_few(splits: Splits, members: int, non_members: int, source: str, coverage: Coverage | None) -> InputError:
    found = f"{splits.folder}: {members} members without an equal and {non_members} non-members"
    needed = f"and an audit needs {_LEAST_EVALUATED} of each."
    if coverage is None:
        return InputError(
            f"{found} (population: {source}) can be evaluated, {needed}",
            "Add records to train/ and test/; without population/, part of test/ is set aside.",
        )
    return InputError(
        f"{found} have two given shadows with them and two without, {needed}",
        "Train every shadow on a random half of train/ and of test/, and give more of them.",
    )


def _standing_once(records: Records, coverage: Coverage | None) -> npt.NDArray[np.intp]:
    """Positions of records without an equal: of two equal members, leaving one out of a shadow leaves the other in."""
    counts = Counter(records.digests)
    alone = np.array([counts[digest] == 1 for digest in records.digests])
    return np.flatnonzero(alone if coverage is None else alone & coverage.members)


def _test_and_population(
    splits: Splits, rng: np.random.Generator, coverage: Coverage | None
) -> tuple[Records, Records, str]:
    test = splits.non_members
    if coverage is not None:
        return _covered(splits, test.take(~coverage.seen), coverage)
    if splits.population is not None:
        return test, splits.population, "population/"
    if splits.validation is not None:
        return test, splits.validation, "validation/ (it steered training)"
    reserved = max(LEAST_POPULATION, round(test.n * _RESERVED_SHARE))
    order = rng.permutation(test.n)
    if reserved >= test.n:
        return test, test.take(order[:0]), "none"
    source = f"the {reserved:,} of {test.n:,} records of test/ that were set aside"
    return test.take(np.sort(order[reserved:])), test.take(np.sort(order[:reserved])), source


def _covered(splits: Splits, unseen: Records, coverage: Coverage) -> tuple[Records, Records, str]:
    """The same where shadows are given: what they cover is for evaluation, what none of them saw calibrates."""
    test, source = splits.non_members.take(coverage.non_members), "the part of test/ that no shadow trained on"
    if splits.population is not None:
        return test, Records.concatenate([splits.population, unseen]), "population/"
    if splits.validation is not None:
        return test, Records.concatenate([splits.validation, unseen]), "validation/ (it steered training)"
    return test, unseen, source


def inclusion_pairs(records: int, models: int, rng: np.random.Generator) -> Flags:
    """Which audit records each shadow trains on: bool [model, record], rows 2p and 2p + 1 complementary.

    Raises:
        ValueError: an odd number of models or of records.
    """
    if models % 2 or records % 2:
        raise ValueError(f"models={models} and records={records} must be even")
    rows = []
    for _ in range(models // 2):
        row = np.zeros(records, dtype=bool)
        row[rng.permutation(records)[: records // 2]] = True
        rows += [row, ~row]
    return np.stack(rows)


def null_halves(audit_set: AuditSet, rng: np.random.Generator) -> Flags:
    """What the two null models train on: bool [model, record], two halves of the audited members, no non-member.

    Records of one group stay together: who else of a person was trained on is part of not having seen the record.
    Large groups are placed first, so that neither half is left empty however unequal they are.
    """
    m = audit_set.evaluated
    groups = np.arange(m) if audit_set.records.groups is None else audit_set.records.groups[:m]
    names, position, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    first, room = np.zeros(len(names), dtype=bool), (m + 1) // 2
    for group in order[np.argsort(-counts[order], kind="stable")]:
        first[group] = counts[group] <= room
        room -= int(counts[group]) * int(first[group])
    members = first[position]
    return np.stack([np.concatenate([half, np.zeros(m, dtype=bool)]) for half in (members, ~members)])


@dataclass(frozen=True)
class Planting:
    """Records of the reference half that one shadow learns under a wrong class, if a coin says so (rule 5).

    Attributes:
        rows: Position of each among the reference records, int64 [planted].
        labels: The wrong classes, int64 [planted].
        included: bool [planted], the coins.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    included: Flags


def draw_planting(reference: Records, rng: np.random.Generator) -> Planting:
    """Draw up to 200 records, a wrong class among those that occur for each, and a coin for each."""
    count = min(_MOST_PLANTED, reference.n)
    rows = np.sort(rng.permutation(reference.n)[:count])
    classes, own = np.unique(reference.labels, return_inverse=True)
    others = rng.integers(max(len(classes) - 1, 1), size=count)
    wrong = classes[(others + (others >= own[rows])) % len(classes)]
    return Planting(rows, wrong, rng.random(count) < 0.5)


@dataclass(frozen=True)
class GivenModel:
    """A shadow that the owner trained: where its weights lie, and the SHA-256 of the tensors in them."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class TrainingSet:
    """One model to train: `included` bool [record] over the audit set; `others` whether the other members come too.

    Where it is `given`, it has been trained already, and on which other members is the owner's affair. What is planted
    in it comes on top. Records `without_classes` are left out, whoever they are.
    """

    name: str
    included: Flags
    seed: int
    others: bool = True
    given: GivenModel | None = None
    planting: Planting | None = None
    without_classes: tuple[int, ...] = ()
