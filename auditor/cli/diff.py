"""`privaudit diff`: what changed between two reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import judgement
from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.difference import Change, Difference

__all__ = ["diff"]

_WIDTH = 9
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Say what changed between two reports.")
@click.argument("old", metavar="OLD.json", type=_FILE)
@click.argument("new", metavar="NEW.json", type=_FILE)
@click.pass_obj
def diff(terminal: Terminal, old: Path, new: Path) -> int:
    """Say what changed from OLD.json to NEW.json, reports of one model and its next version.

    Attacks are compared unpaired, as a report holds no score of a record; exposed records one by one, where both
    reports name them under the same key and evaluated the same records. `privaudit gate --baseline` judges.
    """
    from auditor.difference import compare
    from auditor.report import load_json

    for label, text in _lines(compare(load_json(old), load_json(new))):
        terminal.emit(judgement.line(label, text, _WIDTH))
    return Exit.DONE


def _lines(found: Difference) -> Iterator[tuple[str, str]]:
    for turn in found.turns:
        same = "as before" if turn.old is turn.new else f"was {turn.old}"
        yield "verdict", f"{turn.family}, {turn.access}: {turn.new}, {same}"
    yield "severity", f"{found.severity[1]}, was {found.severity[0]}"
    yield from (("unlike", one) for one in found.unlike)
    yield from (("note", one) for one in found.notes)
    yield from map(_number, found.changes)
    yield from _exposed(found)
    yield from (("gone", f"{name} completed in the old report only") for name in found.missing)
    yield from (("new", f"{name} completed in the new report only") for name in found.added)


def _number(change: Change) -> tuple[str, str]:
    from auditor.report.text import cell, counts, phrase

    unit, difference = change.unit, "points" if change.unit == "share" else change.unit
    role = "primary" if change.primary else "other"
    unlike = f"; not measured alike: {', '.join(change.unlike)}" if change.unlike else ""
    return role, (
        f"{change.name}, {change.card.id}: {cell(change.new, unit)}, was {cell(change.old, unit)}; change "
        f"{phrase(change.change, difference)}, unpaired; {counts(change.change.n)}{unlike}"
    )


def _exposed(found: Difference) -> Iterator[tuple[str, str]]:
    from auditor.report.text import counts, phrase

    exposed = found.exposed
    if exposed is None:
        yield "exposed", "not compared: they were not listed in both reports, or by another attack"
        return
    matched = "not matched one by one"
    if exposed.gained is not None:
        matched = f"{exposed.gained:,} new, {exposed.lost:,} no longer, {exposed.stayed:,} as before"
    yield "exposed", f"{matched}; change {phrase(exposed.change, 'points')}; {counts(exposed.change.n)}"
