"""What is held against the evidence: the limits and levels that decide a verdict, and the table of severity.

The defaults stand here and nowhere else; docs/policy.md gives their reasons. A policy may state others
(`auditor.policy_file`); the plan keeps those that were used, and the report prints them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["LEAST_CLASSES", "Limits", "SeverityRow", "SeverityTable", "declared", "declared_share"]

LEAST_CLASSES = 20  # for an interval over classes (rule 11 of docs/rules-of-evidence.md)


def declared(number: float) -> str:
    """An AUC that was declared, not measured: no digit is rounded away."""
    return f"{number:.2f}" if number == round(number, 2) else f"{number:g}"


def declared_share(share: float) -> str:
    """The same for a share, as percent."""
    return f"{100 * share:g} %"


@dataclass(frozen=True)
class Limits:
    """What decides a verdict: limits, levels and sizes; every one is printed (rules 2 and 8)."""

    auc: float = 0.60
    tpr: float = 0.05
    fpr: float = 0.01
    family_wise_error: float = 0.05
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("tpr", "fpr", "family_wise_error", "confidence"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie between 0 and 1")
        if not 0.5 < self.auc < 1.0 or self.tpr <= self.fpr:
            raise ValueError("auc must lie between .5 and 1, and tpr above fpr")

    def in_words(self) -> str:
        """The two limits on one line."""
        return f"AUC {declared(self.auc)}, TPR {declared_share(self.tpr)} at {declared_share(self.fpr)} FPR"


class SeverityRow(BaseModel):
    """A leak is at least this severe when the lower bound of a primary endpoint reaches either number.

    Attributes:
        tpr: True positive rate at 1 % false positives.
        auc: Area under the ROC curve.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    tpr: float = Field(ge=0, le=1)
    auc: float = Field(ge=0.5, le=1)


class SeverityTable(BaseModel):
    """What a leak has to reach to be more than low. No row asks for less than the one before it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    moderate: SeverityRow = SeverityRow(tpr=0.03, auc=0.60)
    high: SeverityRow = SeverityRow(tpr=0.10, auc=0.70)
    critical: SeverityRow = SeverityRow(tpr=0.50, auc=0.90)

    @model_validator(mode="after")
    def _rising(self) -> SeverityTable:
        for (lower, less), (upper, more) in pairwise(self.rows):
            if more.tpr < less.tpr or more.auc < less.auc:
                raise ValueError(f"{upper} asks for less than {lower}, in tpr or in auc")
        return self

    @property
    def rows(self) -> tuple[tuple[str, SeverityRow], ...]:
        """Every row with the name of its severity, from moderate to critical."""
        return ("moderate", self.moderate), ("high", self.high), ("critical", self.critical)

    def in_words(self) -> str:
        """The table on one line."""
        told = [f"{name} from AUC {declared(row.auc)} or TPR {declared_share(row.tpr)}" for name, row in self.rows]
        return ", ".join(told)
