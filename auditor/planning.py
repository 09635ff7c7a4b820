"""Settles the plan of a scan: made fresh, read from --plan, or replayed from the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import process_time

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from auditor.battery import CARDS, MEMBERSHIP, Plan, attacks_at, budget_named, chosen_ids, queries_for
from auditor.compute import PLAN_NAME, RunFolder, digest, generator
from auditor.defenses import DEFENSES
from auditor.errors import InputError
from auditor.findings import PlanFacts
from auditor.intake import data_digest
from auditor.shadows import AuditSet, TrainingSet, draw_audit_set, inclusion_pairs, null_halves
from auditor.splits import Splits
from auditor.target import Target
from auditor.threat import Access
from auditor.training import DEFAULT_RECIPE, train
from auditor.verdict import Limits

__all__ = ["AuditOptions", "Design", "Preview", "design_of", "plan_facts", "preview", "settle_plan"]

_TRIAL_BATCHES = 8
_DEFAULT_BUDGET = "standard"


@dataclass(frozen=True)
class AuditOptions:
    """What the caller asks for; the arguments of `privaudit scan`. None: as the plan says, or the default."""

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


@dataclass(frozen=True)
class Design:
    """Who is evaluated, and who trains on whom.

    Attributes:
        audit_set: Members, non-members and population.
        inclusion: bool [model, record], which audit records each shadow trains on.
        halves: bool [model, record], which each null model trains on.
        seed: The audit's seed.
    """

    audit_set: AuditSet
    inclusion: npt.NDArray[np.bool_]
    halves: npt.NDArray[np.bool_]
    seed: int

    @property
    def shadows(self) -> tuple[TrainingSet, ...]:
        """The shadows to train."""
        return tuple(self._set("shadow", index, row) for index, row in enumerate(self.inclusion))

    @property
    def nulls(self) -> tuple[TrainingSet, ...]:
        """The two null models to train."""
        return tuple(self._set("null", index, row) for index, row in enumerate(self.halves))

    @property
    def control(self) -> TrainingSet:
        """The control model of the inversion battery: trained on the non-members instead of the members."""
        return self._set("control", 0, ~self.audit_set.membership, others=False)

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
    """A plan with what it would cost here: CPU seconds of training, from a short timed trial."""

    plan: Plan
    training_seconds: float

    def describe(self) -> str:
        """What would run, and what it would cost, in plain lines."""
        models = self.plan.shadows + 3
        cost = f"about {self.training_seconds:,.0f} CPU seconds to train {models} models here, then the attacks"
        return f"{self.plan.describe()}\ncost       {cost}"


def preview(plan: Plan, design: Design, target: Target) -> Preview:
    """Time one epoch on a few batches, and scale it to every model of the plan."""
    records = design.audit_set.records
    trial = records.take(np.arange(min(records.n, _TRIAL_BATCHES * plan.recipe.batch_size)))
    recipe = plan.recipe.model_copy(update={"epochs": 1, "init": None})
    started = process_time()
    train(target, trial.inputs, trial.labels, recipe, seed=0)
    seen = sum(int(one.included.sum()) + one.others * plan.others for one in (*design.shadows, *design.nulls))
    seen += plan.evaluated
    return Preview(plan, (process_time() - started) / trial.n * seen * plan.recipe.epochs)


def design_of(splits: Splits, *, cap: int, shadows: int, seed: int) -> Design:
    """Draw the audit set, the shadows and the null models of a seed."""
    audit_set = draw_audit_set(splits, cap=cap, seed=seed)
    inclusion = inclusion_pairs(audit_set.records.n, shadows, generator(seed, "shadows"))
    return Design(audit_set, inclusion, null_halves(audit_set, generator(seed, "null models")), seed)


def settle_plan(options: AuditOptions, target: Target, splits: Splits, folder: RunFolder | None) -> tuple[Plan, Design]:
    """The plan to follow and its design; a plan that exists already is replayed, or refused if it is another's.

    Raises:
        InputError: the plan is unreadable, or belongs to another model, data or options.
    """
    stored = folder.path(PLAN_NAME) if folder else None
    source = options.plan or stored
    if source is None or (options.plan is None and not source.exists()):
        return _save(folder, *_fresh(options, target, splits))
    plan = _read(source)
    _refuse_other_options(plan, options, splits, source)
    if (plan.model, plan.data) != (target.fingerprint, data_digest(splits)):
        raise InputError(
            f"{source} was made for another model or other data.", "Choose a fresh --run-dir, or no --plan."
        )
    design = design_of(splits, cap=plan.cap, shadows=plan.shadows, seed=plan.seed)
    if design.digest() != plan.design:
        raise InputError(
            f"{source} cannot be replayed: this version draws another design from its seed.", "Plan afresh."
        )
    if stored is not None and stored.exists() and _read(stored) != plan:
        raise InputError(f"{stored.parent} holds another plan.", "Choose a fresh --run-dir.")
    return _save(folder, plan, design)


def _fresh(options: AuditOptions, target: Target, splits: Splits) -> tuple[Plan, Design]:
    budget = budget_named(options.budget or _DEFAULT_BUDGET)
    seed = options.seed or 0
    design = design_of(splits, cap=budget.cap, shadows=budget.shadows, seed=seed)
    recipe = splits.settings.training or DEFAULT_RECIPE
    plan = Plan(
        created=datetime.now(UTC).replace(microsecond=0),
        privaudit=version("privaudit"),
        model=target.fingerprint,
        data=data_digest(splits),
        design=design.digest(),
        budget=budget.name,
        seed=seed,
        cap=budget.cap,
        shadows=budget.shadows,
        recipe=recipe,
        recipe_stated=splits.settings.training is not None,
        queries=queries_for(recipe),
        attacks=attacks_at(budget.name, options.attacks),
        defenses=_defense_ids(options.defenses),
        limits=Limits(),
        evaluated=design.audit_set.evaluated,
        others=design.audit_set.others.n,
        calibration=design.audit_set.calibration.n,
        reference=design.audit_set.reference.n,
    )
    return plan, design


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
        raise InputError(
            f"{path} is not a plan of this version ({error.error_count()} fields do not fit).", "Plan afresh."
        ) from error


def _refuse_other_options(plan: Plan, options: AuditOptions, splits: Splits, source: Path) -> None:
    asked: list[tuple[str, object, object]] = [
        ("--budget", options.budget, plan.budget),
        ("--seed", options.seed, plan.seed),
        ("--attacks", options.attacks and attacks_at(plan.budget, options.attacks), plan.attacks),
        ("--defenses", options.defenses and _defense_ids(options.defenses), plan.defenses),
        ("[training] in splits.toml", splits.settings.training or DEFAULT_RECIPE, plan.recipe),
    ]
    for name, wanted, planned in asked:
        if wanted is not None and wanted != planned:
            raise InputError(
                f"{source} was made with another {name}.", "Choose a fresh --run-dir, or leave the plan as it is."
            )


def _defense_ids(wanted: Sequence[str] | None) -> tuple[str, ...]:
    return chosen_ids(wanted, [one.card.id for one in DEFENSES], "--defenses")


def plan_facts(plan: Plan, options: AuditOptions) -> PlanFacts:
    """What the report says of the plan."""
    roles = {one.card.id: one.primary for one in MEMBERSHIP if one.card.id in plan.attacks}
    return PlanFacts(
        digest=digest(plan.model_dump(mode="json")),
        budget=plan.budget,
        seed=plan.seed,
        release=options.release,
        shadows=plan.shadows,
        null_models=2,
        control_models=1,
        epochs=plan.recipe.epochs,
        recipe=plan.recipe.describe(),
        queries=plan.queries,
        primary=tuple(one for one, primary in roles.items() if primary),
        secondary=tuple(one for one, primary in roles.items() if not primary),
        skipped=tuple(one.title for one in CARDS if one.id not in plan.attacks),
        auc_limit=plan.limits.auc,
        tpr_limit=plan.limits.tpr,
        tpr_fpr=plan.limits.fpr,
        family_wise_error=plan.limits.family_wise_error,
    )
