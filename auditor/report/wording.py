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
    Completed,
    ControlResult,
    DefenseAdvice,
    DefenseCard,
    DefenseResult,
    Measurement,
    Metric,
    Role,
    SecondaryChoice,
    Severity,
    Verdict,
    VerdictState,
)
from auditor.limits import Limits
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
    "advice_told",
    "attack_name",
    "best_of_all",
    "beyond",
    "carried_defense",
    "carrying_numbers",
    "fidelity",
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
_FURTHER = 2
_CHANCE = 0.5


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
    """Something that the reader can do, what it was measured to change, and the command where there is one."""

    title: str
    effect: str
    command: str = ""


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
    """The severity as a phrase, with what it is the severity of."""
    if report.severity is not Severity.NONE:
        return f"{report.severity}: {_reached_row(report)}"
    verdict = pick.released_verdict(report)
    if verdict is None or verdict.state is VerdictState.CANNOT_SAY:
        return "not determined: membership is not answered"
    return "none: no membership leak was found"


def _reached_row(report: AuditReport) -> str:
    """Up to which row of the table the interval of the leak reaches."""
    whose = "" if report.plan.default_policy else ", by the table of the policy"
    rows = dict(report.plan.severity.rows)
    lies = "lies" if report.severity.value in rows else "does not lie"
    row = rows.get(report.severity.value, report.plan.severity.moderate)
    reached = f"AUC {stated(row.auc, Metric.AUC)} or TPR {level(row.tpr)} at {level(Limits.fpr)} FPR"
    return f"the interval of the membership leak {lies} above {reached}{whose}"


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
    beside = [f"Attack: {short(shown.attack.card.title)}. Guessing: {_chance(found.metric, found.fpr)}."]
    beside += _null_beside(report, shown)
    beside += [_doubt(control) for control in pick.doubtful_controls(report)]
    return Number(
        title=f"Membership: {_scale(found.metric, found.fpr)}",
        value=value(found.estimate, unit),
        interval=f"{interval_name(found.estimate)} {interval(found.estimate, unit)}",
        n=counts(found.estimate.n),
        beside=" ".join(beside),
    )


def _null_beside(report: AuditReport, shown: pick.Shown) -> list[str]:
    """The owner-label null; and where that is an AUC and the headline is not, the AUC of the headline's attack."""
    found = pick.control_value(report, shown)
    if found is None:
        return []
    told = f"Control: {_measured(found[1])}."
    auc = pick.endpoint(shown.attack.outcome, Metric.AUC, 0.0)
    if auc is None or shown.endpoint.metric is Metric.AUC or not found[1].name.startswith("AUC"):
        return [told]
    return [f"Its AUC: {phrase(auc.estimate)}.", told]


def _inversion_number(report: AuditReport) -> Number:
    found, verdict = pick.best_inversion(report), pick.released_inversion(report)
    if found is None:
        reasons = [clean(result.reason) for result in report.inversion if result.reason]
        why = "" if any(result.status == "completed" for result in report.inversion) else "".join(reasons[:1])
        return Number("Inversion", "not measured", "", "", why or "No inversion attack ran under this release.")
    if verdict is not None and verdict.state is VerdictState.CANNOT_SAY:
        return Number("Inversion", state_name(verdict.state), "", "", f"{clean(verdict.sentence)} {_undecided(found)}")
    excess, unit = found.measurement.estimate, unit_of(found.measurement)
    return Number(
        title=f"Inversion: {found.question} excess, {_EXCESS_IS[found.question]}",
        value=value(excess, unit),
        interval=f"{interval_name(excess)} {interval(excess, unit)}",
        n=counts(excess.n),
        beside=f"Attack: {short(found.result.card.title)}. {_over(found)} {_decided(found)}",
    )


_EXCESS_IS = {
    "record": "gain in squared error to members",
    "class": "gain in the probability of the class",
}


def _over(found: pick.Excess) -> str:
    over = clean(found.measurement.against or "its control")
    return f"Over {over}, the control that it exceeds least; no excess is 0."


def _undecided(found: pick.Excess) -> str:
    """The number that decides nothing, named; left to its section where too few classes give it no test."""
    if found.p_adjusted is None:
        return "What was measured stands in the section on inversion."
    excess = found.measurement.estimate
    return (
        f"Most was shown by {short(found.result.card.title)}: {found.question} excess "
        f"{phrase(excess, unit_of(found.measurement))}, {counts(excess.n)}, {_EXCESS_IS[found.question]}. "
        f"{_over(found)} {_decided(found)}"
    )


def _decided(found: pick.Excess) -> str:
    """What the test of an excess came to."""
    if found.p_adjusted is None:
        return "Too few classes for a verdict."
    return f"{'Found' if found.found else 'Not found'} after correction (p {p_value(found.p_adjusted)})."


def _defense_number(report: AuditReport) -> Number:
    release = report.plan.release
    found, title = defended.advised(report, release), f"Best defense for {release}"
    if found is None:
        measured = defended.advice_at(report, release) is not None
        leaks = pick.state_at(report, release) is VerdictState.LEAK_FOUND
        beside = " ".join((no_defense(report, release), *(_best_below(report) if leaks else ())))
        return Number(title, "none" if measured else "none measured", "", "", beside)
    left, of_how_many = found.strongest.adaptive, defended.of_how_many(found.defense.card, found.strongest)
    cost = found.advice.accuracy_change
    told = [f"{_undefended(found)}: {phrase(found.strongest.undefended)}."]
    told += [] if cost is None else [f"Accuracy: {phrase(cost, 'points')}, {counts(cost.n)}."]
    return Number(
        title=f"{title}: {short(found.defense.card.title)}, AUC of {of_how_many}",
        value=value(left),
        interval=f"{interval_name(left)} {interval(left)}",
        n=counts(left.n),
        beside=" ".join((*told, *_by_its_own(found), *beyond(report, found))),
    )


def _undefended(found: defended.Advised) -> str:
    """What stands beside a defense."""
    if found.defense.baseline == "target":
        return "Undefended"
    return f"Undefended twin ({count(found.defense.shadows)} shadows each)"


def _by_its_own(found: defended.Advised) -> list[str]:
    """What is reached by an attack made for the defense, where that is more."""
    probe = defended.stronger_probe(found.defense, found.strongest)
    if probe is None or probe.auc is None:
        return []
    return [f"More by an attack made for it, {clean(probe.title)}: AUC {phrase(probe.auc)}, {counts(probe.auc.n)}."]


def beyond(report: AuditReport, found: defended.Advised) -> list[str]:
    """What the report's attacks on labels reach where labels alone would be released, if that is more."""
    told = [
        f"{short(card.title)}, AUC {phrase(auc)}, {counts(auc.n)}"
        for card, auc in defended.label_attacks(report, found)[:_FURTHER]
    ]
    return [f"Attacks on labels in this report reach further: {'; '.join(told)}."] if told else []


def _best_below(report: AuditReport) -> list[str]:
    """The best defense for a release that shows less, in a clause: what to do tells the rest."""
    below = [access for access in pick.RELEASES if access.rank < report.plan.release.rank]
    found = [(access, one) for access in below if (one := defended.advised(report, access))]
    return [
        f"For {access}: {short(one.defense.card.title)}, AUC {phrase(one.strongest.adaptive)}, "
        f"{counts(one.strongest.adaptive.n)}.{' '.join(('', *_by_its_own(one)))}"
        for access, one in found
    ]


def no_defense(report: AuditReport, release: Access) -> str:
    """Why there is nothing to take for a way of release."""
    advice = defended.advice_at(report, release)
    if advice is not None:
        return advice_told(advice)
    if carried := carried_defense(report):
        return f"The checkpoint carries {carried} already: audit the undefended model to compare defenses."
    ran = any(defense.status == "completed" for defense in report.defenses)
    counting = f" that counts under release of {release}" if ran else ""
    return f"No defense{counting} was measured."


def carried_defense(report: AuditReport) -> str:
    """The defense that the checkpoint was saved with, by its title where the report has one; empty where none."""
    name = report.model.trained_with or report.model.wrapper or ""
    titles = {one.card.id: one.card.title for one in (*report.defenses, *report.defenses_not_planned)}
    return short(titles.get(name, name))


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


def shown_in_words(shown: pick.Shown) -> str:
    """An endpoint of an attack in a phrase."""
    found = shown.endpoint
    return f"{_by(shown)} reaches {_reached(found.estimate, found.metric, found.fpr)}"


def _by(shown: pick.Shown) -> str:
    return f"{short(shown.attack.card.title)} ({shown.attack.card.access})"


# --- page 1: what this is not ----------------------------------------------------------------------------------------


def scope(report: AuditReport) -> str:
    """What the report is evidence of, and of nothing else."""
    ran = sum(isinstance(result.outcome, Completed) for result in report.membership)
    ran += sum(result.status == "completed" for result in report.inversion)
    return (
        f"This is evidence against the {_many(ran, 'attack')} listed here, run on {date(report.created)} under the "
        "threat models stated with each. It says nothing about other attacks, other files or data not audited."
    )


def _many(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{count(number)} {what}s"


def named(cards: Sequence[AttackCard]) -> str:
    """Attacks by title while they are few; the appendix names every one."""
    if len(cards) > _NAMED:
        return f"{count(len(cards))} attacks named in the report's appendix"
    return ", ".join(clean(card.title) for card in cards)


def best_of_all(report: AuditReport) -> str:
    """How far the primary attacks got that the release allows, and the best secondary one, and what that decides."""
    release = report.plan.release
    primary = tuple(r for r in report.membership if r.role is Role.PRIMARY and release.includes(r.card.access))
    shown = pick.best_primary(report)
    if shown is None:
        return f"No primary membership attack ran under release of {release}; attacks not run may find a leak."
    found = shown.endpoint
    ran = sum(isinstance(result.outcome, Completed) for result in primary)
    reached = f"{_reached(found.estimate, found.metric, found.fpr)} ({counts(found.estimate.n)})"
    best = "the one" if ran == 1 else f"the best of {count(ran)}"
    best = f"{best} primary membership attack{'' if ran == 1 else 's'}, {_by(shown)}"
    told = [f"Under release of {release} {best}, reached {reached}."]
    if choice := report.secondary_at(report.plan.release):
        told.append(_best_secondary(report, choice))
    return " ".join([*told, "Attacks not run may do better."])


def _best_secondary(report: AuditReport, choice: SecondaryChoice) -> str:
    cards = {result.card.id: result.card for result in report.membership}
    card, reported = cards.get(choice.attack_id), choice.reported_value
    who = short(choice.attack_id) if card is None else f"{short(card.title)} ({card.access})"
    chance = _CHANCE if choice.metric is Metric.AUC else choice.fpr or 0.0
    verdict = pick.released_verdict(report)
    decides = verdict is not None and verdict.state is VerdictState.LEAK_FOUND
    above = "" if decides or reported.low <= chance else "; above chance, but not corrected: it decides nothing"
    return (
        f"The best of {count(choice.chosen_from)} secondary ones, {who}, reached "
        f"{_reached(reported, choice.metric, choice.fpr)} on the half it was not chosen on "
        f"({counts(reported.n)}{above})."
    )


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


def fidelity(card: AttackCard | DefenseCard) -> str:
    """How far back an implementation goes, and what it does otherwise than that."""
    changed = clean(card.changed)
    return f"{card.fidelity}; changed: {changed}" if changed else str(card.fidelity)


def secondary(report: AuditReport) -> str:
    """The best secondary attack: where it was chosen, and what it reached where it was not."""
    choice = report.secondary_at(report.plan.release)
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
