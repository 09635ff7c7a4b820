"""`Target`: a classifier under audit, loaded, in eval mode and never changed; from a checkpoint and back to one."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar, cast

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from auditor.checkpoint.architecture import Architecture, choose, filled, refuse_misfit, sized
from auditor.checkpoint.config import CONFIG_NAME, Json, read_config
from auditor.checkpoint.head import with_own_head
from auditor.checkpoint.inspection import Inspection, inspect_checkpoint
from auditor.checkpoint.new_head import NewHead, words_of
from auditor.checkpoint.preprocessing import Inputs, blank_input, prepare, settle_preprocessing
from auditor.checkpoint.sidecar import (
    TrainedWith,
    read_trained_with,
    read_wrapper,
    wrapper_digest,
    write_trained_with,
    write_wrapper,
)
from auditor.checkpoint.weights import locate, read_state, refuse_non_finite, serialise, sha256_of
from auditor.errors import InputError
from auditor.findings import ModelFacts, Preprocessing
from auditor.records import printable
from auditor.threat import Access
from auditor.wrappers import OutputWrapper

__all__ = [
    "Architecture",
    "Inputs",
    "Inspection",
    "OutputWrapper",
    "Target",
    "check_new_folder",
    "inspect_checkpoint",
    "load_target",
    "save_target",
]

Module = TypeVar("Module", bound=nn.Module)

_IN_MEMORY = "in memory"
_WEIGHTS_NAME = "model.safetensors"
_OTHER_START = "Start from weights of the same architecture and input size (training.init): only the head may differ."


@dataclass(frozen=True, eq=False)
class Target:
    """A classifier under audit, or one of the same make; by convention nobody changes its modules.

    Attributes:
        module: Prepared inputs to logits [record, class], in eval mode.
        architecture: How to build the module again, untrained.
        facts: What the report says of it.
        device: Where the module is.
        wrapper: What stands between its probabilities and the outside, if anything.
        trained_with: The training-time defense that made its weights, if one did.
    """

    module: nn.Module
    architecture: Architecture
    facts: ModelFacts
    device: torch.device
    wrapper: OutputWrapper | None = None
    trained_with: TrainedWith | None = None

    @property
    def stochastic(self) -> bool:
        """Whether the same query may be answered differently twice."""
        head = self.architecture.head
        drawn = head is not None and head.kind == "bottleneck" and head.noisy
        return drawn or (self.wrapper is not None and self.wrapper.stochastic)

    @property
    def fingerprint(self) -> str:
        """Names everything that decides what a query answers: weights, network, preprocessing and wrapper."""
        preprocessing = self.facts.preprocessing.model_dump_json(exclude={"source"})
        parts = [self.facts.sha256, self.architecture.fingerprint, preprocessing, self.facts.wrapper or ""]
        hasher = hashlib.sha256("\n".join(parts).encode())
        if self.wrapper is not None:
            hasher.update(repr(sorted(self.wrapper.settings().items())).encode())
            hasher.update(serialise(self.wrapper.state_dict()))
        return hasher.hexdigest()[:16]

    @property
    def made_here(self) -> bool:
        """Whether we trained its weights, so that it is not the audited checkpoint."""
        return self.facts.file_format == _IN_MEMORY

    @property
    def shows(self) -> Access:
        """The most that queries of this target show, behind its wrapper if it has one."""
        return Access.WEIGHTS if self.wrapper is None else self.wrapper.shows

    def exposes(self, access: Access) -> bool:
        """Whether queries of this target, behind its wrapper, show as much as `access`."""
        return self.shows.includes(access)

    def prepare(self, inputs: Inputs) -> Tensor:
        """Stored records to model inputs, see `auditor.checkpoint.preprocessing.prepare`.

        Args:
            inputs: Images uint8 [record, height, width, channel], the same as floats in [0, 1], or float features
                [record, feature].

        Returns:
            float32 [record, channel, height, width] or [record, feature], on the target's device.

        Raises:
            InputError: the records cannot be made to fit the model.
        """
        return prepare(inputs, self.facts.preprocessing, self.device)

    def logits(self, inputs: Inputs) -> Tensor:
        """float32 logits [record, class] of stored records, in one batch; differentiable where the inputs are."""
        outputs: Tensor = self.module(self.prepare(inputs))
        return outputs.float()

    def released(self, logits: Tensor) -> Tensor:
        """float32 [record, class] as an API would return it: softmax, then the wrapper."""
        probabilities = torch.softmax(logits.to(self.device).float(), dim=1)
        if self.wrapper is None:
            return probabilities
        released: Tensor = self.wrapper(probabilities)
        return released.float()

    def with_wrapper(self, wrapper: OutputWrapper | None) -> Target:
        """The same model behind a copy of another wrapper, or behind none."""
        placed = None if wrapper is None else _at_rest(copy.deepcopy(wrapper), self.device)
        kind = None if wrapper is None else wrapper.kind
        facts = self.facts.model_copy(update={"wrapper": kind, "wrapper_sha256": None})
        return replace(self, wrapper=placed, facts=facts)

    def with_head(self, head: NewHead | None) -> Target:
        """An untrained model of the same make with another head, for training; None: with its own.

        Raises:
            InputError: the head of this network is not one linear layer.
        """
        architecture = replace(self.architecture, head=head)
        facts = self.facts.model_copy(update={"head": words_of(head)})
        return replace(self, architecture=architecture, facts=facts).with_weights(architecture.build().state_dict())

    def with_weights(self, state_dict: Mapping[str, Tensor]) -> Target:
        """A fresh model of the same architecture and preprocessing, with these weights and no wrapper.

        Its facts give the hash and size of the file that `save_target` would write.

        Raises:
            InputError: the weights do not fit.
        """
        return self._remade(state_dict, "The state dict")

    def with_weights_from(self, path: Path | str) -> Target:
        """Start from a weights file of the same architecture, e.g. the public one that was fine-tuned.

        The layer that gives the classes keeps fresh initial weights, from torch's generator, where the file has
        another: for another number of classes, under another name, or none.

        Raises:
            InputError: the file is unreadable, unsafe, or more than the head does not fit; the message names it.
        """
        files = locate(Path(path))
        stored = read_state(files).tensors
        refuse_non_finite(stored, files.weights)
        fresh = self.architecture.build()
        tensors = with_own_head(fresh, stored, self.facts.num_classes)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        refuse_misfit(fresh, shapes, str(files.weights), self.architecture.label, _OTHER_START)
        return self._remade(tensors, str(files.weights))

    def has_weights_of(self, other: Target) -> bool:
        """Whether every tensor equals the other's, the head's included."""
        ours, theirs = self.module.state_dict(), other.module.state_dict()
        return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)

    def _remade(self, state_dict: Mapping[str, Tensor], origin: str) -> Target:
        module = filled(self.architecture, state_dict, origin)
        content = serialise(module.state_dict())
        facts = self.facts.model_copy(
            update={
                "file_format": _IN_MEMORY,
                "sha256": hashlib.sha256(content).hexdigest(),
                "file_bytes": len(content),
                "weights": "plain",
                "trusted": False,
                "wrapper": None,
                "wrapper_sha256": None,
            }
        )
        return replace(self, module=_at_rest(module, self.device), facts=facts, wrapper=None)


def load_target(
    path: Path | str,
    *,
    arch: str | None = None,
    preprocessing: Preprocessing | None = None,
    num_classes: int | None = None,
    device: str | torch.device = "cpu",
    trust: bool = False,
) -> Target:
    """Load a checkpoint to be audited.

    Args:
        path: A folder in timm's layout, or a weights file (a `config.json` and a wrapper beside it are used).
        arch: A timm name, or `path/to/module.py:factory`; needed where nothing else names the architecture.
        preprocessing: As the owner states it; without it, `config.json` must give it.
        num_classes: How many classes the data have, if known.
        device: Where to put the model, e.g. "cpu" or "cuda:1".
        trust: Unpickle a file that holds more than tensors, which runs the code in it.

    Returns:
        The target, in eval mode, with the wrapper that was saved with it.

    Raises:
        InputError: the checkpoint cannot be used as it is; the message names the file and the remedy.
    """
    place = _usable(device)
    files = locate(Path(path))
    config = read_config(files.folder)
    sha256 = sha256_of(files.weights)
    trained_with = read_trained_with(files.folder, sha256)
    state = read_state(files, trust=trust)
    choice = choose(arch, config, state.architecture_hint, files.weights)
    settled = settle_preprocessing(preprocessing, config, files.weights)
    architecture = sized(choice, state.shapes, num_classes=num_classes, input_size=settled.input_size)
    architecture = replace(architecture, head=None if trained_with is None else trained_with.head)
    module = filled(architecture, state.tensors, str(files.weights))
    refuse_non_finite(state.tensors, files.weights)
    module.to(place)
    classes = _class_count(module, architecture, blank_input(settled, place), files.weights)
    facts = ModelFacts(
        name=files.name,
        file_format=files.file_format,
        sha256=sha256,
        file_bytes=files.weights.stat().st_size,
        architecture=architecture.label,
        architecture_evidence=f"{choice.evidence}; all {len(state.tensors)} tensors of the file fit",
        model_args=cast("dict[str, JsonValue]", dict(choice.model_args)),
        head=words_of(architecture.head),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        num_classes=classes,
        weights=state.weights,
        trusted=state.unpickled,
        preprocessing=settled,
        trained_with=None if trained_with is None else trained_with.defense,
    )
    target = Target(module, replace(architecture, num_classes=classes), facts, place, None, trained_with)
    wrapper = read_wrapper(files.folder, sha256)
    return target if wrapper is None else _behind(wrapper, target, files.folder)


def save_target(target: Target, folder: Path | str, texts: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write a target as a folder that `load_target` and, without its wrapper, timm can read.

    All or nothing: the files are written beside `folder` and put in its place by one renaming. An architecture from a
    Python file is recorded by name only, so that loading the folder needs `arch` again.

    Args:
        target: The model.
        folder: Must not exist yet, or be empty.
        texts: Further files, by name.

    Raises:
        InputError: the folder holds something already, or cannot be written.
    """
    folder = Path(folder).absolute()
    check_new_folder(folder)
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        partial.mkdir(parents=True)
        _write_files(target, partial)
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.", "Choose another folder.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_new_folder(folder: Path) -> None:
    """Refuse a folder that `save_target` could not write, before anything is computed.

    Raises:
        InputError: it holds something already, or cannot be made there.
    """
    folder = folder.absolute()
    try:
        taken = folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir())))
        parent = next(one for one in folder.parents if one.exists())
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{folder.name}."):
            pass
    except OSError as error:
        raise InputError(
            f"{printable(folder)} cannot be written: {error.strerror}.", "Choose another folder."
        ) from error
    if taken:
        raise InputError(f"{printable(folder)} exists already.", "Choose a new folder, or take the old one away.")


def _write_files(target: Target, folder: Path) -> None:
    content = serialise(target.module.state_dict())
    (folder / _WEIGHTS_NAME).write_bytes(content)
    config = json.dumps(_config_of(target), indent=2) + "\n"
    (folder / CONFIG_NAME).write_text(config, encoding="utf-8")
    sha256 = hashlib.sha256(content).hexdigest()
    if target.wrapper is not None:
        write_wrapper(target.wrapper, folder, sha256)
    if target.trained_with is not None:
        write_trained_with(target.trained_with, folder, sha256)


def _config_of(target: Target) -> Mapping[str, Json]:
    """A config in timm's schema; timm wants one mean per channel."""
    preprocessing, channels = target.facts.preprocessing, target.facts.preprocessing.input_size[0]
    return {
        "architecture": target.architecture.label,
        "num_classes": target.facts.num_classes,
        "model_args": dict(target.architecture.model_args),
        "pretrained_cfg": {
            "num_classes": target.facts.num_classes,
            "input_size": preprocessing.input_size,
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
            "crop_mode": "center",
            "mean": preprocessing.mean * (channels // len(preprocessing.mean)),
            "std": preprocessing.std * (channels // len(preprocessing.std)),
        },
    }


def _usable(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"Device {str(device)!r} cannot be used here.", "Try --device cpu or auto.") from error
    return place


def _at_rest(module: Module, device: torch.device) -> Module:
    return module.to(device).eval().requires_grad_(requires_grad=False)


def _class_count(module: nn.Module, architecture: Architecture, blank: Tensor, weights: Path) -> int:
    """The length of the output for one blank record, held against what was said before (0: nothing was)."""
    size = "x".join(map(str, blank.shape[1:]))
    try:
        with torch.no_grad():
            output = module(blank)
    except Exception as error:
        raise InputError(
            f"{weights}: {architecture.label} does not take inputs of size {size}: {error}.",
            "Correct input_size in splits.toml [preprocessing] or config.json.",
        ) from error
    if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[1] < 2 or not output.isfinite().all():
        raise InputError(
            f"{weights}: {architecture.label} does not give finite logits [record, class] of at least two classes.",
            "Only classifiers can be audited; a factory can wrap the network so that it returns logits.",
        )
    classes = int(output.shape[1])
    if architecture.num_classes not in (0, classes):
        raise InputError(
            f"{weights}: {architecture.label} has {classes} classes, but {architecture.num_classes} are stated.",
            "Correct num_classes in config.json, or use the data of this model.",
        )
    return classes


def _behind(wrapper: OutputWrapper, target: Target, folder: Path) -> Target:
    wrapped = target.with_wrapper(wrapper)
    classes = target.facts.num_classes
    try:
        released = wrapped.released(torch.zeros(1, classes))
    except RuntimeError:
        released = torch.empty(0)
    if released.shape != (1, classes):
        raise InputError(
            f"The wrapper saved in {folder} is not made for {classes} classes.",
            "Save the defended model again, or take the sidecar away to audit the bare weights.",
        )
    if not released.isfinite().all():
        raise InputError(
            f"The wrapper saved in {folder} gives NaN or infinite numbers.",
            "Save the defended model again, or take the sidecar away to audit the bare weights.",
        )
    facts = wrapped.facts.model_copy(update={"wrapper_sha256": wrapper_digest(folder)})
    return replace(wrapped, facts=facts)
