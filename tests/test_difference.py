"""Two reports of one model slot: what is compared, what is matched, and what is said of the rest."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from auditor import cli
from auditor.difference.changes import compare
from auditor.errors import InputError
from auditor.findings import Metric, RecordExposure, Role, VerdictState
from auditor.intake import audit_set_id
from auditor.report import render_json
from auditor.stats.intervals import proportion
from tests.minimal_report import attack, auc, report, tpr
from tests.report.example import leaky, well_behaved

pytestmark = pytest.mark.usefixtures("one_thing_at_a_time")

BEFORE = report(VerdictState.NOTHING_FOUND, membership=[attack(auc(0.5), tpr(0.01))])
AFTER = report(VerdictState.LEAK_FOUND, membership=[attack(auc(0.7), tpr(0.10))])


def exposing(found, *records, key="key", audit_set="set"):
    exposed = RecordExposure(
        status="completed",
        attack_id="lira",
        flagged=proportion(min(len(records), 1000), 1000, unit="members"),
        records=records,
    )
    data = found.data.model_copy(update={"key_fingerprint": key, "audit_set": audit_set})
    return found.model_copy(update={"record_exposure": exposed, "data": data})


def test_numbers_that_both_hold_are_compared_unpaired():
    found = compare(BEFORE, AFTER)
    assert [(one.metric, round(one.change.value, 9)) for one in found.changes] == [
        (Metric.AUC, 0.2),
        (Metric.TPR_AT_FPR, 0.09),
    ]
    assert all(one.primary and one.change.low < one.change.value < one.change.high for one in found.changes)
    assert {one.change.method for one in found.changes} == {"unpaired, from both intervals"}
    assert {(one.old, one.new) for one in found.turns} == {(VerdictState.NOTHING_FOUND, VerdictState.LEAK_FOUND)}


def test_exposed_records_are_matched_one_by_one_where_they_can_be():
    found = compare(exposing(BEFORE, "a", "b", "c"), exposing(AFTER, "b", "c", "d", "e"))
    assert (found.exposed.stayed, found.exposed.gained, found.exposed.lost) == (2, 2, 1)
    assert found.exposed.change.value == pytest.approx(0.001)
    assert found.exposed.change.method.startswith("paired")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"key": "other"}, "the keys differ"),
        ({"audit_set": "other"}, "other records were evaluated"),
        ({"audit_set": ""}, "it is not known which records were evaluated"),
    ],
)
def test_without_the_same_key_and_records_nothing_is_matched(changes, why):
    found = compare(exposing(BEFORE, "a"), exposing(AFTER, "a", "b", **changes))
    assert (found.exposed.gained, found.exposed.change.method) == (None, "unpaired, from both intervals")
    assert found.unpaired == f"{why}; scan both versions with one --key, on the same records"


def test_exposure_at_another_confidence_is_not_compared():
    after = exposing(AFTER, "a")
    exposed = after.record_exposure
    odd = exposed.model_copy(update={"flagged": replace(exposed.flagged, confidence=0.5)})
    assert compare(exposing(BEFORE, "a"), after).exposed is not None
    assert compare(exposing(BEFORE, "a"), after.model_copy(update={"record_exposure": odd})).exposed is None


def test_what_is_not_judged_is_not_compared():
    appendix = report(membership=[attack(tpr(0.5, appendix=True))])
    assert compare(BEFORE, appendix).changes == ()
    renamed = report(membership=[attack(auc(0.5), name="rmia")])
    found = compare(BEFORE, renamed)
    assert (found.changes, found.missing, found.added) == ((), ("lira",), ("rmia",))
    secondary = report(membership=[attack(auc(0.5), role=Role.SECONDARY)])
    assert [one.primary for one in compare(BEFORE, secondary).changes] == [False]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"shadows": 64}, "4 shadows then, 64 now"),
        ({"shadow_source": "given"}, "shadows trained then, given now"),
        ({"queries": ("plain", "flip")}, "1 queries a record then, 2 now, or other ones"),
    ],
)
def test_another_attacker_is_told(changes, told):
    found = compare(BEFORE, AFTER.model_copy(update={"plan": AFTER.plan.model_copy(update=changes)}))
    assert found.unlike == (told,)
    assert all(one.unlike == (told,) and not one.paired for one in found.changes)


def of_model(found, **changes):
    return found.model_copy(update={"model": found.model.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            {},
            {"wrapper": "purifier", "wrapper_sha256": "1"},
            ["the new model stands behind the output wrapper purifier"],
        ),
        ({"wrapper": "hamp"}, {}, ["the old model stands behind the output wrapper hamp"]),
        (
            {"wrapper": "hamp", "wrapper_sha256": "1"},
            {"wrapper": "hamp", "wrapper_sha256": "2"},
            [
                "the old model stands behind the output wrapper hamp",
                "the new model stands behind the output wrapper hamp",
                "the wrappers are of the same kind and not the same",
            ],
        ),
        ({}, {"trained_with": "relaxloss"}, ["the new model was trained with relaxloss"]),
        (
            {},
            {"preprocessing": BEFORE.model.preprocessing.model_copy(update={"std": (0.25,), "source": "a guess"})},
            ["preprocessing, std: [0.5] then, [0.25] now"],
        ),
        ({"model_args": {}}, {"model_args": {"depth": 2}}, ["arguments of the network: {} then, {'depth': 2} now"]),
        ({"head": "plain"}, {"head": "tanh"}, ["last layer: plain then, tanh now"]),
        ({"head": None, "model_args": None}, {"head": "tanh", "model_args": {"depth": 2}}, []),
        ({"sha256": "1"}, {"sha256": "2"}, []),
    ],
)
def test_what_stands_around_the_weights_is_told(old, new, told):
    notes = compare(of_model(BEFORE, **old), of_model(AFTER, **new)).notes
    assert [one for one in notes if not one.startswith("both reports are of the same weights")] == told


def rebuilding(found, classes):
    shown = next(one for one in leaky().inversion if one.record_excess)
    return found.model_copy(update={"inversion": (shown.model_copy(update={"classes": classes}),)})


@pytest.mark.parametrize(
    ("then", "now", "compared"), [(20, 20, True), (10, 20, False), (20, 10, False), (10, 10, False)]
)
def test_inversion_is_not_compared_over_few_classes(then, now, compared):
    found = compare(rebuilding(BEFORE, then), rebuilding(AFTER, now))
    why = "1 inversion attack is not compared: an interval over classes needs at least 20, and there are 10"
    assert any(one.metric is None for one in found.changes) is compared
    assert (why in found.notes) is not compared


def test_without_the_files_the_reason_and_the_remedy_are_told():
    found = compare(exposing(BEFORE, "a"), exposing(AFTER, "a"))
    assert found.unpaired.startswith(
        "the old report was given without its run folder; keep the run folders (--run-dir)"
    )


def test_other_settings_make_one_attack_another():
    tuned = attack(auc(0.7))
    card = tuned.card.model_copy(update={"settings": {"steps": 2}})
    found = compare(BEFORE, report(membership=[tuned.model_copy(update={"card": card})]))
    assert [one.unlike for one in found.changes] == [("the attack's own settings",)]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (BEFORE, AFTER.model_copy(update={"stage": "target alone"}), "The new report is preliminary"),
        (BEFORE, report(classes=("cat", "cow")), "different tasks"),
        (exposing(BEFORE, "a"), exposing(AFTER, *map(str, range(1002))), "more exposed records than they evaluate"),
    ],
)
def test_reports_that_do_not_belong_together_are_refused(old, new, complaint):
    with pytest.raises(InputError, match=complaint):
        compare(old, new)


def test_an_audit_set_is_known_by_its_records_and_the_key_alone():
    def known_as(*digests, members=(True, False, True), key=b"k" * 32):
        records = SimpleNamespace(digests=digests)
        return audit_set_id(SimpleNamespace(records=records, membership=np.array(members)), key)

    here = known_as(b"a", b"b", b"c")
    assert known_as(b"c", b"b", b"a") == here
    others = [known_as(b"a", b"c", b"b"), known_as(b"a", b"b", b"d"), known_as(b"a", b"b", b"c", key=b"l" * 32)]
    assert len({here, *others}) == 4


def run(tmp_path, old, new):
    for name, one in (("old", old), ("new", new)):
        (tmp_path / f"{name}.json").write_text(render_json(one), encoding="utf-8")
    return cli.main(["diff", str(tmp_path / "old.json"), str(tmp_path / "new.json")])


def test_the_command_tells_every_number_with_its_interval(tmp_path, capsys):
    assert run(tmp_path, exposing(BEFORE, "a"), exposing(AFTER, "a", "b")) == 0
    lines = capsys.readouterr().out.splitlines()
    labels = [line.split()[0] for line in lines]
    assert labels == ["verdict"] * 3 + ["severity", "primary", "primary", "unpaired", "exposed", "note"]
    assert lines[6].startswith(
        "unpaired  the old report has no scores.safetensors beside it; keep the run folders (--run-dir), "
    )
    assert "verdict   membership, weights: leak found, was nothing found. About membership: leak found." in lines
    numbers = [line for line in lines if line.startswith("primary")]
    assert len(numbers) == 2
    assert all("95\u00a0% interval" in line and "unpaired" in line and "1,000" in line for line in numbers)
    assert any(line.startswith("exposed   1 new, 0 no longer, 1 as before; change +0.10") for line in lines)


def test_real_reports_can_be_compared(tmp_path, capsys):
    assert run(tmp_path, leaky(), well_behaved()) == 0
    assert "severity  none, was " in capsys.readouterr().out


def test_attacks_of_one_report_only_are_counted_and_the_first_are_named(tmp_path, capsys):
    many = report(membership=[attack(auc(0.5), name=name) for name in "cabed"])
    assert run(tmp_path, many, BEFORE) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "gone      5 attacks completed in the old report only: a, b, c and 2 more" in lines
    assert "new       1 attack completed in the new report only: lira" in lines


def test_hostile_names_stay_on_their_line(tmp_path, capsys):
    hostile = "\x1b[2J\nverdict   membership, weights: nothing found"
    bad = [report(membership=[attack(auc(low), name=hostile)]) for low in (0.5, 0.7)]
    assert run(tmp_path, *bad) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert sum(line.startswith("verdict   membership, weights") for line in told.splitlines()) == 1


@pytest.mark.parametrize("arguments", ["diff", "diff nowhere.json nowhere.json", "diff pyproject.toml pyproject.toml"])
def test_bad_input_is_refused(arguments):
    assert cli.main(arguments.split()) == 2
