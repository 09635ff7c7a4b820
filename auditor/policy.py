"""What a release may show: how severe a found membership leak is, and whether a report meets a policy.

A leak that was found is at least low. It is moderate, high or critical where a primary endpoint lies, with its whole
interval, at or above either number of that row of the table (`auditor.limits.SeverityTable`, whose rows a policy
may change): the TPR at 1 % FPR, or the AUC. The highest row that holds is the severity.

Lower interval bounds decide, never point estimates and never the best of many attacks: only primary endpoints whose
test rejected after correction count, of attacks usable at the release. So a leak inherited from lesser access
counts with the endpoints of that access, and not with those of its own that the verdict did not attribute to the model.

`judge` is the only gate: `privaudit gate` and `privaudit scan` both go through it. The rules are in `auditor.gate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import isclose

from auditor.difference.pairing import ALONE, Kept
from auditor.findings import (
    AttackResult,
    AuditReport,
    Completed,
    Endpoint,
    Family,
    Metric,
    Role,
    Severity,
    Verdict,
    VerdictState,
)
from auditor.gate import conditions
from auditor.gate.hearing import Hearing
from auditor.gate.leaks import limit_on, limits_on_inversion, measured, why_no_tpr
from auditor.gate.numbers import metric_in_words, with_interval
from auditor.gate.ruling import NOT_COMPARED, Gate, Note, Ruling, Unjudged
from auditor.limits import Limits, SeverityRow, SeverityTable
from auditor.policy_file import Policy, Waiver
from auditor.threat import Access

__all__ = ["DEFAULT", "Gate", "Ruling", "judge", "severity_of"]

DEFAULT = "the default limits"


def judge(
    report: AuditReport,
    policy: Policy | None = None,
    *,
    now: datetime,
    fail_on: Severity | None = None,
    baseline: AuditReport | None = None,
    kept: tuple[Kept, Kept] = ALONE,
    named: str = DEFAULT,
    compared: str = NOT_COMPARED,
) -> Gate:
    """Hold a report against a policy.

    A leak that is large enough fails even where other attacks are missing. Anything short of that passes only when the
    audit could have seen it.

    Args:
        report: The audit.
        policy: What is asked; None: nothing but `fail_on`, by the report's own table.
        now: The present moment, with its time zone; decides ages and waivers.
        fail_on: The least severity that fails; where the policy states one too, the lower of both.
        baseline: The report of the last release.
        kept: The scores beside the baseline and beside the report (`auditor.difference.kept_scores.read_kept`).
        named: What a reader knows the policy by.
        compared: What was compared with the report, in words.

    Raises:
        ValueError: `fail_on` is `Severity.NONE`, which no audit could pass, or there is nothing to judge by.
        InputError: the baseline is no report of the same model slot, or is of this very audit.
    """
    if fail_on is Severity.NONE:
        raise ValueError("a gate that fails on severity none cannot be passed")
    if policy is None and fail_on is None:
        raise ValueError("a gate needs a policy or a severity to fail on")
    hearing = Hearing(report, policy or Policy(severity=report.plan.severity), now, baseline, kept)
    rulings = tuple(conditions.complete(hearing)) or tuple(_rulings(hearing, policy, fail_on))
    waivers = hearing.policy.waiver
    return Gate(
        release=hearing.release,
        rulings=tuple(_waived(one, waivers, now) for one in rulings),
        waivers=waivers,
        judged_at=now,
        policy=named,
        compared=compared,
        unjudged=tuple(_unjudged(hearing, policy, rulings)),
        remarks=tuple(_remarks(hearing, fail_on)),
        mode=hearing.policy.gate.mode,
    )


def _remarks(hearing: Hearing, fail_on: Severity | None) -> Iterator[Note]:
    """What was given in vain, or beside something else."""
    stated = hearing.policy.gate.fail_on
    if fail_on is not None and stated is not None and stated != fail_on:
        told = f"the policy fails from {stated} on, and --fail-on from {fail_on} on; the lower of both counts."
        yield Note("severity", told)
    if told := conditions.told_of_baseline(hearing):
        yield Note("baseline", told)


def _unjudged(hearing: Hearing, policy: Policy | None, rulings: Sequence[Ruling]) -> Iterator[Unjudged]:
    """The families that no rule on what leaks asked about, with what the audit says of them."""
    asked = set() if policy is None else {Family(name) for name in policy.gate.families}
    if any(one.rule == "severity" for one in rulings):
        asked.add(Family.MEMBERSHIP)
    for family in Family:
        if family in asked:
            continue
        only = " and ".join(sorted(asked))
        why = f"not judged ({f'severity is of {only}' if policy is None else f'families = {only}'})"
        verdict = hearing.verdict(family)
        if verdict is None:
            yield Unjudged(family, None, f"{why}; the report holds no verdict at release {hearing.release}.")
            continue
        told = f"{why}; the verdict at release {hearing.release} is {verdict.state}: {verdict.sentence}"
        yield Unjudged(family, verdict.state, told)


def _rulings(hearing: Hearing, policy: Policy | None, fail_on: Severity | None) -> Iterator[Ruling]:
    """Every rule that is asked, what leaks first."""
    stated = hearing.policy.gate.fail_on
    asked = [one for one in (fail_on, None if stated is None else Severity(stated)) if one is not None]
    least = min(asked, key=lambda one: one.rank, default=None)
    if policy is not None:
        yield from _limits(hearing)
    if least is not None:
        yield _severity(hearing, least)
    if policy is not None:
        yield from _conditions(hearing)


def _limits(hearing: Hearing) -> Iterator[Ruling]:
    families = hearing.policy.gate.families
    if Family.MEMBERSHIP in families:
        yield limit_on(hearing, Metric.AUC)
        yield limit_on(hearing, Metric.TPR_AT_FPR)
    if Family.INVERSION in families:
        yield from limits_on_inversion(hearing)


def _conditions(hearing: Hearing) -> Iterator[Ruling]:
    for rule in (
        conditions.claimed_epsilon,
        conditions.no_worse_than_last,
        conditions.required_attacks,
        conditions.required_checks,
        conditions.least_evaluated,
        conditions.max_age,
    ):
        yield from rule(hearing)


def _waived(ruling: Ruling, waivers: Iterable[Waiver], now: datetime) -> Ruling:
    """The ruling with the waiver that holds for it longest, if one does and is needed."""
    if ruling.outcome == "pass":
        return ruling
    today = now.astimezone(UTC).date()
    holding = [one for one in waivers if one.rule == ruling.rule and one.holds(today)]
    return replace(ruling, waiver=max(holding, key=lambda one: one.expires, default=None))


# --- severity -------------------------------------------------------------------------------------------------------


def severity_of(
    verdicts: Iterable[Verdict], membership: Iterable[AttackResult], release: Access, table: SeverityTable
) -> Severity:
    """How bad the membership leak at a release is.

    Args:
        verdicts: The verdicts of the audit; those on membership count.
        membership: The membership attacks; the primary ones count.
        release: The way in which the model goes out.
        table: What each severity asks for.
    """
    leaking = {
        verdict.access: verdict.inherited_from is None
        for verdict in verdicts
        if verdict.family is Family.MEMBERSHIP and verdict.state is VerdictState.LEAK_FOUND
    }
    if release not in leaking:
        return Severity.NONE
    usable = [result for result in _primary_at(membership, release) if leaking.get(result.card.access, False)]
    endpoints = list(_rejected_endpoints(usable))
    for name, row in reversed(table.rows):
        if any(_reaches(endpoint, row) for endpoint in endpoints):
            return Severity(name)
    return Severity.LOW


def _reaches(endpoint: Endpoint, row: SeverityRow) -> bool:
    """Whether the whole interval of this endpoint lies at or above the row."""
    if endpoint.metric is Metric.AUC:
        return endpoint.estimate.low >= row.auc
    at_table_fpr = endpoint.fpr is not None and isclose(endpoint.fpr, Limits.fpr)
    return at_table_fpr and endpoint.estimate.low >= row.tpr


def _severity(hearing: Hearing, fail_on: Severity) -> Ruling:
    """Hold the severity of the membership leak at the release against the least that fails."""
    report, release = hearing.report, hearing.release
    severity = severity_of(report.verdicts, report.membership, release, hearing.policy.severity)
    if severity.rank >= fail_on.rank:
        found = f"A membership leak of severity {severity} was found at release {release}; {fail_on} fails."
        return _with_number(hearing, found)
    if doubt := _doubt(hearing):
        return Ruling("severity", "inconclusive", doubt, "verdict")
    found = f"a leak of severity {severity} was found" if severity is not Severity.NONE else "nothing was found"
    told = f"Membership at release {release}: {found}; the gate fails from {fail_on} on."
    return Ruling("severity", "pass", told, "verdict")


def _with_number(hearing: Hearing, found: str) -> Ruling:
    """The failing severity, with the number that shows most of the leak."""
    leaking = hearing.leaking(Family.MEMBERSHIP)
    proven = [one for one in hearing.endpoints() if one[1].rejected and one[0].card.access in leaking]
    if not proven:
        return Ruling("severity", "fail", found, "verdict")
    result, endpoint = max(proven, key=lambda one: (one[1].metric is Metric.TPR_AT_FPR, one[1].estimate.low))
    number = measured(result, endpoint)
    told = f"{metric_in_words(endpoint.metric, endpoint.fpr)} of {result.card.id} is "
    return Ruling(
        "severity", "fail", f"{found} {told}{with_interval(endpoint.estimate, number.unit)}.", "verdict", number
    )


def _doubt(hearing: Hearing) -> str:
    """Why a severity that was not found may be there, or the empty string."""
    verdict = hearing.verdict(Family.MEMBERSHIP)
    if verdict is not None and verdict.state is VerdictState.CANNOT_SAY:
        return f"The audit cannot say whether membership leaks at release {hearing.release}: {verdict.sentence}"
    if doubt := hearing.doubt():
        return doubt
    missing = why_no_tpr(hearing)
    return f"The severity table asks for the TPR as well as for the AUC. {missing}" if missing else ""


def _primary_at(membership: Iterable[AttackResult], release: Access) -> list[AttackResult]:
    return [result for result in membership if result.role is Role.PRIMARY and release.includes(result.card.access)]


def _rejected_endpoints(results: Iterable[AttackResult]) -> Iterator[Endpoint]:
    for result in results:
        if isinstance(result.outcome, Completed):
            yield from (each for each in result.outcome.endpoints if each.rejected and not each.appendix)
