"""`privaudit plan`: what a scan would do, before it does it."""

from __future__ import annotations

from typing import Unpack

import click

from auditor.cli.exits import Exit
from auditor.cli.options import AuditArguments, audit_arguments, audit_options
from auditor.cli.terminal import Terminal, clean

__all__ = ["plan"]


@click.command(short_help="Say what a scan would run.")
@audit_arguments
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON, to be replayed by `privaudit scan --plan`.")
@click.pass_obj
def plan(terminal: Terminal, as_json: bool, **arguments: Unpack[AuditArguments]) -> int:
    """Say what a scan of CHECKPOINT would run, without running it."""
    from auditor.audit import plan_audit

    preview = plan_audit(audit_options(arguments))
    terminal.emit(preview.plan.model_dump_json(indent=2) if as_json else clean(preview.describe()))
    return Exit.DONE
