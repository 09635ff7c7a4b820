"""Cards for people and as JSON, for the commands that list what is in the box."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from textwrap import fill
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.findings import AttackCard, DefenseCard
    from auditor.inversion import InversionAttack
    from auditor.membership.evidence import Attack

__all__ = ["Cost", "Listed", "as_json_array", "listing", "with_costs"]

_WIDTH = 80  # of the narrowest terminal that is common
_ALL = "Papers, formulas, settings and what was changed: --json."


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
        shadows = f"; at least {self.shadows} shadows" if self.shadows else ""
        asked = "" if self.queries_per_record is None else f"; {_queries(self.queries_per_record)}"
        return f"from {self.budget}{shadows}{asked}"


def _queries(count: int) -> str:
    return f"{count:,} {'query' if count == 1 else 'queries'} per record"


@dataclass(frozen=True)
class Listed:
    """One entry of a listing.

    Attributes:
        id: What options call it.
        title: What people call it.
        told: The rest, in one line.
        mark: One character in front of it.
        part: Whether it belongs under the one before.
    """

    id: str
    title: str
    told: str
    mark: str = ""
    part: bool = False


def listing(groups: Iterable[tuple[str, Sequence[Listed]]], foot: str) -> str:
    """Entries under headings, wrapped so that no terminal has to; plain text."""
    blocks = [_wrapped(heading, 0) + "\n\n" + "\n".join(map(_entry, entries)) for heading, entries in groups]
    return "\n\n".join([*blocks, _wrapped(f"{foot} {_ALL}", 0)])


def _entry(one: Listed) -> str:
    indent = 4 if one.part else 2
    first = f"{one.mark:{indent}}{one.id}: {one.title}"
    return f"{_wrapped(first, indent + 2, first=0)}\n{_wrapped(one.told, indent + 4)}"


def _wrapped(text: str, indent: int, first: int | None = None) -> str:
    opening = " " * (indent if first is None else first)
    return fill(text, _WIDTH, initial_indent=opening, subsequent_indent=" " * indent, break_on_hyphens=False)


def as_json_array(cards: Sequence[AttackCard] | Sequence[DefenseCard]) -> str:
    """All fields of all cards, as one JSON array."""
    return json.dumps([card.model_dump(mode="json") for card in cards], indent=2)


def with_costs(attacks: Sequence[Attack | InversionAttack]) -> str:
    """All fields of all attacks' cards, each with its `cost`, as one JSON array."""
    told = [entry.card.model_dump(mode="json") | {"cost": asdict(Cost.of(entry))} for entry in attacks]
    return json.dumps(told, indent=2)
