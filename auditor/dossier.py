"""The dossier of one audit: what it found, and the report that this becomes, kept in the run folder.

Beside the finished report lie the scores of the primary attacks, so that the next audit can be held against this one
record by record.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal, TypeVar

import numpy as np
import torch

from auditor.battery.instant import AtOnce, not_inverted_yet, undecided
from auditor.case import Case
from auditor.comparison import not_planned
from auditor.difference.kept_scores import SCORES_NAME, arrays_of, stamp_of
from auditor.difference.pairing import KeptScores
from auditor.findings import (
    AuditReport,
    CanaryAudit,
    Check,
    CheckLevel,
    ClassExposure,
    Completed,
    ControlResult,
    DataFacts,
    DefenseAdvice,
    DefenseResult,
    Environment,
    GalleryPicture,
    GroupExposure,
    Histogram,
    ImpliedEpsilon,
    InstantAnswer,
    OutputLeak,
    RecordExposure,
    Role,
    SecondaryChoice,
    Timing,
    Verdict,
)
from auditor.instrument import last_selftest
from auditor.intake import by_number, published
from auditor.inversion.workshop import Inversions
from auditor.laboratory import is_probe
from auditor.membership.measure import Scored
from auditor.planning import plan_facts
from auditor.policy import severity_of
from auditor.report.jsonfile import render_json
from auditor.splits import record_id

__all__ = ["Found", "keep_preliminary", "keep_report"]

Told = TypeVar("Told", ClassExposure, GalleryPicture)


@dataclass(frozen=True)
class Found:
    """What an audit found, part by part; what was not looked at yet is empty."""

    scored: tuple[Scored, ...]
    histograms: tuple[Histogram, ...]
    verdicts: tuple[Verdict, ...]
    instant: InstantAnswer | None = None
    canaries: CanaryAudit | None = None
    implied_epsilon: tuple[ImpliedEpsilon, ...] = ()
    primary_tests: int = 0
    secondary: tuple[SecondaryChoice, ...] = ()
    exposure: tuple[ClassExposure, ...] = ()
    record_exposure: RecordExposure = field(
        default_factory=lambda: RecordExposure(status="skipped", reason="not measured")
    )
    group_exposure: tuple[GroupExposure, ...] = ()
    output_matrix: tuple[OutputLeak, ...] = ()
    inverted: Inversions = field(default_factory=Inversions)
    controls: tuple[ControlResult, ...] = ()
    checks: tuple[Check, ...] = ()
    defenses: tuple[DefenseResult, ...] = ()
    advice: tuple[DefenseAdvice, ...] = ()


def keep_preliminary(case: Case, first: AtOnce, checks: tuple[Check, ...], histograms: tuple[Histogram, ...]) -> str:
    """Keep the report of what the target alone shows, and tell it, with where it is kept, in a few sentences."""
    found = Found(
        scored=first.scored,
        histograms=histograms,
        verdicts=undecided(),
        instant=first.answer,
        secondary=() if first.choice is None else (first.choice,),
        record_exposure=RecordExposure(status="skipped", reason="needs shadows, which are not trained yet"),
        inverted=Inversions(not_inverted_yet(case.plan)),
        checks=checks,
    )
    _keep(case, "report-at-once.json", _report(case, found, "target alone"))
    where = case.laboratory.folder.path("report-at-once.json")
    failed = [f"{check.title}: {check.sentence}" for check in checks if check.level is CheckLevel.FAIL]
    return " ".join([first.answer.sentence, *failed, f"The preliminary report: {where}"])


def keep_report(case: Case, found: Found) -> AuditReport:
    """The finished report, kept in the run folder with the scores behind it."""
    report = _report(case, found, "complete")
    _keep_scores(case, found.scored, report)
    _keep(case, "report.json", report)
    return report


def _keep(case: Case, name: str, report: AuditReport) -> None:
    case.laboratory.folder.write_text(name, render_json(report))


def _keep_scores(case: Case, scored: Sequence[Scored], report: AuditReport) -> None:
    """Keep what each completed primary attack gave every record, under opaque ids, bound to the report."""
    primaries = {
        one.attack.card.id: one.scores
        for one in scored
        if one.role is Role.PRIMARY and isinstance(one.outcome, Completed) and one.scores is not None
    }
    kept = KeptScores.of(
        ids=[record_id(case.key, digest) for digest in case.digests],
        membership=case.jury.membership,
        groups=case.jury.groups,
        scores={name: scores for name, scores in primaries.items() if np.isfinite(scores).all()},
    )
    case.laboratory.folder.write_arrays(SCORES_NAME, arrays_of(kept), stamp_of(report))


def _report(case: Case, found: Found, stage: Literal["target alone", "complete"]) -> AuditReport:
    membership, timings = tuple(one.result for one in found.scored), case.clock.timings
    return AuditReport(
        stage=stage,
        created=case.plan.created,
        model=case.target.facts,
        data=published(case.data),
        plan=plan_facts(case.plan, case.options),
        environment=_environment(case.target.device),
        membership=membership,
        primary_tests=found.primary_tests,
        secondary=found.secondary,
        exposure=_unordered(found.exposure, case.data),
        record_exposure=found.record_exposure,
        group_exposure=found.group_exposure,
        output_matrix=found.output_matrix,
        instant=found.instant,
        canaries=found.canaries,
        implied_epsilon=found.implied_epsilon,
        histograms=found.histograms,
        inversion=tuple(
            one.model_copy(update={"gallery": _unordered(one.gallery, case.data)}) for one in found.inverted.results
        ),
        inversion_setup=found.inverted.setup,
        controls=found.controls,
        checks=found.checks,
        defenses=found.defenses,
        defenses_not_planned=not_planned(case.plan),
        advice=found.advice,
        verdicts=found.verdicts,
        severity=severity_of(found.verdicts, membership, case.options.release, case.plan.severity),
        timings=tuple(one for one in timings if not is_probe(one)),
        attack_timings=(*_scoring(found.scored), *_probing(timings), *found.inverted.timings),
    )


def _scoring(scored: Sequence[Scored]) -> Iterator[Timing]:
    """What scoring and measuring took, of the attacks that ran."""
    for one in scored:
        if one.scores is not None:
            wall, cpu = round(one.wall_seconds, 2), round(one.cpu_seconds, 2)
            yield Timing(phase=one.attack.card.id, wall_seconds=wall, cpu_seconds=cpu)


def _probing(timings: Sequence[Timing]) -> Iterator[Timing]:
    """What each probe took, of the target and of shadows together."""
    probing = [one for one in timings if is_probe(one)]
    for phase in dict.fromkeys(one.phase for one in probing):
        parts = [one for one in probing if one.phase == phase]
        wall, cpu = sum(one.wall_seconds for one in parts), sum(one.cpu_seconds for one in parts)
        yield Timing(phase=phase, wall_seconds=round(wall, 2), cpu_seconds=round(cpu, 2))


def _unordered(parts: tuple[Told, ...], data: DataFacts) -> tuple[Told, ...]:
    """What is told by class, where classes are people in the order of their pseudonyms."""
    return tuple(sorted(parts, key=lambda part: by_number(part.label))) if data.class_is_person else parts


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
        selftest=last_selftest(),
    )
