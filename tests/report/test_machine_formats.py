"""What all formats for machines have in common: they agree, they keep secrets, and no string in them does harm."""

import json
import re
import unicodedata
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from auditor.findings import ClassExposure, Failed, GroupExposure, Role, Severity, VerdictState
from auditor.intake import data_facts, published
from auditor.report import points, render_html, render_json
from auditor.report.jsonfile import aggregates
from auditor.report.points import Kind, State
from auditor.threat import Access
from tests.report.example import EXAMPLES, at_once, confounded, leaky, persons, well_behaved
from tests.report.hostile import hostile
from tests.report.inverted import with_pictures
from tests.report.machines import AGGREGATES, EVERY, JSON, MARKDOWN

NEVER = re.compile(r"\b(safe|complian(t|ce)|anonym\w*|proven|guarante\w*|certif\w*)\b", re.IGNORECASE)
REPORTS = {**EXAMPLES, "at_once": at_once}


def strings_in(part):
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from strings_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from strings_in(value)
    elif isinstance(part, str):
        yield part


def unseen(text):
    """Characters that a reader cannot see, line ends apart."""
    return {one for one in text if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Cn"}} - {"\n"}


@pytest.fixture(scope="module", params=[leaky, persons, at_once], ids=lambda make: make.__name__)
def poisoned(request):
    report = request.param()
    return hostile(report.model_copy(update={"inversion": with_pictures(report.inversion)}))


# --- hostile names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_hostile_names_are_bounded_and_on_one_line(name, poisoned):
    text = EVERY[name](poisoned)
    assert len(text) < 300_000
    assert "A" * 50 in text
    assert "A" * 1000 not in text
    assert not unseen(text)
    assert "javascript:alert(3)" not in text


@pytest.mark.parametrize("name", JSON)
def test_no_tag_stands_in_json(name, poisoned):
    text = JSON[name](poisoned)
    assert text.isascii()
    assert not set("<>&") & set(text)
    told = list(strings_in(json.loads(text)))
    assert any("<script>" in one for one in told)
    assert not any("\n" in one or unseen(one) for one in told)


def test_no_tag_stands_in_xml(poisoned):
    text = EVERY["junit"](poisoned)
    assert "<script" not in text
    assert "]]>" not in text
    told = [*ET.fromstring(text).itertext(), *(v for e in ET.fromstring(text).iter() for v in e.attrib.values())]  # noqa: S314
    assert any("<script>" in one and "]]>" in one for one in told)


@pytest.mark.parametrize("name", MARKDOWN)
def test_no_markup_stands_in_markdown(name, poisoned):
    body = MARKDOWN[name](poisoned).split("<!-- privaudit:start -->")[-1].split("<!-- privaudit:end -->")[0]
    bare = re.sub(r"\\.", "", body)
    assert not re.search(r"[<\[\]`$@]", bare)
    for table in re.findall(r"(?:^\|.*\n)+", bare, re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_no_name_becomes_a_command(poisoned):
    lines = EVERY["annotations"](poisoned).splitlines()
    assert lines
    for line in lines:
        command, properties, message = re.fullmatch(r"::(error|warning|notice) title=([^:,]*)::(.*)", line).groups()
        assert not re.search(r"%(?!25|0D|0A|3A|2C)", properties + message), command
    assert any("%250A::error" in line for line in lines)


# --- what they keep to themselves ------------------------------------------------------------------------------------

SECRETS = (
    "Ada Lovelace",
    "ada_001.png",
    "/home/ada",
    "1f0e9c52d7a84b36",
    "4be1a09d7c52f386",
    "5d1f-09ac",
    "iVBORw0KGgo",
)


def revealing():
    """A report on persons in which every place that can hold a name, an id or a picture does."""
    report = persons()
    crash = Failed(error="OSError: cannot read /home/ada/faces/ada_001.png (records.py:12)")
    flagged = leaky().record_exposure.flagged
    return report.model_copy(
        update={
            "data": report.data.model_copy(update={"classes": ("Ada Lovelace",) * 40}),
            "exposure": (ClassExposure(label="Ada Lovelace", auc=leaky().exposure[0].auc),),
            "group_exposure": (GroupExposure(id="4be1a09d7c52f386", flagged=flagged),),
            "membership": tuple(
                one.model_copy(update={"outcome": crash}) if one.card.id in {"lira-scores", "quantile"} else one
                for one in report.membership
            ),
            "inversion": tuple(
                one.model_copy(update={"status": "failed", "reason": crash.error}) if one.status == "failed" else one
                for one in with_pictures(report.inversion)
            ),
        }
    )


def test_the_report_in_question_does_hold_them():
    text = render_json(revealing())
    assert all(secret in text for secret in SECRETS)


@pytest.mark.parametrize("name", AGGREGATES)
def test_aggregates_only(name):
    text = AGGREGATES[name](revealing())
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("render", [render_json, render_html, EVERY["markdown"]])
def test_no_format_shows_a_picture_that_was_not_asked_for(render):
    text = render(aggregates(revealing()))
    assert "iVBORw0KGgo" not in text
    assert "data:image/png" not in text


def test_persons_have_no_names_in_the_report_to_begin_with():
    role = SimpleNamespace(n=2, inputs=SimpleNamespace(shape=(2, 8, 8, 1)))
    splits = SimpleNamespace(
        settings=SimpleNamespace(class_is_person=True, random_split=True),
        class_names=("Ada Lovelace", "Alan Turing"),
        members=role,
        non_members=role,
        public=None,
        duplicates_dropped=0,
    )
    records = SimpleNamespace(groups=None, digests=(b"a" * 16, b"b" * 16))
    audit_set = SimpleNamespace(
        evaluated=2, calibration=role, reference=role, records=records, membership=np.array([True, False])
    )
    drawn = [data_facts(splits, audit_set, bytes([key]) * 32) for key in range(8)]
    known = {facts.classes for facts in drawn}
    assert {published(facts).classes for facts in drawn} == {("person 1", "person 2")}
    assert known == {("person 1", "person 2"), ("person 2", "person 1")}  # not the order of the outputs


# --- what they say ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("example", REPORTS)
def test_words_that_are_never_said(name, example):
    assert NEVER.findall(EVERY[name](REPORTS[example]())) == []


@pytest.mark.parametrize("name", ["sarif", "junit", "gitlab", "annotations"])
def test_no_measured_number_goes_without_its_interval(name):
    report = confounded()
    told = " ".join(
        point.told for point in points.of(report) if point.kind in {Kind.ATTACK, Kind.CONTROL} and point.level != "none"
    )
    assert re.findall(r"AUC 0\.\d+ \((\S+)\u00a0% interval", told)
    text = json.dumps(EVERY[name](report)).encode().decode("unicode_escape").replace("%25", "%")
    numbers = re.findall(r"(?:AUC|FPR) \d[\d.]*(?:[\u00a0 ]%)?(.{13})", text)
    assert numbers
    assert [after for after in numbers if not after.startswith((" (95", ")"))] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_same_report_gives_the_same_text(example):
    for render in EVERY.values():
        assert render(EXAMPLES[example]()) == render(EXAMPLES[example]())


# --- the points themselves -------------------------------------------------------------------------------------------


def verdict_points(report):
    return {(one.rule.id, one.state, one.level) for one in points.of(report) if one.kind is Kind.VERDICT}


def at(report, release, severity=Severity.HIGH):
    return report.model_copy(update={"plan": report.plan.model_copy(update={"release": release}), "severity": severity})


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (leaky(), ("weights", State.FAILED, "error")),
        (at(leaky(), Access.WEIGHTS, Severity.LOW), ("weights", State.FAILED, "warning")),
        (at(leaky(), Access.WEIGHTS, Severity.CRITICAL), ("labels", State.FAILED, "error")),
        (at(leaky(), Access.LABELS), ("weights", State.FAILED, "note")),
        (at(leaky(), Access.LABELS), ("labels", State.FAILED, "error")),
        (confounded(), ("weights", State.OPEN, "warning")),
        (confounded(), ("labels", State.OPEN, "note")),
        (at_once(), ("weights", State.OPEN, "warning")),
        (well_behaved(), ("weights", State.PASSED, "none")),
    ],
)
def test_levels_of_a_membership_verdict(report, expected):
    access, state, level = expected
    assert (f"verdict/membership-{access}", state, level) in verdict_points(report)


def test_an_inversion_leak_has_no_severity_and_is_an_error():
    assert ("verdict/inversion-weights", State.FAILED, "error") in verdict_points(at(persons(), Access.WEIGHTS))
    assert ("verdict/inversion-weights", State.OPEN, "note") in verdict_points(leaky())


@pytest.mark.parametrize(("release", "level"), [(Access.WEIGHTS, "warning"), (Access.SCORES, "note")])
def test_a_declared_attack_that_crashed_is_told_as_loudly_as_it_counts(release, level):
    report = at(leaky(), release)
    crashed = report.membership[0].model_copy(update={"outcome": Failed(error="ValueError: no")})
    report = report.model_copy(update={"membership": (crashed, *report.membership[1:])})
    point = next(one for one in points.of(report) if one.state is State.BROKEN)
    assert (point.level, point.told) == (level, "LiRA on logits (weights) was declared and crashed (ValueError).")


def test_there_is_one_point_per_verdict_control_check_and_declared_attack():
    report = leaky()
    primary = [one for one in report.membership if one.role is Role.PRIMARY]
    assert len(points.of(report)) == len(report.verdicts) + len(report.controls) + len(report.checks) + len(primary) + 1


def test_fingerprints_are_apart_and_know_no_number():
    def named(report):
        return [points.fingerprint(report.model.name, point) for point in points.of(report)]

    before, after = leaky(), confounded()
    renamed = after.model_copy(update={"model": before.model, "canaries": before.canaries})
    assert len(set(named(before))) == len(named(before))
    assert named(before) == named(renamed)
    assert {one.state for one in before.verdicts} != {one.state for one in renamed.verdicts}
    assert not set(named(before)) & set(named(after))


@pytest.mark.parametrize("name", ["lira-weights", "LiRA weights", "lira/weights", "lira weights ", "猫", "A" * 500, ""])
def test_a_slug_keeps_names_apart(name):
    made = points.slug(name)
    assert re.fullmatch(r"[a-z0-9-]{0,69}", made)
    assert (made == name) is (name in {"lira-weights", ""})
    assert len({made, points.slug(name + " "), points.slug(name + "\t")}) == 3


def test_a_verdict_that_says_nothing_is_no_alert():
    quiet = well_behaved()
    told = [one for one in points.of(quiet) if one.level in {"error", "warning"}]
    assert told == []
    assert all(one.state is VerdictState.NOTHING_FOUND for one in quiet.verdicts if one.family.value == "membership")


def test_what_is_told_by_person_follows_the_pseudonyms_and_not_the_outputs():
    from auditor.dossier import _unordered

    data = persons().data.model_copy(update={"classes": ("person 10", "person 2", "person 1")})
    exposure = tuple(leaky().exposure[0].model_copy(update={"label": name}) for name in data.classes)
    assert [one.label for one in _unordered(exposure, data)] == ["person 1", "person 2", "person 10"]
    assert published(data).classes == ("person 1", "person 2", "person 10")
    named = data.model_copy(update={"class_is_person": False})
    assert _unordered(exposure, named) == exposure
    assert published(named) == named
