"""`report.json`, the product itself: written in one fixed form, read back with every doubt named."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from auditor.errors import InputError
from auditor.findings import SCHEMA_VERSION, AuditReport
from auditor.report.agreement import contradiction
from auditor.report.text import clean, short

__all__ = ["aggregates", "inert_json", "load_json", "render_json"]

Number = TypeVar("Number", int, float)

_LARGEST = 64 * 2**20
_NAME = "Name a report.json that `privaudit scan` wrote."
_LARGEST_NUMBER = 1e100  # far from where arithmetic on what is printed overflows
_AGAIN = "Make the report again with `privaudit scan`."


def render_json(report: AuditReport) -> str:
    """The report as JSON: keys sorted, floats in full, the same text for the same findings.

    Characters that no reader sees, or that turn the direction of what follows, are escaped: people review this text.

    Raises:
        ValueError: a number in the report is not finite.
    """
    content = report.model_dump(mode="json")
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return "".join(map(_seen, text)) + "\n" if _odd(text) else text + "\n"


def _odd(text: str) -> bool:
    return not text.replace("\n", "").isprintable()


def _seen(character: str) -> str:
    hidden = character != "\n" and unicodedata.category(character) in {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}
    return json.dumps(character)[1:-1] if hidden else character


def inert_json(content: object) -> str:
    """JSON in ASCII in which no tag can stand: for formats that others put into their pages.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, indent=2, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text + "\n"


def aggregates(report: AuditReport) -> AuditReport:
    """The report without anything about single records or groups: no pictures, and no ids, opaque as they are."""
    inversion = tuple(result.model_copy(update={"gallery": ()}) for result in report.inversion)
    exposure = report.record_exposure.model_copy(update={"records": ()})
    return report.model_copy(update={"inversion": inversion, "record_exposure": exposure, "group_exposure": ()})


def load_json(path: Path) -> AuditReport:
    """Read a report that `render_json` wrote.

    Raises:
        InputError: the file is missing, is not JSON, is of another schema version, does not fit the schema, or
            contradicts itself.
    """
    content = _parse(path, _read(path))
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, str) and version is not None:
        told = f"{path}: the schema version must be text, {json.dumps(SCHEMA_VERSION)}, and is {short(str(version))}."
        raise InputError(told, _AGAIN)
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: the schema version is {short(str(version))!r}, and this privaudit reads {SCHEMA_VERSION!r}.",
            _AGAIN,
        )
    try:
        report = AuditReport.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(short(str(part)) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ").replace("Input should be ", "it must be ")
        raise InputError(f"{path}: field `{field}` does not fit the report schema: {why}.", _AGAIN) from error
    if told := contradiction(report):
        raise InputError(f"{path}: the report contradicts itself: {clean(told).rstrip('.')}.", _AGAIN)
    return report


def _read(path: Path) -> str:
    try:
        if not path.is_file() and path.exists():
            raise InputError(f"{path}: the report cannot be read, this is no regular file.", _NAME)
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: larger than {_LARGEST >> 20} MiB, which no report is.", _AGAIN)
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such report.", _NAME) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the report cannot be read ({error.__class__.__name__}).", _AGAIN) from error


def _parse(path: Path, text: str) -> object:
    """The JSON value; NaN and infinities, which Python's parser lets through, and absurd numbers are refused."""
    try:
        content: object = json.loads(text, parse_float=_float, parse_int=_int)
        json.dumps(content, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: this is not valid JSON with finite numbers.", _AGAIN) from error
    return content


def _float(told: str) -> float:
    return _sane(float(told))


def _int(told: str) -> int:
    return _sane(int(told))


def _sane(number: Number) -> Number:
    if abs(number) > _LARGEST_NUMBER:
        raise ValueError("too large a number")
    return number
