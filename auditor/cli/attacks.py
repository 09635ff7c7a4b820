"""`privaudit attacks`: the attacks in the box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from auditor.cli.cards import as_json_array
from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.findings import AttackCard

__all__ = ["attacks"]


@click.command(short_help="List the attacks in the box.")
@click.option("--json", "as_json", is_flag=True, help="All fields of the cards as JSON.")
@click.pass_obj
def attacks(terminal: Terminal, as_json: bool) -> int:
    """List the attacks: what each needs, where it was published, how faithful this version is."""
    from auditor.battery import ATTACKS

    cards = [entry.card for entry in ATTACKS]
    terminal.emit(as_json_array(cards) if as_json else "\n\n".join(map(_lines, cards)))
    return Exit.DONE


def _lines(card: AttackCard) -> str:
    needs = ", ".join(card.needs) or "nothing more"
    return (
        f"{card.id}: {card.title}\n"
        f"  {card.family}; sees {card.access}; needs {needs}; {card.fidelity}\n"
        f"  {card.paper.citation} {card.paper.url}"
    )
