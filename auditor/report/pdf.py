"""The report as PDF: the HTML page, set on paper by WeasyPrint, with `report.json` attached."""

from __future__ import annotations

from datetime import UTC
from hashlib import sha256
from typing import Any

from auditor.errors import InputError
from auditor.findings import AuditReport
from auditor.report.jsonfile import render_json
from auditor.report.webpage import render_html

__all__ = ["pdf_problem", "render_pdf"]


def pdf_problem() -> str | None:
    """Why no PDF can be made here, as one sentence with the remedy; None when it can."""
    try:
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


def render_pdf(report: AuditReport) -> bytes:
    """The report as PDF, tagged for screen readers, with an outline and the JSON attached.

    Raises:
        InputError: WeasyPrint or Pango is missing.
    """
    problem = pdf_problem()
    if problem is not None:
        raise InputError(problem)
    from weasyprint import HTML, Attachment

    content = render_json(report)
    created = report.created if report.created.tzinfo else report.created.replace(tzinfo=UTC)
    attached = Attachment(
        string=content,
        name="report.json",
        description="The findings, machine-readable",
        relationship="Data",
        created=created,
        modified=created,
    )
    document = HTML(string=render_html(report), url_fetcher=_fetcher())
    rendered: bytes = document.write_pdf(
        pdf_variant="pdf/ua-1",
        pdf_identifier=sha256(content.encode()).digest()[:16],
        attachments=[attached],
    )
    return rendered


def _fetcher() -> Any:  # noqa: ANN401 - WeasyPrint has no annotations and is imported late
    """A fetcher that serves what is inside the page and stops everything else, loudly."""
    from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

    class DataOnly(URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:
            try:
                return super().fetch(url, headers)
            except Exception as error:
                raise FatalURLFetchingError(f"the report may not load {url[:80]!r}") from error

    return DataOnly(allowed_protocols=("data",), allow_redirects=False)
