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

__all__ = ["InversionAttack", "Supply", "why_not_inverted"]

Material = Literal["public", "prior", "own generator"]

_LEAST_PUBLIC = 100
_SMALLEST_SIDE = 8


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


@dataclass(frozen=True)
class Supply:
    """What there is for inversion attacks, known before anything runs.

    Attributes:
        side: The shorter side of an image as the model takes it, in pixels; 0 where the records are no images.
        classes: How many have a member, a non-member and a record of the population.
        public: Images of public/.
        generator: Whether the user gives a generator.
    """

    side: int
    classes: int
    public: int
    generator: bool


def why_not_inverted(attack: InversionAttack, supply: Supply) -> str:
    """Why an attack cannot run on what there is, or nothing."""
    few = supply.public < _LEAST_PUBLIC
    images = f"needs {_LEAST_PUBLIC} images in public/"
    refusals = (
        (supply.side == 0, "rebuilds images, and the records are features"),
        (supply.side < _SMALLEST_SIDE, f"images are smaller than {_SMALLEST_SIDE} pixels"),
        (supply.classes < 2, "fewer than two classes have a record of every kind"),
        (attack.needs == "own generator" and not supply.generator, "needs a generator of your own"),
        (attack.needs == "public" and few, images),
        (attack.needs == "prior" and few and not supply.generator, f"{images} or a generator of your own"),
    )
    return next((reason for refused, reason in refusals if refused), "")
