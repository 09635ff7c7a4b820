"""Defenses: what each does to the attacks, what it costs, which to take."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.findings.attacks import Measurement, Paper
from auditor.findings.credible import Count, Difference, Estimate, Part, Probability, Rate
from auditor.findings.subject import Timing
from auditor.findings.words import Fidelity, Metric
from auditor.threat import Access

__all__ = [
    "DefenseAdvice",
    "DefenseCard",
    "DefenseEffect",
    "DefenseProbeResult",
    "DefenseResult",
    "InversionEffect",
    "StrongestAttack",
]


class DefenseCard(Part):
    """What a defense is, before it is applied.

    `claims` is what its paper was read to report; empty: nothing that may be quoted. `part_of` names the defense of
    which this one is a part, measured alone. One `for_comparison` stands beside others and is not proposed before them.
    """

    id: str
    title: str
    paper: Paper | None
    fidelity: Fidelity
    acts_on: Literal["output", "training"]
    counts_for: tuple[Access, ...]
    changed: str = ""
    claims: str = ""
    part_of: str = ""
    for_comparison: bool = False
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)


class DefenseEffect(Part):
    """One attack endpoint before and after a defense, on the same records.

    `static` is the attacker who does not know of the defense, `adaptive` the one who refits everything through it.
    `change` is adaptive minus undefended, paired. None: that attacker cannot run against what is released.
    """

    attack_id: str
    access: Access
    metric: Metric
    fpr: Probability | None = None
    undefended: Rate
    static: Rate | None = None
    adaptive: Rate | None = None
    change: Difference | None = None


class StrongestAttack(Part):
    """The attack that did best against a defended model at one access, of all that were refitted through the defense.

    It was chosen among `chosen_from` attacks by its AUC on one half of the records, `chosen_at`; so was the strongest
    against the undefended model. `adaptive`, `undefended` and `change`, the paired difference, are of the other half.
    """

    access: Access
    attack_id: str
    chosen_from: Count
    chosen_at: Rate
    adaptive: Rate
    undefended_attack_id: str
    undefended_chosen_at: Rate
    undefended: Rate
    change: Difference


class DefenseProbeResult(Part):
    """An attack that exists only because of one defense: the AUC of its scores.

    It `asks` for the members among all audit records; or for the records that the defense held out while it trained,
    which shape the weights too, among those and fresh ones.
    """

    id: str
    title: str
    access: Access
    asks: Literal["members", "held out"] = "members"
    status: Literal["completed", "skipped", "failed"]
    reason: str = ""
    auc: Rate | None = None


class InversionEffect(Part):
    """What an inversion attack gets before and after a defense, refitted through it; `change` is paired.

    `better` says in which direction the defender wants the measure to go. `title` is that of an attack that exists only
    because of the defense; what stands undefended beside it is MIFace. With `chosen_from` it is the strongest of so
    many, MIFace among them, chosen on one half of the classes and told of the other.
    """

    attack_id: str
    title: str = ""
    access: Access
    measure: str
    chosen_from: Count = 0
    better: Literal["higher", "lower"]
    undefended: Estimate
    defended: Estimate
    change: Estimate


class DefenseResult(Part):
    """One defense, measured in the same run by the same attacks.

    `baseline` is what stands beside it: the audited model for output-time defenses, and for training-time ones an
    undefended twin, retrained by the same recipe. `shadows` is how many both were attacked with. `chosen` is what was
    tuned, before anything was measured. `not_run` names attacks that did not run through it. `accuracy_change` is
    paired, on the half of the non-members on which nothing was chosen. `void_when_weights` says why it buys nothing.
    """

    card: DefenseCard
    status: Literal["completed", "skipped", "failed"]
    reason: str = ""
    baseline: Literal["target", "twin"] = "target"
    shadows: Count = 0
    chosen: dict[str, float] = Field(default_factory=dict)
    effects: tuple[DefenseEffect, ...] = ()
    strongest: tuple[StrongestAttack, ...] = ()
    not_run: tuple[str, ...] = ()
    probes: tuple[DefenseProbeResult, ...] = ()
    inversion: tuple[InversionEffect, ...] = ()
    costs: tuple[Measurement, ...] = ()
    accuracy_change: Difference | None = None
    accuracy_change_at_choice: Difference | None = None
    seeds: Count = 1
    void_when_weights: str = ""
    timings: tuple[Timing, ...] = ()


class DefenseAdvice(Part):
    """Which measured defense to take for one way of release, or that none is worth it; and what none of them stops.

    `front` names the defenses that no other beats on both accuracy and leakage, by the half on which they were chosen;
    the numbers of `strongest` and `accuracy_change` of the one advised are of the other half.
    """

    release: Access
    defense_id: str | None
    front: tuple[str, ...]
    strongest: StrongestAttack | None = None
    accuracy_change: Difference | None = None
    sentence: str
    not_stopped: str = ""
