"""`privaudit defenses`: the defenses in the box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from auditor.cli.cards import as_json_array
from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.findings import DefenseCard

__all__ = ["defenses"]


@click.command(short_help="List the defenses in the box.")
@click.option("--json", "as_json", is_flag=True, help="All fields of the cards as JSON.")
@click.pass_obj
def defenses(terminal: Terminal, as_json: bool) -> int:
    """List the defenses: what each acts on and for which releases it counts."""
    from auditor.defenses import DEFENSES

    cards = [entry.card for entry in DEFENSES]
    terminal.emit(as_json_array(cards) if as_json else "\n\n".join(map(_lines, cards)))
    return Exit.DONE


def _lines(card: DefenseCard) -> str:
    published = f"{card.paper.citation} {card.paper.url}" if card.paper else "no paper"
    return (
        f"{card.id}: {card.title}\n"
        f"  acts on {card.acts_on}; counts for release {', '.join(card.counts_for)}; {card.fidelity}\n"
        f"  {published}"
    )
