"""Which rules of a policy a plan cannot decide, told before anything is trained."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from auditor.battery.plan import GivenFacts, Plan
from auditor.battery.rules import Ahead, records_for_margin
from auditor.findings import Metric
from auditor.limits import Limits
from auditor.policy_file import Policy
from auditor.splits_file import Recipe
from auditor.stats.auc import auc
from auditor.stats.difference import unpaired_difference
from auditor.threat import Access


def plan(**changes):
    parts = {
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "privaudit": "0",
        "model": "m",
        "data": "d",
        "design": "d",
        "budget": "standard",
        "seed": 0,
        "cap": 5000,
        "shadows": 16,
        "recipe": Recipe(epochs=1, lr=0.1, batch_size=2),
        "recipe_stated": True,
        "queries": ("identity",),
        "attacks": ("gap", "lira-scores", "lira-weights", "miface"),
        "class_controls": 2,
        "image_side": 32,
        "inverted_classes": 40,
        "public": 0,
        "defenses": (),
        "limits": Limits(),
        "evaluated": 2000,
        "others": 0,
        "calibration": 50,
        "reference": 50,
    }
    return Plan(**{**parts, **changes})


def told(policy, planned=None, *, classes=40, canaries=None, release=Access.WEIGHTS):
    asked = Policy.model_validate(tomllib.loads(policy))
    return Ahead(asked, planned or plan(), classes, canaries, release).undecided


def test_the_default_policy_is_decided_by_two_thousand_a_side():
    assert told("") == ()
    assert [one.decided for one in plan().power()] == [True, True]


@pytest.mark.parametrize(
    ("gate", "changes", "sentence"),
    [
        ("fail_on = 'high'", {}, ""),
        ("fail_on = 'high'", {"evaluated": 999}, "severity: its rows also ask for a TPR, which takes 1,000 records"),
        ("fail_on = 'high'", {"groups": 900}, "severity: its rows also ask for a TPR, which is not judged where"),
        ("least_evaluated = 2000", {}, ""),
        ("least_evaluated = 5000", {}, "least_evaluated: 2,000 records a side are evaluated, 5,000 are needed."),
        ("required_attacks = ['lira-scores']", {}, ""),
        ("required_attacks = ['rmia']", {}, "required_attacks: rmia will not run (not asked for)."),
        ("required_attacks = ['gmi']", {}, "required_attacks: gmi will not run (not asked for)."),
        ("required_attacks = ['\\u001b']", {}, "required_attacks: "),
        ("no_worse_than_last = { auc = 0.04 }", {}, ""),
        ("no_worse_than_last = { auc = 0.02 }", {}, "no_worse_than_last: a margin of 0.02 on auc takes 6,"),
        ("no_worse_than_last = { auc = 0.04 }", {"groups": 100}, "no_worse_than_last: a margin of 0.04 on auc takes"),
        ("no_worse_than_last = { auc = 0.001 }", {}, "takes more than 200,000 a side"),
        ("no_worse_than_last = { tpr_at_fpr.'0.01' = 0.03 }", {}, ""),
        ("no_worse_than_last = { tpr_at_fpr.'0.01' = 0.02 }", {}, "of 0.02 on tpr_at_fpr takes 2,"),
    ],
)
def test_rules_on_records_and_attacks(gate, changes, sentence):
    found = told(f"[gate]\n{gate}", plan(**changes))
    assert [sentence in one for one in found] == ([True] if sentence else [])


SEARCHING = ("gap", "lira-scores", "lira-weights", "miface", "gmi", "kedmi", "ppa")
OWN, IMAGES = "needs a generator of your own", "needs 100 images in public/ or a generator of your own"


@pytest.mark.parametrize(
    ("material", "sentence", "not_run"),
    [
        (
            {},
            f"gmi will not run ({IMAGES}); kedmi, ppa will not run ({OWN}).",
            (f"gmi: {IMAGES}", f"kedmi, ppa: {OWN}"),
        ),
        ({"public": 99}, f"gmi will not run ({IMAGES}); kedmi, ppa will not run ({OWN}).", (f"gmi: {IMAGES}",)),
        ({"public": 100}, f"kedmi, ppa will not run ({OWN}).", (f"kedmi, ppa: {OWN}",)),
        ({"generator": "mine.py:factory 1"}, "", ()),
        ({"image_side": 0}, "gmi, kedmi, ppa will not run (rebuilds images, and the records are features).", ()),
        ({"image_side": 7}, "gmi, kedmi, ppa will not run (images are smaller than 8 pixels).", ()),
        ({"inverted_classes": 1}, "gmi, kedmi, ppa will not run (fewer than two classes have", ()),
    ],
)
def test_an_attack_that_will_lack_what_it_needs_is_told_before_the_run(material, sentence, not_run):
    planned = plan(budget="thorough", attacks=SEARCHING, **material)
    found = told("[gate]\nrequired_attacks = ['gmi', 'kedmi', 'ppa']", planned)
    assert [sentence in one for one in found] == ([True] if sentence else [])
    assert all(one.startswith("required_attacks: ") for one in found)
    lines = planned.describe().splitlines()
    runs = {line.split()[-1] for line in lines if line.startswith("attack ")}
    assert {one for one in SEARCHING if one in sentence}.isdisjoint(runs)
    assert {one for one in ("gmi", "kedmi", "ppa") if one not in sentence} <= runs
    assert all(f"not run    {line}" in lines for line in not_run)


GAP = "its primary attack, gap, uses no shadows, so that no leak can be planted for it to find"
NO_WEIGHTS = "the primary attack lira-weights will not run (not asked for)"


@pytest.mark.parametrize(
    ("gate", "changes", "told_of"),
    [
        ("release = 'labels'", {}, f"auc, tpr_at_fpr: cannot pass at release labels: {GAP}."),
        (
            "release = 'labels'\nfail_on = 'high'\nno_worse_than_last = { auc = 0.1 }",
            {},
            f"auc, tpr_at_fpr, severity, no_worse_than_last: cannot pass at release labels: {GAP}.",
        ),
        ("release = 'labels'\nmode = 'lenient'", {}, f"auc, tpr_at_fpr: cannot pass at release labels: {GAP}."),
        ("release = 'scores'", {}, ""),
        ("release = 'scores'", {"attacks": ("gap", "lira-scores")}, ""),
        ("", {"attacks": ("gap", "lira-scores")}, f"auc, tpr_at_fpr: cannot pass at release weights: {NO_WEIGHTS}."),
        ("", {"shadows": 4}, "auc, tpr_at_fpr: cannot pass at release weights: the primary attack rmia will not run"),
    ],
)
def test_a_release_at_which_nothing_can_be_ruled_out_is_named(gate, changes, told_of):
    found = told(f"[gate]\n{gate}", plan(**changes))
    assert [told_of in one for one in found] == ([True] if told_of else [])


def test_without_a_release_in_the_policy_that_of_the_scan_counts():
    (found,) = told("", release=Access.LABELS)
    assert found == f"auc, tpr_at_fpr: cannot pass at release labels: {GAP}."
    assert told("[gate]\nrelease = 'scores'", release=Access.LABELS) == ()


@pytest.mark.parametrize(
    ("check", "changes", "reason"),
    [
        ("recipe", {}, ""),
        ("planted", {}, ""),
        ("few-records", {}, ""),
        ("few-records", {"evaluated": 999}, "it warns below 1,000 records a side"),
        ("few-shadows", {"shadows": 6}, ""),
        ("few-shadows", {"shadows": 4}, "it warns of 4 shadows"),
        ("given-inclusion", {}, "it is asked of given shadows alone"),
        ("given-inclusion", {"given": GivenFacts(name="own", digest="d")}, ""),
        ("groups", {}, "it is asked only where records come in groups"),
        ("groups", {"groups": 500}, ""),
        ("proxy-shadows", {}, "it warns of frozen-feature proxies, and says nothing where there are none"),
        ("planted", {"attacks": ("gap",)}, "no primary attack that uses shadows will run"),
        ("attack-ceiling", {"attacks": ("gap",)}, ""),
        ("attack-ceiling", {"attacks": ("loss",)}, "no primary attack will run"),
    ],
)
def test_a_required_check_that_cannot_pass_is_named(check, changes, reason):
    found = [one for one in told(f"[gate]\nrequired_checks = ['{check}']", plan(**changes)) if check in one]
    assert found == ([f"required_checks: {check} will not pass ({reason})."] if reason else [])


@pytest.mark.parametrize(
    ("limit", "release", "changes", "sentence"),
    [
        ("record = 0.1, class = 0.1", "weights", {}, ""),
        ("record = 0.1", "scores", {}, "(record): no inversion attack will run that release scores allows."),
        ("class = 0.1", "scores", {"attacks": (*plan().attacks, "inversion-network")}, "(class): no attack that rebui"),
        ("record = 0.1", "scores", {"attacks": (*plan().attacks, "inversion-network")}, ""),
        ("class = 0.1", "weights", {"class_controls": 0}, "(class): no model is trained without a part of the classes"),
    ],
)
def test_an_excess_that_nothing_planned_tests_is_named(limit, release, changes, sentence):
    policy = f"[gate]\nfamilies = ['inversion']\nrelease = '{release}'\n[limits]\ninversion_excess = {{ {limit} }}"
    assert [sentence in one for one in told(policy, plan(**changes))] == ([True] if sentence else [])


@pytest.mark.parametrize(
    ("limits", "mode", "classes", "rules"),
    [
        ("record = 0.1", "strict", 40, 0),
        ("record = 0.1", "strict", 19, 1),
        ("", "strict", 40, 1),
        ("", "lenient", 40, 0),
        ("", "strict", 2, 2),
    ],
)
def test_inversion_needs_classes_and_a_limit(limits, mode, classes, rules):
    policy = f"[gate]\nfamilies = ['inversion']\nmode = '{mode}'\n[limits]\ninversion_excess = {{ {limits} }}"
    found = told(policy, classes=classes)
    assert [one.startswith("inversion_excess: ") for one in found] == [True] * rules


def test_a_lenient_policy_does_not_pass_inversion_that_nothing_tests():
    policy = "[gate]\nfamilies = ['inversion']\nmode = 'lenient'\nrelease = "
    assert told(f"{policy}'weights'") == ()
    (found,) = told(f"{policy}'scores'")
    assert found == "inversion_excess: no inversion attack will run that release scores allows."


def test_the_policies_to_start_from_are_decided_by_enough_records():
    page = Path(__file__).parents[1] / "docs" / "choose-a-policy.md"
    blocks = [block.partition("```")[0] for block in page.read_text(encoding="utf-8").split("```toml\n")[1:]]
    assert blocks
    assert [told(block, plan(evaluated=10_000)) for block in blocks] == [()] * len(blocks)


@pytest.mark.parametrize(
    ("epsilon", "canaries", "sentence"),
    [
        (3.0, 1000, ""),
        (3.0, None, "nothing can contradict it without canaries; it would take 160."),
        (3.0, 20, "20 canaries cannot contradict it; it would take 160."),
        (8.0, 1000, "1,000 canaries cannot contradict it; it would take more than anybody plants."),
    ],
)
def test_a_claim_needs_canaries(epsilon, canaries, sentence):
    found = told(f"[gate]\nclaimed_epsilon = {{ epsilon = {epsilon}, delta = 1e-5 }}", canaries=canaries)
    assert list(found) == ([f"claimed_epsilon: {sentence}"] if sentence else [])


def test_so_many_records_bring_four_of_five_audits_under_the_margin():
    margin, rng = 0.1, np.random.default_rng(0)
    n = records_for_margin(margin, Metric.AUC, 0.01)
    membership = np.arange(2 * n) < n
    pairs = [[auc(rng.normal(size=2 * n), membership) for _ in range(2)] for _ in range(400)]
    under = np.mean([unpaired_difference(*pair).high < margin for pair in pairs])
    assert under == pytest.approx(0.8, abs=0.06)
