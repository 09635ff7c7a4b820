"""MemGuard's noise: adversarial examples against the defender's own membership net, within a budget of distortion."""

from __future__ import annotations

import hashlib
from typing import Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from auditor.wrappers.base import Settings, StoredSettings, Width
from auditor.wrappers.membership_net import MembershipNet, MisleadingWrapper

__all__ = ["MemGuardNoise"]

_LABEL_WEIGHT = 10.0
_DISTORTION_WEIGHTS = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
_UNDECIDED = 1e-5
_SMALLEST = 1e-30
_KEY_BYTES = 16
_GRID = 10_000  # the draw must not depend on the last bits of a probability, which change with the batch


class _Stored(StoredSettings):
    num_classes: Width
    hidden: tuple[Width, ...]
    budget: float = Field(ge=0, le=2)
    step: float = Field(gt=0, le=10)
    steps: int = Field(gt=0, le=1000)


class MemGuardNoise(MisleadingWrapper):
    """Replaces a vector by one on which the defender's membership net is undecided, with a chance within the budget.

    The chance is drawn once per vector, by a keyed hash of it: the same query gets the same answer. The predicted
    class stays. The weights of the net are the defender's own membership attack, fitted on who the members are, so
    that they must not be published.

    Args:
        net: Reads probabilities, largest first; above 0: a member.
        budget: The expected L1 distance between what the model says and what is released is at most this.
        step: Length of a step in logits.
        steps: How many at most for each weight of the distortion.
        key: uint8 [16], the key of the hash.
    """

    kind = "memguard"
    key: Tensor

    def __init__(self, net: MembershipNet, key: Tensor, *, budget: float, step: float, steps: int) -> None:
        super().__init__(net)
        self.budget = budget
        self.step = step
        self.steps = steps
        self.register_buffer("key", key)

    def forward(self, probabilities: Tensor) -> Tensor:
        """The vectors, or what misleads the defender's net in their place, float32 [record, class]."""
        with torch.inference_mode(mode=False), torch.enable_grad():  # the search needs gradients wherever it is asked
            vectors = probabilities.detach().clone()
            misleading = self.misleading(vectors)
        replaced = self._draw(vectors) < self.chance(vectors, misleading)
        return torch.where(replaced[:, None], misleading, vectors)

    def chance(self, vectors: Tensor, misleading: Tensor) -> Tensor:
        """With which probability each vector is replaced, float32 [record] (the paper's phase II)."""
        before, after = (self.member_logit(each).sigmoid() - 0.5 for each in (vectors, misleading))
        share = self.budget / (misleading - vectors).abs().sum(1)
        return torch.where(after.abs() < before.abs(), share.clamp(max=1), 0.0)

    def misleading(self, vectors: Tensor) -> Tensor:
        """The last vector that the search accepted for each, itself where there is none (the paper's phase I)."""
        order = vectors.argsort(dim=1, descending=True, stable=True)
        ranked = vectors.gather(1, order)
        first = self.net(ranked).detach()
        found, searched = ranked.clone(), (first.sigmoid() - 0.5).abs() > _UNDECIDED
        left = searched.nonzero().squeeze(1)
        for weight in _DISTORTION_WEIGHTS:
            reached, accepted = self._search(ranked[left], first[left], weight)
            left = left[accepted]
            found[left] = reached[accepted]
        return torch.empty_like(vectors).scatter_(1, order, found)

    def _search(self, ranked: Tensor, first: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Go downhill until the net's side changes; vectors [record, class], and which of them arrived [record]."""
        logits = ranked.clamp(min=_SMALLEST).log()
        left = torch.arange(len(ranked), device=ranked.device)
        for _ in range(self.steps + 1):  # the last round only looks: what moves in it has not arrived
            membership, slope = self._look(logits[left], ranked[left], weight)
            there = (membership * first[left] <= 0) & _first_leads(logits[left].softmax(1))
            left, slope = left[~there], slope[~there]
            if not len(left):
                break
            logits[left] -= self.step * slope / slope.norm(dim=1, keepdim=True).clamp(min=_SMALLEST)
        arrived = torch.ones(len(ranked), dtype=torch.bool, device=ranked.device)
        arrived[left] = False
        return logits.softmax(1), arrived

    def _look(self, logits: Tensor, ranked: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """The net's logit [record], and the gradient [record, class] of the three losses; the label comes first."""
        asked = logits.detach().requires_grad_()
        vectors = asked.softmax(1)
        membership = self.net(vectors)
        label = functional.relu(asked[:, 1:].amax(1) - asked[:, 0]).sum()
        distortion = (vectors - ranked).abs().sum()
        loss = membership.abs().sum() + _LABEL_WEIGHT * label + weight * distortion
        (slope,) = torch.autograd.grad(loss, asked)
        return membership.detach(), slope

    def _draw(self, vectors: Tensor) -> Tensor:
        """A number in [0, 1) for each vector, float32 [record]: the same for the same vector."""
        key = bytes(self.key.tolist())
        rows = (vectors * _GRID).round().int().cpu().numpy()
        drawn = [hashlib.blake2b(row.tobytes(), key=key, digest_size=3).digest() for row in rows]
        numbers = [int.from_bytes(one) / 256**3 for one in drawn]
        return torch.tensor(numbers, dtype=torch.float32, device=vectors.device)

    def settings(self) -> Settings:
        """Layer widths, budget and steps."""
        return {
            "num_classes": self.net.num_inputs,
            "hidden": self.net.hidden,
            "budget": self.budget,
            "step": self.step,
            "steps": self.steps,
        }

    @classmethod
    def rebuilt(cls, settings: Settings) -> Self:
        """See `OutputWrapper.rebuilt`."""
        checked = _Stored.model_validate(settings)
        net, key = MembershipNet(checked.num_classes, checked.hidden), torch.zeros(_KEY_BYTES, dtype=torch.uint8)
        return cls(net, key, budget=checked.budget, step=checked.step, steps=checked.steps)


def _first_leads(vectors: Tensor) -> Tensor:
    """Whether the first entry is larger than every other, bool [record]; a tie could go to another class."""
    return vectors[:, 0] > vectors[:, 1:].amax(1)
