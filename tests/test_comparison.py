"""Defenses in an audit: twins, adaptive attackers, probes, inversion, advice, resuming, and what goes wrong."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from auditor import comparison
from auditor.audit import AuditOptions, audit
from auditor.comparison.advice import advise
from auditor.comparison.costs import LABELS_KEPT
from auditor.defense import UnfitDefenseError
from auditor.findings import (
    DefenseCard,
    DefenseProbeResult,
    DefenseResult,
    Failed,
    Fidelity,
    Skipped,
    StrongestAttack,
)
from auditor.stats.estimate import Estimate
from auditor.threat import Access
from tests.digits import parts, trained_weights, write_splits

MEASURED = ("mmd-mixup", "calor", "mid", "aeppt", "top-3", "labels-only")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("defended")
    members, others, population = parts(200, 200, 300)
    checkpoint = trained_weights(folder, *members)
    return folder, checkpoint, write_splits(folder / "splits", members, others, population)


def options(world, run, **changes):
    folder, checkpoint, splits = world
    return AuditOptions(
        **{
            "checkpoint": checkpoint,
            "data": splits,
            "arch": f"{folder / 'network.py'}:network",
            "budget": "quick",
            "device": "cpu",
            "run_dir": folder / run,
            "attacks": ("gap", "label-noise", "loss", "rmia", "lira-scores", "lira-weights"),
            "defenses": MEASURED,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def report(world):
    return audit(options(world, "first"))


@pytest.fixture(scope="module")
def results(report):
    return {result.card.id: result for result in report.defenses}


def test_every_defense_is_measured(results):
    assert {name: (result.status, result.reason) for name, result in results.items()} == dict.fromkeys(
        MEASURED, ("completed", "")
    )
    assert {name: result.not_run for name, result in results.items() if result.not_run} == {}


def test_output_time_stands_beside_the_model_and_training_time_beside_a_twin(results):
    beside = {name: (result.baseline, result.card.acts_on) for name, result in results.items()}
    assert set(beside.values()) == {("target", "output"), ("twin", "training")}
    twins = [result.effects[0].undefended for result in results.values() if result.baseline == "twin"]
    assert twins[0] == twins[1] == twins[2]
    assert {result.shadows for result in results.values()} == {8}


def test_released_weights_count_for_what_is_in_them_only(results):
    for result in results.values():
        assert bool(result.void_when_weights) is (result.card.acts_on == "output")
        accesses = {one.access for one in (*result.effects, *result.strongest)}
        assert (Access.WEIGHTS in accesses) is (result.card.acts_on == "training")


def test_who_keeps_labels_leaves_the_gap_attack_as_it_was(results):
    for name in ("aeppt", "top-3"):
        gap = next(one for one in results[name].effects if one.attack_id == "gap")
        assert gap.adaptive.value == gap.static.value == gap.undefended.value
        assert next(one for one in results[name].costs if one.name == "Labels changed").estimate.value == 0
        assert results[name].accuracy_change.value == 0


def test_the_strongest_attack_is_chosen_on_one_half_and_told_of_the_other(report, results):
    strongest = results["mmd-mixup"].strongest
    assert [one.access for one in strongest] == list(Access)
    half = report.data.evaluated // 2
    for one in strongest:
        assert one.chosen_at.n["members"] + one.adaptive.n["members"] == report.data.evaluated
        assert abs(one.adaptive.n["members"] - half) <= 10
        assert one.chosen_from >= 1


def test_attacks_on_labels_that_no_defense_is_refitted_for_compete_where_labels_alone_go_out(results):
    """Not through others, for whose shadows their many questions would have to be put anew."""
    chosen_from = {
        name: {one.access: one.chosen_from for one in result.strongest if one.access is not Access.WEIGHTS}
        for name, result in results.items()
    }
    assert chosen_from["labels-only"] == {Access.LABELS: 2, Access.SCORES: 2}
    assert {one[Access.LABELS] for name, one in chosen_from.items() if name != "labels-only"} == {1}
    at_labels = next(one for one in results["labels-only"].strongest if one.access is Access.LABELS)
    assert at_labels.attack_id == at_labels.undefended_attack_id
    assert at_labels.change.value == 0


def test_defenses_have_their_own_probes(results):
    probes = {name: [one.status for one in result.probes] for name, result in results.items() if result.probes}
    assert set(probes) == {"mmd-mixup", "calor", "mid", "aeppt"}
    assert {status for found in probes.values() for status in found} == {"completed"}


def test_records_that_were_held_out_are_a_question_of_their_own(results):
    asked = {probe.id: probe for result in results.values() for probe in result.probes if probe.asks == "held out"}
    assert set(asked) == {"mmd-mixup-held-out"}
    assert asked["mmd-mixup-held-out"].auc.n == {"held-out records": 150, "fresh records": 150}
    others = [probe for result in results.values() for probe in result.probes if probe.asks == "members"]
    assert all(set(probe.auc.n) == {"members", "non-members"} for probe in others)


def test_what_was_tuned_is_told(results):
    assert set(results["mmd-mixup"].chosen) == {"weight"}


def test_a_finished_run_gives_the_same_report_and_trains_nothing_again(world, report):
    folder = world[0] / "first"
    trained = {path.name: path.stat().st_mtime_ns for path in (folder / "models").iterdir()}
    again = audit(options(world, "first"))
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "models").iterdir()} == trained
    assert [one.model_dump(exclude={"timings"}) for one in again.defenses] == [
        one.model_dump(exclude={"timings"}) for one in report.defenses
    ]
    assert again.advice == report.advice


@pytest.mark.parametrize(
    ("error", "status"), [(UnfitDefenseError("too few records"), "skipped"), (RuntimeError("no luck"), "failed")]
)
def test_a_defense_that_fails_is_an_outcome_and_the_others_go_on(world, report, monkeypatch, error, status):
    def broken(*_):
        raise error

    rows = [replace(row, wrap=broken) if row.card.id == "aeppt" else row for row in comparison.DEFENSES]
    monkeypatch.setattr(comparison, "DEFENSES", tuple(rows))
    found = {one.card.id: one for one in audit(options(world, "first")).defenses}
    assert found["aeppt"].status == status
    assert str(error) in found["aeppt"].reason
    assert found["top-3"].status == "completed"


def test_defenses_that_the_plan_does_without_are_named_with_the_reason(report):
    left = {one.card.id: (one.status, one.reason) for one in report.defenses_not_planned}
    assert set(left) == {row.card.id for row in comparison.DEFENSES} - set(MEASURED)
    assert left["memguard"] == ("skipped", "runs from --budget thorough")
    assert left["purifier"] == ("skipped", "not asked for")


def test_what_did_not_run_through_a_defense_is_named():
    class Told:
        def __init__(self, scored, reasons):
            self.scored, self.exhibit = scored, comparison.inversion.Exhibit(reasons=reasons)

    failed = SimpleNamespace(outcome=Failed(error="RuntimeError: no"))
    skipped = SimpleNamespace(outcome=Skipped(reason="needs more"))
    before = Told({}, {"inversion-network": "images are smaller", "miface": comparison.inversion.NOT_ASKED})
    found = list(comparison.effects.not_run_of(before, Told({"gap": failed}, {"miface": "crashed"}), {"loss": skipped}))
    assert found == [
        "gap: RuntimeError: no",
        "loss, static: needs more",
        "inversion-network, undefended: images are smaller",
        "miface: crashed",
    ]


# --- advice ----------------------------------------------------------------------------------------------------------


def estimate(value, spread=0.02):
    return Estimate(value, value - spread, value + spread, 0.95, "made up", {"members": 500, "non-members": 500})


def result(name, leak, accuracy, *, access=Access.SCORES, told=None, probes=(), **changes):
    card = DefenseCard(
        id=name, title=name, paper=None, fidelity=Fidelity.OWN, acts_on="output", counts_for=(Access.SCORES,)
    )
    strongest = StrongestAttack(
        access=access,
        attack_id="rmia",
        chosen_from=5,
        chosen_at=estimate(leak),
        adaptive=estimate(leak if told is None else told),
        undefended_attack_id="lira-scores",
        undefended_chosen_at=estimate(0.75),
        undefended=estimate(0.75),
        change=estimate((leak if told is None else told) - 0.75),
    )
    return DefenseResult(
        card=card,
        status="completed",
        strongest=(strongest,),
        probes=probes,
        accuracy_change=estimate(accuracy),
        accuracy_change_at_choice=estimate(accuracy),
        **changes,
    )


def test_the_least_leaking_of_those_that_are_worth_it_is_advised():
    (advice,) = advise([result("dear", 0.51, -0.2), result("good", 0.6, -0.01), result("weak", 0.7, 0.0)])
    assert advice.defense_id == "good"
    assert set(advice.front) == {"dear", "good", "weak"}
    assert advice.strongest.adaptive.value == 0.6


def test_what_another_beats_is_not_on_the_front():
    (advice,) = advise([result("good", 0.6, 0.0), result("beaten", 0.65, -0.01)])
    assert advice.front == ("good",)


def test_the_choice_is_made_on_one_half_and_told_of_the_other():
    (advice,) = advise([result("lucky", 0.55, 0.0, told=0.74), result("steady", 0.6, 0.0)])
    assert advice.defense_id == "lucky"
    assert advice.strongest.adaptive.value == 0.74
    assert "was not shown to leak less" in advice.sentence


@pytest.mark.parametrize(("leak", "accuracy"), [(0.76, 0.0), (0.5, -0.021)])
def test_nothing_is_advised_where_nothing_is_worth_it(leak, accuracy):
    (advice,) = advise([result("bad", leak, accuracy)])
    assert advice.defense_id is None
    assert "bad" in advice.sentence


def test_a_release_for_which_nothing_counts_gets_no_advice():
    assert advise([result("void", 0.5, 0.0, access=Access.WEIGHTS)]) == ()


def test_what_is_not_stopped_is_named():
    probe = DefenseProbeResult(id="p", title="Jitter", access=Access.LABELS, status="completed", auc=estimate(0.9))
    (advice,) = advise([result("good", 0.6, 0.0, probes=(probe,))])
    assert "Jitter against good, AUC 0.90 (95 % interval" in advice.not_stopped
    (advice,) = advise([result("good", 0.6, 0.0, probes=(probe.model_copy(update={"asks": "held out"}),))])
    assert "records that good held out, recognised, AUC 0.90" in advice.not_stopped
    assert advice.not_stopped.startswith("Not stopped: RMIA (online);")
    (none,) = advise([result("dear", 0.6, -0.2)])
    assert none.not_stopped.startswith("Not stopped: RMIA (online) against dear, AUC ")


def test_numbers_and_records_are_told_once_and_no_change_is_no_number():
    labels = result("labels-only", 0.6, 0.0)
    still = replace(labels.accuracy_change, value=0.0, low=0.0, high=0.0, method=LABELS_KEPT)
    (advice,) = advise([labels.model_copy(update={"accuracy_change": still})])
    assert advice.sentence.startswith("Releasing labels only: the strongest of 5 attacks on labels (RMIA (online))")
    assert "one seed" not in advice.sentence
    assert advice.sentence.count(", on 500 members and 500 non-members") == 1
    assert "Accuracy does not change (" in advice.sentence
    assert "leaks less" not in advice.sentence


def test_what_stands_beside_a_retrained_model_is_named():
    """A twin is not the audited file, and what was trained once speaks of one training."""
    (advice,) = advise([result("good", 0.6, -0.01, baseline="twin", shadows=8)])
    assert advice.sentence.startswith("This model retrained once with good: the strongest of 5 attacks refitted to it")
    assert "for an undefended twin, retrained alike (8 shadows each), on 500 members" in advice.sentence
    assert "−1.0 points (−3.0 to +1.0;" in advice.sentence
    assert "one seed" not in advice.sentence
    (advice,) = advise([result("good", 0.6, -0.01)])
    assert advice.sentence.startswith("This file with good: ")
    assert advice.sentence.endswith("That speaks of this file, one seed.")
    assert "twin" not in advice.sentence


def test_where_nobody_is_advised_the_two_that_leak_least_are_named_and_the_rest_counted():
    probe = DefenseProbeResult(id="p", title="Jitter", access=Access.LABELS, status="completed", auc=estimate(0.9))
    dear = [result(f"{name} " * 12, 0.6 + 0.01 * at, -0.2, probes=(probe,)) for at, name in enumerate("dcba")]
    (advice,) = advise(dear[::-1])
    named = [one.card.title in advice.not_stopped for one in dear]
    assert named == [True, True, False, False]
    assert advice.not_stopped.startswith("Not stopped: Jitter against d")
    assert advice.not_stopped.endswith("; 2 more in the section on defenses.")
    assert len(advice.not_stopped) < 600
