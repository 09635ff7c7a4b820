"""What every defense is measured with: the undefended models, the panel of attacks, and those who know of a defense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from auditor.battery import MEMBERSHIP
from auditor.battery.plan import Plan, probes_for, why_not
from auditor.comparison.costs import Behaviour, behaviour_of
from auditor.comparison.inversion import Exhibit, exhibit
from auditor.findings import LABELS_ONLY, Role
from auditor.inversion.workshop import Workshop
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
        name: Names it in files.
        target: The model.
        once: What it answers to one question each.
        evidence: What an attacker has who refits everything through the defense; against a model that answers at
            random, the average of 16 questions.
        scored: Every attack of the panel that can ask it, run and measured.
        jury: Who is evaluated.
        plan: Which attacks are primary.
        shadows: Whom the attacker trained.
        laboratory: Where.
        workshop: Where inversion attacks are run.
        retrained: Whether it was trained here, defended or as the twin: only then its weights say anything of a
            defense, since an output-time one is left away with a line.
        as_audited: Attacks that see in it what they see in the audited model, as they ran there: those on labels where
            labels alone are released.
    """

    name: str
    target: Target
    once: Answers
    evidence: Evidence
    scored: Mapping[str, Scored]
    jury: Jury
    plan: Plan
    shadows: tuple[TrainingSet, ...]
    laboratory: Laboratory
    workshop: Workshop
    retrained: bool
    as_audited: Mapping[str, Scored] = field(default_factory=dict)

    def scores(self, access: Access) -> Mapping[str, Floats]:
        """Scores [record] of the attacks that somebody with this access can run, by attack."""
        return _on_all_records(self.scored, access)

    def scores_as_audited(self, access: Access) -> Mapping[str, Floats]:
        """The same of those that see here what they see in the audited model."""
        return _on_all_records(self.as_audited, access)

    @cached_property
    def behaviour(self) -> Behaviour:
        """What it says of the audited non-members."""
        return behaviour_of(self.target, self.laboratory.audit_set, self.jury)

    @cached_property
    def exhibit(self) -> Exhibit | None:
        """What inversion attacks get out of it; None where the plan has none, or the budget is too small."""
        if not self.plan.inverts_defended:
            return None
        applied = self.laboratory.defense
        if applied is None:
            return exhibit(self.workshop, self.target, name=self.name, white_box=self.retrained)
        return exhibit(
            self.workshop,
            self.target,
            name=self.name,
            white_box=self.retrained,
            opened=applied.defense.opened,
            probes=applied.defense.inverters,
        )


def _on_all_records(scored: Mapping[str, Scored], access: Access) -> Mapping[str, Floats]:
    return {
        name: one.scores
        for name, one in scored.items()
        if access.includes(one.attack.card.access) and one.scores is not None and not np.isnan(one.scores).any()
    }


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
        known = {one.attack.card.id: one for one in self.results}
        return Side(
            name="target",
            target=self.target,
            once=self.evidence.target,
            evidence=self.evidence,
            scored={one.card.id: known[one.card.id] for one in self.panel},
            jury=self.jury,
            plan=self.plan,
            shadows=self.design.shadows,
            laboratory=self.laboratory,
            workshop=self.workshop,
            retrained=False,
        )

    @cached_property
    def twin(self) -> Side:
        """An undefended model retrained by the same recipe, attacked with as many shadows as retrained defenses are."""
        self.laboratory.train([self.design.twin], task="undefended twin")
        target = self.laboratory.load(self.design.twin)
        return self.attacked("undefended-twin", self.laboratory, target, self.retrained_shadows)

    @property
    def retrained_shadows(self) -> tuple[TrainingSet, ...]:
        """The shadows that are trained anew for a defense."""
        return self.design.shadows[: self.plan.retrained_shadows]

    def attacked(self, name: str, laboratory: Laboratory, target: Target, shadows: tuple[TrainingSet, ...]) -> Side:
        """A model in front of attackers who refit everything through this laboratory's defense, if it has one."""
        applied = laboratory.defense
        patient = replace(laboratory, repeats=_REPEATS if target.stochastic else 1)
        inclusion = np.stack([one.included for one in shadows])
        title = "shadows" if applied is None else f"{applied.defense.card.title}: shadows"
        answers = Answers.stack(patient.train(shadows, task=title))
        probes = [one for one in probes_for(self.plan) if one.id in _REFITTED_PROBES]
        seen = run_probes(probes, laboratory, target, shadows[:PROBED_SHADOWS])
        evidence = Evidence(patient.ask(target), answers, inclusion, self.evidence.context, seen)
        opened = self._opened(laboratory, target, shadows, evidence)
        retrained = applied is None or applied.defense.retrain is not None
        return Side(
            name=name,
            target=target,
            once=laboratory.ask(target),
            evidence=evidence,
            scored=self._scored(target, evidence, opened if retrained else None),
            jury=self.jury,
            plan=self.plan,
            shadows=shadows,
            laboratory=laboratory,
            workshop=self.workshop,
            retrained=retrained,
            as_audited=self._on_labels if applied is not None and applied.defense.card.id == LABELS_ONLY else {},
        )

    @cached_property
    def _on_labels(self) -> Mapping[str, Scored]:
        """What the audit ran on the labels of the audited model."""
        return {one.attack.card.id: one for one in self.results if one.attack.card.access is Access.LABELS}

    def _scored(self, target: Target, evidence: Evidence, opened: Evidence | None) -> Mapping[str, Scored]:
        """The panel; attacks on weights read what whoever holds them sees, and do not run where that is nothing."""
        found = {}
        for attack in self.panel:
            given = opened if attack.card.access is Access.WEIGHTS else evidence
            if given is None or not (attack.card.access is Access.WEIGHTS or target.exposes(attack.card.access)):
                continue
            found[attack.card.id] = run_attack(attack, self.plan.role(attack), given, self.jury, self.plan.limits)
        return found

    def _opened(
        self, laboratory: Laboratory, target: Target, shadows: tuple[TrainingSet, ...], evidence: Evidence
    ) -> Evidence:
        """The evidence of somebody who holds the weights."""
        applied = laboratory.defense
        if applied is None or applied.defense.opened is None:
            return evidence
        inside = replace(laboratory, opened=True)
        answers = Answers.stack(inside.train(shadows, task=f"{applied.defense.card.title}: shadows, opened"))
        own = inside.ask(applied.defense.opened(target))
        return replace(evidence, target=own, shadows=answers, probes={})

    @cached_property
    def primaries(self) -> tuple[Attack, ...]:
        """The declared primary attacks."""
        return tuple(one for one in self.panel if self.plan.role(one) is Role.PRIMARY)
