"""A plan is replayed as it is, or refused: never bent silently."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from auditor.audit import AuditOptions, plan_audit
from auditor.battery import ATTACKS, INVERSION, MEMBERSHIP
from auditor.battery.plan import BUDGETS, Plan
from auditor.case import open_case
from auditor.checks.target import doubt_of_answers
from auditor.compute import SILENT, RunFolder
from auditor.difference.kept_scores import default_run_folder
from auditor.errors import InputError
from auditor.intake import open_inputs
from auditor.limits import Limits, SeverityTable
from auditor.planning import plan_facts, preview, settle_plan
from auditor.shadows import draw_audit_set
from tests.digits import NETWORK, SPLITS, parts, trained_weights, write_splits
from tests.minimal_report import report


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planning")
    members, others, population = parts(60, 60, 120)
    trained_weights(folder, *members)
    write_splits(folder / "splits", members, others, population)
    return folder


def settle(place, run, **changes):
    options = AuditOptions(
        checkpoint=place / "digits.safetensors", data=place / "splits", arch=f"{place / 'network.py'}:network"
    )
    options = replace(options, **changes)
    target, splits = open_inputs(options.checkpoint, options.data, arch=options.arch, device="cpu", trust=False)
    return settle_plan(options, target, splits, RunFolder.create(place / run))[0]


def test_a_stored_plan_is_replayed_whatever_is_not_said(place):
    first = settle(place, "replay", budget="quick", seed=3)
    assert settle(place, "replay") == first
    assert settle(place, "replay", budget="quick") == first


def test_the_last_release_of_another_task_is_refused_before_anything_is_asked(place):
    checkpoint, arch = place / "digits.safetensors", f"{place / 'network.py'}:network"
    options = AuditOptions(checkpoint, place / "splits", arch, run_dir=place / "last", baseline=report(), workers=1)
    with pytest.raises(InputError, match="different tasks"), open_case(options, SILENT):
        raise AssertionError
    assert not list((place / "last").rglob("*.safetensors"))
    preliminary = replace(options, baseline=report().model_copy(update={"stage": "target alone"}))
    with pytest.raises(InputError, match="old report is preliminary"), open_case(preliminary, SILENT):
        raise AssertionError


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"budget": "thorough"}, "--budget"),
        ({"seed": 4}, "--seed"),
        ({"attacks": ("gap",)}, "--attacks"),
        ({"defenses": ()}, "--defenses"),
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_another_wish_is_refused_by_name(place, changes, named, by_file):
    settle(place, "wishes", budget="quick", seed=3)
    run, plan = ("elsewhere", place / "wishes" / "plan.json") if by_file else ("wishes", None)
    with pytest.raises(InputError, match=named):
        settle(place, run, plan=plan, **changes)


def test_a_changed_recipe_network_or_preprocessing_is_refused(place):
    settle(place, "changes", budget="quick")
    settings, network = place / "splits" / "splits.toml", place / "network.py"
    try:
        settings.write_text(SPLITS.replace("epochs = 12", "epochs = 13"))
        with pytest.raises(InputError, match=r"\[training\]"):
            settle(place, "changes")
        settings.write_text(SPLITS.replace("mean = [0.3]", "mean = [0.4]"))
        with pytest.raises(InputError, match="another model"):
            settle(place, "changes")
        settings.write_text(SPLITS)
        network.write_text(NETWORK.replace("ReLU", "Softsign"))
        with pytest.raises(InputError, match="another model"):
            settle(place, "changes")
    finally:
        settings.write_text(SPLITS)
        network.write_text(NETWORK)
    settle(place, "changes")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shadows", 3),
        ("shadows", 2),
        ("seed", -4),
        ("queries", []),
        ("queries", ["mirror"]),
        ("attacks", ["nothing"]),
        ("budget", "endless"),
        ("limits", {"family_wise_error": -1}),
        ("limits", {"auc": 0.4}),
        ("limits", {"inversion": 0.4}),
        ("severity", {"high": {"tpr": 0.0, "auc": 0.5}}),
        ("severity", {"low": {"tpr": 0.0, "auc": 0.5}}),
    ],
)
def test_a_plan_edited_by_hand_is_refused_before_training(place, field, value, tmp_path):
    plan = json.loads(settle(place, "edited", budget="quick").model_dump_json())
    plan[field] = {**plan[field], **value} if isinstance(value, dict) else value
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match=re.escape("plan.json is not a plan of this version (1 field does not fit)")):
        settle(place, "by hand", plan=tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[gate]\n", "it is no JSON"),
        ('{"schema_version": "1"}', "this is a report"),
        ("[]", "it holds something else"),
        ('{"runs": []}', "it holds something else"),
    ],
)
def test_what_is_no_plan_is_told_for_what_it_is(place, content, told, tmp_path):
    (tmp_path / "other").write_text(content)
    with pytest.raises(InputError, match=rf"other is no plan: {told}\."):
        settle(place, "other", plan=tmp_path / "other")


OWN = '[limits]\nauc = 0.7\ntpr_at_fpr."0.01" = 0.2\n[severity]\nhigh = { tpr = 0.2, auc = 0.8 }\n'


@pytest.fixture
def policy(tmp_path):
    def written(text):
        path = tmp_path / "privaudit.toml"
        path.write_text(text)
        return path

    return written


def facts(place, run, **changes):
    plan = settle(place, run, **changes)
    return plan_facts(plan, AuditOptions(place, place))


def test_a_policy_is_part_of_the_plan(place, policy):
    plan = settle(place, "own policy", budget="quick", policy=policy(OWN))
    assert (plan.limits, plan.severity.high.auc) == (Limits(auc=0.7, tpr=0.2), 0.8)
    found = facts(place, "own policy")
    assert (found.auc_limit, found.tpr_limit, found.severity, found.default_policy) == (0.7, 0.2, plan.severity, False)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_the_same_numbers_are_the_same_policy(place, policy, tmp_path):
    default = facts(place, "default policy", budget="quick")
    assert (default.severity, default.default_policy) == (SeverityTable(), True)
    spelled = policy('[limits]\nauc = 0.60\ntpr_at_fpr."0.01" = 0.05\n[severity]\nhigh = { tpr = 0.1, auc = 0.7 }\n')
    assert facts(place, "default policy", policy=spelled) == default
    own = facts(place, "one policy", budget="quick", policy=policy(OWN))
    shared = tmp_path / "pyproject.toml"
    shared.write_text(OWN.replace("[", "[tool.privaudit."))
    assert facts(place, "one policy", policy=shared) == own
    assert own.digest != default.digest


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ("", OWN, "AUC 0.60, TPR 5 % at 1 % FPR"),
        (OWN, "", "AUC 0.70, TPR 20 % at 1 % FPR"),
        (OWN, OWN.replace("0.8 }", "0.9 }"), "high from AUC 0.80 or TPR 20 %"),
        (OWN, OWN.replace("auc = 0.7", "auc = 0.6"), "AUC 0.70"),
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_another_policy_is_refused(place, policy, first, then, told, by_file):
    run = re.sub(r"\W+", "-", f"policies {told}")
    settle(place, run, budget="quick", policy=policy(first))
    elsewhere = {"plan": place / run / "plan.json"} if by_file else {}
    with pytest.raises(InputError, match="another --policy") as caught:
        settle(place, "elsewhere" if by_file else run, policy=policy(then), **elsewhere)
    assert told in caught.value.message
    assert settle(place, run) == settle(place, run, policy=policy(first))


def test_a_bad_policy_leaves_no_plan(place, policy):
    with pytest.raises(InputError, match=r"privaudit\.toml has the unknown key `limit`"):
        settle(place, "bad policy", budget="quick", policy=policy("[limit]\nauc = 0.7"))
    assert not (place / "bad policy" / "plan.json").exists()


def test_the_plan_says_what_so_few_records_decide(place, policy):
    loose = settle(place, "loose", budget="quick", policy=policy("[limits]\nauc = 0.8"))
    assert "limits     AUC 0.80, TPR 5 % at 1 % FPR (not the default policy)" in loose.describe()
    assert re.search(
        r"power +AUC: 60 records a side find 0\.\d+ or more .*can decide the limit of 0\.80", loose.describe()
    )
    usual = settle(place, "usual", budget="quick").describe()
    assert "not the default policy" not in usual
    assert re.search(r"undecided +AUC: 60 records a side .*cannot decide the limit of 0\.60: \d+ are needed", usual)
    assert "computed, not measured" in usual
    assert "computed" not in settle(place, "no primary", budget="quick", attacks=("loss",)).describe()
    with_fewer = settle(place, "one primary", budget="quick", attacks=("gap",))
    assert [one.level for one in with_fewer.power()] == [0.05]


def test_groups_are_what_a_grouped_plan_counts(place):
    plan = settle(place, "grouped", budget="quick")
    assert plan.groups is None
    told = plan.model_copy(update={"groups": 12}).describe()
    assert "AUC: 12 groups a side" in told
    assert "a rough guide" in told


def test_each_budget_runs_what_the_smaller_ones_run(place):
    attacks = [set(settle(place, f"at {budget.name}", budget=budget.name).attacks) for budget in BUDGETS]
    assert attacks[0] <= attacks[1] <= attacks[2] == {one.card.id for one in ATTACKS}
    assert {one.card.id for one in MEMBERSHIP if one.primary} <= attacks[0]


def test_the_preview_prices_and_lists(place):
    options = AuditOptions(
        checkpoint=place / "digits.safetensors", data=place / "splits", arch=f"{place / 'network.py'}:network"
    )
    target, splits = open_inputs(options.checkpoint, options.data, arch=options.arch, device="cpu", trust=False)
    plan, design = settle_plan(options, target, splits, None)
    told = preview(plan, design, target)
    assert all(told.cost.by_phase()[f"train {name}"] > 0 for name in ("shadows", "null and control models"))
    assert isinstance(told.plan, Plan)
    assert "16 shadows, 2 null models, 2 control models" in told.describe()
    assert re.search(r"attack     primary lira-scores +< 1 s", told.describe())
    assert re.search(r"cost       all .* s of CPU time, about .* with \d+ worker", told.describe())
    assert "60 records a side, and 1,000 are needed" in told.describe()


def test_a_preview_tells_the_plan_that_waits_in_the_run_folder(place, tmp_path):
    stored = settle(place, "waits", budget="quick", seed=5, attacks=("gap",), defenses=())
    options = AuditOptions(
        place / "digits.safetensors", place / "splits", f"{place / 'network.py'}:network", run_dir=place / "waits"
    )
    before = sorted((place / "waits").rglob("*"))
    assert plan_audit(options).plan == stored
    assert sorted((place / "waits").rglob("*")) == before
    for name, changes in (("--budget", {"budget": "thorough"}), ("--seed", {"seed": 6})):
        with pytest.raises(InputError, match=f"another {name}"):
            plan_audit(replace(options, **changes))
    fresh = replace(options, run_dir=tmp_path / "fresh", budget="quick", attacks=("gap",), defenses=())
    assert plan_audit(fresh).plan.seed == 0
    assert not (tmp_path / "fresh").exists()


def test_a_preview_without_a_run_folder_looks_where_a_scan_would(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = AuditOptions(
        place / "digits.safetensors",
        place / "splits",
        f"{place / 'network.py'}:network",
        budget="quick",
        attacks=("gap",),
        defenses=(),
    )
    [name] = {default_run_folder("digits", plan_audit(options).plan.model)}
    settle(place, tmp_path / name, budget="quick", seed=7, attacks=("gap",), defenses=())
    assert plan_audit(options).plan.seed == 7


def test_the_preview_tells_what_the_records_give_away_before_anything_is_trained(place, tmp_path):
    for role in ("train", "test", "population"):
        with np.load(place / "splits" / f"{role}.npz") as old:
            labels = np.zeros_like(old["labels"]) if role == "train" else old["labels"]
            np.savez(tmp_path / f"{role}.npz", images=old["images"], labels=labels)
    for name in ("splits.toml", "classes.txt"):
        (tmp_path / name).write_bytes((place / "splits" / name).read_bytes())
    options = AuditOptions(
        checkpoint=place / "digits.safetensors",
        data=tmp_path,
        arch=f"{place / 'network.py'}:network",
        budget="quick",
        attacks=("gap",),
        defenses=(),
    )
    told = plan_audit(options).describe().splitlines()
    [told] = [line for line in told if line.startswith("doubt ") and "of one class" in line]
    assert told.startswith("doubt      All evaluated members are of one class")


def test_the_preview_doubts_a_model_that_does_not_know_its_members(place, tmp_path):
    for role in ("train", "test", "population"):
        with np.load(place / "splits" / f"{role}.npz") as old:
            np.savez(tmp_path / f"{role}.npz", images=old["images"], labels=9 - old["labels"])
    (tmp_path / "splits.toml").write_bytes((place / "splits" / "splits.toml").read_bytes())
    (tmp_path / "classes.txt").write_bytes((place / "splits" / "classes.txt").read_bytes())
    arch = f"{place / 'network.py'}:network"
    options = AuditOptions(place / "digits.safetensors", tmp_path, arch, budget="quick", attacks=("gap",), defenses=())
    [told] = [one for one in plan_audit(options).doubts if one.startswith("The model is right on ")]
    assert re.search(r" of \d+ members, and chance is 10 %: is it the order of classes\.txt", told)
    target, splits = open_inputs(options.checkpoint, place / "splits", arch=arch, device="cpu", trust=False)
    assert doubt_of_answers(target, draw_audit_set(splits, cap=40, seed=0)) == ""


def test_the_plan_says_what_does_not_run_and_why(place):
    told = settle(place, "told", budget="quick").describe()
    assert "merlin, morgan" in told
    assert "runs from --budget standard" in told
    assert "warning" not in told
    alone = settle(place, "alone", budget="quick", attacks=("loss",)).describe()
    assert "not asked for" in alone
    assert "every verdict on membership will be cannot say" in alone


def test_a_plan_counts_what_there_is_for_inversion(place):
    plan = settle(place, "supply", budget="thorough")
    assert (plan.image_side, plan.inverted_classes, plan.public) == (8, 9, 0)  # class 8 has no member
    told = plan.describe().splitlines()
    assert any(line.startswith("not run ") and line.endswith(": needs a generator of your own") for line in told)
    running = {line.split()[-1] for line in told if line.startswith("attack ")}
    assert running & {one.card.id for one in INVERSION} == {one.card.id for one in INVERSION if one.needs is None}


def test_the_report_names_the_budget_that_each_attack_and_defense_waits_for(place):
    waits = plan_facts(settle(place, "waits", budget="quick"), AuditOptions(place, place)).waits_for
    assert waits["merlin"] == "standard"
    assert waits["memguard"] == "thorough"
    assert "loss" not in waits
    alone = settle(place, "asked", budget="quick", attacks=("loss", "merlin"))
    assert not {"merlin", "gap"} & set(plan_facts(alone, AuditOptions(place, place)).waits_for)
