"""The published JSON Schemas: as the models are now, and true of what is written."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from auditor.report import render_json
from docs.schema.make import FOLDER, SCHEMAS, text_of
from tests.report.example import EXAMPLES, at_once

POLICY_PAGE = Path(__file__).parents[2] / "docs" / "policy.md"


def validator(name):
    return Draft202012Validator(json.loads((FOLDER / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_file_is_what_the_models_say(name):
    told = "it has drifted from the models: run `make schemas`"
    assert (FOLDER / name).read_text(encoding="utf-8") == text_of(name), told


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_a_schema(name):
    Draft202012Validator.check_schema(validator(name).schema)
    assert list(validator(name).iter_errors({"surprise": 1}))


@pytest.mark.parametrize("make", [*EXAMPLES.values(), at_once], ids=lambda make: make.__name__)
def test_reports_fit(make):
    assert [
        error.message for error in validator("report.schema.json").iter_errors(json.loads(render_json(make())))
    ] == []


def test_the_policy_of_the_documentation_fits():
    blocks = re.findall(r"```toml\n(.*?)```", POLICY_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        assert [error.message for error in validator("policy.schema.json").iter_errors(tomllib.loads(block))] == []
