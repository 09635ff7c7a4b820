"""The self-test: does the installed instrument find a planted leak here, and nothing where there is nothing?

Two whole audits of tiny networks on made-up records: one network trained on its members, a quarter of them mislabelled,
until it knows them by heart; one that never saw them. With CUDA the same network also answers on both devices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from auditor import selftest_network
from auditor.audit import AuditOptions, audit
from auditor.compute import SILENT, Progress, one_thread, resolve_device
from auditor.findings import Family, ModelFacts, Preprocessing, VerdictState
from auditor.signals import class_vectors
from auditor.splits import Recipe, Records
from auditor.target import Architecture, Target
from auditor.threat import Access
from auditor.training import train

__all__ = ["Answer", "SelfTest", "selftest"]

_CLASSES, _MISLABELLED = 4, 0.25
_SIZES = {"train": 400, "test": 400, "population": 300, "strangers": 400}
_RECIPE = Recipe(epochs=25, optimizer="adam", lr=0.01, batch_size=32)
_PREPROCESSING = Preprocessing(
    mean=(0.0,), std=(1.0,), input_size=(selftest_network.FEATURES, 1, 1), source="the self-test"
)
_ATTACKS = ("gap", "loss", "rmia", "lira-scores", "lira-weights")
_TOLERANCE = 1e-3
_TASK = "self-test"
_SPLITS = """\
random_split = true
[preprocessing]
mean = [0.0]
std = [1.0]
input_size = [{features}, 1, 1]
[training]
epochs = {recipe.epochs}
optimizer = "{recipe.optimizer}"
lr = {recipe.lr}
batch_size = {recipe.batch_size}
"""


@dataclass(frozen=True)
class Answer:
    """One question to the instrument: what it should say, what it said."""

    question: str
    passed: bool
    said: str


@dataclass(frozen=True)
class SelfTest:
    """All questions, and on which device they were asked; `cuda_agrees` is None where there was nothing to compare."""

    answers: tuple[Answer, ...]
    device: str
    cuda_agrees: bool | None

    @property
    def passed(self) -> bool:
        """Whether every question was answered as it should be."""
        return all(answer.passed for answer in self.answers)


@one_thread()
def selftest(device: str = "auto", progress: Progress = SILENT) -> SelfTest:
    """Audit the planted and the null model, and compare CPU with CUDA where that is the device.

    Args:
        device: As `--device`.
        progress: Who is told how far it has come.

    Raises:
        InputError: the device does not exist here.
    """
    chosen = resolve_device(device)
    progress.start(_TASK, 2)
    with TemporaryDirectory(prefix="privaudit-selftest-") as name:
        folder = Path(name)
        records = _records()
        data = _write_splits(folder / "splits", records)
        planted = _trained(folder / "planted.safetensors", records["train"], chosen)
        _trained(folder / "null.safetensors", records["strangers"], chosen)
        answers = [_asked(folder, data, name, device, progress) for name in ("planted", "null")]
    progress.finish(_TASK)
    if chosen.type != "cuda":
        return SelfTest(tuple(answers), str(chosen), cuda_agrees=None)
    compared = _compared(planted, records["test"].inputs)
    return SelfTest((*answers, compared), str(chosen), cuda_agrees=compared.passed)


def _records() -> dict[str, Records]:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(selftest_network.FEATURES, _CLASSES))

    def draw(count: int) -> Records:
        features = rng.normal(size=(count, selftest_network.FEATURES)).astype(np.float32)
        labels = (features @ directions).argmax(1)
        wrong = rng.random(count) < _MISLABELLED
        return Records.of(features, np.where(wrong, rng.integers(_CLASSES, size=count), labels))

    return {name: draw(count) for name, count in _SIZES.items()}


def _write_splits(folder: Path, records: dict[str, Records]) -> Path:
    folder.mkdir()
    (folder / "splits.toml").write_text(_SPLITS.format(features=selftest_network.FEATURES, recipe=_RECIPE))
    for role in ("train", "test", "population"):
        np.savez(folder / f"{role}.npz", features=records[role].inputs, labels=records[role].labels)
    return folder


def _architecture() -> Architecture:
    source = f"{selftest_network.__file__}:{selftest_network.network.__name__}"
    return Architecture("factory", source, _CLASSES, selftest_network.FEATURES)


def _trained(path: Path, records: Records, device: torch.device) -> Target:
    architecture = _architecture()
    facts = ModelFacts(
        name=path.stem,
        file_format="in memory",
        sha256="0" * 64,
        file_bytes=0,
        architecture="self-test network",
        architecture_evidence="made here",
        parameters=0,
        num_classes=_CLASSES,
        weights="plain",
        preprocessing=_PREPROCESSING,
    )
    template = Target(architecture.build().eval(), architecture, facts, device)
    trained = train(template, records.inputs, records.labels, _RECIPE, seed=1)
    save_file({name: tensor.cpu().contiguous() for name, tensor in trained.module.state_dict().items()}, path)
    return trained


def _asked(folder: Path, data: Path, name: str, device: str, progress: Progress) -> Answer:
    options = AuditOptions(
        checkpoint=folder / f"{name}.safetensors",
        data=data,
        arch=_architecture().name,
        budget="quick",
        attacks=_ATTACKS,
        defenses=(),
        device=device,
        workers=1,
        run_dir=folder / f"run-{name}",
    )
    verdict = audit(options).verdict(Access.WEIGHTS, Family.MEMBERSHIP)
    progress.advance(_TASK)
    found = verdict.state is VerdictState.LEAK_FOUND
    if name == "planted":
        return Answer("Is a planted leak found?", found, f"{verdict.state}: {verdict.sentence}")
    return Answer("Is no leak found in a model that never saw the members?", not found, str(verdict.state))


def _compared(target: Target, inputs: npt.NDArray[np.generic]) -> Answer:
    """The same network on the CPU and on its own device: how far their logits lie apart."""
    on_cpu = replace(target, module=_architecture().build().eval(), device=torch.device("cpu"))
    on_cpu.module.load_state_dict({name: tensor.cpu() for name, tensor in target.module.state_dict().items()})
    apart = float(np.abs(class_vectors(on_cpu, inputs)[0] - class_vectors(target, inputs)[0]).max())
    return Answer("Do CPU and CUDA give the same signals?", apart <= _TOLERANCE, f"logits differ by up to {apart:.2g}")
