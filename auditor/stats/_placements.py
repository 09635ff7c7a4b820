"""Placements, from which every AUC, its variance and its differences are made (`auditor.stats.auc`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from auditor.stats._spread import Side, Spread, spread_of
from auditor.stats._validate import BoolVector, FloatVector, IntVector, group_codes, membership_mask

__all__ = ["Placed", "Table", "both_sides", "place", "spread_of_auc"]


@dataclass(frozen=True, slots=True)
class Table:
    """Who is a member, and which records belong together."""

    mask: BoolVector
    groups: IntVector
    grouped: bool

    @classmethod
    def of(cls, membership: npt.ArrayLike, groups: npt.ArrayLike | None, *, length: int) -> Table:
        """Check both, and number the groups; without groups every record is its own."""
        mask = membership_mask(membership, length=length)
        if groups is None:
            return cls(mask, np.arange(length), grouped=False)
        return cls(mask, group_codes(groups, length=length), grouped=True)

    def only(self, chosen: BoolVector) -> Table:
        """Some of the records; groups keep their numbers."""
        return Table(self.mask[chosen], self.groups[chosen], self.grouped)

    @property
    def n(self) -> Mapping[str, int]:
        """What an estimate of these records counts."""
        counts = {"members": int(self.mask.sum()), "non-members": int((~self.mask).sum())}
        return {**counts, "groups": int(self.groups.max()) + 1} if self.grouped else counts


@dataclass(frozen=True, slots=True)
class Placed:
    """An AUC, or a difference of two, with its placements per member and per non-member."""

    value: float
    members: FloatVector
    non_members: FloatVector


def place(values: FloatVector, table: Table) -> Placed:
    """Place scores [record]: how much of the other side each member is above, and each non-member below."""
    members, non_members = values[table.mask], values[~table.mask]
    pooled = stats.rankdata(np.concatenate([members, non_members]))
    below_members = (pooled[: members.size] - stats.rankdata(members)) / non_members.size
    above_non_members = 1.0 - (pooled[members.size :] - stats.rankdata(non_members)) / members.size
    return Placed(float(below_members.mean()), below_members, above_non_members)


def both_sides(placed: Placed, table: Table, centre: float) -> tuple[Side, Side]:
    """Members and non-members, as deviations of their placements from a centre."""
    return (
        Side.equal(placed.members - centre, table.groups[table.mask]),
        Side.equal(placed.non_members - centre, table.groups[~table.mask]),
    )


def spread_of_auc(placed: Placed, table: Table) -> Spread:
    """Measure Obuchowski's variance, which is DeLong's when every record is its own group."""
    members, others = both_sides(placed, table, placed.value)
    return spread_of(members, others, "Obuchowski" if table.grouped else "DeLong", grouped=table.grouped)
