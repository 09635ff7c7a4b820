"""Audits of `calibration.py` at the level of signals: from what models answered to the verdict, and single attacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from calibration_rows import AUDIT_SEED, LIMITS, SEED, AuditRow, DoseRow, Rows, StrictRow, ZeroRow
from calibration_worlds import RECIPE, Design, World, simulate

from auditor.battery import MEMBERSHIP
from auditor.battery.plan import Plan, run_battery
from auditor.checks import run_checks
from auditor.compute import generator
from auditor.controls.blind import blind_control
from auditor.controls.nulls import owner_label_excess, owner_label_result
from auditor.controls.panel import Panel, run_controls
from auditor.controls.planted import Planted, planted_control
from auditor.findings import Check, Completed, ControlResult, Metric, Role, VerdictState, Void
from auditor.membership.evidence import Attack, Evidence, Oracle
from auditor.membership.measure import Jury, Scored, endpoint_p_values, strongest_primary
from auditor.queries import IDENTITY
from auditor.stats.auc import auc
from auditor.threat import Access
from auditor.verdict import AccessFacts, decide_membership, doubts_of

__all__ = ["always_excess", "doses", "leak_found", "run_audits", "zero_leak"]

Floats = npt.NDArray[np.float64]

_FEW = 4
_PRIMARY_OF_FEW = "rmia"
_PRIMARIES = ("gap", "lira-scores", "lira-weights")
_ENDPOINTS = 5  # gap: AUC; LiRA twice: AUC and TPR
_SLOW = "rapid"
_NOT_RUN = ControlResult(id="not run", title="", question="", status="skipped", sentence="")
_AS_IF_RECOVERED = Planted(_NOT_RUN, frozenset(Access))


def row_of(attack_id: str) -> Attack:
    """The battery's row of that id."""
    return next(one for one in MEMBERSHIP if one.card.id == attack_id)


# --- whole audits --------------------------------------------------------------------------------------------------


def run_audits(design: Design, audits: int, complete: int) -> Rows:
    """Audit fresh worlds of a design.

    Args:
        design: What is simulated.
        audits: How many.
        complete: In how many of them, from the first, the planted control and the instrument null run too. Without them
            a leak is found at least as often (only the instrument null can void it), and so is nothing.
    """
    return Rows(audits=tuple(_audit(design, index, complete=index < complete) for index in range(audits)))


def _audit(design: Design, index: int, *, complete: bool) -> AuditRow:
    world = simulate(design, generator(AUDIT_SEED, f"{design.name}, audit {index}"))
    scored = run_battery(_plan(design), world.evidence, world.jury, shows=Access.WEIGHTS)
    panel = (
        run_controls(scored, world.evidence, world.nulls, world.jury, world.features, LIMITS, index)
        if complete
        else _shortened(scored, world, index)
    )
    checks = run_checks(world.subject)
    facts = panel.facts(scored, world.evidence, world.jury, LIMITS)
    strongest = strongest_primary(scored)
    if strongest is None:
        raise RuntimeError(f"no primary attack ran in {design.name}")
    top = next(one for one in facts if one.access is strongest.attack.card.access)
    verdicts = decide_membership(facts, doubts_of(panel.results, checks), LIMITS)
    return AuditRow(
        design=design.name,
        single=next(one.p_value for one in top.endpoints if one.metric is Metric.AUC),
        rejected=any(one.rejected for one in facts),
        shift=top.shift,
        asked=any(one.shift or one.leans for one in facts),
        states={verdict.access.value: verdict.state.value for verdict in verdicts},
        top=top.access.value,
        against_nothing=tuple(_against_nothing(top, facts, [*panel.results, *checks])),
        complete=complete,
    )


def _plan(design: Design) -> Plan:
    return Plan(
        created=datetime(2026, 1, 1, tzinfo=UTC),
        privaudit="",
        model="",
        data="",
        design="",
        budget="quick",
        seed=0,
        cap=design.n,
        shadows=design.shadows,
        recipe=RECIPE,
        recipe_stated=True,
        queries=(IDENTITY,),
        attacks=(*_PRIMARIES, _PRIMARY_OF_FEW) if design.shadows <= _FEW else _PRIMARIES,
        defenses=(),
        limits=LIMITS,
        evaluated=design.n,
        others=0,
        calibration=0,
        reference=0,
        image_side=0,
        inverted_classes=0,
        public=0,
    )


def _shortened(scored: Sequence[Scored], world: World, seed: int) -> Panel:
    """The controls that decide whether a rejection counts; the planted leak is taken as recovered."""
    primaries = [one.attack for one in scored if one.role is Role.PRIMARY and one.scores is not None]
    blind = blind_control(world.features, world.jury, seed, LIMITS)
    excesses = tuple(
        owner_label_excess(attack, world.evidence, world.nulls, world.jury, LIMITS, seed) for attack in primaries
    )
    results = (blind.result, owner_label_result(excesses, world.jury))
    return Panel(blind, excesses, _NOT_RUN, _AS_IF_RECOVERED, results)


def _against_nothing(
    top: AccessFacts, facts: Sequence[AccessFacts], results: Sequence[ControlResult | Check]
) -> Iterator[str]:
    endpoints = [end for one in facts if top.access.includes(one.access) for end in one.endpoints]
    if any(end.rejected for end in endpoints):
        yield "a test rejects"
    if any((end.upper_bound or 0.0) >= (end.limit or 1.0) for end in endpoints):
        yield "upper bound"
    if not top.planted_recovered:
        yield "planted"
    yield from (one.id for one in results if Void.NOTHING_FOUND in one.voids and one.id != "planted")


def always_excess(design: Design, audits: int) -> Rows:
    """The same audits, were *leak found* to need a significant excess whatever the controls say."""
    hits = 0
    for index in range(audits):
        world = simulate(design, generator(AUDIT_SEED, f"{design.name}, audit {index}"))
        scored = run_battery(_plan(design), world.evidence, world.jury, shows=Access.WEIGHTS)
        rejecting = [one.attack for one in scored if isinstance(one.outcome, Completed) and _rejected(one.outcome)]
        hits += any(
            owner_label_excess(attack, world.evidence, world.nulls, world.jury, LIMITS, index).significant
            for attack in rejecting
        )
    return Rows(strict=(StrictRow(design=design.name, hits=hits, trials=audits),))


def _rejected(outcome: Completed) -> bool:
    return any(endpoint.rejected for endpoint in outcome.endpoints)


def leak_found(states: dict[str, str]) -> bool:
    """Whether any access ended in *leak found*."""
    return VerdictState.LEAK_FOUND.value in states.values()


# --- the planted control's promise ---------------------------------------------------------------------------------


def doses(n: int, shadows: Sequence[int], controls: int, audits: int) -> Rows:
    """What the planted control of leakless audits prints, beside what the same test finds in models that do leak.

    The control gives a pair of shadows away; so the audits of leaking models run at K, and at K less two.
    """
    attack = row_of("lira-weights")
    printed: dict[float, list[float]] = {}
    for index in range(controls):
        world = simulate(Design("planted control", n, max(shadows)), generator(SEED, f"planted control {index}"))
        planted = planted_control([attack], world.evidence, world.jury, LIMITS, tests=_ENDPOINTS, seed=index)
        for point in planted.result.doses:
            printed.setdefault(point.dose, []).append(point.detected.value)
    rows = []
    for dose, values in printed.items():
        for count in shadows:
            design = Design(f"leak of dose {dose:.4f}, K {count}", n, count, share=dose)
            hits = sum(_rejects(attack, design, index) for index in range(audits))
            rows.append(DoseRow(dose=dose, printed=tuple(values), shadows=count, hits=hits, trials=audits))
    return Rows(doses=tuple(rows))


def _rejects(attack: Attack, design: Design, index: int) -> bool:
    world = simulate(design, generator(SEED, f"{design.name}, audit {index}"))
    p_values = endpoint_p_values(attack, attack.score(world.evidence), world.jury, LIMITS)
    return min(p_values) <= LIMITS.family_wise_error / _ENDPOINTS


# --- a shadow in the target's place --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    attack: str
    value: float


def zero_leak(n: int, shadows: int, worlds: int, slow_worlds: int) -> Rows:
    """Every attack that reads signals, on a shadow in the target's place; half of the worlds have skewed noise.

    Args:
        n: Records a side.
        shadows: K, of which two leave the pool.
        worlds: How many worlds are simulated.
        slow_worlds: In how many of them RAPID runs too, which takes half a second.
    """
    found: dict[tuple[str, bool], list[float]] = {}
    for index in range(worlds):
        design = Design("zero leak", n, shadows, noise="skewed" if index % 2 else "normal")
        world = simulate(design, generator(SEED, f"zero leak, K {shadows}, world {index}"))
        for reading in _readings(world, slow=index < slow_worlds):
            found.setdefault((reading.attack, False), []).append(reading.value)
        for attack_id in ("lira-weights", _PRIMARY_OF_FEW):
            found.setdefault((attack_id, True), []).append(_with_twin(row_of(attack_id), world.evidence))
    return Rows(
        zero=tuple(
            ZeroRow(attack=attack, shadows=shadows, twin=twin, values=tuple(values))
            for (attack, twin), values in found.items()
        )
    )


def _readings(world: World, *, slow: bool) -> Iterator[_Reading]:
    evidence, membership = world.evidence.attacking_shadow(0), world.evidence.shadow_membership[0]
    jury = Jury.of(world.subject.audit_set.records, membership, world.jury.rng_seed)
    scores: list[Floats] = []
    for attack in MEMBERSHIP:
        runs = attack.probe is None and len(evidence.shadow_membership) >= attack.least_shadows
        if not runs or (attack.card.id == _SLOW and not slow):
            continue
        if not attack.combines:
            score = attack.score(evidence)
            if attack.card.access is not Access.WEIGHTS and attack.card.id != _SLOW:
                scores.append(score)
            yield _Reading(attack.card.id, auc(score, membership).value)
            continue
        half = jury.selection
        oracle = Oracle(np.array(scores), half, membership[half], queries=1)
        score = attack.score(replace(evidence, oracle=oracle))
        yield _Reading(attack.card.id, auc(score[~half], membership[~half]).value)


def _with_twin(attack: Attack, evidence: Evidence) -> float:
    """The AUC with the twin left in the pool, as a contrast."""
    pool = replace(
        evidence,
        target=evidence.shadows.model(0),
        shadows=evidence.shadows.without_models([0]),
        shadow_membership=evidence.shadow_membership[1:],
    )
    return auc(attack.score(pool), evidence.shadow_membership[0]).value
