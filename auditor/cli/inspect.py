"""`privaudit inspect`: what a checkpoint is, before anything is asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal, clean

if TYPE_CHECKING:
    from auditor.findings import ModelFacts

__all__ = ["inspect"]


@click.command(short_help="Say what a checkpoint is.")
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--arch", metavar="NAME", help="Architecture: a timm name or module.py:factory.")
@click.option("--trust-checkpoint", is_flag=True, help="Load a checkpoint that can run code when loaded.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.pass_obj
def inspect(terminal: Terminal, checkpoint: Path, arch: str | None, trust_checkpoint: bool, as_json: bool) -> int:
    """Load CHECKPOINT and say its format, architecture, how that was decided, and its hash."""
    from auditor.target import load_target

    facts = load_target(checkpoint, arch=arch, trust=trust_checkpoint).facts
    terminal.emit(facts.model_dump_json(indent=2) if as_json else clean(_lines(facts)))
    return Exit.DONE


def _lines(facts: ModelFacts) -> str:
    preprocessing = facts.preprocessing
    rows = {
        "name": facts.name,
        "format": f"{facts.file_format}, {facts.file_bytes:,} bytes",
        "sha256": facts.sha256,
        "loading": "with --trust-checkpoint: code in the file may have run" if facts.trusted else "no code was run",
        "architecture": f"{facts.architecture} ({facts.architecture_evidence})",
        "parameters": f"{facts.parameters:,}",
        "classes": str(facts.num_classes),
        "weights": facts.weights,
        "input": " x ".join(map(str, preprocessing.input_size)),
        "mean, std": f"{_numbers(preprocessing.mean)}; {_numbers(preprocessing.std)} ({preprocessing.source})",
        "defense": facts.wrapper or "none saved with it",
    }
    return "\n".join(f"{name:<13} {value}" for name, value in rows.items())


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
