"""The one path of an audit, from a checkpoint and a data folder to an `AuditReport`; read it as a table of contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from auditor.battery.instant import AtOnce, answer_at_once, answer_with_shadows
from auditor.battery.plan import probes_for, run_battery, run_inversion_battery, run_output_matrix
from auditor.battery.rules import Ahead
from auditor.case import Case, open_case, open_material, planned_before
from auditor.checks import doubts_ahead, run_checks
from auditor.comparison import Bench, advise, compare_all
from auditor.compute import SILENT, Progress, one_thread
from auditor.controls.panel import run_controls
from auditor.controls.planted_shadow import planted_shadow_control
from auditor.dossier import Found, keep_preliminary, keep_report
from auditor.findings import AuditReport, CanaryAudit, Check, ControlResult
from auditor.inversion.measure import inversion_facts
from auditor.laboratory import Answers
from auditor.membership.evidence import Evidence, NullModels
from auditor.membership.exposure import exposed_groups, exposed_records
from auditor.membership.gather import PROBED_SHADOWS, run_probes
from auditor.membership.implied import implied_epsilons
from auditor.membership.measure import class_exposure, declared_tests, signal_histogram, strongest_primary
from auditor.membership.one_run import bound_epsilon
from auditor.planning import AuditOptions, Preview, preview, settle_plan
from auditor.policy_file import Policy, read_policy
from auditor.verdict import decide_inversion, decide_membership, doubts_of

__all__ = ["AuditOptions", "audit", "plan_audit"]


@one_thread()
def plan_audit(options: AuditOptions) -> Preview:
    """What `audit` would run and cost, without writing anything; a plan that waits in the run folder is told.

    Raises:
        InputError: checkpoint, data or options cannot be used, or are not those of the plan in the run folder.
    """
    material = open_material(options)
    stored = planned_before(options, material.target)
    plan, design = settle_plan(options, material.target, material.splits, stored, material.generator)
    policy = Policy() if options.policy is None else read_policy(options.policy)
    canaries = None if material.canaries is None else material.canaries.records.n
    ahead = Ahead(policy, plan, material.splits.num_classes, canaries, options.release)
    priced = preview(plan, design, material.target, material.splits.public, options.workers)
    doubts = doubts_ahead(material.target, material.splits, design.audit_set, plan.seed)
    return replace(priced, undecided=ahead.undecided, doubts=doubts)


def audit(options: AuditOptions, progress: Progress = SILENT) -> AuditReport:
    """Audit a checkpoint.

    Args:
        options: What to audit, and how.
        progress: Who is told how far it has come.

    Raises:
        InputError: checkpoint, data or options cannot be used.
    """
    with open_case(options, progress) as case:
        with case.clock.phase("ask the target"):
            answers = case.laboratory.ask(case.target)
        with case.clock.phase("instant answer"):
            shows, release = case.target.shows, options.release
            first = answer_at_once(case.plan, answers, case.context, case.jury, shows=shows, release=release)
            early = run_checks(case.subject(first.evidence, predicted=case.named_classes()))
        progress.note(keep_preliminary(case, first, early, signal_histogram(answers, case.jury)))
        evidence, nulls = _train(case, answers)
        return keep_report(case, _find(case, first, early, evidence, nulls))


def _train(case: Case, answers: Answers) -> tuple[Evidence, NullModels]:
    """Train what has to be trained, and gather all that an attacker is given."""
    laboratory, design, clock = case.laboratory, case.design, case.clock
    with clock.phase("ask the given shadows" if design.given else "train shadows"):
        shadows = Answers.stack(laboratory.train(design.shadows, task="shadows"))
    with clock.phase("train null and control models"):
        nulls = NullModels(Answers.stack(laboratory.train(design.nulls, task="null models")), design.halves)
        laboratory.train([design.control, design.planted, *design.left_out(case.plan)], task="control models")
    with clock.phase("probes"):
        probes = run_probes(probes_for(case.plan), laboratory, case.target, design.shadows[:PROBED_SHADOWS])
    return Evidence(answers, shadows, design.inclusion, case.context, probes), nulls


def _ask_planted_shadow(case: Case) -> ControlResult:
    """What a shadow kept of mislabelled records."""
    design, load = case.design, case.laboratory.load
    shadows = (load(one) for one in design.shadows)
    return planted_shadow_control(design.planting, design.audit_set.reference, load(design.planted), shadows)


def _ask_canaries(case: Case) -> CanaryAudit | None:
    """What the model kept of the canaries; None where the owner has none."""
    canaries, claim = case.material.canaries, case.material.splits.settings.claim
    if canaries is None:
        return None
    shadows = (case.laboratory.load(one) for one in case.design.shadows)
    return bound_epsilon(canaries, case.target, shadows, None if claim is None else claim.stated())


def _find(case: Case, first: AtOnce, early: Sequence[Check], evidence: Evidence, nulls: NullModels) -> Found:
    """Attack, control, check, defend, decide."""
    plan, target, jury, clock, laboratory = case.plan, case.target, case.jury, case.clock, case.laboratory
    with clock.phase("membership attacks"):
        scored = run_battery(plan, evidence, jury, shows=target.shows)
        strongest = strongest_primary(scored)
        matrix = run_output_matrix(plan, target, evidence, jury)
    with clock.phase("controls and checks"):
        panel = run_controls(scored, evidence, nulls, jury, case.context.features, plan.limits, plan.seed)
        checks = run_checks(case.subject(evidence, scored=scored), early)
        controls = (*panel.results, _ask_planted_shadow(case))
        doubts = doubts_of(controls, checks)
        exposed = exposed_records(strongest, evidence, nulls, jury, doubts, case.digests, case.key)
        canaries = _ask_canaries(case)
    with clock.phase("inversion attacks"):
        inverted = run_inversion_battery(plan, case.workshop, case.inverted_models)
    with clock.phase("defenses"):
        bench = Bench(plan, case.design, laboratory, target, evidence, scored, jury, case.workshop)
        defenses = compare_all(bench)
    facts = panel.facts(scored, evidence, jury, plan.limits, random_split=case.stated_random, shadows=case.shadow_data)
    rebuilt = inversion_facts(inverted.results, case.data.classes, person=case.data.class_is_person)
    verdicts = (
        *decide_membership(facts, doubts, plan.limits),
        *decide_inversion(rebuilt, doubts, shift=any(one.shift for one in facts)),
    )
    return Found(
        scored=tuple(scored),
        histograms=signal_histogram(evidence.target, jury),
        verdicts=verdicts,
        instant=answer_with_shadows(first.answer, scored),
        primary_tests=declared_tests(scored, jury, plan.limits),
        secondary=tuple(one.secondary for one in facts if one.secondary is not None),
        exposure=class_exposure(strongest, jury, case.data.classes, plan.limits),
        record_exposure=exposed,
        group_exposure=exposed_groups(exposed, jury, case.digests, case.key),
        output_matrix=matrix,
        canaries=canaries,
        implied_epsilon=implied_epsilons(scored, jury, plan.limits, random_split=case.stated_random),
        inverted=inverted,
        controls=controls,
        checks=checks,
        defenses=defenses,
        advice=advise(defenses),
    )
