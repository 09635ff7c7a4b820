"""Renderers: from `AuditReport` alone to JSON, HTML, PDF and Markdown, without a model, a GPU or the network."""

from auditor.report.jsonfile import load_json, render_json
from auditor.report.markdown import render_markdown
from auditor.report.outputs import check_outputs, write_outputs
from auditor.report.pdf import pdf_problem, render_pdf
from auditor.report.webpage import render_html

__all__ = [
    "check_outputs",
    "load_json",
    "pdf_problem",
    "render_html",
    "render_json",
    "render_markdown",
    "render_pdf",
    "write_outputs",
]
