"""Signed steps on the released vector against the defender's own membership net."""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from auditor.wrappers.base import Settings, StoredSettings, Width
from auditor.wrappers.membership_net import MembershipNet, MisleadingWrapper

__all__ = ["Perturbed"]

_SMALLEST = 1e-6


class _Stored(StoredSettings):
    num_classes: Width
    hidden: tuple[Width, ...]
    step: float = Field(gt=0, le=1)
    steps: int = Field(gt=0, le=1000)
    tolerance: float = Field(ge=0, le=100)


class Perturbed(MisleadingWrapper):
    """Moves each vector until the defender's membership net is undecided about it; the predicted class stays.

    The API cannot know who is a member, so every query is treated alike. Nothing is drawn. The weights of the net are
    the defender's own membership attack, fitted on who the members are, so that they must not be published.

    Args:
        net: Reads probabilities, largest first; above 0: a member.
        step: How far each entry moves at a time.
        steps: How often at most.
        tolerance: A vector is left alone once the net's logit is no further than this from 0.
    """

    kind = "aeppt"

    def __init__(self, net: MembershipNet, *, step: float, steps: int, tolerance: float) -> None:
        super().__init__(net)
        self.step = step
        self.steps = steps
        self.tolerance = tolerance

    def forward(self, probabilities: Tensor) -> Tensor:
        """Perturbed probabilities, float32 [record, class]."""
        with torch.inference_mode(mode=False), torch.enable_grad():  # the steps need gradients wherever they are asked
            return self._perturbed(probabilities.detach().clone())

    def _perturbed(self, vectors: Tensor) -> Tensor:
        labels = vectors.argmax(1)
        side = self.member_logit(vectors).detach().sign()
        moving = torch.arange(len(vectors), device=vectors.device)
        for _ in range(self.steps):
            logit, gradient = self._slope(vectors[moving])
            decided = (logit * side[moving] > 0) & (logit.abs() > self.tolerance)
            moving, gradient = moving[decided], gradient[decided]
            moved = vectors[moving] - self.step * side[moving, None] * gradient.sign()
            moved = moved.clamp(min=_SMALLEST)
            moved = moved / moved.sum(1, keepdim=True)
            kept = moved.argmax(1) == labels[moving]  # one that would change its class would do so again: it stops
            moving = moving[kept]
            vectors[moving] = moved[kept]
            if not len(moving):
                break
        return vectors

    def _slope(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The net's logit [record], and its gradient [record, class] by the vector as it is released, not sorted."""
        asked = vectors.detach().requires_grad_()
        logit = self.member_logit(asked)
        (gradient,) = torch.autograd.grad(logit.sum(), asked)
        return logit.detach(), gradient

    def settings(self) -> Settings:
        """Layer widths and steps."""
        return {
            "num_classes": self.net.num_inputs,
            "hidden": self.net.hidden,
            "step": self.step,
            "steps": self.steps,
            "tolerance": self.tolerance,
        }

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """See `OutputWrapper.rebuilt`."""
        checked = _Stored.model_validate(settings)
        net = MembershipNet(checked.num_classes, checked.hidden)
        return cls(net, step=checked.step, steps=checked.steps, tolerance=checked.tolerance)
