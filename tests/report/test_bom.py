"""The bill of materials against the official schema, by the validator of CycloneDX."""

import json
import re

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from auditor.report import render_bom
from auditor.threat import Access
from tests.report.example import EXAMPLES, at_once, leaky, persons, well_behaved
from tests.report.hostile import hostile

REPORTS = {**EXAMPLES, "at_once": at_once, "hostile": lambda: hostile(persons())}


@pytest.fixture(scope="module")
def validator():
    return JsonStrictValidator(SchemaVersion.V1_7)


def card(report):
    return json.loads(render_bom(report))["components"][0]["modelCard"]


@pytest.mark.parametrize("name", REPORTS)
def test_it_fits_the_official_schema(name, validator):
    assert validator.validate_str(render_bom(REPORTS[name]())) is None


def test_the_validator_refuses(validator):
    content = json.loads(render_bom(leaky()))
    content["components"][0]["modelCard"]["surprise"] = 1
    assert validator.validate_str(json.dumps(content)) is not None


@pytest.mark.parametrize("name", REPORTS)
def test_every_metric_is_a_decimal_inside_its_interval(name):
    metrics = card(REPORTS[name]())["quantitativeAnalysis"]["performanceMetrics"]
    for one in metrics:
        low, high = (float(one["confidenceInterval"][end]) for end in ("lowerBound", "upperBound"))
        assert low <= float(one["value"]) <= high
        assert re.search(r"\d+(\.\d+)? % interval", one["slice"])
    assert metrics or name == "at_once"


def test_the_declared_attacks_and_the_controls_are_metrics():
    told = {one["type"] for one in card(leaky())["quantitativeAnalysis"]["performanceMetrics"]}
    assert {
        "membership inference, AUC",
        "membership inference, TPR at 1 % FPR",
        "control: Blind classifier, AUC",
    } <= told


def test_a_leak_is_a_risk_with_what_to_do_and_nothing_found_is_none():
    risks = card(leaky())["considerations"]["ethicalConsiderations"]
    assert risks[0]["name"].startswith("membership, release of weights: Leak found.")
    assert "MID (beta 0.003)" in risks[0]["mitigationStrategy"]
    assert not [
        one for one in card(well_behaved())["considerations"]["ethicalConsiderations"] if "membership" in one["name"]
    ]


def test_only_what_the_release_shows_is_a_risk():
    report = leaky()
    report = report.model_copy(update={"plan": report.plan.model_copy(update={"release": Access.LABELS})})
    names = [one["name"] for one in card(report)["considerations"]["ethicalConsiderations"]]
    assert [name.split(":")[0] for name in names] == ["membership, release of labels", "inversion, release of labels"]


def test_persons_are_named_as_such():
    data = card(persons())["modelParameters"]["datasets"]
    assert all(one["sensitiveData"] == ["classes are persons"] for one in data)
    assert not any("sensitiveData" in one for one in card(leaky())["modelParameters"]["datasets"])


def test_the_file_is_named_by_its_digest_and_each_audit_by_its_own_number():
    report = leaky()
    digest = "ab" * 32
    real = report.model_copy(update={"model": report.model.model_copy(update={"sha256": digest})})
    first, second = (json.loads(render_bom(one)) for one in (real, report))
    assert first["components"][0]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert first["serialNumber"] != second["serialNumber"]
