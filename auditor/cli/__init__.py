"""The command line: parse, call, print, exit. The only room that knows a terminal.

torch and the other heavy libraries are imported inside the commands, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence

import click

from auditor.cli.attacks import attacks
from auditor.cli.canaries import canaries
from auditor.cli.card import card
from auditor.cli.defend import defend
from auditor.cli.defenses import defenses
from auditor.cli.diff import diff
from auditor.cli.exits import run
from auditor.cli.gate import gate
from auditor.cli.inspect import inspect
from auditor.cli.plan import plan
from auditor.cli.render import render
from auditor.cli.scan import scan
from auditor.cli.selftest import selftest
from auditor.cli.terminal import Terminal

__all__ = ["cli", "main"]

_EXIT_CODES = """\
\b
Exit codes:
  0    done; gate, scan --policy or --fail-on: met
  1    gate, scan --policy or --fail-on: violated
  2    usage, configuration or unreadable input; the report of another model
  3    inconclusive: the evidence does not decide, or what is required is missing
  4    internal error
  130  interrupted (Ctrl-C or SIGTERM)
"""


@click.group(epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="privaudit", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, envvar="PRIVAUDIT_DEBUG", help="Show the traceback of an internal error.")
@click.pass_obj
def cli(terminal: Terminal, debug: bool) -> None:
    """Privacy audit of a trained image classifier before its weights or an API go out."""
    terminal.debug = debug


for command in (scan, plan, inspect, gate, diff, render, card, defend, attacks, defenses, canaries, selftest):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run privaudit and return its exit code; `arguments` defaults to the command line."""
    atexit.register(gc.freeze)  # ends at once: collecting what torch holds would take seconds
    return run(cli, sys.argv[1:] if arguments is None else arguments)
