"""`privaudit selftest`: does the installed instrument work here?"""

from __future__ import annotations

import click

from auditor.cli.exits import Exit
from auditor.cli.terminal import Terminal

__all__ = ["selftest"]


@click.command(short_help="Test the installed instrument.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.pass_obj
def selftest(terminal: Terminal, device: str) -> int:
    """Audit a planted and a null model, and compare CPU with CUDA. Reports say when that was last done."""
    from auditor import selftest as instrument
    from auditor.cli.progress import progress_on
    from auditor.instrument import last_selftest, remember_selftest

    terminal.say("A planted and a null model are audited here; that takes about a minute.")
    with progress_on(terminal) as progress:
        result = instrument.selftest(device, progress)
    for answer in result.answers:
        terminal.emit(f"{'pass' if answer.passed else 'FAIL'}  {answer.question} {answer.said}")
    kept = remember_selftest(passed=result.passed, device=result.device, cuda_agrees=result.cuda_agrees)
    lost = "" if kept else "This outcome could not be kept: the state folder cannot be written. "
    terminal.say(f"{lost}Reports made here say of the self-test: {last_selftest()}.")
    return Exit.DONE if result.passed else Exit.INTERNAL
