"""How uncertain an AUC is, from the placements of members and non-members, and the bounds and p-values that follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special, stats

from auditor.stats._validate import FloatVector, IntVector
from auditor.stats.groups import LEAST_EFFECTIVE_GROUPS, Shares, summed
from auditor.stats.intervals import proportion_lower_bound, proportion_upper_bound

__all__ = ["ROUNDING", "Side", "Spread", "bound", "difference_interval", "p_above_half", "spread_of"]

# Below this a placement's deviation is rounding: real ones are multiples of 1 / (2 * members * non-members).
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Spread:
    """How uncertain a value is.

    Attributes:
        variance: Of the value; 0 when the records show no spread or cannot show it, infinite when nothing can be said.
        pairs: Disjoint member/non-member pairs among the records, to judge by where the variance is 0.
        freedom: Degrees of freedom of Student's t; infinite for the normal.
        method: Whose variance it is.
    """

    variance: float
    pairs: int
    freedom: float
    method: str

    def quantile(self, alpha: float) -> float:
        """Return what Student's t exceeds with probability `alpha`."""
        return float(stats.t.isf(alpha, self.freedom))

    def tail(self, z: float) -> float:
        """Return the probability that Student's t exceeds `z`."""
        return float(stats.t.sf(z, self.freedom))

    @property
    def unknown(self) -> bool:
        """Whether the effective groups are too few to measure it."""
        return math.isinf(self.variance)

    def describe(self, wald: str) -> str:
        """Name the interval: `wald` filled with the method, or the one by pairs."""
        if self.unknown:
            return f"all values: fewer than {LEAST_EFFECTIVE_GROUPS} effective groups on a side"
        return wald.format(self.method) if self.variance > 0 else "Clopper-Pearson on disjoint pairs"

    def plus(self, variance: float) -> Spread:
        """Add independent variance."""
        return Spread(self.variance + variance, self.pairs, self.freedom, self.method)

    def plus_estimated(self, variance: float, seen: float) -> Spread:
        """Add independent variance that one normal deviation tells of, with Satterthwaite's degrees of freedom.

        Args:
            variance: What is added.
            seen: The square of that deviation, in the same unit: `variance` with what chance has in it. The freedom is
                that of a sum with `seen`: models that agree by luck have not shown that models agree.
        """
        added = self.plus(variance)
        if self.unknown or seen == 0:
            return added
        freedom = (self.variance + seen) ** 2 / (self.variance**2 / self.freedom + seen**2)
        return replace(added, freedom=freedom)

    def scaled(self, factor: float) -> Spread:
        """Return the spread of `factor` times the value."""
        return Spread(self.variance * factor**2, self.pairs, self.freedom, self.method)


@dataclass(frozen=True, slots=True)
class Side:
    """The members or the non-members: how far placements deviate, what records weigh, whom they belong to."""

    deviations: FloatVector
    weights: FloatVector
    groups: IntVector

    @classmethod
    def equal(cls, deviations: FloatVector, groups: IntVector) -> Side:
        """Let all records weigh the same, 1 together."""
        return cls(deviations, np.full(deviations.size, 1 / deviations.size), groups)

    @classmethod
    def joined(cls, sides: Sequence[Side], weights: FloatVector) -> Side:
        """Put the same side of several strata together, of which each has its weight [stratum]."""
        return cls(
            np.concatenate([side.deviations for side in sides]),
            np.concatenate([weight * side.weights for side, weight in zip(sides, weights, strict=True)]),
            np.concatenate([side.groups for side in sides]),
        )

    def sums(self, groups: int) -> FloatVector:
        """Weighted deviations summed within each group [group]."""
        sums = summed(self.weights * self.deviations, self.groups, groups)
        return np.where(np.abs(sums) < ROUNDING * self.weights.mean(), 0.0, sums)


def spread_of(members: Side, others: Side, method: str, *, grouped: bool) -> Spread:
    """Measure the variance by the sums of groups; unknown when `grouped` and the groups are too few."""
    shares = Shares.of(members.weights, members.groups, others.weights, others.groups)
    if grouped and not shares.effective.enough:
        return Spread(math.inf, 0, math.inf, method)
    variance = shares.variance(members.sums(shares.members.size), others.sums(shares.members.size))
    return Spread(variance, shares.pairs, shares.freedom if grouped else math.inf, method)


def bound(value: float, spread: Spread, alpha: float, *, upper: bool) -> float:
    """Bound an AUC one-sided: Wald on the logit scale, or by disjoint pairs where there is no spread."""
    if spread.unknown:
        return 1.0 if upper else 0.0
    if spread.variance == 0:
        exact = proportion_upper_bound if upper else proportion_lower_bound
        return float(exact(value * spread.pairs, spread.pairs, alpha))
    reach = spread.quantile(alpha) * np.sqrt(spread.variance) / (value * (1 - value))
    return float(special.expit(special.logit(value) + (reach if upper else -reach)))


def difference_interval(value: float, spread: Spread, alpha: float) -> tuple[float, float]:
    """Bound a difference of two AUCs on both sides, `alpha` on each."""
    if spread.unknown:
        return -1.0, 1.0
    if spread.variance == 0:
        half = (1 + value) / 2
        return 2 * bound(half, spread, alpha, upper=False) - 1, 2 * bound(half, spread, alpha, upper=True) - 1
    reach = spread.quantile(alpha) * float(np.sqrt(spread.variance))
    return max(value - reach, -1.0), min(value + reach, 1.0)


def p_above_half(value: float, spread: Spread) -> float:
    """Test one-sided whether an AUC is above 0.5."""
    if spread.unknown:
        return 1.0
    if spread.variance > 0:
        return spread.tail((value - 0.5) / float(np.sqrt(spread.variance)))
    won = value * spread.pairs
    return float(stats.beta.cdf(0.5, won, spread.pairs - won + 1)) if won > 0 else 1.0
