"""What a check looks at, and what a row of the table of checks says of it before it has looked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from auditor.findings import Check, CheckLevel, Void
from auditor.membership.evidence import Evidence
from auditor.membership.measure import Jury, Scored
from auditor.shadows import AuditSet
from auditor.signals import Signals
from auditor.splits import Recipe, Splits

__all__ = ["CONFIDENCE", "MATERIAL", "Row", "Selection", "Subject", "accuracies"]

CONFIDENCE = 0.99  # of intervals beside those of other models (rule 7 of docs/rules-of-evidence.md)
MATERIAL = 0.02  # of accuracy: what the recipe check tolerates (rule 7), the others tolerate too


@dataclass(frozen=True)
class Selection:
    """What a check of the records may look at: the same before anything is asked of the model.

    Attributes:
        splits: The owner's data.
        audit_set: Who is evaluated, and who calibrates.
        jury: Membership, classes and groups of the audit records.
    """

    splits: Splits
    audit_set: AuditSet
    jury: Jury


@dataclass(frozen=True)
class Subject(Selection):
    """All that a check may look at.

    Attributes:
        evidence: What the target and the shadows answered; no shadows before they are trained.
        recipe_stated: Whether the owner stated the recipe.
        recipe: How shadows are trained.
        shadows_given: Whether the owner trained them.
        predicted: The class that the target names for each evaluated non-member, int64 [non-member]; None: not asked.
        scored: What the attacks found; empty before they ran.
        planned_with: The versions that made the plan, in words.
        running: The versions at work now, in the same words.
    """

    evidence: Evidence
    recipe_stated: bool
    recipe: Recipe
    shadows_given: bool = False
    predicted: npt.NDArray[np.int64] | None = None
    scored: tuple[Scored, ...] = ()
    planned_with: str = ""
    running: str = ""


Seen_contra = TypeVar("Seen_contra", bound=Selection, contravariant=True)


@dataclass(frozen=True)
class Row(Generic[Seen_contra]):
    """One check of the table, with what it can take away at worst (docs/checks.md).

    Attributes:
        id: As in the report.
        ask: The check; None where it does not apply.
        worst: The worst level that it reaches.
        voids: All that it voids at that level.
        once: Whether shadows and attacks cannot change its answer, so that it is asked once an audit.
    """

    id: str
    ask: Callable[[Seen_contra], Check | None]
    worst: CheckLevel = CheckLevel.WARN
    voids: tuple[Void, ...] = ()
    once: bool = False


def accuracies(signals: Signals, inside: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Accuracy on the records inside and on those outside of a model's training set.

    Args:
        signals: The model's, [record, query].
        inside: bool [record].
    """
    correct = signals.correct[:, 0]
    return float(correct[inside].mean()), float(correct[~inside].mean())
