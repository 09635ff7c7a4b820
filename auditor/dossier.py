"""The dossier of one audit: what is known from the beginning, and the report that it becomes."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import version

import torch

from auditor.battery import Plan
from auditor.compute import Clock, RunFolder
from auditor.findings import (
    AuditReport,
    Check,
    ClassExposure,
    ControlResult,
    DataFacts,
    DefenseResult,
    Environment,
    GroupExposure,
    Histogram,
    InstantAnswer,
    InversionResult,
    OutputLeak,
    RecordExposure,
    SecondaryChoice,
    Verdict,
)
from auditor.membership.measure import Scored
from auditor.planning import AuditOptions, plan_facts
from auditor.policy import severity_of
from auditor.target import Target

__all__ = ["Dossier", "Found"]


@dataclass(frozen=True)
class Found:
    """What an audit found, part by part; what was not looked at yet is empty."""

    scored: tuple[Scored, ...]
    histograms: tuple[Histogram, ...]
    verdicts: tuple[Verdict, ...]
    instant: InstantAnswer | None = None
    secondary_choice: SecondaryChoice | None = None
    exposure: tuple[ClassExposure, ...] = ()
    record_exposure: RecordExposure = field(
        default_factory=lambda: RecordExposure(status="skipped", reason="not measured")
    )
    group_exposure: tuple[GroupExposure, ...] = ()
    output_matrix: tuple[OutputLeak, ...] = ()
    inversion: tuple[InversionResult, ...] = ()
    controls: tuple[ControlResult, ...] = ()
    checks: tuple[Check, ...] = ()
    defenses: tuple[DefenseResult, ...] = ()


@dataclass(frozen=True)
class Dossier:
    """What every report of this audit says: the plan, the model, the data, the machine, the clock."""

    options: AuditOptions
    plan: Plan
    target: Target
    data: DataFacts
    clock: Clock
    folder: RunFolder

    def report(self, found: Found) -> AuditReport:
        """The finished report, kept in the run folder."""
        membership = tuple(one.result for one in found.scored)
        report = AuditReport(
            created=self.plan.created,
            model=self.target.facts,
            data=self.data,
            plan=plan_facts(self.plan, self.options),
            environment=_environment(self.target.device),
            membership=membership,
            secondary_choice=found.secondary_choice,
            exposure=found.exposure,
            record_exposure=found.record_exposure,
            group_exposure=found.group_exposure,
            output_matrix=found.output_matrix,
            instant=found.instant,
            histograms=found.histograms,
            inversion=found.inversion,
            controls=found.controls,
            checks=found.checks,
            defenses=found.defenses,
            verdicts=found.verdicts,
            severity=severity_of(found.verdicts, membership, self.options.release),
            timings=tuple(self.clock.timings),
        )
        self.folder.write_text("report.json", report.model_dump_json(indent=2) + "\n")
        return report


def _environment(device: torch.device) -> Environment:
    return Environment(
        privaudit=version("privaudit"),
        python=sys.version.split()[0],
        torch=version("torch"),
        timm=version("timm"),
        numpy=version("numpy"),
        platform=platform.system(),
        machine=platform.machine(),
        device=device.type,
        threads_per_worker=1,
    )
