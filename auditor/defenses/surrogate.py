"""The defender's own membership net: members of the defended model against records that it never saw.

Defenses that perturb scores are built against it, and so are the attackers who know of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from auditor.defense import Holding, UnfitDefenseError
from auditor.signals import class_probabilities
from auditor.target import Target
from auditor.wrappers.membership_net import MembershipNet

__all__ = ["Fit", "defenders_net", "membership_net"]

_FEWEST = 10


@dataclass(frozen=True)
class Fit:
    """How a membership net is fitted, by Adam on binary cross-entropy.

    Attributes:
        hidden: Widths of its hidden layers.
        steps: How many batches it sees.
        batch_size: Records of a batch, half of them members.
        lr: Learning rate.
    """

    hidden: tuple[int, ...]
    steps: int = 2000
    batch_size: int = 64
    lr: float = 1e-3


def defenders_net(target: Target, holding: Holding, fit: Fit, seed: int) -> MembershipNet:
    """Fit a net on what `target` says about its members and about the reference records, largest probability first.

    Raises:
        UnfitDefenseError: there are too few of either.
    """
    sides = {"members": holding.members, "reference records": holding.reference}
    for name, records in sides.items():
        if records.n < _FEWEST:
            raise UnfitDefenseError(f"its membership net needs at least {_FEWEST} {name}, there are {records.n}")
    members, others = (_ranked(target, records.inputs) for records in sides.values())
    return membership_net(members, others, fit, seed)


def membership_net(members: Tensor, others: Tensor, fit: Fit, seed: int) -> MembershipNet:
    """Fit a net that tells two sets of vectors apart; each batch holds as many of the one as of the other.

    Args:
        members: float32 [record, input]; the logit is to be above 0 for these.
        others: The same, below 0.
        fit: How.
        seed: Decides initial weights and batches.

    Returns:
        The net, at rest, where the vectors are.
    """
    cuda = [members.device] if members.device.type == "cuda" else []
    half = max(1, fit.batch_size // 2)
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        net = MembershipNet(members.shape[1], fit.hidden).to(members.device)
        optimizer = torch.optim.Adam(net.parameters(), lr=fit.lr)
        truth = torch.cat([torch.ones(half), torch.zeros(half)]).to(members.device)
        for _ in range(fit.steps):
            batch = torch.cat([_drawn(members, half), _drawn(others, half)])
            loss = functional.binary_cross_entropy_with_logits(net(batch), truth)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return net.eval().requires_grad_(requires_grad=False)


def _drawn(vectors: Tensor, number: int) -> Tensor:
    return vectors[torch.randint(len(vectors), (number,), device=vectors.device)]


def _ranked(target: Target, inputs: npt.NDArray[np.generic]) -> Tensor:
    """float32 [record, class], largest first, on the target's device."""
    vectors = torch.from_numpy(class_probabilities(target, inputs)).to(target.device)
    return vectors.sort(dim=1, descending=True).values
