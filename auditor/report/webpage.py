"""The report as one HTML file that loads nothing from anywhere; the PDF is made from it, less what only screens show.

Its one script sorts and filters long tables. The page's policy names it by its hash, so that no other can run.
"""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from auditor.findings import AuditReport
from auditor.gate.ruling import Gate
from auditor.report.text import clean

__all__ = ["render_html", "render_paper"]


def render_html(report: AuditReport, gate: Gate | None = None) -> str:
    """The report, with what a policy says of it, as a single, self-contained HTML page."""
    return _rendered(report, gate, paper=False)


def render_paper(report: AuditReport, gate: Gate | None = None) -> str:
    """The same page without the script, and what the style sheet hides in print: a PDF is made of it much sooner."""
    return _rendered(report, gate, paper=True)


def _rendered(report: AuditReport, gate: Gate | None, *, paper: bool) -> str:
    with _hushed("matplotlib"):  # where the home folder cannot be written, it takes a temporary one and complains
        from auditor.report.page import build_page  # brings matplotlib, which the other formats do not need

    return _environment(paper=paper).get_template("report.html").render(page=build_page(report, gate))


@contextmanager
def _hushed(name: str) -> Iterator[None]:
    """No warnings from the logger of a library, errors alone."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@cache
def _environment(*, paper: bool) -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["unbroken"] = _joined if paper else _unbroken
    environment.globals["paper"] = paper
    script = _source("report.js")
    environment.globals["script"] = Markup(script)  # noqa: S704 - our own file
    environment.globals["script_hash"] = f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"
    return environment


def _source(name: str) -> str:
    return files("auditor.templates").joinpath(name).read_text(encoding="utf-8")


def _printable(printed: object) -> object:
    """The last gate: whatever a template prints has passed `clean`, except what is markup already."""
    return _shown(printed) if isinstance(printed, str) and not isinstance(printed, Markup) else printed


def _shown(text: str) -> str:
    return _PERCENT.sub("\u00a0%", clean(text))


def _unbroken(text: str) -> Markup:
    """Text between tags, with options and intervals that no line break may part."""
    held = _WHOLE.sub(r'<span class="whole">\g<0></span>', str(escape(_shown(text))))
    return Markup(held)  # noqa: S704 - escaped one line above


def _joined(text: str) -> Markup:
    """The same by a mark that nobody sees, between letters: an element each costs paper too much time."""
    held = _WHOLE.sub(lambda whole: _DASH.sub("\\g<0>\u2060", whole[0]), str(escape(_shown(text))))
    return Markup(held)  # noqa: S704 - escaped one line above


_PERCENT = re.compile(r"(?<=\d) %")
_WHOLE = re.compile(r"--[a-z][a-z-]*[a-z]|\d[\d.,]*–[\d.,]*\d")
_DASH = re.compile("[-–]")
