"""Attacks by name, where others name them: what a policy requires must exist, what exists a report must tell of."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path

from auditor.battery.attacks import CARDS
from auditor.errors import InputError
from auditor.findings import AuditReport
from auditor.policy_file import Policy
from auditor.records import printable

__all__ = ["refuse_older_attacks", "refuse_unknown_attacks"]

_NAMED = 3


def refuse_unknown_attacks(policy: Policy, path: Path, told: Iterable[str] = ()) -> None:
    """Refuse a policy that requires what is no attack.

    Args:
        policy: What is asked.
        path: Where it stands.
        told: Further names that count, as those in a report that an older version made.

    Raises:
        InputError: there is no attack of that name.
    """
    known = {*(card.id for card in CARDS), *told}
    for name in policy.gate.required_attacks:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=3)
            meant = f"Did you mean {' or '.join(map(printable, near))}? " if near else ""
            raise InputError(
                f"{printable(path)} requires the attack `{printable(name)}`, and none is called that.",
                f"{meant}`privaudit attacks` lists them by name.",
            )


def refuse_older_attacks(report: AuditReport, path: Path) -> None:
    """Refuse a report of another version that knew fewer attacks than this one: it neither ran nor skipped them.

    Args:
        report: What is to be judged.
        path: Where it stands.

    Raises:
        InputError: this version has attacks that the report tells nothing of.
    """
    if report.environment.privaudit == version("privaudit"):
        return
    told = {*(one.card.id for one in report.membership), *(one.card.id for one in report.inversion)}
    if new := [card.id for card in CARDS if card.id not in told]:
        named = ", ".join(new[:_NAMED]) + (f" and {len(new) - _NAMED} more" if len(new) > _NAMED else "")
        raise InputError(
            f"{path} was made by privaudit {printable(report.environment.privaudit)}, which had fewer attacks than "
            f"this {version('privaudit')}: it tells nothing of {named}.",
            "Audit the model again, or judge the report with the version that made it.",
        )
