"""`privaudit render`: a report again, from its JSON alone."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

__all__ = ["render"]


@click.command(short_help="Make a report again from its JSON.")
@click.argument("report", metavar="REPORT.json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; .html, .pdf, .json or .md decides the format. Repeatable.",
)
@click.pass_obj
def render(terminal: Terminal, report: Path, outputs: tuple[Path, ...]) -> int:
    """Make HTML or PDF from REPORT.json; needs neither the model nor torch."""
    from auditor.report import check_outputs, load_json, write_outputs

    files = tuple(dict.fromkeys(outputs))
    check_outputs(files)
    write_outputs(load_json(report), files)
    for file in files:
        terminal.emit(str(file))
    return Exit.DONE
