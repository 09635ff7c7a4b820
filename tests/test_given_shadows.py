"""Shadows of the owner's own: the same audit as with ours where they are the same, and a table of ways to be wrong."""

import json
import os
import pickle
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.audit import AuditOptions, audit
from auditor.battery.plan import Plan
from auditor.cli import main
from auditor.compute import SILENT, RunFolder
from auditor.errors import InputError
from auditor.findings import CheckLevel, Family
from auditor.given_shadows import INCLUSION_NAME, load_given, read_given_shadows
from auditor.intake import open_inputs
from auditor.laboratory import Blueprint, Laboratory
from auditor.membership import exposure
from auditor.membership.evidence import Evidence
from auditor.planning import design_of, settle_plan
from auditor.threat import Access
from auditor.training import train
from tests import worlds
from tests.digits import RECIPE, digits, parts, trained_weights, write_splits

M = 120  # members and non-members that stand once
LEFT_OUT = {
    **dict.fromkeys(("created", "timings", "attack_timings", "plan", "checks", "instant"), True),
    "defenses": {"__all__": {"timings"}},
}


def inputs_of(options):
    return open_inputs(options.checkpoint, options.data, arch=options.arch, device=torch.device("cpu"), trust=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A member stands twice, a non-member stands twice, and one test row is a member: rows are not records."""
    folder = tmp_path_factory.mktemp("given")
    (images, labels), (others, other_labels), population = parts(M + 1, M, 200)
    members = images[[*range(M + 1), M]], labels[[*range(M + 1), M]]
    test = (
        np.concatenate([images[:1], others, others[5:6]]),
        np.concatenate([labels[:1], other_labels, other_labels[5:6]]),
    )
    checkpoint = trained_weights(folder, *members)
    write_splits(folder / "splits", members, test, population)
    return AuditOptions(
        checkpoint=checkpoint,
        data=folder / "splits",
        arch=f"{folder / 'network.py'}:network",
        budget="quick",
        device="cpu",
        workers=1,
        attacks=("gap", "lira-scores", "lira-weights", "rmia", "translations", "instance-vector"),
        defenses=("purifier",),
        run_dir=folder / "ours",
    )


@pytest.fixture(scope="module")
def ours(world):
    return audit(world)


@pytest.fixture(scope="module")
def given(world, ours):
    """Our own shadows as a folder, and who was in them, written down by row."""
    folder = world.run_dir.parent / "given"
    folder.mkdir()
    splits = inputs_of(world)[1]
    drawn = design_of(splits, cap=2000, shadows=8, seed=0)
    trained_on = dict(zip(drawn.audit_set.records.digests, drawn.inclusion.T, strict=True))
    everywhere = np.ones(8, dtype=bool)
    train_flags = np.stack([trained_on.get(one, everywhere) for one in splits.members.digests], axis=1)
    test_flags = np.stack([trained_on.get(one, everywhere) for one in splits.test_as_read], axis=1)
    test_flags[:, 0] = False  # the member among the test rows
    test_flags[::2, 1 + 5] = False  # of equal rows one is enough
    test_flags[1::2, 1 + M] = False
    for path in (world.run_dir / "models").glob("shadow-*.safetensors"):
        shutil.copy(path, folder / f"{path.name[:9]}.safetensors")
    np.savez_compressed(folder / INCLUSION_NAME, train=train_flags, test=test_flags)
    return folder


@pytest.fixture(scope="module")
def theirs(world, given):
    return audit(replace(world, shadows=given, run_dir=given.parent / "theirs"))


def found(report):
    """Without the words for the attacker, who is told of by what is known of the shadows."""
    told = json.dumps(report.model_dump(mode="json", exclude=LEFT_OUT))
    return json.loads(re.sub(r"An outsider who holds a candidate record[^.]*? (?=recognises|tells)", "", told))


def test_our_own_shadows_given_back_give_the_same_audit(ours, theirs):
    assert found(theirs) == found(ours)
    assert (
        "8 models, each trained on a known part of such records"
        in theirs.verdict(Access.WEIGHTS, Family.MEMBERSHIP).sentence
    )
    assert "trains 8 models on half of the audited records" in ours.verdict(Access.WEIGHTS, Family.MEMBERSHIP).sentence
    assert any(result.outcome.status == "completed" for result in theirs.membership if result.card.id == "lira-weights")
    assert [defense.status for defense in theirs.defenses] == ["completed"]


def test_the_report_says_that_they_were_given(ours, theirs):
    assert (ours.plan.shadow_source, theirs.plan.shadow_source) == ("trained", "given")
    assert ours.plan.shadows == theirs.plan.shadows == 8
    told = {check.id: check.sentence for check in theirs.checks}
    assert "trained by" not in told["recipe"]
    assert "given" in told["recipe"]
    assert told["few-shadows"].startswith("8 shadows, 4 with and 4 without each record")
    assert "train shadows" not in {timing.phase for timing in theirs.timings}


def test_they_are_read_in_place_and_what_is_lost_is_asked_again(world, given, theirs):
    run = given.parent / "theirs"
    assert {path.name.split("-")[0] for path in (run / "models").iterdir()} == {"null", "control", "planted"}
    target, splits = inputs_of(world)
    plan, design = settle_plan(replace(world, shadows=given), target, splits, RunFolder(run))
    bench, blueprint = Bench(), Blueprint(target.architecture, target.facts, "cpu")
    laboratory = Laboratory(RunFolder(run), bench, blueprint, plan.recipe, plan.queries, design.audit_set, SILENT)
    before = laboratory.train(design.shadows, task="shadows")
    assert bench.done == []
    lost = min((run / "signals").glob("shadow-03-*"), key=lambda path: len(path.name))  # not the defended one's
    lost.unlink()
    again = laboratory.train(design.shadows, task="shadows")
    assert [job.training_set.name for job in bench.done] == ["shadow-03"]
    assert lost.exists()
    for one, other in zip(before, again, strict=True):
        assert np.array_equal(one.audit.logit_margin, other.audit.logit_margin)


class Bench:
    """Work items done here and now, and counted."""

    def __init__(self):
        self.done = []

    def run(self, function, items, *, task, progress):
        for item in items:
            function(item)
            self.done.append(item)


def test_a_plan_keeps_to_its_shadows(world, given, ours, theirs, tmp_path):
    plan = given.parent / "theirs" / "plan.json"
    target, splits = inputs_of(world)

    def settle(**changes):
        return settle_plan(replace(world, run_dir=None, **changes), target, splits, None)[0]

    told = settle(plan=plan, shadows=given)
    assert told == Plan.model_validate_json(plan.read_text())
    assert settle(shadows=given).given == told.given
    assert f"8 shadows, given in {given.name}, 2 null models" in told.describe()
    assert str(given.parent) not in told.model_dump_json()
    with pytest.raises(InputError, match="was made with given shadows"):
        settle(plan=plan)
    with pytest.raises(InputError, match="was made without --shadows"):
        settle(plan=world.run_dir / "plan.json", shadows=given)
    shutil.copytree(given, tmp_path / "other")
    flags = dict(np.load(given / INCLUSION_NAME))
    flags["train"][:, 3] ^= True
    np.savez(tmp_path / "other" / INCLUSION_NAME, **flags)
    with pytest.raises(InputError, match="was made with other shadows"):
        settle(plan=plan, shadows=tmp_path / "other")


def test_a_file_that_changes_during_the_audit_is_noticed(world, given, tmp_path):
    shutil.copytree(given, tmp_path / "given")
    target, splits = inputs_of(world)
    first, second = read_given_shadows(tmp_path / "given", target, splits).models[:2]
    assert load_given(target, first).facts.sha256 == first.sha256
    shutil.copy(second.path, first.path)
    with pytest.raises(InputError, match="has changed"):
        load_given(target, first)


# --- an inclusion without pairs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coins(tmp_path_factory):
    """Six shadows that flipped a coin for each member and for the first 200 of 320 test records; no population."""
    folder = tmp_path_factory.mktemp("coins")
    members, test, _ = parts(200, 320, 2)
    checkpoint = trained_weights(folder, *members)
    write_splits(folder / "splits", members, test, (members[0][:0], members[1][:0]))
    (folder / "splits" / "population.npz").unlink()
    options = AuditOptions(
        checkpoint=checkpoint,
        data=folder / "splits",
        arch=f"{folder / 'network.py'}:network",
        budget="quick",
        device="cpu",
        workers=1,
        attacks=("lira-scores", "lira-weights", "gap", "rapid", "instance-vector", "ml-leaks-1"),
        defenses=(),
        run_dir=folder / "run",
        shadows=folder / "coins",
    )
    target, _ = inputs_of(options)
    flags = np.random.default_rng(3).random((6, 520)) < 0.5
    flags[:, 400:] = False
    images, labels = (np.concatenate(both) for both in zip(members, test, strict=True))
    (folder / "coins").mkdir()
    for index, row in enumerate(flags):
        model = train(target, images[row], labels[row], RECIPE, seed=index)
        torch.save({"state_dict": model.module.state_dict(), "epoch": 12}, folder / "coins" / f"{index}.pt")
    np.savez(folder / "coins" / INCLUSION_NAME, train=flags[:, :200], test=flags[:, 200:])
    return options, flags


def test_who_is_covered_is_evaluated_and_who_was_seen_never_calibrates(coins):
    options, flags = coins
    target, splits = inputs_of(options)
    plan, design = settle_plan(options, target, splits, None)
    rows = {one: row for row, one in enumerate((*splits.members.digests, *splits.non_members.digests))}
    evaluated = [rows[one] for one in design.audit_set.records.digests]
    assert np.array_equal(design.inclusion, flags[:, evaluated])
    assert np.isin(flags[:, evaluated].sum(0), [2, 3, 4]).all()
    calibrating = [
        rows[one] for part in (design.audit_set.calibration, design.audit_set.reference) for one in part.digests
    ]
    assert sorted(calibrating) == [row for row in range(200, 520) if not flags[:, row].any()]
    assert plan.calibration + plan.reference == len(calibrating) >= 120
    assert design.audit_set.population_source == "the part of test/ that no shadow trained on"
    assert set(evaluated[: plan.evaluated]) <= set(range(200))


def test_an_audit_without_pairs(coins):
    report = audit(coins[0])
    outcomes = {one.card.id: one.outcome for one in report.membership if one.outcome.status == "completed"}
    assert outcomes.keys() >= {"lira-scores", "lira-weights", "gap", "ml-leaks-1"}
    assert not [one for one in report.membership if one.outcome.status == "failed"]
    reasons = {one.card.id: one.outcome.reason for one in report.membership if one.outcome.status == "skipped"}
    assert "complementary pair" in reasons["instance-vector"]
    checks = {check.id: check for check in report.checks}
    assert checks["few-shadows"].sentence.startswith("6 shadows, at least 2 with and 2 without each record")
    assert checks["few-shadows"].level is CheckLevel.WARN
    planted = next(control for control in report.controls if control.id == "planted")
    assert [one.dose for one in planted.doses if one.detected.value == 1.0]
    assert {one.detected.value for one in planted.doses if one.dose == 0} <= {0.0, 0.05, 0.1}


def test_a_shadow_in_the_targets_place_takes_its_kin_along():
    rows = np.random.default_rng(0).random((6, 40)) < 0.5
    rows[4], rows[5] = ~rows[1], rows[1]
    evidence = Evidence(None, Stack(range(6)), rows)
    assert [evidence.kin(index) for index in (0, 1, 4)] == [[0], [1, 4, 5], [1, 4, 5]]
    assert evidence.attacking_shadow(4).shadows.left == [0, 2, 3]
    assert np.array_equal(evidence.attacking_shadow(0).shadow_membership, rows[1:])


@pytest.mark.parametrize(("shadows", "told"), [(48, True), (16, False)])
def test_halves_without_pairs_are_compared_where_both_hold_enough(monkeypatch, shadows, told):
    monkeypatch.setattr(worlds, "inclusion_pairs", lambda n, models, rng: rng.random((models, n)) < 0.5)
    simulated = worlds.world(n=60, shadows=shadows, leak=6.0)
    stability = exposure._overlap(worlds.attack("lira-weights"), simulated.evidence, simulated.jury)
    assert (stability is not None and stability.value > 0) == told


class Stack:
    """Answers that only count models."""

    def __init__(self, left):
        self.left = list(left)

    def model(self, index):
        return self.left[index]

    def without_models(self, models):
        return Stack(index for index in self.left if index not in models)


# --- ways to be wrong ----------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Four shadows with random weights: whatever is wrong with them is seen before any training."""
    folder = tmp_path_factory.mktemp("untrained")
    images, labels = digits()
    trained_weights(folder, images[:80], labels[:80])
    write_splits(folder / "splits", *parts(80, 80, 120))
    (folder / "shadows").mkdir()
    for index in range(4):
        noise = torch.Generator().manual_seed(index)
        tensors = load_file(folder / "digits.safetensors")
        noisy = {name: tensor + torch.randn(tensor.shape, generator=noise) for name, tensor in tensors.items()}
        save_file(noisy, folder / "shadows" / f"{index}.safetensors")
    half = np.arange(80) % 2 == 0
    flags = np.stack([half, ~half, half, ~half])
    np.savez(folder / "shadows" / INCLUSION_NAME, train=flags, test=flags)
    return folder


@pytest.fixture
def case(untrained, tmp_path, monkeypatch):
    shutil.copytree(untrained, tmp_path / "case")
    monkeypatch.chdir(tmp_path / "case")
    return tmp_path / "case" / "shadows"


def plan_of(*more):
    return main(
        [
            "plan",
            "digits.safetensors",
            "--data",
            "splits",
            "--arch",
            "network.py:network",
            "--shadows",
            "shadows",
            *more,
        ]
    )


def test_four_shadows_are_enough_to_plan(case, capsys):
    assert plan_of("--attacks", "gap", "--defenses", "none") == 0
    told = capsys.readouterr().out
    assert "4 shadows, given in shadows, 2 null models, 2 control models" in told
    assert "80 members and 80 non-members are evaluated" in told


def inclusion(shadows, **changes):
    flags = {**np.load(shadows / INCLUSION_NAME), **changes}
    np.savez(shadows / INCLUSION_NAME, **{name: array for name, array in flags.items() if array is not None})


def flags(shadows):
    return np.load(shadows / INCLUSION_NAME)["train"]


def emptied(shadows):
    shutil.rmtree(shadows)
    shadows.mkdir()


def one_too_few(shadows):
    (shadows / "3.safetensors").unlink()
    inclusion(shadows, train=flags(shadows)[:3], test=flags(shadows)[:3])


def one_too_many(shadows):
    tensors = load_file(shadows / "0.safetensors")
    save_file({name: -tensor for name, tensor in tensors.items()}, shadows / "4.safetensors")
    inclusion(shadows, **dict.fromkeys(("train", "test"), flags(shadows)[[0, 1, 2, 3, 0]]))


def rewritten(shadows, change):
    tensors = load_file(shadows / "2.safetensors")
    change(tensors)
    save_file(tensors, shadows / "2.safetensors")


def other_network(shadows):
    rewritten(shadows, lambda tensors: tensors.pop("1.bias"))


def not_finite(shadows):
    rewritten(shadows, lambda tensors: tensors["1.bias"].fill_(torch.nan))


def twice(shadows):
    shutil.copy(shadows / "0.safetensors", shadows / "2.safetensors")


def the_target(shadows):
    shutil.copy(shadows.parent / "digits.safetensors", shadows / "2.safetensors")


def truncated(shadows):
    content = (shadows / "2.safetensors").read_bytes()
    (shadows / "2.safetensors").write_bytes(content[:-7])


def pickled(shadows):
    (shadows / "2.safetensors").unlink()
    (shadows / "2.pt").write_bytes(pickle.dumps(Bomb()))


def never_tossed(shadows):
    inclusion(shadows, train=np.ones((4, 80), dtype=bool))


def blind(shadows):
    rows = np.arange(4)[:, None] != np.arange(80) % 3
    rows[3] = False
    inclusion(shadows, train=rows, test=rows)


WRONG = [
    (emptied, "0 weights files"),
    (one_too_few, "3 weights files"),
    (one_too_many, "5 weights files"),
    (other_network, "2.safetensors is no shadow of the audited model"),
    (not_finite, "NaN or infinite"),
    (twice, "same weights as 0.safetensors"),
    (the_target, "same weights as the audited checkpoint"),
    (truncated, "2.safetensors is not a readable"),
    (pickled, "never unpickled"),
    (lambda shadows: (shadows / INCLUSION_NAME).unlink(), "There is no"),
    (lambda shadows: (shadows / INCLUSION_NAME).write_bytes(b"no archive"), "not a NumPy archive"),
    (lambda shadows: inclusion(shadows, train=None), "holds no `train`"),
    (lambda shadows: inclusion(shadows, train=flags(shadows).astype(np.uint8)), "`train` is uint8"),
    (lambda shadows: inclusion(shadows, train=flags(shadows)[:3]), "`train` is bool of shape [3, 80]"),
    (lambda shadows: inclusion(shadows, test=flags(shadows)[:, 1:]), "`test` is bool of shape [4, 79]"),
    (lambda shadows: inclusion(shadows, test=flags(shadows).astype(object)), "never unpickled"),
    (lambda shadows: inclusion(shadows, test=None), "0 non-members have two given shadows"),
    (never_tossed, "0 members without an equal"),
    (blind, "3.safetensors was trained on none of the 160 records"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG)
def test_what_cannot_be_used_ends_with_two_before_any_training(case, wrong, told, capsys, monkeypatch):
    wrong(case)
    monkeypatch.setattr("auditor.audit.preview", None)
    assert plan_of("--trust-checkpoint") == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (case.parent / "exploded").exists()
