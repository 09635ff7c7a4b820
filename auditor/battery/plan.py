"""What each budget pays for, the plan that is fixed before anything is trained, and running what it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from auditor.battery.attacks import CARDS, INVERSION, MEMBERSHIP
from auditor.errors import InputError
from auditor.findings import InversionResult, Role, Skipped
from auditor.inversion import run_inversion
from auditor.laboratory import Probe
from auditor.membership.evidence import Attack, Evidence
from auditor.membership.measure import Jury, Scored, correct_primaries, run_attack
from auditor.membership.probes import PROBES
from auditor.shadows import AuditSet
from auditor.signals import IDENTITY, MIRROR
from auditor.splits import Recipe
from auditor.target import Target
from auditor.threat import Access
from auditor.verdict import Limits

__all__ = [
    "BUDGETS",
    "Budget",
    "Plan",
    "attacks_at",
    "budget_named",
    "chosen_ids",
    "probes_for",
    "queries_for",
    "run_battery",
    "run_inversion_battery",
]


@dataclass(frozen=True)
class Budget:
    """How much is spent: shadows to train, and the largest number of records evaluated on each side."""

    name: str
    shadows: int
    cap: int


BUDGETS = (Budget("quick", 8, 2_000), Budget("standard", 16, 5_000), Budget("thorough", 64, 10_000))


def budget_named(name: str) -> Budget:
    """The budget of that name.

    Raises:
        InputError: there is none.
    """
    for budget in BUDGETS:
        if budget.name == name:
            return budget
    raise InputError(f"--budget {name!r} is unknown.", f"Use one of {', '.join(one.name for one in BUDGETS)}.")


class Plan(BaseModel):
    """What will run, fixed before anything is trained and replayed on resume.

    `design` is the digest of audit set, shadows and null models; a replay that would draw another design is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["1"] = "1"
    created: datetime
    privaudit: str
    model: str
    data: str
    design: str
    budget: str
    seed: int = Field(ge=0)
    cap: int = Field(ge=1)
    shadows: int = Field(ge=2, multiple_of=2)
    recipe: Recipe
    recipe_stated: bool
    queries: tuple[str, ...] = Field(min_length=1)
    attacks: tuple[str, ...]
    defenses: tuple[str, ...]
    limits: Limits
    evaluated: int
    others: int
    calibration: int
    reference: int

    @model_validator(mode="after")
    def _only_what_is_in_the_box(self) -> Plan:
        known = {card.id for card in CARDS}
        if unknown := [one for one in self.attacks if one not in known]:
            raise ValueError(f"unknown attacks: {', '.join(unknown)}")
        if self.queries not in {(IDENTITY,), (IDENTITY, MIRROR)}:
            raise ValueError("queries must be the record itself, or the record and its mirror image")
        if self.budget not in {one.name for one in BUDGETS}:
            raise ValueError(f"unknown budget {self.budget}")
        return self

    def describe(self) -> str:
        """What would run, in plain lines."""
        rows = [
            self._records_line(),
            f"population {self.calibration:,} records calibrate, {self.reference:,} others are for defenses",
            f"models     {self.shadows} shadows, 2 null models, 1 control model",
            f"recipe     {self.recipe.describe()}" + ("" if self.recipe_stated else " (default: none in splits.toml)"),
            f"queries    {', '.join(self.queries)}",
            *[f"attack     {self._role(one)}{one}" for one in self.attacks],
            *self._not_run_lines(),
            *[f"defense    {one}" for one in self.defenses],
            f"limits     TPR {self.limits.tpr:.0%} at {self.limits.fpr:.0%} FPR, AUC {self.limits.auc:.2f}",
        ]
        if self.evaluated < 10 / self.limits.fpr:
            rows.append(
                f"undecided  TPR at {self.limits.fpr:.0%} FPR: {self.evaluated:,} records a side, and "
                f"{10 / self.limits.fpr:,.0f} are needed; results will be by AUC only"
            )
        return "\n".join(rows)

    def _not_run_lines(self) -> list[str]:
        reasons: dict[str, list[str]] = {}
        for attack in MEMBERSHIP:
            if reason := _why_not(attack, self, Access.WEIGHTS):
                reasons.setdefault(reason, []).append(attack.card.id)
        left_out = [one.card.id for one in INVERSION if one.card.id not in self.attacks]
        if left_out:
            reasons.setdefault("not asked for", []).extend(left_out)
        lines = [f"not run    {', '.join(names)}: {reason}" for reason, names in reasons.items()]
        if not any(one.primary for one in MEMBERSHIP if one.card.id in self.attacks):
            lines.append("warning    no primary attack is planned: every verdict on membership will be cannot say")
        return lines

    def _records_line(self) -> str:
        others = f", {self.others:,} other members in every shadow" if self.others else ""
        return f"records    {self.evaluated:,} members and {self.evaluated:,} non-members are evaluated{others}"

    def role(self, attack: Attack) -> Role:
        """Whether an attack is declared primary."""
        return Role.PRIMARY if attack.primary else Role.SECONDARY

    def _role(self, attack_id: str) -> str:
        return next((f"{self.role(one)} " for one in MEMBERSHIP if one.card.id == attack_id), "")


def queries_for(recipe: Recipe) -> tuple[str, ...]:
    """The queries that follow the target's training augmentation."""
    return (IDENTITY, MIRROR) if "flip" in recipe.augmentation else (IDENTITY,)


def chosen_ids(wanted: Sequence[str] | None, known: Sequence[str], option: str) -> tuple[str, ...]:
    """The ids asked for, in the order of the table; all of them when none is named.

    Raises:
        InputError: one is unknown.
    """
    if wanted is None:
        return tuple(known)
    for name in wanted:
        if name not in known:
            raise InputError(f"{option}: {name!r} is not in the box.", f"Known are {', '.join(known)}.")
    return tuple(one for one in known if one in wanted)


def attacks_at(budget: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The ids of the attacks that run: those asked for, else all that the budget pays for.

    Raises:
        InputError: one asked for is unknown.
    """
    if wanted is not None:
        return chosen_ids(wanted, [card.id for card in CARDS], "--attacks")
    names = [one.name for one in BUDGETS]
    paid = names[: names.index(budget) + 1]
    return tuple(one.card.id for one in MEMBERSHIP if one.budget in paid) + tuple(one.card.id for one in INVERSION)


def probes_for(plan: Plan) -> tuple[Probe, ...]:
    """The probes that the planned attacks read."""
    needed = {one.probe for one in MEMBERSHIP if one.card.id in plan.attacks}
    return tuple(probe for probe in PROBES if probe.id in needed)


def _why_not(attack: Attack, plan: Plan, shows: Access) -> str:
    """Why an attack does not run, or nothing."""
    names = [one.name for one in BUDGETS]
    if attack.card.id not in plan.attacks:
        dear = names.index(attack.budget) > names.index(plan.budget)
        return f"runs from --budget {attack.budget}" if dear else "not asked for"
    if attack.card.access is Access.SCORES and not shows.includes(Access.SCORES):
        return f"the wrapped model releases {shows} only"
    return ""


def run_inversion_battery(
    plan: Plan, target: Target, control: Target, audit_set: AuditSet
) -> tuple[InversionResult, ...]:
    """Run the planned inversion attacks on the target and on the control model."""
    planned = [attack for attack in INVERSION if attack.card.id in plan.attacks]
    return tuple(run_inversion(attack, target, control, audit_set) for attack in planned)


def run_battery(plan: Plan, evidence: Evidence, jury: Jury, *, shows: Access) -> list[Scored]:
    """Run the planned membership attacks, and correct the primary endpoints for how many there are.

    Args:
        plan: Which attacks.
        evidence: The attacker in front of the target.
        jury: Who is evaluated.
        shows: The most that queries of the target show. Attacks on `scores` need them; attacks on `weights` go around a
            wrapper, since whoever holds the file can.
    """
    scored = [
        Scored(attack, plan.role(attack), None, Skipped(reason=reason))
        if (reason := _why_not(attack, plan, shows))
        else run_attack(attack, plan.role(attack), evidence, jury, plan.limits)
        for attack in MEMBERSHIP
    ]
    return correct_primaries(scored, jury, plan.limits)
