"""Which records are exposed: members that the target treats as a model without them would not (rule 9).

Under the null "the target answers on x as a model without x would" a member scores like an evaluated non-member, so its
p-value is the rank of its score among theirs; never a Gaussian tail. Benjamini-Hochberg bounds the false discoveries.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from auditor.findings import GroupExposure, RecordExposure, Void
from auditor.membership.evidence import Attack, Evidence, NullModels
from auditor.membership.measure import Jury, Scored
from auditor.splits import record_id
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion
from auditor.stats.multiplicity import benjamini_hochberg, conformal_p_values
from auditor.verdict import Doubt

__all__ = ["exposed_groups", "exposed_records"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_FALSE_DISCOVERIES = 0.05
_LEAST_WITHOUT = 8
_STABLE_WITHOUT = 32
_LEAST_IN_HALF = 2
_UNIFORM_LEVEL = 0.01
_MOST_GROUPS = 20


def exposed_records(
    primary: Scored | None,
    evidence: Evidence,
    nulls: NullModels,
    jury: Jury,
    doubts: Sequence[Doubt],
    digests: Sequence[bytes],
    key: bytes,
) -> RecordExposure:
    """Name the exposed members, by opaque ids, with how far the list can be trusted.

    Args:
        primary: The attack whose scores are ranked; None where none ran.
        evidence: The attacker in front of the target.
        nulls: The null models, on which the ranks have to be uniform.
        jury: Membership of the audit records.
        doubts: What controls and checks took away.
        digests: Content digest per audit record.
        key: The owner's key for opaque ids.
    """
    if primary is None or not primary.attack.least_shadows:
        return RecordExposure(status="skipped", reason="no shadow-based primary attack ran")
    attack = primary.attack
    without = int((~evidence.shadow_membership).sum(0).min())
    if without < _LEAST_WITHOUT:
        reason = f"that takes {_LEAST_WITHOUT} shadows without each record, and there are {without}"
        return RecordExposure(status="skipped", reason=reason)
    if any(Void.PER_RECORD in doubt.voids for doubt in doubts):
        return RecordExposure(status="skipped", reason="a check that did not pass voids p-values of single records")
    uniformity = _uniformity(attack, evidence, nulls, jury)
    if uniformity < _UNIFORM_LEVEL:
        reason = f"p-values of members that a null model never saw are not uniform (p = {uniformity:.2g})"
        return RecordExposure(status="skipped", reason=reason, uniformity_p_value=uniformity)
    flagged = _flagged(attack.score(evidence), jury)
    members = int(jury.membership.sum())
    return RecordExposure(
        status="completed",
        attack_id=attack.card.id,
        false_discovery_rate=_FALSE_DISCOVERIES,
        flagged=proportion(int(flagged.sum()), members, unit="members"),
        stability=_overlap(attack, evidence, jury),
        uniformity_p_value=uniformity,
        unstable=without < _STABLE_WITHOUT,
        records=tuple(sorted(record_id(key, digests[index]) for index in np.flatnonzero(flagged).tolist())),
    )


def exposed_groups(
    exposed: RecordExposure, jury: Jury, digests: Sequence[bytes], key: bytes
) -> tuple[GroupExposure, ...]:
    """How many members of each person (or patient, or video) were named: the 20 groups with the most, most first.

    Args:
        exposed: The named records; nothing is told of groups where there are none.
        jury: Membership and groups of the audit records.
        digests: Content digest per audit record.
        key: The owner's key for opaque ids.
    """
    if jury.groups is None:
        return ()
    named = frozenset(exposed.records)
    flagged = np.array([record_id(key, digest) in named for digest in digests], dtype=bool)[jury.membership]
    groups, codes = np.unique(jury.groups[jury.membership], return_inverse=True)
    counts = np.bincount(codes, weights=flagged, minlength=len(groups)).astype(int)
    found = [
        GroupExposure(id=_group_id(key, group), flagged=proportion(count, size, unit="members of the group"))
        for group, count, size in zip(groups.tolist(), counts.tolist(), np.bincount(codes).tolist(), strict=True)
        if count
    ]
    # ties by opaque id: in the order of the numbers they would tell something of the names behind them
    return tuple(sorted(found, key=_most_first)[:_MOST_GROUPS])


def _most_first(one: GroupExposure) -> tuple[int, float, str]:
    return -round(one.flagged.value * sum(one.flagged.n.values())), -one.flagged.value, one.id


def _group_id(key: bytes, group: int) -> str:
    """A group's name in any output; its message is longer than a record's digest, so that no record has the same."""
    return hmac.new(key, f"privaudit-group {group:020d}".encode(), hashlib.sha256).hexdigest()[:16]


def _flagged(scores: Floats, jury: Jury) -> Flags:
    """Members whose score stands out from the non-members' at the false discovery rate, bool [record]."""
    p_values = conformal_p_values(scores[jury.membership], scores[~jury.membership])
    flagged = np.zeros(len(scores), dtype=bool)
    flagged[jury.membership] = benjamini_hochberg(p_values) <= _FALSE_DISCOVERIES
    return flagged


def _overlap(attack: Attack, evidence: Evidence, jury: Jury) -> Estimate | None:
    """Intersection over union of the lists of two disjoint halves of the shadows.

    None where both are empty, or where a half holds fewer than two shadows with or without some record.
    """
    families = [evidence.kin(index)[0] for index in range(len(evidence.shadow_membership))]
    first_half = np.unique(families, return_inverse=True)[1] % 2 == 0
    halves = [_some(evidence, kept) for kept in (first_half, ~first_half)]
    if any(_thin(half.shadow_membership) for half in halves):
        return None
    lists = [_flagged(attack.score(half), jury) for half in halves]
    union = int((lists[0] | lists[1]).sum())
    return proportion(int((lists[0] & lists[1]).sum()), union, unit="members on either list") if union else None


def _thin(membership: Flags) -> bool:
    return bool(min(membership.sum(0).min(), (~membership).sum(0).min()) < _LEAST_IN_HALF)


def _some(evidence: Evidence, kept: Flags) -> Evidence:
    dropped = np.flatnonzero(~kept).tolist()
    return replace(
        evidence,
        shadows=evidence.shadows.without_models(dropped),
        shadow_membership=evidence.shadow_membership[kept],
        probes={},
    )


def _uniformity(attack: Attack, evidence: Evidence, nulls: NullModels, jury: Jury) -> float:
    """Do members score like non-members in front of a null model that never saw them?

    Ranks among non-members are uniform exactly when both are draws from one distribution: a two-sample
    Kolmogorov-Smirnov test for each null model, Bonferroni over the two.
    """
    p_values = []
    for index in range(2):
        scores = attack.score(evidence.attacking(nulls.answers.model(index)))
        unseen = jury.membership & ~nulls.halves[index]
        p_values.append(float(ks_2samp(scores[unseen], scores[~jury.membership]).pvalue))
    return min(1.0, 2 * min(p_values))
