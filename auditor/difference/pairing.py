"""The same records in two audits, matched one by one: what the primary attacks gave each of them, then and now.

A report holds no score of a record. The run folder keeps them beside it; `kept_scores` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

from auditor.findings import Metric
from auditor.stats.estimate import Estimate

__all__ = ["ALONE", "Kept", "KeptScores", "Missing", "Pairs", "match"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class KeptScores:
    """What one audit keeps beside its report, in the order of the opaque record ids.

    Attributes:
        records: The ids as numbers, uint64 [record], each once.
        membership: bool [record].
        groups: int64 [record], numbered as they first appear; None: not stated.
        scores: By attack, float64 [record].
    """

    records: npt.NDArray[np.uint64]
    membership: npt.NDArray[np.bool_]
    groups: Integers | None
    scores: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        membership: npt.NDArray[np.bool_],
        groups: Integers | None,
        scores: Mapping[str, Floats],
    ) -> Self:
        """Bring what an audit holds [record], in whatever order, into that of the ids.

        Args:
            ids: Opaque record ids, 16 hexadecimal digits each.
            membership: Who is a member.
            groups: Who belongs together, if that is stated; the numbers themselves are not kept.
            scores: By attack.
        """
        records = np.array([int(one, 16) for one in ids], dtype=np.uint64)
        order = np.argsort(records)
        return cls(
            records=records[order],
            membership=membership[order],
            groups=None if groups is None else _renumbered(groups[order]),
            scores={name: given[order] for name, given in scores.items()},
        )


def _renumbered(groups: Integers) -> Integers:
    """The same groups, numbered as they first appear: equal where records are grouped alike."""
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]


@dataclass(frozen=True, slots=True)
class Missing:
    """There are no scores to be matched; the reason goes on where "the old report" begins."""

    reason: str


Kept: TypeAlias = KeptScores | Missing

ALONE: tuple[Kept, Kept] = (Missing("was given without its run folder"), Missing("was given without its run folder"))


@dataclass(frozen=True, eq=False)
class Pairs:
    """The same records, scored in both audits.

    Attributes:
        membership: bool [record].
        groups: int64 [record], or None.
        old: Scores by attack, float64 [record], of the audit then.
        new: Of the audit now.
        seed: For what is resampled.
    """

    membership: npt.NDArray[np.bool_]
    groups: Integers | None
    old: Mapping[str, Floats]
    new: Mapping[str, Floats]
    seed: int

    def change(self, attack_id: str, metric: Metric, fpr: float | None, confidence: float) -> Estimate | None:
        """How much more an attack finds now, with records (or groups) drawn anew and everything trained as it is.

        AUC by DeLong's covariance, TPR by the paired bootstrap: as before and after a defense. None: it was not scored
        in both audits, or is asked for at a rate or confidence that there is none of.
        """
        from auditor.stats.auc import auc_difference  # with SciPy, which no report needs that is only rendered
        from auditor.stats.low_fpr import tpr_at_fpr_difference

        before, after = self.old.get(attack_id), self.new.get(attack_id)
        rates = (confidence,) if fpr is None else (confidence, fpr)
        if before is None or after is None or not all(0.0 < one < 1.0 for one in rates):
            return None
        if metric is Metric.AUC:
            found = auc_difference(after, before, self.membership, confidence=confidence, groups=self.groups)
            return found.estimate
        if fpr is None:
            return None
        rng = np.random.default_rng(self.seed)
        return tpr_at_fpr_difference(
            after, before, self.membership, fpr, rng, confidence=confidence, groups=self.groups
        )


def match(old: Kept, new: Kept, seed: int) -> Pairs | Missing:
    """Put the scores of both audits side by side; where that cannot be done, say why of which report."""
    if isinstance(old, Missing):
        return Missing(f"the old report {old.reason}")
    if isinstance(new, Missing):
        return Missing(f"the new report {new.reason}")
    if not (np.array_equal(old.records, new.records) and np.array_equal(old.membership, new.membership)):
        return Missing("the scores beside the two reports are of other records")
    if not _alike(old.groups, new.groups):
        return Missing("the records are grouped otherwise")
    return Pairs(new.membership, new.groups, old.scores, new.scores, seed)


def _alike(one: Integers | None, other: Integers | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
