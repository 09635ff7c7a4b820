"""Which records are exposed: members that the target treats as a model without them would not (DESIGN 7.9).

Under the null "the target answers on x as a model without x would" a member scores like an evaluated non-member, so its
p-value is the rank of its score among theirs; never a Gaussian tail. Benjamini-Hochberg bounds the false discoveries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from auditor.findings import RecordExposure, Void
from auditor.membership.evidence import Attack, Evidence, NullModels
from auditor.membership.measure import Jury, Scored
from auditor.splits import record_id
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion
from auditor.stats.multiplicity import benjamini_hochberg, conformal_p_values
from auditor.verdict import Doubt

__all__ = ["exposed_records"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_FALSE_DISCOVERIES = 0.05
_LEAST_WITHOUT = 8
_STABLE_WITHOUT = 32
_UNIFORM_LEVEL = 0.01


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
    without = len(evidence.shadow_membership) // 2
    if without < _LEAST_WITHOUT:
        reason = f"needs {_LEAST_WITHOUT} shadows without each record, and there are {without}: use a larger --budget"
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


def _flagged(scores: Floats, jury: Jury) -> Flags:
    """Members whose score stands out from the non-members' at the false discovery rate, bool [record]."""
    p_values = conformal_p_values(scores[jury.membership], scores[~jury.membership])
    flagged = np.zeros(len(scores), dtype=bool)
    flagged[jury.membership] = benjamini_hochberg(p_values) <= _FALSE_DISCOVERIES
    return flagged


def _overlap(attack: Attack, evidence: Evidence, jury: Jury) -> Estimate | None:
    """Intersection over union of the lists of two disjoint halves of the shadows; None where both are empty."""
    pairs = np.arange(len(evidence.shadow_membership)) // 2
    lists = [_flagged(attack.score(_some(evidence, pairs % 2 == half)), jury) for half in (0, 1)]
    union = int((lists[0] | lists[1]).sum())
    return proportion(int((lists[0] & lists[1]).sum()), union, unit="members on either list") if union else None


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
