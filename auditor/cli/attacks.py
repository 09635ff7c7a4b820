"""`privaudit attacks`: the attacks in the box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from auditor.cli.cards import Cost, with_costs
from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.inversion import InversionAttack
    from auditor.membership.evidence import Attack

__all__ = ["attacks"]


@click.command(short_help="List the attacks in the box.")
@click.option("--json", "as_json", is_flag=True, help="All fields of the cards as JSON, with what each attack costs.")
@click.pass_obj
def attacks(terminal: Terminal, as_json: bool) -> int:
    """List the attacks: what each needs and costs, where it was published, how faithful this version is."""
    from auditor.battery import ATTACKS

    terminal.emit(with_costs(ATTACKS) if as_json else "\n\n".join(map(_lines, ATTACKS)))
    return Exit.DONE


def _lines(entry: Attack | InversionAttack) -> str:
    card = entry.card
    needs = ", ".join(card.needs) or "nothing more"
    return (
        f"{card.id}: {card.title}\n"
        f"  {card.family}; sees {card.access}; needs {needs}; {card.fidelity}\n"
        f"  costs {Cost.of(entry)}\n"
        f"  {card.paper.citation} {card.paper.url}".rstrip()
    )
