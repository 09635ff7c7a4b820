"""The errors of privaudit, by what the user would do about them.

PrivauditError                 every error we raise on purpose; carries `hint` and `exit_code`
+-- InputError            (2)  fix your input: checkpoint, splits, policy, plan, options
+-- AuditError            (3)  the input is fine, but the evidence cannot support a conclusion
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["AuditError", "InputError", "PrivauditError"]


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


class AuditError(PrivauditError):
    """The audit ran into something that forbids a conclusion."""

    exit_code = 3
