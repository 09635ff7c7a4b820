"""What a worker of the workshop does: train one evaluation network, or run one attack on one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from auditor.compute import RunFolder, rename_into_place
from auditor.errors import crash_report
from auditor.inversion.attack import InversionAttack
from auditor.inversion.evaluators import EvaluatorKind, train_evaluator
from auditor.inversion.given import Given, UnfitError, View, unit_images
from auditor.inversion.kept import arrays_of
from auditor.inversion.prior import PriorSource, load_prior, train_prior
from auditor.inversion.scene import Rows
from auditor.laboratory import Blueprint, is_whole, published
from auditor.signals import same_noise
from auditor.target import Target
from auditor.threat import Access
from auditor.wrappers import OutputWrapper

__all__ = ["TOOK", "AttackJob", "EvaluatorJob", "Parked", "PriorJob", "attack_model", "most_images", "prepare"]

TOOK = "seconds"
_MOST_IMAGES = 20_000
_MOST_VALUES = 2**29  # pixels of public or auxiliary images held at once: 2 GiB as float32


@dataclass(frozen=True)
class Parked:
    """A model as a worker can load it; `opened` is what whoever holds its weights makes of it first."""

    name: str
    weights: Path
    fingerprint: str
    wrapper: OutputWrapper | None = None
    without: frozenset[int] = frozenset()
    opened: Callable[[Target], Target] | None = None

    @classmethod
    def put(
        cls, target: Target, folder: RunFolder, name: str, opened: Callable[[Target], Target] | None = None
    ) -> Parked:
        """Put a model's weights where workers find them, once for all wrappers."""
        path = folder.path(f"models/target-{target.with_wrapper(None).fingerprint}.safetensors")
        if not is_whole(path):
            state = {key: tensor.contiguous().cpu() for key, tensor in target.module.state_dict().items()}
            rename_into_place(path, lambda temporary: save_file(state, temporary))
        return cls(name, path, target.fingerprint, target.wrapper, opened=opened)


@dataclass(frozen=True)
class AttackJob:
    """One attack on one model; what it may use is read from the run folder."""

    attack: InversionAttack
    model: Parked
    blueprint: Blueprint
    folder: Path
    classes: tuple[int, ...]
    rows: Rows
    public: bool
    prior: PriorSource | None
    seed: int
    answer: str

    @property
    def crash(self) -> str:
        """Where it is kept how the attack ended, if it crashed."""
        return f"{self.answer}.crash.txt"

    @property
    def unfit(self) -> str:
        """Where it is kept why the attack cannot use what it is given, if so."""
        return f"{self.answer}.unfit.txt"

    def why_ended(self) -> str:
        """Why it made nothing, or nothing."""
        ended = (self.folder / name for name in (self.unfit, self.crash))
        return next((path.read_text(encoding="utf-8") for path in ended if path.exists()), "")


@dataclass(frozen=True)
class EvaluatorJob:
    """One evaluation network to train."""

    kind: EvaluatorKind
    blueprint: Blueprint
    folder: Path
    rows: Rows
    seed: int
    answer: str


@dataclass(frozen=True)
class PriorJob:
    """The GAN to train."""

    source: PriorSource
    blueprint: Blueprint
    folder: Path

    @property
    def answer(self) -> str:
        """Where it is kept."""
        return self.source.file

    @property
    def crash(self) -> str:
        """Where it is kept how its training ended, if it crashed."""
        return f"{self.answer}.crash.txt"


def most_images(target: Target) -> int:
    """How many public or auxiliary images are used at most: fewer where they are large."""
    return min(_MOST_IMAGES, _MOST_VALUES // int(np.prod(target.facts.preprocessing.input_size)))


def prepare(job: EvaluatorJob | PriorJob) -> None:
    """Train an evaluation network or a prior, and keep it; without a prior only the attacks that search it fail."""
    if isinstance(job, EvaluatorJob):
        _train_judge(job)
        return
    folder, template = RunFolder(job.folder), job.blueprint.template()
    try:
        images = unit_images(template, published(folder, "public")[0])
        train_prior(job.source, images.to(template.device), folder)
    except Exception as error:  # noqa: BLE001 - told in the report; attacks without a prior go on
        folder.write_text(job.crash, crash_report(error))


def _train_judge(job: EvaluatorJob) -> None:
    folder, template = RunFolder(job.folder), job.blueprint.template()
    parts = [published(folder, name) for name in ("calibration", "reference")]
    audited, labels = published(folder, "audit")
    parts.append((audited[job.rows.all], labels[job.rows.all]))
    images = torch.cat([unit_images(template, inputs[: most_images(template)]) for inputs, _ in parts])
    known = np.concatenate([labels[: most_images(template)] for _, labels in parts])
    state = train_evaluator(job.kind, images, known, template.facts.num_classes, seed=job.seed, device=template.device)
    rename_into_place(folder.path(job.answer), lambda temporary: save_file(dict(state), temporary))


def attack_model(job: AttackJob) -> None:
    """Run one attack on one model, and keep what it made or how it crashed."""
    folder = RunFolder(job.folder)
    try:
        model = _attacked(job)
        given = _given(job, model, folder)
        wall, cpu = perf_counter(), process_time()
        with same_noise(model):
            found = job.attack.run(given)
        took = np.array([perf_counter() - wall, process_time() - cpu])
        folder.write_arrays(job.answer, {**arrays_of(found), TOOK: took})
    except UnfitError as reason:
        folder.write_text(job.unfit, str(reason))
    except Exception as error:  # noqa: BLE001 - told in the report; the other attacks go on
        folder.write_text(job.crash, crash_report(error))


def _attacked(job: AttackJob) -> Target:
    model = job.blueprint.template().with_weights(load_file(job.model.weights)).with_wrapper(job.model.wrapper)
    opened = job.attack.opened or job.model.opened
    return opened(model) if opened is not None and job.attack.card.access is Access.WEIGHTS else model


def _given(job: AttackJob, model: Target, folder: RunFolder) -> Given:
    public = unit_images(model, published(folder, "public")[0]) if job.public else None
    audited = published(folder, "audit")[0]
    own = unit_images(model, published(folder, "calibration")[0][: most_images(model)]) if public is None else public
    given = Given(
        view=View(model),
        classes=job.classes,
        public=public,
        auxiliary=own,
        prior=None,
        asked=unit_images(model, audited[job.rows.all]),
        seed=job.seed,
    )
    wanted = job.prior is not None and job.attack.needs in ("prior", "own generator")
    return replace(given, prior=load_prior(job.prior, folder, model)) if wanted and job.prior else given
