"""The sections on kinds of output and on exposed groups, and queries told in a phrase."""

import html
import re

import pytest

from auditor.findings import Failed, Skipped
from auditor.report import render_html, render_markdown
from auditor.report.granularity import exposed_groups, output_figure, output_table
from tests.report.example import leaky, well_behaved

TITLE = "What each kind of output gives away"


def with_outcome(report, outcome, names=None):
    matrix = tuple(
        leak.model_copy(update={"outcome": outcome}) if names is None or leak.granularity in names else leak
        for leak in report.output_matrix
    )
    return report.model_copy(update={"output_matrix": matrix})


def text_of(page):
    return html.unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ")


def test_every_output_is_in_figure_table_and_words():
    report = leaky()
    figure, table = output_figure(report), output_table(report)
    assert figure.table == table
    assert [row.cells[0][0] for row in table.rows][:3] == [
        "Logits (weights)",
        "Probabilities (scores)",
        "Top 3 (scores)",
    ]
    for leak in report.output_matrix:
        auc = next(end.estimate for end in leak.outcome.endpoints if end.fpr is None)
        told = f"{leak.granularity} {auc.value:.2f} ({auc.low:.2f}–{auc.high:.2f})"
        assert told in figure.alt
        assert told in render_markdown(report).replace("\\", "")
    assert {len(row.cells) for row in table.rows} == {len(table.head)}


@pytest.mark.parametrize(
    ("outcome", "told"), [(Skipped(reason="the cat sat on it"), "not run: the cat"), (Failed(error="E"), "failed: E")]
)
def test_what_was_not_measured_is_told_with_its_reason(outcome, told):
    some = with_outcome(leaky(), outcome, {"Top 3", "Label"})
    assert [row.cells[1].startswith(told) for row in output_table(some).rows] == [
        False,
        False,
        True,
        *[False] * 3,
        True,
    ]
    assert "Top 3" not in output_figure(some).alt
    none = with_outcome(leaky(), outcome)
    assert output_figure(none) is None
    assert told in text_of(render_html(none))
    assert TITLE not in render_markdown(none)


def test_without_a_low_fpr_the_figure_has_one_panel():
    report = leaky()
    matrix = tuple(
        leak.model_copy(update={"outcome": leak.outcome.model_copy(update={"endpoints": leak.outcome.endpoints[:1]})})
        for leak in report.output_matrix
    )
    figure = output_figure(report.model_copy(update={"output_matrix": matrix}))
    assert {row.cells[2] for row in figure.table.rows} == {"too coarse"}


def test_without_a_matrix_there_is_no_section():
    report = leaky().model_copy(update={"output_matrix": ()})
    for page in (render_html(report), render_markdown(report)):
        assert TITLE not in page
    assert render_html(leaky()).count(f">{TITLE}<") == 2  # contents and heading


def test_groups_are_listed_only_where_there_are_some():
    table = exposed_groups(leaky())
    assert [row.cells for row in table.rows][1] == ("c07d5511ee8a4b93", "42\u00a0%", "15–72\u00a0%", "12")
    assert table.caption in text_of(render_html(leaky()))
    assert not exposed_groups(well_behaved()).rows
    assert "Exposed records by group" not in text_of(render_html(well_behaved()))


def test_eighteen_queries_are_a_phrase():
    page = text_of(render_html(leaky()))
    assert "18 queries: mirror images and shifts by 4 pixels" in page
    assert "shift -4" not in page
