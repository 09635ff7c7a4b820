"""Settles the plan of a scan: made fresh, read from --plan, or replayed from the run folder."""

from __future__ import annotations

from auditor.battery.known import refuse_unknown_attacks
from auditor.battery.plan import Plan
from auditor.compute import PLAN_NAME, RunFolder
from auditor.errors import InputError
from auditor.given_shadows import read_given_shadows
from auditor.inversion.prior import OwnGenerator
from auditor.planning.design import Design
from auditor.planning.fresh import fresh_plan
from auditor.planning.options import AuditOptions
from auditor.planning.replay import read_plan, replayed
from auditor.policy_file import Policy, read_policy
from auditor.records import printable
from auditor.splits import Splits
from auditor.target import Target

__all__ = ["settle_plan"]


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
        return _save(folder, *fresh_plan(options, target, splits, given, policy or Policy(), own))
    plan, design = replayed(source, options, target, splits, given, policy, own)
    if stored is not None and stored.exists() and read_plan(stored) != plan:
        raise InputError(f"{stored.parent} holds another plan.", "Choose a fresh --run-dir.")
    return _save(folder, plan, design)


def _policy_of(options: AuditOptions) -> Policy | None:
    if options.policy is None:
        return None
    policy = read_policy(options.policy)
    refuse_unknown_attacks(policy, options.policy)
    return policy


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
