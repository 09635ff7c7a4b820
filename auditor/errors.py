"""The errors of privaudit, by what the user would do about them.

PrivauditError                 every error we raise on purpose; carries `hint` and `exit_code`
+-- InputError            (2)  fix your input: checkpoint, splits, policy, plan, options
+-- WorkerKilledError     (4)  give the machine more memory, or ask for fewer workers
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import ClassVar

__all__ = ["InputError", "PrivauditError", "WorkerKilledError", "crash_report"]

_PATHS = re.compile(r"(?<=['\"])~?/[^'\"]*|(?<![\w./~:-])~?/(?:[^/\s'\"]+/)+[^/\s'\",;:)]*")


class PrivauditError(Exception):
    """An error that is told in one sentence, with the remedy as a second.

    Args:
        message: What is wrong, naming the file or the value.
        hint: What to do about it; empty when the message says it.
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(PrivauditError):
    """What the user handed in cannot be used as it is."""

    exit_code = 2


class WorkerKilledError(PrivauditError):
    """The system ended a worker process; nothing that asks for workers can go on, whatever it was doing."""

    def __init__(self) -> None:
        super().__init__(
            "A worker process was killed, often for lack of memory.",
            "Run the same command again, with fewer --workers: it goes on where it stopped.",
        )


def crash_report(error: Exception) -> str:
    """One line about a crash: what, and where in our code; no path and no file of the user's, as reports travel."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    told = (error.strerror if isinstance(error, OSError) else None) or _PATHS.sub("…", str(error))
    return f"{type(error).__name__}: {told} ({Path(last.filename).name}:{last.lineno})"
