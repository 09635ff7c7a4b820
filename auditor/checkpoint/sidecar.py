"""What a defense leaves beside the weights: an output wrapper with its tensors, or how the weights were trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auditor.checkpoint.architecture import refuse_misfit
from auditor.checkpoint.config import is_there, read_json_object
from auditor.checkpoint.new_head import NewHead
from auditor.checkpoint.weights import WRAPPER_TENSORS, read_tensors, refuse_non_finite, serialise, sha256_of
from auditor.errors import InputError
from auditor.records import printable
from auditor.wrappers import WRAPPERS, OutputWrapper

__all__ = [
    "SIDECAR_NAME",
    "TRAINING_SIDECAR_NAME",
    "TrainedWith",
    "read_trained_with",
    "read_wrapper",
    "wrapper_digest",
    "write_trained_with",
    "write_wrapper",
]

SIDECAR_NAME = "privaudit-wrapper.json"
TRAINING_SIDECAR_NAME = "privaudit-training.json"
_MOST_CHOSEN = 16
_LONGEST_TOLD = 60
_Name = Annotated[str, Field(pattern=r"\A[a-z][a-z0-9_]{0,39}\z")]  # it becomes part of a file's name
_REMEDY = "Save the defended model again, or take the sidecar away to audit the bare weights."


class _Sidecar(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["1"] = "1"
    kind: str
    settings: dict[str, int | float | tuple[int, ...]]
    weights_sha256: str


class TrainedWith(BaseModel):
    """Which training-time defense made the weights, with what it settled on, and the head that it gave the network."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    defense: str
    chosen: dict[_Name, float] = Field(default_factory=dict, max_length=_MOST_CHOSEN)
    head: NewHead | None = None


class _TrainingSidecar(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["1"] = "1"
    trained_with: TrainedWith
    weights_sha256: str


_KINDS: Mapping[str, type[OutputWrapper]] = MappingProxyType({one.kind: one for one in WRAPPERS})


def read_wrapper(folder: Path, weights_sha256: str) -> OutputWrapper | None:
    """The wrapper saved in a folder, in eval mode and on the CPU; None where there is none.

    Raises:
        InputError: it is damaged, of an unknown kind, or was saved with other weights.
    """
    file = folder / SIDECAR_NAME
    if not is_there(file):
        return None
    raw = read_json_object(file)
    try:
        sidecar = _Sidecar.model_validate(raw)
    except ValidationError as error:
        raise _impossible(file, error) from error
    if sidecar.kind not in _KINDS:
        raise InputError(
            f"{file} is of kind {_short(sidecar.kind)!r}, which this version does not know.",
            f"Known are {', '.join(_KINDS)}. {_REMEDY}",
        )
    if sidecar.weights_sha256 != weights_sha256:
        raise InputError(f"{file} belongs to weights of another SHA-256 than those beside it.", _REMEDY)
    return _filled(file, sidecar)


def wrapper_digest(folder: Path) -> str | None:
    """Hexadecimal SHA-256 over both files of a wrapper saved in a folder; None where there is none.

    Raises:
        InputError: one of them cannot be read.
    """
    if not is_there(folder / SIDECAR_NAME):
        return None
    parts = [sha256_of(folder / name) for name in (SIDECAR_NAME, WRAPPER_TENSORS)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def write_wrapper(wrapper: OutputWrapper, folder: Path, weights_sha256: str) -> None:
    """Save a wrapper beside the weights that it was fitted for."""
    sidecar = _Sidecar(kind=wrapper.kind, settings=dict(wrapper.settings()), weights_sha256=weights_sha256)
    (folder / WRAPPER_TENSORS).write_bytes(serialise(wrapper.state_dict()))
    (folder / SIDECAR_NAME).write_text(sidecar.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_trained_with(folder: Path, weights_sha256: str) -> TrainedWith | None:
    """What a training-time defense left beside the weights; None where there is nothing.

    Raises:
        InputError: it is damaged, or was saved with other weights.
    """
    file = folder / TRAINING_SIDECAR_NAME
    if not is_there(file):
        return None
    try:
        sidecar = _TrainingSidecar.model_validate(read_json_object(file))
    except ValidationError as error:
        raise _impossible(file, error) from error
    if sidecar.weights_sha256 != weights_sha256:
        raise InputError(f"{file} belongs to weights of another SHA-256 than those beside it.", _REMEDY)
    return sidecar.trained_with


def write_trained_with(mark: TrainedWith, folder: Path, weights_sha256: str) -> None:
    """Save beside the weights how a defense trained them."""
    sidecar = _TrainingSidecar(trained_with=mark, weights_sha256=weights_sha256)
    (folder / TRAINING_SIDECAR_NAME).write_text(sidecar.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _filled(file: Path, sidecar: _Sidecar) -> OutputWrapper:
    tensors_file = file.with_name(WRAPPER_TENSORS)
    tensors = read_tensors(tensors_file)
    build = _KINDS[sidecar.kind].rebuilt
    try:
        with torch.device("meta"):
            refuse_misfit(build(sidecar.settings), tensors.shapes, str(tensors_file), sidecar.kind, _REMEDY)
        with torch.random.fork_rng(devices=[]):
            wrapper = build(sidecar.settings)
    except ValidationError as error:
        raise _impossible(file, error) from error
    refuse_non_finite(tensors.tensors, tensors_file)
    wrapper.load_state_dict(dict(tensors.tensors))
    return wrapper.eval().requires_grad_(requires_grad=False)


def _impossible(file: Path, error: ValidationError) -> InputError:
    problem = error.errors()[0]
    place = ".".join(_short(str(part)) for part in problem["loc"])
    return InputError(f"{file}: {place} is impossible: {problem['msg']}.", _REMEDY)


def _short(name: str) -> str:
    """A name from the file, for a sentence."""
    return printable(name if len(name) <= _LONGEST_TOLD else f"{name[:_LONGEST_TOLD]}…")
