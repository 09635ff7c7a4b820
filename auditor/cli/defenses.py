"""`privaudit defenses`: the defenses in the box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from auditor.cli.cards import Listed, as_json_array, listing
from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.defense import Defense

__all__ = ["defenses"]

_ACTS = {
    "output": "AT THE OUTPUT: the network stays, what it answers is rewritten. Whoever holds the file takes it off.",
    "training": "IN TRAINING: the network is trained anew on its members, at the cost of one training by your recipe, "
    "unless told otherwise.",
}
_FOOT = "Indented: one component, measured alone."


@click.command(short_help="List the defenses in the box.")
@click.option("--json", "as_json", is_flag=True, help="All fields of the cards as JSON.")
@click.pass_obj
def defenses(terminal: Terminal, as_json: bool) -> int:
    """List the defenses by where they act: for which releases each counts, when it runs, what it needs."""
    from auditor.defenses import DEFENSES

    terminal.emit(as_json_array([row.card for row in DEFENSES]) if as_json else listing(_groups(DEFENSES), _FOOT))
    return Exit.DONE


def _groups(rows: Sequence[Defense]) -> Iterator[tuple[str, list[Listed]]]:
    """The defenses under where they act, each before its components."""
    for acts_on, told in _ACTS.items():
        wholes = [row for row in rows if row.card.acts_on == acts_on and not row.card.part_of]
        yield told, [_listed(row) for whole in wholes for row in (whole, *_parts(whole, rows))]


def _parts(whole: Defense, rows: Sequence[Defense]) -> list[Defense]:
    return [row for row in rows if row.card.part_of == whole.card.id]


def _listed(row: Defense) -> Listed:
    from auditor.threat import Access

    card = row.card
    releases = "any release" if set(card.counts_for) == set(Access) else " and ".join(card.counts_for)
    told = (f"from {row.budget}", f"counts for {releases}", _needs(row), card.fidelity)
    return Listed(card.id, card.title, "; ".join(filter(None, told)), part=bool(card.part_of))


def _needs(row: Defense) -> str:
    """What is not needed by all that act there."""
    if row.retrain is None:
        return "reads members" if row.uses_members else ""
    trained = f"{row.trainings:g} trainings" if row.trainings != 1 else ""
    tuned = f"{row.settling:g} trainings to tune it" if row.settling else ""
    return ", ".join(filter(None, (trained, tuned)))
