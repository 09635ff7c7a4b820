"""Implied epsilon: the rates of the primary attacks in terms of differential privacy, descriptive (rule 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from auditor.findings import ImpliedEpsilon, Role
from auditor.limits import Limits
from auditor.membership.measure import Jury, Scored
from auditor.stats.epsilon import implied_epsilon
from auditor.stats.low_fpr import Standing, allowed_false_positives, standing

__all__ = ["implied_epsilons"]


def implied_epsilons(
    scored: Sequence[Scored], jury: Jury, limits: Limits, *, random_split: bool | None
) -> tuple[ImpliedEpsilon, ...]:
    """The implied epsilon of every primary attack that ran, where the limits' FPR can be a headline.

    Nothing is given where the split is not stated to be random, nor where records belong to groups: the two rates are
    then no experiment on single records.
    """
    enough = standing(jury.non_members, limits.fpr) is Standing.HEADLINE
    if random_split is not True or jury.groups is not None or not enough:
        return ()
    return tuple(
        found
        for one in scored
        if one.role is Role.PRIMARY and one.attack.low_fpr_endpoint and one.scores is not None
        for found in _implied(one, one.scores, jury, limits)
    )


def _implied(one: Scored, scores: npt.NDArray[np.float64], jury: Jury, limits: Limits) -> tuple[ImpliedEpsilon, ...]:
    """One, or none where ties leave no non-member above the threshold."""
    asked = ~np.isnan(scores)
    members, others = scores[asked & jury.membership], scores[asked & ~jury.membership]
    threshold = np.sort(others)[::-1][allowed_false_positives(others.size, limits.fpr)]
    wrong = int((others > threshold).sum())
    if not wrong:
        return ()
    right = int((members > threshold).sum())
    estimate = implied_epsilon(right, members.size, wrong, others.size, confidence=limits.confidence)
    card = one.attack.card
    return (ImpliedEpsilon(attack_id=card.id, access=card.access, fpr=limits.fpr, estimate=estimate),)
