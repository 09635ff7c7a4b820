"""The report as PDF: the HTML page, set on paper by WeasyPrint, with the aggregates of `report.json` attached."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime
from hashlib import sha256
from io import StringIO
from typing import Any

from auditor.errors import InputError, PrivauditError
from auditor.findings import AuditReport
from auditor.gate.ruling import Gate
from auditor.report.jsonfile import aggregates, render_json
from auditor.report.webpage import render_paper

__all__ = ["pdf_problem", "render_pdf"]


def pdf_problem() -> str | None:
    """Why no PDF can be made here, as one sentence with the remedy; None when it can."""
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # its banner says less than we do
            import weasyprint  # noqa: F401
    except ImportError:
        return "PDF needs WeasyPrint, which is not installed: run `pip install weasyprint`."
    except OSError:
        return (
            "PDF needs the Pango library, which is not installed: on Debian or Ubuntu run "
            "`apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core`, "
            "on macOS `brew install pango`."
        )
    return None


def render_pdf(report: AuditReport, gate: Gate | None = None) -> bytes:
    """The report as PDF/A-3a: tagged, with an outline, and with the JSON attached, less all single records and groups.

    Raises:
        InputError: WeasyPrint or Pango is missing.
        PrivauditError: the page asks for something that is not inside it.
    """
    problem = pdf_problem()
    if problem is not None:
        raise InputError(problem)
    from weasyprint import HTML
    from weasyprint.urls import FatalURLFetchingError

    content = render_json(aggregates(report))
    page = render_paper(report, gate)
    named_by = content if gate is None else content + page
    try:
        rendered: bytes = HTML(string=page, url_fetcher=_fetcher()).write_pdf(
            pdf_variant="pdf/a-3a",
            pdf_identifier=sha256(named_by.encode()).digest()[:16],
            attachments=[_attachment(content, report.created)],
        )
    except FatalURLFetchingError as error:
        raise PrivauditError(f"The report cannot be set as PDF: {error}.") from error
    return rendered


def _attachment(content: str, created: datetime) -> Any:  # noqa: ANN401 - WeasyPrint has no annotations, is imported late
    from weasyprint import Attachment

    return Attachment(
        string=content,
        name="report.json",
        description="The findings, machine-readable, aggregates only",
        relationship="Data",
        created=created,
        modified=created,
    )


def _fetcher() -> Any:  # noqa: ANN401 - the same
    """A fetcher that serves what is inside the page and stops everything else, loudly."""
    from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

    class DataOnly(URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:
            try:
                return super().fetch(url, headers)
            except Exception as error:
                raise FatalURLFetchingError(f"it may not load {url[:80]!r}") from error

    return DataOnly(allowed_protocols=("data",), allow_redirects=False)
