"""What to do, on the first page: at most three actions, each with what was measured of it, or the command to paste.

No question of the declared release is left open without a word on what would answer it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from auditor.findings import (
    BUDGET_NAMES,
    AttackCard,
    AuditReport,
    CheckLevel,
    DefenseResult,
    Family,
    Metric,
    Role,
    Verdict,
    VerdictState,
)
from auditor.gate.numbers import bound_apart
from auditor.limits import LEAST_CLASSES
from auditor.report import defended, pick, wording
from auditor.report.text import clean, count, level, listing, metric_name, metric_unit, short
from auditor.report.way import Way
from auditor.report.wording import Action
from auditor.threat import Access

__all__ = ["actions", "doubts"]

_MOST = 3


def actions(report: AuditReport) -> tuple[Action, ...]:
    """At most three: what is found or open of inversion keeps its place, membership takes what is left."""
    membership, inverted = _state(pick.released_verdict(report)), _state(pick.released_inversion(report))
    if inverted is VerdictState.LEAK_FOUND and membership is not VerdictState.LEAK_FOUND:
        open_ = _settle_doubts(report) if membership is not VerdictState.NOTHING_FOUND else []
        return (_rebuilt(report, alone=True), *open_[: _MOST - 1])
    rebuilt = [_rebuilt(report, alone=False)] if inverted is VerdictState.LEAK_FOUND else []
    rebuilt += [_open_inversion(report)] if inverted is VerdictState.CANNOT_SAY else []
    match membership:
        case VerdictState.LEAK_FOUND:
            found = _lower_the_leak(report)
        case VerdictState.NOTHING_FOUND:
            found = [_keep_it(report), *_is_it_the_training_set(report)]
        case _:
            found = _settle_doubts(report)
    return (*found[: _MOST - len(rebuilt)], *rebuilt)


def _state(verdict: Verdict | None) -> VerdictState | None:
    return None if verdict is None else verdict.state


def _scan(report: AuditReport, *further: str, budget: str = "") -> str:
    """The command that asks more; a fresh run folder, as a plan that was written is replayed and never changed."""
    release = [] if report.plan.release is Access.WEIGHTS else ["--release", str(report.plan.release)]
    spent, model = short(budget or report.plan.budget), report.model
    asked = [] if spent == "standard" else ["--budget", spent]
    arch = ["--arch", "FILE.py:FACTORY"] if ".py:" in model.architecture else []
    words = ["privaudit", "scan", "CHECKPOINT", "--data", "DIR", "--run-dir", "NEW", *arch, *release, *asked, *further]
    return shlex.join(words)


def _next_budget(report: AuditReport, ids: Iterable[str]) -> str:
    """The smallest budget for which some of these wait; empty where none does."""
    found = {report.plan.waits_for.get(one) for one in ids}
    return next((budget for budget in BUDGET_NAMES if budget in found), "")


# --- a membership leak -----------------------------------------------------------------------------------------------


def _lower_the_leak(report: AuditReport) -> list[Action]:
    release = report.plan.release
    lesser = [_release_less(report, access) for access in pick.lesser_releases(report)[:1]]
    taken = _take_defense(report, release)
    first = taken or [_do_not_release(report)]
    if taken or lesser:
        return [*first, *lesser]
    below = [access for access in pick.RELEASES if access.rank < release.rank]
    return [
        *first,
        *_correct_the_recipe(report),
        *(action for access in below for action in _take_defense(report, access)),
    ]


def _do_not_release(report: AuditReport) -> Action:
    release = report.plan.release
    title, why = f"Do not release the {release} as they are", wording.no_defense(report, release)
    if wording.carried_defense(report):
        return Action(title, why, _scan(report).replace("CHECKPOINT", "UNDEFENDED"))
    if defended.advice_at(report, release) is not None:
        return Action(title, why)
    wanted = _cheapest_unmeasured(report, release)
    if not wanted:
        return Action(title, why)
    names = listing([short(one.card.title) for one in wanted])
    told = f"{why} To measure {names} (plan in place of scan tells the time):"
    return Action(title, told, _scan(report, "--defenses", ",".join(short(one.card.id) for one in wanted)))


def _cheapest_unmeasured(report: AuditReport, release: Access) -> Sequence[DefenseResult]:
    """At most three defenses that count here and wait for the smallest budget; none that these shadows rule out.

    Those that no paper proposes, and those that only stand beside others, come last.
    """
    waiting = [
        one
        for one in report.defenses_not_planned
        if release in one.card.counts_for
        and not one.card.part_of
        and not (one.card.acts_on == "training" and report.plan.shadow_source == "given")
    ]
    cheapest = _next_budget(report, (one.card.id for one in waiting))
    first = [one for one in waiting if not cheapest or report.plan.waits_for.get(one.card.id) == cheapest]
    return sorted(first, key=lambda one: one.card.for_comparison or one.card.paper is None)[:_MOST]


def _correct_the_recipe(report: AuditReport) -> list[Action]:
    """Where the shadows are not like the model, there may be more to find than was found."""
    return [
        Action("Correct [training] in splits.toml and audit again: more may leak than was found", clean(check.sentence))
        for check in report.checks
        if check.id == "recipe" and check.level is CheckLevel.FAIL
    ]


def _take_defense(report: AuditReport, release: Access) -> list[Action]:
    """The defense that is advised, with what it was measured to do on the half on which it was not chosen.

    For less than the declared release only one that was shown to leak less.
    """
    found = defended.advised(report, release)
    if found is None:
        return []
    way = Way(report, found, release)
    if release is not report.plan.release and not way.shown_to_help:
        return []
    told = (
        clean(found.advice.sentence),
        way.left_over,
        *way.inverted,
        *wording.beyond(report, found),
        way.not_stopped,
    )
    return [Action(way.title, " ".join(part for part in told if part))]


def _release_less(report: AuditReport, access: Access) -> Action:
    lesser, now = pick.primary_at(report, access), pick.headline(report)
    effect = " instead of ".join(wording.shown_in_words(shown) for shown in (lesser, now) if shown)
    title = f"{access} only instead of {report.plan.release}"
    if pick.inversion_state(report, report.plan.release) is VerdictState.LEAK_FOUND:
        return Action(f"{title.capitalize()}: no membership leak was found, inversion is not answered", f"{effect}.")
    return Action(f"Release {title}", f"{effect}.")


# --- nothing found ---------------------------------------------------------------------------------------------------


def _keep_it(report: AuditReport) -> Action:
    largest = pick.largest_bounds(report)
    limits = {Metric.AUC: report.plan.auc_limit, Metric.TPR_AT_FPR: report.plan.tpr_limit}
    bounds = [
        f"{metric_name(metric, fpr)} at most {bound_apart(bound, limits[metric], metric_unit(metric))}"
        for (metric, fpr), bound in largest.items()
    ]
    effect = f"Simultaneous {level(1 - report.plan.family_wise_error)} bounds: {listing(bounds)}." if bounds else ""
    return Action(
        "Membership calls for no change; audit again when the weights, the data or the release change",
        f"{effect} {count(report.data.evaluated)} records a side were evaluated.".strip(),
    )


def _is_it_the_training_set(report: AuditReport) -> list[Action]:
    """Against the wrong records nothing is ever found: no attack tells that from a model that does not leak."""
    return [
        Action("Make sure that train/ holds what this model was trained on, or nothing found says nothing", told)
        for check in report.checks
        if check.id == "members-learned" and check.level is CheckLevel.WARN and (told := clean(check.sentence))
    ]


# --- membership is open ----------------------------------------------------------------------------------------------


def _settle_doubts(report: AuditReport) -> list[Action]:
    found = [Action(f"Settle first: {title}", sentence) for title, sentence in doubts(report)]
    verdict = pick.released_verdict(report)
    if verdict is None:
        return found or [Action("Audit again", "The report holds no verdict for the declared release.")]
    return found or [_open_membership(report, verdict)]


def doubts(report: AuditReport) -> tuple[tuple[str, str], ...]:
    """Controls and checks that failed, as title and sentence."""
    controls = [(clean(c.title), clean(c.sentence)) for c in report.controls if c.status == "fail"]
    checks = [(clean(c.title), clean(c.sentence)) for c in report.checks if c.level is CheckLevel.FAIL]
    return tuple(controls + checks)


def _open_membership(report: AuditReport, verdict: Verdict) -> Action:
    """Why nothing can be said, and what would settle it."""
    release = report.plan.release
    told = [clean(reason) for reason in verdict.reasons]
    told += [f"{name} did not run: {why.rstrip('.')}." for name, why in _primary_not_run(report)]
    if verdict.too_wide:
        needed = [one.needed for one in report.plan.power if one.needed and not one.decided]
        told.append(f"Evaluate {f'at least {count(max(needed))}' if needed else 'more'} records a side.")
    title = f"Membership is not answered for release of {release}"
    waiting = [card for card, _ in pick.not_run(report)]
    budget = _next_budget(
        report, (one.id for one in waiting if one.family is Family.MEMBERSHIP and release.includes(one.access))
    )
    if verdict.too_wide or not budget:
        return Action(title, " ".join(told))
    told.append("More attacks can find a leak:")
    return Action(title, " ".join(told), _scan(report, budget=budget))


def _primary_not_run(report: AuditReport) -> list[tuple[str, str]]:
    """Of the declared release alone: what the verdict waits for."""
    primary = {one.card.id for one in report.membership if one.role is Role.PRIMARY}
    return [
        (short(card.title), clean(reason))
        for card, reason in pick.not_run(report)
        if card.id in primary and card.access is report.plan.release
    ]


# --- inversion -------------------------------------------------------------------------------------------------------


def _rebuilt(report: AuditReport, *, alone: bool) -> Action:
    """Training data was rebuilt; where membership leaks as well, its own actions tell of lesser releases."""
    verdict, found = pick.released_inversion(report), "training data can be rebuilt from what is released"
    title = f"Do not release the {report.plan.release} as they are: {found}" if alone else found.capitalize()
    why = "" if verdict is None else clean(verdict.sentence)
    return Action(title, f"{why} {_lesser_told(report, alone=alone)}".strip())


def _lesser_told(report: AuditReport, *, alone: bool) -> str:
    lesser = pick.lesser_releases(report)
    if lesser and alone:
        return f"Release of {lesser[0]} only came out without a membership leak; inversion is not answered there."
    if lesser or report.plan.release is Access.LABELS:
        return ""
    return "No lesser release came out without a leak."


def _open_inversion(report: AuditReport) -> Action:
    """Why inversion is not answered, and what would answer it."""
    verdict = pick.released_inversion(report)
    why = "" if verdict is None else clean(verdict.sentence)
    title = "Inversion is not answered, which is not the same as nothing found"
    ran = [one.classes for one in report.inversion if one.status == "completed"]
    classes = max(ran, default=len(report.data.classes))
    if classes < LEAST_CLASSES:
        needed = f"No setting changes that for {count(classes)} classes: {LEAST_CLASSES} are needed."
        return Action(title, f"{needed} {_by_eye(report)}".strip())
    waiting = _waiting(report)
    budget = _next_budget(report, (card.id for card in waiting))
    if not budget:
        return Action(title, f"{why} No budget of this version asks more; attacks not run may find a leak.".strip())
    told = f"{why} Attacks that wait for a larger budget: {count(len(waiting))}."
    return Action(title, told.strip(), _scan(report, budget=budget))


def _by_eye(report: AuditReport) -> str:
    """Where there is something to look at, or would be."""
    if any(one.gallery for one in report.inversion):
        return "To judge by eye, see the pictures."
    if not any(one.status == "completed" for one in report.inversion):
        return ""
    return (
        "To judge by eye, scan again with --show-records: the next report then holds pictures of training records, or "
        "like them."
    )


def _waiting(report: AuditReport) -> list[AttackCard]:
    """Attacks under the declared release that a larger budget runs."""
    return [
        card
        for card, _ in pick.not_run(report)
        if card.family is Family.INVERSION
        and report.plan.release.includes(card.access)
        and card.id in report.plan.waits_for
    ]
