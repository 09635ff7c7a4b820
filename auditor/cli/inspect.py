"""`privaudit inspect`: what a checkpoint is, before anything is asked of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal, clean
from auditor.errors import InputError

__all__ = ["inspect"]


@click.command(short_help="Say what a checkpoint is, without running anything in it.")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--arch", metavar="NAME", help="Architecture: a timm name or module.py:factory.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.pass_obj
def inspect(terminal: Terminal, checkpoint: Path, arch: str | None, as_json: bool) -> int:
    """Say the format of CHECKPOINT, whether it is safe to load, its architecture and how that was decided."""
    from auditor.target import inspect_checkpoint

    found = inspect_checkpoint(checkpoint, arch=arch)
    terminal.emit(json.dumps(asdict(found), indent=2, default=_plain) if as_json else clean(found.describe()))
    if arch is not None and found.architecture is None and found.safe:
        raise InputError(f"{found.file} cannot be loaded as {arch}: {found.architecture_evidence}")
    return Exit.DONE


def _plain(value: object) -> object:
    """What JSON has no word for: the preprocessing is a Pydantic model."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no place in JSON")
