"""Charts by names of any width: what does not fit is cut, and the dots keep half of the page."""

import re

import pytest

from auditor.report import figures
from auditor.stats.estimate import Estimate

ESTIMATE = Estimate(value=0.6, low=0.5, high=0.7, confidence=0.95, method="x", n={"records": 10})
PANEL = figures.Panel("AUC", 0.5, percent=False)


@pytest.mark.parametrize("letter", ["W", "m", "i", "猫", "ཀ", "ß"])
def test_a_wide_name_leaves_room_for_the_dots(letter):
    dots = [
        figures.Dot(letter * 200, (ESTIMATE,), note=letter * 200, group=letter * 200),
        figures.Dot("b", (ESTIMATE,)),
    ]
    svg = figures.dots(dots, [PANEL])
    [left, right] = re.findall(r'id="patch_2">\s*<path d="M ([\d.]+) [\d.]+\s*L ([\d.]+)', svg)[0]
    assert float(right) - float(left) > 0.25 * 72 * figures.WIDTH
    assert "…" in svg


def test_names_that_fit_are_whole():
    svg = figures.dots([figures.Dot("Kleidungsstücke ohne Ärmel", (ESTIMATE,))], [PANEL])
    assert "Kleidungsstücke ohne Ärmel" in svg
