"""Reports on disk: which format a file name asks for, and files that are whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from auditor.errors import InputError
from auditor.findings import AuditReport
from auditor.report.jsonfile import render_json
from auditor.report.markdown import render_markdown
from auditor.report.pdf import pdf_problem, render_pdf
from auditor.report.webpage import render_html

__all__ = ["check_outputs", "write_outputs"]

_FORMATS: dict[str, Callable[[AuditReport], str | bytes]] = {
    ".html": render_html,
    ".json": render_json,
    ".md": render_markdown,
    ".pdf": render_pdf,
}
_LATER = {".cdx.json": "CycloneDX", ".sarif": "SARIF", ".xml": "JUnit"}


def check_outputs(paths: Iterable[Path]) -> None:
    """Refuse output files that could not be written at the end of an audit, before it begins.

    Raises:
        InputError: unknown or not yet supported suffix, PDF without Pango, a folder in the place of the file, or a
            file in the place of its folder.
    """
    for path in paths:
        if _suffix(path) == ".pdf" and (problem := pdf_problem()) is not None:
            raise InputError(f"{path}: {problem}")
        if path.is_dir():
            raise InputError(f"{path}: this is a folder.", "Name a file to write the report to.")
        existing = next(parent for parent in path.absolute().parents if parent.exists())
        if not existing.is_dir():
            raise InputError(f"{path}: {existing} is a file, not a folder.", "Name another folder for the report.")


def write_outputs(report: AuditReport, paths: Iterable[Path]) -> None:
    """Write the report to each path in the format of its suffix; missing folders are made.

    Everything is rendered before anything is written, and a file gets its name only when it is complete.

    Raises:
        InputError: a path fails `check_outputs`, or cannot be written.
    """
    wanted = tuple(paths)
    check_outputs(wanted)
    for path, content in [(path, _FORMATS[_suffix(path)](report)) for path in wanted]:
        _write(path, content.encode() if isinstance(content, str) else content)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix, title in _LATER.items():
        if name.endswith(suffix):
            raise InputError(f"{path}: {title} ({suffix}) is not supported yet.", _existing())
    for suffix in _FORMATS:
        if name.endswith(suffix):
            return suffix
    raise InputError(f"{path}: the format of a report is told by its suffix, and this one is unknown.", _existing())


def _existing() -> str:
    return f"There are {', '.join(_FORMATS)}."


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}).", "Name another place with -o.") from error
    finally:
        draft.unlink(missing_ok=True)
