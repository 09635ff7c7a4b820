from dataclasses import replace

import numpy as np
import pytest

from auditor.checks.target import attack_ceiling, label_order, members_learned
from auditor.findings import CheckLevel, Role, Skipped, Void
from auditor.membership.measure import Scored
from tests.checks.subjects import N, changed, scored, sound
from tests.worlds import attack


@pytest.fixture(scope="module")
def subject():
    return sound()


# --- members against non-members -------------------------------------------------------------------------------------


def correct(members, non_members):
    """Which records are answered rightly, from shares of either side."""
    return np.concatenate([np.arange(N) < members * N, np.arange(N) < non_members * N]).astype(float)


@pytest.mark.parametrize(
    ("members", "non_members", "level", "told"),
    [
        (0.9, 0.8, CheckLevel.PASS, "90.0 % on members and 80.0 % on non-members."),
        (0.9, 0.9, CheckLevel.WARN, "no better on members"),
        (0.9, 0.93, CheckLevel.WARN, "no better on members"),
        (0.9, 0.94, CheckLevel.FAIL, "worse on members"),
        (0.3, 0.2, CheckLevel.FAIL, "near chance"),
    ],
)
def test_members_should_be_known_better(subject, members, non_members, level, told):
    check = members_learned(changed(without_shadows(subject), correct=correct(members, non_members)))
    assert check.level is level
    assert told in check.sentence
    assert check.voids == ((Void.NOTHING_FOUND, Void.PER_RECORD) if level is CheckLevel.FAIL else ())


def without_shadows(subject):
    evidence = subject.evidence
    none = evidence.shadows.without_models(range(len(evidence.shadow_membership)))
    return replace(subject, evidence=replace(evidence, shadows=none, shadow_membership=np.zeros((0, 2 * N), bool)))


def leads(subject, inside, outside):
    """The same subject, shadows right on these shares of their own records and of the others."""
    own = subject.evidence.shadow_membership
    draw = np.random.default_rng(0).random(own.shape)
    audit = subject.evidence.shadows.audit
    right = np.where(own, draw < inside, draw < outside)[:, :, None].astype(float)
    shadows = replace(subject.evidence.shadows, audit=replace(audit, correct=right))
    return replace(subject, evidence=replace(subject.evidence, shadows=shadows))


@pytest.mark.parametrize(
    ("members", "shadows", "level", "told"),
    [
        (0.8, (0.9, 0.8), CheckLevel.FAIL, "Shadows are better on their own records by 1"),
        (0.78, (0.9, 0.8), CheckLevel.FAIL, "trained on other records"),
        (0.8, (0.81, 0.8), CheckLevel.WARN, "generalises well"),
        (0.9, (0.9, 0.8), CheckLevel.PASS, ""),
        (0.86, (0.99, 0.8), CheckLevel.PASS, ""),  # less than shadows, but better: for the recipe check to judge
    ],
)
def test_a_model_of_other_records_is_seen_where_shadows_know_their_own(subject, members, shadows, level, told):
    check = members_learned(changed(leads(subject, *shadows), correct=correct(members, 0.8)))
    assert check.level is level
    assert told in check.sentence


def test_records_of_one_group_do_not_make_members_look_worse(subject):
    worse = changed(without_shadows(subject), correct=correct(0.9, 0.95))
    assert members_learned(worse).level is CheckLevel.FAIL
    fifties = replace(worse, jury=replace(worse.jury, groups=np.arange(2 * N) // 50))
    assert members_learned(fifties).level is CheckLevel.WARN


@pytest.mark.parametrize(("classes", "members", "level"), [(2, 0.59, CheckLevel.FAIL), (2, 0.7, CheckLevel.PASS)])
def test_with_two_classes_a_model_need_not_be_right_in_three_of_four(subject, classes, members, level):
    two = replace(subject, splits=replace(subject.splits, class_names=tuple("ab")))
    assert two.splits.num_classes == classes
    assert members_learned(changed(without_shadows(two), correct=correct(members, 0.5))).level is level


# --- the order of classes --------------------------------------------------------------------------------------------


def ordered(subject, labels, predicted):
    jury = subject.jury.only(np.concatenate([np.arange(10), N + np.arange(len(labels))]))
    jury = replace(jury, labels=np.concatenate([np.zeros(10, dtype=np.int64), labels]))
    return label_order(replace(subject, jury=jury, predicted=predicted))


def answers(labels, classes, accuracy, seed=0):
    """Right with this probability, else any class."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < accuracy, labels, rng.integers(0, classes, len(labels)))


@pytest.mark.parametrize("accuracy", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_errors_are_not_taken_for_another_order(subject, classes, accuracy):
    labels = np.random.default_rng(1).integers(0, classes, 600)
    check = ordered(subject, labels, answers(labels, classes, accuracy))
    assert (check.level, check.voids) == (CheckLevel.PASS, ())


@pytest.mark.parametrize("moved", [2, 10])
def test_classes_in_another_order_are_seen(subject, moved):
    labels = np.random.default_rng(1).integers(0, 10, 600)
    table = np.arange(10)
    table[:moved] = np.roll(table[:moved], 1)
    check = ordered(subject, labels, table[answers(labels, 10, 0.8)])
    assert check.level is CheckLevel.FAIL
    assert f"({moved} change places)" in check.sentence
    assert "classes.txt" in check.sentence
    assert Void.LEAK_FOUND not in check.voids


def test_outputs_without_a_class_of_that_number_are_no_hindrance(subject):
    labels = np.arange(400) % 4
    check = ordered(subject, labels, labels + 1000)
    assert check.level is CheckLevel.FAIL
    assert "0.0 %, but in 100.0 %" in check.sentence


def test_one_record_a_class_says_nothing_of_their_order(subject):
    assert ordered(subject, np.arange(50), np.arange(50)[::-1]) is None


# --- attacks at their ceiling ----------------------------------------------------------------------------------------


def test_a_ceiling_is_told_with_the_attack_and_voids_nothing(subject):
    perfect = scored(subject.jury, subject.jury.membership.astype(float))
    check = attack_ceiling(replace(subject, scored=(*subject.scored, perfect)))
    assert (check.level, check.voids) == (CheckLevel.WARN, ())
    assert f"{attack('lira-weights').card.title} has AUC 1.0000" in check.sentence
    assert "TPR 100.0 % at 1.0 % FPR" in check.sentence


def test_secondary_and_skipped_attacks_are_not_looked_at(subject):
    perfect = scored(subject.jury, subject.jury.membership.astype(float))
    skipped = Scored(perfect.attack, Role.PRIMARY, None, Skipped(reason="no shadows"))
    assert attack_ceiling(replace(subject, scored=(replace(perfect, role=Role.SECONDARY), skipped))) is None
