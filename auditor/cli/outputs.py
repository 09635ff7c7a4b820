"""What `render` and `gate` make of a report: files by their suffix, and what a job on GitHub reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from auditor.cli.terminal import Terminal
from auditor.errors import InputError

if TYPE_CHECKING:
    from auditor.findings import AuditReport
    from auditor.policy import Gate

__all__ = ["file_option", "output_options", "write"]

Function = TypeVar("Function", bound=Callable[..., object])

_GITHUB = click.option(
    "--github",
    is_flag=True,
    help="Print annotations for GitHub Actions, and add a summary to $GITHUB_STEP_SUMMARY.",
)


def file_option(without: str = "") -> Callable[[Function], Function]:
    """Decorate a command with `-o FILE`.

    Args:
        without: What the help says of the command without it.
    """
    return click.option(
        "-o",
        "--output",
        "outputs",
        multiple=True,
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File to write; its suffix decides the format: .html, .pdf, .md, .json, .sarif, .xml (JUnit), .cdx.json "
        f"or .codequality.json. Repeatable. {without}".strip(),
    )


def output_options(function: Function) -> Function:
    """Decorate a command with the options that say what to make of a report."""
    return file_option()(_GITHUB(function))


def write(
    terminal: Terminal, report: AuditReport, files: tuple[Path, ...], gate: Gate | None = None, *, github: bool
) -> None:
    """Write every file, tell GitHub where that is asked for, and name the files on stdout.

    Raises:
        InputError: a file, or the summary that the runner names, cannot be written.
    """
    from auditor.report import write_outputs

    write_outputs(report, files, gate)
    if github:
        _tell_github(terminal, report, gate)
    for file in files:
        terminal.emit(str(file))


def _tell_github(terminal: Terminal, report: AuditReport, gate: Gate | None) -> None:
    """Annotations to stdout, where the runner reads them; the summary to the file that it names."""
    from auditor.report import render_annotations, render_summary

    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(render_summary(report, gate))
        except OSError as error:
            raise InputError(f"{summary}: the summary cannot be written ({error.strerror}).") from error
    terminal.emit(render_annotations(report, gate).rstrip("\n"))
