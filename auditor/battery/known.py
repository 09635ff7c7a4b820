"""Attacks that a policy requires and that do not exist: a slip of the pen must not read as doubt about an audit."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from auditor.battery.attacks import CARDS
from auditor.errors import InputError
from auditor.policy_file import Policy
from auditor.records import printable

__all__ = ["refuse_unknown_attacks"]


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
