"""What a worker does to make one model: train it, or load it, defend it, and keep its answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from auditor.compute import RunFolder, rename_into_place
from auditor.defense import Applied, Holding
from auditor.errors import InputError
from auditor.findings import ModelFacts
from auditor.given_shadows import load_given
from auditor.laboratory.answers import ask, is_answered, write_answers
from auditor.laboratory.shared import published, training_records
from auditor.records import printable
from auditor.shadows import TrainingSet
from auditor.splits import Recipe, Records
from auditor.target import Architecture, Target
from auditor.training import train

__all__ = ["Blueprint", "Job", "bare_model", "finished_model", "is_done", "is_whole", "train_and_observe"]


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
class Job:
    """One model to make and to ask: all that a worker needs to know.

    Attributes:
        training_set: What the model trains on; or the model that was given.
        blueprint: Builds it, untrained.
        recipe: Trains it.
        queries: The copies of every record that it is asked about.
        defense: What it is defended with, refitted; None: nothing.
        opened: Whether it is asked as whoever holds its weights would.
        repeats: How often it is asked about every record.
        folder: The run folder.
        weights: The file of its weights, in the run folder.
        signals: The file of its answers, in the run folder.
    """

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


def train_and_observe(job: Job) -> None:
    """Train a model unless it is there or given, and keep what it answers.

    Raises:
        InputError: the model cannot be trained, or does not answer like a trained one.
    """
    folder = RunFolder(job.folder)
    weights = folder.path(job.weights)
    if job.training_set.given is None and not is_whole(weights):
        wall, cpu = perf_counter(), process_time()
        trained = _trained(job, folder)
        took = {"wall": str(perf_counter() - wall), "cpu": str(process_time() - cpu)}
        state = {key: value.contiguous().cpu() for key, value in trained.module.state_dict().items()}
        rename_into_place(weights, lambda temporary: save_file(state, temporary, metadata=took))
    try:
        answers = ask(finished_model(job, folder), folder, job.queries, job.repeats)
    except InputError as error:
        if (given := job.training_set.given) is None:
            raise
        raise InputError(
            f"{printable(given.path)}: a given shadow does not answer like a trained model.",
            "Take it out of the folder, with its row of inclusion.npz, or save it again.",
        ) from error
    write_answers(folder, job.signals, answers)


def _trained(job: Job, folder: RunFolder) -> Target:
    template, seed = job.blueprint.template(), job.training_set.seed
    if job.defense is not None and job.defense.defense.retrain is not None:
        return job.defense.retrained(template, _holding(job, folder), seed)
    inputs, labels = training_records(folder, job.training_set)
    return train(template, inputs, labels, job.recipe, seed=seed)


def is_done(job: Job, folder: RunFolder) -> bool:
    """Whether nothing is left to do: answers are kept, and so are whole weights unless they were given."""
    given = job.training_set.given is not None
    return is_answered(folder, job.signals) and (given or is_whole(folder.path(job.weights)))


def is_whole(weights: Path) -> bool:
    """Whether a weights file is there and as long as its header says; its content is trusted."""
    try:
        with safe_open(weights, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


def finished_model(job: Job, folder: RunFolder) -> Target:
    """A trained model, behind the laboratory's defense if it has one, or as whoever holds its weights asks it."""
    model, applied = bare_model(job, folder), job.defense
    if applied is None:
        return model
    if job.opened:
        return model if applied.defense.opened is None else applied.defense.opened(model)
    return applied.wrapped(model, _holding(job, folder), job.training_set.seed)


def bare_model(job: Job, folder: RunFolder) -> Target:
    """Rebuild a model from its weights: one of our own, or one that was given."""
    template, given = job.blueprint.template(), job.training_set.given
    if given is not None:
        return load_given(template, given)
    if job.defense is not None and job.defense.defense.retrain is not None:
        made = job.defense.template(template)
        return job.defense.marked(made.with_weights(load_file(folder.path(job.weights))))
    return template.with_weights(load_file(folder.path(job.weights)))


def _holding(job: Job, folder: RunFolder) -> Holding:
    """What the defender of one of our models holds."""
    reference = Records.of(*published(folder, "reference"))
    reads = job.defense is not None and job.defense.defense.reads_members()
    members = Records.of(*training_records(folder, job.training_set)) if reads else reference.take(np.arange(0))
    return Holding(members, reference, job.recipe)
