"""Runs a membership attack on what models answered, and measures the scores that it returns.

An attack returns one score per audit record and never measures itself. Primary attacks are measured on all audit
records, secondary ones on the reporting half (rule 2 of docs/rules-of-evidence.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter, process_time

import numpy as np
import numpy.typing as npt

from auditor.compute import generator
from auditor.errors import crash_report
from auditor.findings import (
    AttackResult,
    ClassExposure,
    Completed,
    Endpoint,
    Failed,
    Histogram,
    Metric,
    RocCurve,
    Role,
    SecondaryChoice,
    Skipped,
)
from auditor.laboratory import Answers
from auditor.limits import Limits
from auditor.membership.evidence import Attack, Evidence, Oracle, Probed, Unavailable
from auditor.splits import Records
from auditor.stats.auc import auc, auc_p_value, auc_upper_bound
from auditor.stats.estimate import Estimate
from auditor.stats.halves import selection_half
from auditor.stats.low_fpr import (
    Standing,
    standing,
    tpr_at_fpr,
    tpr_at_fpr_p_value,
    tpr_at_fpr_upper_bound,
)
from auditor.stats.multiplicity import holm
from auditor.stats.roc import roc_band, roc_curve, thin_roc
from auditor.threat import Access

__all__ = [
    "Jury",
    "Scored",
    "choose_secondary",
    "class_exposure",
    "correct_primaries",
    "declared_tests",
    "endpoint_p_values",
    "measure",
    "oracle_of",
    "plain_curve",
    "primary_p_values",
    "run_attack",
    "signal_histogram",
    "strongest_primary",
]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_LEAST_PER_CLASS = 20
_BINS = 40


@dataclass(frozen=True)
class Jury:
    """Who is evaluated: membership, classes and groups of the audit records, and the half on which choices are made."""

    membership: Flags
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64] | None
    selection: Flags
    rng_seed: int

    @classmethod
    def of(cls, records: Records, membership: Flags, seed: int) -> Jury:
        """Everybody who is evaluated, with the halves for choosing and reporting drawn from the audit's seed."""
        rng = generator(seed, "halves")
        selection = selection_half(membership, records.labels, rng, groups=records.groups)
        return cls(membership, records.labels, records.groups, selection, seed)

    @property
    def non_members(self) -> int:
        """How many non-members are judged."""
        return int((~self.membership).sum())

    def only(self, chosen: Flags) -> Jury:
        """Some of the records, by a mask [record]."""
        return Jury(
            membership=self.membership[chosen],
            labels=self.labels[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            selection=self.selection[chosen],
            rng_seed=self.rng_seed,
        )


@dataclass(frozen=True)
class Scored:
    """An attack with the scores it gave to all audit records; None where it did not run, NaN where it did not ask.

    The seconds are those of scoring and measuring. It is `declared` where the plan had it run, whatever became of it.
    """

    attack: Attack
    role: Role
    scores: Floats | None
    outcome: Completed | Skipped | Failed
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    declared: bool = False

    @property
    def result(self) -> AttackResult:
        """What goes into the report."""
        return AttackResult(card=self.attack.card, role=self.role, outcome=self.outcome)


def run_attack(attack: Attack, role: Role, evidence: Evidence, jury: Jury, limits: Limits) -> Scored:
    """Run one attack and measure it; a crash of the attack is an outcome, not an end."""
    wall, cpu = perf_counter(), process_time()
    scored = _run(attack, role, evidence, jury, limits)
    return replace(scored, wall_seconds=perf_counter() - wall, cpu_seconds=process_time() - cpu, declared=True)


def _run(attack: Attack, role: Role, evidence: Evidence, jury: Jury, limits: Limits) -> Scored:
    if len(evidence.shadow_membership) < attack.least_shadows:
        reason = f"needs {attack.least_shadows} shadows, and the plan has {len(evidence.shadow_membership)}"
        return Scored(attack, role, None, Skipped(reason=reason))
    try:
        scores = attack.score(evidence)
        seen, where = _reported(jury, role, scores)
        outcome = measure(
            attack, scores[seen], jury.only(seen), limits, where=where, queries=_queries(attack, evidence)
        )
        return Scored(attack, role, scores, outcome)
    except Unavailable as missing:
        return Scored(attack, role, None, Skipped(reason=str(missing)))
    except Exception as error:  # noqa: BLE001 - whatever a method raises, the rest of the report must still come
        return Scored(attack, role, None, Failed(error=crash_report(error)))


def _queries(attack: Attack, evidence: Evidence) -> int:
    """How often the target was asked about a record: as counted, else as the row says, else once per query."""
    probed = evidence.probes.get(attack.probe or "")
    counted = probed.queries if isinstance(probed, Probed) else None
    if attack.combines and evidence.oracle is not None:
        counted = evidence.oracle.queries
    return counted or attack.queries or evidence.target.audit.correct.shape[1]


def _reported(jury: Jury, role: Role, scores: Floats) -> tuple[Flags, str]:
    asked = ~np.isnan(scores)
    judged = np.ones_like(asked) if role is Role.PRIMARY else ~jury.selection
    where = "all audit records" if role is Role.PRIMARY else "the reporting half"
    sampled = "" if asked[judged].all() else f" of a sample of {int(asked.sum()):,} records"
    return asked & judged, where + sampled


def oracle_of(scored: Sequence[Scored], jury: Jury) -> Oracle:
    """What the combination of attacks is given: scores of those before it, and membership of the selecting half."""
    ran = [
        (one.attack.probe, one.outcome.queries_per_record, one.scores)
        for one in scored
        if isinstance(one.outcome, Completed) and one.attack.card.access is not Access.WEIGHTS
        if one.scores is not None and not np.isnan(one.scores).any()
    ]
    passes: dict[str | None, int] = {}
    for probe, queries, _ in ran:
        passes[probe] = max(queries, passes.get(probe, 0))
    return Oracle(
        scores=np.array([scores for _, _, scores in ran]).reshape(len(ran), len(jury.membership)),
        fitting=jury.selection,
        membership=jury.membership[jury.selection],
        queries=sum(passes.values()),
    )


def measure(attack: Attack, scores: Floats, jury: Jury, limits: Limits, *, where: str, queries: int) -> Completed:
    """AUC, TPR at a low FPR where n allows it, and the ROC curve of one attack's scores [record]."""
    roc = thin_roc(roc_curve(scores, jury.membership))
    band = roc_band(roc, int(jury.membership.sum()), limits.confidence)
    return Completed(
        endpoints=tuple(_endpoints(attack, scores, jury, limits)),
        roc=RocCurve(
            fpr=tuple(roc.fpr.tolist()),
            tpr=tuple(roc.tpr.tolist()),
            low=tuple(band.low.tolist()),
            high=tuple(band.high.tolist()),
        ),
        evaluated_on=where,
        queries_per_record=queries,
    )


def _endpoints(attack: Attack, scores: Floats, jury: Jury, limits: Limits) -> list[Endpoint]:
    found = [
        Endpoint(
            metric=Metric.AUC,
            estimate=auc(scores, jury.membership, confidence=limits.confidence, groups=jury.groups),
            p_value=auc_p_value(scores, jury.membership, groups=jury.groups),
        )
    ]
    enough = standing(jury.non_members, limits.fpr)
    if not attack.low_fpr_endpoint or enough is Standing.REFUSE:
        return found
    rng = np.random.default_rng(jury.rng_seed)
    estimate = tpr_at_fpr(
        scores, jury.membership, limits.fpr, confidence=limits.confidence, groups=jury.groups, rng=rng
    )
    low_fpr = Endpoint(
        metric=Metric.TPR_AT_FPR,
        fpr=limits.fpr,
        estimate=estimate,
        p_value=tpr_at_fpr_p_value(scores, jury.membership, limits.fpr, groups=jury.groups, rng=rng),
        appendix=enough is Standing.APPENDIX or jury.groups is not None,
    )
    return [*found, low_fpr]


def endpoint_p_values(attack: Attack, scores: Floats, jury: Jury, limits: Limits) -> list[float]:
    """One-sided p of every endpoint of an attack that may be tested at this n."""
    return [one.p_value for one in _endpoints(attack, scores, jury, limits) if not one.appendix]


def plain_curve(scores: Floats, membership: Flags) -> RocCurve:
    """A ROC curve for drawing, without its band."""
    roc = thin_roc(roc_curve(scores, membership))
    return RocCurve(fpr=tuple(roc.fpr.tolist()), tpr=tuple(roc.tpr.tolist()))


def primary_p_values(scored: Sequence[Scored]) -> list[tuple[int, int, float]]:
    """(attack, endpoint, p) of every primary endpoint that may be tested, over all accesses together."""
    return [
        (position, index, endpoint.p_value)
        for position, one in enumerate(scored)
        if one.role is Role.PRIMARY and isinstance(one.outcome, Completed)
        for index, endpoint in enumerate(one.outcome.endpoints)
        if not endpoint.appendix
    ]


def declared_tests(scored: Sequence[Scored], jury: Jury, limits: Limits) -> int:
    """How many primary tests are corrected for: those that were made, and those of declared attacks that broke off."""
    return len(primary_p_values(scored)) + _not_made(scored, jury, limits)


def _not_made(scored: Sequence[Scored], jury: Jury, limits: Limits) -> int:
    """The tests of declared primary attacks that did not complete: AUC, and TPR where n allows it."""
    broken = [one for one in scored if one.role is Role.PRIMARY and one.declared]
    broken = [one for one in broken if not isinstance(one.outcome, Completed)]
    low_fpr = standing(jury.non_members, limits.fpr) is Standing.HEADLINE and jury.groups is None
    return sum(1 + (low_fpr and one.attack.low_fpr_endpoint) for one in broken)


def correct_primaries(scored: Sequence[Scored], jury: Jury, limits: Limits) -> list[Scored]:
    """Add Holm's p, the simultaneous upper bound, the limit and the decision to every primary endpoint (rule 2).

    A declared test that was not made counts as one with p = 1: what crashes must not make the others easier.
    """
    tested = primary_p_values(scored)
    not_made = [1.0] * _not_made(scored, jury, limits)
    adjusted = holm([*(p for _, _, p in tested), *not_made])[: len(tested)]
    alpha = limits.family_wise_error / max(len(tested) + len(not_made), 1)
    corrected = list(scored)
    for (position, index, _), p_adjusted in zip(tested, adjusted, strict=True):
        one = corrected[position]
        if not isinstance(one.outcome, Completed) or one.scores is None:
            continue
        endpoints = list(one.outcome.endpoints)
        endpoints[index] = endpoints[index].model_copy(
            update={
                "p_adjusted": float(p_adjusted),
                "upper_bound": _upper_bound(endpoints[index], one.scores, jury, limits, alpha),
                "limit": limits.auc if endpoints[index].metric is Metric.AUC else limits.tpr,
                "rejected": bool(p_adjusted <= limits.family_wise_error),
            }
        )
        corrected[position] = replace(one, outcome=one.outcome.model_copy(update={"endpoints": tuple(endpoints)}))
    return corrected


def _upper_bound(endpoint: Endpoint, scores: Floats, jury: Jury, limits: Limits, alpha: float) -> float:
    if endpoint.metric is Metric.AUC:
        return auc_upper_bound(scores, jury.membership, alpha, groups=jury.groups)
    return tpr_at_fpr_upper_bound(scores, jury.membership, limits.fpr, alpha)


def choose_secondary(scored: Sequence[Scored], jury: Jury, limits: Limits, release: Access) -> SecondaryChoice | None:
    """The best secondary attack that a release allows, by AUC on the selecting half; what it reaches on the other.

    Attacks without a score for every record do not compete: a sample's AUC is of other records, and the combination has
    seen who of the selecting half is a member.
    """
    ran = [
        (one.attack.card, one.scores)
        for one in scored
        if one.role is Role.SECONDARY
        and release.includes(one.attack.card.access)
        and one.scores is not None
        and not np.isnan(one.scores).any()
    ]
    if not ran:
        return None

    def reached(scores: Floats, records: Flags) -> Estimate:
        half = jury.only(records)
        return auc(scores[records], half.membership, confidence=limits.confidence, groups=half.groups)

    selected = [reached(scores, jury.selection) for _, scores in ran]
    best = int(np.argmax([estimate.value for estimate in selected]))
    card, scores = ran[best]
    return SecondaryChoice(
        access=release,
        attack_id=card.id,
        chosen_from=len(ran),
        metric=Metric.AUC,
        selection_value=selected[best],
        reported_value=reached(scores, ~jury.selection),
    )


def strongest_primary(scored: Sequence[Scored]) -> Scored | None:
    """The primary attack with the most access that ran; None where none did."""
    ran = [one for one in scored if one.role is Role.PRIMARY and one.scores is not None]
    return max(ran, key=lambda one: one.attack.card.access.rank) if ran else None


def signal_histogram(answers: Answers, jury: Jury) -> tuple[Histogram, ...]:
    """How the target's margin on the true class is distributed over members and non-members."""
    margin = answers.audit.logit_margin[:, 0]
    edges = np.histogram_bin_edges(np.clip(margin, *np.quantile(margin, [0.001, 0.999])), bins=_BINS)
    clipped = np.clip(margin, edges[0], edges[-1])
    counts = [np.histogram(clipped[side], edges)[0] for side in (jury.membership, ~jury.membership)]
    return (
        Histogram(
            signal="logit margin of the true class",
            edges=tuple(edges.tolist()),
            members=tuple(counts[0].tolist()),
            non_members=tuple(counts[1].tolist()),
        ),
    )


def class_exposure(
    one: Scored | None, jury: Jury, class_names: Sequence[str], limits: Limits
) -> tuple[ClassExposure, ...]:
    """The attack's AUC inside each class that has at least 20 members and 20 non-members."""
    if one is None or one.scores is None:
        return ()
    exposures = []
    for label, name in enumerate(class_names):
        inside = jury.labels == label
        members = int((inside & jury.membership).sum())
        if min(members, int(inside.sum()) - members) < _LEAST_PER_CLASS:
            continue
        groups = None if jury.groups is None else jury.groups[inside]
        estimate = auc(one.scores[inside], jury.membership[inside], confidence=limits.confidence, groups=groups)
        exposures.append(ClassExposure(label=name, auc=estimate))
    return tuple(exposures)
