import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from auditor.report import render_html, render_markdown
from tests.report.example import EXAMPLES, leaky
from tests.report.hostile import hostile
from tests.report.inverted import with_pictures

NEVER = re.compile(r"\b(safe|complian(t|ce)|anonym\w*|proven|guarante\w*|certif\w*)\b", re.IGNORECASE)
VOID = {"meta", "img", "br", "link", "input", "hr", "col"}


class Outline(HTMLParser):
    """Tags in order with their attributes, text outside of style, and whether every tag was closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(scope="module")
def pages():
    return {name: render_html(make()) for name, make in EXAMPLES.items()}


@pytest.fixture(scope="module", params=EXAMPLES)
def page(request, pages):
    return pages[request.param]


def text_of(page):
    return " ".join(" ".join(Outline(page).text).replace("\u00a0", " ").split())


def test_the_same_report_gives_the_same_bytes(pages):
    assert render_html(leaky()) == pages["leaky"]


def test_tags_are_closed_and_headings_do_not_jump(page):
    outline = Outline(page)
    assert outline.open == []
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_nothing_is_loaded_from_anywhere(page):
    outline = Outline(page)
    assert all(attrs["src"].startswith("data:image/svg+xml;base64,") for attrs in outline.all("img"))
    assert not outline.all("link") + outline.all("iframe")
    assert outline.all("script") == [{}]
    assert "@import" not in page
    assert "url(" not in page
    policy = next(attrs["content"] for attrs in outline.all("meta") if attrs.get("http-equiv"))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{allowed}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_figures_are_sound_svg_and_told_in_words_with_a_number(page):
    images = Outline(page).all("img")
    assert len(images) >= 6
    for image in images:
        assert re.search(r"\d", image["alt"])
        svg = base64.b64decode(image["src"].partition("base64,")[2])
        root = ET.fromstring(svg)  # noqa: S314 - our own SVG
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert b"<script" not in svg
        assert b"<dc:date>" not in svg


def test_readers_with_a_screen_reader_are_served(page):
    outline = Outline(page)
    assert outline.tags[0] == ("html", {"lang": "en"})
    assert all(attrs.get("scope") in {"col", "row"} for attrs in outline.all("th"))
    targets = {attrs["id"] for _, attrs in outline.tags if "id" in attrs}
    inner = [attrs["href"][1:] for attrs in outline.all("a") if attrs["href"].startswith("#")]
    assert set(inner) <= targets
    assert "verdict" in inner
    assert all(attrs.get("aria-label") for _, attrs in outline.tags if attrs.get("role") == "region")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "leaky",
            (
                "Leak found",
                "the strongest of 15 attacks refitted to it (RMIA (online)) reaches AUC",
                "Quantile regression",
                "did not converge",
            ),
        ),
        ("well_behaved", ("Nothing found", "A planted leak of 5 % was recovered", "Attacks not run may do better")),
        (
            "confounded",
            ("Cannot say", "Settle first: Blind classifier", "AUC 0.83", "Voids: leak found, nothing"),
        ),
    ],
)
def test_the_first_minute(name, told, pages):
    text = text_of(pages[name])
    assert all(words in text for words in told)


@pytest.mark.parametrize("name", EXAMPLES)
def test_words_that_promise_are_never_printed(name, pages):
    for text in (text_of(pages[name]), render_markdown(EXAMPLES[name]())):
        assert NEVER.search(text) is None


def test_every_attack_defense_control_and_check_is_in_the_page(pages):
    report, text = leaky(), text_of(pages["leaky"])
    titles = [result.card.title for result in (*report.membership, *report.inversion, *report.defenses)]
    titles += [part.title for part in (*report.controls, *report.checks)]
    assert [title for title in titles if title not in text] == []
    for term in ("AML.T0024.000", "AML.T0024.001", "C11.2", "ML03", "ML04", "NIST AI 100-2", "EDPB Opinion 28/2024"):
        assert term in text


def test_a_report_with_nothing_in_it_still_renders():
    empty = leaky().model_copy(
        update={
            "membership": (),
            "inversion": (),
            "defenses": (),
            "advice": (),
            "controls": (),
            "checks": (),
            "verdicts": (),
            "exposure": (),
            "group_exposure": (),
            "output_matrix": (),
            "histograms": (),
            "secondary": (),
            "timings": (),
        }
    )
    text = text_of(render_html(empty))
    assert "No membership attack ran" in text
    assert Outline(render_html(empty)).all("img") == []


@pytest.fixture(scope="module")
def poisoned():
    report = leaky()
    return hostile(report.model_copy(update={"inversion": with_pictures(report.inversion)}))


def test_hostile_strings_stay_text(poisoned):
    page = render_html(poisoned)
    outline = Outline(page)
    assert outline.open == []
    assert outline.all("script") == [{}]
    assert len(outline.all("style")) == 1
    assert page.count("<script") == 1
    assert "49" not in outline.all("h1")[0]["data-footer"]
    assert not any("\u202e" in part or "A" * 600 in part for part in outline.text)
    assert all(attrs["href"].startswith("#") for attrs in outline.all("a"))
    assert "{{ 7*7 }}" in page
    for image in outline.all("img"):
        drawn = base64.b64decode(image["src"].partition("base64,")[2])
        assert b"<script" not in drawn
        if "svg" in image["src"][:20]:
            ET.fromstring(drawn)  # noqa: S314 - our own SVG
            assert "\u202e" not in drawn.decode()


def test_hostile_strings_stay_text_in_markdown(poisoned):
    lines = render_markdown(poisoned).splitlines()
    assert not any("<script" in line.replace("\\<", "") or re.search(r"(?<!\\)\]\(", line) for line in lines)
    tables = [line for line in lines if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert widths == {4, 5, 6}
    assert max(map(len, lines)) < 6000


@pytest.mark.parametrize("name", EXAMPLES)
def test_markdown_is_a_screenful(name):
    text = render_markdown(EXAMPLES[name]())
    assert text.startswith("# Privacy audit of ")
    assert len(text.splitlines()) < 50
    assert "| weights | membership |" in text
    assert "Not run: " in text


def test_rendering_needs_no_torch_no_scipy_and_but_for_pages_no_matplotlib():
    program = (
        "import sys; heavy = {'torch', 'scipy', 'matplotlib'}; import auditor.report; print(heavy & {*sys.modules}); "
        "import auditor.report.page; print(heavy & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "{'matplotlib'}"]


def luminance(color):
    parts = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return sum(
        weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
        for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


def contrast(one, other):
    low, high = sorted(luminance(color) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_that_text_is_set_in_is_read_on_paper_and_on_wash_by_day_and_by_night():
    css = (Path(__file__).parents[2] / "templates" / "report.css").read_text(encoding="utf-8")
    blocks = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{([^}]*)\}", css)]
    assert len(blocks) == 2
    for colors in blocks:
        for name in ("ink", "soft", "link", "leak", "nothing", "unsure"):
            assert min(contrast(colors[name], colors[ground]) for ground in ("paper", "wash")) >= 4.5


def test_markdown_cuts_controls_between_measurements_and_keeps_the_declared_release():
    report = leaky()
    null = report.controls[0]
    (auc,) = [one for one in null.measurements if one.name == "AUC"]
    many = tuple(
        auc.model_copy(update={"name": f"{what} of models that never saw the record, told at length ({access})"})
        for access in ("labels", "scores", "weights")
        for what in ("AUC", "Excess", "Remaining excess")
    )
    controls = (null.model_copy(update={"measurements": many}), *report.controls[1:])
    text = render_markdown(report.model_copy(update={"controls": controls}))
    (line,) = [one for one in text.splitlines() if one.startswith("| Owner-label null |")]
    *told, more = line.rstrip(" |").rpartition(" | ")[2].split("; ")
    assert all(f"({report.plan.release})" in one for one in told[:3])
    assert all(one.endswith(")") for one in told)
    assert more == f"and {9 - len(told)} more in the JSON"
    assert "…" not in line
