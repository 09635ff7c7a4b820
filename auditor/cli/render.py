"""`privaudit render`: a report again, from its JSON alone."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import outputs as made
from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

__all__ = ["render"]


@click.command(short_help="Make a report again from its JSON.")
@click.argument("report", metavar="REPORT.json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@made.output_options
@click.pass_obj
def render(terminal: Terminal, report: Path, outputs: tuple[Path, ...], github: bool) -> int:
    """Make other formats from REPORT.json; needs neither the model nor torch."""
    from auditor.report import check_outputs, load_json

    if not outputs and not github:
        raise click.UsageError("Nothing to make: name a file with -o, or ask for --github.")
    files = tuple(dict.fromkeys(outputs))
    check_outputs(files)
    made.write(terminal, load_json(report), files, github=github)
    return Exit.DONE
