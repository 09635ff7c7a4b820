"""`config.json` as timm writes it, read through timm's own parser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from auditor.errors import InputError
from auditor.records import printable

__all__ = ["CONFIG_NAME", "Config", "Json", "is_there", "read_config", "read_json_object"]

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

CONFIG_NAME = "config.json"
_ABSURD = 1e100
_LARGEST = 16 * 2**20  # bytes; names of 21,000 classes take under two million
# What `timm.create_model` reads other files or addresses for.
_FORBIDDEN_ARGS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


@dataclass(frozen=True)
class Config:
    """What a `config.json` says.

    Attributes:
        file: Where it lies.
        architecture: A timm name, if it gives one.
        num_classes: If it gives one.
        model_args: Constructor arguments of the architecture, without `num_classes` and `in_chans`.
        input: `pretrained_cfg` as written in the file, with channels corrected by timm's parser; no defaults.
    """

    file: Path
    architecture: str | None
    num_classes: int | None
    model_args: tuple[tuple[str, Json], ...]
    input: Mapping[str, Json]


def read_config(folder: Path) -> Config | None:
    """Read `config.json` in a folder; None where there is none.

    Raises:
        InputError: no regular file, broken JSON, another schema than timm's, or arguments that would read further
            files.
    """
    file = folder / CONFIG_NAME
    if not is_there(file):
        return None
    raw = read_json_object(file)
    given = raw.get("pretrained_cfg", raw)
    architecture = raw.get("architecture")
    if not isinstance(given, Mapping) or not isinstance(architecture, str | None):
        raise _not_timm(file)
    if architecture is None:
        return Config(file, None, _class_count(raw.get("num_classes"), file), (), given)
    parsed, arguments = _parse(file)
    classes = arguments.pop("num_classes", parsed.get("num_classes"))
    arguments.pop("in_chans", None)
    if not _told_plainly(arguments):
        raise InputError(f"{file}: model_args hold an absurd number or unprintable text.", "Correct them.")
    return Config(
        file=file,
        architecture=architecture,
        num_classes=_class_count(classes, file),
        model_args=tuple(sorted(arguments.items())),
        input={key: parsed[key] for key in given if key in parsed},
    )


def is_there(file: Path) -> bool:
    """Whether a file lies there; what is neither a file nor nothing must not pass for nothing.

    Raises:
        InputError: it is a folder, a device, or a link to nothing.
    """
    if file.is_file():
        return True
    if file.is_symlink() or file.exists():
        raise InputError(f"{printable(file)} is no regular file, or a link to none.", "Mend it or take it away.")
    return False


def read_json_object(file: Path) -> Mapping[str, Json]:
    """Read a small JSON file that holds one object.

    Raises:
        InputError: it is too large, cannot be read, or holds something else.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise InputError(f"{file} is larger than {_LARGEST:,} bytes.", "It should hold settings only.")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is not readable JSON: {error}.", "Mend it or take it away.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} must hold a JSON object, not a {type(content).__name__}.", "Mend it or take it away.")
    return content


def _parse(file: Path) -> tuple[dict[str, Json], dict[str, Json]]:
    """`pretrained_cfg` and `model_args` by timm's parser, which knows the older layouts too."""
    from timm.models._hub import load_model_config_from_path

    try:
        parsed, _, arguments = load_model_config_from_path(file.parent)
        parsed, arguments = cast("dict[str, Json]", dict(parsed)), cast("dict[str, Json]", dict(arguments))
    except (LookupError, TypeError, AttributeError, ValueError, OSError) as error:
        raise _not_timm(file) from error
    forbidden = [name for name in _FORBIDDEN_ARGS if name in arguments]
    if forbidden:
        raise InputError(f"{file} sets model_args that read other files: {', '.join(forbidden)}.", "Take them out.")
    return parsed, arguments


def _told_plainly(value: Json) -> bool:
    """Whether a report can hold it, and be read back."""
    if isinstance(value, str):
        return value.isprintable()
    if isinstance(value, Mapping):
        return all(name.isprintable() and _told_plainly(part) for name, part in value.items())
    return all(map(_told_plainly, value)) if isinstance(value, Sequence) else value is None or abs(value) < _ABSURD


def _class_count(value: Json, file: Path) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise InputError(f"{file} gives num_classes = {value!r}.", "It must be a whole number from 2 on.")
    return value


def _not_timm(file: Path) -> InputError:
    return InputError(
        f"{file} does not follow timm's schema.",
        "Needed: architecture, num_classes and pretrained_cfg with mean, std and input_size.",
    )
