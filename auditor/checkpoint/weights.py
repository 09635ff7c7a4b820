"""Weights files: where they lie, and their tensors, without running what a pickle might hold."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from auditor.errors import InputError
from auditor.records import printable

__all__ = [
    "WRAPPER_TENSORS",
    "CheckpointFiles",
    "Header",
    "State",
    "Weights",
    "first_few",
    "is_weights_name",
    "locate",
    "non_finite",
    "non_finite_in",
    "read_header",
    "read_state",
    "read_tensors",
    "refuse_non_finite",
    "serialise",
    "sha256_of",
    "state_of",
    "unsafe_globals",
]

Weights = Literal["plain", "ema"]
Result = TypeVar("Result")

WRAPPER_TENSORS = "wrapper.safetensors"
_PREFERRED = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")  # timm's order
_SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".pt", ".bin", ".ckpt", ".th")
_STATE_KEYS: tuple[tuple[str, Weights], ...] = (
    ("state_dict_ema", "ema"),
    ("model_ema", "ema"),
    ("state_dict", "plain"),
    ("model", "plain"),
)
_PREFIXES = ("module.", "_orig_mod.")
_HINT_KEYS = ("privaudit.architecture", "architecture")
_EXPECTED = "Pass a weights file or a folder that holds one."
_DOWNLOAD = "Download it first (hf download NAME --local-dir FOLDER), then pass the folder."
_DAMAGED = "It is cut short or something else: compare its size and hash with the original's, and copy it again."
_RESAVE = "Save it again as safetensors: safetensors.torch.save_file(model.state_dict(), 'model.safetensors')."


@dataclass(frozen=True)
class CheckpointFiles:
    """Where a checkpoint lies.

    Attributes:
        name: The folder's name, or the file's without its suffix.
        weights: The weights file.
        file_format: "safetensors" or "pytorch", by suffix.
    """

    name: str
    weights: Path
    file_format: Literal["safetensors", "pytorch"]

    @property
    def folder(self) -> Path:
        """Where `config.json` and a wrapper sidecar are looked for."""
        return self.weights.parent


@dataclass(frozen=True)
class State:
    """The tensors of a weights file under their names in the model.

    Attributes:
        tensors: On the CPU, as stored; nothing about their values has been checked.
        weights: Which set was taken where a training checkpoint holds two.
        unpickled: Whether code in the file may have run; only ever with the user's trust.
        architecture_hint: What the file's own metadata calls the architecture, if anything.
    """

    tensors: Mapping[str, Tensor]
    weights: Weights = "plain"
    unpickled: bool = False
    architecture_hint: str | None = None

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape by tensor name."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself; `dtypes` holds one name per tensor, in the order of the names."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: tuple[str, ...]
    architecture_hint: str | None


def is_weights_name(name: str) -> bool:
    """Whether a file of this name is taken for weights."""
    return name.lower().endswith(_SUFFIXES)


def locate(path: Path) -> CheckpointFiles:
    """Find the weights file of a checkpoint given as a file or as a folder in timm's layout.

    Raises:
        InputError: nothing there, nothing usable there, or more than one file to choose from.
    """
    path = path.absolute()
    if path.is_dir():
        return _as_files(_weights_in(path), name=path.resolve().name)
    if path.is_file():
        return _as_files(path, name=_stem(path))
    if path.exists():
        raise InputError(f"{printable(path)} is neither a file nor a folder.", _EXPECTED)
    raise InputError(
        f"There is no checkpoint at {printable(path)}.", _DOWNLOAD if "hf-hub:" in str(path) else _EXPECTED
    )


def _as_files(weights: Path, *, name: str) -> CheckpointFiles:
    suffix = next((suffix for suffix in _SUFFIXES if weights.name.lower().endswith(suffix)), None)
    if suffix is not None:
        return CheckpointFiles(name, weights, "safetensors" if suffix == ".safetensors" else "pytorch")
    if weights.name.lower().endswith(".pt2"):
        raise InputError(f"{weights} is a torch.export archive, and loading one can run code in it.", _RESAVE)
    if weights.name.lower().endswith(".onnx"):
        raise InputError(f"{weights} is an ONNX model, which is not supported yet.", _RESAVE)
    raise InputError(f"{weights} is no weights file by its name.", f"Known are {', '.join(_SUFFIXES)}.")


def _stem(path: Path) -> str:
    suffix = next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), path.suffix)
    return path.name[: len(path.name) - len(suffix)] or path.name


def _weights_in(folder: Path) -> Path:
    for name in _PREFERRED:
        if (folder / name).is_file():
            return folder / name
    for suffix in _SUFFIXES:
        found = sorted(file for file in folder.glob(f"*{suffix}") if file.is_file() and file.name != WRAPPER_TENSORS)
        if len(found) > 1:
            raise InputError(
                f"{folder} holds several weights files: {first_few([file.name for file in found])}.",
                "Pass the one to audit instead of the folder.",
            )
        if found:
            return found[0]
    raise InputError(f"{folder} holds no weights file.", f"Put a {_PREFERRED[0]} there, or pass the file itself.")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be read: {error.strerror}.") from error


def read_state(files: CheckpointFiles, *, trust: bool = False) -> State:
    """Read the tensors of a weights file.

    A pickle is read by torch's restricted loader. One that holds more than tensors is refused; with `trust` it is
    unpickled, which runs whatever it says.

    Raises:
        InputError: the file is damaged, unsafe, not supported, or holds no state dict.
    """
    path = files.weights
    if files.file_format == "safetensors":
        return read_tensors(path)
    _refuse_programs(path)
    content, unpickled = _unpickle(path, trust=trust)
    found, weights = _find_state(content)
    return State(_clean(found, path), weights, unpickled)


def read_tensors(path: Path) -> State:
    """Read a safetensors file.

    Raises:
        InputError: the file is damaged.
    """
    hint = read_header(path).architecture_hint
    return State(_clean(_reading(path, lambda: load_file(path)), path), architecture_hint=hint)


def read_header(path: Path) -> Header:
    """Read what a safetensors file says of itself, without its tensors.

    Raises:
        InputError: the header is damaged, or the file is not as long as it says.
    """

    def read() -> Header:
        with safe_open(path, framework="pt") as file:
            views = {name: file.get_slice(name) for name in sorted(file.keys())}
            metadata = file.metadata() or {}
            return Header(
                shapes={_strip(name): tuple(view.get_shape()) for name, view in views.items()},
                dtypes=tuple(str(view.get_dtype()) for view in views.values()),
                architecture_hint=next((metadata[key] for key in _HINT_KEYS if key in metadata), None),
            )

    return _reading(path, read)


def non_finite_in(path: Path) -> tuple[str, ...]:
    """Names of the tensors of a safetensors file that hold NaN or infinite numbers; one tensor is read at a time.

    Raises:
        InputError: the file is damaged.
    """

    def read() -> tuple[str, ...]:
        with safe_open(path, framework="pt") as file:
            return tuple(_strip(name) for name in sorted(file.keys()) if not _is_finite(file.get_tensor(name)))

    return _reading(path, read)


def non_finite(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the tensors that hold NaN or infinite numbers."""
    return tuple(name for name, tensor in tensors.items() if not _is_finite(tensor))


def refuse_non_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise an `InputError` if any number is NaN or infinite; formats do not check it."""
    broken = non_finite(tensors)
    if broken:
        raise InputError(
            f"{printable(path)} has NaN or infinite numbers in {first_few(broken)}.",
            "Its training diverged: use an earlier checkpoint.",
        )


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor if tensor.is_complex() else tensor.float()).all())


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module by name; tied ones are the same object."""
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}


def serialise(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a safetensors file; equal tensors give equal bytes, tied ones are stored once per name."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    return save(plain, metadata={"format": "pt"})  # with a second entry the order, and so the hash, would vary


def unsafe_globals(path: Path) -> tuple[str, ...]:
    """What a PyTorch checkpoint would import beyond tensors, as far as can be seen without loading it."""
    try:
        return tuple(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # noqa: BLE001 - the file is hostile, and the list is only an aid
        return ()


def first_few(names: Iterable[str], limit: int = 3) -> str:
    """A list for a sentence: the first names, then how many more."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _reading(path: Path, read: Callable[[], Result]) -> Result:
    try:
        return read()
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        raise InputError(f"{printable(path)} is not a readable safetensors file.", _DAMAGED) from error


def _refuse_programs(path: Path) -> None:
    """TorchScript and torch.export archives carry code of their own, whatever their suffix says."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name.partition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"{printable(path)} is a damaged archive.", _DAMAGED) from error
    if "constants.pkl" in entries:
        raise InputError(f"{printable(path)} is a TorchScript program, which is not supported yet.", _RESAVE)
    if "archive_format" in entries:
        raise InputError(f"{printable(path)} is a torch.export archive, and loading one can run code in it.", _RESAVE)


def _unpickle(path: Path, *, trust: bool) -> tuple[object, bool]:
    """The content, and whether code in the file may have run."""
    try:
        # timm's training script stores its arguments as a Namespace, which is plain data
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # of an unusual pickle protocol; what cannot be read safely is refused in our own words
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True), False
    except pickle.UnpicklingError as error:
        if not trust:
            raise _unsafe(path) from error
    except Exception as error:
        raise InputError(f"{printable(path)} is not a readable PyTorch checkpoint.", _DAMAGED) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=False), True
    except Exception as error:
        raise _not_unpickled(path, error) from error


def _unsafe(path: Path) -> InputError:
    found = unsafe_globals(path)
    which = f" ({first_few(found)})" if found else ""
    return InputError(
        f"{printable(path)} cannot be read as plain tensors{which}, and unpickling it could run code.",
        f"{_RESAVE} Or pass --trust-checkpoint if you trust whoever made it.",
    )


def _not_unpickled(path: Path, error: Exception) -> InputError:
    """Whatever its code raised: most often that a module of the training is not installed here."""
    reason = str(error).partition("\n")[0].rstrip(".")
    return InputError(
        f"{printable(path)} cannot be unpickled: {type(error).__name__}{': ' if reason else ''}{printable(reason)}.",
        f"Install what it needs, or where it was trained: {_RESAVE[0].lower()}{_RESAVE[1:]}",
    )


def _find_state(content: object) -> tuple[object, Weights]:
    """The state dict inside a training checkpoint, with EMA weights first, as timm looks it up."""
    if isinstance(content, Mapping):
        for key, weights in _STATE_KEYS:
            if isinstance(content.get(key), Mapping | nn.Module):
                return content[key], weights
    return content, "plain"


def _clean(found: object, path: Path) -> dict[str, Tensor]:
    """Check that a state dict is one, and strip what DataParallel and torch.compile put before its names."""
    entries = found.state_dict() if isinstance(found, nn.Module) else found
    if not isinstance(entries, Mapping):
        raise InputError(f"{printable(path)} holds no state dict but a {type(found).__name__}.", _RESAVE)
    wrong = [str(name) for name, value in entries.items() if not _is_plain(name, value)]
    if wrong:
        raise InputError(f"{printable(path)} has entries that are not plain tensors: {first_few(wrong)}.", _RESAVE)
    inflated = [name for name, value in entries.items() if value.nbytes > value.untyped_storage().nbytes()]
    if inflated:
        raise InputError(
            f"{printable(path)} has tensors larger than what is stored of them: {first_few(inflated)}.", _RESAVE
        )
    tensors = {_strip(name): tensor.detach() for name, tensor in entries.items()}
    if len(tensors) < len(entries):
        raise InputError(f"{printable(path)} has tensors whose names differ only by {' or '.join(_PREFIXES)}.", _RESAVE)
    return tensors


def _is_plain(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _strip(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name
