"""What a checkpoint is, as far as can be told without running anything in it and without data."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch

from auditor.checkpoint.architecture import choose, misfit, sized
from auditor.checkpoint.config import Config, read_config
from auditor.checkpoint.new_head import NewHead
from auditor.checkpoint.preprocessing import settle_preprocessing
from auditor.checkpoint.sidecar import (
    SIDECAR_NAME,
    TRAINING_SIDECAR_NAME,
    TrainedWith,
    read_trained_with,
    read_wrapper,
)
from auditor.checkpoint.weights import (
    CheckpointFiles,
    Weights,
    first_few,
    locate,
    non_finite,
    non_finite_in,
    read_header,
    read_state,
    sha256_of,
    unsafe_globals,
)
from auditor.errors import InputError
from auditor.findings import Preprocessing

__all__ = ["Inspection", "inspect_checkpoint"]

_ANY_SIZE = (3, 224, 224)


@dataclass(frozen=True)
class Inspection:
    """What a checkpoint is.

    Attributes:
        name: The folder's name, or the file's without its suffix.
        file: Name of the weights file.
        file_format: "safetensors" or "pytorch".
        file_bytes: Its size.
        sha256: Its hash.
        safe: Whether it can be loaded without running code from it.
        safety: The same as a sentence.
        tensors: How many it holds; 0 where it cannot be read safely.
        parameters: Numbers in all its tensors, buffers included.
        dtypes: How many tensors there are of each type.
        non_finite: Which tensors hold NaN or infinite numbers; no audit takes them.
        weights: Which set would be audited where it holds two.
        architecture: The name that was decided on, if the tensors fit it.
        architecture_evidence: How it was decided, or why not.
        preprocessing: As `config.json` gives it, if it does.
        preprocessing_evidence: Where it was found, or why not.
        wrapper: Kind of the output wrapper saved with it, if any.
        trained_with: The training-time defense that made the weights, as its sidecar says, if one did.
    """

    name: str
    file: str
    file_format: str
    file_bytes: int
    sha256: str
    safe: bool
    safety: str
    tensors: int
    parameters: int
    dtypes: tuple[tuple[str, int], ...]
    non_finite: tuple[str, ...]
    weights: Weights
    architecture: str | None
    architecture_evidence: str
    preprocessing: Preprocessing | None
    preprocessing_evidence: str
    wrapper: str | None
    trained_with: str | None

    def describe(self) -> str:
        """One line per fact, for a terminal."""
        types = ", ".join(f"{count} {dtype}" for dtype, count in self.dtypes)
        rows = {
            "file": f"{self.file}, {self.file_format}, {self.file_bytes:,} bytes",
            "sha256": self.sha256,
            "safety": self.safety,
            "tensors": f"{self.tensors} ({types}), {self.parameters:,} numbers" if self.tensors else "not read",
            "numbers": self._numbers(),
            "weights": self.weights,
            "architecture": f"{self.architecture or 'not decided'}: {self.architecture_evidence}",
            "preprocessing": f"{_in_words(self.preprocessing)}: {self.preprocessing_evidence}",
            "wrapper": self.wrapper or "none",
            "trained with": self.trained_with or "no defense that left word",
        }
        return "\n".join(f"{name:<14} {value}" for name, value in rows.items())

    def _numbers(self) -> str:
        if self.non_finite:
            return (
                f"NaN or infinite in {first_few(self.non_finite)}: a scan refuses them; use a checkpoint from before "
                "its training diverged"
            )
        return "all finite" if self.tensors else "not read"


@dataclass(frozen=True)
class _Content:
    """What could be read of the tensors; `problem` says why nothing could."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: tuple[str, ...] = ()
    weights: Weights = "plain"
    hint: str | None = None
    problem: str = ""
    non_finite: tuple[str, ...] = ()


def inspect_checkpoint(path: Path | str, *, arch: str | None = None) -> Inspection:
    """Describe a checkpoint; a safetensors file is read one tensor at a time, and nothing is ever unpickled.

    Args:
        path: As for `load_target`.
        arch: As for `load_target`; a Python file named here is run.

    Raises:
        InputError: there is no readable checkpoint.
    """
    files = locate(Path(path))
    sha256 = sha256_of(files.weights)
    config = read_config(files.folder)
    content = _content(files)
    preprocessing, preprocessing_evidence = _preprocessing(config, files)
    mark, made_by = _trained_with(files, sha256)
    head = None if mark is None else mark.head
    architecture, architecture_evidence = _architecture(arch, config, content, preprocessing, files, head)
    return Inspection(
        name=files.name,
        file=files.weights.name,
        file_format=files.file_format,
        file_bytes=files.weights.stat().st_size,
        sha256=sha256,
        safe=not content.problem,
        safety=content.problem or "can be loaded without running code from it",
        tensors=len(content.shapes),
        parameters=sum(map(prod, content.shapes.values())),
        dtypes=tuple(sorted(Counter(content.dtypes).items())),
        non_finite=content.non_finite,
        weights=content.weights,
        architecture=architecture,
        architecture_evidence=architecture_evidence,
        preprocessing=preprocessing,
        preprocessing_evidence=preprocessing_evidence,
        wrapper=_wrapper(files, sha256),
        trained_with=made_by,
    )


def _content(files: CheckpointFiles) -> _Content:
    if files.file_format == "safetensors":
        header = read_header(files.weights)
        broken = non_finite_in(files.weights)
        return _Content(header.shapes, header.dtypes, hint=header.architecture_hint, non_finite=broken)
    try:
        state = read_state(files)
    except InputError as error:
        if not isinstance(error.__cause__, pickle.UnpicklingError):
            raise
        found = unsafe_globals(files.weights)
        imports = f"; it imports {first_few(found, 5)}" if found else ""
        return _Content({}, problem=f"cannot be read as plain tensors, and unpickling it could run code{imports}")
    dtypes = tuple(str(tensor.dtype).removeprefix("torch.") for tensor in state.tensors.values())
    return _Content(state.shapes, dtypes, state.weights, non_finite=non_finite(state.tensors))


def _preprocessing(config: Config | None, files: CheckpointFiles) -> tuple[Preprocessing | None, str]:
    try:
        settled = settle_preprocessing(None, config, files.weights)
    except InputError as error:
        return None, str(error)
    return settled, settled.source


def _architecture(
    arch: str | None,
    config: Config | None,
    content: _Content,
    preprocessing: Preprocessing | None,
    files: CheckpointFiles,
    head: NewHead | None,
) -> tuple[str | None, str]:
    try:
        choice = choose(arch, config, content.hint, files.weights)
        if content.problem:
            return None, f"{choice.evidence}, but the tensors cannot be read safely to see whether they fit"
        size = preprocessing.input_size if preprocessing else _ANY_SIZE
        architecture = replace(sized(choice, content.shapes, num_classes=None, input_size=size), head=head)
        with torch.device("meta" if architecture.source == "timm" else "cpu"), torch.random.fork_rng(devices=[]):
            problem = misfit(architecture.build(), content.shapes)
    except InputError as error:
        return None, str(error)
    if problem:
        return None, f"{architecture.label} was {choice.evidence}, but does not fit: {problem}"
    return architecture.label, f"{choice.evidence}; all {len(content.shapes)} tensors of the file fit"


def _wrapper(files: CheckpointFiles, sha256: str) -> str | None:
    try:
        wrapper = read_wrapper(files.folder, sha256)
    except InputError as error:
        return f"{SIDECAR_NAME} cannot be used: {error}"
    return None if wrapper is None else wrapper.kind


def _trained_with(files: CheckpointFiles, sha256: str) -> tuple[TrainedWith | None, str | None]:
    """What the sidecar says, and the same in a word, or why it cannot be used."""
    try:
        found = read_trained_with(files.folder, sha256)
    except InputError as error:
        return None, f"{TRAINING_SIDECAR_NAME} cannot be used: {error}"
    return found, None if found is None else found.defense


def _in_words(preprocessing: Preprocessing | None) -> str:
    if preprocessing is None:
        return "not found"
    size = "x".join(map(str, preprocessing.input_size))
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    return f"{size}, mean {mean}, std {std}, {preprocessing.interpolation}, crop {preprocessing.crop_pct:g}"
