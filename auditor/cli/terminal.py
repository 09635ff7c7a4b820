"""The two streams of the command line: stdout for the artifact, stderr for talk."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from auditor.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Terminal", "clean"]


def clean(text: str) -> str:
    """Make text from a file or a name harmless on a terminal: nothing unprintable except line ends and tabs."""
    spaced = text.replace("\N{NO-BREAK SPACE}", " ")
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in spaced)


@dataclass
class Terminal:
    """What a command prints with; one per invocation, handed to the commands as Click's `obj`.

    Attributes:
        debug: Whether an internal error shows its traceback.
    """

    debug: bool = False

    @cached_property
    def console(self) -> Console:
        """The one console, on stderr; honours NO_COLOR and knows whether it is a terminal."""
        from rich.console import Console

        class QuietConsole(Console):
            def on_broken_pipe(self) -> None:
                # Rich would exit with 1 here, which means "policy violated".
                self.quiet = True

            def __exit__(self, *raised: object) -> None:
                # on a full disk too, what cannot be said must not become an exit code
                try:
                    super().__exit__(*raised)
                except OSError:
                    self.quiet = True
                    _mute(sys.stderr)

        return QuietConsole(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """Talk to the user; `text` is taken literally, whatever it contains."""
        from rich.text import Text

        self.console.print(Text(clean(text), style=style))

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self.say(f"Error: {text}", style="bold red")

    def emit(self, text: str) -> None:
        """Write one piece of the artifact to stdout; a reader who has left does not change how the command ends.

        Raises:
            InputError: stdout takes nothing, as on a full disk, or is closed.
        """
        if sys.stdout is None:
            raise InputError("Standard output is closed.", "Leave it open, or send it to a file.")
        try:
            sys.stdout.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace").decode() + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            mute_stdout()
        except OSError as error:
            mute_stdout()
            why = (error.strerror or "unknown error").lower()
            raise InputError(f"Standard output cannot be written: {why}.") from error


def mute_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail on a closed pipe."""
    _mute(sys.stdout)


def _mute(stream: TextIO | None) -> None:
    if stream is None:
        return
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
