"""`privaudit scan`: the whole job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from auditor.cli import judgement
from auditor.cli.exits import Exit
from auditor.cli.options import AuditArguments, audit_arguments, audit_options
from auditor.cli.outputs import file_option
from auditor.cli.terminal import Terminal
from auditor.errors import InputError

if TYPE_CHECKING:
    from auditor.difference.pairing import Kept
    from auditor.findings import AuditReport, Severity
    from auditor.policy import Gate
    from auditor.policy_file import Policy

__all__ = ["scan"]

_DEFAULT_FOLDER = Path("privaudit-report")


@click.command(short_help="Audit a checkpoint and write the report.")
@audit_arguments
@file_option("Default: privaudit-report/report.*")
@click.option(
    "--fail-on",
    type=click.Choice(["low", "moderate", "high", "critical"]),
    help="Exit 1 when a membership leak at least this severe is found, 3 when that cannot be said.",
)
@click.option(
    "--baseline",
    metavar="OLD.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Report of the last release, for no_worse_than_last of the policy.",
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 whatever the gate says; errors keep their code.")
@click.pass_obj
def scan(
    terminal: Terminal,
    outputs: tuple[Path, ...],
    fail_on: str | None,
    baseline: Path | None,
    exit_zero: bool,
    **arguments: Unpack[AuditArguments],
) -> int:
    """Audit CHECKPOINT, a weights file or a timm folder, and write the report."""
    from auditor.report import check_outputs, write_outputs

    files = _files(terminal, outputs)
    check_outputs(files)
    question = _question(arguments["policy"], fail_on, baseline, arguments["run_dir"])
    from auditor.audit import audit
    from auditor.cli.progress import progress_on
    from auditor.cli.summary import summary

    with progress_on(terminal) as progress:
        report = audit(replace(audit_options(arguments), baseline=question.baseline), progress)
    try:
        found = question.judged(report)
    except InputError:
        write_outputs(report, files)
        raise
    write_outputs(report, files, found)
    terminal.console.print(summary(report))
    for file in files:
        terminal.emit(str(file))
    if found is None:
        return Exit.DONE
    for told in judgement.told(found):
        terminal.say(told)
    return judgement.conclude(terminal, found, exit_zero=exit_zero)


@dataclass(frozen=True)
class _Question:
    """What the report will be held against, read before anything is trained."""

    policy: Policy | None
    fail_on: Severity | None
    named: str
    baseline: AuditReport | None
    before: Kept
    run_dir: Path | None

    def judged(self, report: AuditReport) -> Gate | None:
        """The gate; None where nothing was asked."""
        from auditor.difference.kept_scores import read_kept
        from auditor.difference.pairing import ALONE
        from auditor.policy import judge

        if self.policy is None and self.fail_on is None:
            return None
        after = ALONE[1] if self.baseline is None else read_kept((self.run_dir or Path()) / "report.json", report)
        return judge(
            report,
            self.policy,
            now=judgement.now(),
            fail_on=self.fail_on,
            baseline=self.baseline,
            kept=(self.before, after),
            named=self.named,
            compared=judgement.of_model(report, "it is the one that this scan audited"),
        )


def _question(policy: Path | None, fail_on: str | None, baseline: Path | None, run_dir: Path | None) -> _Question:
    from auditor.difference.kept_scores import read_kept
    from auditor.difference.pairing import ALONE
    from auditor.findings import Severity
    from auditor.policy_file import read_policy
    from auditor.report import load_json

    if baseline is not None and policy is None:
        raise click.UsageError(
            "--baseline needs --policy: only no_worse_than_last of a policy asks for the last release."
        )
    last = None if baseline is None else load_json(baseline)
    return _Question(
        policy=None if policy is None else read_policy(policy),
        fail_on=None if fail_on is None else Severity(fail_on),
        named=judgement.named(policy, fail_on),
        baseline=last,
        before=ALONE[0] if baseline is None or last is None else read_kept(baseline, last),
        run_dir=run_dir,
    )


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
