"""One block for each defense: its result, its own probes, what it does to inversion, its costs, and what it is."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.findings import (
    AuditReport,
    DefenseEffect,
    DefenseProbeResult,
    DefenseResult,
    InversionEffect,
    Measurement,
    StrongestAttack,
)
from auditor.report import defended, wording
from auditor.report.defended import Placed
from auditor.report.text import (
    cell,
    clean,
    count,
    counts,
    interval_name,
    link,
    listing,
    metric_name,
    metric_unit,
    phrase,
    seconds,
    short,
    unit_of,
)
from auditor.report.view import Block, Facts, Method, Row, Table
from auditor.stats.estimate import Estimate

__all__ = ["block"]

_CHANCE = 0.5


def block(report: AuditReport, one: Placed, number: int | None) -> Block:
    """What is known of one defense, measured or not; `number` is that of its point."""
    defense, card = one.defense, one.defense.card
    citation, url = (clean(card.paper.citation), link(card.paper.url)) if card.paper else ("", "")
    title = f"{count(number)} {clean(card.title)}" if number else clean(card.title)
    method = Method(title, short(card.id), citation, url, tuple(_facts(report, defense)))
    return Block(method, _in_short(report, defense), _effects(report, defense), part=one.part)


def _in_short(report: AuditReport, defense: DefenseResult) -> str:
    shown = defended.shown_at(defense, report.plan.release)
    if defense.status != "completed" or shown is None:
        return defense.status if defense.status != "completed" else "nothing to compare"
    return f"AUC {cell(shown.adaptive)} instead of {cell(shown.undefended)}, where {shown.access} are released"


def _facts(report: AuditReport, defense: DefenseResult) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """Name and text of everything there is to say."""
    card = defense.card
    titles = {one.card.id: clean(one.card.title) for one in report.defenses}
    reason = f"{defense.status}: {clean(defense.reason)}" if defense.status != "completed" else ""
    facts: Facts = (
        ("Result", reason or tuple(_leaks(report, defense))),
        ("Own probes", tuple(_probe(one) for one in defense.probes)),
        ("Inversion", tuple(_inverted(one) for one in defense.inversion)),
        ("Accuracy", _accuracy(defense.accuracy_change)),
        ("Costs", tuple(_costs(defense.costs))),
        ("Time", "; ".join(f"{clean(one.phase)}: {seconds(one.wall_seconds)}" for one in defense.timings)),
        ("Chosen", _chosen(defense)),
        ("Did not run", tuple(clean(one) for one in defense.not_run)),
        ("Measured", _measured(defense) if defense.status == "completed" else ""),
        ("If weights are released", clean(defense.void_when_weights)),
        ("Part of", titles.get(card.part_of, clean(card.part_of))),
        ("Acts on", f"the {card.acts_on}; counts for release of {listing([str(one) for one in card.counts_for])}"),
        ("Fidelity", wording.fidelity(card)),
        ("Its paper", clean(card.claims)),
        ("Settings", wording.settings(card.settings)),
    )
    return ((name, told) for name, told in facts if told)


def _leaks(report: AuditReport, defense: DefenseResult) -> Iterator[str]:
    """What the file that came out leaks for each way of release, most open first."""
    one = defense.seeds < wording.ENOUGH_SEEDS
    who = "This defended file" if one else f"Over {count(defense.seeds)} seeds the defended model"
    for strongest in sorted(defense.strongest, key=lambda each: -each.access.rank):
        leaks = "leaks" if strongest.adaptive.low > _CHANCE else "shows no more than guessing may give"
        yield (
            f"{who} {leaks} where {strongest.access} are released: AUC {cell(strongest.adaptive)} by "
            f"{wording.attack_name(report, strongest.attack_id)}, {_of_how_many(strongest)}, "
            f"instead of {cell(strongest.undefended)} by "
            f"{wording.attack_name(report, strongest.undefended_attack_id)}; change {cell(strongest.change)}"
        )
    if defense.strongest:
        first = defense.strongest[0].adaptive
        yield f"Each on the half on which nothing was chosen ({counts(first.n)}), with its {interval_name(first)}"


def _of_how_many(found: StrongestAttack) -> str:
    if found.chosen_from == 1:
        return "the only attack that could be refitted there"
    return f"the strongest of {count(found.chosen_from)} that were refitted"


def _probe(probe: DefenseProbeResult) -> str:
    title = f"{clean(probe.title)} ({probe.access})"
    if probe.status != "completed" or probe.auc is None:
        return f"{title}: {probe.status}, {clean(probe.reason)}"
    if probe.asks == "held out":
        return _held_out(probe, probe.auc)
    return f"{title}: AUC {cell(probe.auc)}, {counts(probe.auc.n)}"


def _held_out(probe: DefenseProbeResult, auc: Estimate) -> str:
    """In a sentence: they are no members, so the number is not one to hold beside those of members."""
    if auc.low > _CHANCE:
        told = "are recognised among fresh ones"
    elif auc.high < _CHANCE:
        told = "stand out from fresh ones, the model being less sure of them"
    else:
        told = "were not seen to be recognised among fresh ones"
    return f"The records that it held out while it trained {told} ({probe.access}): AUC {cell(auc)}, {counts(auc.n)}"


def _inverted(one: InversionEffect) -> str:
    by = clean(one.title) or short(one.attack_id)
    if one.chosen_from:
        by = f"the strongest of {count(one.chosen_from)}, chosen on the other half of the classes: {by}"
    return (
        f"{clean(one.measure)}, by {by} ({one.access}): {cell(one.defended)} instead of "
        f"{cell(one.undefended)}, change {cell(one.change)}; {one.better} is better; {counts(one.change.n)}"
    )


def _accuracy(change: Estimate | None) -> str:
    return "" if change is None else f"changes by {phrase(change, 'points')}, paired, {counts(change.n)}"


def _costs(costs: tuple[Measurement, ...]) -> Iterator[str]:
    """Costs in a line each; what was measured with and without the defense in one line."""
    before = {cost.name: cost for cost in costs}
    for cost in costs:
        stem, _, state = cost.name.rpartition(", ")
        other = before.get(f"{stem}, undefended")
        if state == "undefended" and f"{stem}, defended" in before:
            continue
        if state == "defended" and other is not None:
            unit = unit_of(cost)
            told = f"{cell(cost.estimate, unit)} instead of {cell(other.estimate, unit_of(other))}"
            yield f"{clean(stem)}: {told}, {counts(cost.estimate.n)}"
        else:
            yield wording.measured(cost)


def _chosen(defense: DefenseResult) -> str:
    chosen = wording.settings(dict(defense.chosen))
    return f"{chosen}, before anything was measured" if chosen else ""


def _measured(defense: DefenseResult) -> str:
    beside = "the audited model" if defense.baseline == "target" else "its retrained twin"
    return f"beside {beside}, with {count(defense.shadows)} shadows each, {wording.seeds(defense)}"


def _effects(report: AuditReport, defense: DefenseResult) -> Table:
    """Every declared attack before and after."""
    head = ("Declared attack", "Undefended", "Static", "Adaptive", "Change (points, or AUC)")
    rows = tuple(_effect_row(report, effect) for effect in defense.effects)
    sizes = dict.fromkeys(counts(effect.undefended.n) for effect in defense.effects)
    caption = f"Declared attacks on {short(defense.card.title)} ({'; '.join(sizes)})"
    return Table(caption, head, rows, frozenset({1, 2, 3, 4}), widths=(30, 16, 16, 16, 22))


def _effect_row(report: AuditReport, effect: DefenseEffect) -> Row:
    unit = metric_unit(effect.metric)
    endpoint = metric_name(effect.metric, effect.fpr)
    label = f"{wording.attack_name(report, effect.attack_id)} ({effect.access}), {endpoint}"
    ends = (_maybe(end, unit) for end in (effect.undefended, effect.static, effect.adaptive))
    change = _maybe(effect.change, "points" if unit else "").replace("\u00a0points", "")
    return Row((label, *ends, change))


def _maybe(estimate: Estimate | None, unit: str) -> str:
    return "–" if estimate is None else cell(estimate, unit)
