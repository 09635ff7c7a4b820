"""What the report says, as pure functions from findings to sentences: the same words in every format.

Sentences that decide something (verdicts, checks, controls) are written where the decision is taken and arrive in the
report; here are the sentences around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auditor.findings import (
    AttackCard,
    AuditReport,
    CheckLevel,
    Completed,
    ControlResult,
    DefenseAdvice,
    DefenseResult,
    Measurement,
    Metric,
    Role,
    Severity,
    Verdict,
    VerdictState,
)
from auditor.report import defended, pick
from auditor.report.text import (
    cell,
    clean,
    count,
    counts,
    date,
    interval,
    interval_name,
    level,
    listing,
    metric_name,
    metric_unit,
    p_value,
    phrase,
    scaled,
    short,
    stated,
    unit_of,
    value,
)
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = [
    "ENOUGH_SEEDS",
    "Action",
    "Number",
    "actions",
    "advice_told",
    "attack_name",
    "best_of_all",
    "carrying_numbers",
    "doubts",
    "mark",
    "measured",
    "named",
    "needs",
    "no_defense",
    "record_exposure",
    "release_name",
    "scope",
    "secondary",
    "seeds",
    "settings",
    "severity",
    "shown_in_words",
    "state_icon",
    "state_name",
    "verdict_note",
]


ENOUGH_SEEDS = 3
_NAMED = 5


@dataclass(frozen=True)
class Number:
    """One of the numbers that carry the report, with what is needed to judge it."""

    title: str
    value: str
    interval: str
    n: str
    beside: str


@dataclass(frozen=True)
class Action:
    """Something that the reader can do, and what it was measured to change."""

    title: str
    effect: str


# --- words and marks -------------------------------------------------------------------------------------------------

_STATES = {
    VerdictState.LEAK_FOUND: ("Leak found", "▲"),
    VerdictState.NOTHING_FOUND: ("Nothing found", "○"),
    VerdictState.CANNOT_SAY: ("Cannot say", "?"),
}
_MARKS = {"pass": "✓\u00a0pass", "warn": "!\u00a0warn", "fail": "✗\u00a0fail", "skipped": "–\u00a0skipped"}
_RELEASES = {
    Access.WEIGHTS: "If the weights are released",
    Access.SCORES: "If an API returns scores",
    Access.LABELS: "If an API returns labels only",
}


def state_name(state: VerdictState) -> str:
    """The word of a verdict."""
    return _STATES[state][0]


def state_icon(state: VerdictState) -> str:
    """The sign that goes with the word, for readers who do not see the colour."""
    return _STATES[state][1]


def mark(status: str) -> str:
    """Sign and word of a check or control."""
    return _MARKS[status]


def release_name(access: Access) -> str:
    """A way of release as the heading of a tile."""
    return _RELEASES[access]


def verdict_note(verdict: Verdict) -> str:
    """What qualifies a verdict, in a few words."""
    notes = [f"inherited from {verdict.inherited_from}"] if verdict.inherited_from else []
    notes += ["by AUC only"] if verdict.auc_only else []
    return ", ".join(notes)


def severity(report: AuditReport) -> str:
    """The severity as a phrase."""
    if report.severity is not Severity.NONE:
        return (
            f"{report.severity}, by the {'documented table' if report.plan.default_policy else 'table of the policy'}"
        )
    return "not determined" if pick.state_at(report, report.plan.release) is VerdictState.CANNOT_SAY else "none"


def attack_name(report: AuditReport, attack: str) -> str:
    """An attack by its title, else by its id."""
    titles = {result.card.id: result.card.title for result in report.membership}
    return short(titles.get(attack, attack))


def settings(values: Mapping[str, str | int | float | bool]) -> str:
    """Settings in a line, sorted by name."""
    return ", ".join(f"{short(name)} = {clean(str(setting))}" for name, setting in sorted(values.items()))


def seeds(defense: DefenseResult) -> str:
    """How many times the defense was trained."""
    return "one seed" if defense.seeds == 1 else f"{count(defense.seeds)} seeds"


# --- page 1: three numbers -------------------------------------------------------------------------------------------


def carrying_numbers(report: AuditReport) -> tuple[Number, Number, Number]:
    """Membership, inversion and the best defense, each with the control beside it."""
    return _membership_number(report), _inversion_number(report), _defense_number(report)


def _membership_number(report: AuditReport) -> Number:
    shown = pick.headline(report)
    if shown is None:
        return Number("Membership", "not measured", "", "", "No membership attack ran under this release.")
    found, unit = shown.endpoint, metric_unit(shown.endpoint.metric)
    null = pick.control_value(report, shown)
    beside = [f"{clean(null[0].title)}: {_measured(null[1])}."] if null else []
    beside += [_doubt(control) for control in pick.doubtful_controls(report)]
    beside.append(f"Guessing: {_chance(found.metric, found.fpr)}.")
    return Number(
        title=f"Membership: {_scale(found.metric, found.fpr)}, by {short(shown.attack.card.title)}",
        value=value(found.estimate, unit),
        interval=f"{interval_name(found.estimate)} {interval(found.estimate, unit)}",
        n=counts(found.estimate.n),
        beside=" ".join(beside),
    )


def _inversion_number(report: AuditReport) -> Number:
    found = pick.best_inversion(report)
    if found is None:
        reasons = [clean(result.reason) for result in report.inversion if result.reason]
        why = "" if any(result.status == "completed" for result in report.inversion) else "".join(reasons[:1])
        return Number("Inversion", "not measured", "", "", why or "No inversion attack ran under this release.")
    excess, unit = found.measurement.estimate, unit_of(found.measurement)
    over = clean(found.measurement.against or "its control")
    return Number(
        title=f"Inversion: {found.question} excess ({_EXCESS_IS[found.question]}), by {short(found.result.card.title)}",
        value=value(excess, unit),
        interval=f"{interval_name(excess)} {interval(excess, unit)}",
        n=counts(excess.n),
        beside=f"Over {over}, which it exceeds least; no excess is 0. {_decided(found)}",
    )


_EXCESS_IS = {
    "record": "gain in squared error to members",
    "class": "gain in the probability of the class",
}


def _decided(found: pick.Excess) -> str:
    """What the test of an excess came to."""
    if found.p_adjusted is None:
        return "Too few classes for a verdict."
    return f"{'Found' if found.found else 'Not found'} after correction (p {p_value(found.p_adjusted)})."


def _defense_number(report: AuditReport) -> Number:
    found = defended.advised(report, report.plan.release)
    if found is None:
        return Number("Best defense", "none", "", "", no_defense(report, report.plan.release))
    left = found.strongest.adaptive
    cost = found.advice.accuracy_change
    accuracy = "" if cost is None else f" Accuracy: {phrase(cost, 'points')}, {counts(cost.n)}."
    return Number(
        title=f"Best defense: {short(found.defense.card.title)}, AUC of the strongest attack that knows of it",
        value=value(left),
        interval=f"{interval_name(left)} {interval(left)}",
        n=counts(left.n),
        beside=f"Undefended: {phrase(found.strongest.undefended)}.{accuracy}",
    )


def no_defense(report: AuditReport, release: Access) -> str:
    """Why there is nothing to take for a way of release."""
    advice = defended.advice_at(report, release)
    if advice is not None:
        return advice_told(advice)
    ran = any(defense.status == "completed" for defense in report.defenses)
    counting = f" that counts under release of {release}" if ran else ""
    return f"No defense{counting} was measured."


def advice_told(advice: DefenseAdvice) -> str:
    """A piece of advice, and with it what is not stopped."""
    return f"{clean(advice.sentence)} {clean(advice.not_stopped)}".strip()


def _doubt(control: ControlResult) -> str:
    """A control that did not pass, with its number: it belongs beside the number that it puts in doubt."""
    measured = f": {_measured(control.measurements[0])}" if control.measurements else ""
    return f"{clean(control.title)} ({control.status}){measured}."


def _measured(measurement: Measurement) -> str:
    return f"{clean(measurement.name)} {phrase(measurement.estimate, unit_of(measurement))}"


def _scale(metric: Metric, fpr: float | None) -> str:
    """An endpoint for a reader who has not met its name."""
    return "AUC" if metric is Metric.AUC else f"members recognised at {level(fpr or 0.0)} false flags"


def _reached(estimate: Estimate, metric: Metric, fpr: float | None) -> str:
    """What an attack reached, as it stands in a sentence."""
    if metric is Metric.AUC:
        return f"AUC {phrase(estimate)}"
    return f"{phrase(estimate, 'share')} of members at {level(fpr or 0.0)} false flags"


def _chance(metric: Metric, fpr: float | None) -> str:
    return "0.50" if metric is Metric.AUC else level(fpr or 0.0)


# --- page 1: what to do ----------------------------------------------------------------------------------------------


def actions(report: AuditReport) -> tuple[Action, ...]:
    """At most three things to do, each with its measured effect."""
    match pick.state_at(report, report.plan.release):
        case VerdictState.LEAK_FOUND:
            found = _lower_the_leak(report)
        case VerdictState.NOTHING_FOUND:
            found = [_keep_it(report)]
        case VerdictState.CANNOT_SAY:
            found = _settle_doubts(report)
    return tuple(found[:3])


def _lower_the_leak(report: AuditReport) -> list[Action]:
    verdict = pick.released_verdict(report)
    by_membership = verdict is not None and verdict.state is VerdictState.LEAK_FOUND
    found = _take_defense(report, report.plan.release) if by_membership else []
    found += [_release_less(report, access) for access in pick.lesser_releases(report)[:1]]
    if by_membership and not found:
        why = f"{no_defense(report, report.plan.release)}{_how_to_measure(report)}"
        found = [Action(f"Do not release the {report.plan.release} as they are", why)]
        found += _correct_the_recipe(report)
        lesser = [access for access in pick.RELEASES if access.rank < report.plan.release.rank]
        found += [action for access in lesser for action in _take_defense(report, access)]
    return found or [
        Action(
            "Do not release this file as it is",
            f"{no_defense(report, report.plan.release)} No lesser release came out without a leak.",
        )
    ]


def _how_to_measure(report: AuditReport) -> str:
    """What to run where nothing was measured that counts; empty where a piece of advice says why none is taken."""
    release = report.plan.release
    if defended.advice_at(report, release) is not None:
        return ""
    return f" To measure one: scan with --defenses; privaudit defenses lists those that count for {release}."


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
    name = short(found.defense.card.title)
    way = f"behind the defense {name}" if found.defense.card.acts_on == "output" else f"after retraining with {name}"
    what = (
        f"{release} only"
        if release is not report.plan.release
        else "the file"
        if release is Access.WEIGHTS
        else release
    )
    title = f"Release {what}, {way}"
    left = _left_over(found, release, report)
    if left or found.strongest.change.high >= 0:
        title = f"No measured defense was shown to close the leak; first to try: {title[0].lower()}{title[1:]}"
    told = (clean(found.advice.sentence), left, clean(found.advice.not_stopped))
    return [Action(title, " ".join(part for part in told if part))]


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
    then = "lies above {}: a leak remains." if above else "has an interval that reaches above {}."
    return f"{metric_name(metric, plan.tpr_fpr)} {then.format(f'its limit of {stated(limit, metric)}')}"


def _release_less(report: AuditReport, access: Access) -> Action:
    lesser, now = pick.primary_at(report, access), pick.headline(report)
    effect = " instead of ".join(shown_in_words(shown) for shown in (lesser, now) if shown)
    return Action(f"Release {access} only instead of {report.plan.release}", f"{effect}.")


def shown_in_words(shown: pick.Shown) -> str:
    """An endpoint of an attack in a phrase."""
    found = shown.endpoint
    card = shown.attack.card
    return f"{short(card.title)} ({card.access}) reaches {_reached(found.estimate, found.metric, found.fpr)}"


def _keep_it(report: AuditReport) -> Action:
    largest = pick.largest_bounds(report)
    bounds = [f"{metric_name(*end)} at most {scaled(bound, metric_unit(end[0]))}" for end, bound in largest.items()]
    effect = f"Simultaneous {level(1 - report.plan.family_wise_error)} bounds: {listing(bounds)}." if bounds else ""
    return Action(
        "Nothing measured here calls for a change; audit again when the weights, the data or the release change",
        f"{effect} {count(report.data.evaluated)} records a side were evaluated.".strip(),
    )


def _settle_doubts(report: AuditReport) -> list[Action]:
    found = [Action(f"Settle first: {title}", sentence) for title, sentence in doubts(report)]
    verdict = pick.released_verdict(report)
    if not found and verdict is not None:
        found = [Action("Settle first", clean(reason)) for reason in verdict.reasons]
    return found or [Action("Audit again", "The report holds no verdict for the declared release.")]


def doubts(report: AuditReport) -> tuple[tuple[str, str], ...]:
    """Controls and checks that failed, as title and sentence."""
    controls = [(clean(c.title), clean(c.sentence)) for c in report.controls if c.status == "fail"]
    checks = [(clean(c.title), clean(c.sentence)) for c in report.checks if c.level is CheckLevel.FAIL]
    return tuple(controls + checks)


# --- page 1: what this is not ----------------------------------------------------------------------------------------


def scope(report: AuditReport) -> str:
    """What the report is evidence of, and of nothing else."""
    ran = sum(isinstance(result.outcome, Completed) for result in report.membership)
    ran += sum(result.status == "completed" for result in report.inversion)
    return (
        f"This is evidence against the {count(ran)} attacks listed here, run on {date(report.created)} under the "
        "threat models stated with each. It says nothing about other attacks, other files or data not audited."
    )


def named(cards: Sequence[AttackCard]) -> str:
    """Attacks by title while they are few; the appendix names every one."""
    if len(cards) > _NAMED:
        return f"{count(len(cards))} attacks named in the report's appendix"
    return ", ".join(clean(card.title) for card in cards)


def best_of_all(report: AuditReport) -> str:
    """How far the primary attacks got and the best secondary one, with the limit of that statement."""
    primary = tuple(result for result in report.membership if result.role is Role.PRIMARY)
    shown = pick.best_endpoint(primary, report.plan.tpr_fpr)
    if shown is None:
        return "No primary membership attack ran; attacks not run may find a leak."
    found = shown.endpoint
    ran = sum(isinstance(result.outcome, Completed) for result in primary)
    reached = f"{_reached(found.estimate, found.metric, found.fpr)} ({counts(found.estimate.n)})"
    told = [f"The best of the {count(ran)} primary membership attacks reached {reached}."]
    if choice := report.secondary_choice:
        reported = choice.reported_value
        told.append(
            f"The best of {count(choice.chosen_from)} secondary ones reached "
            f"{_reached(reported, choice.metric, choice.fpr)} on the half it was not chosen on ({counts(reported.n)})."
        )
    return " ".join([*told, "Attacks not run may do better."])


# --- who is exposed --------------------------------------------------------------------------------------------------


def record_exposure(report: AuditReport) -> str:
    """How many single records stand out, and how far the list of them can be trusted."""
    found = report.record_exposure
    if found.flagged is None:
        return f"Single records were not named: {clean(found.reason)}."
    share, rate = phrase(found.flagged, "share"), level(found.false_discovery_rate)
    told = [f"The target treats {share} of the audited members as a model without them would not ({rate} false"]
    told.append(f"discoveries; {counts(found.flagged.n)}). Their opaque ids are in the JSON report.")
    if (both := found.stability) is not None:
        told.append(f"Two halves of the shadows agree on {phrase(both, 'share')} of the {counts(both.n)}.")
    if found.unstable:
        told.append("The list is unstable: below 32 shadows without each record it changes from run to run.")
    return " ".join(told)


# --- the evidence and the appendix ------------------------------------------------------------------------------------


def measured(measurement: Measurement) -> str:
    """A measurement with its interval, what it is held against, and n."""
    found = measurement.estimate
    over = f", against {clean(measurement.against)}" if measurement.against else ""
    return f"{clean(measurement.name)} {cell(found, unit_of(measurement))}{over}, {counts(found.n)}"


def needs(card: AttackCard) -> str:
    """What the attacker must hold."""
    return listing([clean(need) for need in card.needs]) or "the model's answers only"


def secondary(report: AuditReport) -> str:
    """The best secondary attack: where it was chosen, and what it reached where it was not."""
    choice = report.secondary_choice
    if choice is None:
        return "No secondary attack was chosen."
    unit = metric_unit(choice.metric)
    titles = {result.card.id: result.card.title for result in report.membership}
    title = short(titles.get(choice.attack_id, choice.attack_id))
    return (
        f"The best of {count(choice.chosen_from)} secondary attacks, {title}, was chosen on one half "
        f"of the records ({metric_name(choice.metric, choice.fpr)} {phrase(choice.selection_value, unit)}); on the "
        f"other half it reached {phrase(choice.reported_value, unit)}, {counts(choice.reported_value.n)}."
    )
