"""Running and measuring the battery on simulated signals."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.battery import MEMBERSHIP
from auditor.findings import Completed, Failed, Metric, Role, Skipped, Void
from auditor.laboratory import Answers
from auditor.membership.evidence import NullModels
from auditor.membership.exposure import exposed_records
from auditor.membership.measure import (
    choose_secondary,
    class_exposure,
    correct_primaries,
    endpoint_p_values,
    run_attack,
)
from auditor.signals import Signals
from auditor.stats.auc import auc
from auditor.verdict import Doubt, Limits
from tests.worlds import attack, world

LIMITS = Limits()


def battery(simulated):
    scored = [
        run_attack(one, Role.PRIMARY if one.primary else Role.SECONDARY, simulated.evidence, simulated.jury, LIMITS)
        for one in MEMBERSHIP
    ]
    return correct_primaries(scored, simulated.jury, LIMITS)


FROM_SIGNALS = [one for one in MEMBERSHIP if one.probe is None]


@pytest.mark.parametrize("row", FROM_SIGNALS, ids=[one.card.id for one in FROM_SIGNALS])
def test_a_planted_leak_gives_every_attack_an_auc_above_half(row):
    simulated = world(leak=3.0)
    before = {name: array.copy() for name, array in simulated.evidence.target.audit.arrays().items()}
    scores = row.score(simulated.evidence)
    assert scores.shape == simulated.jury.membership.shape
    assert auc(scores, simulated.jury.membership).low > 0.5
    for name, array in simulated.evidence.target.audit.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_primaries_are_corrected_over_all_accesses_together():
    scored = battery(world(leak=2.0))
    corrected = [
        endpoint
        for one in scored
        if isinstance(one.outcome, Completed)
        for endpoint in one.outcome.endpoints
        if endpoint.p_adjusted is not None
    ]
    assert len(corrected) == 5  # gap: AUC; LiRA twice: AUC and TPR at 1 % FPR
    assert all(endpoint.p_adjusted >= endpoint.p_value for endpoint in corrected)
    assert all(endpoint.upper_bound >= endpoint.estimate.value for endpoint in corrected)
    assert all(
        endpoint.p_adjusted is None
        for one in scored
        if one.role is Role.SECONDARY and isinstance(one.outcome, Completed)
        for endpoint in one.outcome.endpoints
    )


def test_secondary_attacks_are_told_on_the_half_they_were_not_chosen_on():
    simulated = world(leak=2.0)
    scored = battery(simulated)
    secondary = [one for one in scored if one.role is Role.SECONDARY]
    assert all(isinstance(one.outcome, Completed) == (one.attack.probe is None) for one in secondary)
    ran = [one.outcome for one in secondary if isinstance(one.outcome, Completed)]
    assert {outcome.evaluated_on for outcome in ran} == {"the reporting half"}
    assert all(sum(outcome.endpoints[0].estimate.n.values()) == 1000 for outcome in ran)
    choice = choose_secondary(scored, simulated.jury, LIMITS)
    best = next(one for one in secondary if one.attack.card.id == choice.attack_id)
    reporting = ~simulated.jury.selection
    assert choice.reported_value.value == pytest.approx(
        auc(best.scores[reporting], simulated.jury.membership[reporting]).value
    )


@pytest.mark.parametrize(("n", "metrics", "tested"), [(50, 1, 1), (500, 2, 1), (1000, 2, 2)])
def test_low_fpr_is_refused_then_appendix_then_tested(n, metrics, tested):
    simulated = world(n=n, leak=1.0)
    one = run_attack(attack("lira-weights"), Role.PRIMARY, simulated.evidence, simulated.jury, LIMITS)
    assert len(one.outcome.endpoints) == metrics
    assert len(endpoint_p_values(one.attack, one.scores, simulated.jury, LIMITS)) == tested


def test_with_groups_low_fpr_stays_in_the_appendix():
    simulated = world(leak=2.0, grouped=True)
    one = run_attack(attack("lira-weights"), Role.PRIMARY, simulated.evidence, simulated.jury, LIMITS)
    assert [endpoint.appendix for endpoint in one.outcome.endpoints if endpoint.metric is Metric.TPR_AT_FPR] == [True]


def test_an_attack_that_crashes_is_failed_and_one_that_lacks_shadows_is_skipped():
    simulated = world(shadows=4)

    def crash(evidence):
        raise ZeroDivisionError("on purpose")

    broken = run_attack(
        replace(attack("loss"), score=crash), Role.SECONDARY, simulated.evidence, simulated.jury, LIMITS
    )
    assert isinstance(broken.outcome, Failed)
    assert "ZeroDivisionError: on purpose (test_membership.py:" in broken.outcome.error
    skipped = run_attack(attack("lira-scores"), Role.PRIMARY, simulated.evidence, simulated.jury, LIMITS)
    assert isinstance(skipped.outcome, Skipped)
    assert "needs 6 shadows" in skipped.outcome.reason
    assert len(correct_primaries([broken, skipped], simulated.jury, LIMITS)) == 2


@pytest.mark.parametrize("shadows", [4, 8, 16])
@pytest.mark.parametrize("attack_id", ["rmia", "lira-scores", "lira-weights"])
def test_a_shadow_in_the_targets_place_reads_zero_without_a_leak(attack_id, shadows):
    if shadows - 2 < attack(attack_id).least_shadows:
        pytest.skip("too few shadows are left")
    simulated = world(shadows=shadows)
    readings = []
    for index in range(shadows):
        scores = attack(attack_id).score(simulated.evidence.attacking_shadow(index))
        readings.append(auc(scores, simulated.evidence.shadow_membership[index], confidence=0.9999))
    assert all(reading.low <= 0.5 <= reading.high for reading in readings)
    assert abs(np.mean([reading.value for reading in readings]) - 0.5) < 0.03


def test_a_twin_in_the_pool_would_read_below_zero():
    simulated = world(shadows=4, n=2000)
    evidence = simulated.evidence
    with_twin = replace(
        evidence,
        target=evidence.shadows.model(0),
        shadows=evidence.shadows.without_models([0]),
        shadow_membership=evidence.shadow_membership[1:],
    )
    assert auc(attack("lira-weights").score(with_twin), evidence.shadow_membership[0]).high < 0.5


def test_random_labels_reject_no_more_than_the_family_wise_level():
    rng = np.random.default_rng(0)
    simulated = world(leak=2.0)
    scored = battery(simulated)
    rejections = 0
    for _ in range(200):
        relabelled = replace(simulated.jury, membership=rng.permutation(simulated.jury.membership))
        again = [
            run_attack(one.attack, one.role, simulated.evidence, relabelled, LIMITS)
            for one in scored
            if one.role is Role.PRIMARY
        ]
        corrected = correct_primaries(again, relabelled, LIMITS)
        rejections += any(endpoint.rejected for one in corrected for endpoint in one.outcome.endpoints)
    assert rejections <= 18  # 99 % quantile of a binomial of 200 draws at 5 %


def test_exposure_is_told_only_for_classes_with_enough_records():
    simulated = world(leak=2.0, classes=5)
    labels = np.where(np.arange(2000) < 10, 4, simulated.jury.labels % 4)
    jury = replace(simulated.jury, labels=labels)
    scored = run_attack(attack("loss"), Role.SECONDARY, simulated.evidence, jury, LIMITS)
    exposed = class_exposure(scored, jury, list("abcde"), LIMITS)
    assert [one.label for one in exposed] == list("abcd")


def exposed(simulated, *, doubts=(), key=b"k" * 32):
    digests = [index.to_bytes(4, "big") for index in range(len(simulated.jury.membership))]
    scored = run_attack(attack("lira-weights"), Role.PRIMARY, simulated.evidence, simulated.jury, LIMITS)
    nulls = NullModels(simulated.nulls, simulated.halves)
    return exposed_records(scored, simulated.evidence, nulls, simulated.jury, doubts, digests, key)


def test_records_are_named_only_with_enough_shadows_and_without_doubt():
    assert "needs 8 shadows without each record" in exposed(world(shadows=8)).reason
    assert "voids" in exposed(world(shadows=16), doubts=[Doubt("a doubt", frozenset({Void.PER_RECORD}))]).reason


def test_exposed_records_are_found_under_opaque_ids():
    simulated = world(shadows=16, leak=4.0)
    found = exposed(simulated)
    assert found.status == "completed"
    assert found.unstable
    assert found.flagged.low > 0.02
    assert len(found.records) == round(found.flagged.value * 1000)
    assert found.records == tuple(sorted(set(found.records)))
    assert set(found.records).isdisjoint(exposed(simulated, key=b"j" * 32).records)
    assert 0 < found.stability.value <= 1


def test_without_a_leak_hardly_any_record_is_named():
    named = sum(len(exposed(world(shadows=16, seed=seed, n=500)).records) > 0 for seed in range(10))
    assert named <= 3  # Benjamini-Hochberg at 5 %: any discovery at all in 5 % of audits


def test_the_report_counts_the_queries_that_an_attack_asks():
    asked = {one.card.id: one.queries for one in MEMBERSHIP}
    assert (asked["gap"], asked["merlin"], asked["translations"], asked["lira-scores"]) == (1, 101, 5, None)
    simulated = world(n=50)
    twice = Answers(
        Signals(
            **{name: np.repeat(array, 2, axis=1) for name, array in simulated.evidence.target.audit.arrays().items()}
        ),
        simulated.evidence.target.calibration,
    )
    counted = {
        attack_id: run_attack(
            attack(attack_id), Role.SECONDARY, simulated.evidence.attacking(twice), simulated.jury, LIMITS
        ).outcome.queries_per_record
        for attack_id in ("gap", "loss")
    }
    assert counted == {"gap": 1, "loss": 2}
