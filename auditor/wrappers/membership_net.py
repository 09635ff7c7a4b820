"""The defender's own membership net, and what the wrappers that carry it with them have in common."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from auditor.threat import Access
from auditor.wrappers.base import OutputWrapper

__all__ = ["MembershipNet", "MisleadingWrapper"]


class MembershipNet(nn.Module):
    """A small network with ReLU that tells members from others: its logit is above 0 for a member, 0 is undecided.

    Args:
        num_inputs: Length of the vectors that it reads; score perturbation gives it probabilities, largest first.
        hidden: Widths of the hidden layers.
    """

    def __init__(self, num_inputs: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.hidden = hidden
        layers: list[nn.Module] = []
        for width, next_width in pairwise((num_inputs, *hidden)):
            layers += [nn.Linear(width, next_width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear((num_inputs, *hidden)[-1], 1))

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits [record] of vectors [record, input]."""
        logits: Tensor = self.layers(vectors)
        return logits.squeeze(1)


class MisleadingWrapper(OutputWrapper):
    """Perturbs scores against the defender's own net; the weights of that net must not be published.

    Args:
        net: Reads probabilities, largest first; above 0: a member.
    """

    shows = Access.SCORES
    holds_members = True

    def __init__(self, net: MembershipNet) -> None:
        super().__init__()
        self.net = net

    def member_logit(self, probabilities: Tensor) -> Tensor:
        """What the defender's net says of vectors [record, class] in any order, float32 [record]."""
        logits: Tensor = self.net(probabilities.sort(dim=1, descending=True).values)
        return logits
