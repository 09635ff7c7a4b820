"""`privaudit attacks`: the attacks in the box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from auditor.cli.cards import Cost, Listed, listing, with_costs
from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.inversion import InversionAttack
    from auditor.membership.evidence import Attack

__all__ = ["attacks"]

_ASKS = {
    "membership": "MEMBERSHIP INFERENCE, seeing {}: was this record in the training data?",
    "inversion": "INVERSION, seeing {}: what did the training data look like?",
}
_FOOT = "* primary: declared before a scan, and corrected for being several; the others are secondary."


@click.command(short_help="List the attacks in the box.")
@click.option("--json", "as_json", is_flag=True, help="All fields of the cards as JSON, with what each attack costs.")
@click.pass_obj
def attacks(terminal: Terminal, as_json: bool) -> int:
    """List the attacks by what they ask and see: what each needs, when it runs, how faithful this version is."""
    from auditor.battery import ATTACKS

    terminal.emit(with_costs(ATTACKS) if as_json else listing(_groups(ATTACKS), _FOOT))
    return Exit.DONE


def _groups(rows: Sequence[Attack | InversionAttack]) -> Iterator[tuple[str, list[Listed]]]:
    """The attacks under what they ask and what they see, least first."""
    from auditor.threat import Access

    for family, asks in _ASKS.items():
        for access in Access:
            found = [_listed(one) for one in rows if (one.card.family, one.card.access) == (family, access)]
            if found:
                yield asks.format(access), found


def _listed(row: Attack | InversionAttack) -> Listed:
    from auditor.membership.evidence import Attack

    card, cost = row.card, Cost.of(row)
    if isinstance(row, Attack):
        return Listed(card.id, card.title, f"{cost}; {card.fidelity}", mark="*" if row.primary else "")
    return Listed(card.id, card.title, f"{cost}; needs {', '.join(card.needs)}; {card.fidelity}")
