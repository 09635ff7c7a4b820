"""What a defense is: a row of the table in `auditor.defenses`, and the two ways in which it makes a target another.

Output-time defenses fit a wrapper and leave the weights alone; training-time ones train the network anew. A defended
target goes through the same battery as any other: nothing else knows what a defense does inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from auditor.checkpoint.new_head import NewHead
from auditor.checkpoint.sidecar import TrainedWith
from auditor.findings import DefenseCard
from auditor.splits import Recipe, Records
from auditor.target import OutputWrapper, Target
from auditor.threat import Access

__all__ = ["Applied", "Defense", "DefenseProbe", "Holding", "Inspected", "InversionProbe", "UnfitDefenseError"]

Floats = npt.NDArray[np.float64]


class UnfitDefenseError(Exception):
    """A defense cannot be put on this model with these data; the message says why, and it is skipped."""


@dataclass(frozen=True)
class Holding:
    """What the defender of one model holds (rule 12 of docs/rules-of-evidence.md).

    Attributes:
        members: What that model was trained on. Only defenses that use members read them.
        reference: The defending half of the population: records that no model trained on and nobody evaluates.
        recipe: How that model was trained.
        chosen: What the defense has settled on, once, on the audited model: the same for every shadow.
    """

    members: Records
    reference: Records
    recipe: Recipe
    chosen: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspected:
    """What the probe of a defense is given: the defended target, and shadows of the attacker's own.

    Attributes:
        target: The defended target.
        records: The audit records; or those held out, and fresh ones, see `DefenseProbe.asks`.
        shadows: Defended shadows; undefended ones where records held out are asked about.
        inclusion: bool [model, record], which of the records each shadow trained on.
        own: The attacker's own records of the same classes: the calibrating half of the population; the audited
            non-members where that half is asked about.
        seed: For probes that draw.
    """

    target: Target
    records: Records
    shadows: tuple[Target, ...]
    inclusion: npt.NDArray[np.bool_]
    own: Records
    seed: int


@dataclass(frozen=True)
class DefenseProbe:
    """An attack that exists only because of one defense, by somebody who knows it.

    Attributes:
        id: Names it in files and in the report.
        title: What it looks at, in a few words.
        access: What it needs to see.
        score: A module-level function: what is inspected -> scores [record], larger = more likely a member, or held
            out.
        shadows: How many shadows it reads.
        asks: Whether it tells audited members from non-members, or the records that the defender held out while
            training (`Holding.reference`) from fresh ones: the calibrating half of the population, on which nothing was
            trained. Every defended shadow was trained with the same records held out, so it reads undefended shadows.
    """

    id: str
    title: str
    access: Access
    score: Callable[[Inspected], Floats]
    shadows: int = 0
    asks: Literal["members", "held out"] = "members"


@dataclass(frozen=True)
class InversionProbe:
    """MIFace by somebody who knows one defense and holds the weights.

    Attributes:
        id: Names it in files and in the report.
        title: What it does, in a few words.
        aim: The confidence in the class that it climbs to.
        opened: What it makes of the model first, a module-level function; None: as `Defense.opened`.
    """

    id: str
    title: str
    aim: float = 1.0
    opened: Callable[[Target], Target] | None = None


@dataclass(frozen=True)
class Defense:
    """A row of the table: the card, and what makes a target a defended one: `wrap`, `retrain` or both.

    Attributes:
        card: What the report says of it.
        wrap: Fits what stands behind a target: target, holding, seed -> wrapper.
        retrain: Trains a network anew: untrained template with the defense's head, holding, seed -> target.
        head: Which head it gives a network; None: its own.
        settle: Chooses what has to be tuned, on the audited model's records: template, holding, seed -> settings.
        opened: What whoever holds the weights makes of a defended target, if not just that.
        uses_members: Whether `wrap` reads members.
        budget: The smallest budget that measures it.
        probes: Attacks on membership that exist only because of it.
        inverters: Attacks by inversion that exist only because of it, where it trains a network anew.
        trainings: What training it costs, in plain trainings by the recipe.
        settling: What `settle` costs, alike.
    """

    card: DefenseCard
    wrap: Callable[[Target, Holding, int], OutputWrapper] | None = None
    retrain: Callable[[Target, Holding, int], Target] | None = None
    head: Callable[[Target], NewHead] | None = None
    settle: Callable[[Target, Holding, int], Mapping[str, float]] | None = None
    opened: Callable[[Target], Target] | None = None
    uses_members: bool = False
    budget: str = "standard"
    probes: tuple[DefenseProbe, ...] = ()
    inverters: tuple[InversionProbe, ...] = ()
    trainings: float = 1.0
    settling: float = 0.0

    def reads_members(self) -> bool:
        """Whether it needs the records that a model was trained on."""
        return self.uses_members or self.retrain is not None


@dataclass(frozen=True)
class Applied:
    """A defense with what it has settled on, to be put on the target and on every shadow alike.

    Attributes:
        defense: The row.
        chosen: See `Holding.chosen`.
    """

    defense: Defense
    chosen: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names it in files."""
        told = "".join(f"-{name}-{value:g}" for name, value in sorted(self.chosen.items()))
        return f"{self.defense.card.id}{told}"

    def template(self, plain: Target) -> Target:
        """An untrained target of the same make, with the defense's head."""
        return plain if self.defense.head is None else plain.with_head(self.defense.head(plain))

    def retrained(self, plain: Target, holding: Holding, seed: int) -> Target:
        """The network trained anew, marked with how; the target itself where nothing is trained."""
        if self.defense.retrain is None:
            return plain
        trained = self.defense.retrain(self.template(plain), replace(holding, chosen=self.chosen), seed)
        return self.marked(trained)

    def marked(self, trained: Target) -> Target:
        """A retrained target that says which defense made it."""
        mark = TrainedWith(defense=self.defense.card.id, chosen=dict(self.chosen), head=trained.architecture.head)
        facts = trained.facts.model_copy(update={"trained_with": mark.defense})
        return replace(trained, trained_with=mark, facts=facts)

    def wrapped(self, target: Target, holding: Holding, seed: int) -> Target:
        """The target behind what the defense fits; the target itself where it fits nothing."""
        if self.defense.wrap is None:
            return target
        return target.with_wrapper(self.defense.wrap(target, replace(holding, chosen=self.chosen), seed))

    def apply(self, target: Target, holding: Holding, seed: int) -> Target:
        """Target -> defended target."""
        return self.wrapped(self.retrained(target, holding, seed), holding, seed)
