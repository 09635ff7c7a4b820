"""The tables of the defense study, in markdown: everything that was measured, and what it says of the claims."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from defenses_values import Results, Run, UnmeasuredError, accuracy, accuracy_change, auc_effect, effect_of
from defenses_verdict import QUESTIONS, SEEDS, WORLDS, Judgement, over_seeds, verdicts

from auditor.findings import CheckLevel, DefenseResult, InversionEffect, Metric
from auditor.stats.estimate import Estimate

__all__ = ["report"]

_ENDPOINTS = (
    ("gap", Metric.AUC, "gap attack, AUC"),
    ("lira-scores", Metric.AUC, "LiRA on scores, AUC"),
    ("lira-scores", Metric.TPR_AT_FPR, "LiRA on scores, TPR at 1 % FPR"),
    ("lira-weights", Metric.AUC, "LiRA on weights, AUC"),
)
_NONE = "–"


def report(results: Results) -> str:
    """Markdown of every table; a number is the mean over seeds with its 95 % interval, or of the one seed there is."""
    parts = ["## Judgements", _judgements(results), "Seed by seed:", _by_seed(results)]
    parts += ["## Asked beside, without a claim", _answers(results)]
    for world in WORLDS:
        if runs := results.of(world):
            parts += [f"## {world}", _models(runs), "### Membership", _membership(runs), _strongest(runs)]
            parts += ["Attacks that exist only because of the defense:", _probes(runs)]
            if any(run.images for run in runs):
                parts += ["### Inversion", _judges(runs), _inversion(runs)]
            parts += [
                "### Costs",
                _costs(runs),
                _took(runs),
                "### What did not run, and what to distrust",
                _doubts(runs),
            ]
    parts.append(f"{sum(run.cpu_seconds for run in results.runs) / 60:.0f} CPU minutes for {len(results.runs)} runs.")
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *(rows or [[_NONE] * len(head)])]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _told(found: Estimate, digits: int = 3, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{found.value:{sign}.{digits}f} ({found.low:{sign}.{digits}f} to {found.high:{sign}.{digits}f})"


def _over(values: Sequence[float], digits: int = 3, *, signed: bool = False) -> str:
    """The mean over seeds with its interval; how many seeds, where it is not all of them."""
    if not values:
        return _NONE
    if len(values) == 1:
        return f"{values[0]:{'+' if signed else ''}.{digits}f} (one seed)"
    fewer = "" if len(values) == len(SEEDS) else f", {len(values)} seeds"
    return f"{_told(over_seeds(values), digits, signed=signed)}{fewer}"


def _names(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(one.card.id for run in runs for one in run.defenses))


def _completed(runs: Sequence[Run], name: str) -> list[DefenseResult]:
    """What was measured of a defense, by seed."""
    return [one for run in runs for one in run.defenses if one.card.id == name and one.status == "completed"]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


# --- claims ----------------------------------------------------------------------------------------------------------


def _judgements(results: Results) -> str:
    """One row per line, one column per world; static and adaptive attackers are lines of their own."""
    found = verdicts(results)
    rows = []
    for line in dict.fromkeys(one.line for one in found):
        told = {one.world: one for one in found if one.line is line}
        cells = []
        for world in WORLDS:
            one = told.get(world)
            if one is None:
                cells.append("not asked")
            elif one.found is None:
                cells.append(f"{_bold(one.judgement)} ({one.reason})")
            else:
                cells.append(f"{_bold(one.judgement)}: {_told(one.found)}")
        rows.append((line.defense, line.claim, line.attacker, line.quantity, *cells))
    return _table(("defense", "claim", "attacker", "measured", *WORLDS), rows)


def _bold(judgement: Judgement) -> str:
    return f"**{judgement}**"


def _by_seed(results: Results) -> str:
    rows = [
        (
            one.line.defense,
            one.line.claim,
            one.line.attacker,
            one.world,
            ", ".join(f"{each:.3f}" for each in one.values),
        )
        for one in verdicts(results)
        if one.values
    ]
    return _table(("defense", "claim", "attacker", "world", f"seeds {', '.join(map(str, SEEDS))}"), rows)


def _answers(results: Results) -> str:
    rows = []
    for question in QUESTIONS:
        for world in WORLDS:
            one = question.answered(results, world)
            shown = _NONE if one.found is None else _told(one.found, signed=True)
            rows.append((question.defense, question.asked, world, shown, one.told))
    return _table(("defense", "change of", "world", "defended minus undefended", "direction"), rows)


# --- models ----------------------------------------------------------------------------------------------------------


def _models(runs: Sequence[Run]) -> str:
    """Accuracy of the audited model and of the undefended twin: on members by the gap attack's AUC, exactly."""
    rows = []
    for run in runs:
        for baseline in ("target", "twin"):
            completed = [one for one in run.defenses if one.status == "completed" and one.baseline == baseline]
            if completed:
                inside, outside = _accuracies(completed[0])
                name = {"target": "audited model", "twin": "undefended twin"}[baseline]
                rows.append((str(run.seed), name, f"{inside:.3f}", f"{outside:.3f}", f"{run.plan.recipe}"))
    return _table(("seed", "model", "members right", "non-members right", "recipe"), rows)


def _accuracies(result: DefenseResult) -> tuple[float, float]:
    """On members and on non-members: the gap attack's AUC is 1/2 plus half of their difference."""
    outside = accuracy(result, "undefended")
    return outside + 2 * (auc_effect(result, "gap", "adaptive")[0] - 0.5), outside


# --- membership ------------------------------------------------------------------------------------------------------


def _membership(runs: Sequence[Run]) -> str:
    rows = []
    for name in _names(runs):
        for attack, metric, told in _ENDPOINTS:
            if shown := _endpoint(runs, name, attack, metric):
                rows.append((name, told, *shown))
    return _table(("defense", "attack", "undefended", "static", "adaptive", "adaptive minus undefended"), rows)


def _endpoint(runs: Sequence[Run], name: str, attack: str, metric: Metric) -> tuple[str, ...] | None:
    """Nothing where no seed has it."""
    effects = []
    for one in _completed(runs, name):
        with suppress(UnmeasuredError):
            effects.append(effect_of(one, attack, metric))
    if not effects:
        return None
    return (
        _values([one.undefended for one in effects]),
        _values([one.static for one in effects]),
        _values([one.adaptive for one in effects]),
        _values([one.change for one in effects], signed=True),
    )


def _values(estimates: Sequence[Estimate | None], *, signed: bool = False) -> str:
    return _over([one.value for one in estimates if one is not None], signed=signed)


def _strongest(runs: Sequence[Run]) -> str:
    """By access; chosen on one half of the records and told of the other, in every seed anew."""
    rows = []
    for name in _names(runs):
        found = [each for one in _completed(runs, name) for each in one.strongest]
        for access in dict.fromkeys(one.access for one in found):
            at = [one for one in found if one.access is access]
            rows.append(
                (
                    name,
                    access.value,
                    ", ".join(each.undefended_attack_id for each in at),
                    _over([each.undefended.value for each in at]),
                    ", ".join(each.attack_id for each in at),
                    _over([each.adaptive.value for each in at]),
                    _over([each.change.value for each in at], signed=True),
                )
            )
    head = (
        "defense",
        "access",
        "strongest undefended, by seed",
        "its AUC",
        "strongest adaptive, by seed",
        "its AUC",
        "change",
    )
    return _table(head, rows)


def _probes(runs: Sequence[Run]) -> str:
    rows = []
    for name in _names(runs):
        found = [each for one in _completed(runs, name) for each in one.probes]
        for probe in dict.fromkeys(one.id for one in found):
            mine = [one for one in found if one.id == probe]
            reasons = "; ".join(dict.fromkeys(_last_line(one.reason) for one in mine if one.reason))
            aucs = _over([one.auc.value for one in mine if one.auc is not None])
            rows.append((name, mine[0].title, mine[0].access.value, aucs, reasons))
    return _table(("defense", "probe", "access", "AUC", "did not run"), rows)


# --- inversion -------------------------------------------------------------------------------------------------------


def _judges(runs: Sequence[Run]) -> str:
    rows = [(str(run.seed), one.name, _told(one.estimate, 2)) for run in runs for one in run.evaluators]
    return _table(("seed", "evaluation network", "its held-out accuracy (95 % over records)"), rows)


def _inversion(runs: Sequence[Run]) -> str:
    rows = []
    for name in _names(runs):
        found = [each for one in _completed(runs, name) for each in one.inversion]
        for attack, measure in dict.fromkeys((_attacker(one), one.measure) for one in found):
            mine = [one for one in found if (_attacker(one), one.measure) == (attack, measure)]
            before, after = (
                _over([getattr(one, state).value for one in mine], 4) for state in ("undefended", "defended")
            )
            change = _over([one.change.value for one in mine], 4, signed=True)
            rows.append((name, attack, measure, before, after, change))
    return _table(("defense", "attack", "measure", "undefended", "defended", "change"), rows)


def _attacker(effect: InversionEffect) -> str:
    """Whom a row is about; which of several was the strongest differs between seeds."""
    if effect.chosen_from:
        return f"the strongest of {effect.chosen_from}, on classes on which it was not chosen"
    return effect.attack_id


# --- costs -----------------------------------------------------------------------------------------------------------


def _costs(runs: Sequence[Run]) -> str:
    rows = []
    for name in _names(runs):
        found = _completed(runs, name)
        lost = [accuracy_change(one) for one in found]
        rows.append((name, "Accuracy on non-members, defended minus undefended", _over(lost, 4, signed=True)))
        costs = [each for one in found for each in one.costs]
        rows += [
            (name, cost, _over([one.estimate.value for one in costs if one.name == cost]))
            for cost in dict.fromkeys(one.name for one in costs)
        ]
        chosen = [", ".join(f"{key} {value:g}" for key, value in one.chosen.items()) for one in found if one.chosen]
        rows += [(name, "Chosen, by seed", "; ".join(chosen))] if chosen else []
    return _table(("defense", "cost", "over seeds"), rows)


def _took(runs: Sequence[Run]) -> str:
    """Wall time: what workers do is no CPU time of the process that waits for them. Other work shared the machine."""
    rows = []
    for name in _names(runs):
        found = [each for one in _completed(runs, name) for each in one.timings]
        for phase in dict.fromkeys(one.phase for one in found):
            took = ", ".join(f"{one.wall_seconds:.2f}" for one in found if one.phase == phase)
            rows.append((name, phase, took))
    return _table(("defense", "phase", "wall seconds, by seed"), rows)


def _doubts(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        for one in run.defenses:
            if one.status != "completed":
                rows.append((str(run.seed), one.card.id, f"{one.status}: {_last_line(one.reason)}"))
            rows += [(str(run.seed), one.card.id, _last_line(told)) for told in one.not_run]
        rows += [
            (str(run.seed), check.title, f"{check.level.value}: {check.sentence}")
            for check in run.checks
            if check.level is not CheckLevel.PASS
        ]
    return _table(("seed", "what", "why"), rows)
