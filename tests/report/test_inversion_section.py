"""The section on inversion: two questions, what the attacker had, what did not run, pictures only when asked for."""

import base64
import html
import io
import json
import re

import pypdf
import pytest
from pydantic import ValidationError

from auditor.findings import PICTURE_SIDE, GalleryPicture
from auditor.report import (
    appendix,
    inversion,
    pdf_problem,
    pick,
    render_html,
    render_json,
    render_markdown,
    render_pdf,
    wording,
)
from auditor.report.jsonfile import aggregates
from auditor.report.page import build_page
from auditor.threat import Access
from tests.report.example import leaky, persons
from tests.report.inverted import CLASS_MEAN, PUBLIC, png, with_pictures

PICTURED = re.compile(r"data:image/png|iVBORw0KGgo|What the attacks rebuilt|--show-records")


@pytest.fixture(scope="module")
def section():
    return inversion.section(persons())


@pytest.fixture(scope="module")
def shown():
    report = persons()
    return report.model_copy(update={"inversion": with_pictures(report.inversion)})


def drawn(figure):
    return base64.b64decode(str(figure.uri).partition("base64,")[2]).decode()


def ran(report):
    return [result for result in report.inversion if result.status == "completed"]


def with_results(report, change):
    return report.model_copy(update={"inversion": tuple(map(change, report.inversion))})


def text_of(page):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ").split())


# --- the two questions -----------------------------------------------------------------------------------------------


def test_each_question_has_a_figure_with_every_attack_over_every_control(section):
    record, by_class, _ = section.pictures
    assert len(record.table.rows) == len(ran(persons()))
    assert len(by_class.table.rows) == len([one for one in ran(persons()) if one.class_excess])
    assert [name for name in record.table.head if name.startswith("Over ")] == [
        "Over a model trained on other records of the same classes",
        f"Over {CLASS_MEAN}",
    ]
    assert "mean squared error" in drawn(record)
    assert "probability by the evaluation networks" in drawn(by_class)
    assert not any("–" in row.cells for row in (*record.table.rows, *by_class.table.rows))


@pytest.mark.parametrize("question", ["record", "class"])
def test_what_was_found_is_marked_in_words_with_its_p(section, question):
    picture = section.pictures[0 if question == "record" else 1]
    found = {
        one.result.card.title for one in pick.excesses(persons().inversion) if one.question == question and one.found
    }
    assert found
    assert {str(row.cells[0]).rpartition(" (")[0] for row in picture.table.rows if row.cells[-2] == "yes"} == found
    assert len(re.findall(r"found, p [<\d]", html.unescape(drawn(picture)))) == len(found)
    assert re.search(r"\d.*, found", picture.alt)


def test_without_a_test_nothing_is_called_found():
    report = leaky()
    figures = inversion.section(report).pictures
    assert len(figures) == 2
    assert not any("found, p" in drawn(figure) for figure in figures)
    assert all(row.cells[-3:-1] == ("–", "–") for figure in figures for row in figure.table.rows)


def test_a_control_that_one_attack_lacks_is_a_gap():
    def without_mean(result):
        kept = tuple(one for one in result.record_excess if one.against != CLASS_MEAN)
        return result.model_copy(update={"record_excess": kept}) if result.card.id == "gmi" else result

    table = inversion.section(with_results(persons(), without_mean)).pictures[0].table
    assert [row.cells[0] for row in table.rows if "–" in row.cells] == ["GMI (weights)"]


# --- in words --------------------------------------------------------------------------------------------------------


def test_the_answers_and_what_kind_a_class_is():
    told = " ".join(inversion.told(persons()))
    assert "3 of 12 attacks show more of training records than every control does (Plug & Play, IF-GMI and" in told
    assert "6 of 11 attacks show more of classes" in told
    assert "personal" in told
    assert "prototype" not in told
    things = " ".join(inversion.told(leaky()))
    assert "prototype and shows no individual" in things
    assert "personal" not in things


def test_too_few_classes_are_told():
    assert "10 classes are too few for a verdict" in inversion.told(leaky())[0]


def test_nothing_found_is_told_as_none():
    def not_found(result):
        return result.model_copy(update={"record_found": False, "class_found": False})

    told = inversion.told(with_results(persons(), not_found))
    assert told[0] == "The record question: none of 12 attacks shows more of training records than every control does."


def test_what_the_attacker_had():
    setup = dict(inversion.setup(persons()))
    assert setup["Evaluation networks"][0].startswith(
        "Accuracy of the plain evaluation network on held-out records: 93"
    )
    assert setup["Public images"] == "20,000 to learn from"
    about, quality = setup["Image prior"]
    assert "GAN" in about
    assert quality.startswith("Images of public/ that the prior covers: 64")
    assert setup["Class controls"].startswith("2 models")
    assert "cannot be answered" in dict(inversion.setup(leaky()))["Class controls"]
    assert inversion.setup(leaky().model_copy(update={"inversion_setup": None})) == ()


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_every_measurement_of_every_attack_is_in_one_table(section):
    for result in ran(persons()):
        cells = [
            (name, cell)
            for table in section.tables
            for row in table.rows
            if row.cells[0] == result.card.title
            for name, cell in zip(table.head, row.cells, strict=True)
            if cell != "–"
        ]
        names = [name for name, _ in cells if name not in {"Attack", "Record excess", "Class excess"}]
        assert [name.partition(" (the distance")[0] for name in names] == [one.name for one in reordered(result)]


def reordered(result):
    """Shares come first."""
    return sorted(result.measurements, key=lambda one: not one.name.startswith("Recognised"))


def test_recognition_never_stands_without_the_excess(section):
    tables = [table for table in section.tables if any(name.startswith("Recognised") for name in table.head)]
    assert [table.head[1:3] for table in tables] == [("Record excess", "Class excess")]
    assert all(row.cells[1] != "–" for row in tables[0].rows)
    assert "Recognised" not in wording.carrying_numbers(persons())[1].title


def test_tables_are_no_wider_than_a_page(section):
    assert max(len(table.head) for table in section.tables) <= 7


def test_success_against_queries_is_in_figure_table_and_words(section):
    figure = section.pictures[2]
    points = [point for result in ran(persons()) for point in result.success_by_queries]
    assert len(figure.table.rows) == len(points)
    assert (
        "Mirror (black box) 10\u00a0% of the classes after 100 queries each, 48\u00a0% (95\u00a0% interval"
        in figure.alt
    )
    assert ">10k<" in drawn(figure)
    none = with_results(persons(), lambda result: result.model_copy(update={"success_by_queries": ()}))
    assert len(inversion.section(none).pictures) == 2


# --- what did not run ------------------------------------------------------------------------------------------------


def test_what_did_not_run_is_one_row_for_each_reason(section):
    assert [(row.cells[0], row.cells[2], row.mark) for row in section.not_run.rows] == [
        ("the budget standard does not pay for it", "7", ""),
        ("needs a generator of your own (--generator)", "3", ""),
        ("failed: RuntimeError: the students did not converge", "1", "fail"),
    ]


def test_in_the_appendix_it_is_a_line_with_its_paper_and_no_card():
    cards, unrun = {method.id for method in appendix.methods(persons())}, appendix.unrun(persons())
    missing = [result for result in persons().membership if result.outcome.status != "completed"]
    missing += [result for result in persons().inversion if result.status != "completed"]
    assert [one.id for one in unrun] == [result.card.id for result in missing]
    assert all(one.citation and one.url.startswith("https://") and one.reason for one in unrun)
    assert cards.isdisjoint(one.id for one in unrun)
    assert {result.card.id for result in ran(persons())} <= cards


def test_many_that_did_not_run_are_counted_on_the_first_page():
    not_run = dict(build_page(persons()).not_run)
    assert not_run["11 inversion attacks"] == "by reason in the section on inversion"
    assert not_run["Quantile regression"].startswith("LinAlgError")
    assert not_run["2 defenses"] == "by reason in the section on defenses"
    assert len(not_run) == 4
    assert "Boundary repulsion" in dict(build_page(leaky()).not_run)


# --- the third number ------------------------------------------------------------------------------------------------


def test_the_number_is_what_was_found_over_the_control_that_it_exceeds_least():
    best = pick.best_inversion(persons())
    assert (best.result.card.id, best.question, best.found) == ("if-gmi", "class", True)
    assert best.measurement.estimate.low == min(one.estimate.low for one in best.result.class_excess)
    number = wording.carrying_numbers(persons())[1]
    assert number.title.startswith("Inversion: class excess")
    assert PUBLIC in number.beside
    assert "Found after correction (p" in number.beside


def test_what_was_found_goes_before_a_larger_number_that_was_not():
    def only_gmi(result):
        update = {"class_found": False, "record_found": result.card.id == "gmi"}
        return result.model_copy(update=update)

    best = pick.best_inversion(with_results(persons(), only_gmi))
    assert (best.result.card.id, best.question) == ("gmi", "record")


def test_of_one_question_the_highest_lower_bound_counts_where_nothing_was_found():
    def nothing(result):
        return result.model_copy(update={"class_found": False, "record_found": False, "class_excess": ()})

    assert pick.best_inversion(with_results(persons(), nothing)).result.card.id == "if-gmi"
    assert "Not found" in wording.carrying_numbers(with_results(persons(), nothing))[1].beside


def test_only_what_the_release_allows_is_a_headline():
    report = persons()
    released = report.model_copy(update={"plan": report.plan.model_copy(update={"release": Access.LABELS})})
    assert pick.best_inversion(released).result.card.access is Access.LABELS
    none = with_results(released, lambda result: result.model_copy(update={"record_excess": (), "class_excess": ()}))
    assert wording.carrying_numbers(none)[1].beside == "No inversion attack ran under this release."


def test_a_question_put_to_one_control_of_two_is_no_headline():
    best = pick.best_inversion(leaky())
    assert best.question == "record"
    number = wording.carrying_numbers(leaky())[1]
    assert (number.value, number.interval) == ("Cannot say", "")
    assert number.beside.endswith("What was measured stands in the section on inversion.")


# --- pictures --------------------------------------------------------------------------------------------------------


def test_without_being_asked_for_no_picture_is_anywhere():
    report = persons()
    page = render_html(report)
    for content in (page, render_json(report), render_markdown(report)):
        assert PICTURED.search(content) is None
    assert "no image derived from one" in text_of(page)


def test_pictures_that_were_asked_for_are_in_the_page_and_in_the_json(shown):
    page = render_html(shown)
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', page)
    assert len(pictures) == 12 * len(ran(shown))
    assert pictures[0][0] == png(32, 0)
    assert "class-00, by MIFace" in pictures[0][1]
    assert "keep this report as you keep the training data" in text_of(page)
    assert "no image derived from one" not in text_of(page)
    assert len(json.loads(render_json(shown))["inversion"][0]["gallery"]) == 12
    assert "iVBORw0KGgo" not in render_markdown(shown)


@pytest.mark.skipif(pdf_problem() is not None, reason="Pango is not installed")
def test_the_pdf_shows_them_and_its_attachment_does_not(shown):
    few = shown.model_copy(update={"inversion": shown.inversion[:1], "membership": (), "defenses": ()})
    document = pypdf.PdfReader(io.BytesIO(render_pdf(few)))
    attached = document.attachments["report.json"][0].decode()
    assert len({image.name for page in document.pages for image in page.images}) == 12  # every page lists them all
    assert "iVBORw0KGgo" not in attached
    assert attached == render_json(aggregates(few))


@pytest.mark.parametrize(
    "content",
    [
        "not base64!",
        base64.b64encode(b"<svg onload=alert(1)>").decode(),
        png(PICTURE_SIDE + 1),
        png()[:24],
        png() + "A" * 100_000,
        '"><script>',
    ],
)
def test_what_is_no_small_png_is_no_picture(content):
    with pytest.raises(ValidationError):
        GalleryPicture(label="a", caption="b", png=content)
