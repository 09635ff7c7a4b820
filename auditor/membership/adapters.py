"""From the evidence to the attack files: which signal each attack reads. One function per row of the battery."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auditor.membership.evidence import Evidence
from reference_attacks.membership import attack_p, lira, loss, modified_entropy, rmia
from reference_attacks.membership import gap as gap_attack

__all__ = [
    "cross_entropy",
    "gap",
    "lira_logits",
    "lira_released",
    "population",
    "rmia_released",
    "song_mittal",
]

Floats = npt.NDArray[np.float64]


def gap(evidence: Evidence) -> Floats:
    """Correctness of the released label on the unchanged record."""
    return gap_attack.score(target_signal=evidence.target.audit.correct)


def cross_entropy(evidence: Evidence) -> Floats:
    """Negative loss on the released probabilities."""
    return loss.score(target_signal=evidence.target.audit.loss)


def song_mittal(evidence: Evidence) -> Floats:
    """Negative modified entropy of the released probabilities."""
    return modified_entropy.score(target_signal=evidence.target.audit.modified_entropy)


def population(evidence: Evidence) -> Floats:
    """Rank of the loss among calibrating non-members."""
    return attack_p.score(
        target_signal=-evidence.target.audit.loss, population_target_signal=-evidence.target.calibration.loss
    )


def lira_released(evidence: Evidence) -> Floats:
    """LiRA, online, pooled variance, on the margin of the released probabilities."""
    return lira.online(
        target_signal=evidence.target.audit.released_margin,
        shadow_signal=evidence.shadows.audit.released_margin,
        shadow_membership=evidence.shadow_membership,
    )


def lira_logits(evidence: Evidence) -> Floats:
    """LiRA, online, pooled variance, on the margin of the logits."""
    return lira.online(
        target_signal=evidence.target.audit.logit_margin,
        shadow_signal=evidence.shadows.audit.logit_margin,
        shadow_membership=evidence.shadow_membership,
    )


def rmia_released(evidence: Evidence) -> Floats:
    """RMIA, online, on the released probability of the true label."""
    return rmia.online(
        target_signal=evidence.target.audit.confidence,
        shadow_signal=evidence.shadows.audit.confidence,
        shadow_membership=evidence.shadow_membership,
        population_target_signal=evidence.target.calibration.confidence,
        population_shadow_signal=evidence.shadows.calibration.confidence,
    )
