"""What every defense is measured with: the undefended models, the panel of attacks, and those who know of a defense."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from auditor.battery import MEMBERSHIP, Plan, probes_for, why_not
from auditor.comparison.inversion import Exhibit, exhibit
from auditor.findings import Role
from auditor.inversion import Workshop
from auditor.laboratory import Answers, Laboratory
from auditor.membership.evidence import Attack, Evidence
from auditor.membership.gather import PROBED_SHADOWS, run_probes
from auditor.membership.measure import Jury, Scored, run_attack
from auditor.planning import Design
from auditor.shadows import TrainingSet
from auditor.target import Target
from auditor.threat import Access

__all__ = ["Bench", "Side"]

Floats = npt.NDArray[np.float64]

_REPEATS = 16
_REFITTED_PROBES = ("vectors", "translations")


@dataclass(frozen=True)
class Side:
    """A model with the panel in front of it: an undefended one, or a defended one and attackers who know of that.

    Attributes:
        target: The model.
        once: What it answers to one question each.
        evidence: What an attacker has who refits everything through the defense; against a model that answers at
            random, the average of 16 questions.
        opened: The same for whoever holds the weights.
        panel: Who attacks.
        jury: Who is evaluated.
        plan: Which attacks are primary.
        shadows: Whom the attacker trained.
        laboratory: Where.
        white_box: Whether attacks on weights say anything of it: not where its defense is left away with a line.
    """

    target: Target
    once: Answers
    evidence: Evidence
    opened: Evidence
    panel: tuple[Attack, ...]
    jury: Jury
    plan: Plan
    shadows: tuple[TrainingSet, ...]
    laboratory: Laboratory
    white_box: bool = True

    def given(self, attack: Attack) -> Evidence:
        """What an attack of the panel reads."""
        return self.opened if attack.card.access is Access.WEIGHTS else self.evidence

    @cached_property
    def scored(self) -> Mapping[str, Scored]:
        """Every attack of the panel, run and measured."""
        return {
            one.card.id: run_attack(one, self.plan.role(one), self.given(one), self.jury, self.plan.limits)
            for one in self.panel
            if (self.white_box if one.card.access is Access.WEIGHTS else self.target.exposes(one.card.access))
        }

    def scores(self, access: Access) -> Mapping[str, Floats]:
        """Scores [record] of the attacks that somebody with this access can run, by attack."""
        return {
            name: one.scores
            for name, one in self.scored.items()
            if access.includes(one.attack.card.access) and one.scores is not None and not np.isnan(one.scores).any()
        }

    @property
    def not_run(self) -> tuple[str, ...]:
        """Which attacks of the panel did not run, and why."""
        return tuple(
            f"{name}: {getattr(one.outcome, 'reason', '') or getattr(one.outcome, 'error', '')}"
            for name, one in self.scored.items()
            if one.scores is None
        )


@dataclass(frozen=True)
class Bench:
    """The undefended models, and what is needed to attack defended ones alike.

    Attributes:
        plan: Which attacks, limits and seed.
        design: Who trains on whom.
        laboratory: Trains the models, undefended.
        target: The audited model.
        evidence: The attacker in front of it.
        results: The battery as it ran on it.
        jury: Who is evaluated.
        workshop: Where inversion attacks are run.
    """

    plan: Plan
    design: Design
    laboratory: Laboratory
    target: Target
    evidence: Evidence
    results: Sequence[Scored]
    jury: Jury
    workshop: Workshop

    @cached_property
    def panel(self) -> tuple[Attack, ...]:
        """The planned attacks that are refitted through every defense: those that need no costly probe."""
        return tuple(
            one
            for one in MEMBERSHIP
            if not why_not(one, self.plan, Access.WEIGHTS)
            and not one.combines
            and (one.probe is None or one.probe in _REFITTED_PROBES)
        )

    @cached_property
    def as_it_is(self) -> Side:
        """The audited model, attacked with all shadows."""
        side = Side(
            self.target,
            self.evidence.target,
            self.evidence,
            self.evidence,
            self.panel,
            self.jury,
            self.plan,
            self.design.shadows,
            self.laboratory,
        )
        known = {one.attack.card.id: one for one in self.results}
        side.__dict__["scored"] = {one.card.id: known[one.card.id] for one in self.panel}
        return side

    @cached_property
    def twin(self) -> Side:
        """An undefended model retrained by the same recipe, attacked with as many shadows as retrained defenses are."""
        self.laboratory.train([self.design.twin], task="undefended twin")
        return self.attacked(self.laboratory, self.laboratory.load(self.design.twin), self.retrained_shadows)

    @property
    def retrained_shadows(self) -> tuple[TrainingSet, ...]:
        """The shadows that are trained anew for a defense."""
        return self.design.shadows[: self.plan.retrained_shadows]

    def attacked(self, laboratory: Laboratory, target: Target, shadows: tuple[TrainingSet, ...]) -> Side:
        """A model in front of attackers who refit everything through this laboratory's defense, if it has one."""
        patient = replace(laboratory, repeats=_REPEATS if target.stochastic else 1)
        inclusion = np.stack([one.included for one in shadows])
        title = "shadows" if laboratory.defense is None else f"{laboratory.defense.defense.card.title}: shadows"
        answers = Answers.stack(patient.train(shadows, task=title))
        probes = [one for one in probes_for(self.plan) if one.id in _REFITTED_PROBES]
        seen = run_probes(probes, laboratory, target, shadows[:PROBED_SHADOWS])
        evidence = Evidence(patient.ask(target), answers, inclusion, self.evidence.context, seen)
        return Side(
            target=target,
            once=laboratory.ask(target),
            evidence=evidence,
            opened=self._opened(laboratory, target, shadows, evidence),
            panel=self.panel,
            jury=self.jury,
            plan=self.plan,
            shadows=shadows,
            laboratory=laboratory,
            white_box=laboratory.defense is None or laboratory.defense.defense.retrain is not None,
        )

    def _opened(
        self, laboratory: Laboratory, target: Target, shadows: tuple[TrainingSet, ...], evidence: Evidence
    ) -> Evidence:
        applied = laboratory.defense
        if applied is None or applied.defense.opened is None:
            return evidence
        inside = replace(laboratory, opened=True)
        answers = Answers.stack(inside.train(shadows, task=f"{applied.defense.card.title}: shadows, opened"))
        own = inside.ask(applied.defense.opened(target))
        return replace(evidence, target=own, shadows=answers, probes={})

    def exhibit(
        self, target: Target, name: str, *, white_box: bool, opened: Callable[[Target], Target] | None = None
    ) -> Exhibit | None:
        """What inversion attacks get out of a model; None where the plan has none, or the budget is too small."""
        if not self.plan.inverts_defended:
            return None
        return exhibit(self.workshop, target, name=name, white_box=white_box, opened=opened)

    @cached_property
    def primaries(self) -> tuple[Attack, ...]:
        """The declared primary attacks."""
        return tuple(one for one in self.panel if self.plan.role(one) is Role.PRIMARY)
