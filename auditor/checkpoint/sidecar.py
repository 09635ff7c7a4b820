"""An output wrapper saved beside the weights that it was fitted for: what kind it is, and its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from auditor.checkpoint.architecture import refuse_misfit
from auditor.checkpoint.config import read_json_object
from auditor.checkpoint.weights import WRAPPER_TENSORS, read_tensors, refuse_non_finite, serialise
from auditor.errors import InputError
from auditor.wrappers import LabelsOnly, OutputWrapper, PurifierNet, Settings

__all__ = ["SIDECAR_NAME", "read_wrapper", "write_wrapper"]

SIDECAR_NAME = "privaudit-wrapper.json"
_REMEDY = "Save the defended model again, or take the sidecar away to audit the bare weights."


class _Sidecar(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["1"] = "1"
    kind: str
    settings: dict[str, int | float | tuple[int, ...]]
    weights_sha256: str


class _NoSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _PurifierSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    num_classes: PositiveInt
    hidden: tuple[PositiveInt, ...]


def _labels_only(settings: Settings) -> OutputWrapper:
    _NoSettings.model_validate(settings)
    return LabelsOnly()


def _purifier(settings: Settings) -> OutputWrapper:
    checked = _PurifierSettings.model_validate(settings)
    return PurifierNet(checked.num_classes, checked.hidden)


_BUILDERS: Mapping[str, Callable[[Settings], OutputWrapper]] = MappingProxyType(
    {LabelsOnly.kind: _labels_only, PurifierNet.kind: _purifier}
)


def read_wrapper(folder: Path, weights_sha256: str) -> OutputWrapper | None:
    """The wrapper saved in a folder, in eval mode and on the CPU; None where there is none.

    Raises:
        InputError: it is damaged, of an unknown kind, or was saved with other weights.
    """
    file = folder / SIDECAR_NAME
    if not file.is_file():
        return None
    raw = read_json_object(file)
    try:
        sidecar = _Sidecar.model_validate(raw)
    except ValidationError as error:
        raise _impossible(file, error) from error
    if sidecar.kind not in _BUILDERS:
        raise InputError(
            f"{file} is of kind {sidecar.kind!r}, which this version does not know.",
            f"Known are {', '.join(_BUILDERS)}. {_REMEDY}",
        )
    if sidecar.weights_sha256 != weights_sha256:
        raise InputError(f"{file} belongs to weights of another SHA-256 than those beside it.", _REMEDY)
    return _filled(file, sidecar)


def write_wrapper(wrapper: OutputWrapper, folder: Path, weights_sha256: str) -> None:
    """Save a wrapper beside the weights that it was fitted for."""
    sidecar = _Sidecar(kind=wrapper.kind, settings=dict(wrapper.settings()), weights_sha256=weights_sha256)
    (folder / WRAPPER_TENSORS).write_bytes(serialise(wrapper.state_dict()))
    (folder / SIDECAR_NAME).write_text(sidecar.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _filled(file: Path, sidecar: _Sidecar) -> OutputWrapper:
    tensors_file = file.with_name(WRAPPER_TENSORS)
    tensors = read_tensors(tensors_file)
    build = _BUILDERS[sidecar.kind]
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
    return InputError(f"{file}: {'.'.join(map(str, problem['loc']))} is impossible: {problem['msg']}.", _REMEDY)
