"""Bootstrap resamples that keep the design: groups are drawn whole, and sides keep their numbers of groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.stats._validate import BoolVector, IntVector

__all__ = ["Clusters"]


@dataclass(frozen=True, slots=True)
class Clusters:
    """The groups of a set of records, by whether they hold members, non-members or both.

    Attributes:
        order: Record indices sorted so that groups are contiguous [record].
        starts: Where each group begins in `order` [group].
        sizes: Records per group [group].
        kinds: Group indices of each kind that occurs; each kind is resampled on its own.
    """

    order: IntVector
    starts: IntVector
    sizes: IntVector
    kinds: tuple[IntVector, ...]

    @classmethod
    def of(cls, membership: BoolVector, groups: IntVector) -> Clusters:
        """Lay out the records of gapless `groups` [record]."""
        sizes = np.bincount(groups)
        members = np.bincount(groups, weights=membership)
        kind = (members > 0).astype(np.int64) + 2 * (members < sizes)
        return cls(
            order=np.argsort(groups, kind="stable"),
            starts=np.cumsum(sizes) - sizes,
            sizes=sizes,
            kinds=tuple(np.flatnonzero(kind == code) for code in np.unique(kind)),
        )

    def draw(self, rng: np.random.Generator) -> IntVector:
        """Return the record indices of one resample; the number of records may differ when groups differ in size."""
        drawn = np.concatenate([rng.choice(kind, kind.size) for kind in self.kinds])
        sizes = self.sizes[drawn]
        begins = np.cumsum(sizes) - sizes
        positions = np.repeat(self.starts[drawn] - begins, sizes) + np.arange(sizes.sum())
        return np.asarray(self.order[positions], dtype=np.int64)
