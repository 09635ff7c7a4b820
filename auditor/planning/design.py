"""Who is evaluated, and who trains on whom: drawn from the seed of a plan, the same each time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.battery.plan import Plan
from auditor.compute import digest, generator
from auditor.cost.price import Cost
from auditor.given_shadows import GivenShadows
from auditor.shadows import AuditSet, Planting, TrainingSet, draw_audit_set, draw_planting, inclusion_pairs, null_halves
from auditor.splits import Splits

__all__ = ["CLASS_CONTROLS", "Design", "design_of"]

CLASS_CONTROLS = 2


@dataclass(frozen=True)
class Design:
    """Who is evaluated, and who trains on whom.

    Attributes:
        audit_set: Members, non-members and population.
        inclusion: bool [model, record], which audit records each shadow trains on.
        halves: bool [model, record], which each null model trains on.
        seed: The audit's seed.
        given: The shadows, where the owner has trained them.
        cost: What all of it costs here, where `--max-time` decided how many shadows there are.
    """

    audit_set: AuditSet
    inclusion: npt.NDArray[np.bool_]
    halves: npt.NDArray[np.bool_]
    seed: int
    given: GivenShadows | None = None
    cost: Cost | None = None

    @property
    def shadows(self) -> tuple[TrainingSet, ...]:
        """The shadows, to train or given."""
        sets = tuple(self._set("shadow", index, row) for index, row in enumerate(self.inclusion))
        if self.given is None:
            return sets
        return tuple(replace(one, given=model) for one, model in zip(sets, self.given.models, strict=True))

    @property
    def nulls(self) -> tuple[TrainingSet, ...]:
        """The two null models to train."""
        return tuple(self._set("null", index, row) for index, row in enumerate(self.halves))

    @property
    def twin(self) -> TrainingSet:
        """The records of the audited model: what an undefended twin and every training-time defense learns."""
        return self._set("twin", 0, self.audit_set.membership)

    @property
    def planted(self) -> TrainingSet:
        """A further shadow, with mislabelled records in it."""
        half = inclusion_pairs(self.audit_set.records.n, 2, generator(self.seed, "planted shadow"))[0]
        return replace(self._set("planted", 0, half), planting=self.planting)

    @property
    def planting(self) -> Planting:
        """What the further shadow learns by heart."""
        return draw_planting(self.audit_set.reference, generator(self.seed, "planting"))

    @property
    def control(self) -> TrainingSet:
        """The control model of the inversion battery: trained on the non-members instead of the members."""
        return self._set("control", 0, ~self.audit_set.membership, others=False)

    def left_out(self, plan: Plan) -> tuple[TrainingSet, ...]:
        """The other control models of the inversion battery: each trained without one random half of the classes."""
        if not plan.class_controls:
            return ()
        order = generator(self.seed, "classes left out").permutation(np.unique(self.audit_set.records.labels))
        everyone = self.audit_set.membership
        return tuple(
            replace(self._set("without-half", index, everyone), without_classes=tuple(sorted(half.tolist())))
            for index, half in enumerate(np.array_split(order, CLASS_CONTROLS))
        )

    def _set(self, name: str, index: int, included: npt.NDArray[np.bool_], *, others: bool = True) -> TrainingSet:
        seed = int(generator(self.seed, f"{name} {index}").integers(2**31))
        return TrainingSet(f"{name}-{index:02d}", included, seed, others)

    def digest(self) -> str:
        """Names the design by its content."""
        return digest(
            np.packbits(self.inclusion), np.packbits(self.halves), b"".join(self.audit_set.records.digests).hex()
        )


def design_of(splits: Splits, *, cap: int, shadows: int, seed: int, given: GivenShadows | None = None) -> Design:
    """Draw the audit set, the shadows and the null models of a seed; what given shadows trained on is not drawn."""
    audit_set = draw_audit_set(splits, cap=cap, seed=seed, coverage=None if given is None else given.coverage(splits))
    if given is None:
        inclusion = inclusion_pairs(audit_set.records.n, shadows, generator(seed, "shadows"))
    else:
        inclusion = given.inclusion(audit_set)
    return Design(audit_set, inclusion, null_halves(audit_set, generator(seed, "null models")), seed, given)
