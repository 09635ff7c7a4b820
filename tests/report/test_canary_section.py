"""What a report says of epsilon: the bounds from canaries, the claim, and what is only implied."""

import html
import re

import pytest

from auditor.report import render_html, render_markdown
from auditor.report.canaries import bounds, claim, implied, told
from tests.report.example import leaky, well_behaved

TITLE = "Differential privacy: what can be said of epsilon"


def text_of(page):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ").split())


def changed(report, **changes):
    return report.model_copy(update={"canaries": report.canaries.model_copy(update=changes)})


def test_every_bound_is_told_with_its_ceiling_and_only_the_declared_one_is_marked():
    table = bounds(leaky())
    assert [row.cells[:3] for row in table.rows] == [
        ("scores, nothing", "2.31", "5.36"),
        ("scores, a Gaussian trade-off curve", "3.14", "10.03"),
        ("weights, nothing *", "2.56", "5.36"),
        ("weights, a Gaussian trade-off curve", "3.32", "10.03"),
    ]
    assert {row.cells[3] for row in table.rows} == {"95\u00a0%"}
    assert "1,000 canaries (497 included, 500 mislabelled)" in table.caption
    assert "delta 1e-05" in table.caption
    assert "its own confidence" in table.caption


def test_the_claim_stands_on_the_first_page():
    front = text_of(render_html(leaky())).partition("Contents")[0]
    assert "epsilon 1 at delta 1e-05 for each record: contradicted by 1,000 canaries" in front
    kept = changed(leaky(), contradicted=False)
    assert "not contradicted (no evidence that it holds)" in claim(kept)
    assert claim(changed(leaky(), claim=None)) == ""
    assert claim(well_behaved()) == ""


@pytest.mark.parametrize("render", [render_html, lambda report: render_markdown(report).replace("\\", "")])
def test_the_sentence_is_in_every_form(render):
    page = text_of(render(leaky()))
    assert "The training is not (2.56, 1e-05)-differentially private" in page
    assert "differentially" not in text_of(render(well_behaved()))


def test_given_shadows_are_taken_at_their_word():
    report = leaky()
    given = report.model_copy(update={"plan": report.plan.model_copy(update={"shadow_source": "given"})})
    assert "never to have seen a canary" in told(given)
    assert "never to have seen a canary" not in told(report)


def test_what_is_implied_is_called_descriptive_and_approximate():
    table = implied(leaky())
    assert [row.cells for row in table.rows] == [
        (
            "weights: LiRA on logits",
            "1\u00a0%",
            "2.94",
            "2.41 to 3.60 (95\u00a0%)",
            "5,000\u00a0members, 5,000\u00a0non-members",
        )
    ]
    page = text_of(render_html(leaky()))
    assert "Implied epsilon (descriptive)" in page
    assert "Approximate: the split is random" in page


def test_without_canaries_there_is_no_section_and_what_is_implied_stands_in_the_appendix():
    assert render_html(leaky()).count(f">{TITLE}<") == 2
    assert TITLE not in render_html(well_behaved())
    only_implied = render_html(leaky().model_copy(update={"canaries": None}))
    assert TITLE not in only_implied
    assert "coin flips added" not in text_of(only_implied)
    assert only_implied.index('id="implied"') > only_implied.index('id="appendix"')


def test_the_environment_says_whether_the_instrument_was_tested():
    assert "Self-test never run on this machine" in text_of(render_html(leaky()))
