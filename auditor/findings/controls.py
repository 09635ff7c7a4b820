"""Controls, checks and canaries: what says whether an audit can be trusted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from auditor.findings.attacks import Measurement, RocCurve
from auditor.findings.credible import Count, Estimate, Part, Probability, Rate
from auditor.findings.words import CheckLevel, Void
from auditor.threat import Access

__all__ = [
    "CanaryAudit",
    "CanaryBound",
    "Check",
    "ControlResult",
    "DosePoint",
    "ImpliedEpsilon",
    "PrivacyClaim",
]


class DosePoint(Part):
    """Planted control: a share `dose` of pseudo-members made leaky, and how often the attack's tests then reject."""

    attack_id: str
    access: Access
    dose: Probability
    tpr: Estimate
    detected: Rate


class ControlResult(Part):
    """One control (docs/rules-of-evidence.md): what it asked, what it measured, what it voids where it did not pass."""

    id: str
    title: str
    question: str
    status: Literal["pass", "warn", "fail", "skipped"]
    sentence: str
    measurements: tuple[Measurement, ...] = ()
    voids: tuple[Void, ...] = ()
    roc: RocCurve | None = None
    doses: tuple[DosePoint, ...] = ()


class Check(Part):
    """A reason to distrust, with what it takes away."""

    id: str
    title: str
    level: CheckLevel
    sentence: str
    voids: tuple[Void, ...] = ()


# --- canaries ------------------------------------------------------------------------------------------------------


class PrivacyClaim(Part):
    """What the owner claims of the training: (epsilon, delta) differential privacy for each `unit`."""

    epsilon: float = Field(ge=0)
    delta: float = Field(ge=0, lt=1)
    unit: Literal["record", "group"] = "record"


class CanaryBound(Part):
    """A lower bound of epsilon at one access. `ceiling` is the most that these coins could have shown.

    `assumes` names what the bound takes for granted about the training; empty: nothing. A claim is held against the
    bound that was `declared` before any model was asked, and against no other.
    """

    access: Access
    assumes: str
    declared: bool
    epsilon: float = Field(ge=0)
    delta: float = Field(ge=0, lt=1)
    confidence: float = Field(gt=0, lt=1)
    ceiling: float = Field(ge=0)
    guesses: Count
    correct: Count
    auc: Rate
    method: str

    @model_validator(mode="after")
    def _counted(self) -> CanaryBound:
        if self.correct > self.guesses:
            raise ValueError(f"{self.correct:,} of {self.guesses:,} guesses cannot be right")
        return self


class CanaryAudit(Part):
    """What the model kept of records that were added to its training by logged coin flips (rule 10)."""

    canaries: Count
    included: Count
    mislabelled: Count
    bounds: tuple[CanaryBound, ...]
    claim: PrivacyClaim | None
    contradicted: bool | None
    sentence: str

    @model_validator(mode="after")
    def _counted(self) -> CanaryAudit:
        if max(self.included, self.mislabelled) > self.canaries:
            raise ValueError(f"more were included or mislabelled than the {self.canaries:,} canaries that there are")
        return self


class ImpliedEpsilon(Part):
    """The log-ratio of an attack's two rates where `fpr` of the non-members are flagged: descriptive, no bound.

    Who is a member was drawn at random, though not by logged coin flips: it is approximate, and decides nothing.
    """

    attack_id: str
    access: Access
    fpr: Probability
    estimate: Estimate
