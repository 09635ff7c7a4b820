"""What each budget pays for, the plan that is fixed before anything is trained, and running what it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from auditor.battery.attacks import CARDS, MEMBERSHIP
from auditor.battery.inversion import INVERSION
from auditor.battery.power import Trial, power_of
from auditor.errors import InputError
from auditor.findings import BUDGET_NAMES, EndpointPower, InversionResult, OutputLeak, Role, Skipped
from auditor.inversion import InversionAttack, Supply, why_not_inverted
from auditor.inversion.measure import with_findings
from auditor.inversion.workshop import Inversions, Models, Workshop
from auditor.laboratory import Probe
from auditor.limits import Limits, SeverityTable
from auditor.membership.evidence import Attack, Evidence
from auditor.membership.granularity import output_matrix
from auditor.membership.measure import Jury, Scored, correct_primaries, oracle_of, run_attack
from auditor.membership.probes import PROBES
from auditor.queries import IDENTITY, copies, crop_pad, describe, largest_shift
from auditor.splits import Recipe
from auditor.target import Target
from auditor.threat import Access
from auditor.training import source_of

__all__ = [
    "BUDGETS",
    "Budget",
    "GivenFacts",
    "Plan",
    "attacks_at",
    "budget_named",
    "dearer",
    "planned_at",
    "probes_for",
    "queries_for",
    "run_battery",
    "run_inversion_battery",
    "run_output_matrix",
    "software",
    "why_not",
    "why_not_inverting",
    "why_not_planned",
]


@dataclass(frozen=True)
class Budget:
    """How much is spent: shadows to train, and the largest number of records evaluated on each side."""

    name: str
    shadows: int
    cap: int


_FEW_SHADOWS = 4
_PRIMARY_OF_FEW = "rmia"

BUDGETS = tuple(
    Budget(name, shadows, cap)
    for name, shadows, cap in zip(BUDGET_NAMES, (8, 16, 64), (2_000, 5_000, 10_000), strict=True)
)


def budget_named(name: str) -> Budget:
    """The budget of that name.

    Raises:
        InputError: there is none.
    """
    for budget in BUDGETS:
        if budget.name == name:
            return budget
    raise InputError(f"--budget {name!r} is unknown.", f"Use one of {', '.join(one.name for one in BUDGETS)}.")


class GivenFacts(BaseModel):
    """Shadows that the owner trained: their folder without its path, and the digest of weights and inclusion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str


class Plan(BaseModel):
    """What will run, fixed before anything is trained and replayed on resume.

    `design` is the digest of audit set, shadows and null models; a replay that would draw another design is refused.
    `class_controls` is how many models are trained without a half of the classes; `generator` names the user's own.
    `max_time` is the wall time in seconds that decided how many shadows there are, if one was stated. `canaries` names
    the log of the canaries that the model was trained with, if it was. `image_side` is the shorter side of an image as
    the model takes it, 0 for features; `inverted_classes` have a record of every kind; `public` counts images of
    public/: what inversion attacks are given. `groups` is what the groups of the evaluated records are worth in equal
    ones, on the lesser side, if there are groups. `retrained_shadows` is how many shadows are trained anew for each
    training-time defense, and attack its undefended twin.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["1"] = "1"
    created: datetime
    privaudit: str
    torch: str = Field(default_factory=lambda: version("torch"))
    model: str
    data: str
    design: str
    budget: str
    seed: int = Field(ge=0)
    cap: int = Field(ge=1)
    shadows: int = Field(ge=4, multiple_of=2)
    given: GivenFacts | None = None
    canaries: str | None = None
    class_controls: int = Field(default=0, ge=0, le=2)
    generator: str | None = None
    image_side: int = Field(ge=0)
    inverted_classes: int = Field(ge=0)
    public: int = Field(ge=0)
    recipe: Recipe
    recipe_stated: bool
    queries: tuple[str, ...] = Field(min_length=1)
    attacks: tuple[str, ...]
    defenses: tuple[str, ...]
    limits: Limits
    severity: SeverityTable = SeverityTable()
    evaluated: int
    groups: int | None = None
    others: int
    calibration: int
    reference: int
    max_time: int | None = Field(default=None, ge=1)
    retrained_shadows: int = Field(default=0, ge=0)

    @property
    def default_policy(self) -> bool:
        """Whether limits and severity are the defaults."""
        return (self.limits, self.severity) == (Limits(), SeverityTable())

    @property
    def software(self) -> str:
        """The versions that made the plan, in words."""
        return _software(self.privaudit, self.torch)

    @model_validator(mode="after")
    def _only_what_is_in_the_box(self) -> Plan:
        known = {card.id for card in CARDS}
        if unknown := [one for one in self.attacks if one not in known]:
            raise ValueError(f"unknown attacks: {', '.join(unknown)}")
        if self.queries not in {(IDENTITY,), _copies(self.recipe, self.budget, largest_shift(self.queries) or 1)}:
            raise ValueError("queries must be the record itself, alone or with the copies that the recipe draws")
        if self.budget not in {one.name for one in BUDGETS}:
            raise ValueError(f"unknown budget {self.budget}")
        return self

    def describe(self, costs: Mapping[str, str] | None = None) -> str:
        """What would run, in plain lines.

        Args:
            costs: What to say behind an attack or a defense, by its id.
        """
        rows = [
            self._records_line(),
            f"population {self.calibration:,} records calibrate, {self.reference:,} others are for defenses",
            self._models_line(),
            f"recipe     {self.recipe_in_words()}",
            *(["canaries   bound epsilon from below"] if self.canaries else []),
            f"queries    {describe(self.queries)}",
            *[_priced(f"attack     {self._role(one)}{one}", one, costs) for one in self._running],
            *self._not_run_lines(),
            *[_priced(f"defense    {one}", one, costs) for one in self.defenses],
            f"limits     {self.limits.in_words()}{'' if self.default_policy else ' (not the default policy)'}",
            f"severity   {self.severity.in_words()}",
            *self._power_lines(),
        ]
        return "\n".join(rows)

    def recipe_in_words(self) -> str:
        """The recipe in one line, with where it comes from if that is not the owner."""
        source = "" if self.recipe_stated else f": {source_of(self.recipe, stated=False)}"
        return f"{self.recipe.describe()}{source}"

    def power(self) -> tuple[EndpointPower, ...]:
        """What this many records can find, and which limits they can decide; nothing without a primary attack."""
        primaries = [one for one in MEMBERSHIP if one.card.id in self._running and self.role(one) is Role.PRIMARY]
        fine = sum(one.low_fpr_endpoint for one in primaries)
        return power_of(Trial(self.limits, self.evaluated, self.groups, len(primaries), fine))

    def _power_lines(self) -> list[str]:
        found = self.power()
        lines = [f"{'power' if one.decided else 'undecided':10} {one.sentence.rstrip('.')}" for one in found]
        if found:
            tests = " and ".join(dict.fromkeys(f"{100 * one.level:.2g} %" for one in found))
            guide = "; with a group for a record, a rough guide" if self.groups is not None else ""
            lines.append(
                f"           (computed, not measured: for normal scores, by one-sided tests at {tests}{guide})"
            )
        return lines

    def _not_run_lines(self) -> list[str]:
        reasons: dict[str, list[str]] = {}
        for attack in MEMBERSHIP:
            if reason := why_not(attack, self, Access.WEIGHTS):
                reasons.setdefault(reason, []).append(attack.card.id)
        for row in INVERSION:
            if reason := why_not_inverting(row, self):
                reasons.setdefault(reason, []).append(row.card.id)
        lines = [f"not run    {', '.join(names)}: {reason}" for reason, names in reasons.items()]
        if not any(self.role(one) is Role.PRIMARY for one in MEMBERSHIP if one.card.id in self._running):
            lines.append("warning    no primary attack is planned: every verdict on membership will be cannot say")
        return lines

    def _models_line(self) -> str:
        given = f", given in {self.given.name}" if self.given else ""
        which = "of them" if self.given is None else "but the shadows"
        proxies = f", all {which} frozen-feature proxies" if self.recipe.proxy else ""
        fitted = f" (as many as fit into {self.max_time:,} s)" if self.max_time else ""
        controls = f"2 null models, {2 + self.class_controls} control models"
        return f"models     {self.shadows} shadows{given}{fitted}, {controls}{proxies}"

    def _records_line(self) -> str:
        where = "in every shadow" if self.given is None else "are not"
        others = f", {self.others:,} other members {where}" if self.others else ""
        return f"records    {self.evaluated:,} members and {self.evaluated:,} non-members are evaluated{others}"

    @property
    def inverts_defended(self) -> bool:
        """Whether defended models are inverted too: from the standard budget on, where any inversion is planned."""
        return self.budget != BUDGETS[0].name and any(one.card.id in self.attacks for one in INVERSION)

    @property
    def supply(self) -> Supply:
        """What there is for inversion attacks."""
        return Supply(self.image_side, self.inverted_classes, self.public, self.generator is not None)

    def role(self, attack: Attack) -> Role:
        """Whether an attack is declared primary; with few shadows RMIA takes LiRA's place at `scores` (rule 2)."""
        few = self.shadows <= _FEW_SHADOWS and attack.card.access is Access.SCORES
        primary = attack.card.id == _PRIMARY_OF_FEW if few else attack.primary
        return Role.PRIMARY if primary else Role.SECONDARY

    @property
    def _running(self) -> list[str]:
        """The planned attacks less those that lack shadows or images to run on."""
        idle = {one.card.id for one in MEMBERSHIP if why_not(one, self, Access.WEIGHTS)}
        idle |= {one.card.id for one in INVERSION if why_not_inverting(one, self)}
        return [one for one in self.attacks if one not in idle]

    def _role(self, attack_id: str) -> str:
        return next((f"{self.role(one)} " for one in MEMBERSHIP if one.card.id == attack_id), "")


def software() -> str:
    """The versions at work here, in words."""
    return _software(version("privaudit"), version("torch"))


def _software(privaudit: str, torch: str) -> str:
    return f"privaudit {privaudit} with torch {torch}"


def _priced(line: str, name: str, costs: Mapping[str, str] | None) -> str:
    return f"{line:46} {costs[name]}" if costs and name in costs else line


def queries_for(recipe: Recipe, budget: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The queries that follow the target's training augmentation, as far as the budget pays for them.

    Args:
        recipe: Its flips and crops are followed.
        budget: quick asks about no shifts. thorough asks about those along a diagonal only: what 64 shadows answer to
            all 18 copies of 20,000 records would take 1.3 GB, and every control works on copies of it.
        shape: Of a stored record, (height, width, channel); features are asked about as they are.
    """
    return _copies(recipe, budget, crop_pad(shape[0])) if len(shape) == 3 else (IDENTITY,)


def _copies(recipe: Recipe, budget: str, pad: int) -> tuple[str, ...]:
    shifted = "crop" in recipe.augmentation and budget != "quick"
    return copies(pad if shifted else 0, mirrored="flip" in recipe.augmentation, diagonal=budget == "thorough")


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
    return planned_at(budget, {one.card.id: one.budget for one in (*MEMBERSHIP, *INVERSION)}, wanted, "--attacks")


def planned_at(budget: str, least: Mapping[str, str], wanted: Sequence[str] | None, option: str) -> tuple[str, ...]:
    """The ids asked for, else all that the budget pays for.

    Args:
        budget: What is spent.
        least: The smallest budget that pays for each, by id, in the order of the table.
        wanted: The ids asked for, if any are.
        option: What asked for them.

    Raises:
        InputError: one asked for is unknown.
    """
    if wanted is not None:
        return chosen_ids(wanted, tuple(least), option)
    return tuple(name for name, one in least.items() if not dearer(one, budget))


def why_not_planned(name: str, least: str, planned: Sequence[str], plan: Plan) -> str:
    """Why a plan does without an attack or a defense, or nothing.

    Args:
        name: Its id.
        least: The smallest budget that pays for it.
        planned: The ids that the plan names.
        plan: Its budget counts.
    """
    if name in planned:
        return ""
    return f"runs from --budget {least}" if dearer(least, plan.budget) else "not asked for"


def dearer(least: str, budget: str) -> bool:
    """Whether a budget pays for more than another one does."""
    return BUDGET_NAMES.index(least) > BUDGET_NAMES.index(budget)


def probes_for(plan: Plan) -> tuple[Probe, ...]:
    """The probes that the planned attacks read."""
    needed = {one.probe for one in MEMBERSHIP if one.card.id in plan.attacks}
    return tuple(probe for probe in PROBES if probe.id in needed)


def why_not(attack: Attack, plan: Plan, shows: Access) -> str:
    """Why an attack does not run, or nothing."""
    if reason := _not_planned(attack, plan):
        return reason
    if attack.card.access is Access.SCORES and not shows.includes(Access.SCORES):
        return f"the wrapped model releases {shows} only"
    if plan.shadows < attack.least_shadows:
        return f"needs {attack.least_shadows} shadows, and the plan has {plan.shadows}"
    return ""


def why_not_inverting(attack: InversionAttack, plan: Plan) -> str:
    """Why an inversion attack does not run, or nothing."""
    return _not_planned(attack, plan) or why_not_inverted(attack, plan.supply)


def _not_planned(attack: Attack | InversionAttack, plan: Plan) -> str:
    return why_not_planned(attack.card.id, attack.budget, plan.attacks, plan)


def run_inversion_battery(plan: Plan, workshop: Workshop, models: Models) -> Inversions:
    """Run the planned inversion attacks, and correct what they find for how many tests there are; skip the others."""
    reasons = {attack.card.id: _not_planned(attack, plan) for attack in INVERSION}
    found = workshop.run([attack for attack in INVERSION if not reasons[attack.card.id]], models)
    told = {result.card.id: result for result in with_findings(found.results, plan.limits.family_wise_error)}
    for attack in INVERSION:
        if reason := reasons[attack.card.id]:
            told[attack.card.id] = InversionResult(card=attack.card, status="skipped", reason=reason)
    return replace(found, results=tuple(told[attack.card.id] for attack in INVERSION))


def run_battery(plan: Plan, evidence: Evidence, jury: Jury, *, shows: Access) -> list[Scored]:
    """Run the planned membership attacks, and correct the primary endpoints for how many there are.

    Args:
        plan: Which attacks.
        evidence: The attacker in front of the target.
        jury: Who is evaluated.
        shows: The most that queries of the target show. Attacks on `scores` need them; attacks on `weights` go around a
            wrapper, since whoever holds the file can.
    """
    scored: list[Scored] = []
    for attack in MEMBERSHIP:
        role = plan.role(attack)
        if reason := why_not(attack, plan, shows):
            scored.append(Scored(attack, role, None, Skipped(reason=reason)))
            continue
        given = replace(evidence, oracle=oracle_of(scored, jury)) if attack.combines else evidence
        scored.append(run_attack(attack, role, given, jury, plan.limits))
    return correct_primaries(scored, jury, plan.limits)


def run_output_matrix(plan: Plan, target: Target, evidence: Evidence, jury: Jury) -> tuple[OutputLeak, ...]:
    """What each granularity of the target's output gives away to one attacker, whatever attacks are planned."""
    rows = {attack.card.id: attack for attack in MEMBERSHIP}
    return output_matrix(
        rows["lira-weights"],
        rows["gap"],
        evidence,
        jury,
        plan.limits,
        shows=target.shows,
        classes=target.facts.num_classes,
    )
