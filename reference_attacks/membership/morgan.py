"""Morgan: Merlin, asked only where the loss is neither too large nor suspiciously small.

Jayaraman, Wang, Knipmeyer, Gu and Evans (2021), "Revisiting Membership Inference Under Realistic Assumptions",
arXiv:2005.10881.

What it claims
    The smallest losses belong to easy records, members or not. Members are purest in a window of the loss above those,
    and there the Merlin ratio separates them: high precision on few records, also where members are rare.

What the attacker needs
    Access `scores`: the loss and the Merlin ratio of x (`merlin.probe`, 101 queries). One shadow model or more by the
    target's recipe, with known membership and the same two signals.

Algorithm
    1. phi_l: the largest loss threshold that calls at most 22 % of the shadow's non-members members; phi_u: the same
       with 30 %.
    2. phi_m: the lowest ratio threshold whose false-positive rate on the shadow is at most a wanted one; without one,
       the threshold with the largest TPR - FPR. All three are chosen apart from each other. That is `thresholds`.
    3. x is a member where phi_l <= loss <= phi_u and ratio >= phi_m.

What we changed
    A continuous score: inside the window it is that of `merlin.score`, outside the same minus 2, so that every record
    inside stands above every record outside. For any phi_m on the grid of 1 / copies, score >= phi_m - 1 / (2 copies)
    is the paper's decision; sweeping it is the ROC curve at a fixed window. Records outside are ordered by Merlin,
    which the paper leaves open.
    Several shadows are pooled: each (model, record) counts once. Thresholds are for all classes together; the authors'
    code offers them per class as well, and reads them off a thinned ROC curve.

Published number and ours
    None verified.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reference_attacks.membership import merlin
from reference_attacks.membership._inputs import BoolArray, FloatArray, SignalArray, as_probability, as_signal

__all__ = ["Morgan", "Thresholds", "score", "thresholds"]

_OUTSIDE = 2.0


@dataclass(frozen=True, slots=True)
class Morgan:
    """How the thresholds are chosen; the defaults are those of the authors' code.

    Attributes:
        low_fpr: False-positive rate on the shadow that gives the lower end of the window, alpha_l.
        high_fpr: The same for the upper end, alpha_u.
        ratio_fpr: The same for the ratio; None takes the largest TPR - FPR.
        merlin: Settings with which the ratios were probed.

    Raises:
        ValueError: If a rate is out of range or the window is upside down.
    """

    low_fpr: float = 0.22
    high_fpr: float = 0.30
    ratio_fpr: float | None = None
    merlin: merlin.Merlin = field(default_factory=merlin.Merlin)

    def __post_init__(self) -> None:
        if not 0.0 <= self.low_fpr <= self.high_fpr <= 1.0:
            raise ValueError(f"need 0 <= low_fpr <= high_fpr <= 1, got {self.low_fpr} and {self.high_fpr}")
        if self.ratio_fpr is not None and not 0.0 <= self.ratio_fpr <= 1.0:
            raise ValueError(f"ratio_fpr must lie in 0..1, got {self.ratio_fpr}")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A member has `low` <= loss <= `high` and a ratio of at least `ratio`.

    Attributes:
        low: phi_l, in units of the loss; -inf where even the smallest loss gives too many false positives.
        high: phi_u, likewise.
        ratio: phi_m; inf where even the largest ratio gives too many false positives.
    """

    low: float
    high: float
    ratio: float


def thresholds(
    *,
    shadow_loss: SignalArray,
    shadow_ratio: SignalArray,
    shadow_membership: BoolArray,
    settings: Morgan = Morgan(),
) -> Thresholds:
    """Choose the three thresholds on shadows whose membership is known.

    Args:
        shadow_loss: Losses by the shadows [model, record].
        shadow_ratio: Their Merlin ratios [model, record].
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: How the thresholds are chosen.

    Raises:
        ValueError: If the arrays do not fit each other, or there are no shadow members or no shadow non-members.
    """
    losses = as_signal("shadow_loss", shadow_loss, ("model", "record"))
    ratios = as_probability("shadow_ratio", shadow_ratio, ("model", "record"))
    trained_on = np.asarray(shadow_membership)
    if trained_on.dtype != np.bool_ or not losses.shape == ratios.shape == trained_on.shape:
        raise ValueError(
            f"shadow_loss {losses.shape}, shadow_ratio {ratios.shape} and a boolean shadow_membership "
            f"{trained_on.shape} must have one shape"
        )
    if trained_on.all() or not trained_on.any():
        raise ValueError("shadow_membership must hold members and non-members")
    return Thresholds(
        low=-_lowest_threshold(-losses, trained_on, settings.low_fpr),
        high=-_lowest_threshold(-losses, trained_on, settings.high_fpr),
        ratio=_lowest_threshold(ratios, trained_on, settings.ratio_fpr),
    )


def score(
    *,
    target_loss: SignalArray,
    target_ratio: SignalArray,
    shadow_loss: SignalArray,
    shadow_ratio: SignalArray,
    shadow_membership: BoolArray,
    settings: Morgan = Morgan(),
) -> FloatArray:
    """Score every record by its Merlin ratio, with those outside the loss window below all others.

    Args:
        target_loss: Losses by the target [record], at least 0.
        target_ratio: Its Merlin ratios [record].
        shadow_loss: Losses by the shadows [model, record].
        shadow_ratio: Their Merlin ratios [model, record].
        shadow_membership: Whether the shadow was trained on the record [model, record].
        settings: How the thresholds are chosen; `ratio_fpr` has no influence on the score.

    Returns:
        Scores [record], larger = more likely a member.

    Raises:
        ValueError: As `thresholds` and `merlin.score`.
    """
    chosen = thresholds(
        shadow_loss=shadow_loss, shadow_ratio=shadow_ratio, shadow_membership=shadow_membership, settings=settings
    )
    by_merlin = merlin.score(merlin_ratio=target_ratio, loss=target_loss, settings=settings.merlin)
    losses = as_signal("target_loss", target_loss, ("record",))
    inside = (losses >= chosen.low) & (losses <= chosen.high)
    return np.where(inside, by_merlin, by_merlin - _OUTSIDE)


def _lowest_threshold(values: FloatArray, trained_on: BoolArray, fpr: float | None) -> float:
    """The lowest observed value t such that `values >= t` keeps to the rate, or has the largest TPR - FPR."""
    candidates = np.unique(values)
    outsiders, insiders = np.sort(values[~trained_on]), np.sort(values[trained_on])
    false_positive = 1.0 - np.searchsorted(outsiders, candidates, side="left") / len(outsiders)
    true_positive = 1.0 - np.searchsorted(insiders, candidates, side="left") / len(insiders)
    if fpr is None:
        return float(candidates[::-1][np.argmax((true_positive - false_positive)[::-1])])
    allowed = candidates[false_positive <= fpr + 1e-12]
    return float(allowed[0]) if len(allowed) else float("inf")
