"""What the model kept of the canaries: a lower bound of the epsilon of its training, from its one run (rule 10)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from auditor.canaries import Canaries
from auditor.findings import CanaryAudit, CanaryBound, PrivacyClaim
from auditor.signals import Signals, observe
from auditor.splits import Records
from auditor.stats.auc import auc
from auditor.stats.epsilon import EpsilonBound, one_run, one_run_gaussian
from auditor.target import Target
from auditor.threat import Access
from reference_attacks.membership import lira

__all__ = ["bound_epsilon", "canary_scores"]

Floats = npt.NDArray[np.float64]

_DELTA = 1e-5
_CONFIDENCE = 0.95


def bound_epsilon(
    canaries: Canaries, target: Target, shadows: Iterable[Target], claim: PrivacyClaim | None
) -> CanaryAudit:
    """Bound epsilon from below, at each access that the target shows, and hold the claim against the bound.

    The claim is held against the bound at `weights` that assumes no trade-off curve. That is declared here, before any
    model is asked; the other bounds are told beside it, each at its own confidence.

    Args:
        canaries: All canaries with their coins.
        target: The audited model.
        shadows: Models by the same recipe without any canary, two or more; each is asked before the next is taken.
        claim: What the owner claims of the training, or None.
    """
    delta = _DELTA if claim is None else claim.delta
    scores = canary_scores(canaries.records, target, shadows)
    bounds = [bound for access in scores for bound in _bounds(access, scores[access], canaries, delta)]
    declared = next(one for one in bounds if one.declared)
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


def canary_scores(canaries: Records, target: Target, shadows: Iterable[Target]) -> Mapping[Access, Floats]:
    """Scores [canary] at each access that the target shows, from `scores` to `weights`; the coins play no part.

    A canary is scored by offline LiRA, declared in advance: the margin of its label, against shadows of which none saw
    any canary.
    """
    answers = observe(target, canaries.inputs, canaries.labels)
    without = Signals.stack([observe(shadow, canaries.inputs, canaries.labels) for shadow in shadows])
    found = {Access.WEIGHTS: _scores(answers.logit_margin, without.logit_margin)}
    if not target.shows.includes(Access.SCORES):
        # whoever holds the file goes around a wrapper, so that weights always show everything
        return found
    return {Access.SCORES: _scores(answers.released_margin, without.released_margin), **found}


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
            declared=access is Access.WEIGHTS and not assumes,
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
    counted = f"{included:,} canaries included by coin flips; at most {bound.ceiling:.2f} could have been shown"
    told = f"The canaries bound no epsilon away from 0 at delta {bound.delta:g}, no evidence of privacy ({counted})."
    if bound.epsilon > 0.0:
        # rounded down: what is printed must be contradicted too
        least = math.floor(100 * bound.epsilon) / 100
        told = (
            f"The training is not ({least:.2f}, {bound.delta:g})-differentially private for one record, at "
            f"{100 * bound.confidence:.0f} % confidence ({counted})."
        )
    return told if claim is None else f"{told} {_held_against(bound, claim)}"


def _held_against(bound: CanaryBound, claim: PrivacyClaim) -> str:
    unit = "" if claim.unit == "record" else f" for each {claim.unit}, which would hold for each record too"
    claimed = f"the claimed epsilon of {claim.epsilon:g} at delta {claim.delta:g}{unit}"
    if bound.epsilon > claim.epsilon:
        return f"This contradicts {claimed}."
    if bound.ceiling <= claim.epsilon:
        return f"So many canaries could not have contradicted {claimed}."
    return f"This does not contradict {claimed}, and is no evidence for it."
