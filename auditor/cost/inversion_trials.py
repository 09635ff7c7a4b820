"""Short timed trials of the inversion battery: attacks at a share of their work, judges and prior for few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from auditor.battery import DECODER, DECODERS, GRADIENTS, INVERSION
from auditor.battery.plan import Plan, why_not_inverting
from auditor.cost.price import Item, Spent, line_of
from auditor.defenses import DEFENSES, applied_to
from auditor.inversion import InversionAttack
from auditor.inversion.evaluators import EVALUATORS, train_evaluator
from auditor.inversion.given import Given, View, unit_images
from auditor.inversion.prior import advance_prior, untrained_prior
from auditor.shadows import AuditSet
from auditor.splits import Records
from auditor.target import Target

__all__ = ["inversion_items"]

_PHASE = "inversion attacks"
_FEW_CLASSES = 4
_FEW_RECORDS = 128
_WHOLE = 1000
_LEAST_EFFORT = 10  # of a thousand


def inversion_items(plan: Plan, audit_set: AuditSet, public: Records | None, target: Target) -> Iterator[Item]:
    """What each part of the inversion battery costs; nothing of a generator of the user's own."""
    running = [attack for attack in INVERSION if not why_not_inverting(attack, plan)]
    if not running:
        return
    trials = _InversionTrials(plan, audit_set, public, target)
    yield Item(_PHASE, "evaluation networks", trials.judging(), len(EVALUATORS), spread=True)
    if plan.generator is None and any(attack.needs == "prior" for attack in running):
        yield Item(_PHASE, "image prior", trials.learning_prior())
    for attack in (one for one in running if one.needs != "own generator"):
        models = 2 + (plan.class_controls > 0) * (attack.rebuilds == "classes")
        yield Item(_PHASE, attack.card.id, trials.inverting(attack), models, spread=True)
    if plan.inverts_defended and applied_to(target) is None:
        yield from _through_defenses(plan, trials)


def _through_defenses(plan: Plan, trials: _InversionTrials) -> Iterator[Item]:
    """The inversion network anew on what every defended model releases, MIFace on those that were trained anew.

    Whoever knows of a defense and changes MIFace for it takes about as long.
    """
    rows = {attack.card.id: attack for attack in INVERSION}
    chosen = [one for one in DEFENSES if one.card.id in plan.defenses]
    trained = sum(one.retrain is not None for one in chosen)
    models = len(chosen) + (trained < len(chosen)) + (trained > 0)
    knowing = sum(len(one.inverters) for one in chosen if one.retrain is not None)
    for attack, count in ((DECODER, DECODERS * models), (GRADIENTS, trained + (trained > 0) + knowing)):
        if count:
            yield Item("defenses", f"{attack} of defended models", trials.inverting(rows[attack]), count, spread=True)


@dataclass(frozen=True)
class _InversionTrials:
    plan: Plan
    audit_set: AuditSet
    public: Records | None
    target: Target

    def judging(self) -> Spent:
        """One evaluation network; the average of the kinds."""
        audited = self.audit_set
        records = Records.concatenate([audited.records, audited.calibration, audited.reference])
        images, classes = self._images(records, records.n), self.target.facts.num_classes
        labels, device = records.labels, self.target.device

        def train(thousandths: int) -> None:
            for kind in EVALUATORS:
                part = thousandths / _WHOLE
                train_evaluator(kind, images, labels, classes, seed=0, device=device, effort=part)

        line = line_of(train, lambda thousandths: thousandths, least=_LEAST_EFFORT, most=_WHOLE)
        return line.at(_WHOLE) * (1 / len(EVALUATORS))

    def learning_prior(self) -> Spent:
        """The GAN, by a few of its steps."""
        images = self._images(self.public or self.audit_set.calibration, _FEW_RECORDS).to(self.target.device)
        line = line_of(lambda part: advance_prior(images, part), lambda part: part, least=2, most=_WHOLE)
        return line.at(_WHOLE)

    def inverting(self, attack: InversionAttack) -> Spent:
        """On one model."""
        try:
            if attack.stops_early:
                return self._by_classes(attack)
            line = line_of(attack.run, self._at, least=_LEAST_EFFORT, most=_WHOLE)
        except Exception:  # noqa: BLE001 - in the scan it fails as soon, and is reported there
            return Spent()
        return line.at(_WHOLE)

    def _by_classes(self, attack: InversionAttack) -> Spent:
        """How long a class takes differs, so this is a guess by the first few."""
        classes = self.target.facts.num_classes
        given = self._at(_WHOLE)
        few: Callable[[int], Given] = lambda count: replace(given, classes=tuple(range(count)))  # noqa: E731
        return line_of(attack.run, few, least=_FEW_CLASSES, most=classes).at(classes)

    def _at(self, thousandths: int) -> Given:
        own = self.public or self.audit_set.calibration
        images = self._images(own, own.n)
        audited = self.audit_set.records
        return Given(
            view=View(self.target),
            classes=tuple(range(self.target.facts.num_classes)),
            public=images if self.public else None,
            auxiliary=images,
            prior=untrained_prior(self.target),
            asked=self._images(audited, min(audited.n, _FEW_RECORDS)),
            seed=0,
            effort=thousandths / _WHOLE,
        )

    def _images(self, records: Records, count: int) -> torch.Tensor:
        rows = np.linspace(0, records.n - 1, min(count, records.n)).astype(np.intp)
        return unit_images(self.target, records.inputs[rows])
