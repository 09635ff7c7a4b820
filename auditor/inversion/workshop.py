"""The workshop: every attack on every model it has to be run on, once each, as finished files in the run folder.

The target and a control model that never saw the members; from 20 classes on also two models that never saw one half of
the classes each. Evaluation networks and the prior come first. A crash of an attack is an outcome, not an end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from auditor.compute import digest, generator
from auditor.errors import WorkerKilledError, crash_report
from auditor.findings import InversionResult, InversionSetup, Measurement, Timing
from auditor.inversion.attack import InversionAttack, why_not_inverted
from auditor.inversion.evaluators import EVALUATORS, Evaluator, load_evaluator
from auditor.inversion.gallery import gallery_of_classes, gallery_of_members
from auditor.inversion.given import Rebuilt, unit_images
from auditor.inversion.jobs import TOOK, AttackJob, EvaluatorJob, Parked, PriorJob, attack_model, most_images, prepare
from auditor.inversion.kept import read_material
from auditor.inversion.measure import LeftOut, measure_classes, measure_records
from auditor.inversion.prior import OwnGenerator, PriorSource, describe_prior, measure_prior
from auditor.inversion.scene import Rows, Scene, rows_of, supply_of
from auditor.laboratory import Blueprint, Laboratory, share_records
from auditor.shadows import AuditSet, TrainingSet
from auditor.splits import Records
from auditor.target import Target
from reference_attacks.inversion.material import Inverted

__all__ = ["Inversions", "Models", "Shown", "Workshop"]


@dataclass(frozen=True)
class Models:
    """On whom attacks are run.

    Attributes:
        target: The audited model.
        control: Trained on the audited non-members instead of the members.
        left_out: Two models, each trained without one half of the classes; none below 20 classes.
    """

    target: Target
    control: TrainingSet
    left_out: tuple[TrainingSet, ...] = ()


@dataclass(frozen=True)
class Inversions:
    """What the workshop found.

    Attributes:
        results: One per attack, in their order; findings are still to be marked.
        setup: What they share; None if none could run.
        timings: What each took on all models together.
    """

    results: tuple[InversionResult, ...] = ()
    setup: InversionSetup | None = None
    timings: tuple[Timing, ...] = ()


@dataclass(frozen=True)
class Shown:
    """What attacks made of one model alone.

    Attributes:
        rows: Which records it may be held against.
        made: By attack, once for every time it ran: images in the order of `Rows.all`, or of `Rows.classes`.
        reasons: Why the others made nothing, by attack.
        evaluators: Evaluation networks, where an attack rebuilds classes.
    """

    rows: Rows
    made: Mapping[str, Sequence[Inverted | Rebuilt]]
    reasons: Mapping[str, str]
    evaluators: tuple[Evaluator, ...] = ()


@dataclass(frozen=True)
class _Ready:
    """What has to be there before attacks, or how it was lost."""

    evaluators: tuple[Evaluator, ...] = ()
    no_prior: str = ""
    no_judges: str = ""

    def why_not(self, attack: InversionAttack) -> str:
        """Why an attack makes nothing that counts, or nothing; an image of a record needs no judge."""
        unjudged = self.no_judges if attack.rebuilds == "classes" else ""
        return unjudged or (self.no_prior if attack.needs == "prior" else "")


@dataclass(frozen=True)
class Workshop:
    """Runs inversion attacks and measures them.

    Attributes:
        laboratory: Trained the models, and has the workers and the run folder.
        audit_set: Who is evaluated.
        public: Records of public/, if there are any.
        own_generator: The user's own, if there is one.
        seed: The audit's.
        pictured: Names of every class, where the owner asks for pictures; None: there are none.
    """

    laboratory: Laboratory
    audit_set: AuditSet
    public: Records | None
    own_generator: OwnGenerator | None
    seed: int
    pictured: tuple[str, ...] | None = None

    def run(self, attacks: Sequence[InversionAttack], models: Models) -> Inversions:
        """Run attacks and measure them; every result says what became of its attack."""
        rows = self._rows(models.target)
        reasons = {attack.card.id: self._why_not(attack, rows) for attack in attacks}
        ended = {one.card.id: _skipped(one, reasons[one.card.id]) for one in attacks if reasons[one.card.id]}
        runnable = [attack for attack in attacks if attack.card.id not in ended]
        if not runnable:
            return Inversions(tuple(ended.values()))
        self._publish(models.target)
        prior = self._prior_source(runnable)
        ready = self._ready(self._judges(rows), prior)
        if ready.no_judges:
            return Inversions(tuple(ended.get(one.card.id) or _crashed(one, ready.no_judges) for one in attacks))
        ended |= {one.card.id: _crashed(one, told) for one in runnable if (told := ready.why_not(one))}
        runnable = [attack for attack in runnable if attack.card.id not in ended]
        jobs = self._jobs(runnable, models.target, self._parked(models), rows, prior)
        self._do(jobs)
        scene = Scene.of(models.target, self.audit_set, rows, ready.evaluators, self._public_images(models.target))
        results = tuple(
            ended.get(attack.card.id) or self._measured(attack, [job for job in jobs if job.attack is attack], scene)
            for attack in attacks
        )
        setup = self._setup(scene, None if ready.no_prior else prior, models)
        return Inversions(results, setup, tuple(self._timing(one, jobs) for one in runnable))

    def rebuild(
        self,
        attacks: Sequence[InversionAttack],
        target: Target,
        *,
        name: str,
        opened: Callable[[Target], Target] | None = None,
        decoders: int = 1,
    ) -> Shown:
        """Run attacks on one model of the target's make, without controls; another head is no hindrance.

        Args:
            attacks: Rows of the battery.
            target: The model, behind its wrapper if it has one.
            name: Names it in files; "target" is the audited model, whose answers `run` takes over.
            opened: What attacks with the weights make of it first, a module-level function.
            decoders: How often an attack that learns to rebuild records learns it, each time from another seed.
        """
        rows = self._rows(target)
        reasons = {one.card.id: told for one in attacks if (told := self._why_not(one, rows))}
        runnable = [attack for attack in attacks if attack.card.id not in reasons]
        if not runnable:
            return Shown(rows, {}, reasons)
        self._publish(target)
        prior = self._prior_source(runnable)
        ready = self._ready(self._judges(rows) if any(one.rebuilds == "classes" for one in runnable) else [], prior)
        reasons |= {one.card.id: told for one in runnable if (told := ready.why_not(one))}
        runnable = [attack for attack in runnable if attack.card.id not in reasons]
        parked = Parked.put(target, self.laboratory.folder, name, opened)
        jobs = self._jobs(runnable, target, [parked], rows, prior, decoders)
        self._do(jobs)
        reasons |= {job.attack.card.id: told for job in jobs if (told := job.why_ended())}
        made: dict[str, list[Inverted | Rebuilt]] = {}
        for job in jobs:
            if job.attack.card.id not in reasons:
                made.setdefault(job.attack.card.id, []).append(read_material(self.laboratory.folder, job.answer))
        return Shown(rows, made, reasons, ready.evaluators)

    def _rows(self, target: Target) -> Rows:
        values = int(np.prod(target.facts.preprocessing.input_size))
        return rows_of(self.audit_set, target.facts.num_classes, values)

    def _setup(self, scene: Scene, prior: PriorSource | None, models: Models) -> InversionSetup:
        folder = self.laboratory.folder
        return InversionSetup(
            evaluators=tuple(_accuracy_of(one) for one in scene.evaluators),
            public_images=0 if scene.public is None else len(scene.public),
            prior="" if prior is None else describe_prior(prior, folder),
            prior_quality=() if prior is None else measure_prior(prior, folder),
            class_controls=len(models.left_out),
        )

    def _timing(self, attack: InversionAttack, jobs: Sequence[AttackJob]) -> Timing:
        """What an attack took on all models, in the run that finished it; the prior is none of it."""
        kept = [self.laboratory.folder.read_arrays(job.answer) for job in jobs if job.attack is attack]
        took = [arrays[TOOK] for arrays in kept if arrays is not None]
        wall, cpu = np.sum(took, axis=0) if took else (0.0, 0.0)
        return Timing(phase=attack.card.id, wall_seconds=float(wall), cpu_seconds=float(cpu))

    def _why_not(self, attack: InversionAttack, rows: Rows) -> str:
        """Why an attack cannot run, or nothing."""
        size = self.laboratory.blueprint.facts.preprocessing.input_size
        generator_given = self.own_generator is not None
        return why_not_inverted(attack, supply_of(self.audit_set, rows, size, self.public, generator=generator_given))

    def _publish(self, target: Target) -> None:
        folder = self.laboratory.folder
        if self.public is not None:
            share_records(folder, "public", self.public.take(np.arange(min(self.public.n, most_images(target)))))

    def _public_images(self, target: Target) -> Tensor | None:
        return None if self.public is None else unit_images(target, self.public.inputs[: most_images(target)])

    # --- what comes first --------------------------------------------------------------------------------------------

    def _prior_source(self, attacks: Sequence[InversionAttack]) -> PriorSource | None:
        if not any(_searches(attack) for attack in attacks):
            return None
        return PriorSource.of(self.own_generator, self._digest_of_public, self.laboratory.blueprint, self.seed)

    @property
    def _digest_of_public(self) -> str:
        return "" if self.public is None else digest(b"".join(self.public.digests).hex())

    @property
    def _digest_of_data(self) -> str:
        parts = (self.audit_set.records, self.audit_set.calibration, self.audit_set.reference)
        return digest(b"".join(one for part in parts for one in part.digests).hex())

    def _judges(self, rows: Rows) -> list[EvaluatorJob]:
        blueprint, folder = self.laboratory.blueprint, self.laboratory.folder.root
        preprocessing = blueprint.facts.preprocessing.model_dump(mode="json")
        name = digest(rows.all, self._digest_of_data, self.seed, preprocessing)
        return [
            EvaluatorJob(
                kind,
                blueprint,
                folder,
                rows,
                int(generator(self.seed, f"evaluator {kind.name}").integers(2**31)),
                f"inversion/evaluator-{kind.name}-{name}.safetensors",
            )
            for kind in EVALUATORS
        ]

    def _ready(self, judges: Sequence[EvaluatorJob], prior: PriorSource | None) -> _Ready:
        try:
            lost = self._prepare(judges, prior)
            return _Ready(tuple(self._loaded(judges)), no_prior=lost)
        except WorkerKilledError:
            raise
        except Exception as error:  # noqa: BLE001 - what needs judges is lost; the rest of the report comes
            return _Ready(no_judges=crash_report(error))

    def _prepare(self, judges: Sequence[EvaluatorJob], prior: PriorSource | None) -> str:
        """Train what is missing of evaluation networks and prior, the longest first; returns how the prior was lost."""
        laboratory, jobs = self.laboratory, list[EvaluatorJob | PriorJob](judges)
        folder = laboratory.folder
        gan = None if prior is None or prior.own else PriorJob(prior, laboratory.blueprint, folder.root)
        if gan is not None:
            jobs.insert(0, gan)
            folder.path(gan.crash).unlink(missing_ok=True)
        missing = [job for job in jobs if folder.read_arrays(job.answer) is None]
        laboratory.workers.run(prepare, missing, task="evaluation networks and prior", progress=laboratory.progress)
        lost = gan is not None and folder.path(gan.crash).exists()
        return folder.path(gan.crash).read_text(encoding="utf-8") if gan is not None and lost else ""

    def _loaded(self, judges: Sequence[EvaluatorJob]) -> list[Evaluator]:
        template, folder = self.laboratory.blueprint, self.laboratory.folder
        channels, device = template.facts.preprocessing.input_size[0], torch.device(template.device)
        return [
            load_evaluator(job.kind, load_file(folder.path(job.answer)), channels, template.facts.num_classes, device)
            for job in judges
        ]

    # --- attacks -----------------------------------------------------------------------------------------------------

    def _parked(self, models: Models) -> list[Parked]:
        target, laboratory = models.target, self.laboratory
        return [
            Parked.put(target, laboratory.folder, "target"),
            *(
                Parked(one.name, laboratory.weights_of(one), laboratory.weights_of(one).stem, target.wrapper, without)
                for one, without in [
                    (models.control, frozenset[int]()),
                    *((left, frozenset(left.without_classes)) for left in models.left_out),
                ]
            ),
        ]

    def _jobs(
        self,
        attacks: Sequence[InversionAttack],
        target: Target,
        parked: Sequence[Parked],
        rows: Rows,
        prior: PriorSource | None,
        decoders: int = 1,
    ) -> list[AttackJob]:
        laboratory, jobs, public = self.laboratory, [], self._digest_of_public
        blueprint = Blueprint(target.architecture, target.facts, laboratory.blueprint.device)
        turns = [(one, turn) for one in attacks for turn in range(decoders if one.rebuilds == "records" else 1)]
        for attack, turn in turns:
            searched = prior if _searches(attack) else None
            purpose = f"inversion {attack.card.id}{f' {turn}' if turn else ''}"
            seed = int(generator(self.seed, purpose).integers(2**31))
            for model in parked if attack.rebuilds == "classes" else parked[:2]:
                classes = tuple(one for one in rows.classes if one not in model.without)
                named = digest(
                    attack.card.model_dump(mode="json"),
                    model.fingerprint,
                    str(target.fingerprint),
                    classes,
                    rows.all,
                    public,
                    "" if searched is None else searched.name,
                    seed,
                    *([] if model.opened is None else ["opened"]),
                )
                answer = f"inversion/{attack.card.id}-{model.name}-{named}.safetensors"
                jobs.append(
                    AttackJob(
                        attack,
                        model,
                        blueprint,
                        laboratory.folder.root,
                        classes,
                        rows,
                        self.public is not None,
                        searched,
                        seed,
                        answer,
                    )
                )
        return jobs

    def _do(self, jobs: Sequence[AttackJob]) -> None:
        laboratory = self.laboratory
        missing = [job for job in jobs if laboratory.folder.read_arrays(job.answer) is None]
        for job in missing:
            for ended in (job.crash, job.unfit):
                laboratory.folder.path(ended).unlink(missing_ok=True)
        laboratory.workers.run(attack_model, missing, task="inversion attacks", progress=laboratory.progress)

    def _measured(self, attack: InversionAttack, jobs: Sequence[AttackJob], scene: Scene) -> InversionResult:
        folder = self.laboratory.folder
        for job in jobs:
            if (unfit := folder.path(job.unfit)).exists():
                return _skipped(attack, unfit.read_text(encoding="utf-8"))
            if (crash := folder.path(job.crash)).exists():
                return _crashed(attack, crash.read_text(encoding="utf-8"))
        try:
            own, control, *left = (read_material(folder, job.answer) for job in jobs)
            if isinstance(own, Rebuilt) and isinstance(control, Rebuilt):
                gallery = gallery_of_members(own.images, jobs[0].rows, self.pictured) if self.pictured else ()
                return measure_records(attack.card, own, control, scene).model_copy(update={"gallery": gallery})
            if isinstance(own, Inverted) and isinstance(control, Inverted):
                without = [
                    LeftOut(job.model.without, one.images.flatten(0, 1))
                    for job, one in zip(jobs[2:], left, strict=True)
                    if isinstance(one, Inverted)
                ]
                gallery = gallery_of_classes(own.images, scene.classes, self.pictured) if self.pictured else ()
                result = measure_classes(attack.card, own, control, scene, without)
                return result.model_copy(update={"gallery": gallery})
            return _crashed(attack, "It gave back one kind of material for the target and another for its control.")
        except Exception as error:  # noqa: BLE001 - whatever a method gives back, the rest of the report must still come
            return _crashed(attack, crash_report(error))


def _crashed(attack: InversionAttack, reason: str) -> InversionResult:
    return InversionResult(card=attack.card, status="failed", reason=reason)


def _skipped(attack: InversionAttack, reason: str) -> InversionResult:
    return InversionResult(card=attack.card, status="skipped", reason=reason)


def _accuracy_of(evaluator: Evaluator) -> Measurement:
    name = f"Accuracy of the {evaluator.name} evaluation network on held-out records"
    return Measurement(name=name, estimate=evaluator.accuracy, unit="share")


def _searches(attack: InversionAttack) -> bool:
    return attack.needs in ("prior", "own generator")
