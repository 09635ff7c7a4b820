"""`privaudit diff`: what changed between two reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import judgement
from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.difference.changes import Change, Difference

__all__ = ["diff"]

_WIDTH = 9
_NAMED = 3
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Say what changed between two reports.")
@click.argument("old", metavar="OLD.json", type=_FILE)
@click.argument("new", metavar="NEW.json", type=_FILE)
@click.pass_obj
def diff(terminal: Terminal, old: Path, new: Path) -> int:
    """Say what changed from OLD.json to NEW.json, reports of one model and its next version.

    Primary attacks are compared record by record where both files are the report.json of a run folder, or the scans
    kept their work in privaudit-runs/ here, their default, and both audits evaluated the same records under the same
    key with the same attacker; exposed records one by one under the same key. All else is compared unpaired, from both
    intervals. `privaudit gate --baseline` judges.
    """
    from auditor.difference.changes import compare
    from auditor.difference.kept_scores import read_kept
    from auditor.report import load_json

    before, after = load_json(old), load_json(new)
    for label, text in _lines(compare(before, after, (read_kept(old, before), read_kept(new, after)))):
        terminal.emit(judgement.line(label, text, _WIDTH))
    return Exit.DONE


def _lines(found: Difference) -> Iterator[tuple[str, str]]:
    for turn in found.turns:
        same = "as before" if turn.old is turn.new else f"was {turn.old}. {turn.why}"
        yield "verdict", f"{turn.family}, {turn.access}: {turn.new}, {same}"
    yield "severity", f"{found.severity[1]}, was {found.severity[0]}"
    yield from map(_number, (one for one in found.changes if one.primary))
    yield _pairing(found)
    yield from _exposed(found)
    yield from (("unlike", one) for one in found.unlike)
    yield from (("note", one) for one in found.notes)
    yield from _listed("gone", "old", found.missing)
    yield from _listed("new", "new", found.added)
    yield from map(_number, (one for one in found.changes if not one.primary))


def _pairing(found: Difference) -> tuple[str, str]:
    """Whether records were matched; if so, what their intervals leave out."""
    if found.unpaired:
        return "unpaired", found.unpaired
    return "paired", (
        "primary attacks are compared record by record; the change is of these two files, each in front of its own "
        "shadows, and another training of either model or of the shadows would move it"
    )


def _listed(label: str, which: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """How many attacks only one report has, and the first few by name."""
    if not names:
        return
    named, more = names[:_NAMED], len(names) - _NAMED
    attacks = "attack" if len(names) == 1 else "attacks"
    rest = f" and {more:,} more" if more > 0 else ""
    yield label, f"{len(names):,} {attacks} completed in the {which} report only: {', '.join(named)}{rest}"


def _number(change: Change) -> tuple[str, str]:
    from auditor.report.text import cell, counts, phrase

    unit, difference = change.unit, "points" if change.unit == "share" else change.unit
    paired = "paired" if change.paired else "unpaired"
    role = "primary" if change.primary else "other"
    unlike = f"; not measured alike: {', '.join(change.unlike)}" if change.unlike else ""
    return role, (
        f"{change.name}, {change.card.id}: {cell(change.new, unit)}, was {cell(change.old, unit)}; change "
        f"{phrase(change.change, difference)}, {paired}; {counts(change.change.n)}{unlike}"
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
