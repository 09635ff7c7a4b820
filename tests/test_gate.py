"""The gate: policy times evidence gives the exit code, and nothing lets the report of another model pass."""

from __future__ import annotations

import hashlib
import json
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from auditor import cli
from auditor.findings import (
    AuditReport,
    CanaryAudit,
    CanaryBound,
    Check,
    CheckLevel,
    ControlResult,
    DosePoint,
    Endpoint,
    Failed,
    Family,
    InversionResult,
    Measurement,
    Metric,
    Role,
    SecondaryChoice,
    Severity,
    Skipped,
    VerdictState,
    Void,
)
from auditor.policy import judge
from auditor.policy_file import Policy, Rule, Waiver
from auditor.report import render_json
from auditor.stats.estimate import Estimate
from auditor.threat import Access
from tests.cli.test_terminal import torch_was_imported_by
from tests.minimal_report import attack, report, verdict
from tests.report.example import well_behaved

LEAK, NOTHING, UNSURE = VerdictState.LEAK_FOUND, VerdictState.NOTHING_FOUND, VerdictState.CANNOT_SAY
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # the minimal report was made at midnight
pytestmark = pytest.mark.usefixtures("one_thing_at_a_time")
DOCS = Path(__file__).parents[1] / "docs"
RULES = DOCS / "gate.md"


def estimate(low: float, value: float, high: float) -> Estimate:
    return Estimate(value, low, high, 0.95, "made up", {"members": 2000, "non-members": 2000})


def auc(low: float, value: float, high: float, *, rejected: bool = False) -> Endpoint:
    found = estimate(low, value, high)
    return Endpoint(metric=Metric.AUC, estimate=found, p_value=0.5, rejected=rejected, upper_bound=high, limit=0.6)


def tpr(low: float, value: float, high: float, *, rejected: bool = False) -> Endpoint:
    found = estimate(low, value, high)
    return Endpoint(
        metric=Metric.TPR_AT_FPR, fpr=0.01, estimate=found, p_value=0.5, rejected=rejected, upper_bound=high, limit=0.05
    )


def planted(*accesses: Access) -> ControlResult:
    share = estimate(0.8, 1.0, 1.0)
    doses = tuple(DosePoint(attack_id="x", access=one, dose=0.04, tpr=share, detected=share) for one in accesses)
    return ControlResult(id="planted", title="P", question="?", status="pass", sentence="Found again.", doses=doses)


def evidence(state: VerdictState, *endpoints: Endpoint, access: Access = Access.SCORES, **changes) -> AuditReport:
    """An audit of 2,000 a side, whose verdict is the same at every release, with one primary attack."""
    found = report(state, membership=[attack(*endpoints, access=access)])
    data = found.data.model_copy(update=dict.fromkeys(("members", "non_members", "evaluated"), 2000))
    return found.model_copy(update={"data": data, "controls": (planted(*Access),), **changes})


def unsure(*endpoints: Endpoint, too_wide: bool) -> AuditReport:
    found = evidence(UNSURE, *endpoints)
    verdicts = tuple(one.model_copy(update={"too_wide": too_wide}) for one in found.verdicts)
    return found.model_copy(update={"verdicts": verdicts})


def earlier(found: AuditReport) -> AuditReport:
    """The same, found of the weights of the last release."""
    return found.model_copy(update={"model": found.model.model_copy(update={"sha256": "1" * 64})})


def with_attacks(*more) -> AuditReport:
    return QUIET.model_copy(update={"membership": (*QUIET.membership, *more)})


def with_checks(*levels: CheckLevel, voids: tuple[Void, ...] = (), base: AuditReport | None = None) -> AuditReport:
    made = tuple(Check(id="recipe", title="R", level=one, sentence="It differs.", voids=voids) for one in levels)
    return (base or QUIET).model_copy(update={"checks": made})


def with_canaries(epsilon: float, ceiling: float, delta: float = 1e-5) -> AuditReport:
    bound = CanaryBound(
        access=Access.WEIGHTS,
        assumes="",
        declared=True,
        epsilon=epsilon,
        delta=delta,
        confidence=0.95,
        ceiling=ceiling,
        guesses=100,
        correct=90,
        auc=estimate(0.8, 0.9, 0.95),
        method="one run",
    )
    assuming = bound.model_copy(update={"assumes": "a Gaussian curve", "declared": False, "epsilon": 40.0})
    told = CanaryAudit(
        canaries=200,
        included=100,
        mislabelled=0,
        bounds=(assuming, bound),
        claim=None,
        contradicted=None,
        sentence="Told.",
    )
    return QUIET.model_copy(update={"canaries": told})


def inverted(record: Estimate, state: VerdictState, *, tested: bool = True, found: bool = False) -> AuditReport:
    card = attack().card.model_copy(update={"id": "gmi", "family": Family.INVERSION, "access": Access.WEIGHTS})
    over = tuple(
        Measurement(name="Record excess", estimate=one, against=name)
        for one, name in ((record, "another model"), (estimate(-1.0, 2.0, 5.0), "the class mean"))
    )
    result = InversionResult(
        card=card,
        status="completed",
        classes=40,
        record_excess=over[: 1 if found else 2],
        record_p_adjusted=0.5 if tested else None,
        record_found=found,
    )
    verdicts = (*QUIET.verdicts, *(verdict(one, state, family=Family.INVERSION) for one in Access))
    return QUIET.model_copy(update={"inversion": (result,), "verdicts": verdicts})


QUIET = evidence(NOTHING, auc(0.48, 0.50, 0.52), tpr(0.005, 0.01, 0.027))
LOUD = evidence(LEAK, auc(0.65, 0.70, 0.75, rejected=True), tpr(0.10, 0.14, 0.20, rejected=True))
SLIGHT = evidence(LEAK, auc(0.52, 0.54, 0.56, rejected=True), tpr(0.01, 0.02, 0.04))
BETWEEN = evidence(LEAK, auc(0.55, 0.59, 0.62, rejected=True), tpr(0.01, 0.02, 0.04))
WIDE = unsure(auc(0.45, 0.52, 0.62), tpr(0.0, 0.01, 0.04), too_wide=True)
CONFOUNDED = unsure(auc(0.65, 0.70, 0.75, rejected=True), tpr(0.10, 0.14, 0.20, rejected=True), too_wide=False)
BY_AUC = evidence(NOTHING, auc(0.48, 0.50, 0.55)).model_copy(
    update={"verdicts": tuple(verdict(one, NOTHING, auc_only=True) for one in Access)}
)
SLIGHT_BY_AUC = evidence(LEAK, auc(0.52, 0.54, 0.56, rejected=True))
FOUND_BY_AUC = evidence(LEAK, auc(0.65, 0.70, 0.75, rejected=True))
IN_APPENDIX = evidence(
    LEAK, auc(0.65, 0.70, 0.75, rejected=True), tpr(0.10, 0.14, 0.20).model_copy(update={"appendix": True})
)
BY_GAP = evidence(LEAK, auc(0.52, 0.54, 0.56, rejected=True), access=Access.LABELS, controls=(planted(Access.SCORES),))
SKIPPED = attack(name="rmia", outcome=Skipped(reason="no population"))
IDLE = attack(name="rmia", role=Role.SECONDARY, outcome=Skipped(reason="no population"))
EARLY = LOUD.model_copy(update={"stage": "target alone"})
AT_WEIGHTS = evidence(LEAK, auc(0.65, 0.7, 0.75, rejected=True), access=Access.WEIGHTS).model_copy(
    update={"verdicts": (verdict(Access.SCORES, NOTHING), verdict(Access.WEIGHTS, LEAK))}
)
INHERITED = LOUD.model_copy(
    update={"membership": (*LOUD.membership, attack(auc(0.4, 0.5, 0.55), access=Access.WEIGHTS))}
)
VOIDED = (Void.NOTHING_FOUND,)
ABOVE = unsure(auc(0.65, 0.70, 0.75), tpr(0.0, 0.01, 0.04), too_wide=True)
GAP = attack(auc(0.52, 0.54, 0.56, rejected=True), name="gap", access=Access.LABELS)
FROM_LABELS = LOUD.model_copy(
    update={
        "membership": (GAP, *LOUD.membership),
        "verdicts": (
            verdict(Access.LABELS, LEAK),
            *(
                verdict(one, LEAK).model_copy(update={"inherited_from": Access.LABELS})
                for one in (Access.SCORES, Access.WEIGHTS)
            ),
        ),
    }
)
SPARED = attack(auc(0.48, 0.50, 0.52), tpr(0.005, 0.01, 0.027))
CALM_FROM_LABELS = FROM_LABELS.model_copy(update={"membership": (GAP, SPARED)})


def with_secondary(low: float, *, base: AuditReport = QUIET, access: Access = Access.SCORES) -> AuditReport:
    """Each access that allows the attack has it for its best."""
    value = estimate(low, low + 0.05, 0.9)
    found = [
        SecondaryChoice(
            access=one,
            attack_id="loss",
            chosen_from=9,
            metric=Metric.AUC,
            selection_value=value,
            reported_value=value,
        )
        for one in Access
        if one.includes(access)
    ]
    loss = attack(auc(low, low + 0.05, 0.9), name="loss", role=Role.SECONDARY, access=access)
    return base.model_copy(update={"secondary": tuple(found), "membership": (*base.membership, loss)})


def crashed(found: AuditReport, *, planned: bool = True) -> AuditReport:
    """With an inversion attack that failed."""
    failed = found.inversion[0].card.model_copy(update={"id": "miface"})
    plan = found.plan.model_copy(update={"inversion": ("gmi", "miface") if planned else ("gmi",)})
    broken = InversionResult(card=failed, status="failed", reason="out of memory")
    return found.model_copy(update={"plan": plan, "inversion": (*found.inversion, broken)})


LENIENT = '[gate]\nmode = "lenient"\n'
SEVERITY_ALONE = (
    "".join(f'[[waiver]]\nrule = "{rule}"\nreason = "x"\nexpires = 2099-01-01\n' for rule in ("auc", "tpr_at_fpr"))
    + "[gate]\nfail_on = "
)
CLAIM = "[gate]\nclaimed_epsilon = { epsilon = 4.0, delta = 1e-5 }\n"
INVERSION = '[gate]\nfamilies = ["inversion"]\n[limits]\ninversion_excess = { record = 0.1 }\n'
LENIENT_INVERSION = INVERSION.replace("[limits]", 'mode = "lenient"\n[limits]')
BY_VERDICT = '[gate]\nfamilies = ["membership", "inversion"]\n'
WAIVED = '[[waiver]]\nrule = "auc"\nreason = "A pilot."\nexpires = '
ALSO_TPR = WAIVED.replace('"auc"', '"tpr_at_fpr"')


@pytest.mark.parametrize(
    ("policy", "found", "code"),
    [
        # limits: all under, all over, between, cannot say, too few for a TPR
        ("", QUIET, 0),
        ("", LOUD, 1),
        ("", SLIGHT, 0),
        ("", BETWEEN, 3),
        ("", WIDE, 3),
        ("", CONFOUNDED, 3),
        ("", BY_AUC, 3),
        ("", EARLY, 3),
        ("", QUIET.model_copy(update={"stage": "target alone"}), 3),
        ("", QUIET.model_copy(update={"verdicts": ()}), 3),
        ("", QUIET.model_copy(update={"membership": ()}), 3),
        (LENIENT, QUIET, 0),
        (LENIENT, LOUD, 1),
        (LENIENT, BETWEEN, 0),
        (LENIENT, WIDE, 0),
        (LENIENT, CONFOUNDED, 3),
        (LENIENT, BY_AUC, 3),
        ("[limits]\nauc = 0.8\ntpr_at_fpr.'0.01' = 0.3", LOUD, 0),
        ("[limits]\nauc = 0.51", QUIET, 3),
        ("[limits]\nauc = 0.53", QUIET, 0),
        ("[limits]\ntpr_at_fpr.'0.01' = 0.03", QUIET, 3),  # 5 % was planted, not 3 %
        ("[limits]\ntpr_at_fpr.'0.01' = 0.03", SLIGHT, 3),
        (f"{ALSO_TPR}2027-01-01\n[limits]\nauc = 0.60", SLIGHT_BY_AUC, 0),
        (f"{ALSO_TPR}2027-01-01\n[limits]\nauc = 0.57", SLIGHT_BY_AUC, 3),  # an AUC of 0.60 was planted
        # a leak under the limit passes only where more could not have been missed
        ("", with_checks(CheckLevel.FAIL, voids=VOIDED, base=SLIGHT), 3),
        ("", with_checks(CheckLevel.FAIL, voids=VOIDED, base=LOUD), 1),
        ("", SLIGHT.model_copy(update={"controls": (planted(Access.SCORES),)}), 3),
        ("[gate]\nrelease = 'scores'", SLIGHT.model_copy(update={"controls": (planted(Access.SCORES),)}), 0),
        # the release decides which attacks count; a leak at lesser access is inherited
        ("", AT_WEIGHTS, 1),
        ("", INHERITED, 1),
        ("[gate]\nrelease = 'labels'", LOUD, 3),
        # severity
        ("[gate]\nfail_on = 'low'", SLIGHT, 1),
        ("[gate]\nfail_on = 'moderate'", SLIGHT, 0),
        ("[gate]\nfail_on = 'high'", QUIET, 0),
        ("[gate]\nfail_on = 'low'", WIDE, 3),
        # severity passes only where a TPR was judged and a leak of that size would have been seen
        ("[gate]\nfail_on = 'high'", BY_AUC, 3),
        (SEVERITY_ALONE + "'high'", FOUND_BY_AUC, 3),
        (SEVERITY_ALONE + "'moderate'", FOUND_BY_AUC, 1),
        (SEVERITY_ALONE + "'high'\nmode = 'lenient'", FOUND_BY_AUC, 3),
        (SEVERITY_ALONE + "'critical'", IN_APPENDIX, 3),
        (SEVERITY_ALONE + "'critical'", LOUD, 0),
        (SEVERITY_ALONE + "'critical'", LOUD.model_copy(update={"controls": (planted(Access.SCORES),)}), 3),
        (SEVERITY_ALONE + "'critical'", with_checks(CheckLevel.FAIL, voids=VOIDED, base=LOUD), 3),
        (SEVERITY_ALONE + "'critical'\nrelease = 'labels'", BY_GAP, 3),
        (SEVERITY_ALONE + "'low'\nrelease = 'labels'", BY_GAP, 1),
        # what is required
        ("[gate]\nrequired_attacks = ['lira']", QUIET, 0),
        ("[gate]\nrequired_attacks = ['rmia']", QUIET, 3),
        ("[gate]\nrequired_attacks = ['rmia']", with_attacks(IDLE), 3),
        ("[gate]\nrequired_attacks = ['gmi']", inverted(estimate(0, 0.01, 0.02), UNSURE), 0),
        ("", with_attacks(SKIPPED), 3),
        (LENIENT, with_attacks(attack(name="rmia", outcome=Failed(error="x"))), 3),
        (LENIENT + "required_attacks = ['rmia']", LOUD, 1),
        ("[gate]\nrequired_checks = ['planted', 'recipe']", with_checks(CheckLevel.PASS), 0),
        ("[gate]\nrequired_checks = ['recipe']", with_checks(CheckLevel.WARN), 3),
        ("[gate]\nrequired_checks = ['recipe']", with_checks(CheckLevel.FAIL), 3),
        ("[gate]\nrequired_checks = ['recipe']", QUIET, 3),
        ("[gate]\nleast_evaluated = 2000", QUIET, 0),
        ("[gate]\nleast_evaluated = 2001", QUIET, 3),
        # ages: the report is twelve hours old
        ("[gate]\nmax_age = '12h'", QUIET, 0),
        ("[gate]\nmax_age = '11h'", QUIET, 3),
        ("[gate]\nmax_age = '1d'", QUIET.model_copy(update={"created": NOW + timedelta(days=2)}), 3),
        ("[gate]\nmax_age = '1d'", QUIET.model_copy(update={"created": datetime(2026, 11, 22, 11)}), 0),  # noqa: DTZ001
        ("[gate]\nmax_age = '1d'", QUIET.model_copy(update={"created": datetime(1, 1, 1, tzinfo=UTC)}), 3),
        # a claim
        (CLAIM, QUIET, 3),
        (CLAIM, with_canaries(4.5, 5.0), 1),
        (CLAIM, with_canaries(3.0, 5.0), 0),
        (CLAIM, with_canaries(0.0, 4.0), 3),
        (CLAIM, with_canaries(4.5, 5.0, delta=1e-6), 3),
        (CLAIM, with_canaries(4.5, 5.0, delta=1e-4), 1),
        # inversion
        (INVERSION, inverted(estimate(-0.02, 0.01, 0.05), UNSURE), 0),
        (INVERSION, inverted(estimate(-0.02, 0.06, 0.15), UNSURE), 3),
        (INVERSION, inverted(estimate(0.12, 0.2, 0.3), LEAK, found=True), 1),
        (INVERSION, inverted(estimate(0.05, 0.07, 0.09), LEAK, found=True), 0),
        (INVERSION, inverted(estimate(-0.02, 0.01, 0.05), UNSURE, tested=False), 3),
        (INVERSION, QUIET, 3),
        (BY_VERDICT, inverted(estimate(0.12, 0.2, 0.3), LEAK, found=True), 1),
        (BY_VERDICT, inverted(estimate(-0.02, 0.01, 0.05), UNSURE), 3),
        (BY_VERDICT + "mode = 'lenient'", inverted(estimate(-0.02, 0.01, 0.05), UNSURE), 0),
        ("", inverted(estimate(0.12, 0.2, 0.3), LEAK, found=True), 0),
        (BY_VERDICT + "mode = 'lenient'", inverted(estimate(-0.02, 0.01, 0.05), UNSURE, tested=False), 3),
        (BY_VERDICT + "mode = 'lenient'", inverted(estimate(0.05, 0.07, 0.09), UNSURE, found=True), 3),
        (BY_VERDICT + "mode = 'lenient'", crashed(inverted(estimate(-0.02, 0.01, 0.05), UNSURE)), 3),
        (
            '[gate]\nfamilies = ["inversion"]\nmode = "lenient"',
            with_checks(CheckLevel.FAIL, voids=(Void.LEAK_FOUND,), base=inverted(estimate(-0.02, 0.01, 0.05), UNSURE)),
            3,
        ),
        (INVERSION, crashed(inverted(estimate(-0.02, 0.01, 0.05), UNSURE)), 3),
        (INVERSION, crashed(inverted(estimate(-0.02, 0.01, 0.05), UNSURE), planned=False), 0),
        (INVERSION, crashed(inverted(estimate(0.12, 0.2, 0.3), LEAK, found=True)), 1),
        # lenient passes an interval that holds the limit, never one above it that the controls explain
        (LENIENT, ABOVE, 3),
        (LENIENT_INVERSION, inverted(estimate(-0.02, 0.06, 0.15), UNSURE), 0),
        (LENIENT_INVERSION, inverted(estimate(0.12, 0.2, 0.3), UNSURE, found=True), 3),
        # a leak that is inherited brings no number of its own
        ("", FROM_LABELS, 3),
        ("", CALM_FROM_LABELS, 0),
        (SEVERITY_ALONE + "'high'", FROM_LABELS, 3),
        (SEVERITY_ALONE + "'low'", FROM_LABELS, 1),
        (SEVERITY_ALONE + "'high'", CALM_FROM_LABELS, 0),
        # what a secondary attack reaches, chosen on the other half
        ("", with_secondary(0.59), 0),
        ("", with_secondary(0.60), 3),
        (LENIENT, with_secondary(0.60, base=BETWEEN), 3),
        ("[limits]\nauc = 0.7", with_secondary(0.60), 0),
        ("[gate]\nrelease = 'scores'", with_secondary(0.60, access=Access.WEIGHTS), 0),
        ("[gate]\nrelease = 'weights'", with_secondary(0.60, access=Access.WEIGHTS), 3),
        # waivers: one rule each, until the end of their last day
        (WAIVED + "2026-11-22", BETWEEN, 0),
        (WAIVED + "2026-11-21", BETWEEN, 3),
        (WAIVED + "2027-01-01", LOUD, 1),
        (f"{WAIVED}2027-01-01\n{ALSO_TPR}2027-01-01", LOUD, 0),
        (f"{WAIVED}2027-01-01\n{ALSO_TPR}2020-01-01", LOUD, 1),
        (f"{WAIVED}2027-01-01\n{ALSO_TPR}2027-01-01", EARLY, 3),
        # the last release
        ("[gate]\nno_worse_than_last = { auc = 0.02 }", QUIET, 3),
    ],
)
def test_policy_and_evidence_give_the_exit_code(tmp_path, monkeypatch, policy: str, found: AuditReport, code: int):
    assert gate(tmp_path, monkeypatch, found, policy) == code


def gate(folder: Path, monkeypatch, found: AuditReport, policy: str | None, *more: str) -> int:
    monkeypatch.setattr("auditor.cli.judgement.now", lambda: NOW)
    (folder / "report.json").write_text(render_json(found), encoding="utf-8")
    asked = []
    if policy is not None:
        (folder / "privaudit.toml").write_text(policy, encoding="utf-8")
        asked = ["--policy", str(folder / "privaudit.toml")]
    return cli.main(["gate", str(folder / "report.json"), *asked, *more])


def test_without_a_policy_the_defaults_are_asked(tmp_path, monkeypatch):
    codes = [gate(tmp_path, monkeypatch, found, None) for found in (QUIET, LOUD, WIDE)]
    assert codes == [0, 1, 3]


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("", "inversion     not judged (families = membership); the verdict at release weights is cannot say: "),
        ('[gate]\nfamilies = ["inversion"]\nmode = "lenient"', "membership    not judged (families = inversion); the "),
        ('[gate]\nfamilies = ["inversion"]\nmode = "lenient"\nfail_on = "low"', ""),
        (BY_VERDICT + "mode = 'lenient'", ""),
    ],
)
def test_what_no_rule_asks_about_is_told(tmp_path, monkeypatch, capsys, policy, told):
    assert gate(tmp_path, monkeypatch, inverted(estimate(-0.02, 0.01, 0.05), UNSURE), policy) == 0
    out, last = capsys.readouterr()
    assert [line for line in out.splitlines() if "not judged" in line] == [
        line for line in out.splitlines() if told and line.startswith(told)
    ]
    assert ("Not judged: " in last) is bool(told)


def test_a_severity_to_fail_on_asks_of_membership_alone():
    (left,) = judge(QUIET, None, now=NOW, fail_on=Severity.LOW).unjudged
    assert left.family is Family.INVERSION
    assert left.sentence == "not judged (severity is of membership); the report holds no verdict at release weights."


@pytest.mark.parametrize(
    ("policy", "used"), [("", False), ("[gate]\nno_worse_than_last = { auc = 0.02 }", True)], ids=["idle", "asked"]
)
def test_a_baseline_that_no_rule_asks_for_is_told_and_not_read_as_a_pass(tmp_path, monkeypatch, capsys, policy, used):
    (tmp_path / "old.json").write_text(render_json(earlier(QUIET)), encoding="utf-8")
    assert gate(tmp_path, monkeypatch, QUIET, policy, "--baseline", str(tmp_path / "old.json")) in {0, 3}
    told = "baseline      not used: of a policy only no_worse_than_last asks for the report of the last release."
    assert (told in capsys.readouterr().out.splitlines()) is not used


@pytest.mark.parametrize(
    ("policy", "told", "remedy"),
    [
        ("required_attacks = ['lira-scoer']", "requires the attack `lira-scoer`", "Did you mean lira-scores"),
        ("required_attacks = ['lira', 'xyzzy']", "requires the attack `xyzzy`", "`privaudit attacks` lists them"),
        ("required_checks = ['nope']", "bad value for `gate.required_checks.0`: it must be 'recipe', ", "Correct it."),
    ],
)
@pytest.mark.parametrize("found", [QUIET, LOUD], ids=["quiet", "loud"])
def test_a_slip_of_the_pen_is_bad_input(tmp_path, monkeypatch, capsys, found, policy, told, remedy):
    assert gate(tmp_path, monkeypatch, found, f"[gate]\n{policy}") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert told in error
    assert remedy in error


# --- which model ----------------------------------------------------------------------------------------------------


def of_file(content: bytes, **model: str) -> AuditReport:
    facts = QUIET.model.model_copy(update={"sha256": hashlib.sha256(content).hexdigest(), **model})
    return QUIET.model_copy(update={"model": facts})


@pytest.mark.parametrize(
    ("shown", "found", "code"),
    [
        (b"weights", of_file(b"weights"), 0),
        (b"weightz", of_file(b"weights"), 2),
        (b"", of_file(b"weights"), 2),
        (b"weights", of_file(b"weights", wrapper="purifier", wrapper_sha256="0" * 64), 2),
        (b"weights", of_file(b"weights", sha256=""), 2),
    ],
    ids=["the same", "a byte", "empty", "behind a wrapper", "no digest"],
)
@pytest.mark.parametrize("as_folder", [False, True])
def test_the_report_of_another_model_never_passes(tmp_path, monkeypatch, capsys, shown, found, code, as_folder):
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(shown)
    policy = "".join(
        f'[[waiver]]\nrule = "{rule}"\nreason = "x"\nexpires = 2099-01-01\n' for rule in ("auc", "max_age")
    )
    checkpoint = str(folder if as_folder else weights)
    assert gate(tmp_path, monkeypatch, found, policy, "--checkpoint", checkpoint) == code
    told = capsys.readouterr()
    assert ("Audit" in told.err, told.out == "") == (code == 2, code == 2)


def test_another_wrapper_around_the_same_weights_is_another_model(tmp_path, monkeypatch):
    from auditor.checkpoint.sidecar import SIDECAR_NAME, WRAPPER_TENSORS, wrapper_digest

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / SIDECAR_NAME).write_text("{}")
    (tmp_path / WRAPPER_TENSORS).write_bytes(b"one")
    found = of_file(b"weights", wrapper="purifier", wrapper_sha256=wrapper_digest(tmp_path))
    assert gate(tmp_path, monkeypatch, found, None, "--checkpoint", str(tmp_path / "model.safetensors")) == 0
    (tmp_path / WRAPPER_TENSORS).write_bytes(b"two")
    assert gate(tmp_path, monkeypatch, found, None, "--checkpoint", str(tmp_path / "model.safetensors")) == 2


@pytest.mark.parametrize(("noisy", "code"), [(True, 0), (False, 2)])
def test_a_bottleneck_without_its_noise_is_another_model(tmp_path, monkeypatch, noisy, code):
    from auditor.checkpoint.new_head import NewHead
    from auditor.checkpoint.sidecar import TrainedWith, write_trained_with

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    found = of_file(b"weights", trained_with="mid")
    mark = TrainedWith(defense="mid", head=NewHead(kind="bottleneck", width=3, noisy=noisy))
    write_trained_with(mark, tmp_path, found.model.sha256)
    assert gate(tmp_path, monkeypatch, found, None, "--checkpoint", str(tmp_path / "model.safetensors")) == code


@pytest.mark.parametrize(("reported", "written"), [("mid", None), (None, "mid"), ("mid", "calor")])
def test_weights_said_to_be_trained_otherwise_are_another_model(tmp_path, monkeypatch, reported, written):
    from auditor.checkpoint.sidecar import TrainedWith, write_trained_with

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    found = of_file(b"weights", trained_with=reported)
    if written is not None:
        write_trained_with(TrainedWith(defense=written), tmp_path, found.model.sha256)
    assert gate(tmp_path, monkeypatch, found, None, "--checkpoint", str(tmp_path / "model.safetensors")) == 2


@pytest.mark.parametrize(
    "arguments", ["gate", "gate nowhere.json", "gate report.json --checkpoint nowhere", "gate report.json --policy ."]
)
def test_bad_input_is_refused(tmp_path, monkeypatch, arguments):
    (tmp_path / "report.json").write_text(render_json(QUIET))
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments.split()) == 2


# --- the last release -----------------------------------------------------------------------------------------------

MARGIN = "[limits]\nauc = 0.8\ntpr_at_fpr.'0.01' = 0.3\n[gate]\nno_worse_than_last = { auc = 0.04 }\n"


def plan_of(found: AuditReport, **changes: object) -> AuditReport:
    return found.model_copy(update={"plan": found.plan.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("old", "new", "mode", "code"),
    [
        (QUIET, QUIET, "strict", 0),
        (LOUD, QUIET, "strict", 0),
        (QUIET, LOUD, "strict", 1),
        (QUIET, LOUD, "lenient", 1),
        (QUIET, SLIGHT, "strict", 3),
        (QUIET, SLIGHT, "lenient", 0),
        (QUIET, CONFOUNDED, "lenient", 3),
        (CONFOUNDED, QUIET, "strict", 3),
        (CONFOUNDED, QUIET, "lenient", 3),
        (with_checks(CheckLevel.FAIL, voids=VOIDED, base=LOUD), QUIET, "strict", 3),
        (WIDE, QUIET, "lenient", 0),
        (evidence(NOTHING, auc(0.38, 0.40, 0.42)), QUIET, "lenient", 3),
        (plan_of(LOUD, shadows=64), QUIET, "lenient", 3),
        (plan_of(QUIET, shadows=64), LOUD, "strict", 3),
        (QUIET.model_copy(update={"membership": ()}), QUIET, "lenient", 3),
        (QUIET.model_copy(update={"stage": "target alone"}), QUIET, "strict", 2),
        (QUIET.model_copy(update={"data": QUIET.data.model_copy(update={"classes": ("a",)})}), QUIET, "strict", 2),
    ],
)
def test_no_worse_than_the_last_release(tmp_path, monkeypatch, old, new, mode, code):
    (tmp_path / "old.json").write_text(render_json(earlier(old)), encoding="utf-8")
    policy = f'{MARGIN}mode = "{mode}"\n'
    assert gate(tmp_path, monkeypatch, new, policy, "--baseline", str(tmp_path / "old.json")) == code


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (QUIET, ""),
        (plan_of(QUIET, digest="1" * 16), "it is of the same weights, audited by another plan: is it the report of"),
        (
            earlier(QUIET).model_copy(update={"created": NOW}),
            "it was planned after the report: is it the report of the last release?",
        ),
        (earlier(QUIET), None),
    ],
    ids=["itself", "another plan", "younger", "as it should be"],
)
def test_what_is_hardly_the_last_release_is_refused_or_told(tmp_path, monkeypatch, capsys, last, told):
    (tmp_path / "old.json").write_text(render_json(last), encoding="utf-8")
    code = gate(tmp_path, monkeypatch, QUIET, MARGIN, "--baseline", str(tmp_path / "old.json"))
    out, err = capsys.readouterr()
    assert code == (2 if told == "" else 0)
    assert ("compared with itself" in err) is (told == "")
    assert [line for line in out.splitlines() if line.startswith("baseline")] == (
        [line for line in out.splitlines() if told in line] if told else []
    )


# --- what is told ---------------------------------------------------------------------------------------------------


def test_a_rule_is_told_with_its_number_interval_n_and_where_to_read_on(tmp_path, monkeypatch, capsys):
    gate(tmp_path, monkeypatch, LOUD, "")
    told = capsys.readouterr()
    line = told.out.splitlines()[0]
    assert line.startswith("fail          auc: AUC of lira is 0.700 (95 % interval 0.650 to 0.750; 2,000 members, ")
    assert "the limit of 0.60" in line
    assert line.endswith("Read on: #membership of the HTML report, docs/gate.md.")
    assert "TPR at 1 % FPR of lira is 14.0 % (95 % interval 10.0 % to 20.0 %" in told.out
    assert "no file was compared with it" in told.out
    assert told.err.startswith("Gate: fail. auc: AUC of lira is 0.700")


def test_a_bound_is_told_apart_from_its_limit():
    found = evidence(NOTHING, auc(0.48, 0.5, 0.59996), tpr(0.0, 0.01, 0.02))
    ruling = judge(found, Policy(), now=NOW).rulings[0]
    assert (ruling.outcome, ruling.bound, ruling.limit) == ("pass", 0.59996, 0.6)
    assert "bound 0.59996 is under the limit of 0.60" in ruling.sentence


def test_what_a_secondary_attack_reaches_is_told_with_its_half():
    ruling = judge(with_secondary(0.62), Policy(), now=NOW).rulings[0]
    assert ruling.sentence.startswith(
        "The primary attacks stay under the limit of 0.60, but loss, the best of 9 secondary attacks, chosen on one "
        "half of the records, reaches an AUC of 0.670 (95 % interval 0.620 to 0.900; "
    )


@pytest.mark.parametrize(
    ("stated", "asked", "outcome"), [("moderate", "critical", "fail"), ("critical", "moderate", "fail")]
)
def test_of_two_severities_to_fail_on_the_lower_counts_and_that_is_told(stated, asked, outcome):
    policy = Policy.model_validate(tomllib.loads(f"{SEVERITY_ALONE}'{stated}'"))
    found = judge(FOUND_BY_AUC, policy, now=NOW, fail_on=Severity(asked))
    assert found.outcome == outcome
    assert f"from {stated} on, and --fail-on from {asked} on; the lower" in " ".join(
        one.sentence for one in found.notes
    )


def test_further_weights_in_the_folder_were_not_audited(tmp_path, monkeypatch, capsys):
    from auditor.checkpoint.sidecar import SIDECAR_NAME, WRAPPER_TENSORS, wrapper_digest

    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "copy.bin"):
        (folder / name).write_bytes(b"weights")
    (folder / SIDECAR_NAME).write_text("{}")
    (folder / WRAPPER_TENSORS).write_bytes(b"of the wrapper")
    found = of_file(b"weights", wrapper="purifier", wrapper_sha256=wrapper_digest(folder))
    assert gate(tmp_path, monkeypatch, found, None, "--checkpoint", str(folder)) == 0
    for name in ("pytorch_model.bin", "model.onnx"):
        (folder / name).write_bytes(b"others")
        assert gate(tmp_path, monkeypatch, found, None, "--checkpoint", str(folder)) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert f"also holds {name}, " in told
        assert "Take it out of the folder, or name with --checkpoint" in told
        assert gate(tmp_path, monkeypatch, found, None, "--checkpoint", str(folder / "model.safetensors")) == 0
        (folder / name).unlink()


def test_a_lenient_pass_is_told_as_one(tmp_path, monkeypatch, capsys):
    assert gate(tmp_path, monkeypatch, BETWEEN, LENIENT) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0].endswith("does not lie above it. It passes because the policy is lenient.")
    assert "because the policy is lenient" not in told.out.splitlines()[1]
    assert told.err.startswith(
        "Gate: pass. Every rule is met at release weights, in lenient mode: auc, tpr_at_fpr. Met only because the "
        "policy is lenient: auc. "
    )


@pytest.mark.parametrize(
    ("minutes", "allowed", "told"),
    [
        (60 + 2, "1h", "1 hour 2 minutes ago; the policy allows 1h. Audit again."),
        (60 + 0.5, "1h", "1 hour 1 minute ago; the policy allows 1h. Audit again."),
        (12 * 60, "11h", "12 hours ago; the policy allows 11h. Audit again."),
        (36 * 60 + 0.5, "36h", "1 day 13 hours ago; the policy allows 36h. Audit again."),
        (90 * 24 * 60 + 1, "90d", "90 days 1 hour ago; the policy allows 90d. Audit again."),
        (59, "1h", "0 hours ago; the policy allows 1h."),
        (47 * 60, "2d", "1 day ago; the policy allows 2d."),
    ],
)
def test_an_age_that_is_not_allowed_never_reads_as_one_that_is(minutes, allowed, told):
    policy = Policy.model_validate({"gate": {"max_age": allowed}})
    *_, ruling = judge(QUIET, policy, now=QUIET.created + timedelta(minutes=minutes)).rulings
    assert ruling.sentence == f"The report was planned on 2026-11-22, {told}"


def test_a_small_excess_is_told_by_its_digits():
    policy = Policy.model_validate(tomllib.loads(INVERSION))
    found = inverted(estimate(-0.00071, 0.0004, 0.0996), UNSURE)
    (ruling,) = judge(found, policy, now=NOW).rulings
    assert "The record excess of gmi is" in ruling.sentence
    assert "(95 % interval -1 to 5;" in ruling.sentence  # over the control that it stands least above
    assert "it is at most 0.0996, under the limit of 0.1." in ruling.sentence


def test_every_waiver_is_told_whether_it_counts_or_not(tmp_path, monkeypatch, capsys):
    entries = [("auc", "2027-01-01"), ("max_age", "2027-01-01"), ("tpr_at_fpr", "2026-01-01")]
    policy = "".join(
        f'[[waiver]]\nrule = "{rule}"\nreason = "Ticket {place}."\nexpires = {day}\n'
        for place, (rule, day) in enumerate(entries)
    )
    assert gate(tmp_path, monkeypatch, BETWEEN, policy) == 0
    told = capsys.readouterr()
    assert "Waived until 2027-01-01: Ticket 0." in told.out.splitlines()[0]
    assert "waiver        max_age, until 2027-01-01, is not needed: Ticket 1." in told.out
    assert "waiver        tpr_at_fpr, until 2026-01-01, has expired and does not count: Ticket 2." in told.out
    assert "Met by waiver only: auc." in told.err


def test_the_day_of_a_waiver_is_that_of_utc():
    last = Waiver(rule="auc", reason="x", expires=date(2026, 11, 22))
    policy = Policy(waiver=(last,))
    late = datetime(2026, 11, 22, 23, tzinfo=UTC)
    assert judge(BETWEEN, policy, now=late.astimezone()).outcome == "pass"
    assert judge(BETWEEN, policy, now=late + timedelta(hours=2)).outcome == "inconclusive"


@pytest.mark.parametrize(("found", "code"), [(QUIET, 0), (LOUD, 1), (WIDE, 3)])
def test_files_tell_what_was_told_and_change_no_exit_code(tmp_path, monkeypatch, capsys, found, code):
    files = [tmp_path / name for name in ("gate.xml", "gate.sarif", "deep/gate.md", "again.json")]
    asked = [word for file in files for word in ("-o", str(file))]
    assert gate(tmp_path, monkeypatch, found, "", *asked) == code
    told = capsys.readouterr().out.splitlines()
    assert told[-4:] == [str(file) for file in files]
    junit, sarif, markdown, again = (file.read_text(encoding="utf-8") for file in files)
    outcome = {0: "pass", 1: "fail", 3: "inconclusive"}[code]
    assert f"auc, release of weights: {outcome}. {judge(found, Policy(), now=NOW).rulings[0].sentence[:25]}" in junit
    assert json.loads(sarif)["runs"][0]["properties"]["gate"]["outcome"] == outcome
    assert "privaudit.toml, judged on" in markdown
    assert again == (tmp_path / "report.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["gate.docx", "report.json/gate.xml", "folder.md"])
def test_files_are_checked_before_anything_is_judged(tmp_path, monkeypatch, capsys, name):
    (tmp_path / "folder.md").mkdir()
    assert gate(tmp_path, monkeypatch, QUIET, "", "-o", str(tmp_path / "first.xml"), "-o", str(tmp_path / name)) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert Path(name).name in told.err
    assert not (tmp_path / "first.xml").exists()


def test_a_file_that_cannot_be_written_after_all_is_no_pass(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert gate(tmp_path, monkeypatch, QUIET, "", "-o", str(tmp_path / "gate.xml")) == 2


def test_a_job_on_github_is_told_by_the_gate(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    assert gate(tmp_path, monkeypatch, LOUD, None, "--github") == 1
    assert "\n::error title=privaudit%3A Policy%3A auc::auc, release of weights: fail." in capsys.readouterr().out
    told = (tmp_path / "summary").read_text(encoding="utf-8")
    assert "**What the policy says: ✗ Fail.** By the default limits, judged on 22" in told


def test_the_gate_needs_no_torch(tmp_path):
    (tmp_path / "report.json").write_text(render_json(well_behaved()), encoding="utf-8")
    assert not torch_was_imported_by("gate", str(tmp_path / "report.json"), "-o", str(tmp_path / "gate.xml"))


HOSTILE = "\x1b[2J\nGate: pass. \u202e[red]</script>" + "x" * 10_000


def test_hostile_names_stay_on_their_line(tmp_path, monkeypatch, capsys):
    bad = [attack(name=name, outcome=Skipped(reason=HOSTILE)) for name in (HOSTILE, HOSTILE[9:20])]
    found = with_attacks(*bad).model_copy(
        update={
            "model": QUIET.model.model_copy(update={"name": HOSTILE, "sha256": HOSTILE}),
            "checks": (Check(id="recipe", title="R", level=CheckLevel.FAIL, sentence=HOSTILE, voids=VOIDED),),
        }
    )
    policy = (
        f"[gate]\nrequired_attacks = ['{HOSTILE[9:20]}']\nrequired_checks = ['recipe']\n"
        '[[waiver]]\nrule = "max_age"\nreason = "\\u001b[2J\\nGate: pass."\nexpires = 2027-01-01\n'
    )
    assert gate(tmp_path, monkeypatch, found, policy) == 3
    told = capsys.readouterr()
    text = told.out + told.err
    assert not any(bad in text for bad in ("\x1b", "\u202e", "\nGate: pass"))
    assert max(map(len, text.splitlines())) <= 2_000
    assert len([line for line in text.splitlines() if line.startswith("Gate:")]) == 1


def test_the_default_policy_names_every_rule_that_it_asks():
    assert [one.rule for one in judge(QUIET, Policy(), now=NOW).rulings] == ["auc", "tpr_at_fpr"]


def policies(page: Path) -> list[Policy]:
    blocks = page.read_text(encoding="utf-8").split("```toml\n")[1:]
    return [Policy.model_validate(tomllib.loads(block.partition("```")[0])) for block in blocks]


def test_the_manual_has_every_rule_and_its_examples_are_policies():
    text = RULES.read_text(encoding="utf-8")
    assert [rule for rule in get_args(Rule) if f"`{rule}`" not in text] == []
    assert policies(RULES)


@pytest.mark.parametrize("policy", policies(DOCS / "choose-a-policy.md"))
def test_each_policy_to_start_from_can_be_met(policy):
    found = plan_of(inverted(estimate(-0.002, 0.001, 0.004), UNSURE), tpr_limit=0.03)
    (rebuilt,) = found.inversion
    excess = Measurement(name="Class excess", estimate=estimate(-0.02, 0.0, 0.02), against="public images")
    rebuilt = rebuilt.model_copy(update={"class_excess": (excess,), "class_p_adjusted": 0.5})
    by_name = [
        attack(auc(0.48, 0.5, 0.52), tpr(0.005, 0.01, 0.027), name=f"lira-{one}", access=one)
        for one in (Access.SCORES, Access.WEIGHTS)
    ]
    sound = with_checks(CheckLevel.PASS).checks
    found = found.model_copy(update={"inversion": (rebuilt,), "membership": tuple(by_name), "checks": sound})
    assert judge(found, policy, now=NOW, baseline=earlier(found)).outcome == "pass"
