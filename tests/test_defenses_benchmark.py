"""The defense study: how its claims are judged, on numbers made up for it, and what its worlds write."""

import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from auditor.findings import (
    DefenseCard,
    DefenseEffect,
    DefenseProbeResult,
    DefenseResult,
    Fidelity,
    InversionEffect,
    Measurement,
    Metric,
    StrongestAttack,
)
from auditor.intake import open_inputs
from auditor.splits import Recipe
from auditor.stats.estimate import Estimate
from auditor.threat import Access
from tests.minimal_report import report as minimal_report

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


def script(name):
    """By its path: there are installed packages that are called benchmarks too."""
    spec = spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


values, verdict, tables, defenses_worlds = (
    script(f"defenses_{name}") for name in ("values", "verdict", "tables", "worlds")
)

REPRODUCED, PARTLY, NOT_REPRODUCED, CANNOT_TELL = verdict.Judgement
LIRA_STATIC, LIRA, STRONGEST = "LiRA on scores, static", "LiRA on scores, adaptive", "strongest on scores, adaptive"


def number(value, **n):
    return Estimate(value, value - 0.1, value + 0.1, 0.95, "made up", n or {"records": 100})


def effect(attack, before, static, adaptive, access=Access.SCORES):
    told = [None if one is None else number(one) for one in (before, static, adaptive)]
    return DefenseEffect(
        attack_id=attack,
        access=access,
        metric=Metric.AUC,
        undefended=told[0],
        static=told[1],
        adaptive=told[2],
        change=None if adaptive is None else number(adaptive - before),
    )


def strongest(before, after):
    return StrongestAttack(
        access=Access.SCORES,
        attack_id="rmia",
        chosen_from=6,
        chosen_at=number(0.5),
        adaptive=number(after),
        undefended_attack_id="lira-scores",
        undefended_chosen_at=number(0.5),
        undefended=number(before),
        change=number(after - before),
    )


def inversion(attack, measure, before, after, **n):
    return InversionEffect(
        attack_id=attack,
        access=Access.SCORES,
        measure=measure,
        better="higher",
        undefended=number(before, **n),
        defended=number(after, **n),
        change=number(after - before, **n),
    )


def result(name, *, lira=(0.9, 0.6, 0.6), gap=0.75, best=0.6, probe=0.6, factor=1.0, seen=0.1, lost=0.0, swapped=0.0):
    before, static, adaptive = lira
    return DefenseResult(
        card=DefenseCard(
            id=name, title=name, paper=None, fidelity=Fidelity.OWN, acts_on="output", counts_for=(Access.SCORES,)
        ),
        status="completed",
        effects=(
            effect("gap", 0.75, gap, gap, Access.LABELS),
            effect("lira-scores", before, static, adaptive),
            effect("lira-weights", 0.9, 0.7, 0.8, Access.WEIGHTS),
        ),
        strongest=(strongest(before, best),),
        probes=(
            DefenseProbeResult(
                id="own-aeppt", title="its own", access=Access.SCORES, status="completed", auc=number(probe)
            ),
        ),
        inversion=(
            inversion("inversion-network", "Inversion error of non-members, times the undefended", 1.0, 9.0),
            inversion("inversion-network", "Inversion error of members, times the undefended", 1.0, factor),
            inversion("miface", "Probability of the class by the evaluation networks", 0.5, seen, classes=10),
        ),
        costs=(
            Measurement(name="Accuracy on non-members, undefended", estimate=number(0.5), unit="share"),
            Measurement(name="Accuracy on non-members, defended", estimate=number(0.5 - lost), unit="share"),
            Measurement(name="Labels changed", estimate=number(swapped), unit="share"),
        ),
    )


def results(*defenses, world="cifar10", images=True):
    """One run for each entry; the seeds are 1, 2, 3."""
    plan = minimal_report().plan
    runs = [
        values.Run(
            world=world,
            seed=seed,
            images=images,
            plan=plan,
            checks=(),
            evaluators=(Measurement(name="plain", estimate=number(0.6), unit="share"),),
            defenses=(one,),
            cpu_seconds=60.0,
        )
        for seed, one in enumerate(defenses, start=1)
    ]
    return values.Results(runs=tuple(runs))


def line(defense, attacker="", claim=""):
    (found,) = [
        one
        for one in verdict.LINES
        if (one.defense, one.attacker) == (defense, attacker) and one.claim.startswith(claim)
    ]
    return found


def judged(found, *defenses):
    return found.judged(results(*defenses), "cifar10")


def test_inversion_is_told_by_attacker_and_the_strongest_under_its_own_name():
    runs = []
    for name, seen in (("calor-aim", 0.2), ("miface", 0.4)):
        measure = "Probability of the class by the evaluation networks"
        best = inversion(name, measure, 0.5, seen, classes=5).model_copy(update={"chosen_from": 5})
        plain = result("calor", seen=0.3)
        runs.append(plain.model_copy(update={"inversion": (best, *plain.inversion)}))
    text = tables._inversion(results(*runs).runs)
    told = {row.split(" | ")[1]: row.split(" | ")[4] for row in text.splitlines() if "Probability" in row}
    strongest = told.pop("the strongest of 5, on classes on which it was not chosen")
    assert strongest.startswith("0.3000 (")
    assert told.keys() == {"miface"}
    assert told["miface"].startswith("0.3000")
    assert strongest != told["miface"]
    assert values.inversion_effect(runs[1], "miface", "").defended.value == 0.3


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.5, 0.7, REPRODUCED),
        (0.49, 0.7, PARTLY),
        (0.01, 0.2, PARTLY),
        (0.01, 0.09, NOT_REPRODUCED),
        (-0.3, 0.09, NOT_REPRODUCED),
        (-0.3, 0.1, CANNOT_TELL),
        (-0.3, 0.9, CANNOT_TELL),
    ],
)
def test_a_line_is_judged_by_where_its_interval_lies(low, high, expected):
    rule = verdict.Rule(enough=0.5, trifle=0.1, some=0.0)
    assert rule.judge(Estimate((low + high) / 2, low, high, 0.95, "made up", {"seeds": 3})) is expected


@pytest.mark.parametrize("found", verdict.LINES, ids=lambda one: f"{one.defense}: {one.claim}: {one.attacker}")
def test_every_line_can_get_every_word(found):
    rule = found.rule
    assert rule.some <= rule.trifle <= rule.enough
    wide = 100.0

    def word(low, high):
        return rule.judge(Estimate(low, low, high, 0.95, "made up", {"seeds": 3}))

    assert word(rule.enough, wide) is REPRODUCED
    assert word(-wide, rule.trifle - 0.001) is NOT_REPRODUCED
    assert word((rule.some + rule.enough) / 2, wide) is PARTLY
    assert word(-wide, wide) is CANNOT_TELL


def test_the_interval_is_students_over_the_three_seeds():
    found = judged(line("purifier", LIRA), *(result("purifier", lira=(0.9, 0.5, one)) for one in (0.60, 0.62, 0.65)))
    values = [1 - 0.10 / 0.4, 1 - 0.12 / 0.4, 1 - 0.15 / 0.4]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert found.values == pytest.approx(values)
    assert (found.found.low, found.found.high) == pytest.approx((low, high))


# --- lines -----------------------------------------------------------------------------------------------------------


def test_static_and_adaptive_attackers_are_told_apart():
    defended = [result("aeppt", lira=(0.9, 0.51, 0.89), best=0.6, probe=0.9)] * 3
    words = [judged(line("aeppt", who), *defended).judgement for who in (LIRA_STATIC, LIRA, STRONGEST)]
    assert words == [REPRODUCED, NOT_REPRODUCED, REPRODUCED]
    assert judged(line("aeppt", "the attacker's own AEPPT"), *defended).judgement is NOT_REPRODUCED


def test_an_attack_below_chance_is_turned_round():
    found = judged(line("aeppt", LIRA_STATIC), *[result("aeppt", lira=(0.9, 0.1, 0.9))] * 3)
    assert found.values == pytest.approx([0.0] * 3)
    assert found.judgement is NOT_REPRODUCED


def test_where_nothing_leaked_nothing_can_be_told():
    leaky, tight = result("purifier"), result("purifier", lira=(0.54, 0.5, 0.5))
    found = judged(line("purifier", LIRA), leaky, tight, leaky)
    assert (found.judgement, found.found) == (CANNOT_TELL, None)
    assert found.reason == "seed 2: nothing to take: AUC 0.540 undefended"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((0.76, 0.75, 0.75), NOT_REPRODUCED),
        ((0.70, 0.71, 0.72), PARTLY),
        ((0.53, 0.54, 0.52), REPRODUCED),
        ((0.80, 0.60, 0.50), CANNOT_TELL),
    ],
)
def test_the_gap_of_accuracies_is_judged_by_the_gap_attack(after, expected):
    assert (
        judged(line("mmd-mixup", "gap attack"), *(result("mmd-mixup", gap=one) for one in after)).judgement is expected
    )


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ((0.002, 0.002, 0.003), REPRODUCED),
        ((0.010, 0.011, 0.010), NOT_REPRODUCED),
        ((0.002, 0.006, 0.005), PARTLY),
        ((0.000, 0.030, 0.005), CANNOT_TELL),
    ],
)
def test_four_tenths_of_a_point_are_held_against_the_interval(lost, expected):
    claimed = line("purifier", claim="accuracy falls by less than 0.4 points")
    assert judged(claimed, *(result("purifier", lost=one) for one in lost)).judgement is expected


def test_labels_are_kept_exactly_or_not():
    claimed = line("aeppt", claim="labels stay")
    assert judged(claimed, *[result("aeppt")] * 3).judgement is REPRODUCED
    assert judged(claimed, *(result("aeppt", swapped=one) for one in (0.0, 0.001, 0.0))).judgement is PARTLY
    assert judged(claimed, *[result("aeppt", swapped=0.01)] * 3).judgement is NOT_REPRODUCED


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ((2.4, 2.5, 2.6), REPRODUCED),
        ((1.3, 1.4, 1.35), PARTLY),
        ((1.05, 1.04, 1.06), NOT_REPRODUCED),
        ((1.0, 2.0, 3.0), CANNOT_TELL),
    ],
)
def test_the_inversion_error_of_members_is_what_has_to_double(factors, expected):
    claimed = line("purifier", "inversion network, adaptive")
    assert judged(claimed, *(result("purifier", factor=one) for one in factors)).judgement is expected


def test_recognition_is_counted_from_what_images_that_show_nothing_get():
    found = judged(line("mid", "MIFace on the weights"), *[result("mid", seen=0.2)] * 3)
    assert found.values == pytest.approx([1 - (0.2 - 0.1) / (0.5 - 0.1)] * 3)
    assert found.judgement is REPRODUCED


def test_two_seeds_are_not_judged():
    found = judged(line("purifier", LIRA), *[result("purifier")] * 2)
    assert (found.judgement, found.reason, len(found.values)) == (CANNOT_TELL, "2 of 3 seeds", 2)


def test_a_seed_without_the_defense_is_named():
    failed = result("purifier").model_copy(update={"status": "failed", "reason": "Traceback\nValueError: no"})
    found = judged(line("purifier", LIRA), result("purifier"), result("purifier"), failed)
    assert (found.judgement, found.reason) == (CANNOT_TELL, "seed 3: failed: ValueError: no")


def test_lines_on_images_are_not_asked_of_features():
    told = verdict.verdicts(results(*[result("mid")] * 3, world="location30", images=False))
    assert {one.line.images for one in told} == {False}
    assert len(told) == 2 * sum(not one.images for one in verdict.LINES)


@pytest.mark.parametrize(
    ("adaptive", "told"),
    [((0.93, 0.94, 0.95), "rises"), ((0.80, 0.81, 0.79), "falls"), ((0.80, 0.99, 0.90), "cannot tell")],
)
def test_what_no_paper_claims_gets_a_direction_only(adaptive, told):
    asked = [one for one in verdict.QUESTIONS if one.defense == "calor" and "on scores" in one.asked]
    found = asked[0].answered(results(*(result("calor", lira=(0.9, 0.9, one)) for one in adaptive)), "cifar10")
    assert found.told == told
    assert found.values == pytest.approx([one - 0.9 for one in adaptive])


# --- tables ----------------------------------------------------------------------------------------------------------


def test_the_tables_are_made_from_the_file_alone():
    defended = [result("purifier", lira=(0.9, 0.6, one), lost=0.003) for one in (0.60, 0.62, 0.65)]
    stored = values.Results.model_validate_json(results(*defended).model_dump_json())
    page = tables.report(stored)
    mean, reach = 1 - 0.37 / 3 / 0.4, stats.t.ppf(0.975, 2) * stats.sem([0.25, 0.30, 0.375])
    assert f"**reproduced**: {mean:.3f} ({mean - reach:.3f} to {mean + reach:.3f})" in page
    assert "| purifier | LiRA on scores, AUC | 0.900 (0.900 to 0.900) | 0.600 (0.600 to 0.600) | 0.623" in page
    assert "lira-scores, lira-scores, lira-scores" in page
    assert "3 CPU minutes for 3 runs." in page
    assert all(
        len({row.count(" | ") for row in part.splitlines()}) == 1 for part in page.split("\n\n") if part[0] == "|"
    )


def test_members_right_follow_from_the_gap_attack():
    assert "| 1 | audited model | 1.000 | 0.500 |" in tables.report(results(result("purifier")))


# --- worlds ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def world():
    inputs, labels = np.arange(300, dtype=np.float32)[:, None] @ np.ones((1, 446), np.float32), np.arange(300) % 30
    (found,) = [one for one in defenses_worlds.WORLDS if one.name == "location30"]
    short = found.recipe.model_copy(update={"epochs": 1})
    return replace(found, load=lambda _: (inputs, labels), sizes=(60, 60, 150), recipe=short)


def test_a_world_is_what_an_audit_accepts(world, tmp_path):
    weights = world.write(tmp_path, tmp_path, seed=1)
    target, splits = open_inputs(weights, tmp_path / "splits", arch=world.arch, device="cpu", trust=False)
    assert splits.settings.training == world.recipe
    assert splits.settings.random_split
    assert target.facts.preprocessing.input_size == (446, 1, 1)
    parts = [set(one.inputs[:, 0].tolist()) for one in (splits.members, splits.non_members, splits.population)]
    assert [len(one) for one in parts] == [60, 60, 150]
    assert len(set.union(*parts)) == 270


def test_a_seed_is_another_draw_and_another_target(world, tmp_path):
    written = []
    for seed in (1, 2, 1):
        folder = tmp_path / f"{len(written)}"
        folder.mkdir()
        weights = world.write(tmp_path, folder, seed)
        written.append((weights.read_bytes(), np.load(folder / "splits" / "train.npz")["features"]))
    assert written[0][0] == written[2][0] != written[1][0]
    assert not np.array_equal(written[0][1], written[1][1])


def test_what_is_written_is_not_made_again(world, tmp_path):
    weights = world.write(tmp_path, tmp_path, seed=1)
    weights.write_bytes(b"as it was")
    assert world.write(tmp_path, tmp_path, seed=1).read_bytes() == b"as it was"


def test_a_smoke_run_sees_noise_for_one_epoch(world, tmp_path):
    tried = replace(defenses_worlds.smoke(world), sizes=(60, 60, 150))
    tried.write(tmp_path, tmp_path, seed=0)
    assert set(np.unique(np.load(tmp_path / "splits" / "train.npz")["features"])) == {0.0, 1.0}
    assert tried.recipe == Recipe.model_validate(world.recipe.model_dump() | {"epochs": 1})
