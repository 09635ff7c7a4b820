"""Every format that is made for machines or for other people's pages, by name."""

from auditor.report import (
    render_annotations,
    render_bom,
    render_gitlab,
    render_junit,
    render_markdown,
    render_sarif,
    render_summary,
    update_card,
)

JSON = {"sarif": render_sarif, "bom": render_bom, "gitlab": render_gitlab}
MARKDOWN = {"markdown": render_markdown, "summary": render_summary, "card": lambda report: update_card("", report)}
AGGREGATES = {
    **JSON,
    "junit": render_junit,
    "annotations": render_annotations,
    "summary": render_summary,
    "card": MARKDOWN["card"],
}
EVERY = {**AGGREGATES, "markdown": render_markdown}
