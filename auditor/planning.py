"""Settles the plan of a scan: made fresh, read from --plan, or replayed from the run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from auditor.battery import CARDS, INVERSION, MEMBERSHIP
from auditor.battery.known import refuse_unknown_attacks
from auditor.battery.plan import (
    GivenFacts,
    Plan,
    attacks_at,
    budget_named,
    dearer,
    planned_at,
    queries_for,
    why_not_planned,
)
from auditor.checkpoint.weights import sha256_of
from auditor.compute import PLAN_NAME, RunFolder, default_workers, digest, generator
from auditor.cost.price import Cost, spoken
from auditor.cost.trials import cost_of
from auditor.defenses import DEFENSES
from auditor.errors import InputError
from auditor.findings import AuditReport, PlanFacts, Role
from auditor.given_shadows import GivenShadows, read_given_shadows
from auditor.intake import data_digest
from auditor.inversion.prior import OwnGenerator
from auditor.limits import LEAST_CLASSES
from auditor.policy_file import Policy, read_policy
from auditor.records import printable
from auditor.shadows import AuditSet, Planting, TrainingSet, draw_audit_set, draw_planting, inclusion_pairs, null_halves
from auditor.splits import Recipe, Records, Splits
from auditor.stats.groups import effective_groups
from auditor.target import Target
from auditor.threat import Access
from auditor.training import default_recipe

__all__ = ["AuditOptions", "Design", "Preview", "design_of", "plan_facts", "preview", "settle_plan"]

_DEFAULT_BUDGET = "standard"
_CLASS_CONTROLS = 2
_RETRAINED_SHADOWS = 8
_MAKE_PLAN = "Name what `privaudit plan --json` printed, or the plan.json of a run folder."


@dataclass(frozen=True)
class AuditOptions:
    """What the caller asks for; the arguments of `privaudit scan`. None: as the plan says, or the default.

    `baseline` is the report of the last release: a model for another task is refused before anything is trained.
    """

    checkpoint: Path
    data: Path
    arch: str | None = None
    release: Access = Access.WEIGHTS
    budget: str | None = None
    seed: int | None = None
    device: str = "auto"
    workers: int | None = None
    run_dir: Path | None = None
    plan: Path | None = None
    attacks: tuple[str, ...] | None = None
    defenses: tuple[str, ...] | None = None
    trust_checkpoint: bool = False
    key: Path | None = None
    shadows: Path | None = None
    max_time: int | None = None
    canaries: Path | None = None
    generator: str | None = None
    show_records: bool = False
    policy: Path | None = None
    baseline: AuditReport | None = None


@dataclass(frozen=True)
class Design:
    """Who is evaluated, and who trains on whom.

    Attributes:
        audit_set: Members, non-members and population.
        inclusion: bool [model, record], which audit records each shadow trains on.
        halves: bool [model, record], which each null model trains on.
        seed: The audit's seed.
        given: The shadows, where the owner has trained them.
        cost: What all of it costs here, where `--max-time` decided how many shadows there are.
    """

    audit_set: AuditSet
    inclusion: npt.NDArray[np.bool_]
    halves: npt.NDArray[np.bool_]
    seed: int
    given: GivenShadows | None = None
    cost: Cost | None = None

    @property
    def shadows(self) -> tuple[TrainingSet, ...]:
        """The shadows, to train or given."""
        sets = tuple(self._set("shadow", index, row) for index, row in enumerate(self.inclusion))
        if self.given is None:
            return sets
        return tuple(replace(one, given=model) for one, model in zip(sets, self.given.models, strict=True))

    @property
    def nulls(self) -> tuple[TrainingSet, ...]:
        """The two null models to train."""
        return tuple(self._set("null", index, row) for index, row in enumerate(self.halves))

    @property
    def twin(self) -> TrainingSet:
        """The records of the audited model: what an undefended twin and every training-time defense learns."""
        return self._set("twin", 0, self.audit_set.membership)

    @property
    def planted(self) -> TrainingSet:
        """A further shadow, with mislabelled records in it."""
        half = inclusion_pairs(self.audit_set.records.n, 2, generator(self.seed, "planted shadow"))[0]
        return replace(self._set("planted", 0, half), planting=self.planting)

    @property
    def planting(self) -> Planting:
        """What the further shadow learns by heart."""
        return draw_planting(self.audit_set.reference, generator(self.seed, "planting"))

    @property
    def control(self) -> TrainingSet:
        """The control model of the inversion battery: trained on the non-members instead of the members."""
        return self._set("control", 0, ~self.audit_set.membership, others=False)

    def left_out(self, plan: Plan) -> tuple[TrainingSet, ...]:
        """The other control models of the inversion battery: each trained without one random half of the classes."""
        if not plan.class_controls:
            return ()
        order = generator(self.seed, "classes left out").permutation(np.unique(self.audit_set.records.labels))
        everyone = self.audit_set.membership
        return tuple(
            replace(self._set("without-half", index, everyone), without_classes=tuple(sorted(half.tolist())))
            for index, half in enumerate(np.array_split(order, _CLASS_CONTROLS))
        )

    def _set(self, name: str, index: int, included: npt.NDArray[np.bool_], *, others: bool = True) -> TrainingSet:
        seed = int(generator(self.seed, f"{name} {index}").integers(2**31))
        return TrainingSet(f"{name}-{index:02d}", included, seed, others)

    def digest(self) -> str:
        """Names the design by its content."""
        return digest(
            np.packbits(self.inclusion), np.packbits(self.halves), b"".join(self.audit_set.records.digests).hex()
        )


@dataclass(frozen=True)
class Preview:
    """A plan with what it would cost here, by short timed trials.

    Attributes:
        plan: What would run.
        cost: What it would cost.
        undecided: Rules of the policy that it cannot decide.
        doubts: What the model's answers and the checks of the records say against an audit.
    """

    plan: Plan
    cost: Cost
    undecided: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def describe(self) -> str:
        """What would run, and what it would cost, in plain lines."""
        probes = {one.card.id: f", after probe {one.probe}" for one in MEMBERSHIP if one.probe}
        named = {name: spoken(seconds) for name, seconds in self.cost.by_name().items()}
        priced = {*self.plan.attacks, *self.plan.defenses}
        lines = [
            self.plan.describe({name: f"{named[name]}{probes.get(name, '')}" for name in named if name in priced}),
            *self._defenses_not_run(),
            *[f"undecided  {sentence}" for sentence in self.undecided],
            *[f"doubt      {sentence}" for sentence in self.doubts],
            *[f"cost       {name:35} {seconds}" for name, seconds in named.items() if name not in priced],
            f"cost       {'all':35} {spoken(self.cost.cpu_seconds)} of CPU time, {self._wall()}",
        ]
        return "\n".join(lines)

    def _defenses_not_run(self) -> Iterator[str]:
        reasons: dict[str, list[str]] = {}
        for row in DEFENSES:
            if reason := why_not_planned(row.card.id, row.budget, self.plan.defenses, self.plan):
                reasons.setdefault(reason, []).append(row.card.id)
        for reason, ids in reasons.items():
            yield f"not run    {', '.join(ids)}: {reason}"

    @property
    def training_seconds(self) -> float:
        """CPU seconds to train all models and ask each of them."""
        return sum(seconds for phase, seconds in self.cost.by_phase().items() if phase.startswith("train "))

    def _wall(self) -> str:
        workers = self.cost.workers
        return f"about {spoken(self.cost.wall_seconds)} with {workers} worker{'' if workers == 1 else 's'}"


def preview(
    plan: Plan, design: Design, target: Target, public: Records | None = None, workers: int | None = None
) -> Preview:
    """Time short trials of what a plan names, unless `--max-time` has done so; nothing is kept.

    Args:
        plan: What would run.
        design: Who is evaluated.
        target: The audited model.
        public: Records of public/, if there are any.
        workers: How many processes would share the work; as many as a scan takes by default.
    """
    cost = design.cost or cost_of(plan, design.audit_set, public, target, workers or default_workers(target.device))
    return Preview(plan, cost)


def design_of(splits: Splits, *, cap: int, shadows: int, seed: int, given: GivenShadows | None = None) -> Design:
    """Draw the audit set, the shadows and the null models of a seed; what given shadows trained on is not drawn."""
    audit_set = draw_audit_set(splits, cap=cap, seed=seed, coverage=None if given is None else given.coverage(splits))
    if given is None:
        inclusion = inclusion_pairs(audit_set.records.n, shadows, generator(seed, "shadows"))
    else:
        inclusion = given.inclusion(audit_set)
    return Design(audit_set, inclusion, null_halves(audit_set, generator(seed, "null models")), seed, given)


def settle_plan(
    options: AuditOptions,
    target: Target,
    splits: Splits,
    folder: RunFolder | None,
    own: OwnGenerator | None = None,
) -> tuple[Plan, Design]:
    """The plan to follow and its design; a plan that exists already is replayed, or refused if it is another's.

    Args:
        options: What the caller asks for.
        target: The audited model.
        splits: The owner's data.
        folder: Of the run; None: nothing is kept.
        own: The generator that the options name, if they name one.

    Raises:
        InputError: plan or policy is unreadable, or the plan is of another model, data, shadows, policy or options.
    """
    _refuse_unfit_init(target, splits)
    policy = _policy_of(options)
    given = None if options.shadows is None else read_given_shadows(options.shadows, target, splits)
    stored = folder.path(PLAN_NAME) if folder else None
    source = options.plan or stored
    if source is None or (options.plan is None and not source.exists()):
        return _save(folder, *_fresh(options, target, splits, given, policy or Policy(), own))
    plan = _read(source)
    _refuse_other_options(plan, options, target, splits, source)
    _refuse_other_canaries(plan, options, source)
    _refuse_other_generator(plan, own, source)
    _refuse_other_policy(plan, policy, source)
    if (plan.model, plan.data) != (target.fingerprint, data_digest(splits)):
        raise InputError(
            f"{source} was made for another model or other data.", "Choose a fresh --run-dir, or no --plan."
        )
    _refuse_other_shadows(plan, given, source)
    design = design_of(splits, cap=plan.cap, shadows=plan.shadows, seed=plan.seed, given=given)
    if design.digest() != plan.design:
        raise InputError(
            f"{source} cannot be replayed: this version draws another design from its seed.", "Plan afresh."
        )
    if stored is not None and stored.exists() and _read(stored) != plan:
        raise InputError(f"{stored.parent} holds another plan.", "Choose a fresh --run-dir.")
    return _save(folder, plan, design)


def _policy_of(options: AuditOptions) -> Policy | None:
    if options.policy is None:
        return None
    policy = read_policy(options.policy)
    refuse_unknown_attacks(policy, options.policy)
    return policy


def _fresh(
    options: AuditOptions,
    target: Target,
    splits: Splits,
    given: GivenShadows | None,
    policy: Policy,
    own: OwnGenerator | None,
) -> tuple[Plan, Design]:
    budget = budget_named(options.budget or _DEFAULT_BUDGET)
    seed = options.seed or 0
    shadows = budget.shadows if given is None else len(given.models)
    design = design_of(splits, cap=budget.cap, shadows=shadows, seed=seed, given=given)
    recipe = recipe_of(target, splits)
    attacks = attacks_at(budget.name, options.attacks)
    plan = Plan(
        created=datetime.now(UTC).replace(microsecond=0),
        privaudit=version("privaudit"),
        model=target.fingerprint,
        data=data_digest(splits),
        design=design.digest(),
        budget=budget.name,
        seed=seed,
        cap=budget.cap,
        shadows=shadows,
        given=None if given is None else GivenFacts(name=given.name, digest=given.digest),
        canaries=_canaries_digest(options),
        class_controls=_class_controls(design.audit_set, attacks),
        generator=None if own is None else own.name,
        recipe=recipe,
        recipe_stated=splits.settings.training is not None,
        queries=queries_for(recipe, budget.name, splits.members.inputs.shape[1:]),
        attacks=attacks,
        defenses=_defenses_at(budget.name, options.defenses),
        limits=policy.limits.stated(),
        severity=policy.severity,
        evaluated=design.audit_set.evaluated,
        groups=_groups_of(design.audit_set),
        others=design.audit_set.others.n,
        calibration=design.audit_set.calibration.n,
        reference=design.audit_set.reference.n,
        max_time=options.max_time,
        retrained_shadows=min(shadows, _RETRAINED_SHADOWS),
    )
    return (plan, design) if options.max_time is None else _fitted(plan, design, options, target, splits)


def _groups_of(audit_set: AuditSet) -> int | None:
    """What the groups of the evaluated records are worth, as whole equal ones on the lesser side."""
    groups = audit_set.records.groups
    return None if groups is None else effective_groups(audit_set.membership, groups).whole


def _fitted(plan: Plan, design: Design, options: AuditOptions, target: Target, splits: Splits) -> tuple[Plan, Design]:
    """The plan with as many shadows as `--max-time` leaves room for, by trials whose own time counts too."""
    if plan.given is not None or options.max_time is None:
        raise InputError(
            "--max-time decides how many shadows are trained, and --shadows gives them.", "Leave one of the two away."
        )
    begun = perf_counter()
    cost = cost_of(plan, design.audit_set, splits.public, target, options.workers or default_workers(target.device))
    shadows = cost.shadows_within(options.max_time - (perf_counter() - begun), plan.shadows)
    design = replace(design_of(splits, cap=plan.cap, shadows=shadows, seed=plan.seed), cost=cost.with_shadows(shadows))
    fitted = {"shadows": shadows, "retrained_shadows": min(shadows, plan.retrained_shadows), "design": design.digest()}
    return plan.model_copy(update=fitted), design


def recipe_of(target: Target, splits: Splits) -> Recipe:
    """How models like the target are trained: as the owner states, or the default for its make."""
    return splits.settings.training or default_recipe(target.module)


def _refuse_unfit_init(target: Target, splits: Splits) -> None:
    """Weights that shadows cannot start from are refused before anything runs, and so are those of the target itself.

    Null models that start from the target have seen every member.
    """
    recipe = splits.settings.training
    if recipe is None or recipe.init is None:
        return
    if target.with_weights_from(recipe.init).has_weights_of(target):
        raise InputError(
            f"{printable(recipe.init)}, named by training.init in splits.toml, holds the audited model itself.",
            "Name the public weights from which its fine-tuning started.",
        )


def _save(folder: RunFolder | None, plan: Plan, design: Design) -> tuple[Plan, Design]:
    if folder is not None and not folder.path(PLAN_NAME).exists():
        folder.write_text(PLAN_NAME, plan.model_dump_json(indent=2) + "\n")
    return plan, design


def _read(path: Path) -> Plan:
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read.", "Give the plan.json of an earlier run.") from error
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise InputError(f"{path} is no plan: it is no JSON.", _MAKE_PLAN) from error
        if (other := _other_than_a_plan(path)) is not None:
            raise InputError(f"{path} is no plan: {other}.", _MAKE_PLAN) from error
        fields = error.error_count()
        told = "1 field does not fit" if fields == 1 else f"{fields} fields do not fit"
        raise InputError(f"{path} is not a plan of this version ({told}).", "Plan afresh.") from error


def _other_than_a_plan(path: Path) -> str | None:
    """What a JSON file is that is no plan; None where it may have been one of another version."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(found, dict) and "schema_version" in found:
        return "this is a report"
    known = isinstance(found, dict) and len(found.keys() & Plan.model_fields.keys()) > len(Plan.model_fields) / 2
    return None if known else "it holds something else"


def _refuse_other_options(plan: Plan, options: AuditOptions, target: Target, splits: Splits, source: Path) -> None:
    asked: list[tuple[str, object, object]] = [
        ("--budget", options.budget, plan.budget),
        ("--seed", options.seed, plan.seed),
        ("--attacks", options.attacks and attacks_at(plan.budget, options.attacks), plan.attacks),
        ("--defenses", options.defenses and _defenses_at(plan.budget, options.defenses), plan.defenses),
        ("--max-time", options.max_time, plan.max_time),
        ("[training] in splits.toml", recipe_of(target, splits), plan.recipe),
    ]
    for name, wanted, planned in asked:
        if wanted is not None and wanted != planned:
            raise InputError(
                f"{source} was made with another {name}.", "Choose a fresh --run-dir, or leave the plan as it is."
            )


def _refuse_other_shadows(plan: Plan, given: GivenShadows | None, source: Path) -> None:
    found, planned = given and given.digest, plan.given and plan.given.digest
    if found == planned:
        return
    if plan.given is None:
        raise InputError(f"{source} was made without --shadows.", "Choose a fresh --run-dir, or leave --shadows away.")
    raise InputError(
        f"{source} was made with {'other' if found else 'given'} shadows, of the folder {printable(plan.given.name)}.",
        "Name them with --shadows, or choose a fresh --run-dir.",
    )


def _refuse_other_canaries(plan: Plan, options: AuditOptions, source: Path) -> None:
    found = _canaries_digest(options)
    if found != plan.canaries:
        how = "without" if plan.canaries is None else "with" if found is None else "with other"
        raise InputError(f"{source} was made {how} canaries.", "Choose a fresh --run-dir, or give --canaries as then.")


def _refuse_other_policy(plan: Plan, policy: Policy | None, source: Path) -> None:
    """Limits and severity are compared by what they say, wherever they are written."""
    if policy is not None and (policy.limits.stated(), policy.severity) != (plan.limits, plan.severity):
        raise InputError(
            f"{source} was made with another --policy: {plan.limits.in_words()}; {plan.severity.in_words()}.",
            "Choose a fresh --run-dir, or leave --policy away.",
        )


def _canaries_digest(options: AuditOptions) -> str | None:
    """The coins are part of the plan: the splits alone do not tell which canaries were included."""
    return None if options.canaries is None else sha256_of(options.canaries)[:16]


def _class_controls(audit_set: AuditSet, attacks: Sequence[str]) -> int:
    """How many models are trained without a half of the classes: where any attack rebuilds enough classes."""
    rebuilt = any(one.card.id in attacks and one.rebuilds == "classes" for one in INVERSION)
    images, classes = audit_set.records.inputs.ndim == 4, len(np.unique(audit_set.records.labels))
    return _CLASS_CONTROLS if rebuilt and images and classes >= LEAST_CLASSES else 0


def _refuse_other_generator(plan: Plan, own: OwnGenerator | None, source: Path) -> None:
    if (None if own is None else own.name) != plan.generator:
        how = "without one" if plan.generator is None else "with the generator " + printable(plan.generator)
        raise InputError(f"{source} was made {how}.", "Choose a fresh --run-dir, or give --generator as then.")


def _defenses_at(budget: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The defenses asked for, else all that the budget pays for."""
    return planned_at(budget, {one.card.id: one.budget for one in DEFENSES}, wanted, "--defenses")


def plan_facts(plan: Plan, options: AuditOptions) -> PlanFacts:
    """What the report says of the plan."""
    roles = {one.card.id: plan.role(one) for one in MEMBERSHIP if one.card.id in plan.attacks}
    return PlanFacts(
        digest=digest(plan.model_dump(mode="json")),
        budget=plan.budget,
        seed=plan.seed,
        release=options.release,
        shadows=plan.shadows,
        shadow_source="given" if plan.given else "proxy" if plan.recipe.proxy else "trained",
        null_models=2,
        control_models=2 + plan.class_controls,
        epochs=plan.recipe.epochs,
        recipe=plan.recipe_in_words(),
        queries=plan.queries,
        primary=tuple(one for one, role in roles.items() if role is Role.PRIMARY),
        secondary=tuple(one for one, role in roles.items() if role is Role.SECONDARY),
        skipped=tuple(one.title for one in CARDS if one.id not in plan.attacks),
        waits_for={
            one.card.id: one.budget
            for one in (*MEMBERSHIP, *INVERSION, *DEFENSES)
            if one.card.id not in {*plan.attacks, *plan.defenses} and dearer(one.budget, plan.budget)
        },
        auc_limit=plan.limits.auc,
        tpr_limit=plan.limits.tpr,
        tpr_fpr=plan.limits.fpr,
        family_wise_error=plan.limits.family_wise_error,
        severity=plan.severity,
        default_policy=plan.default_policy,
        power=plan.power(),
    )
