"""How much evidence groups of records hold, e.g. several photographs of each person: effective numbers and variance.

A group that holds most records of a side decides what that side says, however many small ones stand beside it. So
groups are counted by Kish's effective number, (sum n_g)^2 / sum n_g^2 (Survey Sampling 1965): k equal groups count as
k, one of 288 records beside 12 of one record as 1.1. Below `LEAST_EFFECTIVE_GROUPS` on a side nothing is inferred.

The variance is Obuchowski's (1997), from sums of placements within groups, with one change. Her factor G / (G - 1)
repairs what the estimated mean takes from each sum when groups are equal; a large group pulls the mean to itself and
loses more. Group g's sum is therefore divided by sqrt(1 - 2 p_g + sum p^2), p_g its share of the side. With equal
groups that is her factor; with unequal ones the variance is right when the records of a group are alike and at least
right when they are independent (by Jensen's inequality, while no share exceeds a half), hence also in between.

The same holds for the mean of one set of records (`Clustered`), whose groups' sums deviate from that mean.

A few large groups beside many small ones make that variance itself uncertain, so its degrees of freedom are counted for
the worst case, records that are alike within groups: (sum p^2)^2 / sum p^4 - 1, which is G - 1 for equal groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.stats._validate import FloatVector, IntVector, group_codes, membership_mask

__all__ = [
    "LEAST_EFFECTIVE_GROUPS",
    "Clustered",
    "EffectiveGroups",
    "Shares",
    "effective_groups",
    "enough_groups",
    "summed",
]

# By simulation of unequal groups: tests/stats/test_auc.py keeps the hardest cases.
LEAST_EFFECTIVE_GROUPS = 10

# Effective numbers are quotients of floats, and 19.999... groups are 20.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class EffectiveGroups:
    """How many equal groups a side's groups are worth.

    Attributes:
        total: Distinct groups among all records.
        members: Kish's effective number among members.
        non_members: The same among non-members.
    """

    total: int
    members: float
    non_members: float

    @property
    def enough(self) -> bool:
        """Whether anything may be inferred."""
        return self.whole >= LEAST_EFFECTIVE_GROUPS

    @property
    def whole(self) -> int:
        """Whole groups on the lesser side."""
        return int(min(self.members, self.non_members) + ROUNDING)


def effective_groups(membership: npt.ArrayLike, groups: npt.ArrayLike) -> EffectiveGroups:
    """Count the groups on either side by what they are worth.

    Args:
        membership: bool [record].
        groups: int [record].

    Raises:
        ValueError: Shapes differ or a side is empty.
    """
    codes = group_codes(groups, length=np.asarray(groups).size)
    mask = membership_mask(membership, length=codes.size)
    members, others = codes[mask], codes[~mask]
    shares = Shares.of(np.full(members.size, 1 / members.size), members, np.full(others.size, 1 / others.size), others)
    return shares.effective


@dataclass(frozen=True, slots=True)
class Shares:
    """What share of each side every group holds.

    Attributes:
        members: Share of the members' weight [group]; sums to 1.
        non_members: Share of the non-members' weight [group]; sums to 1.
    """

    members: FloatVector
    non_members: FloatVector

    @classmethod
    def of(
        cls, member_weights: FloatVector, member_groups: IntVector, other_weights: FloatVector, other_groups: IntVector
    ) -> Shares:
        """Add up weights [member], [non-member] that sum to 1 on each side, over groups [member], [non-member]."""
        count = int(max(member_groups.max(), other_groups.max())) + 1
        return cls(summed(member_weights, member_groups, count), summed(other_weights, other_groups, count))

    @property
    def effective(self) -> EffectiveGroups:
        """Kish's effective numbers."""
        total = int(np.count_nonzero(self.members + self.non_members))
        return EffectiveGroups(total, 1 / _sum_of_squares(self.members), 1 / _sum_of_squares(self.non_members))

    @property
    def pairs(self) -> int:
        """Disjoint member/non-member pairs that the groups are worth; a group on both sides serves one of them."""
        both = 2 / _sum_of_squares(self.members + self.non_members)
        return int(min(self.effective.members, self.effective.non_members, both) + ROUNDING)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance, on the poorer side and were the records of every group all alike."""
        return max(min(_freedom(self.members), _freedom(self.non_members)), 1.0)

    def variance(self, member_sums: FloatVector, other_sums: FloatVector) -> float:
        """Measure the variance of a mean over members plus one over non-members by the sums of their groups.

        Args:
            member_sums: Weighted deviations from the value, summed over each group's members [group].
            other_sums: The same over its non-members [group].

        Returns:
            The variance; 0 where a group is a whole side, which shows none.
        """
        if max(self.members.max(), self.non_members.max()) > 1 - ROUNDING:
            return 0.0
        a, b = member_sums / _kept(self.members), other_sums / _kept(self.non_members)
        return float((a + b) @ (a + b))


def enough_groups(groups: npt.ArrayLike) -> bool:
    """Whether anything may be inferred from records of these groups, int [record]."""
    shares = np.bincount(group_codes(groups, length=np.asarray(groups).size)) / np.asarray(groups).size
    return 1 / _sum_of_squares(shares) + ROUNDING >= LEAST_EFFECTIVE_GROUPS


@dataclass(frozen=True, slots=True)
class Clustered:
    """How uncertain the mean of records in groups is.

    Attributes:
        variance: Of the mean; never below that of as many independent records, which sums that cancel would be.
        effective: Kish's effective number of groups.
        freedom: Degrees of freedom of Student's t.
        groups: How many there are.
    """

    variance: float
    effective: float
    freedom: float
    groups: int

    @classmethod
    def of(cls, values: FloatVector, codes: IntVector) -> Clustered:
        """Measure the mean of values [record], two at least, of gapless groups [record]."""
        groups = int(codes.max()) + 1
        shares = summed(np.full(values.size, 1 / values.size), codes, groups)
        effective = 1 / _sum_of_squares(shares)
        alone = float(values.var(ddof=1)) / values.size
        if shares.max() > 1 - ROUNDING:
            return cls(alone, effective, 1.0, groups)
        sums = summed((values - values.mean()) / values.size, codes, groups) / _kept(shares)
        return cls(max(float(sums @ sums), alone), effective, max(_freedom(shares), 1.0), groups)

    @property
    def enough(self) -> bool:
        """Whether anything may be inferred."""
        return self.effective + ROUNDING >= LEAST_EFFECTIVE_GROUPS


def summed(values: FloatVector, codes: IntVector, groups: int) -> FloatVector:
    """Add values [record] up over their groups [group]."""
    return np.asarray(np.bincount(codes, weights=values, minlength=groups), dtype=np.float64)


def _sum_of_squares(shares: FloatVector) -> float:
    return float(shares @ shares)


def _freedom(shares: FloatVector) -> float:
    """Satterthwaite's, less the one for the mean: groups then bring squares of normal deviates weighing p^2."""
    squares = shares**2
    return float(squares.sum() ** 2 / (squares @ squares)) - 1


def _kept(shares: FloatVector) -> FloatVector:
    """What estimating the mean leaves of each deviation [group]: of its square 1 - 1/G when groups are equal."""
    return np.asarray(np.sqrt(1 - 2 * shares + _sum_of_squares(shares)), dtype=np.float64)
