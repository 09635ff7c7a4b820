from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from auditor.findings import Endpoint, Failed, Family, Role, Severity, Skipped, VerdictState
from auditor.limits import Limits, SeverityRow, SeverityTable, declared
from auditor.membership.measure import correct_primaries, run_attack
from auditor.policy import judge, severity_of
from auditor.threat import Access
from auditor.verdict import AccessFacts, decide_membership
from tests import worlds
from tests.minimal_report import attack, auc, report, tpr, verdict
from tests.test_gate import planted

LEAK, NOTHING, UNSURE = VerdictState.LEAK_FOUND, VerdictState.NOTHING_FOUND, VerdictState.CANNOT_SAY


DEFAULT = SeverityTable()
STRICT = SeverityTable(
    moderate=SeverityRow(tpr=0.0, auc=0.5),
    high=SeverityRow(tpr=0.02, auc=0.55),
    critical=SeverityRow(tpr=0.05, auc=0.60),
)
LENIENT = SeverityTable(
    moderate=SeverityRow(tpr=0.10, auc=0.75),
    high=SeverityRow(tpr=0.30, auc=0.85),
    critical=SeverityRow(tpr=1.0, auc=1.0),
)
BY_AUC = SeverityTable(
    moderate=SeverityRow(tpr=1.0, auc=0.60),
    high=SeverityRow(tpr=1.0, auc=0.70),
    critical=SeverityRow(tpr=1.0, auc=0.90),
)
SKIPS_HIGH = SeverityTable(high=SeverityRow(tpr=0.50, auc=0.90))


NOW = datetime(2026, 11, 22, tzinfo=UTC)


def by_severity(found, fail_on):
    """The gate of --fail-on alone, of an audit that found what it planted."""
    return judge(found.model_copy(update={"controls": (planted(*Access),)}), now=NOW, fail_on=Severity(fail_on))


def everywhere(state: VerdictState):
    return [verdict(access, state) for access in Access]


@pytest.mark.parametrize(
    ("endpoints", "severity"),
    [
        ([], "low"),
        ([auc(0.51)], "low"),
        ([auc(0.599), tpr(0.029)], "low"),
        ([auc(0.60)], "moderate"),
        ([tpr(0.03)], "moderate"),
        ([auc(0.699), tpr(0.099)], "moderate"),
        ([auc(0.70)], "high"),
        ([tpr(0.10)], "high"),
        ([auc(0.899), tpr(0.499)], "high"),
        ([auc(0.90)], "critical"),
        ([tpr(0.50)], "critical"),
        ([auc(0.51), tpr(0.51)], "critical"),
    ],
)
def test_the_lower_bound_of_either_endpoint_decides_the_severity(endpoints: list[Endpoint], severity: str):
    assert severity_of(everywhere(LEAK), [attack(*endpoints)], Access.WEIGHTS, DEFAULT) == severity


@pytest.mark.parametrize(
    ("table", "endpoints", "severity"),
    [
        (STRICT, [], "low"),
        (STRICT, [auc(0.51)], "moderate"),
        (STRICT, [auc(0.551)], "high"),
        (STRICT, [tpr(0.02)], "high"),
        (STRICT, [auc(0.60)], "critical"),
        (STRICT, [auc(0.51), tpr(0.05)], "critical"),
        (LENIENT, [auc(0.749), tpr(0.099)], "low"),
        (LENIENT, [auc(0.75)], "moderate"),
        (LENIENT, [auc(0.95), tpr(0.95)], "high"),
        (LENIENT, [auc(1.0)], "critical"),
        (BY_AUC, [auc(0.599), tpr(0.95)], "low"),
        (BY_AUC, [auc(0.70), tpr(0.95)], "high"),
        (SKIPS_HIGH, [auc(0.899), tpr(0.499)], "moderate"),
        (SKIPS_HIGH, [auc(0.90)], "critical"),
    ],
)
def test_a_policy_moves_the_rows(table: SeverityTable, endpoints: list[Endpoint], severity: str):
    assert severity_of(everywhere(LEAK), [attack(*endpoints)], Access.WEIGHTS, table) == severity


@pytest.mark.parametrize(
    "ignored",
    [
        attack(auc(0.95), role=Role.SECONDARY),
        attack(auc(0.95, rejected=False)),
        attack(tpr(0.95, appendix=True)),
        attack(tpr(0.95, fpr=0.001)),
        attack(auc(0.95), access=Access.WEIGHTS),
    ],
    ids=["secondary", "not rejected", "too few records", "another FPR", "beyond the release"],
)
def test_what_is_not_primary_evidence_at_the_release_does_not_raise_the_severity(ignored):
    assert severity_of(everywhere(LEAK), [attack(auc(0.55)), ignored], Access.SCORES, DEFAULT) is Severity.LOW


@pytest.mark.parametrize("state", [NOTHING, UNSURE])
def test_without_a_leak_at_the_release_there_is_no_severity(state: VerdictState):
    verdicts = [verdict(Access.SCORES, state), verdict(Access.WEIGHTS, LEAK)]
    assert severity_of(verdicts, [attack(auc(0.95))], Access.SCORES, STRICT) is Severity.NONE


def test_an_inherited_leak_counts_with_the_endpoints_of_the_lesser_access():
    results = [attack(auc(0.75), access=Access.SCORES), attack(auc(0.5, rejected=False), access=Access.WEIGHTS)]
    assert severity_of(everywhere(LEAK), results, Access.WEIGHTS, DEFAULT) is Severity.HIGH


def test_numbers_that_an_inherited_leak_does_not_rest_on_raise_no_severity():
    results = [attack(auc(0.55), access=Access.SCORES), attack(auc(0.95), access=Access.WEIGHTS)]
    inherited = verdict(Access.WEIGHTS, LEAK).model_copy(update={"inherited_from": Access.SCORES})
    assert severity_of([verdict(Access.SCORES, LEAK), inherited], results, Access.WEIGHTS, DEFAULT) is Severity.LOW


def test_an_inversion_leak_is_not_a_membership_severity():
    verdicts = [*everywhere(NOTHING), verdict(Access.WEIGHTS, LEAK, family=Family.INVERSION)]
    assert severity_of(verdicts, [attack(auc(0.95))], Access.WEIGHTS, DEFAULT) is Severity.NONE


def test_every_row_is_a_severity_and_they_rise():
    ranks = [Severity(name).rank for name, _ in DEFAULT.rows]
    assert ranks == [Severity.MODERATE.rank, Severity.HIGH.rank, Severity.CRITICAL.rank]
    rows = [(row.tpr, row.auc) for _, row in DEFAULT.rows]
    assert rows == sorted(rows)


@pytest.mark.parametrize(
    "changes", [{"high": SeverityRow(tpr=0.02, auc=0.7)}, {"moderate": SeverityRow(tpr=0.03, auc=0.71)}]
)
def test_a_table_that_falls_is_refused(changes):
    with pytest.raises(ValueError, match="high asks for less than moderate"):
        SeverityTable(**changes)


SKIPPED = attack(name="rmia", outcome=Skipped(reason="no population"))
FAILED = attack(name="rmia", outcome=Failed(error="RuntimeError"))
MODERATE = attack(auc(0.65), tpr(0.01, rejected=False))
QUIET = attack(auc(0.5, rejected=False), tpr(0.0, rejected=False))


@pytest.mark.parametrize(
    ("state", "membership", "fail_on", "outcome"),
    [
        (NOTHING, [QUIET], "low", "pass"),
        (NOTHING, [], "low", "inconclusive"),
        (NOTHING, [attack(auc(0.5, rejected=False))], "low", "inconclusive"),
        (LEAK, [attack(auc(0.65))], "moderate", "fail"),
        (LEAK, [attack(auc(0.65))], "high", "inconclusive"),
        (LEAK, [attack(auc(0.65), tpr(0.01, appendix=True))], "high", "inconclusive"),
        (LEAK, [attack(auc(0.65), tpr(0.01, fpr=0.001))], "high", "inconclusive"),
        (LEAK, [attack(auc(0.65)), attack(tpr(0.01), role=Role.SECONDARY)], "high", "inconclusive"),
        (LEAK, [MODERATE], "low", "fail"),
        (LEAK, [MODERATE], "moderate", "fail"),
        (LEAK, [MODERATE], "high", "pass"),
        (LEAK, [MODERATE, SKIPPED], "moderate", "fail"),
        (LEAK, [MODERATE, SKIPPED], "high", "inconclusive"),
        (UNSURE, [MODERATE], "critical", "inconclusive"),
        (NOTHING, [SKIPPED], "critical", "inconclusive"),
        (NOTHING, [FAILED], "critical", "inconclusive"),
        (NOTHING, [QUIET, attack(name="x", role=Role.SECONDARY, outcome=Failed(error="x"))], "low", "pass"),
    ],
)
def test_gate(state: VerdictState, membership, fail_on: str, outcome: str):
    assert by_severity(report(state, membership=membership), fail_on).outcome == outcome


def under(table: SeverityTable, *arguments, **parts):
    """The minimal report as it would be under a policy."""
    found = report(*arguments, **parts)
    return found.model_copy(update={"plan": found.plan.model_copy(update={"severity": table})})


SMALL, LARGE = attack(auc(0.55), tpr(0.02)), attack(auc(0.85), tpr(0.40))


@pytest.mark.parametrize(
    ("table", "state", "evidence", "outcomes"),
    [
        (DEFAULT, LEAK, SMALL, "fail pass pass pass"),
        (STRICT, LEAK, SMALL, "fail fail fail pass"),
        (LENIENT, LEAK, SMALL, "fail pass pass pass"),
        (DEFAULT, LEAK, LARGE, "fail fail fail pass"),
        (STRICT, LEAK, LARGE, "fail fail fail fail"),
        (LENIENT, LEAK, LARGE, "fail fail fail pass"),
        (BY_AUC, LEAK, attack(auc(0.55), tpr(0.95)), "fail pass pass pass"),
        (STRICT, NOTHING, QUIET, "pass pass pass pass"),
        (LENIENT, NOTHING, QUIET, "pass pass pass pass"),
        (STRICT, UNSURE, LARGE, "inconclusive inconclusive inconclusive inconclusive"),
        (LENIENT, UNSURE, LARGE, "inconclusive inconclusive inconclusive inconclusive"),
    ],
)
def test_the_gate_judges_by_the_table_of_the_report(table, state, evidence, outcomes):
    found = under(table, state, membership=[evidence])
    severities = [severity for severity in Severity if severity is not Severity.NONE]
    assert " ".join(by_severity(found, severity).outcome for severity in severities) == outcomes


@pytest.fixture(scope="module")
def without_a_leak():
    simulated, lira = worlds.world(n=150), worlds.attack("lira-weights")
    return simulated, run_attack(lira, Role.PRIMARY, simulated.evidence, simulated.jury, Limits())


@pytest.mark.parametrize(
    ("limits", "state"),
    [(Limits(), NOTHING), (Limits(auc=0.75), NOTHING), (Limits(auc=0.55), UNSURE), (Limits(auc=0.501), UNSURE)],
)
def test_nothing_is_found_only_under_the_limit(without_a_leak, limits: Limits, state: VerdictState):
    simulated, measured = without_a_leak
    (corrected,) = correct_primaries([measured], simulated.jury, limits)
    (endpoint,) = (one for one in corrected.outcome.endpoints if one.limit is not None)
    facts = AccessFacts(Access.WEIGHTS, (endpoint,), 150, shadows=8, planted_recovered=True)
    (found,) = decide_membership([facts], [], limits)
    assert (endpoint.limit, endpoint.upper_bound < limits.auc) == (limits.auc, state is NOTHING)
    assert found.state is state
    assert (f"(limit {declared(limits.auc)})" in found.sentence) == (state is UNSURE)


def test_the_sentence_names_the_limit_as_it_was_declared():
    endpoint = tpr(0.01, rejected=False).model_copy(update={"upper_bound": 0.03, "limit": 0.125})
    facts = AccessFacts(Access.WEIGHTS, (endpoint,), 1000, shadows=8, planted_recovered=True)
    (nothing,) = decide_membership([facts], [], Limits(tpr=0.125))
    assert (nothing.state, "A planted leak of 12.5 % was found again" in nothing.sentence) == (NOTHING, True)
    wide = replace(facts, endpoints=(endpoint.model_copy(update={"upper_bound": 0.13}),))
    (unsure,) = decide_membership([wide], [], Limits(tpr=0.125))
    assert (unsure.state, "could be as high as 13 % (limit 12.5 %)" in unsure.sentence) == (UNSURE, True)


def test_a_preliminary_report_is_inconclusive_whatever_it_holds():
    early = report(LEAK, membership=[MODERATE]).model_copy(update={"stage": "target alone"})
    gate = by_severity(early, "low")
    assert gate.outcome == "inconclusive"
    assert "no shadow model has been trained" in gate.sentence


def test_a_primary_attack_beyond_the_release_may_be_missing():
    beyond = attack(access=Access.WEIGHTS, outcome=Skipped(reason="no gradients"))
    assert by_severity(report(NOTHING, membership=[QUIET, beyond], release=Access.SCORES), "low").outcome == "pass"


def test_a_leak_beside_which_nothing_was_planted_may_be_larger():
    found = report(LEAK, membership=[MODERATE])
    gate = judge(found, now=NOW, fail_on=Severity.HIGH)
    assert gate.outcome == "inconclusive"
    assert "More than was found may leak: no leak was planted at release weights." in gate.sentence


def test_too_few_records_for_a_rule_on_tpr_are_inconclusive():
    found = report(LEAK, membership=[attack(auc(0.65))])
    few = found.model_copy(update={"data": found.data.model_copy(update={"evaluated": 500})})
    gate = by_severity(few, "critical")
    assert gate.outcome == "inconclusive"
    assert "TPR at 1 % FPR takes at least 1,000 evaluated records a side, and there are 500." in gate.sentence


def test_inversion_does_not_stop_the_gate():
    verdicts = [*everywhere(NOTHING), *(verdict(access, LEAK, family=Family.INVERSION) for access in Access)]
    assert by_severity(report(verdicts=verdicts, membership=[QUIET]), "low").outcome == "pass"


def test_the_sentence_names_what_is_missing():
    assert "rmia" in by_severity(report(NOTHING, membership=[SKIPPED]), "low").sentence


def test_a_gate_that_nothing_can_pass_is_refused():
    with pytest.raises(ValueError, match="none"):
        by_severity(report(), "none")
