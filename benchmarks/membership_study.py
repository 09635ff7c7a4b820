"""The measurements of `membership.py`: models trained once into a folder, and every model attacked with the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from membership_attacks import FEW, GLOBAL, SHADOWED, SIGNALS, Attack, Seen
from membership_worlds import SEED, Setting, World, template
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from auditor.compute import digest, generator, rename_into_place
from auditor.shadows import inclusion_pairs
from auditor.signals import observe
from auditor.splits import Recipe
from auditor.stats.auc import auc
from auditor.stats.low_fpr import Standing, standing, tpr_at_fpr
from auditor.training import train
from reference_attacks.membership import tail

__all__ = [
    "FEWEST_FOR_VARIANCES",
    "FPR",
    "ModelRow",
    "Models",
    "Results",
    "ScoreRow",
    "attack_all",
    "describe_all",
    "train_missing",
]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FPR = 0.01
FEWEST_FOR_VARIANCES = 4  # shadows: two with and two without every record


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScoreRow(_Row):
    """One attack on one model: AUC, and TPR at 1 % FPR; `shadows` is 0 for attacks that use none."""

    setting: str
    target: int
    shadows: int
    attack: str
    auc: float
    tpr: float


class ModelRow(_Row):
    """One model: accuracies on both halves of the pool, the tail rate at 1 % FNR, CPU seconds to train and ask it."""

    setting: str
    target: int
    members: int
    train_accuracy: float
    other_accuracy: float
    tail: float
    cpu_seconds: float


class Results(_Row):
    """Everything that the tables are made from; `records` names the drawn records of each world by their digest."""

    seed: int
    smoke: bool
    records: dict[str, str]
    models: tuple[ModelRow, ...]
    scores: tuple[ScoreRow, ...]


@dataclass(frozen=True)
class Models:
    """What the models of a setting answer: signals [record] by name, per model, and inclusion bool [model, record]."""

    answers: Sequence[Mapping[str, Floats]]
    included: Flags


# --- training ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    setting: Setting
    recipe: Recipe
    index: int
    included: Flags
    records: Path
    answers: Path

    @property
    def seed(self) -> int:
        return int(generator(SEED, f"{self.setting.name} model {self.index}").integers(2**31))


def train_missing(setting: Setting, world: World, public: Path | None, folder: Path, workers: int) -> Models:
    """Train the models whose answers are not in the folder yet, and read the answers of all.

    Args:
        setting: What to train.
        world: Its records.
        public: The weights to start from, if any.
        folder: Gets one safetensors file a model; a run that was ended goes on with the next.
        workers: Processes, one thread each.
    """
    included = inclusion_pairs(world.pool.n, setting.models, generator(SEED, f"{setting.name} inclusion"))
    recipe = setting.recipe.model_copy(update={"init": public})
    records, stem = _share(world, folder), _stem(setting, world, public)
    jobs = [
        _Job(setting, recipe, index, row, records, folder / f"{stem}-{index:02d}.safetensors")
        for index, row in enumerate(included)
    ]
    missing = [job for job in jobs if _read(job.answers) is None]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_train_one, job) for job in missing]):
            print(done.result(), flush=True)
    return Models([load_file(job.answers) for job in jobs], included)


def _stem(setting: Setting, world: World, public: Path | None) -> str:
    """Names everything that decides what a model of this setting answers, but its index."""
    recipe, origin = (
        setting.recipe.model_dump(mode="json", exclude_defaults=True),
        "" if public is None else public.stem,
    )
    name = digest(world.digest, setting.name, setting.architecture.fingerprint, recipe, origin, SEED)
    return f"{setting.world}-{setting.recipe.epochs}-{name}"


def _share(world: World, folder: Path) -> Path:
    """The records as a file that workers read."""
    path = folder / f"records-{world.digest}.npz"

    def write(temporary: Path) -> None:
        pool, population = world.pool, world.population
        with temporary.open("wb") as handle:
            np.savez(handle, pool.inputs, pool.labels, population.inputs, population.labels)

    if not path.exists():
        rename_into_place(path, write)
    return path


def _read(path: Path) -> Mapping[str, Floats] | None:
    """What a finished model answers; None where there is nothing, or a damaged file."""
    try:
        return load_file(path) if path.exists() else None
    except (SafetensorError, OSError):
        return None


def _train_one(job: _Job) -> str:
    torch.set_num_threads(1)
    start = time.process_time()
    with np.load(job.records) as file:
        inputs, labels, others, other_labels = (file[f"arr_{position}"] for position in range(4))
    model = train(template(job.setting), inputs[job.included], labels[job.included], job.recipe, seed=job.seed)
    on_pool, on_others = observe(model, inputs, labels).arrays(), observe(model, others, other_labels).arrays()
    answers = {name: np.ascontiguousarray(on_pool[name][:, 0]) for name in SIGNALS}
    answers |= {f"population.{name}": np.ascontiguousarray(on_others[name][:, 0]) for name in SIGNALS}
    answers["cpu_seconds"] = np.array([time.process_time() - start])
    rename_into_place(job.answers, lambda temporary: save_file(answers, temporary))
    return f"{job.setting.name}, model {job.index + 1}: {answers['cpu_seconds'][0]:.0f} CPU seconds"


# --- attacks -------------------------------------------------------------------------------------------------------


def describe_all(setting: Setting, models: Models) -> Iterator[ModelRow]:
    """How well each model has learned, and its tail rate."""
    for index, (answers, inside) in enumerate(zip(models.answers, models.included, strict=True)):
        rate = tail.estimate(target_loss=answers["loss"], membership=inside, settings=tail.Tail((FPR,)))[0]
        yield ModelRow(
            setting=setting.name,
            target=index,
            members=int(inside.sum()),
            train_accuracy=float(answers["correct"][inside].mean()),
            other_accuracy=float(answers["correct"][~inside].mean()),
            tail=rate.true_negative_rate,
            cpu_seconds=float(answers["cpu_seconds"][0]),
        )


def attack_all(setting: Setting, models: Models) -> Iterator[ScoreRow]:
    """Let every model take the target's place in turn; its twin is no shadow, the others come as whole pairs.

    A pair's shadows are drawn once, those of a smaller K being the first of those of a larger one.

    Raises:
        ValueError: too few non-members for a TPR at 1 % FPR.
    """
    for index, inside in enumerate(models.included):
        if standing(int((~inside).sum()), FPR) is not Standing.HEADLINE:
            raise ValueError(f"{setting.name}: {(~inside).sum()} non-members are too few for an FPR of {FPR}")
        pair = index // 2
        others = np.delete(np.arange(setting.models // 2), pair)
        drawn = generator(SEED, f"{setting.name} shadows of pair {pair}").permutation(others)
        for count in (0, *setting.shadows):
            rows = [2 * other + twin for other in drawn[: count // 2] for twin in (0, 1)]
            seen = Seen(models.answers[index], [models.answers[row] for row in rows], models.included[rows])
            for name, attack in _attacks_with(count).items():
                scores = attack(seen)
                yield ScoreRow(
                    setting=setting.name,
                    target=index,
                    shadows=count,
                    attack=name,
                    auc=auc(scores, inside).value,
                    tpr=tpr_at_fpr(scores, inside, FPR).value,
                )


def _attacks_with(shadows: int) -> Mapping[str, Attack]:
    if shadows == 0:
        return GLOBAL
    return FEW if shadows < FEWEST_FOR_VARIANCES else SHADOWED
