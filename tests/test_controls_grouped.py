"""Where records come in groups, the controls draw and plant whole groups, and judge by the audit's own tests."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.controls import blind, nulls
from auditor.controls.nulls import instrument_null
from auditor.controls.planted import planted_control
from auditor.controls.relabelling import Relabelling, without_appendix
from auditor.findings import Completed, Role, Void
from auditor.limits import Limits
from auditor.membership.evidence import Attack
from auditor.membership.measure import Jury, Scored, endpoint_p_values, plain_curve, primary_p_values, run_attack
from auditor.threat import Access
from tests.worlds import attack, world

LIMITS = Limits()
LIRA = attack("lira-weights")
ONE_OF_EACH = (1, 2, 3, 4, 5, 6, 7)


def jury_of(members, non_members):
    """A jury of groups with so many records each; their numbers are in no order."""
    sizes = np.array([*members, *non_members])
    names = np.random.default_rng(1).permutation(len(sizes))
    membership = np.repeat(np.arange(len(sizes)) < len(members), sizes)
    return Jury(membership, np.zeros(len(membership), np.int64), np.repeat(names, sizes), membership, 0)


def in_groups_of(size, jury):
    return replace(jury, groups=np.arange(len(jury.membership)) // size)


def alike_within(jury, seed):
    """An attack whose scores say nothing of membership, and are nearly the same for all records of a group."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=jury.groups.max() + 1)[jury.groups] + 0.3 * rng.normal(size=len(jury.groups))
    curve = plain_curve(scores, jury.membership)
    outcome = Completed(endpoints=(), roc=curve, evaluated_on="all audit records", queries_per_record=1)
    return Scored(replace(LIRA, least_shadows=0), Role.PRIMARY, scores, outcome)


@pytest.mark.parametrize("grouped", [False, True])
def test_records_that_stand_alone_are_relabelled_and_planted_as_ever(grouped):
    """Groups of one, however numbered, exchange labels bit for bit as records do."""
    jury = jury_of([1] * 40, [1] * 60)
    relabelling = Relabelling.of(jury if grouped else replace(jury, groups=None), seed=0)
    rng, plain = (np.random.default_rng(5) for _ in range(2))
    for _ in range(3):
        np.testing.assert_array_equal(relabelling.draw(rng).membership, plain.permutation(jury.membership))
        np.testing.assert_array_equal(relabelling.chosen(0.2, rng), plain.random(100) < 0.2)
    assert rng.random() == plain.random()


def test_groups_have_one_label_and_either_side_keeps_its_number_of_them():
    jury = jury_of([*ONE_OF_EACH, 3, 3, 3, 3, 3, 3, 3, 3], [*ONE_OF_EACH, 3, 3, 3, 3, 3, 3, 3, 3, 3])
    relabelling, rng = Relabelling.of(jury, seed=0), np.random.default_rng(0)
    ever = []
    for _ in range(50):
        drawn = relabelling.draw(rng)
        inside, outside = (set(drawn.groups[side].tolist()) for side in (drawn.membership, ~drawn.membership))
        assert (len(inside), len(outside), inside & outside) == (15, 16, set())
        ever.append(drawn.membership)
        chosen = relabelling.chosen(0.5, rng)
        assert all(len(set(chosen[jury.groups == group])) == 1 for group in range(31))
    assert 0.2 < np.mean(ever, axis=0).min() < np.mean(ever, axis=0).max() < 0.8


def test_a_group_on_both_sides_exchanges_its_parts_or_not():
    apart = jury_of([2] * 20, [3] * 20)
    jury = replace(apart, groups=np.r_[np.arange(40) // 2, np.arange(60) // 3])
    relabelling, rng = Relabelling.of(jury, seed=0), np.random.default_rng(0)
    exchanged = np.stack([relabelling.draw(rng).membership != jury.membership for _ in range(100)])
    for group in range(20):
        of_group = exchanged[:, jury.groups == group]
        assert (of_group == of_group[:, :1]).all()
        assert 0.3 < of_group[:, 0].mean() < 0.7


def test_the_controls_test_what_the_audit_tests():
    simulated = world(leak=0.3)
    jury = in_groups_of(5, simulated.jury)
    audited = [run_attack(LIRA, Role.PRIMARY, simulated.evidence, jury, LIMITS)]
    own = [p for _, _, p in primary_p_values(audited)]
    assert endpoint_p_values(without_appendix(LIRA, jury), audited[0].scores, jury, LIMITS) == own
    assert without_appendix(LIRA, simulated.jury) == LIRA


@pytest.mark.parametrize("seed", range(3))
def test_the_instrument_null_passes_tests_that_know_of_groups_and_no_others(seed, monkeypatch):
    """Single records as labels of their own let either pass: shuffled one by one, no test sees that they are alike."""
    jury = jury_of([20] * 25, [20] * 25)
    scored = [alike_within(jury, seed)]
    sound = instrument_null(scored, jury, LIMITS, seed)
    assert sound.status == "pass"
    assert sound.measurements[0].estimate.value < 0.1
    assert "for groups as a whole" in sound.sentence

    def forgetful(attack: Attack, scores: np.ndarray, jury: Jury, limits: Limits) -> list[float]:
        return endpoint_p_values(attack, scores, replace(jury, groups=None), limits)

    monkeypatch.setattr(nulls, "endpoint_p_values", forgetful)
    wrong = instrument_null(scored, jury, LIMITS, seed)
    assert wrong.status == "fail"
    assert wrong.measurements[0].estimate.value > 0.2


@pytest.mark.parametrize(("size", "recovered"), [(1, {Access.WEIGHTS}), (5, {Access.WEIGHTS}), (80, set())])
def test_a_planted_leak_is_found_only_where_groups_are_enough_for_the_audits_test(size, recovered):
    """Of 1,000 records a side in 12 or 13 groups a fifth of the groups may leak unseen; singly they never would."""
    simulated = world(n=1000)
    jury = in_groups_of(size, simulated.jury)
    planted = planted_control([LIRA], simulated.evidence, jury, LIMITS, tests=3, seed=0)
    assert planted.recovered == recovered
    assert planted.result.status == ("pass" if recovered else "fail")
    assert planted.result.voids == (() if recovered else (Void.NOTHING_FOUND,))
    assert "A planted leak of AUC 0.60, in whole groups, was found again" in planted.result.sentence
    assert [point.dose for point in planted.result.doses] == pytest.approx([0, 0.1, 0.2, 0.4])
    assert planted.result.doses[0].detected.value <= 0.2


@pytest.mark.parametrize(
    ("members", "non_members"),
    [([10] * 9, [1] * 90), ([288] + [1] * 12, [10] * 30), ([60] * 12, [20] * 40)],
    ids=["nine groups", "one has most", "hardly any draw can be tested"],
)
def test_too_few_groups_are_told_and_void_what_rests_on_them(members, non_members):
    jury = jury_of(members, non_members)
    null = instrument_null([alike_within(jury, 0)], jury, LIMITS, 0)
    assert (null.status, null.voids) == ("skipped", (Void.LEAK_FOUND, Void.NOTHING_FOUND))
    planted = planted_control([LIRA], world(n=10).evidence, jury, LIMITS, tests=1, seed=0)
    assert (planted.result.status, planted.result.voids) == ("skipped", (Void.NOTHING_FOUND,))
    assert planted.recovered == frozenset()
    assert all("fewer than 10 effective groups" in one.sentence for one in (null, planted.result))


def test_the_blind_control_claims_no_more_than_its_groups_can_show():
    grouped = jury_of([5] * 200, [5] * 200)
    records = replace(grouped, groups=None)
    one_a_group = replace(jury_of([1] * 200, [1] * 200), groups=None)
    assert blind._seen(records) == pytest.approx(0.551, abs=0.001)
    assert blind._seen(grouped) == pytest.approx(blind._seen(one_a_group))
