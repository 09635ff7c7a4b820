"""What to do, on the first page: at most three actions, each with what was measured of it, or the command to paste.

No question of the declared release is left open without a word on what would answer it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from auditor.findings import (
    BUDGET_NAMES,
    LABELS_ONLY,
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
from auditor.report.text import clean, count, level, listing, metric_name, metric_unit, short, stated
from auditor.report.wording import Action
from auditor.threat import Access

__all__ = ["actions", "doubts"]

_MOST = 3


def actions(report: AuditReport) -> tuple[Action, ...]:
    """At most three: what is open of inversion keeps its place, membership takes what is left."""
    membership, inverted = _state(pick.released_verdict(report)), _state(pick.released_inversion(report))
    rebuilt = _of_inversion(report, inverted) if membership is not VerdictState.LEAK_FOUND else []
    if inverted is VerdictState.CANNOT_SAY:
        rebuilt = [_open_inversion(report)]
    match membership:
        case VerdictState.LEAK_FOUND:
            found = _lower_the_leak(report)
        case VerdictState.NOTHING_FOUND:
            found = [] if inverted is VerdictState.LEAK_FOUND else [_keep_it(report), *_is_it_the_training_set(report)]
        case _:
            found = _settle_doubts(report)
    return (*found[: _MOST - len(rebuilt)], *rebuilt)


def _state(verdict: Verdict | None) -> VerdictState | None:
    return None if verdict is None else verdict.state


def _scan(report: AuditReport, *further: str, budget: str = "") -> str:
    """The command that asks more; a fresh run folder, as a plan that was written is replayed and never changed."""
    release = [] if report.plan.release is Access.WEIGHTS else ["--release", str(report.plan.release)]
    spent = short(budget or report.plan.budget)
    asked = [] if spent == "standard" else ["--budget", spent]
    words = ["privaudit", "scan", "CHECKPOINT", "--data", "DIR", "--run-dir", "NEW", *release, *asked, *further]
    return shlex.join(words)


def _next_budget(report: AuditReport, ids: Iterable[str]) -> str:
    """The smallest budget for which some of these wait; empty where none does."""
    found = {report.plan.waits_for.get(one) for one in ids}
    return next((budget for budget in BUDGET_NAMES if budget in found), "")


# --- a membership leak -----------------------------------------------------------------------------------------------


def _lower_the_leak(report: AuditReport) -> list[Action]:
    release = report.plan.release
    lesser = pick.lesser_releases(report)[:1]
    found = [*_take_defense(report, release), *(_release_less(report, access) for access in lesser)]
    if found:
        return found
    below = [access for access in pick.RELEASES if access.rank < release.rank]
    return [
        _do_not_release(report),
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
    """At most three defenses that count here and wait for the smallest budget; none that these shadows rule out."""
    waiting = [
        one
        for one in report.defenses_not_planned
        if release in one.card.counts_for
        and not one.card.part_of
        and not (one.card.acts_on == "training" and report.plan.shadow_source == "given")
    ]
    cheapest = _next_budget(report, (one.card.id for one in waiting))
    return [one for one in waiting if not cheapest or report.plan.waits_for.get(one.card.id) == cheapest][:_MOST]


def _correct_the_recipe(report: AuditReport) -> list[Action]:
    """Where the shadows are not like the model, there may be more to find than was found."""
    return [
        Action("Correct [training] in splits.toml and audit again: more may leak than was found", clean(check.sentence))
        for check in report.checks
        if check.id == "recipe" and check.level is CheckLevel.FAIL
    ]


def _take_defense(report: AuditReport, release: Access) -> list[Action]:
    """The defense that is advised, with what it was measured to do on the half on which it was not chosen."""
    found = defended.advised(report, release)
    if found is None:
        return []
    left = _left_over(found, release, report)
    told = (clean(found.advice.sentence), left, clean(found.advice.not_stopped))
    return [Action(_taken(found, release, report, left), " ".join(part for part in told if part))]


def _taken(found: defended.Advised, release: Access, report: AuditReport, left: str) -> str:
    """What to do with a defense, and how much of the leak it was seen to close."""
    what = _with_defense(found, release, report)
    if found.strongest.change.high >= 0:
        return f"No measured defense was shown to leak less; first to try: release {what}"
    if found.defense.card.id == LABELS_ONLY and pick.state_at(report, Access.LABELS) is not VerdictState.NOTHING_FOUND:
        leaks = pick.state_at(report, Access.LABELS) is VerdictState.LEAK_FOUND
        rest = "but still leaks" if leaks else "whether it leaks is not answered"
        return f"Releasing {what} leaks less, {rest}"
    if left:
        rest = "but still leaks" if left.endswith(_REMAINS) else "but a leak may remain"
        return f"Releasing {what} leaks less, {rest}"
    return f"Release {what}"


def _with_defense(found: defended.Advised, release: Access, report: AuditReport) -> str:
    card = found.defense.card
    if card.id == LABELS_ONLY:
        return "labels only"
    way = f"behind the defense {short(card.title)}" if card.acts_on == "output" else _retrained(card.title)
    if release is not report.plan.release:
        return f"{release} only, {way},"
    return f"{'the file' if release is Access.WEIGHTS else release} {way}"


def _retrained(title: str) -> str:
    return f"after retraining with {short(title)}"


_REMAINS = "a leak remains."


def _left_over(found: defended.Advised, release: Access, report: AuditReport) -> str:
    """What a defense leaves above a limit, or leaves open; empty where both intervals end under their limits."""
    plan = report.plan
    low = defended.low_fpr_at(found.defense, release, plan.tpr_fpr)
    ends = (
        (found.strongest.adaptive, Metric.AUC, plan.auc_limit),
        *(((low, Metric.TPR_AT_FPR, plan.tpr_limit),) if low else ()),
    )
    above = [end for end in ends if end[0].value > end[2]]
    reaching = above or [end for end in ends if end[0].high > end[2]]
    if not reaching:
        return ""
    _, metric, limit = reaching[0]
    then = f"lies above {{}}: {_REMAINS}" if above else "has an interval that reaches above {}."
    return f"{metric_name(metric, plan.tpr_fpr)} {then.format(f'its limit of {stated(limit, metric)}')}"


def _release_less(report: AuditReport, access: Access) -> Action:
    lesser, now = pick.primary_at(report, access), pick.headline(report)
    effect = " instead of ".join(wording.shown_in_words(shown) for shown in (lesser, now) if shown)
    return Action(f"Release {access} only instead of {report.plan.release}", f"{effect}.")


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


def _of_inversion(report: AuditReport, state: VerdictState | None) -> list[Action]:
    """Where training data was rebuilt and membership found nothing: less may be released, or nothing."""
    if state is not VerdictState.LEAK_FOUND:
        return []
    release = report.plan.release
    lesser = [_release_less(report, access) for access in pick.lesser_releases(report)[:1]]
    verdict = pick.released_inversion(report)
    why = "" if verdict is None else clean(verdict.sentence)
    return lesser or [
        Action(f"Do not release the {release} as they are", f"{why} No lesser release came out without a leak.".strip())
    ]


def _open_inversion(report: AuditReport) -> Action:
    """Why inversion is not answered, and what would answer it."""
    verdict = pick.released_inversion(report)
    why = "" if verdict is None else clean(verdict.sentence)
    title = "Inversion is not answered, which is not the same as nothing found"
    ran = [one.classes for one in report.inversion if one.status == "completed"]
    classes = max(ran, default=len(report.data.classes))
    if classes < LEAST_CLASSES:
        seen = any(one.gallery for one in report.inversion)
        look = "see the pictures" if seen else "scan again with --show-records"
        needed = f"No setting changes that for {count(classes)} classes: {LEAST_CLASSES} are needed."
        return Action(title, f"{needed} To judge by eye, {look}.")
    waiting = _waiting(report)
    budget = _next_budget(report, (card.id for card in waiting))
    if not budget:
        return Action(title, f"{why} No budget of this version asks more; attacks not run may find a leak.".strip())
    told = f"{why} Attacks that wait for a larger budget: {count(len(waiting))}."
    return Action(title, told.strip(), _scan(report, budget=budget))


def _waiting(report: AuditReport) -> list[AttackCard]:
    """Attacks under the declared release that a larger budget runs."""
    return [
        card
        for card, _ in pick.not_run(report)
        if card.family is Family.INVERSION
        and report.plan.release.includes(card.access)
        and card.id in report.plan.waits_for
    ]
