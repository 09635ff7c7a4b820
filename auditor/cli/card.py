"""`privaudit card`: the audit in a model card."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal
from auditor.errors import InputError

__all__ = ["card"]

_LARGEST = 16 * 2**20


@click.command(short_help="Put an audit into a model card.")
@click.argument("report", metavar="REPORT.json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("readme", metavar="README.md", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def card(terminal: Terminal, report: Path, readme: Path) -> int:
    """Write what REPORT.json found into the model card README.md, aggregates only.

    A section between two marks and entries of model-index are written, or written again; the rest stays as it is. A
    card that does not exist is made. Nothing is sent anywhere.
    """
    from auditor.report import load_json, update_card

    if readme.suffix.lower() != ".md":
        raise InputError(f"{readme}: a model card is a Markdown file.", "Name a file that ends in .md.")
    found = load_json(report)
    before = _read(readme)
    try:
        after = update_card(before, found)
    except InputError as error:
        raise InputError(f"{readme}: {error.message}", error.hint) from error
    except RecursionError as error:
        told = f"{readme}: the front matter of the card holds itself, or is nested too deeply."
        raise InputError(told, "Correct it by hand, or name another file.") from error
    if after != before:
        _write(readme, after)
    terminal.emit(str(readme))
    return Exit.DONE


def _read(path: Path) -> str:
    """The card with its line ends; nothing where there is no file."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: this is no regular file.", "Name another file.")
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).", "Name another file.") from error
    if len(content) > _LARGEST:
        raise InputError(f"{path}: too large for a model card.", "Name another file.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the card is not UTF-8.", "Save it as UTF-8.") from error


def _write(path: Path, text: str) -> None:
    """Write the card; the remedy is another than that of a report, which has an option for its place."""
    from auditor.report import write_text

    try:
        write_text(path, text)
    except InputError as error:
        raise InputError(error.message, "Name another model card.") from error
