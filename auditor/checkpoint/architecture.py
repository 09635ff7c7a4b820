"""Which network a checkpoint belongs to: the evidence for a name, and modules that its tensors must fit strictly."""

from __future__ import annotations

import copy
import difflib
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from auditor.checkpoint.config import CONFIG_NAME, Config, Json
from auditor.checkpoint.factories import absolute_factory, load_factory
from auditor.checkpoint.new_head import NewHead, place_head
from auditor.checkpoint.weights import first_few, state_of
from auditor.errors import InputError
from auditor.records import printable

if TYPE_CHECKING:  # timm is imported where it is asked: it takes as long as torch
    from timm.models import PretrainedCfg

__all__ = ["Architecture", "Choice", "choose", "filled", "misfit", "refuse_misfit", "sized"]

Shapes = Mapping[str, tuple[int, ...]]

_OPTION = "--arch"
_RUN_BY_NAME = ".py:"  # what marks `path/to/module.py:factory`
_PROBE_CLASSES = 2
_OTHER_NETWORK = "Name the architecture that it was made with: --arch, or config.json with model_args."
_OTHER_DATA = "Correct num_classes in config.json, or use the data of this model."


@dataclass(frozen=True)
class Architecture:
    """A network without weights, small enough to hand to another process.

    Attributes:
        source: Whether `name` is timm's, or `path/to/module.py:factory` of a file that the user named.
        name: See `source`; paths are absolute.
        num_classes: Length of its output.
        in_chans: Channels of its input; of use to timm only.
        model_args: Further constructor arguments, as JSON values; timm only.
        head: What a defense has put in the place of its own last layer, if one has.
    """

    source: Literal["timm", "factory"]
    name: str
    num_classes: int
    in_chans: int
    model_args: tuple[tuple[str, Json], ...] = ()
    head: NewHead | None = None

    @property
    def label(self) -> str:
        """The name without folders, fit for a report."""
        return Path(self.name).name if self.source == "factory" else self.name

    @property
    def fingerprint(self) -> str:
        """Names the network by what it is, not by where: a factory by the content of its file."""
        hasher = hashlib.sha256(json.dumps([self.label, self.num_classes, self.in_chans, self.model_args]).encode())
        if self.head is not None:
            hasher.update(self.head.model_dump_json().encode())
        if self.source == "factory":
            hasher.update(Path(self.name.partition(_RUN_BY_NAME)[0] + ".py").read_bytes())
        return hasher.hexdigest()[:16]

    def build(self) -> nn.Module:
        """An untrained module; initial weights come from torch's generator, which the caller may fork and seed.

        Raises:
            InputError: timm or the factory cannot build it.
        """
        try:
            module = (
                self._from_timm()
                if self.source == "timm"
                else _call(load_factory(self.name, _OPTION), self.num_classes)
            )
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.label} cannot be built with {self.num_classes} classes: {type(error).__name__}: {error}.",
                "Correct --arch, or num_classes and model_args in config.json.",
            ) from error
        if not isinstance(module, nn.Module):
            raise InputError(f"{self.label} made a {type(module).__name__}.", "It must return a torch.nn.Module.")
        if self.head is not None:
            module = place_head(module, self.head, self.num_classes, self.label)
        return module.float()

    def _from_timm(self) -> object:
        import timm

        arguments: dict[str, Any] = copy.deepcopy(dict(self.model_args))
        return timm.create_model(
            self.name, pretrained=False, num_classes=self.num_classes, in_chans=self.in_chans, **arguments
        )


@dataclass(frozen=True)
class Choice:
    """An architecture by name, before the weights have said anything.

    Attributes:
        weights: The file that is to fit it.
        source: As in `Architecture`.
        name: As in `Architecture`.
        model_args: As in `Architecture`.
        evidence: How it was decided, in words.
        num_classes: What `config.json` says, if it does.
    """

    weights: Path
    source: Literal["timm", "factory"]
    name: str
    evidence: str
    model_args: tuple[tuple[str, Json], ...] = ()
    num_classes: int | None = None


# --- by name -------------------------------------------------------------------------------------------------------


def choose(arch: str | None, config: Config | None, hint: str | None, weights: Path) -> Choice:
    """Decide on a name: `--arch`, else `config.json`, else the metadata of a safetensors file.

    Only `--arch` may name a Python file, since a file is run only because the user named it.

    Raises:
        InputError: nothing names an architecture, or none such is known.
    """
    classes = config.num_classes if config else None
    said = config.architecture if config else None
    if arch is not None and (_RUN_BY_NAME in arch or arch.endswith(".py")):
        return Choice(
            weights,
            "factory",
            absolute_factory(arch, _OPTION),
            f"named by --arch {Path(arch).name}",
            num_classes=classes,
        )
    if arch is not None:
        other = f" ({CONFIG_NAME} says {said})" if said not in (None, arch) else ""
        arguments = config.model_args if config and said == arch else ()
        return Choice(weights, "timm", _known(arch, "--arch"), f"named by --arch{other}", arguments, classes)
    if config is not None and said is not None:
        _refuse_factory(said, str(config.file))
        return Choice(
            weights, "timm", _known(said, str(config.file)), f"named by {CONFIG_NAME}", config.model_args, classes
        )
    if hint is not None:
        _refuse_factory(hint, str(weights))
        evidence = "named by the metadata of the weights file, a hint that cannot tell apart networks of equal tensors"
        return Choice(weights, "timm", _known(hint, str(weights)), evidence, num_classes=classes)
    raise InputError(
        f"Nothing says which architecture {weights} belongs to.",
        f"Pass --arch with a timm name or path/to/module.py:factory, or put timm's {CONFIG_NAME} beside it.",
    )


def _known(name: str, where: str) -> str:
    import timm

    if timm.is_model(name):
        return name
    close = difflib.get_close_matches(name, timm.list_models(), n=3)
    hint = f"Did you mean {', '.join(close)}?" if close else "See timm.list_models(), or pass module.py:factory."
    raise InputError(f"timm knows no architecture {name!r} ({where}).", hint)


def _refuse_factory(name: str, where: str) -> None:
    if _RUN_BY_NAME in name:
        raise InputError(
            f"{where} says that the architecture is made by {name}, a file that is run only if you name it.",
            f"Pass --arch path/to/{Path(name).name}.",
        )


def _call(factory: Callable[..., object], num_classes: int) -> object:
    return factory(num_classes=num_classes) if _takes_classes(factory) else factory()


def _takes_classes(factory: Callable[..., object]) -> bool:
    return "num_classes" in inspect.signature(factory).parameters


# --- by the shapes in the file -------------------------------------------------------------------------------------


def sized(choice: Choice, shapes: Shapes, *, num_classes: int | None, input_size: tuple[int, int, int]) -> Architecture:
    """Complete a choice by what the argument, `config.json` and the shape of the head say of its sizes.

    Args:
        choice: The architecture by name.
        shapes: Of the tensors in the file, by name.
        num_classes: What the user or the data say, if anything.
        input_size: (channels, height, width) of the prepared input.

    Raises:
        InputError: two sources disagree on the number of classes, or none tells it.
    """
    stated = _agreed(num_classes, choice)
    if choice.source == "factory":
        classes = stated or _last_rows(choice.name, shapes)
        return Architecture("factory", choice.name, classes, input_size[0])
    head = _head_rows(choice.name, shapes)
    if head is not None and stated not in (None, head):
        raise InputError(
            f"{choice.weights} has {head} classes in its head, but {stated} are stated.",
            _OTHER_DATA,
        )
    classes = stated or head or 0
    if classes < 2:
        raise InputError(
            f"Nothing tells how many classes {choice.weights} has: none of its tensors fits the head of {choice.name}.",
            "Name the network that it belongs to, or state num_classes in a config.json beside it.",
        )
    arguments = _with_image_size(choice, input_size)
    return Architecture("timm", choice.name, classes, input_size[0], arguments)


def _agreed(argument: int | None, choice: Choice) -> int | None:
    if argument is not None and choice.num_classes not in (None, argument):
        raise InputError(
            f"{choice.weights.with_name(CONFIG_NAME)} says {choice.num_classes} classes, but {argument} are expected.",
            _OTHER_DATA,
        )
    return argument if argument is not None else choice.num_classes


def _head_rows(name: str, shapes: Shapes) -> int | None:
    """Outputs of the layer that timm calls the classifier, where the file has it."""
    registered = _registered(name)
    classifier = registered.classifier if registered else None
    for head in (classifier,) if isinstance(classifier, str) else tuple(classifier or ()):
        if f"{head}.weight" in shapes:
            return shapes[f"{head}.weight"][0]
    return None


def _registered(name: str) -> PretrainedCfg | None:
    import timm

    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise InputError(f"timm knows no architecture {name!r}: {error}", "Leave out what follows the dot.") from error


def _last_rows(name: str, shapes: Shapes) -> int:
    """Rows that the file has for a factory's last parameter; a first guess, held against the output later on."""
    factory = load_factory(name, _OPTION)
    if not _takes_classes(factory):
        return 0
    probe = Architecture("factory", name, _PROBE_CLASSES, in_chans=0).build()
    last = [parameter for parameter, _ in probe.named_parameters()][-1:]
    return next((shapes[parameter][0] for parameter in last if shapes.get(parameter)), 0)


def _with_image_size(choice: Choice, input_size: tuple[int, int, int]) -> tuple[tuple[str, Json], ...]:
    """Networks with position embeddings are built for one image size, which must be the size that the weights saw."""
    arguments = dict(choice.model_args)
    registered = _registered(choice.name)
    fixed = registered is not None and registered.fixed_input_size
    flexible = arguments.get("dynamic_img_size") or arguments.get("strict_img_size") is False
    if not fixed or flexible or "img_size" in arguments:
        return choice.model_args
    return (*choice.model_args, ("img_size", list(input_size[1:])))


# --- tensors into modules ------------------------------------------------------------------------------------------


def filled(architecture: Architecture, tensors: Mapping[str, Tensor], origin: str) -> nn.Module:
    """Build a module and give it the tensors, all of them and nothing else; torch's generator is left as it was.

    Args:
        architecture: What to build.
        tensors: By name.
        origin: What an error calls the tensors, e.g. the path of their file.

    Returns:
        The module in eval mode, on the CPU, without gradients for its parameters.

    Raises:
        InputError: a tensor is missing, unexpected or of another shape or kind.
    """
    if architecture.source == "timm":
        with torch.device("meta"):  # so that an absurd size in a config is met before memory is
            refuse_misfit(architecture.build(), _shapes(tensors), origin, architecture.label)
    elif architecture.head is not None:
        with torch.random.fork_rng(devices=[]):
            own = replace(architecture, head=None).build()
        with torch.device("meta"):  # a factory may not bear it, its new head does
            headed = place_head(own, architecture.head, architecture.num_classes, architecture.label)
        refuse_misfit(headed, _shapes(tensors), origin, architecture.label)
    with torch.random.fork_rng(devices=[]):
        module = architecture.build()
    refuse_misfit(module, _shapes(tensors), origin, architecture.label)
    _refuse_other_kinds(module, tensors, origin)
    _refuse_torn_ties(module, tensors, origin)
    module.load_state_dict(dict(tensors), strict=False)
    return module.eval().requires_grad_(requires_grad=False)


def refuse_misfit(module: nn.Module, shapes: Shapes, origin: str, label: str, remedy: str = _OTHER_NETWORK) -> None:
    """Raise an `InputError` unless the tensors in a file are those of a module."""
    problem = misfit(module, shapes)
    if problem:
        raise InputError(f"{origin} does not fit {label}: {problem}.", remedy)


def misfit(module: nn.Module, shapes: Shapes) -> str:
    """How tensors of these shapes differ from those of a module, in words; empty when they fit."""
    expected = state_of(module)
    wanted = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    present = {id(expected[name]) for name in shapes if name in expected}
    missing = [
        name
        for name, tensor in expected.items()
        # a tied tensor is stored once, and checkpoints from before 2018 do not count batches
        if name not in shapes and id(tensor) not in present and not name.endswith(".num_batches_tracked")
    ]
    unexpected = [name for name in shapes if name not in wanted]
    reshaped = [
        f"{name} is {_times(shapes[name])} instead of {_times(wanted[name])}"
        for name in shapes
        if name in wanted and shapes[name] != wanted[name]
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return "; ".join(f"{len(names)} {what}: {first_few(names)}" for what, names in problems.items() if names)


def _refuse_other_kinds(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    expected = state_of(module)
    wrong = [
        name
        for name, tensor in tensors.items()
        if expected[name].is_floating_point() != tensor.is_floating_point() or tensor.is_complex()
    ]
    if wrong:
        raise InputError(
            f"{origin} stores {first_few(wrong)} as {tensors[wrong[0]].dtype}, not as the network computes.",
            "Quantised and complex weights are not supported: save the float32 weights.",
        )


def _refuse_torn_ties(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Of two values for one tensor of the network, the last name's would win without a word."""
    first: dict[int, str] = {}
    expected = state_of(module)
    for name, tensor in tensors.items():
        other = first.setdefault(id(expected[name]), name)
        kind = expected[name].dtype
        if other != name and not torch.allclose(
            tensor.to(kind), tensors[other].to(kind), rtol=0, atol=0, equal_nan=kind.is_floating_point
        ):
            raise InputError(
                f"{origin} stores different numbers as {printable(other)} and {printable(name)}, "
                "which are one tensor in this network.",
                _OTHER_NETWORK,
            )


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
