"""Renderers: from `AuditReport`, and a gate where one was asked, to every format: no model, no GPU, no network."""

from auditor.report.bom import render_bom
from auditor.report.card import update_card
from auditor.report.github import render_annotations, render_summary
from auditor.report.gitlab import render_gitlab
from auditor.report.jsonfile import load_json, render_json
from auditor.report.junit import render_junit
from auditor.report.markdown import render_markdown
from auditor.report.outputs import check_outputs, write_outputs, write_text
from auditor.report.pdf import pdf_problem, render_pdf
from auditor.report.sarif import render_sarif
from auditor.report.webpage import render_html

__all__ = [
    "check_outputs",
    "load_json",
    "pdf_problem",
    "render_annotations",
    "render_bom",
    "render_gitlab",
    "render_html",
    "render_json",
    "render_junit",
    "render_markdown",
    "render_pdf",
    "render_sarif",
    "render_summary",
    "update_card",
    "write_outputs",
    "write_text",
]
