"""The page in a real browser, where one is installed: its script runs, a stranger's does not."""

import shutil
import subprocess

import pytest

from auditor.report import render_html
from tests.report.example import leaky
from tests.report.hostile import hostile

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

MARK = "<p id=ran>not run</p>"
STRANGER = "document.getElementById('ran').textContent = 'a stranger ran'"


def seen(page, folder):
    """The page as the browser holds it after running what it may run."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}", "--dump-dom"]
    ended = subprocess.run([BROWSER, *flags, file.as_uri()], capture_output=True, text=True, check=True)
    return ended.stdout


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory):
    page = render_html(hostile(leaky()))
    added = f'{MARK}<script>{STRANGER}</script><img src=x onerror="{STRANGER}"></main>'
    return seen(page.replace("</main>", added, 1), tmp_path_factory.mktemp("browser"))


def test_long_tables_can_be_sorted_and_filtered(poisoned):
    assert poisoned.count('<button type="button" class="sort">') > 10
    assert '<input type="search" class="filter screen"' in poisoned


def test_what_strangers_put_into_the_page_does_not_run(poisoned):
    assert '<p id="ran">not run</p>' in poisoned
    assert "a stranger ran</p>" not in poisoned


def test_hostile_names_make_no_element(poisoned):
    assert poisoned.count("<script") == 2  # the page's own, and the one that this test added
    assert "<script>alert(1)" not in poisoned
