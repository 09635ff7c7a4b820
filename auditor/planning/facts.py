"""What a report says of its plan."""

from __future__ import annotations

from auditor.battery import CARDS, INVERSION, MEMBERSHIP
from auditor.battery.plan import Plan, dearer
from auditor.compute import digest
from auditor.defenses import DEFENSES
from auditor.findings import PlanFacts, Role
from auditor.planning.options import AuditOptions

__all__ = ["plan_facts"]


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
        inversion=tuple(one.card.id for one in INVERSION if one.card.id in plan.attacks),
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
