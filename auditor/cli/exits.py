"""Every way in which a command can end, and the exit code that tells it.

Python ends with 1 on an uncaught exception, Click on an abort or a broken pipe, Rich on a broken pipe: none of them
may be mistaken for 1, "violated". So Click's own runner is not used: it would turn an EOFError from a truncated
file into "aborted" and a closed pipe into 1. SIGTERM, what a scheduler or a container sends, is an interrupt like
Ctrl-C: workers are ended, finished work is kept, and the code is 130, not the 143 of a process that was shot.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType

import click
from click.shell_completion import shell_complete

from auditor.cli.terminal import Terminal, mute_stdout
from auditor.errors import PrivauditError

__all__ = ["Exit", "run"]

_NAME = "privaudit"
_COMPLETE = "_PRIVAUDIT_COMPLETE"
_GOES_ON = "scan"


class Exit(IntEnum):
    """The exit codes, as documented in the README and in `privaudit --help`."""

    DONE = 0
    VIOLATED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INTERNAL = 4
    INTERRUPTED = 130


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command whose result is its exit code, and turn whatever it raises into the documented one.

    While it runs, SIGTERM raises KeyboardInterrupt, unless the caller handles or ignores SIGTERM already. From the
    first interrupt on, SIGINT and SIGTERM are ignored, after the return as well: the process is about to end.
    """
    if os.environ.get(_COMPLETE):
        return shell_complete(command, {}, _NAME, _COMPLETE, os.environ[_COMPLETE])
    terminal = Terminal()
    with _termination_interrupts():
        try:
            with _parse(command, arguments, terminal) as context:
                return int(command.invoke(context))
        except KeyboardInterrupt as error:
            _ignore_interrupts()
            return _explain(error, terminal, _named(command, arguments))
        except Exception as error:  # noqa: BLE001 - the last door: whatever comes is explained
            return _explain(error, terminal, _named(command, arguments))


def _named(command: click.Command, arguments: Sequence[str]) -> str:
    """Which command was asked for; empty where none was."""
    known = command.commands if isinstance(command, click.Group) else {}
    return next((argument for argument in arguments if argument in known), "")


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _interrupt:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _ignore_interrupts() -> None:
    """Who is impatient asks more than once; the answer to the first must not be cut off."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _explain(error: Exception | KeyboardInterrupt, terminal: Terminal, named: str) -> int:
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case KeyboardInterrupt() | click.Abort():
            again = "goes on where it stopped" if named == _GOES_ON else "starts from its beginning"
            terminal.error(f"Interrupted. The same command, run again, {again}.")
            return Exit.INTERRUPTED
        case click.exceptions.NoArgsIsHelpError():
            terminal.say(error.format_message())
            return Exit.USAGE
        case click.ClickException():
            terminal.error(_misused(error))
            return Exit.USAGE
        case PrivauditError():
            terminal.error(str(error))
            return error.exit_code
        case _:
            return _internal(error, terminal)


def _parse(command: click.Command, arguments: Sequence[str], terminal: Terminal) -> click.Context:
    """Parsing prints `--help` and `--version`; a reader who left after the first lines has seen enough."""
    try:
        return command.make_context(_NAME, list(arguments), obj=terminal)
    except BrokenPipeError:
        mute_stdout()
        raise click.exceptions.Exit(Exit.DONE) from None


def _misused(error: click.ClickException) -> str:
    """What Click complains of in one sentence, and where to read on; its own words would take three lines or more."""
    told = " ".join(error.format_message().split())
    told = told if told.endswith((".", "?")) else f"{told}."
    if not isinstance(error, click.UsageError):
        return told
    return f"{told} See {error.ctx.command_path if error.ctx else _NAME} --help."


def _internal(error: Exception, terminal: Terminal) -> int:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        mute_stdout()
        where = f": {error.filename}" if error.filename else ""
        terminal.error(f"No space is left on the device that is written to{where}.")
        return Exit.USAGE
    if terminal.debug:
        terminal.say("".join(traceback.format_exception(error)))
    what = " ".join(f"{type(error).__name__}: {error}".split())
    advice = "" if terminal.debug else " PRIVAUDIT_DEBUG=1 shows the traceback."
    terminal.error(f"privaudit failed on its own account ({what}).{advice}")
    return Exit.INTERNAL
