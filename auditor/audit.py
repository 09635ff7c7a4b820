"""The one path of an audit, from a checkpoint and a data folder to an `AuditReport`; read it as a table of contents."""

from __future__ import annotations

from pathlib import Path

import torch

from auditor.battery import MEMBERSHIP, probes_for, run_battery, run_inversion_battery, run_output_matrix
from auditor.checks import Subject, run_checks
from auditor.comparison import Undefended, compare_all, through_of
from auditor.compute import SILENT, Clock, Progress, RunFolder, Workers, default_workers, resolve_device
from auditor.controls.panel import run_controls, secondary_note
from auditor.dossier import Dossier, Found
from auditor.findings import AuditReport
from auditor.intake import data_facts, open_inputs
from auditor.inversion import inversion_facts
from auditor.laboratory import Answers, Blueprint, Laboratory
from auditor.membership.evidence import Evidence, NullModels
from auditor.membership.exposure import exposed_groups, exposed_records
from auditor.membership.gather import PROBED_SHADOWS, records_context, run_probes
from auditor.membership.instant import answer_at_once, answer_with_shadows
from auditor.membership.measure import Jury, choose_secondary, class_exposure, signal_histogram, strongest_primary
from auditor.planning import AuditOptions, Preview, preview, settle_plan
from auditor.splits import load_key
from auditor.verdict import decide_inversion, decide_membership, doubts_of

__all__ = ["AuditOptions", "audit", "plan_audit"]

_RUNS = Path("privaudit-runs")


def plan_audit(options: AuditOptions) -> Preview:
    """What `audit` would run and cost, without writing anything.

    Raises:
        InputError: checkpoint, data or options cannot be used.
    """
    device = resolve_device(options.device)
    target, splits = open_inputs(
        options.checkpoint, options.data, arch=options.arch, device=device, trust=options.trust_checkpoint
    )
    torch.set_num_threads(1)
    return preview(*settle_plan(options, target, splits, None), target)


def audit(options: AuditOptions, progress: Progress = SILENT) -> AuditReport:
    """Audit a checkpoint.

    Args:
        options: What to audit, and how.
        progress: Who is told how far it has come.

    Raises:
        InputError: checkpoint, data or options cannot be used.
    """
    clock = Clock()
    device = resolve_device(options.device)
    torch.set_num_threads(1)
    with clock.phase("open checkpoint and data"):
        target, splits = open_inputs(
            options.checkpoint, options.data, arch=options.arch, device=device, trust=options.trust_checkpoint
        )
        folder = RunFolder.create(options.run_dir or _RUNS / f"{target.facts.name}-{target.fingerprint[:8]}")
    with folder.lock(), Workers.open(options.workers or default_workers(device), clock) as workers:
        plan, design = settle_plan(options, target, splits, folder)
        key = load_key(options.key or folder.root.parent / "privaudit.key")
        audit_set = design.audit_set
        data = data_facts(splits, audit_set, key)
        dossier = Dossier(options, plan, target, data, clock, folder)
        blueprint = Blueprint(target.architecture, target.facts, str(device))
        through = through_of(target)
        laboratory = Laboratory(folder, workers, blueprint, plan.recipe, plan.queries, audit_set, progress, through)

        with clock.phase("ask the target"):
            laboratory.publish()
            answers = laboratory.ask(target)
        jury = Jury.of(audit_set.records, audit_set.membership, plan.seed)
        with clock.phase("instant answer"):
            context = records_context(target, audit_set, plan.seed)
            first = answer_at_once(plan, answers, context, jury, shows=target.shows)
            checks = run_checks(Subject(splits, audit_set, jury, first.evidence, plan.recipe_stated, plan.recipe))
        progress.note(dossier.at_once(first, checks, signal_histogram(answers, jury)))
        with clock.phase("ask the given shadows" if plan.given else "train shadows"):
            shadows = Answers.stack(laboratory.train(design.shadows, task="shadows"))
        with clock.phase("train null and control models"):
            nulls = NullModels(Answers.stack(laboratory.train(design.nulls, task="null models")), design.halves)
            laboratory.train([design.control], task="control model")

        with clock.phase("probes"):
            probes = run_probes(probes_for(plan), laboratory, target, design.shadows[:PROBED_SHADOWS])
            evidence = Evidence(answers, shadows, design.inclusion, context, probes)
        with clock.phase("membership attacks"):
            scored = run_battery(plan, evidence, jury, shows=target.shows)
            choice = choose_secondary(scored, jury, plan.limits)
            strongest = strongest_primary(scored)
        with clock.phase("controls and checks"):
            panel = run_controls(scored, evidence, nulls, jury, context.features, plan.limits, plan.seed)
            checks = run_checks(
                Subject(splits, audit_set, jury, evidence, plan.recipe_stated, plan.recipe, plan.given is not None)
            )
            doubts = doubts_of(panel.results, checks)
            exposed = exposed_records(strongest, evidence, nulls, jury, doubts, audit_set.records.digests, key)
        with clock.phase("defenses"):
            before = Undefended(target, evidence, scored, design.shadows, jury, plan.limits, plan.seed)
            defenses = compare_all(plan.defenses, laboratory, before)
        with clock.phase("inversion attacks"):
            inversion = run_inversion_battery(plan, target, laboratory.load(design.control), audit_set)

        titles = {attack.card.id: attack.card.title for attack in MEMBERSHIP}
        note = secondary_note(choice, titles.get(choice.attack_id, "")) if choice else ""
        verdicts = (
            *decide_membership(panel.facts(scored, evidence, jury, plan.limits), doubts, plan.limits, note),
            *decide_inversion(inversion_facts(inversion, data.classes)),
        )
        return dossier.report(
            Found(
                scored=tuple(scored),
                histograms=signal_histogram(answers, jury),
                verdicts=verdicts,
                instant=answer_with_shadows(first.answer, scored),
                secondary_choice=choice,
                exposure=class_exposure(strongest, jury, data.classes, plan.limits),
                record_exposure=exposed,
                group_exposure=exposed_groups(exposed, jury, audit_set.records.digests, key),
                output_matrix=run_output_matrix(plan, target, evidence, jury),
                inversion=inversion,
                controls=panel.results,
                checks=checks,
                defenses=defenses,
            )
        )
