"""The report itself: its parts, and the answer that they led to."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from auditor.findings.attacks import (
    AttackResult,
    ClassExposure,
    GroupExposure,
    Histogram,
    InstantAnswer,
    OutputLeak,
    RecordExposure,
    SecondaryChoice,
)
from auditor.findings.controls import CanaryAudit, Check, ControlResult, ImpliedEpsilon
from auditor.findings.credible import Count, Part
from auditor.findings.defenses import DefenseAdvice, DefenseResult
from auditor.findings.inversion import InversionResult, InversionSetup
from auditor.findings.subject import DataFacts, Environment, ModelFacts, PlanFacts, Timing
from auditor.findings.words import Family, Severity, VerdictState
from auditor.threat import Access

__all__ = [
    "SCHEMA_VERSION",
    "AuditReport",
    "Verdict",
]

SCHEMA_VERSION = "1"


class Verdict(Part):
    """The answer for one access and one family, with the reasons that decided it, most important first.

    `too_wide`: nothing but upper bounds that reach their limits keeps *cannot say* from being *nothing found*.
    """

    access: Access
    family: Family
    state: VerdictState
    sentence: str
    reasons: tuple[str, ...]
    inherited_from: Access | None = None
    auc_only: bool = False
    too_wide: bool = False


class AuditReport(Part):
    """Everything that an audit found. Every other format is made from this alone.

    At the stage "target alone" no shadow has been trained: what needs one is skipped and every verdict is open.
    `primary_tests` were corrected for together, those of declared attacks that broke off included. `secondary` holds
    the best secondary attack of each access that has one; before shadows are trained, of the declared release alone.
    """

    schema_version: str = SCHEMA_VERSION
    stage: Literal["target alone", "complete"] = "complete"
    created: datetime
    model: ModelFacts
    data: DataFacts
    plan: PlanFacts
    environment: Environment
    membership: tuple[AttackResult, ...]
    primary_tests: Count = 0
    secondary: tuple[SecondaryChoice, ...]
    exposure: tuple[ClassExposure, ...]
    record_exposure: RecordExposure = RecordExposure(status="skipped", reason="not measured")
    group_exposure: tuple[GroupExposure, ...] = ()
    output_matrix: tuple[OutputLeak, ...] = ()
    instant: InstantAnswer | None = None
    canaries: CanaryAudit | None = None
    implied_epsilon: tuple[ImpliedEpsilon, ...] = ()
    histograms: tuple[Histogram, ...]
    inversion: tuple[InversionResult, ...]
    inversion_setup: InversionSetup | None = None
    controls: tuple[ControlResult, ...]
    checks: tuple[Check, ...]
    defenses: tuple[DefenseResult, ...]
    defenses_not_planned: tuple[DefenseResult, ...] = ()
    advice: tuple[DefenseAdvice, ...] = ()
    verdicts: tuple[Verdict, ...]
    severity: Severity
    timings: tuple[Timing, ...]
    attack_timings: tuple[Timing, ...] = ()

    def secondary_at(self, access: Access) -> SecondaryChoice | None:
        """The best secondary attack that an access allows; None where none was chosen."""
        return next((one for one in self.secondary if one.access is access), None)

    def verdict(self, access: Access, family: Family) -> Verdict:
        """The verdict for one access and family.

        Raises:
            KeyError: the report holds none.
        """
        for verdict in self.verdicts:
            if verdict.access is access and verdict.family is family:
                return verdict
        raise KeyError(f"no verdict for {access}, {family}")
