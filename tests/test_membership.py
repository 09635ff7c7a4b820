"""Running and measuring the battery on simulated signals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from auditor.battery import MEMBERSHIP
from auditor.findings import Completed, Failed, Metric, Role, Skipped, Void
from auditor.laboratory import Answers
from auditor.limits import Limits
from auditor.membership.evidence import NullModels, Unavailable
from auditor.membership.exposure import exposed_records
from auditor.membership.measure import (
    Scored,
    choose_secondary,
    class_exposure,
    correct_primaries,
    declared_tests,
    endpoint_p_values,
    oracle_of,
    primary_p_values,
    run_attack,
)
from auditor.signals import Signals
from auditor.stats.auc import auc, auc_p_value
from auditor.threat import Access
from auditor.verdict import Doubt
from tests.worlds import SAMPLED, attack, with_probes, world

LIMITS = Limits()


def battery(simulated):
    scored = []
    for one in MEMBERSHIP:
        oracle = oracle_of(scored, simulated.jury) if one.combines else None
        role = Role.PRIMARY if one.primary else Role.SECONDARY
        scored.append(run_attack(one, role, replace(simulated.evidence, oracle=oracle), simulated.jury, LIMITS))
    return correct_primaries(scored, simulated.jury, LIMITS)


def locked(simulated):
    """The same world; whoever writes into what it was given crashes."""
    evidence = simulated.evidence
    answers = [part.arrays() for one in (evidence.target, evidence.shadows) for part in (one.audit, one.calibration)]
    for arrays in (*answers, *(part for seen in evidence.probes.values() for part in (seen.target, seen.shadows))):
        for array in arrays.values():
            array.setflags(write=False)
    return simulated


@pytest.fixture(scope="module")
def leaky():
    simulated = locked(with_probes(world(n=300, leak=3.0)))
    return simulated, {one.attack.card.id: one for one in battery(simulated)}


@pytest.fixture(scope="module")
def leakless():
    simulated = with_probes(world(n=300))
    return simulated, {one.attack.card.id: one for one in battery(simulated)}


every_row = pytest.mark.parametrize("row", MEMBERSHIP, ids=[one.card.id for one in MEMBERSHIP])


def told_auc(one):
    return next(end.estimate for end in one.outcome.endpoints if end.metric is Metric.AUC)


@every_row
def test_a_planted_leak_gives_every_attack_an_auc_above_half_and_changes_no_input(row, leaky):
    simulated, scored = leaky
    one = scored[row.card.id]
    assert isinstance(one.outcome, Completed), one.outcome
    assert one.scores.shape == simulated.jury.membership.shape
    assert told_auc(one).low > 0.5


@every_row
def test_without_a_leak_every_attack_reads_half(row, leakless):
    simulated, scored = leakless
    scores, members = scored[row.card.id].scores, simulated.jury.membership
    asked = ~np.isnan(scores)
    found = auc(scores[asked], members[asked], confidence=1 - 0.01 / len(MEMBERSHIP))
    assert found.low <= 0.5 <= found.high


@every_row
def test_with_labels_drawn_beforehand_every_attack_rejects_at_its_level(row, leaky):
    """The combination is the one attack that sees labels: it is fitted again to each draw."""
    simulated, scored = leaky
    rng, rejections = np.random.default_rng(0), 0
    for _ in range(200):
        jury = replace(simulated.jury, membership=rng.permutation(simulated.jury.membership))
        scores = scored[row.card.id].scores
        if row.combines:
            oracle = oracle_of([one for one in scored.values() if one.attack is not row], jury)
            scores = row.score(replace(simulated.evidence, oracle=oracle))
        judged = ~jury.selection & ~np.isnan(scores)
        rejections += auc_p_value(scores[judged], jury.membership[judged]) <= 0.05
    assert rejections <= binom.ppf(1 - 0.01 / len(MEMBERSHIP), 200, 0.05)


def test_the_combination_is_fitted_to_one_half_and_judged_on_the_other(leaky):
    simulated, scored = leaky
    jury, combined = simulated.jury, scored["combination"]
    assert np.array_equal(np.isnan(combined.scores), jury.selection)
    assert combined.outcome.evaluated_on == "the reporting half"
    assert combined.outcome.queries_per_record > scored["merlin"].outcome.queries_per_record
    others = [one for one in scored.values() if one is not combined]
    other_labels = jury.membership.copy()
    other_labels[~jury.selection] = np.random.default_rng(0).permutation(other_labels[~jury.selection])
    oracle = oracle_of(others, replace(jury, membership=other_labels))
    again = attack("combination").score(replace(simulated.evidence, oracle=oracle))
    np.testing.assert_array_equal(again, combined.scores)
    white_box = sum(one.attack.card.access is Access.WEIGHTS for one in others)
    assert len(oracle.scores) == len(others) - white_box - 1  # the boundary's sample is left out too
    secondary = [one for one in others if one.role is Role.SECONDARY and not np.isnan(one.scores).any()]
    assert choose_secondary(list(scored.values()), jury, LIMITS, Access.WEIGHTS).chosen_from == len(secondary)
    by_labels = [one for one in secondary if one.attack.card.access is Access.LABELS]
    choice = choose_secondary(list(scored.values()), jury, LIMITS, Access.LABELS)
    assert choice.chosen_from == len(by_labels) < len(secondary)
    assert choice.attack_id in [one.attack.card.id for one in by_labels]


def test_alone_or_without_its_oracle_the_combination_is_skipped(leaky):
    simulated, scored = leaky
    for oracle in (None, oracle_of([scored["loss"]], simulated.jury)):
        given = replace(simulated.evidence, oracle=oracle)
        one = run_attack(attack("combination"), Role.SECONDARY, given, simulated.jury, LIMITS)
        assert one.outcome == Skipped(reason="needs two other attacks on labels or scores that scored every record")


def test_a_sample_is_told_with_its_size_and_the_queries_that_were_counted(leaky):
    simulated, scored = leaky
    boundary = scored["boundary"]
    assert np.isfinite(boundary.scores).sum() == SAMPLED
    assert boundary.outcome.evaluated_on == f"the reporting half of a sample of {SAMPLED} records"
    counted = simulated.evidence.probes["boundary"].target["queries"]
    assert boundary.outcome.queries_per_record == round(counted.mean())
    assert boundary.outcome.queries_per_record != boundary.attack.queries


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
    choice = choose_secondary(scored, simulated.jury, LIMITS, Access.WEIGHTS)
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


def primaries(simulated, **broken):
    """The three primary attacks, some of them broken on purpose."""
    rows = (replace(row, score=broken.get(row.card.access.value, row.score)) for row in MEMBERSHIP if row.primary)
    return [run_attack(row, Role.PRIMARY, simulated.evidence, simulated.jury, LIMITS) for row in rows]


@pytest.mark.parametrize(("grouped", "tests"), [(False, 5), (True, 3)])
def test_a_declared_test_that_was_not_made_counts_as_one_that_rejects_nothing(grouped, tests):
    def crash(evidence):
        raise MemoryError

    def lack(evidence):
        raise Unavailable("needs more")

    simulated = world(leak=0.3, grouped=grouped)
    jury = simulated.jury
    whole = correct_primaries(primaries(simulated), jury, LIMITS)
    for fault in (crash, lack):
        found = primaries(simulated, scores=fault)
        assert declared_tests(found, jury, LIMITS) == tests
        corrected = correct_primaries(found, jury, LIMITS)
        for one, before in zip(corrected, whole, strict=True):
            if isinstance(one.outcome, Completed):
                bounds = [endpoint.upper_bound for endpoint in one.outcome.endpoints]
                assert bounds == [endpoint.upper_bound for endpoint in before.outcome.endpoints]
        least = min(p for _, _, p in primary_p_values(found))
        adjusted = [e.p_adjusted for one in corrected for e in getattr(one.outcome, "endpoints", ())]
        assert min(p for p in adjusted if p is not None) == pytest.approx(min(tests * least, 1.0))


def test_a_primary_attack_that_the_plan_does_not_have_is_not_declared():
    simulated = world(leak=0.3)
    asked, idle, other = primaries(simulated)
    idle = Scored(idle.attack, Role.PRIMARY, None, Skipped(reason="not asked for"))
    assert declared_tests([asked, idle, other], simulated.jury, LIMITS) == 3
    assert declared_tests([replace(asked, role=Role.SECONDARY), idle, other], simulated.jury, LIMITS) == 2


@pytest.mark.parametrize(
    ("attack_id", "shadows"),
    [("rmia", 4), *((name, count) for name in ("rmia", "lira-scores", "lira-weights") for count in (8, 16))],
)
def test_a_shadow_in_the_targets_place_reads_zero_without_a_leak(attack_id, shadows):
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
    assert "takes 8 shadows without each record, and there are" in exposed(world(shadows=8)).reason
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
