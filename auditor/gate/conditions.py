"""The rules on the audit itself, on a claim of differential privacy, and on the last release."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from auditor.difference.changes import Change, compare, refuse_itself
from auditor.findings import (
    CanaryBound,
    CheckLevel,
    Completed,
    Failed,
    Family,
    Measurement,
    Metric,
    PrivacyClaim,
    Skipped,
)
from auditor.gate.hearing import Hearing
from auditor.gate.numbers import number_apart, with_interval
from auditor.gate.ruling import Outcome, Ruling
from auditor.policy_file import Rule

__all__ = [
    "claimed_epsilon",
    "complete",
    "least_evaluated",
    "max_age",
    "no_worse_than_last",
    "required_attacks",
    "required_checks",
    "told_of_baseline",
]

_CLOCKS_DIFFER = timedelta(hours=1)


def complete(hearing: Hearing) -> Iterator[Ruling]:
    """A preliminary report decides nothing, whatever it holds."""
    if hearing.report.stage != "complete":
        told = "The report is preliminary: no shadow model has been trained, nothing is decided."
        yield Ruling("complete", "inconclusive", told, "verdict")


def required_attacks(hearing: Hearing) -> Iterator[Ruling]:
    """Every attack that the policy names has completed."""
    yield from _required("required_attacks", hearing.policy.gate.required_attacks, _attacks(hearing), "methods")


def required_checks(hearing: Hearing) -> Iterator[Ruling]:
    """Every check and control that the policy names has passed."""
    yield from _required("required_checks", hearing.policy.gate.required_checks, _checks(hearing), "controls")


def _required(rule: Rule, wanted: tuple[str, ...], problems: dict[str, str], see: str) -> Iterator[Ruling]:
    """Problems by id, empty where there is none; what is not in the list is not in the report."""
    if not wanted:
        return
    found = {one: problems.get(one, "is not in the report") for one in wanted}
    told = "; ".join(f"{one} {problem}" for one, problem in found.items() if problem)
    if told:
        yield Ruling(rule, "inconclusive", f"What the policy requires is missing: {told}.", see)
    else:
        done = "completed" if rule == "required_attacks" else "passed"
        yield Ruling(rule, "pass", f"All that the policy requires {done}: {', '.join(wanted)}.", see)


def _attacks(hearing: Hearing) -> dict[str, str]:
    problems: dict[str, str] = {}
    for result in hearing.report.membership:
        match result.outcome:
            case Completed():
                problems[result.card.id] = ""
            case Skipped(reason=reason):
                problems[result.card.id] = f"was skipped ({reason.rstrip('.')})"
            case Failed(error=error):
                problems[result.card.id] = f"failed ({error.rstrip('.')})"
    for one in hearing.report.inversion:
        told = f"{'was skipped' if one.status == 'skipped' else 'failed'} ({one.reason.rstrip('.')})"
        problems[one.card.id] = "" if one.status == "completed" else told
    return problems


def _checks(hearing: Hearing) -> dict[str, str]:
    ended = {one.id: (str(one.level), one.sentence) for one in hearing.report.checks}
    ended |= {one.id: (one.status, one.sentence) for one in hearing.report.controls}
    return {
        name: "" if level == CheckLevel.PASS else f"ended with {level} ({sentence.rstrip('.')})"
        for name, (level, sentence) in ended.items()
    }


def least_evaluated(hearing: Hearing) -> Iterator[Ruling]:
    """So many records a side were evaluated."""
    least, n = hearing.policy.gate.least_evaluated, hearing.report.data.evaluated
    if least is not None:
        outcome: Outcome = "pass" if n >= least else "inconclusive"
        told = f"{n:,} records a side were evaluated; the policy asks for {least:,}."
        yield Ruling("least_evaluated", outcome, told, "methods", limit=least)


def max_age(hearing: Hearing) -> Iterator[Ruling]:
    """The report is no older than allowed. One from the future has no age, and does not pass."""
    longest = hearing.policy.gate.longest_age
    if longest is None:
        return
    age = hearing.now - _aware(hearing.report.created)
    limit = f"the policy allows {hearing.policy.gate.max_age}"
    made = f"The report was planned on {hearing.report.created:%Y-%m-%d}"
    if age < -_CLOCKS_DIFFER:
        yield Ruling("max_age", "inconclusive", f"{made}, which lies in the future.", "methods")
    elif age > longest:
        yield Ruling("max_age", "inconclusive", f"{made}, {_rounded_up(age)} ago; {limit}. Audit again.", "methods")
    else:
        yield Ruling("max_age", "pass", f"{made}, {_whole(age)} ago; {limit}.", "methods")


def _aware(moment: datetime) -> datetime:
    """The moment with a time zone; UTC where it was written without."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _whole(age: timedelta) -> str:
    """The age in whole days, or in whole hours of the first day."""
    days, hours = max(age, timedelta()).days, max(age, timedelta()) // timedelta(hours=1)
    return _counted(days, "day") if days else _counted(hours, "hour")


def _rounded_up(age: timedelta) -> str:
    """The age to the next hour, or minute of the first day, so that it never reads as one that is still allowed."""
    if age >= timedelta(days=1):
        days, hours = divmod(-(-age // timedelta(hours=1)), 24)
        parts = ((days, "day"), (hours, "hour"))
    else:
        hours, minutes = divmod(-(-age // timedelta(minutes=1)), 60)
        parts = ((hours, "hour"), (minutes, "minute"))
    return " ".join(_counted(count, name) for count, name in parts if count)


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


# --- a claim of differential privacy --------------------------------------------------------------------------------


def claimed_epsilon(hearing: Hearing) -> Iterator[Ruling]:
    """Canaries could have contradicted the claim, and did not; that is no evidence that it holds."""
    if hearing.policy.gate.claimed_epsilon is None:
        return
    claim, audit = hearing.policy.gate.claimed_epsilon.stated(), hearing.report.canaries
    bound = None if audit is None else next((one for one in audit.bounds if one.declared), None)
    if bound is None:
        told = "No canaries were in the training; nothing else can contradict a claimed epsilon (docs/canaries.md)."
        yield Ruling("claimed_epsilon", "inconclusive", told, "epsilon", limit=claim.epsilon)
        return
    outcome, why = _held(claim, bound)
    told = (
        f"Canaries bound epsilon from below by {bound.epsilon:.2f} at delta {bound.delta:g} and "
        f"{100 * bound.confidence:g} % confidence ({bound.guesses:,} guesses, {bound.correct:,} right). {why}"
    )
    yield Ruling("claimed_epsilon", outcome, told, "epsilon", limit=claim.epsilon)


def _held(claim: PrivacyClaim, bound: CanaryBound) -> tuple[Outcome, str]:
    claimed = f"the claimed epsilon of {claim.epsilon:g} at delta {claim.delta:g} for each {claim.unit}"
    if bound.delta < claim.delta:
        return "inconclusive", f"That is at a smaller delta than {claimed}: state the claim in splits.toml, scan again."
    if bound.epsilon > claim.epsilon:
        return "fail", f"This contradicts {claimed}."
    if bound.ceiling <= claim.epsilon:
        return "inconclusive", f"At most {bound.ceiling:.2f} could have been shown, too little to contradict {claimed}."
    return "pass", f"This does not contradict {claimed}, and is no evidence for it."


# --- the last release -----------------------------------------------------------------------------------------------


def no_worse_than_last(hearing: Hearing) -> Iterator[Ruling]:
    """No primary endpoint at the release is worse than in the last release, by the margin or more.

    Raises:
        InputError: the baseline is preliminary, of a model for another task, or of this very audit.
    """
    margins = hearing.policy.gate.no_worse_than_last
    if margins is None:
        return
    if hearing.baseline is not None:
        refuse_itself(hearing.baseline, hearing.report.plan.digest, hearing.report.model.sha256)
    rates = margins.tpr_at_fpr
    asked = ((Metric.AUC, margins.auc), (Metric.TPR_AT_FPR, None if rates is None else rates.at_one_percent))
    for metric, margin in asked:
        if margin is not None:
            yield replace(_no_worse(hearing, metric, margin), on=str(metric))


def told_of_baseline(hearing: Hearing) -> str:
    """What a reader has to know of the report of the last release, or the empty string."""
    last, report = hearing.baseline, hearing.report
    if last is None:
        return ""
    if hearing.policy.gate.no_worse_than_last is None:
        return "not used: of a policy only no_worse_than_last asks for the report of the last release."
    same = "it is of the same weights, audited by another plan" if last.model.sha256 == report.model.sha256 else ""
    later = "it was planned after the report" if _aware(last.created) > _aware(report.created) else ""
    odd = " and ".join(one for one in (same, later) if one)
    return f"{odd}: is it the report of the last release?" if odd else ""


def _no_worse(hearing: Hearing, metric: Metric, margin: float) -> Ruling:
    if hearing.baseline is None:
        told = "The report of the last release was not given (privaudit gate --baseline OLD.json)."
        return _not_compared(told, margin)
    difference = compare(hearing.baseline, hearing.report, hearing.kept)
    changes = [one for one in difference.changes if one.metric is metric and one.primary]
    asked = {result.card.id: result.card.access for result, one in hearing.endpoints() if one.metric is metric}
    found = [one for one in changes if one.card.id in asked]
    leaking = hearing.leaking(Family.MEMBERSHIP)
    worse = [one for one in found if one.change.low >= margin and not one.unlike and one.card.access in leaking]
    if worse:
        return _compared("fail", max(worse, key=lambda one: one.change.low), margin, "It is worse by more than that.")
    if doubt := hearing.doubt():
        return _not_compared(doubt, margin)
    if doubt := hearing.of_last(hearing.baseline).doubt():
        return _not_compared(f"The audit of the last release is in doubt itself. {doubt}", margin)
    alone = sorted(set(asked) - {one.card.id for one in found})
    if alone or not found:
        told = f"Not judged by {metric} in both reports: {', '.join(alone) or 'any primary attack'}."
        return _not_compared(told, margin)
    return _against_margin(hearing, found, margin, difference.unpaired)


def _against_margin(hearing: Hearing, found: list[Change], margin: float, unpaired: str) -> Ruling:
    if unlike := next((one for one in found if one.unlike), None):
        why = f"The two were not measured alike: {'; '.join(unlike.unlike)}."
        return _compared("inconclusive", unlike, margin, why)
    worst = max(found, key=lambda one: one.change.high)
    if worst.change.high < margin:
        return _compared("pass", worst, margin, "Its whole interval is under that.")
    if above := [one for one in found if one.change.low >= margin]:
        why = "It is worse by more than that, but that is not shown to be the model's."
        return _compared("inconclusive", max(above, key=lambda one: one.change.low), margin, why)
    why_wide = f" Compared unpaired, as {unpaired}." if unpaired else ""
    return hearing.between(_compared("inconclusive", worst, margin, f"Its interval reaches that.{why_wide}"))


def _not_compared(why: str, margin: float) -> Ruling:
    return Ruling("no_worse_than_last", "inconclusive", why, "membership", limit=margin)


def _compared(outcome: Outcome, change: Change, margin: float, why: str) -> Ruling:
    how = "record by record" if change.paired else "unpaired"
    told = (
        f"{change.name} of {change.card.id} changed by {with_interval(change.change, change.unit)} since the last "
        f"release, {how}; allowed is a rise under {number_apart(margin, 0.0, change.unit)}. {why}"
    )
    unit = "points" if change.unit == "share" else change.unit
    measured = Measurement(name=f"change of {change.name}, {change.card.id}", estimate=change.change, unit=unit)
    return Ruling("no_worse_than_last", outcome, told, "membership", measured, change.change.high, margin)
