"""Reads a plan that exists already, and refuses it where it is not the one that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from auditor.battery.plan import Plan, attacks_at
from auditor.errors import InputError
from auditor.given_shadows import GivenShadows
from auditor.intake import data_digest
from auditor.inversion.prior import OwnGenerator
from auditor.planning.design import Design, design_of
from auditor.planning.fresh import canaries_digest, defenses_at, recipe_of
from auditor.planning.options import AuditOptions
from auditor.policy_file import Policy
from auditor.records import printable
from auditor.splits import Splits
from auditor.target import Target

__all__ = ["read_plan", "replayed"]

_MAKE_PLAN = "Name what `privaudit plan --json` printed, or the plan.json of a run folder."


def replayed(
    source: Path,
    options: AuditOptions,
    target: Target,
    splits: Splits,
    given: GivenShadows | None,
    policy: Policy | None,
    own: OwnGenerator | None,
) -> tuple[Plan, Design]:
    """A plan that exists already and its design, drawn again.

    Args:
        source: The file of the plan.
        options: What the caller asks for.
        target: The audited model.
        splits: The owner's data.
        given: The owner's shadows, if the options name any.
        policy: That the options name, if they name one.
        own: The generator that the options name, if they name one.

    Raises:
        InputError: the plan is unreadable, or of another model, data, shadows, policy or options.
    """
    plan = read_plan(source)
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
    return plan, design


def read_plan(path: Path) -> Plan:
    """A plan from its file.

    Raises:
        InputError: it cannot be read, or it is no plan of this version.
    """
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
        ("--defenses", options.defenses and defenses_at(plan.budget, options.defenses), plan.defenses),
        ("--max-time", options.max_time, plan.max_time),
        ("[training] in splits.toml", recipe_of(target, splits), plan.recipe),
    ]
    for name, wanted, planned in asked:
        if wanted is not None and wanted != planned:
            raise InputError(
                f"{source} was made with another {name}.", "Choose a fresh --run-dir, or leave the plan as it is."
            )


def _refuse_other_canaries(plan: Plan, options: AuditOptions, source: Path) -> None:
    found = canaries_digest(options)
    if found != plan.canaries:
        how = "without" if plan.canaries is None else "with" if found is None else "with other"
        raise InputError(f"{source} was made {how} canaries.", "Choose a fresh --run-dir, or give --canaries as then.")


def _refuse_other_generator(plan: Plan, own: OwnGenerator | None, source: Path) -> None:
    if (None if own is None else own.name) != plan.generator:
        how = "without one" if plan.generator is None else "with the generator " + printable(plan.generator)
        raise InputError(f"{source} was made {how}.", "Choose a fresh --run-dir, or give --generator as then.")


def _refuse_other_policy(plan: Plan, policy: Policy | None, source: Path) -> None:
    """Limits and severity are compared by what they say, wherever they are written."""
    if policy is not None and (policy.limits.stated(), policy.severity) != (plan.limits, plan.severity):
        raise InputError(
            f"{source} was made with another --policy: {plan.limits.in_words()}; {plan.severity.in_words()}.",
            "Choose a fresh --run-dir, or leave --policy away.",
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
