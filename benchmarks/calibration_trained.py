"""Audits of `calibration.py` from training to verdict: networks on scikit-learn's digits, target included."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from calibration_rows import AUDIT_SEED, Rows, TrainedRow
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from auditor.audit import AuditOptions, audit
from auditor.compute import generator
from auditor.findings import AuditReport, CheckLevel, Completed, Family, ModelFacts, Preprocessing, Role
from auditor.splits import Recipe
from auditor.target import Architecture, Target
from auditor.training import train

__all__ = ["trained_audits"]

_NETWORK = f"{Path(__file__).resolve().parent / 'calibration_nets.py'}:tiny"
_ATTACKS = ("gap", "lira-scores", "lira-weights")
_SIDE, _POPULATION = 200, 300
_PREPROCESSING = Preprocessing(mean=(0.3,), std=(0.35,), input_size=(1, 8, 8), source="benchmark")
_RECIPE = Recipe(epochs=12, optimizer="adamw", lr=0.01, batch_size=32, schedule="cosine")
_SETTINGS = """
random_split = true
[preprocessing]
mean = [0.3]
std = [0.35]
input_size = [1, 8, 8]
[training]
epochs = 12
optimizer = "adamw"
lr = 0.01
batch_size = 32
schedule = "cosine"
"""

Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def trained_audits(first: int, count: int, *, knew: bool) -> Rows:
    """Train a target and audit it, with fresh records each time.

    Args:
        first: Index of the first audit.
        count: How many.
        knew: Train the target on the stated members; otherwise on as many records that the audit never sees.
    """
    return Rows(trained=tuple(_one(index, knew=knew) for index in range(first, first + count)))


def _one(index: int, *, knew: bool) -> TrainedRow:
    rng = generator(AUDIT_SEED, f"trained audit {index}")
    unseen, members, others, population = _parts(rng)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file(_trained(members if knew else unseen, index), folder / "target.safetensors")
        _write_splits(folder / "splits", {"train": members, "test": others, "population": population})
        found = audit(
            AuditOptions(
                checkpoint=folder / "target.safetensors",
                data=folder / "splits",
                arch=_NETWORK,
                budget="quick",
                seed=index,
                device="cpu",
                workers=1,
                run_dir=folder / "run",
                attacks=_ATTACKS,
                defenses=(),
            )
        )
    return _row(found, knew=knew)


def _row(found: AuditReport, *, knew: bool) -> TrainedRow:
    adjusted = [
        endpoint.p_adjusted
        for result in found.membership
        if result.role is Role.PRIMARY and isinstance(result.outcome, Completed)
        for endpoint in result.outcome.endpoints
        if endpoint.p_adjusted is not None
    ]
    return TrainedRow(
        knew=knew,
        states={one.access.value: one.state.value for one in found.verdicts if one.family is Family.MEMBERSHIP},
        smallest_p=min(adjusted),
        recipe_matched=all(check.level is CheckLevel.PASS for check in found.checks if check.id == "recipe"),
        cpu_seconds=sum(timing.cpu_seconds for timing in found.timings),
    )


def _parts(rng: np.random.Generator) -> list[Part]:
    """Disjoint random digits: for a target that never sees the members, members, non-members, population."""
    data = load_digits()
    images = np.round(data.images * (255 / 16)).astype(np.uint8)[..., None]
    order, ends = rng.permutation(len(data.target)), np.cumsum((_SIDE, _SIDE, _SIDE, _POPULATION))
    chosen = np.split(order[: ends[-1]], ends[:-1])
    return [(images[rows], data.target[rows].astype(np.int64)) for rows in chosen]


def _trained(part: Part, index: int) -> dict[str, torch.Tensor]:
    architecture = Architecture("factory", _NETWORK, 10, 1, ())
    facts = ModelFacts(
        name="digits",
        file_format="in memory",
        sha256="0" * 64,
        file_bytes=0,
        architecture=architecture.label,
        architecture_evidence="benchmark",
        parameters=0,
        num_classes=10,
        weights="plain",
        preprocessing=_PREPROCESSING,
    )
    template = Target(architecture.build().eval(), architecture, facts, torch.device("cpu"))
    model = train(template, *part, _RECIPE, seed=int(generator(AUDIT_SEED, f"target {index}").integers(2**31)))
    return {name: tensor.contiguous() for name, tensor in model.module.state_dict().items()}


def _write_splits(folder: Path, parts: Mapping[str, Part]) -> None:
    folder.mkdir()
    (folder / "splits.toml").write_text(_SETTINGS, encoding="utf-8")
    (folder / "classes.txt").write_text("\n".join(map(str, range(10))), encoding="utf-8")
    for name, (images, labels) in parts.items():
        np.savez(folder / f"{name}.npz", images=images, labels=labels)
