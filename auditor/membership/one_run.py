"""What the model kept of the canaries: a lower bound of the epsilon of its training, from its one run (DESIGN 7.10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from auditor.canaries import Canaries
from auditor.findings import CanaryAudit, CanaryBound, PrivacyClaim
from auditor.signals import Signals, observe
from auditor.stats.auc import auc
from auditor.stats.epsilon import EpsilonBound, one_run, one_run_gaussian
from auditor.target import Target
from auditor.threat import Access
from reference_attacks.membership import lira

__all__ = ["bound_epsilon"]

Floats = npt.NDArray[np.float64]

_DELTA = 1e-5
_CONFIDENCE = 0.95


def bound_epsilon(
    canaries: Canaries, target: Target, shadows: Sequence[Target], claim: PrivacyClaim | None
) -> CanaryAudit:
    """Bound epsilon from below, at each access that the target shows, and hold the claim against the bound.

    A canary is scored by offline LiRA, declared in advance: the margin of its label, against the shadows, none of
    which saw any canary. The claim is held against the bound at `weights` that assumes no trade-off curve.

    Args:
        canaries: All canaries with their coins.
        target: The audited model.
        shadows: Models by the same recipe without any canary; two or more.
        claim: What the owner claims of the training, or None.
    """
    delta = _DELTA if claim is None else claim.delta
    answers = observe(target, canaries.records.inputs, canaries.records.labels)
    without = Signals.stack([observe(shadow, canaries.records.inputs, canaries.records.labels) for shadow in shadows])
    pairs = {
        Access.SCORES: (answers.released_margin, without.released_margin),
        Access.WEIGHTS: (answers.logit_margin, without.logit_margin),
    }
    # whoever holds the file goes around a wrapper, so that weights always show everything
    seen = [access for access in pairs if access is Access.WEIGHTS or target.shows.includes(access)]
    bounds = [bound for access in seen for bound in _bounds(access, _scores(*pairs[access]), canaries, delta)]
    declared = next(one for one in bounds if one.access is Access.WEIGHTS and not one.assumes)
    included = int(canaries.included.sum())
    return CanaryAudit(
        canaries=canaries.records.n,
        included=included,
        mislabelled=int(canaries.mislabelled.sum()),
        bounds=tuple(bounds),
        claim=claim,
        contradicted=None if claim is None else declared.epsilon > claim.epsilon,
        sentence=_sentence(declared, included, claim),
    )


def _scores(target_signal: Floats, shadow_signal: Floats) -> Floats:
    nobody = np.zeros(shadow_signal.shape[:2], dtype=np.bool_)
    return lira.offline(target_signal=target_signal, shadow_signal=shadow_signal, shadow_membership=nobody)


def _bounds(access: Access, scores: Floats, canaries: Canaries, delta: float) -> list[CanaryBound]:
    separated = auc(scores, canaries.included, confidence=_CONFIDENCE)
    found = [("", one_run(scores, canaries.included, delta=delta, confidence=_CONFIDENCE))]
    if delta > 0.0:
        gaussian = one_run_gaussian(scores, canaries.included, delta=delta, confidence=_CONFIDENCE)
        found.append(("a Gaussian trade-off curve", gaussian))

    def part(assumes: str, bound: EpsilonBound) -> CanaryBound:
        return CanaryBound(
            access=access,
            assumes=assumes,
            epsilon=bound.epsilon,
            delta=bound.delta,
            confidence=bound.confidence,
            ceiling=bound.ceiling,
            guesses=bound.guesses,
            correct=bound.correct,
            auc=separated,
            method=bound.method,
        )

    return [part(assumes, bound) for assumes, bound in found]


def _sentence(bound: CanaryBound, included: int, claim: PrivacyClaim | None) -> str:
    told = (
        f"The training is not ({bound.epsilon:.2f}, {bound.delta:g})-differentially private for one record, at "
        f"{bound.confidence:.0%} confidence"
        if bound.epsilon > 0.0
        else f"The canaries bound no epsilon away from 0 at delta {bound.delta:g}, which is no evidence of privacy"
    )
    so_many = f" ({included:,} canaries included by coin flips; at most {bound.ceiling:.2f} could have been shown)."
    if claim is None:
        return told + so_many
    verdict = "contradicts" if bound.epsilon > claim.epsilon else "does not contradict"
    unit = "" if claim.unit == "record" else f" for each {claim.unit}, and so for each record"
    return f"{told}{so_many} This {verdict} the claimed epsilon of {claim.epsilon:g} at delta {claim.delta:g}{unit}."
