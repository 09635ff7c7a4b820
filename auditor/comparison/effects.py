"""What a defense buys: primary attacks before and after it, the strongest attack of all, and its own probes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from auditor.comparison.bench import Bench, Side
from auditor.comparison.inversion import NOT_ASKED
from auditor.compute import generator
from auditor.defense import Defense, DefenseProbe, Inspected
from auditor.errors import WorkerKilledError, crash_report
from auditor.findings import (
    Completed,
    DefenseEffect,
    DefenseProbeResult,
    Endpoint,
    Failed,
    Metric,
    Role,
    Skipped,
    StrongestAttack,
)
from auditor.limits import Limits
from auditor.membership.measure import Jury, Scored, run_attack
from auditor.records import Records
from auditor.stats.auc import auc, auc_difference
from auditor.stats.estimate import Estimate
from auditor.stats.low_fpr import tpr_at_fpr_difference
from auditor.threat import Access

__all__ = ["effects_of", "not_run_of", "probes_of", "static_of", "strongest_of"]

Floats = npt.NDArray[np.float64]

_HELD_OUT = {"members": "held-out records", "non-members": "fresh records"}


def static_of(bench: Bench, before: Side, after: Side) -> Mapping[str, Scored]:
    """The primary attackers of the undefended model, asking the defended one once."""
    unknowing = before.evidence.attacking(after.once)
    return {
        one.card.id: run_attack(one, Role.PRIMARY, unknowing, after.jury, after.plan.limits)
        for one in bench.primaries
        if one.card.id in after.scored
    }


def not_run_of(before: Side, after: Side, static: Mapping[str, Scored]) -> Iterator[str]:
    """What did not run against a defended model, and why."""
    for told, scored in (("", after.scored), (", static", static)):
        for name, one in scored.items():
            if isinstance(one.outcome, Skipped):
                yield f"{name}{told}: {one.outcome.reason}"
            elif isinstance(one.outcome, Failed):
                yield f"{name}{told}: {one.outcome.error}"
    for told, side in ((", undefended", before), ("", after)):
        if side.exhibit is not None:
            reasons = side.exhibit.reasons.items()
            yield from (f"{name}{told}: {reason}" for name, reason in reasons if reason != NOT_ASKED)


def effects_of(bench: Bench, before: Side, after: Side, static: Mapping[str, Scored]) -> Iterator[DefenseEffect]:
    """Every endpoint of every primary attack: undefended, by who does not know of the defense, and by who does."""
    for attack in bench.primaries:
        if attack.card.access is Access.WEIGHTS and not after.retrained:
            continue
        undefended = before.scored.get(attack.card.id)
        if undefended is None or undefended.scores is None or not isinstance(undefended.outcome, Completed):
            continue
        told = after.scored.get(attack.card.id)
        blind, adaptive = _endpoints(static.get(attack.card.id)), _endpoints(told)
        for position, endpoint in enumerate(undefended.outcome.endpoints):
            change = None
            if told is not None and told.scores is not None and adaptive:
                change = _change(endpoint, told.scores, undefended.scores, bench.jury, bench.plan.limits)
            yield DefenseEffect(
                attack_id=attack.card.id,
                access=attack.card.access,
                metric=endpoint.metric,
                fpr=endpoint.fpr,
                undefended=endpoint.estimate,
                static=blind[position].estimate if blind else None,
                adaptive=adaptive[position].estimate if adaptive else None,
                change=change,
            )


def _endpoints(scored: Scored | None) -> tuple[Endpoint, ...]:
    return scored.outcome.endpoints if scored is not None and isinstance(scored.outcome, Completed) else ()


def _change(endpoint: Endpoint, after: Floats, before: Floats, jury: Jury, limits: Limits) -> Estimate:
    if endpoint.metric is Metric.AUC:
        return _auc_change(after, before, jury, limits)
    rng = generator(jury.rng_seed, "defense change")
    return tpr_at_fpr_difference(
        after, before, jury.membership, limits.fpr, rng, confidence=limits.confidence, groups=jury.groups
    )


def _auc_change(after: Floats, before: Floats, jury: Jury, limits: Limits) -> Estimate:
    found = auc_difference(after, before, jury.membership, confidence=limits.confidence, groups=jury.groups)
    return found.estimate


def _auc(scores: Floats, jury: Jury, limits: Limits) -> Estimate:
    return auc(scores, jury.membership, confidence=limits.confidence, groups=jury.groups)


# --- the strongest attack --------------------------------------------------------------------------------------------


def strongest_of(before: Side, after: Side) -> Iterator[StrongestAttack]:
    """For every access that counts, the best attack on either model: chosen on one half, told of the other."""
    limits, choosing = after.plan.limits, after.jury.selection
    chosen_on, told_on = after.jury.only(choosing), after.jury.only(~choosing)
    for access in Access:
        if access is Access.WEIGHTS and not after.retrained:
            continue
        same = after.scores_as_audited(access)
        ours, theirs = ({**side.scores(access), **same} for side in (after, before))
        if not ours or not theirs:
            continue
        best, best_before = (_best(scores, choosing, chosen_on, limits) for scores in (ours, theirs))
        yield StrongestAttack(
            access=access,
            attack_id=best,
            chosen_from=len(ours),
            chosen_at=_auc(ours[best][choosing], chosen_on, limits),
            adaptive=_auc(ours[best][~choosing], told_on, limits),
            undefended_attack_id=best_before,
            undefended_chosen_at=_auc(theirs[best_before][choosing], chosen_on, limits),
            undefended=_auc(theirs[best_before][~choosing], told_on, limits),
            change=_auc_change(ours[best][~choosing], theirs[best_before][~choosing], told_on, limits),
        )


def _best(scores: Mapping[str, Floats], choosing: npt.NDArray[np.bool_], jury: Jury, limits: Limits) -> str:
    return max(scores, key=lambda name: _auc(scores[name][choosing], jury, limits).value)


# --- probes ----------------------------------------------------------------------------------------------------------


def probes_of(defense: Defense, side: Side) -> Iterator[DefenseProbeResult]:
    """The attacks that exist only because of this defense; a crash of one is a result."""
    for probe in defense.probes:
        result = DefenseProbeResult(
            id=probe.id, title=probe.title, access=probe.access, asks=probe.asks, status="completed"
        )
        if probe.shadows > len(side.shadows):
            reason = f"needs {probe.shadows} shadows, and the plan has {len(side.shadows)}"
            yield result.model_copy(update={"status": "skipped", "reason": reason})
            continue
        try:
            measured = _of_members(probe, side) if probe.asks == "members" else _of_held_out(probe, side)
            yield result.model_copy(update={"auc": measured})
        except WorkerKilledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a probe raises, the rest of the report must still come
            yield result.model_copy(update={"status": "failed", "reason": crash_report(error)})


def _of_members(probe: DefenseProbe, side: Side) -> Estimate:
    """Audited members against non-members, by what defended shadows were trained on."""
    laboratory, shadows = side.laboratory, side.shadows[: probe.shadows]
    audit_set = laboratory.audit_set
    inspected = Inspected(
        target=side.target,
        records=audit_set.records,
        shadows=tuple(laboratory.load_defended(one) for one in shadows),
        inclusion=np.array([one.included for one in shadows], dtype=bool).reshape(len(shadows), audit_set.records.n),
        own=audit_set.calibration,
        seed=_seed(probe, side),
    )
    return _auc(_asked(probe, inspected), side.jury, side.plan.limits)


def _of_held_out(probe: DefenseProbe, side: Side) -> Estimate:
    """Records that the defense held out against fresh ones, by undefended shadows, which saw neither."""
    laboratory, shadows = replace(side.laboratory, defense=None), side.shadows[: probe.shadows]
    audit_set = laboratory.audit_set
    records = Records.concatenate([audit_set.reference, audit_set.calibration])
    inspected = Inspected(
        target=side.target,
        records=records,
        shadows=tuple(laboratory.load(one) for one in shadows),
        inclusion=np.zeros((len(shadows), records.n), dtype=bool),
        own=audit_set.records.take(~audit_set.membership),
        seed=_seed(probe, side),
    )
    held_out, confidence = np.arange(records.n) < audit_set.reference.n, side.plan.limits.confidence
    found = auc(_asked(probe, inspected), held_out, confidence=confidence, groups=records.groups)
    return replace(found, n={_HELD_OUT.get(unit, unit): count for unit, count in found.n.items()})


def _seed(probe: DefenseProbe, side: Side) -> int:
    return int(generator(side.plan.seed, f"defense probe {probe.id}").integers(2**31))


def _asked(probe: DefenseProbe, inspected: Inspected) -> Floats:
    scores = probe.score(inspected)
    if scores.shape != (inspected.records.n,) or not np.isfinite(scores).all():
        raise ValueError(f"the probe gave scores of shape {scores.shape}, or not all of them finite")
    return scores
