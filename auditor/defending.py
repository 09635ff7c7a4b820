"""Puts a defense on a checkpoint and writes the result as a folder that `scan` loads again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.battery.plan import budget_named
from auditor.comparison.costs import behaviour_of, costs_of
from auditor.comparison.defended import defend, settle
from auditor.compute import one_thread, resolve_device
from auditor.defense import Applied, Defense, UnfitDefenseError
from auditor.defenses import DEFENSES, applied_to
from auditor.errors import InputError
from auditor.findings import AuditReport, DefenseCard, DefenseResult, Measurement
from auditor.intake import open_inputs
from auditor.membership.measure import Jury
from auditor.planning import design_of, recipe_of
from auditor.records import printable
from auditor.report.markdown import escape
from auditor.report.text import interval, short, unit_of, value
from auditor.target import Target, check_new_folder, save_target

__all__ = ["DefendOptions", "Defended", "defend_checkpoint"]

_CARD_NAME = "README.md"


@dataclass(frozen=True)
class DefendOptions:
    """What to defend, and how.

    Attributes:
        checkpoint: As for a scan.
        data: The owner's splits.
        defense: The id of a defense.
        output: A folder that does not exist yet, or is empty.
        arch: A timm name, or `module.py:factory`.
        budget: That of the scan whose defended model this is: it decides which records are evaluated.
        seed: The same.
        device: Where to compute.
        trust_checkpoint: Load a checkpoint that can run code when loaded.
        report: Of a scan of the same checkpoint that measured this defense: its numbers go on the card.
    """

    checkpoint: Path
    data: Path
    defense: str
    output: Path
    arch: str | None = None
    budget: str = "standard"
    seed: int = 0
    device: str = "auto"
    trust_checkpoint: bool = False
    report: AuditReport | None = None


@dataclass(frozen=True)
class Defended:
    """The model that was written.

    Attributes:
        target: The defended model.
        costs: What the defense costs on the non-members of the audit set.
        publishable: Whether nothing in the folder is derived from single members.
    """

    target: Target
    costs: tuple[Measurement, ...]
    publishable: bool


@one_thread()
def defend_checkpoint(options: DefendOptions) -> Defended:
    """Fit or train the defense exactly as a scan of the same budget and seed does, and write the folder.

    Raises:
        InputError: checkpoint, data, defense or output folder cannot be used, or the report is of another model.
    """
    defense = _defense_named(options.defense)
    check_new_folder(options.output)
    target, splits = open_inputs(
        options.checkpoint,
        options.data,
        arch=options.arch,
        device=resolve_device(options.device),
        trust=options.trust_checkpoint,
    )
    if applied_to(target) is not None:
        raise InputError(
            f"{printable(options.checkpoint)} carries a defense already.", "Defend the undefended model instead."
        )
    measured = _measured(options, target, defense)
    budget = budget_named(options.budget)
    design = design_of(splits, cap=budget.cap, shadows=budget.shadows, seed=options.seed)
    recipe = recipe_of(target, splits)
    try:
        applied = Applied(defense, settle(defense, target, design, recipe) if measured is None else measured.chosen)
        defended = defend(applied, target, design, recipe)
    except UnfitDefenseError as unfit:
        raise InputError(
            f"{defense.card.title} cannot be put on this model: {unfit}.", "Choose another one."
        ) from unfit
    jury = Jury.of(design.audit_set.records, design.audit_set.membership, options.seed)
    before, after = (behaviour_of(one, design.audit_set, jury) for one in (target, defended))
    costs = costs_of(before, after, same_weights=defense.retrain is None)
    publishable = defended.wrapper is None or not defended.wrapper.holds_members
    found = Defended(defended, costs, publishable)
    save_target(defended, options.output, {_CARD_NAME: "\n".join(_card(options, defense.card, found, measured)) + "\n"})
    return found


def _defense_named(name: str) -> Defense:
    for row in DEFENSES:
        if row.card.id == name:
            return row
    raise InputError(f"--with {name!r} is not in the box.", f"Known are {', '.join(row.card.id for row in DEFENSES)}.")


def _measured(options: DefendOptions, target: Target, defense: Defense) -> DefenseResult | None:
    """What a report says of this defense on this checkpoint."""
    report = options.report
    if report is None:
        return None
    if report.model.sha256 != target.facts.sha256:
        raise InputError(
            f"The report is of another model ({printable(report.model.name)}) than {printable(options.checkpoint)}.",
            "Give the report of a scan of this checkpoint.",
        )
    if (report.plan.budget, report.plan.seed) != (options.budget, options.seed):
        raise InputError(
            f"The report was made with --budget {report.plan.budget} --seed {report.plan.seed}.",
            "Give the same here, so that the model is the one that was measured.",
        )
    for result in report.defenses:
        if result.card.id == defense.card.id and result.status == "completed":
            return result
    raise InputError(f"The report has no measurement of {defense.card.id}.", "Leave --report away, or scan with it.")


# --- the card --------------------------------------------------------------------------------------------------------


def _card(options: DefendOptions, card: DefenseCard, found: Defended, measured: DefenseResult | None) -> Iterator[str]:
    facts = found.target.facts
    yield f"# {escape(short(facts.name))} with {card.title}"
    yield ""
    if not found.publishable:
        yield "**API only, do not publish: files in this folder hold values derived from single training records.**"
        yield ""
    yield f"Made by `privaudit defend --with {card.id} --budget {options.budget} --seed {options.seed}`."
    if card.acts_on == "output":
        yield "The weights are those of the undefended model: whoever holds this folder can switch the defense off."
        yield "It counts for an API that loads the folder with privaudit, and for nothing else."
    else:
        yield "The weights were trained through the defense, by the recipe of the undefended model."
    yield f"Fidelity of the implementation: {card.fidelity.value}. {card.changed}".rstrip()
    yield ""
    yield "## What it costs"
    yield ""
    yield from _table({one.name: one for one in found.costs})
    yield ""
    yield "## What it buys"
    yield ""
    yield from (
        _bought(measured)
        if measured is not None
        else iter(("Nothing was measured here. `privaudit scan` of this folder attacks it through its defense.",))
    )


def _table(rows: Mapping[str, Measurement]) -> Iterator[str]:
    yield "| what | value | 95 % interval | n |"
    yield "|---|---|---|---|"
    for name, row in rows.items():
        counted = ", ".join(f"{count:,} {unit}" for unit, count in row.estimate.n.items())
        unit = unit_of(row)
        yield f"| {name} | {value(row.estimate, unit)} | {interval(row.estimate, unit)} | {counted} |"


def _bought(measured: DefenseResult) -> Iterator[str]:
    twin = "an undefended twin, retrained by the same recipe"
    yield f"By the report's scan, beside {'the audited model' if measured.baseline == 'target' else twin}."
    yield "AUC of the strongest attack that was refitted through the defense, on records on which it was not chosen:"
    yield ""
    yield "| access | attack | undefended | defended |"
    yield "|---|---|---|---|"
    for one in measured.strongest:
        before, after = (f"{value(part)} ({interval(part)})" for part in (one.undefended, one.adaptive))
        yield f"| {one.access.value} | {escape(short(one.attack_id))} | {before} | {after} |"
