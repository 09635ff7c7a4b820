"""JUnit XML: what is counted, and what becomes of a leak, a crash and an open question."""

from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from auditor.findings import Failed, Skipped
from auditor.report import points, render_junit
from auditor.threat import Access
from tests.report.example import EXAMPLES, at_once, confounded, leaky, persons, well_behaved
from tests.report.hostile import hostile
from tests.report.judged import JUDGED

REPORTS = {**EXAMPLES, "at_once": at_once, "hostile": lambda: hostile(persons())}

# What Jenkins' schema (junit-10.xsd) and the readers of GitLab and GitHub know.
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out"},
}
ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "timestamp"},
    "property": {"name", "value"},
    "testcase": {"name", "classname"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
}


def reported(name):
    return (REPORTS[name](), None) if name in REPORTS else JUDGED[name]


def parsed(report, gate=None):
    return ET.fromstring(render_junit(report, gate))  # noqa: S314 - our own XML


def outcome(case):
    return case[0].tag if len(case) else "passed"


def cases(report):
    return {case.get("name"): case for case in parsed(report).iter("testcase")}


@pytest.mark.parametrize("name", [*REPORTS, *JUDGED])
def test_only_what_readers_know_stands_in_it(name):
    root = parsed(*reported(name))
    assert root.tag == "testsuites"
    for element in root.iter():
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
        assert set(element.keys()) == ATTRIBUTES.get(element.tag, set())
    assert all(len(case) == 1 for case in root.iter("testcase"))


@pytest.mark.parametrize("name", [*REPORTS, *JUDGED])
def test_the_counts_are_those_of_the_cases(name):
    report, gate = reported(name)
    root = parsed(report, gate)
    for suite in root:
        found = Counter(outcome(case) for case in suite.iter("testcase"))
        told = {key: int(suite.get(key)) for key in ("failures", "errors", "skipped")}
        assert told == {"failures": found["failure"], "errors": found["error"], "skipped": found["skipped"]}
        assert int(suite.get("tests")) == found.total()
    for key in ("tests", "failures", "errors"):
        assert int(root.get(key)) == sum(int(suite.get(key)) for suite in root)
    assert int(root.get("tests")) == len(points.of(report, gate))


@pytest.mark.parametrize(
    ("report", "name", "expected"),
    [
        (leaky(), "Membership inference, release of weights", "failure"),
        (leaky(), "Model inversion, release of weights", "skipped"),
        (leaky(), "Privacy claim", "failure"),
        (leaky(), "LiRA (scores)", "system-out"),
        (leaky(), "Duplicates", "system-out"),
        (well_behaved(), "Membership inference, release of weights", "system-out"),
        (confounded(), "Membership inference, release of weights", "skipped"),
        (confounded(), "Blind classifier", "failure"),
        (confounded(), "Random split", "failure"),
        (at_once(), "LiRA (scores)", "skipped"),
        (at_once(), "Membership inference, release of labels", "skipped"),
    ],
)
def test_outcomes(report, name, expected):
    assert outcome(cases(report)[name]) == expected


def test_a_leak_to_those_who_are_shown_nothing_does_not_fail():
    report = leaky()
    report = report.model_copy(update={"plan": report.plan.model_copy(update={"release": Access.LABELS})})
    apart = cases(report)["Membership inference, release of weights"][0]
    assert (apart.tag, apart.get("message")[:46]) == ("skipped", "Does not count under release of labels. Member")
    assert outcome(cases(report)["Membership inference, release of labels"]) == "failure"


@pytest.mark.parametrize(
    ("became", "expected"),
    [(Failed(error="MemoryError: all of it"), "error"), (Skipped(reason="no shadows"), "skipped")],
)
def test_a_declared_attack_that_did_not_complete(became, expected):
    report = leaky()
    changed = report.membership[0].model_copy(update={"outcome": became})
    told = cases(report.model_copy(update={"membership": (changed, *report.membership[1:])}))[
        "LiRA on logits (weights)"
    ]
    assert outcome(told) == expected
    assert ("MemoryError" if expected == "error" else "no shadows") in told[0].get("message")


def test_the_run_is_told_in_properties():
    found = {one.get("name"): one.get("value") for one in parsed(leaky()).iter("property")}
    assert {"sha256", "release", "seed", "privaudit", "plan"} <= set(found)
    assert found["severity"] == "high"
