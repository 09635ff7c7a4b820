"""TOML that a user has written: every complaint names the file, the key and the remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from auditor.errors import InputError
from auditor.records import printable, read_text

__all__ = ["Section", "parse_toml", "settings_in"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NOT_A_TABLE = {"dict_type", "model_type", "model_attributes_type"}


class Section(BaseModel):
    """A table of a file: immutable, closed to unknown keys, and `"30"` is not 30."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_Settings = TypeVar("_Settings", bound=Section)


def parse_toml(path: Path) -> dict[str, object]:
    """Read a file as it is.

    Raises:
        InputError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # of a number of thousands of digits it is a plain ValueError
        raise InputError(f"{printable(path)} is not valid TOML: {printable(error)}.", "Correct that line.") from error


def settings_in(
    content: object, kind: type[_Settings], tables: Mapping[str, type[BaseModel]], path: Path, *, under: str = ""
) -> _Settings:
    """Make settings of what a file holds.

    Args:
        content: What `parse_toml` returned, or a table of it.
        kind: The settings.
        tables: Every table that may stand in it, by its dotted name, to tell which keys are known there.
        path: The file.
        under: The dotted name of the table that `content` is, with a dot at its end; empty for the whole file.

    Raises:
        InputError: a key is unknown or missing, or a value is out of bounds.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise _complaint(error.errors()[0], tables, path, under) from error


def _complaint(problem: ErrorDetails, tables: Mapping[str, type[BaseModel]], path: Path, under: str) -> InputError:
    place = [str(part) for part in problem["loc"]]
    key = under + ".".join(map(_quoted, place)) if place else under.removesuffix(".")
    if problem["type"] == "extra_forbidden":
        table = ".".join(part for part in problem["loc"][:-1] if isinstance(part, str))  # of an array, any entry
        fields = tables[table].model_fields
        known = ", ".join(_quoted(field.alias or name) for name, field in fields.items())
        return InputError(f"{printable(path)} has the unknown key `{printable(key)}`.", f"Known there: {known}.")
    if problem["type"] == "missing":
        return InputError(f"{printable(path)} lacks the key `{printable(key)}`.", "Add it, or remove its table.")
    reason = "it must be a table" if problem["type"] in _NOT_A_TABLE else problem["msg"].removeprefix("Value error, ")
    return InputError(f"{printable(path)} has a bad value for `{printable(key)}`: {reason}.", "Correct it.")


def _quoted(key: str) -> str:
    """A key as it has to be written in TOML."""
    return key if _BARE_KEY.fullmatch(key) else f'"{key}"'
