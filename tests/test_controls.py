"""The controls on simulated signals: null reads zero, planted is found, shift is seen."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.controls import nulls
from auditor.controls.blind import blind_control, matched_test
from auditor.controls.nulls import instrument_null, owner_label_excess, owner_label_result
from auditor.controls.planted import planted_control
from auditor.findings import Role, Void
from auditor.limits import Limits
from auditor.membership.evidence import NullModels
from auditor.membership.measure import correct_primaries, run_attack
from auditor.report.text import cell, unit_of
from auditor.threat import Access
from tests.worlds import attack, world

LIMITS = Limits()
LIRA = attack("lira-weights")


def features(jury, shift, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(jury.membership), 10)) + shift * jury.membership[:, None]


@pytest.mark.parametrize(
    ("shift", "status", "voids"), [(0.0, "pass", ()), (0.09, "warn", ()), (1.0, "fail", (Void.NOTHING_FOUND,))]
)
def test_blind_control_sees_a_shift_that_is_there(shift, status, voids):
    jury = world().jury
    blind = blind_control(features(jury, shift, seed=3), jury, 0, LIMITS)
    assert (blind.result.status, blind.result.voids) == (status, voids)
    assert blind.shift is (status != "pass")


def test_an_auc_of_disjoint_pairs_is_no_share():
    jury = world().jury
    (found,) = blind_control(features(jury, 50.0), jury, 0, LIMITS).result.measurements
    assert found.estimate.method == "Clopper-Pearson on disjoint pairs"
    assert unit_of(found) == ""
    assert "%" not in cell(found.estimate, unit_of(found))


def test_matched_test_needs_pairs_that_look_alike():
    simulated = world(leak=3.0)
    scores = LIRA.score(simulated.evidence)
    alike = np.random.default_rng(0).random(len(scores))
    assert matched_test(scores, simulated.jury, alike, 0.05) is True
    assert matched_test(scores, simulated.jury, simulated.jury.membership.astype(float), 0.05) is None
    quiet = world(leak=0.0, seed=4)
    assert matched_test(LIRA.score(quiet.evidence), quiet.jury, alike, 0.05) is False


@pytest.mark.parametrize(
    ("leak", "shift", "significant", "shifted"),
    [(0, 0, False, False), (3, 0, True, False), (0, 2, False, True), (3, 2, True, True)],
)
def test_owner_label_null_takes_the_split_away(leak, shift, significant, shifted):
    loss = attack("loss")  # a global threshold mistakes easy records for members
    simulated = world(leak=leak, shift=shift)
    excess = owner_label_excess(
        replace(loss, primary=True),
        simulated.evidence,
        NullModels(simulated.nulls, simulated.halves),
        simulated.jury,
        LIMITS,
        0,
    )
    assert (excess.significant, excess.shift) == (significant, shifted)
    result = owner_label_result([excess], simulated.jury)
    assert (result.status == "warn") is shifted


@pytest.mark.parametrize(("shift", "leans"), [(-0.4, False), (0.2, True)])
def test_a_slight_shift_makes_the_null_lean_before_it_is_suspected(shift, leans):
    simulated = world(shift=shift, seed=4)
    excess = owner_label_excess(
        replace(attack("loss"), primary=True),
        simulated.evidence,
        NullModels(simulated.nulls, simulated.halves),
        simulated.jury,
        LIMITS,
        0,
    )
    assert (excess.shift, excess.leans) == (False, leans)
    told = owner_label_result([excess], simulated.jury)
    assert told.status == ("pass" if leans else "warn")
    assert ("which may be chance" in told.sentence) is leans
    assert "less than 80 % of it" in told.sentence


@pytest.mark.parametrize(
    ("leak", "shift", "status"), [(0, -0.9, "warn"), (2, -2, "fail"), (0, 0, "pass")], ids=["masks", "hides", "even"]
)
def test_a_split_that_takes_from_the_auc_is_told_and_hides_no_leak(leak, shift, status):
    simulated = world(leak=leak, shift=shift)
    models = NullModels(simulated.nulls, simulated.halves)
    loss = replace(attack("loss"), primary=True)
    excess = owner_label_excess(loss, simulated.evidence, models, simulated.jury, LIMITS, 0)
    told = owner_label_result([excess], simulated.jury)
    assert told.status == status
    assert excess.masks is ("order non-members above members" in told.sentence) is (status != "pass")
    assert told.voids == ((Void.NOTHING_FOUND,) if status == "fail" else ())


def test_null_models_that_missed_a_fifth_of_a_shift_make_no_leak():
    """The target is better on members by 2, null models by 1.6: an excess, but none that a fifth could not explain."""
    loss, simulated = replace(attack("loss"), primary=True), world(shift=1.6)
    members = np.where(simulated.jury.membership, 0.4, 0.0)[:, None]
    margin = simulated.evidence.target.audit.logit_margin + members
    target = replace(simulated.evidence.target, audit=nulls.two_class_signals(margin))
    models = NullModels(simulated.nulls, simulated.halves)
    excess = owner_label_excess(loss, simulated.evidence.attacking(target), models, simulated.jury, LIMITS, 0)
    assert excess.excess.estimate.low > 0
    assert not excess.significant
    assert excess.beyond.estimate.low < 0 < excess.beyond.estimate.high
    result = owner_label_result([excess], simulated.jury)
    assert "by more than 25 % of how far they lie above 0.5" in result.sentence
    assert result.measurements == (excess.null, excess.excess, excess.beyond)


def test_owner_label_null_is_zero_on_average_without_leak_and_shift():
    values = []
    for seed in range(12):
        simulated = world(n=300, seed=seed)
        excess = owner_label_excess(
            LIRA, simulated.evidence, NullModels(simulated.nulls, simulated.halves), simulated.jury, LIMITS, seed
        )
        values.append(excess.excess.estimate.value)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


@pytest.fixture(scope="module")
def measured():
    simulated = world(leak=2.0)
    return simulated, [run_attack(LIRA, Role.PRIMARY, simulated.evidence, simulated.jury, LIMITS)]


def test_instrument_null_passes_on_a_sound_instrument(measured):
    simulated, scored = measured
    assert instrument_null(scored, simulated.jury, LIMITS, 0).status == "pass"


def test_instrument_null_notices_tests_that_reject_too_often(measured, monkeypatch):
    simulated, scored = measured
    rng = np.random.default_rng(0)
    monkeypatch.setattr(nulls, "endpoint_p_values", lambda *_: [rng.random() / 4])
    result = instrument_null(scored, simulated.jury, LIMITS, 0)
    assert result.status == "fail"
    assert set(result.voids) == {Void.LEAK_FOUND, Void.NOTHING_FOUND}


def test_instrument_null_notices_an_attack_that_knows_what_it_should_not(measured, monkeypatch):
    simulated, scored = measured
    even = np.arange(2000) % 2 == 0
    monkeypatch.setattr(nulls, "inclusion_pairs", lambda n, models, _: np.stack([even, ~even] * (models // 2)))
    peeking = replace(LIRA, score=lambda evidence: even.astype(float))
    result = instrument_null([replace(scored[0], attack=peeking)], simulated.jury, LIMITS, 0)
    assert result.status == "fail"
    assert "did not give AUC 0.5" in result.sentence


@pytest.mark.parametrize("leak", [0.0, 3.0])
def test_a_planted_leak_at_the_limit_is_found_again_whatever_the_recipe_leaks(leak):
    simulated = world(n=1000, leak=leak)
    planted = planted_control([LIRA], simulated.evidence, simulated.jury, LIMITS, tests=5, seed=0)
    assert planted.recovered == {Access.WEIGHTS}
    assert planted.result.voids == ()
    doses = planted.result.doses
    assert [point.dose for point in doses] == sorted(point.dose for point in doses)
    assert doses[0].detected.value <= 0.2  # nothing planted, hardly anything found
    assert doses[-1].tpr.value > doses[0].tpr.value


@pytest.mark.parametrize(
    ("n", "limits", "doses", "told"),
    [
        (300, replace(LIMITS, auc=0.875), [0, 0.375, 0.75, 1], "AUC 0.875"),
        (1000, replace(LIMITS, tpr=0.802), [0, 0.4, 0.8, 1], "TPR 80.2 % at 1 % FPR"),
    ],
)
def test_a_dose_is_a_share_whatever_the_limit(n, limits, doses, told):
    simulated = world(n=n)
    planted = planted_control([LIRA], simulated.evidence, simulated.jury, limits, tests=5, seed=0)
    assert [point.dose for point in planted.result.doses] == pytest.approx(doses)
    assert f"A planted leak of {told} was found again" in planted.result.sentence
    assert planted.recovered == {Access.WEIGHTS}


def test_a_deaf_attack_does_not_recover_the_planted_leak():
    simulated = world(n=1000)
    deaf = replace(LIRA, score=lambda evidence: np.random.default_rng(0).normal(size=2000))
    planted = planted_control([deaf], simulated.evidence, simulated.jury, LIMITS, tests=5, seed=0)
    assert planted.recovered == frozenset()
    assert planted.result.voids == (Void.NOTHING_FOUND,)


def test_without_shadow_based_attacks_nothing_is_planted():
    simulated = world(n=100)
    planted = planted_control([], simulated.evidence, simulated.jury, LIMITS, tests=5, seed=0)
    assert planted.result.status == "skipped"
    assert planted.result.voids == (Void.NOTHING_FOUND,)


def test_pure_shift_is_never_a_leak_at_the_level_of_signals():
    simulated = world(shift=2.0)
    scored = correct_primaries(
        [run_attack(LIRA, Role.PRIMARY, simulated.evidence, simulated.jury, LIMITS)], simulated.jury, LIMITS
    )
    blind = blind_control(features(simulated.jury, 1.0), simulated.jury, 0, LIMITS)
    assert blind.shift
    assert matched_test(scored[0].scores, simulated.jury, blind.propensity, 0.05 / 3) in {None, False}
