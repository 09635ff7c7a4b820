"""The laboratory itself: which models and answers an audit needs, under which names, and who makes what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from auditor.checkpoint.weights import sha256_of
from auditor.compute import Progress, RunFolder, Workers, digest
from auditor.defense import Applied
from auditor.findings import Timing
from auditor.laboratory.answers import Answers, Arrays, ask, is_answered, read_answers, read_floats, write_answers
from auditor.laboratory.jobs import Blueprint, Job, bare_model, finished_model, is_done, train_and_observe
from auditor.laboratory.probes import Probe, ProbeJob, asked_about, probe_model, seen
from auditor.laboratory.shared import published, share_records
from auditor.shadows import AuditSet, TrainingSet
from auditor.signals import repeat_difference
from auditor.splits import Recipe
from auditor.target import Target

__all__ = ["Laboratory"]


@dataclass(frozen=True)
class Laboratory:
    """Trains models and records what they answer, once each: finished files in the run folder are never made again.

    With a `defense` every model is a defended one, refitted on what that model's defender holds (rule 12);
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
        missing = [job for job in jobs if not is_done(job, self.folder)]
        self.workers.run(train_and_observe, missing, task=task, progress=self.progress)
        return [read_answers(self.folder, job.signals) for job in jobs]

    def load(self, training_set: TrainingSet) -> Target:
        """A model that `train` has finished, without what a defense puts behind it."""
        return bare_model(self._job(training_set), self.folder)

    def load_defended(self, training_set: TrainingSet) -> Target:
        """A model that `train` has finished, with what this laboratory's defense puts behind it."""
        return finished_model(self._job(training_set), self.folder)

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
        if not is_answered(self.folder, path):
            answers = ask(target, self.folder, self.queries, self.repeats)
            difference = repeat_difference(target, published(self.folder, "audit")[0])
            write_answers(self.folder, path, replace(answers, repeat_difference=difference))
        return read_answers(self.folder, path)

    def probe(self, probe: Probe, sets: Sequence[TrainingSet], *, task: str) -> list[Arrays]:
        """What a probe sees of models that `train` has finished, in order; defended where this laboratory is."""
        rows = self.rows(probe)
        jobs = [ProbeJob(self._job(one), probe, rows, self._probe_path(probe, self._job(one).signals)) for one in sets]
        missing = [job for job in jobs if self.folder.read_arrays(job.answer) is None]
        if missing:
            with self.workers.clock.phase(probe.phase):
                self.workers.run(probe_model, missing, task=task, progress=self.progress)
        return [read_floats(self.folder, job.answer) for job in jobs]

    def probe_target(self, probe: Probe, target: Target, seed: int) -> Arrays:
        """What a probe sees of the audited model, once."""
        path = self._probe_path(probe, f"target-{target.fingerprint}.safetensors")
        if self.folder.read_arrays(path) is None:
            with self.workers.clock.phase(probe.phase):
                asked = asked_about(target, self.folder, self.rows(probe), self.blueprint, seed)
                self.folder.write_arrays(path, seen(probe, asked))
        return read_floats(self.folder, path)

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

    def _job(self, training_set: TrainingSet) -> Job:
        name, defense = f"{training_set.name}-{self._digest(training_set)}", self.defense
        key = "" if defense is None else f"-{defense.key}"
        retrained = key if defense is not None and defense.defense.retrain is not None else ""
        return Job(
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
