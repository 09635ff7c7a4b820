"""What a policy says of a report, in every format: rule by rule, with its day, and nothing else changed by it."""

import html
import json
import re
import unicodedata
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import get_args
from xml.etree import ElementTree as ET

import pytest

from auditor.gate.ruling import Asked, Note
from auditor.report import (
    points,
    render_annotations,
    render_gitlab,
    render_html,
    render_junit,
    render_markdown,
    render_sarif,
    render_summary,
    rulings,
)
from auditor.report.points import Kind, State
from auditor.report.rulings import table
from tests.report.example import leaky, well_behaved
from tests.report.hostile import EVIL, hostile
from tests.report.judged import EVERY_RULE, GENEROUS, JUDGED, NOW, earlier, judged, waiver
from tests.report.test_html import Outline, text_of

FORMATS = {
    "html": render_html,
    "markdown": render_markdown,
    "summary": render_summary,
    "junit": render_junit,
    "sarif": render_sarif,
    "gitlab": render_gitlab,
    "annotations": render_annotations,
}
BLOCK = re.compile(r'<section id="(?:policy|rules)">.*?</section>\n\n|<li><a href="#rules">[^\n]*\n', re.DOTALL)
STYLE = re.compile(r"\n\.rules \{.*?(?=</style>)", re.DOTALL)


@cache
def page(name):
    return render_html(*JUDGED[name])


def suite_of(report, gate):
    root = ET.fromstring(render_junit(report, gate))  # noqa: S314 - our own XML
    return next(suite for suite in root if suite.get("name") == "policy")


def cases(report, gate):
    return {case.get("name"): case[0] for case in suite_of(report, gate).iter("testcase")}


def results(report, gate):
    found = json.loads(render_sarif(report, gate))["runs"][0]["results"]
    return {one["ruleId"]: one for one in found if one["ruleId"].startswith("policy/")}


def ruled(report, gate):
    return {one.rule.id: one for one in points.of(report, gate) if one.kind is Kind.POLICY}


# --- the first page --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "told"), [("fail", "✗ Fail"), ("inconclusive", "? Inconclusive"), ("pass", "✓ Pass")])
def test_the_first_page_says_it_under_the_tiles_with_word_icon_and_day(name, told):
    text = text_of(page(name))
    assert f"What the policy says By privaudit.toml {told} for release of" in text
    assert "judged on 24 November 2026 (UTC)" in text
    order = (
        "Verdict by way of release",
        "What the policy says",
        "The numbers that carry",
        "Contents",
        "The rules of privaudit.toml",
    )
    assert [text.index(one) for one in order] == sorted(text.index(one) for one in order)
    assert Outline(page(name)).open == []


def test_a_row_holds_outcome_number_interval_n_limit_and_waiver():
    gate = JUDGED["fail"][1]
    rows = {row.cells[0]: row for row in table(gate).rows}
    assert rows["auc"].cells[1:] == (
        "✗\u00a0fail",
        ("AUC, lira-scores: 0.72 (0.71–0.74)", "95\u00a0% interval; 5,000\u00a0members, 5,000\u00a0non-members"),
        "under 0.65",
        "–",
    )
    assert rows["tpr_at_fpr"].cells[3] == "under 5 %"
    assert rows["no_worse_than_last (tpr_at_fpr)"].cells[3] == "a rise under 2 points"
    assert rows["least_evaluated"].cells[3] == "at least 5,000 a side"
    assert [rows[name].mark for name in ("auc", "required_attacks", "max_age")] == ["fail", "warn", ""]
    text = text_of(page("fail"))
    assert all(name in text for name in rows)
    (met, _) = table(JUDGED["pass"][1]).rows
    assert met.cells[2][2].startswith("simultaneous upper bound 0.5")


def test_a_bound_is_told_apart_from_its_limit():
    gate = JUDGED["pass"][1]
    near = replace(gate.rulings[0], bound=0.69996, limit=0.7)
    told = table(replace(gate, rulings=(near,))).rows[0].cells[2:4]
    assert (told[0][2], told[1]) == ("simultaneous upper bound 0.69996", "under 0.70")


@pytest.mark.parametrize("mode", ["strict", "lenient"])
def test_every_format_with_a_head_names_the_mode(mode):
    report = well_behaved()
    gate = judged(report, f"[limits]\nauc = 0.501\n[gate]\nmode = '{mode}'\n")
    assert gate.mode == mode
    assert f"for release of weights, in {mode} mode, judged on" in text_of(render_html(report, gate))
    for made in (render_markdown(report, gate), render_summary(report, gate)):
        assert f"for release of weights in {mode} mode." in made.replace("\\", "")
    facts = {one.get("name"): one.get("value") for one in suite_of(report, gate).iter("property")}
    assert facts["mode"] == mode
    assert json.loads(render_sarif(report, gate))["runs"][0]["properties"]["gate"]["mode"] == mode


def test_what_passes_only_because_the_policy_is_lenient_says_so_in_every_format():
    report, strict = JUDGED["pass"]
    gate = judged(report, f"{GENEROUS.replace('0.7', '0.515')}[gate]\nmode = 'lenient'\n")
    assert [one.lenient for one in gate.rulings] == [True, False]
    assert not any(one.lenient for one in strict.rulings)
    why = "passes because the policy is lenient"
    assert table(gate).rows[0].cells[2][-1] == why
    (notice, *_) = render_annotations(report, gate).splitlines()
    assert "in lenient mode" in notice
    for name in ("html", "markdown", "summary", "junit", "sarif"):
        assert why in FORMATS[name](report, gate)
        assert why not in FORMATS[name](report, strict)


def test_every_waiver_is_told_where_it_counts_and_where_it_does_not():
    report, gate = JUDGED["waived"]
    rows = table(gate).rows
    assert [row.cells[1] for row in rows] == [("✗\u00a0fail", "waived")] * 2
    assert {row.cells[4] for row in rows} == {"until 2027-03-31: A pilot, ticket 1234"}
    idle = "Waiver for max_age, until 2026-01-01, has expired and does not count: A pilot, ticket 1234."
    for made in (text_of(page("waived")), render_markdown(report, gate).replace("\\", "")):
        assert idle in made
        assert "Met by waiver only: auc, tpr_at_fpr." in made


IDLE = Note("baseline", "not used: of a policy only no_worse_than_last asks for the report of the last release.")


def test_what_no_rule_judged_and_what_was_compared_stands_in_every_format():
    report, gate = JUDGED["pass"]
    gate = replace(gate, compared="m, sha256 0123: the file <shown> is that one", remarks=(IDLE,))
    told = rulings.notes(gate)
    few = "10 classes are too few for an interval over classes; 20 are needed."
    assert told == (
        "Model: m, sha256 0123: the file <shown> is that one.",
        f"Inversion: not judged (families = membership); the verdict at release weights is cannot say: {few}",
        "Baseline: not used: of a policy only no_worse_than_last asks for the report of the last release.",
    )
    assert gate.sentence.endswith("Not judged: inversion (cannot say).")
    text, markdown = text_of(render_html(report, gate)), render_markdown(report, gate).replace("\\", "")
    run = json.loads(render_sarif(report, gate))["runs"][0]
    (met, *_) = render_annotations(report, gate).splitlines()
    facts = [one.get("value") for one in suite_of(report, gate).iter("property")]
    for one in told:
        assert one in text
        assert one in markdown
        assert one in {note["message"]["text"] for note in run["invocations"][0]["toolExecutionNotifications"]}
        assert one in met
        assert one.partition(": ")[2].rstrip(".") in {fact.rstrip(".") for fact in facts}
    assert set(run["properties"]["gate"]) >= {"model", "inversion", "baseline"}


# --- machines --------------------------------------------------------------------------------------------------------


def test_one_test_case_per_ruling():
    report, gate = JUDGED["fail"]
    found = cases(report, gate)
    assert [name.removeprefix("Policy: ") for name in found] == [one.name for one in gate.rulings]
    assert found["Policy: auc"].tag == "failure"
    assert found["Policy: required_attacks"].tag == "skipped"
    assert "boundary was skipped (it needs 2,500 queries" in found["Policy: required_attacks"].get("message")
    assert found["Policy: max_age"].tag == "system-out"
    assert "the policy allows 90d" in found["Policy: max_age"].text
    facts = {one.get("name"): one.get("value") for one in suite_of(report, gate).iter("property")}
    assert (facts["policy"], facts["gate"], facts["judged release"]) == ("privaudit.toml", "fail", "scores")
    assert facts["judged on"] == "2026-11-24"


def test_what_is_waived_fails_nowhere_and_says_until_when_and_why():
    report, gate = JUDGED["waived"]
    assert {one.tag for one in cases(report, gate).values()} == {"skipped"}
    alert = results(report, gate)["policy/auc"]
    assert (alert["level"], alert["properties"]["state"]) == ("note", "waived")
    assert alert["suppressions"][0]["justification"].endswith("Waived until 2027-03-31: A pilot, ticket 1234.")
    assert not any("Policy" in line for line in render_annotations(report, gate).splitlines())
    (issue, _) = (one for one in json.loads(render_gitlab(report, gate)) if "/policy/" in one["check_name"])
    assert issue["severity"] == "info"


def test_all_machines_agree_on_what_is_violated_and_what_is_open():
    report, gate = JUDGED["fail"]
    found = ruled(report, gate)
    levels = {name: one["level"] for name, one in results(report, gate).items()}
    assert levels == {name: one.level for name, one in found.items() if one.state is not State.PASSED}
    assert set(levels.values()) == {"error", "warning"}
    severities = {one["check_name"]: one["severity"] for one in json.loads(render_gitlab(report, gate))}
    told = {"error": "critical", "warning": "major"}
    assert all(severities[f"privaudit/{name}"] == told[level] for name, level in levels.items())
    lines = render_annotations(report, gate).splitlines()
    assert lines[0].startswith("::error title=privaudit%3A Policy%3A auc::auc, release of scores: fail. AUC of lira")
    firsts = [next(line for line in lines if line.startswith(f"::{level}")) for level in ("error", "warning")]
    assert all("Policy%3A" in line for line in firsts)
    run = json.loads(render_sarif(report, gate))["runs"][0]
    assert run["results"][0]["ruleId"] == "policy/auc"
    assert run["properties"]["gate"] == {
        "policy": "privaudit.toml", "outcome": "fail", "mode": "strict", "release": "scores",
        "judgedOn": "2026-11-24", "model": "no file was compared with the report",
    }  # fmt: skip
    notes = [one["message"]["text"] for one in run["invocations"][0]["toolExecutionNotifications"]]
    assert any(one.startswith("max_age, release of scores: pass.") for one in notes)


def test_the_summary_of_a_job_says_it_before_the_verdicts():
    text = render_summary(*JUDGED["fail"])
    assert text.index("What the policy says: ✗ Fail.") < text.index("| Release | Question |")


def test_that_it_is_met_is_a_notice():
    lines = render_annotations(*JUDGED["pass"]).splitlines()
    assert lines[0].startswith(
        "::notice title=privaudit%3A privaudit.toml is met::Every rule is met at release weights"
    )
    assert len(lines) == 2


def test_fingerprints_stay_when_numbers_outcomes_attacks_and_days_change():
    def prints(report, gate, slot="slot"):
        return {one.rule.id: points.fingerprint(slot, one) for one in ruled(report, gate).values()}

    first = prints(leaky(), judged(leaky(), EVERY_RULE))
    assert len(set(first.values())) == len(first) == 12
    quiet = well_behaved().model_copy(update={"membership": tuple(reversed(well_behaved().membership))})
    again = judged(
        quiet, EVERY_RULE.replace("0.65", "0.6"), now=NOW + timedelta(days=9), baseline=earlier(leaky()), named="b.toml"
    )
    assert {one.outcome for one in again.rulings} != {one.outcome for one in judged(leaky(), EVERY_RULE).rulings}
    assert prints(quiet, again) == first
    assert not set(prints(leaky(), judged(leaky(), EVERY_RULE), "other").values()) & set(first.values())
    release = judged(leaky(), EVERY_RULE.replace('"scores"', '"weights"'))
    assert not set(prints(leaky(), release).values()) & set(first.values())


def test_every_rule_has_its_question():
    rules = {name for part in get_args(Asked) for name in (get_args(part) or (part,))}
    assert rules == set(points._ASKED)


# --- nothing else changes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fail", "pass"])
def test_without_its_block_the_page_is_the_one_without_a_policy(name):
    report, gate = JUDGED[name]
    assert STYLE.sub("", BLOCK.sub("", page(name))) == render_html(report)
    told = render_markdown(report, gate).split("\n\n")
    start = next(place for place, part in enumerate(told) if part.startswith("**What the policy says"))
    assert told[start + 1].startswith("| Rule | Outcome |")
    assert told[start + 2].startswith("* Model: ")
    assert [*told[:start], *told[start + 3 :]] == render_markdown(report).split("\n\n")


@pytest.mark.parametrize("name", JUDGED)
def test_machines_are_told_all_that_they_are_told_without_a_policy(name):
    report, gate = JUDGED[name]
    found = points.of(report, gate)
    assert found[len(gate.rulings) :] == points.of(report)
    assert {one.kind for one in found[: len(gate.rulings)]} == {Kind.POLICY}
    root, plain = (ET.fromstring(one) for one in (render_junit(report, gate), render_junit(report)))  # noqa: S314
    assert [ET.tostring(suite) for suite in root[1:]] == [ET.tostring(suite) for suite in plain]


@pytest.mark.parametrize("name", ["markdown", "summary", "junit", "sarif"])
def test_the_same_moment_gives_the_same_bytes_and_another_day_is_told(name):
    first, again, later = (
        FORMATS[name](leaky(), judged(leaky(), EVERY_RULE, now=NOW + timedelta(days=days))) for days in (0, 0, 1)
    )
    assert first == again
    assert first != later


# --- strangers -------------------------------------------------------------------------------------------------------


@cache
def evil():
    """A report, a policy's name and the reasons of two waivers by somebody who means harm."""
    report = hostile(leaky())
    reason = json.dumps(EVIL[:480], ensure_ascii=False)[1:-1].replace("\\f", "\\\\f")
    policy = EVERY_RULE + waiver("auc", reason) + waiver("max_age", reason, "2026-01-01")
    return report, judged(report, policy, baseline=earlier(report), named=EVIL)


@cache
def poisoned(name):
    return FORMATS[name](*evil())


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_reasons_and_names_stay_text_on_their_line(name):
    assert evil()[1].rulings[0].waiver is not None
    made = poisoned(name)
    assert not {one for one in made if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Cn"}} - {"\n"}
    assert "A" * 1000 not in made
    assert "privaudit.toml" not in made
    assert ("until 2027-03-31: " in made) == (name != "annotations")  # what is waived is no alarm


def test_hostile_reasons_make_no_markup():
    outline = Outline(poisoned("html"))
    assert outline.open == []
    assert outline.all("script") == [{}]
    assert len(outline.all("style")) == 1
    assert not [one for one in outline.all("a") if not re.match(r"https?://|#", one["href"])]
    assert "<script>alert(1)</script>" in html.unescape(" ".join(outline.text))
    for made in (poisoned("markdown"), poisoned("summary")):
        assert not re.search(r"(?<!\\)<", made.replace("> **", ""))
        rows = [line for line in made.splitlines() if line.startswith("| ")]
        assert all(len(re.findall(r"(?<!\\)\|", row)) in {4, 5, 6, 7} for row in rows)
    lines = poisoned("annotations").splitlines()
    assert all(line.startswith(("::error title=", "::warning title=", "::notice title=")) for line in lines)
    ET.fromstring(poisoned("junit"))  # noqa: S314 - our own XML
