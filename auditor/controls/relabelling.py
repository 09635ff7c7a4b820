"""Labels drawn at random, for the controls that need a truth in which nothing leaks.

Records of one group are not independent, so a group has its label as a whole: groups of members exchange labels with
groups of non-members, and a group with both exchanges its two parts or not, by a coin. On either side there remain as
many groups as there were. A draw that leaves one side too few effective groups is not tested, nor would such an audit
be, so it is drawn again. What is drawn keeps the groups, and is judged by the audit's own tests (docs/decisions/0003).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.compute import generator
from auditor.membership.evidence import Attack
from auditor.membership.measure import Jury
from auditor.stats.groups import LEAST_EFFECTIVE_GROUPS, effective_groups

__all__ = ["TOO_FEW_GROUPS", "Relabelling", "without_appendix"]

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

TOO_FEW_GROUPS = (
    f"Labels are drawn for whole groups, and too few take part: fewer than {LEAST_EFFECTIVE_GROUPS} effective groups "
    "a side as they stand, or in nearly every draw."
)

_DRAWS = 200
_LEAST_TESTABLE = 0.05  # of the draws: so rare a one is still found at once


@dataclass(frozen=True)
class Relabelling:
    """Draws labels for a jury.

    Attributes:
        jury: The audit's.
        units: What has a label of its own, the group or the record, numbered as first seen, int64 [record].
    """

    jury: Jury
    units: Integers

    @classmethod
    def of(cls, jury: Jury, seed: int) -> Relabelling | None:
        """None where the groups are too few: the audit's tests cannot reject, or hardly any draw could be tested."""
        names = np.arange(len(jury.membership)) if jury.groups is None else jury.groups
        _, first, codes = np.unique(names, return_index=True, return_inverse=True)
        found = cls(jury, np.argsort(np.argsort(first))[codes])
        if jury.groups is None:
            return found
        rng = generator(seed, "relabelled groups")
        testable = np.mean([_enough(found._drawn(rng)) for _ in range(_DRAWS)])
        return found if _enough(jury) and testable >= _LEAST_TESTABLE else None

    def draw(self, rng: np.random.Generator) -> Jury:
        """The same jury with labels at random, and effective groups enough for the audit to test it."""
        drawn = self._drawn(rng)
        while not _enough(drawn):
            drawn = self._drawn(rng)
        return drawn

    def chosen(self, share: float, rng: np.random.Generator) -> Flags:
        """A mask [record] of units drawn with this chance each."""
        return np.asarray((rng.random(self.units.max() + 1) < share)[self.units])

    def _drawn(self, rng: np.random.Generator) -> Jury:
        member = self.jury.membership
        size, inside = np.bincount(self.units), np.bincount(self.units, weights=member)
        status, mixed = inside > 0, (inside > 0) & (inside < size)
        exchanged = np.empty(len(size), dtype=bool)
        exchanged[~mixed] = rng.permutation(status[~mixed]) != status[~mixed]
        exchanged[mixed] = rng.random(int(mixed.sum())) < 0.5
        return replace(self.jury, membership=member ^ exchanged[self.units])


def _enough(jury: Jury) -> bool:
    return jury.groups is None or effective_groups(jury.membership, jury.groups).enough


def without_appendix(attack: Attack, jury: Jury) -> Attack:
    """The attack without the endpoint that groups keep in the appendix, which takes thousands of resamples a time."""
    return replace(attack, low_fpr_endpoint=attack.low_fpr_endpoint and jury.groups is None)
