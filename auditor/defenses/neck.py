"""What whoever holds the weights makes of a low-rank header: tanh taken out, or without a say in the gradient.

Tanh lets little gradient through where its units are saturated, which is gradient masking in kind: an attacker need not
differentiate the function that the model computes.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import Tensor, nn

from auditor.checkpoint.new_head import LowRankHead
from auditor.target import Target

__all__ = ["StraightThroughTanh", "neck_of", "straight_through", "without_tanh"]


class StraightThroughTanh(nn.Module):
    """tanh, with the gradient of the identity."""

    def forward(self, received: Tensor) -> Tensor:
        """The same values as `nn.Tanh`."""
        return received.detach().tanh() + (received - received.detach())


def without_tanh(target: Target) -> Target:
    """A copy of the model whose neck is linear: it answers otherwise."""
    return _with_activation(target, nn.Identity())


def straight_through(target: Target) -> Target:
    """A copy of the model that answers alike, and whose gradients pass the neck's tanh unchanged."""
    return _with_activation(target, StraightThroughTanh())


def neck_of(module: nn.Module) -> LowRankHead:
    """The low-rank header of a network that has one."""
    return next(part for part in module.modules() if isinstance(part, LowRankHead))


def _with_activation(target: Target, activation: nn.Module) -> Target:
    module = copy.deepcopy(target.module)
    neck = neck_of(module)
    places = [place for place, part in enumerate(neck) if isinstance(part, nn.Tanh)]
    for place in places:
        neck[place] = activation.eval()
    return replace(target, module=module)
