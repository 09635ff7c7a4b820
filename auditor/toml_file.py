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
_LONGEST = 40
_REASONS = {
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "it must be a table"),
    **dict.fromkeys(("int_type", "int_from_float"), "it must be a whole number, without quotes"),
    **dict.fromkeys(("string_type", "path_type"), "it must be a text in quotes"),
    **dict.fromkeys(("missing", "too_short"), "it holds too few values"),
    "too_long": "it holds too many values",
    "float_type": "it must be a number, without quotes",
    "bool_type": "it must be true or false, without quotes",
    "string_too_short": "it must not be empty",
}


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
    listed = problem["type"] == "missing" and isinstance(problem["loc"][-1], int)  # an entry of a list, not a key
    place = [str(part) for part in (problem["loc"][:-1] if listed else problem["loc"])]
    key = under + ".".join(map(_quoted, place)) if place else under.removesuffix(".")
    if problem["type"] == "extra_forbidden":
        table = ".".join(part for part in problem["loc"][:-1] if isinstance(part, str))  # of an array, any entry
        fields = tables[table].model_fields
        known = ", ".join(_quoted(field.alias or name) for name, field in fields.items())
        return InputError(f"{printable(path)} has the unknown key `{printable(key)}`.", f"Known there: {known}.")
    if problem["type"] == "missing" and not listed:
        return InputError(f"{printable(path)} lacks the key `{printable(key)}`.", "Add it, or remove its table.")
    return InputError(f"{printable(path)} has a bad value for `{printable(key)}`: {_reason(problem)}.", "Correct it.")


def _reason(problem: ErrorDetails) -> str:
    """What is wrong with a value, in our own words where the library's are those of a programmer."""
    kind, given = problem["type"], problem["input"]
    if kind == "tuple_type":
        named = isinstance(given, str) and len(given) <= _LONGEST
        return f'it must be a list: write ["{printable(given)}"]' if named else "it must be a list"
    said = problem["msg"].removeprefix("Value error, ").replace("Input should be ", "it must be ")
    return _REASONS.get(kind, said)


def _quoted(key: str) -> str:
    """A key as it has to be written in TOML."""
    return key if _BARE_KEY.fullmatch(key) else f'"{key}"'
