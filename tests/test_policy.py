from __future__ import annotations

import pytest

from auditor.findings import Endpoint, Failed, Family, Role, Severity, Skipped, VerdictState
from auditor.policy import SEVERITY_TABLE, judge, severity_of
from auditor.threat import Access
from tests.minimal_report import attack, auc, report, tpr, verdict

LEAK, NOTHING, UNSURE = VerdictState.LEAK_FOUND, VerdictState.NOTHING_FOUND, VerdictState.CANNOT_SAY


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
    assert severity_of(everywhere(LEAK), [attack(*endpoints)], Access.WEIGHTS) == severity


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
    assert severity_of(everywhere(LEAK), [attack(auc(0.55)), ignored], Access.SCORES) is Severity.LOW


@pytest.mark.parametrize("state", [NOTHING, UNSURE])
def test_without_a_leak_at_the_release_there_is_no_severity(state: VerdictState):
    verdicts = [verdict(Access.SCORES, state), verdict(Access.WEIGHTS, LEAK)]
    assert severity_of(verdicts, [attack(auc(0.95))], Access.SCORES) is Severity.NONE


def test_an_inherited_leak_counts_with_the_endpoints_of_the_lesser_access():
    results = [attack(auc(0.75), access=Access.SCORES), attack(auc(0.5, rejected=False), access=Access.WEIGHTS)]
    assert severity_of(everywhere(LEAK), results, Access.WEIGHTS) is Severity.HIGH


def test_an_inversion_leak_is_not_a_membership_severity():
    verdicts = [*everywhere(NOTHING), verdict(Access.WEIGHTS, LEAK, family=Family.INVERSION)]
    assert severity_of(verdicts, [attack(auc(0.95))], Access.WEIGHTS) is Severity.NONE


def test_the_table_falls_from_critical_to_moderate():
    ranks = [row.severity.rank for row in SEVERITY_TABLE]
    assert ranks == [Severity.CRITICAL.rank, Severity.HIGH.rank, Severity.MODERATE.rank]
    assert list(SEVERITY_TABLE) == sorted(SEVERITY_TABLE, key=lambda row: (row.tpr, row.auc), reverse=True)


SKIPPED = attack(name="rmia", outcome=Skipped(reason="no population"))
FAILED = attack(name="rmia", outcome=Failed(error="RuntimeError"))
MODERATE = attack(auc(0.65))


@pytest.mark.parametrize(
    ("state", "membership", "fail_on", "outcome"),
    [
        (NOTHING, [attack(auc(0.5, rejected=False))], "low", "pass"),
        (LEAK, [MODERATE], "low", "fail"),
        (LEAK, [MODERATE], "moderate", "fail"),
        (LEAK, [MODERATE], "high", "pass"),
        (LEAK, [MODERATE, SKIPPED], "moderate", "fail"),
        (LEAK, [MODERATE, SKIPPED], "high", "inconclusive"),
        (UNSURE, [MODERATE], "critical", "inconclusive"),
        (NOTHING, [SKIPPED], "critical", "inconclusive"),
        (NOTHING, [FAILED], "critical", "inconclusive"),
        (NOTHING, [attack(name="x", role=Role.SECONDARY, outcome=Failed(error="x"))], "low", "pass"),
    ],
)
def test_gate(state: VerdictState, membership, fail_on: str, outcome: str):
    assert judge(report(state, membership=membership), Severity(fail_on)).outcome == outcome


def test_a_preliminary_report_is_inconclusive_whatever_it_holds():
    early = report(LEAK, membership=[MODERATE]).model_copy(update={"stage": "target alone"})
    gate = judge(early, Severity.LOW)
    assert gate.outcome == "inconclusive"
    assert "no shadow model has been trained" in gate.sentence


def test_a_primary_attack_beyond_the_release_may_be_missing():
    beyond = attack(access=Access.WEIGHTS, outcome=Skipped(reason="no gradients"))
    assert judge(report(NOTHING, membership=[beyond], release=Access.SCORES), Severity.LOW).outcome == "pass"


def test_too_few_records_for_a_rule_on_tpr_are_inconclusive():
    verdicts = [verdict(access, NOTHING, auc_only=True) for access in Access]
    gate = judge(report(verdicts=verdicts), Severity.LOW)
    assert gate.outcome == "inconclusive"
    assert "1,000" in gate.sentence


def test_inversion_does_not_stop_the_gate():
    verdicts = [*everywhere(NOTHING), *(verdict(access, LEAK, family=Family.INVERSION) for access in Access)]
    assert judge(report(verdicts=verdicts), Severity.LOW).outcome == "pass"


def test_the_sentence_names_what_is_missing():
    assert "rmia" in judge(report(NOTHING, membership=[SKIPPED]), Severity.LOW).sentence


def test_a_gate_that_nothing_can_pass_is_refused():
    with pytest.raises(ValueError, match="none"):
        judge(report(), Severity.NONE)
