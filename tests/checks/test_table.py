"""Every check has a case that triggers it and one that does not, and does what the table and docs/checks.md say."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditor.checks import CHECKS, run_checks
from auditor.findings import Check, CheckLevel, Void
from auditor.splits import SplitsFile
from tests.checks.subjects import CLASSES, N, ask, changed, images, records, scored, sound, with_data
from tests.worlds import world

TEXT = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def subject():
    return sound()


def few_shadows(subject):
    evidence = world(n=N, shadows=4, leak=1.0).evidence
    return replace(subject, evidence=evidence)


def proxies(subject):
    recipe = subject.recipe.model_copy(update={"init": Path("public.safetensors"), "shadows": "frozen-features"})
    return replace(subject, recipe=recipe)


def turned_round(subject):
    evidence = replace(subject.evidence, shadow_membership=~subject.evidence.shadow_membership)
    return replace(subject, evidence=evidence, shadows_given=True)


def noisy(subject):
    target = replace(subject.evidence.target, repeat_difference=0.25)
    return replace(subject, evidence=replace(subject.evidence, target=target))


def lookalikes(subject):
    members = subject.splits.members.inputs
    copies = np.clip(members[:20].astype(int) + np.random.default_rng(4).integers(-2, 3, (20, 8, 8, 1)), 0, 255)
    others = np.concatenate([copies.astype(np.uint8), images(N - 20, 2)])
    return with_data(subject, subject.splits.members, records(others))


def in_classes(subject, labels):
    return replace(subject, jury=replace(subject.jury, labels=labels))


TRIGGERS = {
    "recipe": lambda one: changed(one, correct=np.ones(2 * N)),
    "proxy-shadows": proxies,
    "given-inclusion": turned_round,
    "few-shadows": few_shadows,
    "stale-shadows": lambda one: replace(one, running="privaudit 1 with torch 3"),
    "members-learned": lambda one: changed(one, correct=np.arange(2 * N) % 5 == 0),
    "label-order": lambda one: replace(one, predicted=(one.predicted + 1) % CLASSES),
    "saturation": lambda one: changed(one, confidence=np.ones(2 * N)),
    "stochastic": noisy,
    "attack-ceiling": lambda one: replace(one, scored=(scored(one.jury, one.jury.membership.astype(float)),)),
    "random-split": lambda one: replace(one, splits=replace(one.splits, settings=SplitsFile())),
    "few-records": lambda one: replace(one, jury=one.jury.only(np.arange(2 * N) > 0)),
    "population": lambda one: replace(one, audit_set=replace(one.audit_set, population_source="validation/")),
    "groups": lambda one: replace(one, jury=replace(one.jury, groups=np.arange(2 * N) // N)),
    "duplicates": lambda one: replace(one, splits=replace(one.splits, duplicates_dropped=3)),
    "near-duplicates": lookalikes,
    "class-balance": lambda one: in_classes(one, np.arange(2 * N) % CLASSES * one.jury.membership),
    "traces": lambda one: with_data(
        one, records(one.splits.members.inputs, np.arange(N) * CLASSES // N), one.splits.non_members
    ),
}


def test_a_sound_audit_passes_every_check(subject):
    found = run_checks(subject)
    assert {check.id: check.sentence for check in found if check.level is not CheckLevel.PASS} == {}
    assert {row.id for row in CHECKS} - {check.id for check in found} == {"proxy-shadows", "given-inclusion", "groups"}


@pytest.mark.parametrize("row", CHECKS, ids=lambda row: row.id)
def test_at_worst_a_check_is_as_the_table_says(subject, row):
    check = row.ask(TRIGGERS[row.id](subject))
    assert (check.id, check.level, check.voids) == (row.id, row.worst, row.voids)
    assert check.sentence.endswith((".", "?"))


@pytest.mark.parametrize("row", CHECKS, ids=lambda row: row.id)
def test_a_check_is_documented(subject, row):
    check = row.ask(TRIGGERS[row.id](subject))
    documented = re.search(rf"^## `{row.id}`: (.+)\n\n(.+)\n\n(?:.+\n)+", TEXT, re.MULTILINE)
    level = f"At worst: {row.worst}"
    assert documented.group(1) == check.title
    assert documented.group(2) == (
        f"{level}; voids {', '.join(row.voids)}." if row.voids else f"{level}; voids nothing."
    )


def test_no_other_check_is_documented_and_the_order_is_the_reports():
    assert re.findall(r"^## `(.+)`", TEXT, re.MULTILINE) == [row.id for row in CHECKS]


def test_only_groups_take_away_a_leak_that_was_found():
    assert [row.id for row in CHECKS if Void.LEAK_FOUND in row.voids] == ["groups"]


def test_before_shadows_and_attacks_the_rest_is_checked(subject):
    evidence = subject.evidence
    none = replace(
        evidence,
        shadows=evidence.shadows.without_models(range(8)),
        shadow_membership=np.zeros((0, 2 * N), dtype=bool),
    )
    found = {check.id for check in run_checks(replace(subject, evidence=none, scored=()))}
    assert found.isdisjoint({"recipe", "few-shadows", "attack-ceiling"})
    assert found >= {"label-order", "near-duplicates", "members-learned"}


def test_what_shadows_cannot_change_is_asked_once(subject):
    earlier = [
        Check(id=name, title="Earlier", level=CheckLevel.WARN, sentence="Earlier.")
        for name in ("label-order", "near-duplicates", "saturation")
    ]
    found = {check.id: check.title for check in run_checks(replace(subject, predicted=None), earlier)}
    assert (found["label-order"], found["near-duplicates"]) == ("Earlier", "Earlier")
    assert found["saturation"] != "Earlier"
    assert ask("label-order", replace(subject, predicted=None)) is None
