"""What a row of the battery is, for an inversion attack; it is read without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auditor.findings import AttackCard

if TYPE_CHECKING:
    from auditor.inversion.given import Given, Rebuilt
    from auditor.target import Target
    from reference_attacks.inversion.material import Inverted

__all__ = ["InversionAttack"]

Material = Literal["public", "prior", "own generator"]


@dataclass(frozen=True)
class InversionAttack:
    """A row of the battery: the card, and the adapter from what is given to the attack file.

    Attributes:
        card: What the report says of it.
        run: A module-level function: one image or more per class, or one per record that was asked about.
        rebuilds: Classes, or single records from what the model says of them; decides how it is measured.
        needs: Material without which it is skipped.
        budget: The least budget that pays for it.
        stops_early: Whether a class may be done long before its last step, so that a trial takes few classes in full.
        opened: What its attacker, who holds the weights, makes of a model first, a module-level function.
    """

    card: AttackCard
    run: Callable[[Given], Inverted | Rebuilt]
    rebuilds: Literal["classes", "records"] = "classes"
    needs: Material | None = None
    budget: str = "quick"
    stops_early: bool = False
    opened: Callable[[Target], Target] | None = None
