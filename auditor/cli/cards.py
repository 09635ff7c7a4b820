"""Cards as JSON, for the commands that list what is in the box."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.findings import AttackCard, DefenseCard

__all__ = ["as_json_array"]


def as_json_array(cards: Sequence[AttackCard] | Sequence[DefenseCard]) -> str:
    """All fields of all cards, as one JSON array."""
    return json.dumps([card.model_dump(mode="json") for card in cards], indent=2)
