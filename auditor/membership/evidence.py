"""What a membership attack is given, and what a row of the battery is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.findings import AttackCard
from auditor.shadows import Answers
from auditor.threat import Access

__all__ = ["Attack", "Evidence"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """What the attacker has: answers of the attacked model, answers of the shadows, and who was in which shadow.

    Attributes:
        target: Answers of the attacked model, [record, query].
        shadows: Answers of the shadows, [model, record, query].
        shadow_membership: bool [model, record] over the audit set.
    """

    target: Answers
    shadows: Answers
    shadow_membership: Flags

    def attacking(self, target: Answers) -> Evidence:
        """The same attacker in front of another model."""
        return replace(self, target=target)

    def attacking_shadow(self, index: int) -> Evidence:
        """One shadow in the target's place; it and its twin leave the pool (DESIGN 7.1)."""
        pair = [index - index % 2, index - index % 2 + 1]
        return Evidence(
            target=self.shadows.model(index),
            shadows=self.shadows.without_models(pair),
            shadow_membership=np.delete(self.shadow_membership, pair, axis=0),
        )


@dataclass(frozen=True)
class Attack:
    """A row of the battery: the card, the adapter to the attack file, and for which access it is declared primary."""

    card: AttackCard
    score: Callable[[Evidence], Floats]
    primary_for: Access | None = None
    low_fpr_endpoint: bool = True
    least_shadows: int = 0
