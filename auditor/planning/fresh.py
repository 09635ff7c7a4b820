"""Makes a plan: what the budget pays for, on these records, in the time that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from time import perf_counter

import numpy as np

from auditor.battery import INVERSION
from auditor.battery.plan import GivenFacts, Plan, attacks_at, budget_named, planned_at, queries_for
from auditor.checkpoint.weights import sha256_of
from auditor.compute import default_workers
from auditor.cost.trials import cost_of
from auditor.defenses import DEFENSES
from auditor.errors import InputError
from auditor.given_shadows import GivenShadows
from auditor.intake import data_digest
from auditor.inversion import Supply, why_not_inverted
from auditor.inversion.prior import OwnGenerator
from auditor.inversion.scene import rows_of, supply_of
from auditor.limits import LEAST_CLASSES
from auditor.planning.design import CLASS_CONTROLS, Design, design_of
from auditor.planning.options import AuditOptions
from auditor.policy_file import Policy
from auditor.shadows import AuditSet
from auditor.splits import Recipe, Splits
from auditor.stats.groups import effective_groups
from auditor.target import Target
from auditor.training import default_recipe

__all__ = ["canaries_digest", "defenses_at", "fresh_plan", "recipe_of"]

_DEFAULT_BUDGET = "standard"
_RETRAINED_SHADOWS = 8


def fresh_plan(
    options: AuditOptions,
    target: Target,
    splits: Splits,
    given: GivenShadows | None,
    policy: Policy,
    own: OwnGenerator | None,
) -> tuple[Plan, Design]:
    """A plan made now, and its design.

    Args:
        options: What the caller asks for.
        target: The audited model.
        splits: The owner's data.
        given: The owner's shadows, if the options name any.
        policy: The owner's, or the default.
        own: The generator that the options name, if they name one.

    Raises:
        InputError: the options name what does not exist, or `--max-time` is too short or meets given shadows.
    """
    budget = budget_named(options.budget or _DEFAULT_BUDGET)
    seed = options.seed or 0
    shadows = budget.shadows if given is None else len(given.models)
    design = design_of(splits, cap=budget.cap, shadows=shadows, seed=seed, given=given)
    recipe = recipe_of(target, splits)
    attacks = attacks_at(budget.name, options.attacks)
    supply = _supply(design.audit_set, target, splits, own)
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
        canaries=canaries_digest(options),
        class_controls=_class_controls(design.audit_set, attacks, supply),
        generator=None if own is None else own.name,
        image_side=supply.side,
        inverted_classes=supply.classes,
        public=supply.public,
        recipe=recipe,
        recipe_stated=splits.settings.training is not None,
        queries=queries_for(recipe, budget.name, splits.members.inputs.shape[1:]),
        attacks=attacks,
        defenses=defenses_at(budget.name, options.defenses),
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


def _supply(audit_set: AuditSet, target: Target, splits: Splits, own: OwnGenerator | None) -> Supply:
    """What there is for inversion attacks."""
    size = target.facts.preprocessing.input_size
    rows = rows_of(audit_set, target.facts.num_classes, int(np.prod(size)))
    return supply_of(audit_set, rows, size, splits.public, generator=own is not None)


def _class_controls(audit_set: AuditSet, attacks: Sequence[str], supply: Supply) -> int:
    """How many models are trained without a half of the classes: where any attack rebuilds enough classes."""
    able = (one for one in INVERSION if one.card.id in attacks and not why_not_inverted(one, supply))
    rebuilt, classes = any(one.rebuilds == "classes" for one in able), len(np.unique(audit_set.records.labels))
    return CLASS_CONTROLS if rebuilt and classes >= LEAST_CLASSES else 0


def recipe_of(target: Target, splits: Splits) -> Recipe:
    """How models like the target are trained: as the owner states, or the default for its make."""
    return splits.settings.training or default_recipe(target.module)


def canaries_digest(options: AuditOptions) -> str | None:
    """The coins are part of the plan: the splits alone do not tell which canaries were included."""
    return None if options.canaries is None else sha256_of(options.canaries)[:16]


def defenses_at(budget: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The defenses asked for, else all that the budget pays for."""
    return planned_at(budget, {one.card.id: one.budget for one in DEFENSES}, wanted, "--defenses")
