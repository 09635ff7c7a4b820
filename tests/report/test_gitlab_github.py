"""GitLab's code quality report, and the summary and annotations of a GitHub job."""

import json
import re

import pytest

from auditor.findings import Check, CheckLevel, Severity
from auditor.report import points, render_annotations, render_gitlab, render_summary
from tests.report.example import EXAMPLES, at_once, confounded, leaky, well_behaved


def found(report):
    return json.loads(render_gitlab(report))


@pytest.mark.parametrize("name", EXAMPLES)
def test_gitlab_gets_the_fields_it_documents(name):
    report = EXAMPLES[name]()
    issues = found(report)
    for one in issues:
        assert set(one) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert one["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert one["location"] == {"path": report.model.name, "lines": {"begin": 1}}
        assert one["check_name"].startswith("privaudit/")
    assert len({one["fingerprint"] for one in issues}) == len(issues)
    assert len(issues) == sum(point.level != "none" for point in points.of(report))


@pytest.mark.parametrize(
    ("report", "severity"),
    [
        (leaky(), "critical"),
        (leaky().model_copy(update={"severity": Severity.CRITICAL}), "blocker"),
        (leaky().model_copy(update={"severity": Severity.MODERATE}), "major"),
        (confounded(), "major"),
    ],
)
def test_severity_in_gitlabs_words(report, severity):
    verdict = next(one for one in found(report) if one["check_name"] == "privaudit/verdict/membership-weights")
    assert verdict["severity"] == severity


def test_the_summary_holds_verdicts_numbers_and_what_did_not_run():
    text = render_summary(leaky())
    assert text.startswith("## Privacy audit of cifar-resnet18\n")
    for told in ("| weights | membership | ▲ Leak found |", "95\u00a0% interval", "Not run: Quantile regression"):
        assert told in text
    assert len(text.encode()) < 2**20
    assert "Blind classifier: fail." in render_summary(confounded())
    assert "Preliminary" in render_summary(at_once())


def test_annotations_name_the_leak_at_the_declared_release():
    lines = render_annotations(leaky()).splitlines()
    assert lines[0].startswith(
        "::error title=privaudit%3A Membership inference%2C release of weights::Membership inference, release of"
    )
    assert not any("release of labels" in line for line in lines)
    assert "19\u00a0%25 (95\u00a0%25 interval" in lines[0] or "19 %25 (95 %25 interval" in lines[0]


def test_where_there_is_no_alarm_a_notice_says_what_was_found():
    (line,) = render_annotations(well_behaved()).splitlines()
    assert line.startswith("::notice title=privaudit%3A release of weights::membership: nothing found.")


def test_no_more_annotations_than_github_shows():
    report = confounded()
    failed = tuple(
        Check(id=f"check-{index}", title=f"Check {index}", level=CheckLevel.FAIL, sentence="No.") for index in range(30)
    )
    lines = render_annotations(report.model_copy(update={"checks": failed})).splitlines()
    assert len(lines) == 10
    left = int(re.fullmatch(r"::warning title=privaudit%3A and more::(\d+) more stand in the report\.", lines[-1])[1])
    assert left + 9 == 1 + 1 + 30
