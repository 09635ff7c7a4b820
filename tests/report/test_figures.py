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


def x_of(svg, color):
    """Where the lines of a colour begin and end: (x, top, bottom) of each that is upright."""
    paths = re.findall(r'<path d="M ([\d.]+) ([\d.]+)\s*L ([\d.]+) ([\d.]+)\s*"[^>]*stroke: ' + color, svg)
    ends = [tuple(map(float, path)) for path in paths]
    return [(x, *sorted((top, bottom))) for x, top, other, bottom in ends if x == other]


def test_a_control_stands_beside_its_group_and_in_the_legend():
    rows = [figures.Dot(name, (ESTIMATE,), group=name) for name in ("weights", "scores", "labels")]
    null = figures.Mark("Null", ESTIMATE, figures.Line("#123456", 1.0, "-."), "scores")
    blind = figures.Mark("Blind", ESTIMATE, figures.Line("#654321", 1.0))
    plain = figures.dots(rows, [PANEL])
    svg = figures.dots(rows, [figures.Panel("AUC", 0.5, percent=False, marks=(null, blind))])
    assert "Null" not in plain
    assert all(f">{name}</text>" in svg for name in ("Null", "Blind"))
    ((_, top, bottom),) = x_of(svg, "#123456")
    ((_, higher, lower),) = x_of(svg, "#654321")
    assert higher < top < bottom < lower


def test_a_number_of_too_few_records_is_starred_beside_its_dot():
    rows = [figures.Dot("few", (ESTIMATE, ESTIMATE), starred=(True, False)), figures.Dot("many", (ESTIMATE, ESTIMATE))]
    assert figures.dots(rows, [PANEL, PANEL]).count(">*</text>") == 1
