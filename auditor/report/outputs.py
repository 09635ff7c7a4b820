"""Reports on disk: which format a file name asks for, and files that are whole or not there at all."""

from __future__ import annotations

import gc
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from auditor.errors import InputError, PrivauditError
from auditor.findings import AuditReport
from auditor.gate.ruling import Gate
from auditor.report.bom import render_bom
from auditor.report.gitlab import render_gitlab
from auditor.report.jsonfile import render_json
from auditor.report.junit import render_junit
from auditor.report.markdown import render_markdown
from auditor.report.pdf import pdf_problem, render_pdf
from auditor.report.sarif import render_sarif
from auditor.report.webpage import render_html

__all__ = ["check_outputs", "write_outputs", "write_text"]

_Render = Callable[[AuditReport, Gate | None], str | bytes]


def _alone(render: Callable[[AuditReport], str]) -> _Render:
    """A format that tells of the report alone, whatever a policy says of it."""
    return lambda report, _: render(report)


# A suffix of two parts stands before the one that it ends in: the first that fits is taken.
_FORMATS: dict[str, _Render] = {
    ".html": render_html,
    ".pdf": render_pdf,
    ".md": render_markdown,
    ".sarif": render_sarif,
    ".xml": render_junit,
    ".cdx.json": _alone(render_bom),
    ".codequality.json": render_gitlab,
    ".json": _alone(render_json),
}


def check_outputs(paths: Iterable[Path]) -> None:
    """Refuse output files that could not be written at the end of an audit, before it begins.

    Raises:
        InputError: unknown suffix, PDF without Pango, a folder in the place of the file, a file in the place of its
            folder, or a folder where no file can be made.
    """
    wanted = tuple(paths)
    for path in wanted:
        if above := next((one for one in wanted if one.absolute() in path.absolute().parents), None):
            raise InputError(f"{path}: {above} is to be a file, not a folder.", "Name another folder for the report.")
    for path in wanted:
        if _suffix(path) == ".pdf" and (problem := pdf_problem()) is not None:
            raise InputError(f"{path}: {problem}")
        with _os_errors_told(path):
            _check_place(path)


def write_outputs(report: AuditReport, paths: Iterable[Path], gate: Gate | None = None) -> None:
    """Write the report, with what a policy says of it, to each path in the format of its suffix.

    Missing folders are made. JSON and the inventory hold the report alone: policies change, what was found does not.
    Files get their names only when all of them are complete, and PDF after the others. A format that fails on a good
    report withholds no other one: from the JSON it can be made again.

    Raises:
        InputError: a path fails `check_outputs`, or cannot be written.
        PrivauditError: a format cannot be made; every other file is written.
    """
    wanted = tuple(dict.fromkeys(paths))
    check_outputs(wanted)
    printed = [path for path in wanted if _suffix(path) == ".pdf"]
    written: list[Path] = []
    failed: dict[Path, Exception] = {}
    for batch in ([path for path in wanted if path not in printed], printed):
        ready: dict[Path, str | bytes] = {}
        for path in batch:
            try:
                with _uncollected():
                    ready[path] = _FORMATS[_suffix(path)](report, gate)
            except Exception as error:  # noqa: BLE001 - the other formats are written, and then it is told
                failed[path] = error
        _write(ready, written)
        written += ready
    for path, cause in failed.items():
        raise _not_written(path, cause, written) from cause


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: the parts of a page live until it is written; to look at them all took a PDF an eighth."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def write_text(path: Path, text: str) -> None:
    """Write a file that may exist already, all or nothing; it keeps its permissions, and a link stays a link.

    Raises:
        InputError: it cannot be written.
    """
    with _os_errors_told(path):
        _check_place(path)
        target = path.resolve()
    _write({target: text})


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix in _FORMATS:
        if name.endswith(suffix):
            return suffix
    raise InputError(f"{path}: the format of a report is told by its suffix, and this one is unknown.", _existing())


def _existing() -> str:
    return f"There are {', '.join(_FORMATS)}."


def _not_written(path: Path, error: Exception, written: Sequence[Path]) -> PrivauditError:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    names = ", ".join(map(str, written))
    hint = f"Written are {names}." if names else "Choose another format."
    return PrivauditError(f"{path} is not written: making it failed ({what}).", hint)


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: this is a folder.", "Name a file to write the report to.")
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir():
        raise InputError(f"{path}: {existing} is a file, not a folder.", "Name another folder for the report.")
    trial = _draft(existing / path.name)
    trial.touch(exist_ok=False)
    trial.unlink()


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def _write(contents: Mapping[Path, str | bytes], before: Sequence[Path] = ()) -> None:
    """Write all files under temporary names, then rename them all; `before` names those that are written already."""
    drafts = {path: _draft(path) for path in contents}
    written = [*before]
    try:
        for path, content in contents.items():
            with _os_errors_told(path, written):
                path.parent.mkdir(parents=True, exist_ok=True)
                drafts[path].write_bytes(content.encode() if isinstance(content, str) else content)
                if path.exists():
                    shutil.copymode(path, drafts[path])
        for path, draft in drafts.items():
            with _os_errors_told(path, written):
                draft.replace(path)
            written.append(path)
    finally:
        for draft in drafts.values():
            with suppress(OSError):
                draft.unlink()


@contextmanager
def _os_errors_told(path: Path, written: Sequence[Path] = ()) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        already = f" Already written: {', '.join(map(str, written))}." if written else ""
        raise InputError(
            f"{path}: cannot be written ({error.strerror}).{already}", "Name another place with -o."
        ) from error
