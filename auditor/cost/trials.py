"""Short timed trials of everything that a plan names, carried on a straight line to the whole audit set.

Models are trained for an epoch on a few batches, probes ask about a handful of records, and attacks score simulated
signals of the plan's size, with the probes' few answers repeated. Every trial is made with two numbers of records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from auditor.battery import MEMBERSHIP
from auditor.battery.plan import Plan, probes_for, why_not
from auditor.compute import generator
from auditor.controls.blind import blind_control
from auditor.controls.nulls import instrument_null, two_class_signals
from auditor.controls.planted import planted_control
from auditor.cost.inversion_trials import inversion_items
from auditor.cost.price import LEVER, Cost, Item, Spent, line_of, steady, timed
from auditor.defense import Applied, Defense, Holding
from auditor.defenses import DEFENSES, applied_to
from auditor.findings import Role
from auditor.laboratory import Answers, Arrays, Asked, Blueprint, Probe
from auditor.membership.evidence import Attack, Context, Evidence, Oracle, Probed
from auditor.membership.features import describe
from auditor.membership.gather import PROBED_SHADOWS
from auditor.membership.measure import Jury, run_attack
from auditor.shadows import AuditSet, inclusion_pairs
from auditor.signals import Signals, observe_outputs
from auditor.splits import Records
from auditor.stats.low_fpr import tpr_at_fpr_difference
from auditor.target import Target
from auditor.threat import Access
from auditor.training import reuses_features, train

__all__ = ["cost_of"]

Positions = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

_FEW_RECORDS = 8
_OWN_RECORDS = 64
_ASKED_RECORDS = 256
_SCORED_RECORDS = 400  # with fewer, no TPR at 1 % FPR would be measured on the reporting half
_SIMULATED_RECORDS = 2000
_TRIAL_BATCHES = 3
_TRIAL_EPOCHS = 10
_LEAST_REFERENCE = 128  # two batches of the Purifier's


def cost_of(plan: Plan, audit_set: AuditSet, public: Records | None, target: Target, workers: int) -> Cost:
    """Time short trials of everything that the plan names, and say what all of it costs on this machine.

    Args:
        plan: What will run.
        audit_set: Who is evaluated.
        public: Records of public/, if there are any.
        target: The audited model; trials ask it and train networks like it.
        workers: How many processes will share the work.

    Raises:
        InputError: training a network like the target, or asking it, fails already.
    """
    trials = _Trials(plan, audit_set, public, target)
    parts = (trials.models(workers), trials.probing(), trials.attacking(), trials.after())
    return Cost(tuple(item for part in parts for item in part), workers)


def _spread(count: int, among: int) -> Positions:
    """That many positions, evenly over all: members come first, and both sides have to be there."""
    return np.linspace(0, among - 1, count).astype(np.intp)


def _some(records: Records) -> Callable[[int], Records]:
    """Makes records out of how many are wanted."""
    return lambda count: records.take(_spread(count, records.n))


@dataclass(frozen=True)
class _Tried:
    """What a probe costs for one model, how many records it asks about, and what it saw of a few of them."""

    seconds: Spent
    records: int
    seen: Arrays


@dataclass(frozen=True)
class _Stage:
    """Simulated evidence, who is evaluated on it, and what probes saw."""

    evidence: Evidence
    jury: Jury
    probes: Mapping[Probe, _Tried]

    @property
    def records(self) -> int:
        """How many records are simulated."""
        return len(self.jury.membership)

    def of(self, count: int) -> _Stage:
        """The same with fewer records."""
        chosen, whole = _spread(count, self.records), self.evidence
        context, inclusion = whole.known(), whole.shadow_membership[:, chosen]
        evidence = Evidence(
            Answers(whole.target.audit.records(chosen), whole.target.calibration),
            Answers(whole.shadows.audit.records(chosen), whole.shadows.calibration),
            inclusion,
            replace(context, labels=context.labels[chosen], features=context.features[chosen]),
            {probe.id: _probed(probe, tried, inclusion) for probe, tried in self.probes.items() if tried.seen},
        )
        return replace(self, evidence=evidence, jury=self.jury.only(np.isin(np.arange(self.records), chosen)))

    def read_by(self, attack: Attack, others: int) -> Evidence:
        """What an attack reads; one that combines gets scores of that many others too."""
        if not attack.combines:
            return self.evidence
        fitting = self.jury.selection
        scores = generator(0, "cost of combining").normal(size=(others, self.records))
        return replace(self.evidence, oracle=Oracle(scores, fitting, self.jury.membership[fitting], others))


def _probed(probe: Probe, tried: _Tried, inclusion: Flags) -> Probed:
    """A probe's few answers, repeated over all its records and over the shadows that it asks."""
    records = inclusion.shape[1]
    rows = _spread(min(records, tried.records), records)
    target = {name: array[np.arange(len(rows)) % len(array)] for name, array in tried.seen.items()}
    models = PROBED_SHADOWS if probe.on_shadows else 0
    shadows = {name: np.stack([array] * models) for name, array in target.items()} if models else {}
    return Probed(target, shadows, inclusion[:models, rows], rows, records)


@dataclass(frozen=True)
class _Trials:
    """The trials of one plan, on the audited model and the audit set."""

    plan: Plan
    audit_set: AuditSet
    public: Records | None
    target: Target

    # --- models -----------------------------------------------------------------------------------------------------

    def models(self, workers: int) -> Iterator[Item]:
        """Asking the target, training the others and asking them."""
        plan = self.plan
        yield Item("ask the target", "target", self._asking)
        loading, training = self._training
        answering = self._asking + self._refitting()
        if plan.given is not None:
            yield Item("ask the given shadows", "shadows", answering, plan.shadows, spread=True)
        else:
            phase, seen = "train shadows", plan.evaluated + plan.others
            yield Item(phase, "shadows", loading, min(workers, plan.shadows), spread=True)
            yield Item(phase, "shadows", training(seen) + answering, plan.shadows, spread=True, per_shadow=True)
        phase, seen = "train null and control models", plan.evaluated // 2 + plan.others
        yield Item(phase, "null models", training(seen) + answering, 2, spread=True)
        yield Item(phase, "planted shadow", training(plan.evaluated + plan.others) + answering)
        yield Item(phase, "control model", training(plan.evaluated) + answering)
        if plan.class_controls:
            half = (plan.evaluated + plan.others) // 2
            yield Item(phase, "class controls", training(half) + answering, plan.class_controls, spread=True)

    @cached_property
    def _training(self) -> tuple[Spent, Callable[[int], Spent]]:
        """What a process loads before it can train, and what a model costs that trains on so many records."""
        records, recipe = self.audit_set.records, self.plan.recipe

        def epochs(count: int) -> Callable[[Records], object]:
            trial = recipe.model_copy(update={"epochs": count, "init": None})
            return lambda some: train(self.target, some.inputs, some.labels, trial, seed=0)

        few = min(records.n, _TRIAL_BATCHES * recipe.batch_size)
        cold = timed(epochs(1), _some(records)(few))
        line = line_of(epochs(1), _some(records), least=few, most=records.n)
        loading = line.first.rise_to(cold)
        if not reuses_features(recipe):
            return loading, lambda seen: line.at(seen * recipe.epochs)
        longer = timed(epochs(1 + _TRIAL_EPOCHS), _some(records)(line.more))
        further = line.second.rise_to(longer) * ((recipe.epochs - 1) / (_TRIAL_EPOCHS * line.more))
        return loading, lambda seen: line.at(seen) + further * seen

    @cached_property
    def _asking(self) -> Spent:
        """One model about the audit set and the calibrating records."""
        records = self.audit_set.records
        line = line_of(
            lambda some: observe_outputs(self.target, some.inputs, some.labels, self.plan.queries),
            _some(records),
            least=_ASKED_RECORDS,
            most=records.n,
        )
        return line.at(records.n + self.plan.calibration)

    def _refitting(self) -> Spent:
        """What the target's own defense puts behind every model of ours too."""
        applied = applied_to(self.target)
        return Spent() if applied is None else self._fitting(applied)

    def _fitting(self, applied: Applied) -> Spent:
        reference = self.audit_set.reference
        line = line_of(
            lambda some: applied.wrapped(self.target, self._holding(some), 0),
            _some(reference),
            least=_LEAST_REFERENCE,
            most=reference.n,
        )
        return line.at(reference.n)

    def _holding(self, reference: Records) -> Holding:
        """What a defender of the target holds, with fewer records."""
        records = self.audit_set.records
        return Holding(records.take(np.flatnonzero(self.audit_set.membership)), reference, self.plan.recipe)

    # --- attacks ----------------------------------------------------------------------------------------------------

    def probing(self) -> Iterator[Item]:
        """Describing the records; every probe in front of the target and, where it is read there, of some shadows."""
        records = self.audit_set.records
        line = line_of(
            lambda some: describe(self.target, some.inputs), _some(records), least=_ASKED_RECORDS, most=records.n
        )
        yield Item("instant answer", "features", line.at(records.n + self.plan.calibration))
        for probe, tried in self._tried.items():
            yield Item("probes", f"probe {probe.id}", tried.seconds)
            if probe.on_shadows:
                yield Item("probes", f"probe {probe.id}", tried.seconds, PROBED_SHADOWS, spread=True)

    @cached_property
    def _tried(self) -> Mapping[Probe, _Tried]:
        return {probe: self._try(probe) for probe in probes_for(self.plan)}

    def _try(self, probe: Probe) -> _Tried:
        """One model; some probes train on the attacker's own records, so what more of these cost is tried as well."""
        records, own = self.audit_set.records, self.audit_set.calibration
        full = records.n if probe.sample is None else min(records.n, 2 * probe.sample)
        blueprint = Blueprint(self.target.architecture, self.target.facts, str(self.target.device))
        few, found = min(own.n, _OWN_RECORDS), list[Arrays]()

        def asked(count: int, owned: int = few) -> Asked:
            return Asked(self.target, _some(records)(count), _some(own)(owned), blueprint, 0)

        def run(part: Asked) -> None:
            found.append(probe.run(part))

        try:
            line = line_of(run, asked, least=_FEW_RECORDS, most=full)
            seen, more = found[-1], min(own.n, LEVER * few)
            longer = steady(run, asked(line.few, more)) if more > few else line.first
        except Exception:  # noqa: BLE001 - in the scan it fails as soon, and is reported there
            return _Tried(Spent(), full, {})
        further = line.first.rise_to(longer) * ((own.n - few) / max(more - few, 1))
        return _Tried(line.at(full) + further, full, seen)

    def attacking(self) -> Iterator[Item]:
        """Scoring and measuring, on simulated signals."""
        for attack in self._planned:
            yield Item("membership attacks", attack.card.id, self._scoring[attack.card.id])

    @property
    def _planned(self) -> list[Attack]:
        return [one for one in MEMBERSHIP if not why_not(one, self.plan, self.target.shows)]

    @property
    def _primaries(self) -> list[Attack]:
        return [one for one in self._planned if self.plan.role(one) is Role.PRIMARY]

    @cached_property
    def _scoring(self) -> Mapping[str, Spent]:
        return {attack.card.id: self._score(attack) for attack in self._planned}

    def _score(self, attack: Attack) -> Spent:
        role, limits, others = self.plan.role(attack), self.plan.limits, len(self._planned)
        return self._on_stage(lambda stage: run_attack(attack, role, stage.read_by(attack, others), stage.jury, limits))

    def _on_stage(self, run: Callable[[_Stage], object]) -> Spent:
        line = line_of(run, self._stage.of, least=_SCORED_RECORDS, most=self._stage.records)
        return line.at(self.audit_set.records.n)

    @cached_property
    def _stage(self) -> _Stage:
        """Simulated signals of the plan's shadows and queries; labels, groups and features are the audit's own."""
        rng, plan, audit_set = generator(0, "cost"), self.plan, self.audit_set
        count = min(audit_set.records.n, _SIMULATED_RECORDS)
        chosen, population = _spread(count, audit_set.records.n), min(plan.calibration, _SIMULATED_RECORDS)
        records = audit_set.records.take(chosen)
        features = describe(self.target, records.inputs)
        context = Context(
            labels=records.labels,
            calibration_labels=audit_set.calibration.labels[:population],
            features=features,
            calibration_features=features[np.arange(population) % count],
            seed=0,
        )

        def answers(*models: int) -> Answers:
            audit, calibration = (_simulated(rng, (*models, n, len(plan.queries))) for n in (count, population))
            return Answers(audit, calibration)

        inclusion = inclusion_pairs(count, plan.shadows, rng)
        evidence = Evidence(answers(), answers(plan.shadows), inclusion, context)
        return _Stage(evidence, Jury.of(records, audit_set.membership[chosen], 0), self._tried)

    # --- what comes after them --------------------------------------------------------------------------------------

    def after(self) -> Iterator[Item]:
        """Controls, defenses and inversion."""
        yield Item("controls and checks", "controls", self._controls())
        bare = applied_to(self.target) is None
        for defense in DEFENSES if bare else ():
            if defense.card.id in self.plan.defenses:
                yield from self._defending(defense)
        yield from inversion_items(self.plan, self.audit_set, self.public, self.target)

    def _controls(self) -> Spent:
        """Blind, instrument and planted control; leaks are planted for one primary attack, as others cost the same."""
        limits = self.plan.limits
        spent = self._on_stage(lambda stage: blind_control(stage.evidence.known().features, stage.jury, 0, limits))
        primaries = self._primaries
        shadow_based = [one for one in primaries if one.least_shadows]
        if not primaries:
            return spent

        def instrument(stage: _Stage) -> None:
            scored = [run_attack(one, Role.PRIMARY, stage.evidence, stage.jury, limits) for one in primaries]
            instrument_null(scored, stage.jury, limits, 0)

        def planting(stage: _Stage) -> None:
            planted_control(shadow_based[:1], stage.evidence, stage.jury, limits, tests=1, seed=0)

        spent += self._on_stage(instrument)
        return spent + self._on_stage(planting) * len(shadow_based) if shadow_based else spent

    def _defending(self, defense: Defense) -> Iterator[Item]:
        """Training or fitting it for the target and for every shadow, asking all of them, and attacking twice."""
        plan, applied = self.plan, Applied(defense)
        once = self._asking
        each = once + self._fitting(applied) if defense.wrap is not None else once
        models = plan.shadows
        if defense.retrain is not None:
            models, training = plan.retrained_shadows, self._training[1](plan.evaluated + plan.others)
            each += training * defense.trainings
            once += training * defense.settling
        yield Item("defenses", defense.card.id, once + each + self._comparing(defense))
        yield Item("defenses", defense.card.id, each, models, spread=True, per_shadow=defense.retrain is None)

    def _comparing(self, defense: Defense) -> Spent:
        """The panel through the defense, its primary attacks once more, and what differences cost."""
        scoring, limits = self._scoring, self.plan.limits
        panel = [one for one in self._planned if not one.combines and one.probe is None]
        counted = [one for one in panel if defense.retrain is not None or one.card.access is not Access.WEIGHTS]
        spent = Spent()
        for one in (*counted, *(one for one in self._primaries if one in counted)):
            spent += scoring[one.card.id]

        def compared(stage: _Stage) -> None:
            rng, margins = np.random.default_rng(0), stage.evidence.target.audit
            after, before = margins.loss[:, 0], margins.entropy[:, 0]
            tpr_at_fpr_difference(after, before, stage.jury.membership, limits.fpr, rng, groups=stage.jury.groups)

        fine = sum(one.low_fpr_endpoint for one in self._primaries if one in counted)
        return spent + self._on_stage(compared) * fine if fine else spent


def _simulated(rng: np.random.Generator, shape: Sequence[int]) -> Signals:
    return two_class_signals(rng.normal(2.0, 3.0, size=tuple(shape)))
