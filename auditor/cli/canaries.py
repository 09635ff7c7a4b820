"""`privaudit canaries make`: records that bound the epsilon of a training run from below."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

__all__ = ["canaries"]

_KINDS = ("mislabelled", "out-of-distribution", "both")


@click.group(short_help="Make records that bound epsilon from below.")
def canaries() -> None:
    """Canaries: records that are added to the training set by logged coin flips, for those who can still train."""


@canaries.command(short_help="Write canaries for a data folder.")
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the splits that the model is trained and audited with.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where add-to-training.npz and the log, canaries.npz, are written.",
)
@click.option(
    "--count", type=click.IntRange(min=20), help="How many; by default one for every 20 members, 100 to 1,000."
)
@click.option("--kind", type=click.Choice(_KINDS), default="both", show_default=True, help="What they look like.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Decides what they look like; never the coins."
)
@click.pass_obj
def make(terminal: Terminal, data: Path, output: Path, count: int | None, kind: str, seed: int) -> int:
    """Make canaries: train with add-to-training.npz added, then give the log to `privaudit scan --canaries`."""
    from auditor.canaries import KINDS, default_count, flip_coins, make_canaries
    from auditor.compute import generator
    from auditor.splits import load_splits
    from auditor.stats.epsilon import one_run

    splits = load_splits(data)
    wanted = count or default_count(splits.members.n)
    made = make_canaries(
        splits,
        count=wanted,
        kinds=KINDS if kind == "both" else (kind,),
        coins=flip_coins(wanted),
        rng=generator(seed, "canaries"),
    )
    log, addition = made.write(output)
    terminal.say(
        f"{int(made.included.sum())} of {wanted} canaries were chosen by coin flips. Train with the records of "
        f"{addition.name} added; keep {log.name} secret until then, and leave train/ as it is."
    )
    claim = splits.settings.claim
    most = one_run(made.included, made.included, delta=1e-5 if claim is None else claim.delta)
    terminal.say(f"At delta {most.delta:g} so many canaries can show an epsilon of {most.ceiling:.2f} at most.")
    for path in (addition, log):
        terminal.emit(str(path))
    return Exit.DONE
