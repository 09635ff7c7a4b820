"""The laboratory: models trained on known parts of the audit set, and what they answered, once each.

Shadows, null models and the control model are trained here, by work items that leave finished files in the run folder.
Shadows that the owner gives are asked where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from auditor.checkpoint.weights import sha256_of
from auditor.compute import Progress, RunFolder, Workers, digest, rename_into_place
from auditor.defense import Applied, Holding
from auditor.errors import InputError
from auditor.findings import ModelFacts, Timing
from auditor.given_shadows import load_given
from auditor.queries import IDENTITY
from auditor.records import Inputs, printable
from auditor.shadows import AuditSet, TrainingSet
from auditor.signals import CoarseMargins, Signals, observe, observe_outputs, repeat_difference, same_noise
from auditor.splits import Recipe, Records
from auditor.target import Architecture, Target
from auditor.training import train

__all__ = [
    "Answers",
    "Arrays",
    "Asked",
    "Blueprint",
    "Laboratory",
    "Probe",
    "is_probe",
    "is_whole",
    "published",
    "share_records",
]

Flags = npt.NDArray[np.bool_]

_PROBE = "probe "
_REPEATED = "repeat_difference"
_PARTS: Mapping[str, type[Signals | CoarseMargins]] = {
    "audit": Signals,
    "calibration": Signals,
    "coarse": CoarseMargins,
}
_KEPT = frozenset(f"{part}.{name}" for part, kind in _PARTS.items() for name in kind.names())


@dataclass(frozen=True)
class Blueprint:
    """What a worker needs to build a model like the target: everything but the target's weights."""

    architecture: Architecture
    facts: ModelFacts
    device: str

    def template(self) -> Target:
        """A fresh, untrained target."""
        return Target(
            module=self.architecture.build().eval(),
            architecture=self.architecture,
            facts=self.facts,
            device=torch.device(self.device),
            wrapper=None,
        )


@dataclass(frozen=True)
class Answers:
    """What models said.

    Attributes:
        audit: On the audit set.
        calibration: On the calibrating half of the population.
        repeat_difference: How far one model's answers to two equal queries lay apart; None where nobody asked twice.
        coarse: What coarser outputs show of the audit set; None in simulations.
    """

    audit: Signals
    calibration: Signals
    repeat_difference: float | None = None
    coarse: CoarseMargins | None = None

    @classmethod
    def stack(cls, models: Sequence[Answers]) -> Answers:
        """Several models' answers along a new first axis."""
        coarse = [model.coarse for model in models if model.coarse is not None]
        return cls(
            Signals.stack([model.audit for model in models]),
            Signals.stack([model.calibration for model in models]),
            coarse=CoarseMargins.stack(coarse) if coarse and len(coarse) == len(models) else None,
        )

    def model(self, index: int) -> Answers:
        """One model out of a stack."""
        coarse = None if self.coarse is None else self.coarse.model(index)
        return Answers(self.audit.model(index), self.calibration.model(index), coarse=coarse)

    def without_models(self, models: Sequence[int]) -> Answers:
        """The stack less some models."""
        coarse = None if self.coarse is None else self.coarse.without_models(models)
        return Answers(self.audit.without_models(models), self.calibration.without_models(models), coarse=coarse)


Arrays = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Asked:
    """What a probe is given.

    Attributes:
        target: The model asked.
        records: The audit records asked about, all or a sample.
        own: The attacker's own records of the same classes: the calibrating half of the population.
        blueprint: Builds fresh networks like the target.
        seed: For probes that draw or train.
    """

    target: Target
    records: Records
    own: Records
    blueprint: Blueprint
    seed: int


@dataclass(frozen=True)
class Probe:
    """A further pass over the audit set that only some attacks need, and only on some models.

    Attributes:
        id: Names it in files and in the evidence.
        run: A module-level function: what is asked -> float64 arrays by name, [record, ...].
        sample: How many members, and as many non-members, are asked about; None: all.
        on_shadows: Whether attacks read what it sees of shadows; else only the target is asked.
    """

    id: str
    run: Callable[[Asked], Arrays]
    sample: int | None = None
    on_shadows: bool = True

    @property
    def phase(self) -> str:
        """Under which name the clock keeps what it takes."""
        return f"{_PROBE}{self.id}"


def is_probe(timing: Timing) -> bool:
    """Whether a timing is of one probe and not of a phase of the audit."""
    return timing.phase.startswith(_PROBE)


@dataclass(frozen=True)
class _Job:
    training_set: TrainingSet
    blueprint: Blueprint
    recipe: Recipe
    queries: tuple[str, ...]
    defense: Applied | None
    opened: bool
    repeats: int
    folder: Path
    weights: str
    signals: str


@dataclass(frozen=True)
class Laboratory:
    """Trains models and records what they answer, once each: finished files in the run folder are never made again.

    With a `defense` every model is a defended one, refitted on what that model's defender holds (DESIGN 7.12);
    `opened` asks it as whoever holds its weights would. With `repeats` every record is asked that often and the answers
    are averaged, against models that answer at random.
    """

    folder: RunFolder
    workers: Workers
    blueprint: Blueprint
    recipe: Recipe
    queries: tuple[str, ...]
    audit_set: AuditSet
    progress: Progress
    defense: Applied | None = None
    opened: bool = False
    repeats: int = 1

    def publish(self) -> None:
        """Put the decoded records into the run folder, where workers memory-map them."""
        for name, records in (
            ("audit", self.audit_set.records),
            ("others", self.audit_set.others),
            ("calibration", self.audit_set.calibration),
            ("reference", self.audit_set.reference),
        ):
            share_records(self.folder, name, records)

    def train(self, sets: Sequence[TrainingSet], *, task: str) -> list[Answers]:
        """Train what is missing or damaged and not given, and read what every model of `sets` answers, in order."""
        jobs = [self._job(training_set) for training_set in sets]
        missing = [job for job in jobs if not _is_done(job, self.folder)]
        self.workers.run(_train_and_observe, missing, task=task, progress=self.progress)
        return [_read_answers(self.folder, job.signals) for job in jobs]

    def load(self, training_set: TrainingSet) -> Target:
        """A model that `train` has finished, without what a defense puts behind it."""
        return _bare_model(self._job(training_set), self.folder)

    def load_defended(self, training_set: TrainingSet) -> Target:
        """A model that `train` has finished, with what this laboratory's defense puts behind it."""
        return _finished_model(self._job(training_set), self.folder)

    def training_of(self, training_set: TrainingSet) -> Timing:
        """What it took to train a model that `train` has finished, in the run that did it."""
        with safe_open(self.weights_of(training_set), framework="pt") as file:
            took = file.metadata() or {}
        return Timing(
            phase="train one model",
            wall_seconds=float(took.get("wall", 0.0)),
            cpu_seconds=float(took.get("cpu", 0.0)),
        )

    def weights_of(self, training_set: TrainingSet) -> Path:
        """The file of a model that `train` has finished."""
        return self.folder.path(self._job(training_set).weights)

    def ask(self, target: Target) -> Answers:
        """What a model of the caller's answers, once: kept under the model's fingerprint.

        Some records are asked twice, to see whether the model repeats itself.
        """
        path = f"signals/target-{target.fingerprint}{self._manner}.safetensors"
        if not _is_answered(self.folder, path):
            answers = _ask(target, self.folder, self.queries, self.repeats)
            difference = repeat_difference(target, published(self.folder, "audit")[0])
            _write_answers(self.folder, path, replace(answers, repeat_difference=difference))
        return _read_answers(self.folder, path)

    def probe(self, probe: Probe, sets: Sequence[TrainingSet], *, task: str) -> list[Arrays]:
        """What a probe sees of models that `train` has finished, in order; defended where this laboratory is."""
        rows = self.rows(probe)
        jobs = [_ProbeJob(self._job(one), probe, rows, self._probe_path(probe, self._job(one).signals)) for one in sets]
        missing = [job for job in jobs if self.folder.read_arrays(job.answer) is None]
        if missing:
            with self.workers.clock.phase(probe.phase):
                self.workers.run(_probe_model, missing, task=task, progress=self.progress)
        return [_read_floats(self.folder, job.answer) for job in jobs]

    def probe_target(self, probe: Probe, target: Target, seed: int) -> Arrays:
        """What a probe sees of the audited model, once."""
        path = self._probe_path(probe, f"target-{target.fingerprint}.safetensors")
        if self.folder.read_arrays(path) is None:
            with self.workers.clock.phase(probe.phase):
                asked = _asked(target, self.folder, self.rows(probe), self.blueprint, seed)
                self.folder.write_arrays(path, _seen(probe, asked))
        return _read_floats(self.folder, path)

    def rows(self, probe: Probe) -> npt.NDArray[np.intp]:
        """The audit records that a probe asks about, in order."""
        n = self.audit_set.records.n
        return np.arange(n) if probe.sample is None else self.audit_set.sample(probe.sample)

    @property
    def _manner(self) -> str:
        """Names in files how models are asked, where that is not once and as they are released."""
        return ("-opened" if self.opened else "") + (f"-{self.repeats}-times" if self.repeats > 1 else "")

    @staticmethod
    def _probe_path(probe: Probe, name: str) -> str:
        return f"probes/{probe.id}-{Path(name).name}"

    def _job(self, training_set: TrainingSet) -> _Job:
        name, defense = f"{training_set.name}-{self._digest(training_set)}", self.defense
        key = "" if defense is None else f"-{defense.key}"
        retrained = key if defense is not None and defense.defense.retrain is not None else ""
        return _Job(
            training_set=training_set,
            blueprint=self.blueprint,
            recipe=self.recipe,
            queries=self.queries,
            defense=defense,
            opened=self.opened,
            repeats=self.repeats,
            folder=self.folder.root,
            weights=f"models/{name}{retrained}.safetensors",
            signals=f"signals/{name}{key}{self._manner}.safetensors",
        )

    def _digest(self, training_set: TrainingSet) -> str:
        return digest(
            *self._making(training_set),
            self.queries,
            self.blueprint.architecture.fingerprint,
            self.blueprint.facts.preprocessing.model_dump(mode="json"),
            torch.device(self.blueprint.device).type,
        )

    def _making(self, training_set: TrainingSet) -> list[object]:
        """What decides the weights of a model."""
        if training_set.given is not None:
            return [training_set.given.sha256, training_set.seed]
        planting = training_set.planting
        return [
            *([] if planting is None else [planting.rows, planting.labels, planting.included]),
            *([training_set.without_classes] if training_set.without_classes else []),
            np.packbits(training_set.included),
            training_set.seed,
            training_set.others,
            self.recipe.model_dump(mode="json", exclude={"init"}),
            "" if self.recipe.init is None else sha256_of(self.recipe.init),
        ]


@dataclass(frozen=True)
class _ProbeJob:
    model: _Job
    probe: Probe
    rows: npt.NDArray[np.intp]
    answer: str


def _probe_model(job: _ProbeJob) -> None:
    folder = RunFolder(job.model.folder)
    model, seed = _finished_model(job.model, folder), job.model.training_set.seed
    found = _seen(job.probe, _asked(model, folder, job.rows, job.model.blueprint, seed))
    folder.write_arrays(job.answer, found)


def _seen(probe: Probe, asked: Asked) -> Arrays:
    with same_noise(asked.target):
        return probe.run(asked)


def _asked(target: Target, folder: RunFolder, rows: npt.NDArray[np.intp], blueprint: Blueprint, seed: int) -> Asked:
    records, own = (Records.of(*published(folder, name)) for name in ("audit", "calibration"))
    return Asked(target, records.take(rows), own, blueprint, seed)


def _finished_model(job: _Job, folder: RunFolder) -> Target:
    """A trained model, behind the laboratory's defense if it has one, or as whoever holds its weights asks it."""
    model, applied = _bare_model(job, folder), job.defense
    if applied is None:
        return model
    if job.opened:
        return model if applied.defense.opened is None else applied.defense.opened(model)
    return applied.wrapped(model, _holding(job, folder), job.training_set.seed)


def _holding(job: _Job, folder: RunFolder) -> Holding:
    """What the defender of one of our models holds."""
    reference = Records.of(*published(folder, "reference"))
    reads = job.defense is not None and job.defense.defense.reads_members()
    members = Records.of(*_training_records(folder, job.training_set)) if reads else reference.take(np.arange(0))
    return Holding(members, reference, job.recipe)


def _read_floats(folder: RunFolder, name: str) -> Arrays:
    arrays = folder.read_arrays(name)
    if arrays is None:
        raise InputError(f"{folder.path(name)} is missing or damaged.", "Start again with a fresh --run-dir.")
    return {key: array.astype(np.float64) for key, array in arrays.items()}


def _is_done(job: _Job, folder: RunFolder) -> bool:
    given = job.training_set.given is not None
    return _is_answered(folder, job.signals) and (given or is_whole(folder.path(job.weights)))


def _is_answered(folder: RunFolder, name: str) -> bool:
    """Whether a file holds all that is kept of a model's answers; that of an earlier version may hold less."""
    arrays = folder.read_arrays(name)
    return arrays is not None and arrays.keys() >= _KEPT


def is_whole(weights: Path) -> bool:
    """Whether a weights file is there and as long as its header says; its content is trusted."""
    try:
        with safe_open(weights, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


def _bare_model(job: _Job, folder: RunFolder) -> Target:
    """Rebuild a model from its weights: one of our own, or one that was given."""
    template, given = job.blueprint.template(), job.training_set.given
    if given is not None:
        return load_given(template, given)
    if job.defense is not None and job.defense.defense.retrain is not None:
        made = job.defense.template(template)
        return job.defense.marked(made.with_weights(load_file(folder.path(job.weights))))
    return template.with_weights(load_file(folder.path(job.weights)))


def _read_answers(folder: RunFolder, name: str) -> Answers:
    """Read what `write_answers` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    arrays = _read_floats(folder, name)
    difference = arrays.get(_REPEATED)
    return Answers(
        audit=Signals(**_part(arrays, "audit")),
        calibration=Signals(**_part(arrays, "calibration")),
        repeat_difference=None if difference is None else float(difference[0]),
        coarse=CoarseMargins(**_part(arrays, "coarse")),
    )


def _write_answers(folder: RunFolder, name: str, answers: Answers) -> None:
    """Keep what one model answered, as one finished file."""
    arrays = {f"audit.{key}": array for key, array in answers.audit.arrays().items()}
    arrays |= {f"calibration.{key}": array for key, array in answers.calibration.arrays().items()}
    if answers.coarse is not None:
        arrays |= {f"coarse.{key}": array for key, array in answers.coarse.arrays().items()}
    if answers.repeat_difference is not None:
        arrays[_REPEATED] = np.array([answers.repeat_difference])
    folder.write_arrays(name, arrays)


def _ask(target: Target, folder: RunFolder, queries: tuple[str, ...], repeats: int) -> Answers:
    """What a model says about the published audit set and calibrating records; on average if it is asked repeatedly."""
    asked = queries if repeats == 1 else (IDENTITY,) * repeats
    audit, coarse = observe_outputs(target, *published(folder, "audit"), asked)
    calibration = observe(target, *published(folder, "calibration"), asked)
    if repeats == 1:
        return Answers(audit, calibration, coarse=coarse)
    return Answers(audit.averaged(), calibration.averaged(), coarse=coarse)


def share_records(folder: RunFolder, name: str, records: Records) -> None:
    """Put decoded records into the run folder under the name of their part."""
    folder.share(f"data/{name}-inputs.npy", records.inputs)
    folder.share(f"data/{name}-labels.npy", records.labels)


def published(folder: RunFolder, name: str) -> tuple[Inputs, npt.NDArray[np.int64]]:
    """The inputs (memory-mapped) and labels of one part of the data, as `share_records` left them."""
    inputs = np.load(folder.path(f"data/{name}-inputs.npy"), mmap_mode="r", allow_pickle=False)
    return inputs, np.load(folder.path(f"data/{name}-labels.npy"), allow_pickle=False)


def _part(arrays: Arrays, part: str) -> Arrays:
    return {name: arrays[f"{part}.{name}"] for name in _PARTS[part].names()}


def _train_and_observe(job: _Job) -> None:
    folder = RunFolder(job.folder)
    weights = folder.path(job.weights)
    if job.training_set.given is None and not is_whole(weights):
        wall, cpu = perf_counter(), process_time()
        trained = _trained(job, folder)
        took = {"wall": str(perf_counter() - wall), "cpu": str(process_time() - cpu)}
        state = {key: value.contiguous().cpu() for key, value in trained.module.state_dict().items()}
        rename_into_place(weights, lambda temporary: save_file(state, temporary, metadata=took))
    try:
        answers = _ask(_finished_model(job, folder), folder, job.queries, job.repeats)
    except InputError as error:
        if (given := job.training_set.given) is None:
            raise
        raise InputError(
            f"{printable(given.path)}: a given shadow does not answer like a trained model.",
            "Take it out of the folder, with its row of inclusion.npz, or save it again.",
        ) from error
    _write_answers(folder, job.signals, answers)


def _trained(job: _Job, folder: RunFolder) -> Target:
    template, seed = job.blueprint.template(), job.training_set.seed
    if job.defense is not None and job.defense.defense.retrain is not None:
        return job.defense.retrained(template, _holding(job, folder), seed)
    inputs, labels = _training_records(folder, job.training_set)
    return train(template, inputs, labels, job.recipe, seed=seed)


def _training_records(folder: RunFolder, training_set: TrainingSet) -> tuple[Inputs, npt.NDArray[np.int64]]:
    inputs, labels = published(folder, "audit")
    chosen = np.flatnonzero(training_set.included)
    parts = [(inputs[chosen], labels[chosen])]
    if training_set.others:
        parts.append(published(folder, "others"))
    if (planting := training_set.planting) is not None:
        rows = planting.rows[planting.included]
        parts.append((published(folder, "reference")[0][rows], planting.labels[planting.included]))
    found, labels = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    kept = ~np.isin(labels, training_set.without_classes)
    return (found[kept], labels[kept]) if training_set.without_classes else (found, labels)
