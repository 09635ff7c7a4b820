"""The battery before and after each defense, paired on the same records (rule 12 of docs/rules-of-evidence.md).

A defended model is attacked by somebody who does not know of the defense (static), and by somebody who refits
everything through it, shadows included (adaptive). Only the second speaks about what the defense buys. Beside an
output-time defense stands the audited model; beside a training-time one an undefended twin, retrained alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle

from auditor.battery.plan import Plan, why_not_planned
from auditor.comparison.advice import advise
from auditor.comparison.bench import Bench, Side
from auditor.comparison.costs import accuracy_change, costs_of, timed
from auditor.comparison.defended import defend, settle
from auditor.comparison.effects import effects_of, not_run_of, probes_of, static_of, strongest_of
from auditor.comparison.inversion import inversion_effects
from auditor.defense import Applied, Defense, UnfitDefenseError
from auditor.defenses import DEFENSES
from auditor.errors import WorkerKilledError, crash_report
from auditor.findings import DefenseResult, InversionEffect, Timing
from auditor.laboratory import Laboratory
from auditor.target import Target

__all__ = ["Bench", "advise", "compare_all", "not_planned"]

_VOID = (
    "Whoever holds the file can switch an output-time defense off: with released weights {title} buys nothing, and "
    "only training-time defenses count there."
)


def compare_all(bench: Bench) -> tuple[DefenseResult, ...]:
    """Every defense that the plan names, in the order of the table."""
    return tuple(_compare(one, bench) for one in DEFENSES if one.card.id in bench.plan.defenses)


def not_planned(plan: Plan) -> tuple[DefenseResult, ...]:
    """The defenses that the plan does without, each with the reason."""
    reasons = {one.card.id: why_not_planned(one.card.id, one.budget, plan.defenses, plan) for one in DEFENSES}
    return tuple(
        DefenseResult(card=one.card, status="skipped", reason=reasons[one.card.id])
        for one in DEFENSES
        if reasons[one.card.id]
    )


def _compare(defense: Defense, bench: Bench) -> DefenseResult:
    """Apply one defense and attack it; a crash is a result, not an end."""
    if reason := _why_not(defense, bench):
        return DefenseResult(card=defense.card, status="skipped", reason=reason)
    try:
        return _measured(defense, bench)
    except WorkerKilledError:
        raise
    except UnfitDefenseError as unfit:
        return DefenseResult(card=defense.card, status="skipped", reason=str(unfit))
    except Exception as error:  # noqa: BLE001 - whatever a defense raises, the rest of the report must still come
        return DefenseResult(card=defense.card, status="failed", reason=crash_report(error))


def _why_not(defense: Defense, bench: Bench) -> str:
    carried = bench.target.wrapper.kind if bench.target.wrapper is not None else None
    if bench.target.trained_with is not None:
        carried = bench.target.trained_with.defense
    if carried is not None:
        return f"the checkpoint carries {carried}; audit the undefended model to compare defenses"
    if defense.retrain is not None and bench.plan.given is not None:
        return "shadows have to be trained through it, and --shadows gives others"
    if defense.retrain is not None and bench.plan.recipe.head_only:
        return "trains the whole network, and the recipe trains the head alone"
    return ""


def _measured(defense: Defense, bench: Bench) -> DefenseResult:
    applied = Applied(defense, _settled(defense, bench))
    laboratory = replace(bench.laboratory, defense=applied)
    retrained = defense.retrain is not None
    before = bench.twin if retrained else bench.as_it_is
    defended, made = timed("fit it to the model", lambda: _defended(applied, laboratory, bench))
    after = bench.attacked(applied.key, laboratory, defended, before.shadows)
    static, plain, guarded = static_of(bench, before, after), before.behaviour, after.behaviour
    training = [one.laboratory.training_of(bench.design.twin) for one in (before, after)] if retrained else []
    timings = [*training, plain.asking, guarded.asking]
    return DefenseResult(
        card=defense.card,
        status="completed",
        baseline="twin" if retrained else "target",
        shadows=len(after.shadows),
        chosen=dict(applied.chosen),
        effects=tuple(effects_of(bench, before, after, static)),
        strongest=tuple(strongest_of(before, after)),
        not_run=tuple(not_run_of(before, after, static)),
        probes=tuple(probes_of(defense, after)),
        inversion=_inverted(defense, before, after),
        costs=costs_of(plain, guarded, same_weights=not retrained),
        accuracy_change=accuracy_change(plain, guarded, choosing=False),
        accuracy_change_at_choice=accuracy_change(plain, guarded, choosing=True),
        void_when_weights="" if retrained else _VOID.format(title=defense.card.title),
        timings=tuple(_named(timings)) if retrained else (made, *_named(timings)),
    )


def _named(timings: Sequence[Timing]) -> Iterator[Timing]:
    """Pairs of timings, undefended and defended."""
    for one, state in zip(timings, cycle(("undefended", "defended")), strict=False):
        yield one.model_copy(update={"phase": f"{one.phase}, {state}"})


def _settled(defense: Defense, bench: Bench) -> Mapping[str, float]:
    """What the defense has to tune, chosen once and kept in the run folder."""
    if defense.settle is None:
        return {}
    folder, name = bench.laboratory.folder, f"defenses/{defense.card.id}-{bench.target.fingerprint}.json"
    if (file := folder.path(name)).exists():
        return {str(key): float(value) for key, value in json.loads(file.read_text(encoding="utf-8")).items()}
    chosen = dict(settle(defense, bench.target, bench.design, bench.laboratory.recipe))
    folder.write_text(name, json.dumps(chosen))
    return chosen


def _defended(applied: Applied, laboratory: Laboratory, bench: Bench) -> Target:
    """As `defend` makes it; what is trained is trained by a worker, and kept."""
    if applied.defense.retrain is None:
        return defend(applied, bench.target, bench.design, laboratory.recipe)
    laboratory.train([bench.design.twin], task=applied.defense.card.title)
    return laboratory.load_defended(bench.design.twin)


def _inverted(defense: Defense, before: Side, after: Side) -> tuple[InversionEffect, ...]:
    plain, guarded = before.exhibit, after.exhibit
    if plain is None or guarded is None:
        return ()
    return inversion_effects(plain, guarded, after.plan.limits, defense.inverters)
