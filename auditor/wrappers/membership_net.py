"""The defender's own membership net, which wrappers that perturb scores carry with them."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

__all__ = ["MembershipNet"]


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
