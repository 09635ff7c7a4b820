"""MemGuard: noise on released scores that leaves the attacker's net undecided (Jia et al., CCS 2019, arXiv:1909.10594).

What it claims
    Noise crafted as an adversarial example makes the attacker's classifier guess, within a budget of distortion and
    without changing a predicted label. The README of the official code reports inference accuracies of 0.50, 0.52,
    0.55, 0.62, 0.69 and 0.73 at budgets of 1, 0.7, 0.5, 0.3, 0.1 and 0 on its location data.

What it needs
    The members, and held-out records that the model never saw; the model is not changed.

Algorithm
    1. Train the defender's net h (256-128-64, ReLU) on sorted probability vectors, members against the reference.
    2. Phase I, for a vector p with logits z and predicted class l, unless |sigmoid(h(p)) - 1/2| <= 1e-5: for
       c = 0.1, 1, ..., 1e5 start at e = z and take at most 299 steps of length 0.1 against the gradient of
       |h(softmax(e))| + 10 relu(max_{j != l} e_j - e_l) + c |softmax(e) - p|_1, until h has changed its side and l
       leads. The noised vector r is the last softmax(e) that got there; the first c that fails ends the search.
    3. Phase II: release r with probability min(budget / |r - p|_1, 1), else p; always p where h is not nearer to 1/2
       at r than at p. One draw per query: the same query always gets the same answer.
    Source: github.com/jinyuan-jia/MemGuard at 34e1859 (defense_framework.py, evaluate_nn_attack.py, model/).

What is not the paper's
    Read were the official code and the abstract. h is fitted by Adam on 2,000 batches of 64, half of them members: with
    the code's plain gradient descent at 0.001 it stayed near 0 on small data. Logits are the logarithms of the released
    probabilities (the same up to a constant; 0 counts as 1e-30), the label must lead strictly, and the draw is a keyed
    hash of the vector to four decimals. Of the code's six budgets we take the largest. Fidelity: official-code-derived.

What it does not stop
    Labels stay, so label-only attacks are untouched. An attacker's net need not agree with h; whoever asks about
    slightly changed records gets new draws; whoever holds the weights leaves the noise away.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from auditor.compute import generator
from auditor.defense import Defense, Holding
from auditor.defenses.surrogate import Fit, defenders_net
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.target import Target
from auditor.threat import Access
from auditor.wrappers import MemGuardNoise

__all__ = ["ROW", "MemGuard", "wrap"]

_FIT = Fit(hidden=(256, 128, 64))


@dataclass(frozen=True)
class MemGuard:
    """The code's settings, see `auditor.wrappers.MemGuardNoise`."""

    budget: float = 1.0
    step: float = 0.1
    steps: int = 299


def wrap(
    target: Target, holding: Holding, seed: int, settings: MemGuard = MemGuard(), fit: Fit = _FIT
) -> MemGuardNoise:
    """Fit the defender's net on what `target` says about members and reference records.

    Args:
        target: The model to defend; it is not changed.
        holding: Its members and reference records are used, their labels are not.
        seed: Decides the net's initial weights and batches, and the key of the draws.
        settings: How noise is searched and added.
        fit: How the net is fitted.

    Raises:
        UnfitDefenseError: there are too few members or reference records.
    """
    net = defenders_net(target, holding, fit, seed)
    key = generator(seed, "memguard's key").integers(256, size=16, dtype=np.uint8)
    return MemGuardNoise(net, torch.from_numpy(key), budget=settings.budget, step=settings.step, steps=settings.steps)


ROW = Defense(
    DefenseCard(
        id="memguard",
        title="MemGuard",
        paper=Paper(
            citation="Jia, Salem, Backes, Zhang, Gong: MemGuard: Defending against Black-Box Membership Inference "
            "Attacks via Adversarial Examples, CCS 2019",
            url="https://arxiv.org/abs/1909.10594",
        ),
        fidelity=Fidelity.OFFICIAL_CODE,
        acts_on="output",
        counts_for=(Access.SCORES,),
        changed="The defender's net is fitted by Adam on balanced batches; logits come from released probabilities; a "
        "keyed hash of the vector draws once per query.",
        settings={**asdict(MemGuard()), "hidden": "256-128-64", "net_steps": _FIT.steps, "net_lr": _FIT.lr},
    ),
    wrap=wrap,
    uses_members=True,
    budget="thorough",
)
