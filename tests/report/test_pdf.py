import builtins
import io
import json
import re

import pypdf
import pytest

from auditor.errors import InputError, PrivauditError
from auditor.report import pdf, pdf_problem, render_html, render_json, render_pdf
from auditor.report.jsonfile import aggregates
from auditor.report.webpage import render_paper
from tests.report.example import leaky
from tests.report.hostile import hostile
from tests.report.judged import JUDGED
from tests.report.test_html import text_of

pytestmark = pytest.mark.skipif(pdf_problem() is not None, reason="Pango is not installed")


@pytest.fixture(scope="module")
def content():
    return render_pdf(leaky())


@pytest.fixture(scope="module")
def document(content):
    return pypdf.PdfReader(io.BytesIO(content))


def test_the_first_page_holds_the_answer(document):
    text = " ".join(document.pages[0].extract_text().split())
    for words in ("Leak found", "The numbers that carry it", "What to do", "What this is not", "Attacks not run may"):
        assert words in text
    assert "Contents" not in text


def test_what_the_policy_says_is_on_the_first_page_and_its_rules_on_the_next(document):
    made = pypdf.PdfReader(io.BytesIO(render_pdf(*JUDGED["waived"])))
    text = " ".join(made.pages[0].extract_text().split())
    for words in ("What the policy says", "Pass", "judged on 24 November 2026 (UTC)", "What this is not"):
        assert words in text
    assert "Contents" not in text
    assert "under 0.60" in made.pages[1].extract_text()
    assert made.trailer["/ID"][0] != document.trailer["/ID"][0]


def test_paper_says_what_print_shows_of_the_page_and_breaks_no_interval():
    paper, page = render_paper(leaky()), render_html(leaky())
    assert "<script>" not in paper
    assert not re.search(r'class="(screen|decided)"', paper)
    for begin, end in (
        ('<details class="decided">', "</details>"),
        ('<details class="screen">', "</details>"),
        ("<script>", "</script>"),
    ):
        page = re.sub(f"{begin}.*?{end}", "", page, flags=re.DOTALL)
    assert _letters(paper) == _letters(page)
    assert re.search("\\d–\u2060\\d", paper)


def _letters(page):
    return "".join(text_of(page).replace("\u2060", "").split())


def test_pages_are_numbered_and_carry_the_hash(document):
    total = len(document.pages)
    assert 8 <= total <= 26
    for number, page in enumerate(document.pages, 1):
        text = page.extract_text()
        assert f"{number} / {total}" in text
        assert "9f2c4e1ab07d" in text


def test_there_is_an_outline(document):
    titles = [item.title for item in document.outline if not isinstance(item, list)]
    assert titles == ["cifar-resnet18"]
    inner = [item.title for item in document.outline[1] if not isinstance(item, list)]
    assert "Membership: who was in the training data" in inner


def test_the_tags_hold_the_words_of_the_figures(document):
    root = document.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert any(
        alt.startswith("ROC curves on logarithmic axes. LiRA on logits") for alt in _alts(root["/StructTreeRoot"])
    )


def _alts(node):
    node = node.get_object()
    if isinstance(node, list):
        return [alt for kid in node for alt in _alts(kid)]
    if not isinstance(node, dict):
        return []
    own = [str(node["/Alt"])] if "/Alt" in node else []
    return own + (_alts(node["/K"]) if "/K" in node else [])


def test_the_findings_are_attached(document):
    assert list(document.attachments) == ["report.json"]
    attached = document.attachments["report.json"][0]
    assert json.loads(attached) == json.loads(render_json(aggregates(leaky())))


def test_the_attachment_tells_nothing_of_single_records_or_groups():
    report = leaky()
    ids = (*report.record_exposure.records, *(group.id for group in report.group_exposure))
    attached = render_json(aggregates(report))
    assert ids
    assert not [one for one in ids if one in attached]
    assert report.record_exposure.flagged is not None
    assert str(report.record_exposure.flagged.value) in attached


def test_it_is_an_archivable_file(document):
    described = document.xmp_metadata
    assert described is not None
    packet = described.stream.get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part>" in packet.replace('pdfaid:part="3"', "<pdfaid:part>3</pdfaid:part>")
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in packet.replace(
        'pdfaid:conformance="A"', "<pdfaid:conformance>A</pdfaid:conformance>"
    )
    assert "pdfuaid" not in packet


def test_dates_and_identifier_come_from_the_report(content, document):
    assert document.metadata["/CreationDate"].startswith("D:20261122140300")
    assert render_pdf(leaky()) == content


def test_hostile_strings_break_no_page():
    reader = pypdf.PdfReader(io.BytesIO(render_pdf(hostile(leaky()))))
    assert "<script>" in reader.pages[0].extract_text().replace("\x00", "")  # UTF-16, where a glyph is missing


@pytest.mark.parametrize("image", ["file:///etc/hostname", "http://127.0.0.1:9/x.svg", "data:image/svg+xml;base64"])
def test_a_page_that_loads_something_is_no_report(image, monkeypatch):
    monkeypatch.setattr(
        pdf, "render_paper", lambda report, gate: f"<html lang=en><title>x</title><img src='{image}' alt='x'>"
    )
    with pytest.raises(PrivauditError, match="may not load"):
        render_pdf(leaky())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("cannot load library 'libpango-1.0-0'"), "libpango-1.0-0"),
        (ImportError("no weasyprint"), "pip install"),
    ],
)
def test_what_is_missing_is_told_in_one_sentence(error, told, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "weasyprint":
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    problem = pdf_problem()
    assert told in problem
    assert problem.count("\n") == 0
    with pytest.raises(InputError):
        render_pdf(leaky())
