"""`privaudit defend`: the defended model to take home."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TypedDict, Unpack

import click

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

__all__ = ["defend"]


class _Arguments(TypedDict):
    checkpoint: Path
    data: Path
    defense: str
    output: Path
    arch: str | None
    budget: str
    seed: int
    device: str
    trust_checkpoint: bool


@click.command(short_help="Write the defended model as a folder.")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the splits, as for a scan.",
)
@click.option("--with", "defense", required=True, metavar="NAME", help="Which defense; see `privaudit defenses`.")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write; `privaudit scan` loads it again.",
)
@click.option("--arch", metavar="NAME", help="Architecture: a timm name or module.py:factory.")
@click.option(
    "--budget",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="standard",
    show_default=True,
    help="That of the scan that measured the defense: it decides which records it may learn from.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="That of the scan.")
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="report.json of that scan: what it measured goes on the model card.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--trust-checkpoint", is_flag=True, help="Load a checkpoint that can run code when loaded.")
@click.pass_obj
def defend(terminal: Terminal, report: Path | None, **arguments: Unpack[_Arguments]) -> int:
    """Put a defense on CHECKPOINT, exactly as a scan of the same budget and seed does, and write it as a folder."""
    from auditor.defending import DefendOptions, defend_checkpoint
    from auditor.report import load_json
    from auditor.report.text import interval, unit_of, value

    found = defend_checkpoint(DefendOptions(**arguments, report=None if report is None else load_json(report)))
    for cost in found.costs:
        unit = unit_of(cost)
        terminal.say(f"{cost.name}: {value(cost.estimate, unit)} ({interval(cost.estimate, unit)})")
    if not found.publishable:
        terminal.say("For an API only, do not publish: files in it hold values derived from single training records.")
    elif found.target.wrapper is not None:
        terminal.say("For an API only: the weights in it are the undefended ones.")
    release = None if found.target.wrapper is None else found.target.shows
    again = {"--data": arguments["data"], "--arch": arguments["arch"], "--release": release}
    words = [word for option, value in again.items() if value is not None for word in (option, str(value))]
    command = shlex.join(["privaudit", "scan", str(arguments["output"]), *words])
    terminal.say(f"Attack it through its defense: {command}")
    terminal.emit(str(arguments["output"]))
    return Exit.DONE
