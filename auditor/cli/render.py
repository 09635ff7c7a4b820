"""`privaudit render`: a report again, from its JSON alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal
from auditor.errors import InputError

if TYPE_CHECKING:
    from auditor.findings import AuditReport

__all__ = ["render"]


@click.command(short_help="Make a report again from its JSON.")
@click.argument("report", metavar="REPORT.json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .html, .pdf, .md, .sarif, .xml (JUnit), .cdx.json, .codequality.json or .json. Repeatable.",
)
@click.option(
    "--github",
    is_flag=True,
    help="Print annotations for GitHub Actions, and add a summary to $GITHUB_STEP_SUMMARY.",
)
@click.pass_obj
def render(terminal: Terminal, report: Path, outputs: tuple[Path, ...], github: bool) -> int:
    """Make other formats from REPORT.json; needs neither the model nor torch."""
    from auditor.report import check_outputs, load_json, write_outputs

    if not outputs and not github:
        raise click.UsageError("Nothing to make: name a file with -o, or ask for --github.")
    files = tuple(dict.fromkeys(outputs))
    check_outputs(files)
    found = load_json(report)
    write_outputs(found, files)
    if github:
        _tell_github(terminal, found)
    for file in files:
        terminal.emit(str(file))
    return Exit.DONE


def _tell_github(terminal: Terminal, report: AuditReport) -> None:
    """Annotations to stdout, where the runner reads them; the summary to the file that it names."""
    from auditor.report import render_annotations, render_summary

    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(render_summary(report))
        except OSError as error:
            raise InputError(f"{summary}: the summary cannot be written ({error.strerror}).") from error
    terminal.emit(render_annotations(report).rstrip("\n"))
