"""`privaudit scan`: the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from auditor.cli import judgement
from auditor.cli.exits import Exit
from auditor.cli.options import AuditArguments, audit_arguments, audit_options
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.findings import AuditReport
    from auditor.policy import Gate
    from auditor.policy_file import Policy

__all__ = ["scan"]

_DEFAULT_FOLDER = Path("privaudit-report")


@click.command(short_help="Audit a checkpoint and write the report.")
@audit_arguments
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Report file; its suffix decides the format: .html, .pdf, .md, .json, .sarif, .xml (JUnit), .cdx.json or "
    ".codequality.json. Repeatable. Default: privaudit-report/report.*",
)
@click.option(
    "--fail-on",
    type=click.Choice(["low", "moderate", "high", "critical"]),
    help="Exit 1 when a membership leak at least this severe is found, 3 when that cannot be said.",
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 whatever the gate says; errors keep their code.")
@click.pass_obj
def scan(
    terminal: Terminal,
    outputs: tuple[Path, ...],
    fail_on: str | None,
    exit_zero: bool,
    **arguments: Unpack[AuditArguments],
) -> int:
    """Audit CHECKPOINT, a weights file or a timm folder, and write the report."""
    from auditor.report import check_outputs, write_outputs

    files = _files(terminal, outputs)
    check_outputs(files)
    from auditor.policy_file import read_policy

    policy = None if arguments["policy"] is None else read_policy(arguments["policy"])
    from auditor.audit import audit
    from auditor.cli.progress import progress_on
    from auditor.cli.summary import summary

    with progress_on(terminal) as progress:
        report = audit(audit_options(arguments), progress)
    write_outputs(report, files)
    terminal.console.print(summary(report))
    for file in files:
        terminal.emit(str(file))
    if policy is None and fail_on is None:
        return Exit.DONE
    return judgement.conclude(terminal, _gate(terminal, report, policy, fail_on), exit_zero=exit_zero)


def _files(terminal: Terminal, outputs: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files asked for, once each; else the default set, without the PDF where this machine cannot make one."""
    from auditor.report import pdf_problem

    if outputs:
        return tuple(dict.fromkeys(outputs))
    suffixes = [".html", ".pdf", ".json"]
    problem = pdf_problem()
    if problem is not None:
        terminal.say(f"No PDF will be written: {problem}")
        suffixes.remove(".pdf")
    return tuple(_DEFAULT_FOLDER / f"report{suffix}" for suffix in suffixes)


def _gate(terminal: Terminal, report: AuditReport, policy: Policy | None, fail_on: str | None) -> Gate:
    from auditor.findings import Severity
    from auditor.policy import judge

    found = judge(report, policy, now=judgement.now(), fail_on=None if fail_on is None else Severity(fail_on))
    for told in judgement.told(found):
        terminal.say(told)
    return found
