"""Cards as JSON, for the commands that list what is in the box."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.findings import AttackCard, DefenseCard
    from auditor.inversion import InversionAttack
    from auditor.membership.evidence import Attack

__all__ = ["Cost", "as_json_array", "with_costs"]


@dataclass(frozen=True)
class Cost:
    """What an attack costs whoever mounts it.

    Attributes:
        shadows: How many shadow models it needs at least.
        queries_per_record: How often it asks about a record; None: the plan says, or, for inversion, its settings.
        budget: The smallest budget that runs it.
    """

    shadows: int
    queries_per_record: int | None
    budget: str

    @classmethod
    def of(cls, entry: Attack | InversionAttack) -> Cost:
        """The cost of a row of the battery."""
        from auditor.membership.evidence import Attack

        if isinstance(entry, Attack):
            return cls(entry.least_shadows, entry.queries, entry.budget)
        return cls(0, None, entry.budget)

    def __str__(self) -> str:
        shadows = f"{self.shadows} shadows" if self.shadows else "no shadow"
        asked = "queries as planned" if self.queries_per_record is None else _queries(self.queries_per_record)
        return f"{shadows}, {asked}, from budget {self.budget}"


def _queries(count: int) -> str:
    return f"{count:,} {'query' if count == 1 else 'queries'} per record"


def as_json_array(cards: Sequence[AttackCard] | Sequence[DefenseCard]) -> str:
    """All fields of all cards, as one JSON array."""
    return json.dumps([card.model_dump(mode="json") for card in cards], indent=2)


def with_costs(attacks: Sequence[Attack | InversionAttack]) -> str:
    """All fields of all attacks' cards, each with its `cost`, as one JSON array."""
    told = [entry.card.model_dump(mode="json") | {"cost": asdict(Cost.of(entry))} for entry in attacks]
    return json.dumps(told, indent=2)
