"""The defaults that decide: docs/defaults.md, the report's list and the code say the same, and nothing is left out."""

import importlib
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from auditor.battery import MEMBERSHIP
from auditor.checks import CHECKS
from auditor.report.defaults import DEFAULTS, by_part, of
from auditor.report.webpage import render_html
from tests.report.example import EXAMPLES

PAGE = (Path(__file__).parents[2] / "docs" / "defaults.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"(\d[\d,]*\d(?![\d.])|\d+(?:\.\d+)?)( %| points)?")
DECIDING = (
    "auditor.limits",
    "auditor.verdict",
    "auditor.policy",
    "auditor.policy_file",
    "auditor.gate.conditions",
    "auditor.gate.leaks",
    "auditor.controls.blind",
    "auditor.controls.nulls",
    "auditor.controls.panel",
    "auditor.controls.planted",
    "auditor.controls.relabelling",
    "auditor.checks.subject",
    "auditor.checks.target",
    "auditor.checks.shadows",
    "auditor.checks.data",
    "auditor.checks.lookalikes",
    "auditor.membership.exposure",
    "auditor.membership.one_run",
)
HOW_NOT_WHAT = {
    "_PRIOR",  # of an example in a sentence
    "_BATCH",
    "_CHANCE",  # what guessing reaches
    "_CELLS",
    "_BITS",  # twice the raster squared
    "_THUMBNAIL",
    "_MOST_GROUPS",  # listed
    "_LEAST_IN_HALF",  # of a number told beside
    "_DRAWS",  # that estimate a share
}


def in_code(dotted):
    """What stands there; of a tuple of rows the column, of a table its default."""
    names = dotted.split(".")
    depth = next(
        i
        for i in range(len(names), 0, -1)
        if Path(__file__).parents[2].joinpath(*names[:i]).with_suffix(".py").is_file()
    )
    found = importlib.import_module(".".join(names[:depth]))
    for name in names[depth:]:
        found = found() if isinstance(found, type) and issubclass(found, BaseModel) else found
        found = tuple(getattr(row, name) for row in found) if isinstance(found, tuple) else getattr(found, name)
    return found


def numbers(value):
    """The numbers of a value as printed, percent and points as shares."""
    return [float(digits.replace(",", "")) / (100 if unit else 1) for digits, unit in NUMBER.findall(value)]


@pytest.mark.parametrize("default", DEFAULTS, ids=lambda default: default.id)
def test_a_default_is_what_the_code_says(default):
    found = [in_code(dotted) for dotted in default.code]
    if default.id == "primary-attacks":
        assert default.value == ", ".join(one.card.id for one in MEMBERSHIP if one.primary)
    elif isinstance(found[0], str):
        assert default.value == found[0]
    else:
        flat = [number for one in found for number in (one if isinstance(one, tuple) else (one,))]
        assert numbers(default.value) == pytest.approx(flat, rel=2e-3)


def test_the_page_is_the_same_list():
    rows = [
        f'| <a id="{one.id}"></a>{one.name} | {one.value} | {one.reason} | '
        + ", ".join(f"`{dotted}`" for dotted in one.code)
        + " |"
        for one in DEFAULTS
    ]
    assert [line for line in PAGE.splitlines() if line.startswith("| <a")] == rows


@pytest.mark.parametrize("module", DECIDING)
def test_no_number_that_decides_is_left_out(module):
    told = {dotted for one in DEFAULTS for dotted in one.code}
    for name, value in vars(importlib.import_module(module)).items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name.isupper() and name not in HOW_NOT_WHAT and (number or isinstance(value, tuple)):
            homes = {dotted for dotted in told if dotted.endswith(f".{name}") and in_code(dotted) == value}
            assert homes or not (number or all(isinstance(one, (int, float)) for one in value)), f"{module}.{name}"


def test_every_limit_has_a_row():
    fields = set(importlib.import_module("auditor.limits").Limits.__dataclass_fields__)
    assert fields == {dotted.rsplit(".", 1)[1] for one in DEFAULTS for dotted in one.code if ".Limits." in dotted}


def test_what_voids_rests_on_something():
    counted = {"given-inclusion", "proxy-shadows"}  # they rest on no number of ours
    assert [row.id for row in CHECKS if row.voids and not of(row.id) and row.id not in counted] == []
    assert all(of(control) for control in ("blind", "owner-label-null", "instrument-null", "planted"))
    assert all(by_part().values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_links_lead_to_the_reports_own_list(name):
    page = render_html(EXAMPLES[name]())
    places = re.findall(r'id="(default-[a-z-]+)"', page)
    assert places == [one.link.href.removeprefix("#") for one in DEFAULTS]
    assert set(re.findall(r'href="#(default-[a-z-]+)"', page)) <= set(places)
    assert 'href="#default-auc-limit">limit on AUC</a>' in page
