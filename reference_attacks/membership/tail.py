"""The tail of the losses: an estimate of a model's risk from the target alone, without reference models.

After Dodd, Krco, Shilov and de Montjoye (2025), "The Tail Tells All: Estimating Model-Level Membership Inference
Vulnerability Without Reference Models", arXiv:2510.19773. Reconstructed from the abstract only.

What it claims
    Records at risk have been moved by training from the high-loss tail to the low-loss head. So the absence of members
    from the tail, read as the true-negative rate of the plain loss attack, predicts what LiRA would find on that model.

What the attacker needs
    This is an owner's estimate and no attack: the target's losses of members and of non-members, told apart. Access
    `scores`, one query per record. No shadow models. It gives no score to any record.

Algorithm
    1. The loss attack calls x a member where its loss is at most a threshold.
    2. For an allowed false-negative rate b take the smallest threshold, among the members' losses, that misses at most
       floor(b * members) of them.
    3. The estimate is the true-negative rate there: the share of non-members with a larger loss.
    Without a leak it is about b; 1 means that no non-member has a loss as small as nearly all members have.

What we changed
    The abstract says neither at which false-negative rate the rate is read nor how it becomes a predicted TPR: 1 % and
    5 % are our choice, and we return the counts and predict nothing. Whether the rate ranks models by their risk as
    claimed was not checked here.
    The threshold is itself estimated from the members. Exchange the two groups and turn the sign and this is a TPR at
    an FPR of b, so that any interval for that serves; a plain binomial one ignores the threshold.

Published number and ours
    None verified.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reference_attacks.membership._inputs import BoolArray, SignalArray, as_signal

__all__ = ["Tail", "TailRate", "estimate"]


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the tail begins.

    Attributes:
        false_negative_rates: Allowed shares of missed members, each between 0 and 1.

    Raises:
        ValueError: If there is none or one is out of range.
    """

    false_negative_rates: tuple[float, ...] = (0.01, 0.05)

    def __post_init__(self) -> None:
        if not self.false_negative_rates or not all(0.0 < rate < 1.0 for rate in self.false_negative_rates):
            raise ValueError(f"false_negative_rates must lie between 0 and 1, got {self.false_negative_rates}")


@dataclass(frozen=True, slots=True)
class TailRate:
    """The loss attack at one threshold, as counts.

    Attributes:
        false_negative_rate: The allowed share of missed members.
        threshold: Largest loss that is called a member.
        missed_members: Members with a larger loss; with ties fewer than allowed.
        members: All members.
        rejected_non_members: Non-members with a larger loss.
        non_members: All non-members.
    """

    false_negative_rate: float
    threshold: float
    missed_members: int
    members: int
    rejected_non_members: int
    non_members: int

    @property
    def true_negative_rate(self) -> float:
        """Share of the non-members in the tail that (nearly) no member is in."""
        return self.rejected_non_members / self.non_members


def estimate(*, target_loss: SignalArray, membership: BoolArray, settings: Tail = Tail()) -> tuple[TailRate, ...]:
    """Read the true-negative rate of the loss attack where it misses few members.

    Args:
        target_loss: Losses by the target, or anything that falls with membership [record].
        membership: Whether the target was trained on the record [record].
        settings: Where the tail begins.

    Returns:
        One rate per allowed false-negative rate, in their order. With fewer members than 1 / rate none may be missed
        and the threshold is the largest loss of a member.

    Raises:
        ValueError: If the arrays do not fit each other, or there are no members or no non-members.
    """
    losses = as_signal("target_loss", target_loss, ("record",))
    status = np.asarray(membership)
    if status.dtype != np.bool_ or status.shape != losses.shape:
        raise ValueError(f"membership must be {len(losses)} booleans [record], got {status.dtype} {status.shape}")
    if status.all() or not status.any():
        raise ValueError("membership must hold members and non-members")
    inside, outside = np.sort(losses[status]), losses[~status]
    rates = []
    for rate in settings.false_negative_rates:
        # The small amount keeps 0.29 * 100 from being 28.
        threshold = float(inside[-1 - math.floor(rate * len(inside) + 1e-9)])
        rates.append(
            TailRate(
                false_negative_rate=rate,
                threshold=threshold,
                missed_members=int((inside > threshold).sum()),
                members=len(inside),
                rejected_non_members=int((outside > threshold).sum()),
                non_members=len(outside),
            )
        )
    return tuple(rates)
