"""A combination of attacks, calibrated by an oracle on one half of the records and judged on the other.

Ours. That attacks find different members, and that ensembles judged on the records they were tuned on look too good, is
shown by a study of instance disparity (RPI-DSPlab/mia-disparity, CCS 2025, arXiv:2506.13972); the logistic rule is the
plainest one.

What it claims
    Nothing about an attacker: the weights come from true membership, which he does not have. It asks how much more the
    listed attacks could have found together than the best of them alone, for someone who knew how to weigh them.

What the attacker needs
    The scores of two attacks or more, with whatever access these need; and, as an oracle, the true membership of half
    of the records. Halves drawn at random, persons with several records kept together.

Algorithm
    1. Bring each attack's scores to one scale: asinh((s - median) / mean distance from the median), both taken on the
       fitting half. It rises with s, ties nothing and tames outliers.
    2. Fit a logistic regression of membership on them with a ridge penalty, members and non-members weighing alike.
    3. The scores of the judged half are its log-odds there.

What we changed
    Not applicable. `score` is never given the labels of a record that it judges, only those of the fitting half. Report
    it as oracle-calibrated: it is no attack that an outsider can mount.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from reference_attacks.membership._inputs import BoolArray, FloatArray, SignalArray, as_signal

__all__ = ["Combination", "score"]


@dataclass(frozen=True, slots=True)
class Combination:
    """The logistic regression; the default is scikit-learn's.

    Attributes:
        inverse_penalty: C, how much the log losses weigh against half the squared weights.

    Raises:
        ValueError: If it is not positive.
    """

    inverse_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.inverse_penalty < np.inf:
            raise ValueError(f"inverse_penalty must be positive, got {self.inverse_penalty}")


def score(
    *,
    fitting_scores: SignalArray,
    fitting_membership: BoolArray,
    judged_scores: SignalArray,
    settings: Combination = Combination(),
) -> FloatArray:
    """Score the judged records by a combination that was fitted to others.

    Args:
        fitting_scores: Scores of the records whose membership is given [attack, record].
        fitting_membership: Whether they are members [record].
        judged_scores: Scores of the other records by the same attacks [attack, record].
        settings: How strongly the weights are penalised.

    Returns:
        Scores of the judged records [record], log-odds, larger = more likely a member.

    Raises:
        ValueError: If the arrays do not fit each other, a value is not finite or the fitting half has no member or no
            non-member.
    """
    known = as_signal("fitting_scores", fitting_scores, ("attack", "record"))
    asked = as_signal("judged_scores", judged_scores, ("attack", "record"))
    if known.shape[0] != asked.shape[0]:
        raise ValueError(f"fitting_scores has {known.shape[0]} attacks, judged_scores has {asked.shape[0]}")
    members = _membership("fitting_membership", fitting_membership, known.shape[1])
    if members.all() or not members.any():
        raise ValueError("fitting_membership must hold members and non-members")
    centre = np.median(known, axis=1, keepdims=True)
    spread = np.abs(known - centre).mean(axis=1, keepdims=True)
    spread = np.where(spread > 0.0, spread, 1.0)
    regression = LogisticRegression(
        C=settings.inverse_penalty, class_weight="balanced", solver="newton-cholesky", tol=1e-10
    )
    regression.fit(np.arcsinh((known - centre) / spread).T, members)
    return np.asarray(regression.decision_function(np.arcsinh((asked - centre) / spread).T), dtype=np.float64)


def _membership(name: str, values: BoolArray, n_records: int) -> BoolArray:
    mask = np.asarray(values)
    if mask.dtype != np.bool_ or mask.shape != (n_records,):
        raise ValueError(f"{name} must be {n_records} booleans [record], got {mask.dtype} {mask.shape}")
    return mask
