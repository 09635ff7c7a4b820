"""What a machine is told: one point per rule of a policy, verdict, control, check, declared attack and privacy claim.

SARIF, JUnit, GitLab's and GitHub's formats are made from these, so that they agree on what is a leak, what is open and
what counts. Aggregates only: no record, no group and no class is named here.

A point counts where the declared release shows the attacker as much as it takes; what a policy says always counts. The
rule and the key of a point say
what was asked, never what came out, so that the next audit of the same model has the same ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from auditor.findings import (
    AttackCard,
    AttackResult,
    AuditReport,
    CanaryAudit,
    Check,
    CheckLevel,
    Completed,
    ControlResult,
    Failed,
    Family,
    Measurement,
    Role,
    Severity,
    Skipped,
    Verdict,
    VerdictState,
)
from auditor.gate.ruling import Asked, Gate, Outcome, Ruling
from auditor.report import rulings, wording
from auditor.report.text import clean, counts, link, metric_name, metric_unit, phrase, short, unit_of

__all__ = ["Kind", "Level", "Point", "Rule", "State", "fingerprint", "not_run", "of", "slug"]

Level = Literal["none", "note", "warning", "error"]
_SLUG_LIMIT = 60
_PAGES = {"policy": "docs/gate.md", "control": "docs/checks.md", "check": "docs/checks.md", "claim": "docs/canaries.md"}


class Kind(StrEnum):
    """What a point tells of."""

    POLICY = "policy"
    VERDICT = "verdict"
    CONTROL = "control"
    CHECK = "check"
    ATTACK = "attack"
    CLAIM = "claim"


class State(StrEnum):
    """How it ended. `OPEN`: not decided. `BROKEN`: it was tried and crashed. `WAIVED`: it need not be met today."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    OPEN = "open"
    BROKEN = "broken"
    WAIVED = "waived"


@dataclass(frozen=True)
class Rule:
    """What was asked: the same in every audit that asks it.

    Attributes:
        id: Kind and name, `[a-z0-9-]` and slashes.
        title: The name for a reader.
        about: The question, in a sentence.
        page: Where to read on, inside the repository of privaudit; empty: in the report itself.
    """

    id: str
    title: str
    about: str
    page: str = ""


@dataclass(frozen=True)
class Point:
    """One answer.

    Attributes:
        kind: What it tells of.
        rule: What was asked.
        key: Access and attack, where the question has them; with the rule it identifies the point.
        state: How it ended.
        level: How loudly a machine should tell it; "none" where there is nothing to tell.
        told: The answer in words, every number with its interval. One line, bounded.
        counts: Whether it counts under the declared release.
    """

    kind: Kind
    rule: Rule
    key: tuple[str, ...]
    state: State
    level: Level
    told: str
    counts: bool = True


def of(report: AuditReport, gate: Gate | None = None) -> tuple[Point, ...]:
    """All points: what a policy says of a report, then its verdicts, claim, declared attacks, controls, checks."""
    return (
        *(() if gate is None else (_ruled(gate, ruling) for ruling in gate.rulings)),
        *(_verdict(report, verdict) for verdict in report.verdicts),
        *(_claim(report.canaries) if report.canaries is not None else ()),
        *(_attack(report, result) for result in report.membership if result.role is Role.PRIMARY),
        *map(_control, report.controls),
        *map(_check, report.checks),
    )


def not_run(report: AuditReport) -> tuple[str, ...]:
    """Attacks that were skipped or crashed, those with one reason together, a sentence each.

    Of a crash only the kind of error is told: its message may name a file.
    """
    grouped: dict[str, list[AttackCard]] = {}
    for result in report.membership:
        match result.outcome:
            case Skipped(reason=reason):
                grouped.setdefault(reason, []).append(result.card)
            case Failed(error=error):
                grouped.setdefault(_crash(error), []).append(result.card)
    for one in report.inversion:
        if one.status != "completed":
            reason = one.reason if one.status == "skipped" else _crash(one.reason)
            grouped.setdefault(reason, []).append(one.card)
    return tuple(f"{wording.named(cards)}: {clean(reason).rstrip('.')}." for reason, cards in grouped.items())


def _crash(error: str) -> str:
    kind = re.match(r"[A-Za-z_][A-Za-z0-9_.]{0,59}", error)
    return f"crashed ({kind.group() if kind else 'unknown error'})"


def fingerprint(slot: str, point: Point) -> str:
    """A name for a point of the model in this slot that no re-run changes: 32 hexadecimal digits."""
    parts = ("privaudit", slot, point.rule.id, *point.key)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def slug(name: str) -> str:
    """A name as it stands in an id; one that had to be changed is told apart by its digest."""
    kept = re.sub(r"[^a-z0-9]+", "-", name[: 4 * _SLUG_LIMIT].lower())[:_SLUG_LIMIT].strip("-")
    if kept == name:
        return kept
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kept}-{digest}".lstrip("-")


# --- rules of a policy -----------------------------------------------------------------------------------------------

_ASKED: dict[Asked, str] = {
    "complete": "Is the report complete, and not a preliminary one?",
    "auc": "Is every primary AUC under its limit?",
    "tpr_at_fpr": "Is every primary true positive rate at 1 % false positives under its limit?",
    "inversion_excess": "Does what inversion shows over its best control stay under its limit?",
    "severity": "Is there no membership leak as severe as the policy forbids?",
    "claimed_epsilon": "Could canaries have contradicted the claimed epsilon, and did they not?",
    "required_attacks": "Did the attacks that the policy requires complete?",
    "required_checks": "Did the checks and controls that the policy requires pass?",
    "least_evaluated": "Were as many records evaluated as the policy asks for?",
    "max_age": "Is the report young enough?",
    "no_worse_than_last": "Is no primary number worse than in the last release, by the margin?",
}
_OUTCOMES: dict[Outcome, tuple[State, Level]] = {
    "pass": (State.PASSED, "none"),
    "fail": (State.FAILED, "error"),
    "inconclusive": (State.OPEN, "warning"),
}
_WAIVED: tuple[State, Level] = (State.WAIVED, "note")


def _ruled(gate: Gate, ruling: Ruling) -> Point:
    name = "/".join(part.replace("_", "-") for part in (ruling.rule, ruling.on) if part)
    rule = Rule(f"policy/{name}", f"Policy: {ruling.name}", _ASKED[ruling.rule], _PAGES["policy"])
    state, level = _WAIVED if ruling.waiver else _OUTCOMES[ruling.outcome]
    told = f"{ruling.name}, release of {gate.release}: {ruling.outcome}. {rulings.told(ruling)}"
    return Point(Kind.POLICY, rule, (gate.release,), state, level, told)


# --- verdicts --------------------------------------------------------------------------------------------------------

_FAMILIES = {
    Family.MEMBERSHIP: ("Membership inference", "Can an outsider tell who was in the training set?"),
    Family.INVERSION: ("Model inversion", "Can an outsider rebuild what the training data looked like?"),
}
_STATES = {
    VerdictState.LEAK_FOUND: State.FAILED,
    VerdictState.NOTHING_FOUND: State.PASSED,
    VerdictState.CANNOT_SAY: State.OPEN,
}


def _verdict(report: AuditReport, verdict: Verdict) -> Point:
    name, question = _FAMILIES[verdict.family]
    way = f"release of {verdict.access}"
    rule = Rule(
        f"verdict/{verdict.family}-{verdict.access}",
        f"{name}, {way}",
        f"{question} An attacker sees {verdict.access.description}.",
    )
    note = wording.verdict_note(verdict)
    told = f"{name}, {way}: {wording.state_name(verdict.state).lower()}{f' ({note})' if note else ''}. "
    counting = report.plan.release.includes(verdict.access)
    level = _verdict_level(report, verdict, counting=counting)
    return Point(
        Kind.VERDICT, rule, (verdict.access,), _STATES[verdict.state], level, told + clean(verdict.sentence), counting
    )


def _verdict_level(report: AuditReport, verdict: Verdict, *, counting: bool) -> Level:
    """A leak by its severity, which only membership has; what is open warns where a gate asks for it."""
    membership = verdict.family is Family.MEMBERSHIP
    match verdict.state:
        case VerdictState.NOTHING_FOUND:
            return "none"
        case VerdictState.LEAK_FOUND if counting:
            return "warning" if membership and report.severity.rank < Severity.HIGH.rank else "error"
        case VerdictState.CANNOT_SAY if membership and verdict.access is report.plan.release:
            return "warning"
        case _:
            return "note"


# --- what the verdicts rest on ---------------------------------------------------------------------------------------


def _claim(audit: CanaryAudit) -> Iterator[Point]:
    rule = Rule("claim/epsilon", "Privacy claim", "Do the canaries contradict the claimed epsilon?", _PAGES["claim"])
    if audit.claim is None:
        return
    state, level = _CLAIMS[audit.contradicted]
    yield Point(Kind.CLAIM, rule, (), state, level, clean(audit.sentence))


_CLAIMS: dict[bool | None, tuple[State, Level]] = {
    True: (State.FAILED, "error"),
    False: (State.PASSED, "none"),
    None: (State.OPEN, "note"),
}


def _attack(report: AuditReport, result: AttackResult) -> Point:
    card, counting = result.card, report.plan.release.includes(result.card.access)
    title = f"{short(card.title)} ({card.access})"
    cited = f"{clean(card.paper.citation)} {link(clean(card.paper.url))}".strip()
    rule = Rule(f"attack/{slug(card.id)}", title, f"Declared before the run: {short(card.title)}. {cited}")
    level: Level = "warning" if counting else "note"
    match result.outcome:
        case Completed():
            state, level, told = State.PASSED, "none", f"{title} ran. {_reached(result.outcome)}".strip()
        case Skipped(reason=reason):
            state, told = State.OPEN, f"{title} was declared and did not run. {clean(reason)}"
        case Failed(error=error):
            state, told = State.BROKEN, f"{title} was declared and {_crash(error)}."
    return Point(Kind.ATTACK, rule, (card.access,), state, level, told, counting)


def _reached(outcome: Completed) -> str:
    ends = [end for end in outcome.endpoints if not end.appendix]
    told = [
        f"{metric_name(end.metric, end.fpr)} {phrase(end.estimate, metric_unit(end.metric))}, {counts(end.estimate.n)}."
        for end in ends
    ]
    return " ".join(told)


_CONTROL_STATES: dict[str, tuple[State, Level]] = {
    "pass": (State.PASSED, "none"),
    "warn": (State.WARNED, "note"),
    "fail": (State.FAILED, "warning"),
    "skipped": (State.OPEN, "note"),
}
_CHECK_STATES: dict[CheckLevel, tuple[State, Level]] = {
    CheckLevel.PASS: (State.PASSED, "none"),
    CheckLevel.WARN: (State.WARNED, "note"),
    CheckLevel.FAIL: (State.FAILED, "warning"),
}


def _control(control: ControlResult) -> Point:
    state, level = _CONTROL_STATES[control.status]
    rule = Rule(f"control/{slug(control.id)}", short(control.title), clean(control.question), _PAGES["control"])
    measured = " ".join(f"{_measured(one)}." for one in control.measurements[:_MEASURED])
    told = f"{rule.title}: {control.status}. {clean(control.sentence)} {measured}".strip()
    return Point(Kind.CONTROL, rule, (), state, level, told)


_MEASURED = 4


def _measured(one: Measurement) -> str:
    over = f", against {short(one.against)}" if one.against else ""
    return f"{short(one.name)} {phrase(one.estimate, unit_of(one))}{over}, {counts(one.estimate.n)}"


def _check(check: Check) -> Point:
    state, level = _CHECK_STATES[check.level]
    title = short(check.title)
    about = f"A reason to distrust the audit: {title}."
    rule = Rule(f"check/{slug(check.id)}", title, about, _PAGES["check"])
    return Point(Kind.CHECK, rule, (), state, level, f"{title}: {check.level}. {clean(check.sentence)}")
