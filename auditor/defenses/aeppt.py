"""AEPPT-style perturbation of released scores, a reconstruction (after Xue et al., arXiv:2011.13696).

What it claims
    Adversarial perturbations of what the model releases mislead the adversary's membership inference model, without
    touching the accuracy of the model. The abstract reports attack accuracy and precision of 50 % on CIFAR100 and
    Purchase, and says that attackers who know the defense are resisted too.

What it needs
    The members, and held-out records that the model never saw; the model is not changed.

Algorithm
    1. Train the defender's membership net h on sorted probability vectors: logit above 0 for members, below for the
       reference records.
    2. For a vector p with predicted class l: s = p; at most `steps` times, as long as h(s) is on the side of h(p) and
       further than `tolerance` from 0: s' = s - step * sign(h(s)) * sign(gradient of h at s), clipped at 1e-6 and
       divided by its sum; s = s' if its first maximum is l, else stop.
    3. Release s. Every query is treated alike: an API does not know who is a member.

What is not the paper's
    Nearly all of the above: only the abstract was available. That scores are perturbed by adversarial steps whose size
    matters, and that accuracy stays, is the abstract's; net, loss, update, stop, step size and splits are ours.
    Fidelity: reconstruction. What it does or does not hide says nothing on the paper's own design.

What it does not stop
    Labels stay, so label-only attacks are untouched. The net of an attacker need not agree with h, and stopping where
    h is undecided leaves a trace for whoever trains on defended shadows: the probe below is such an attacker. Whoever
    holds the weights leaves the perturbation away.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from auditor.defense import Defense, DefenseProbe, Holding, Inspected
from auditor.defenses.surrogate import Fit, defenders_net, membership_net
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.signals import class_probabilities
from auditor.target import Target
from auditor.threat import Access
from auditor.wrappers import Perturbed

__all__ = ["ROW", "Aeppt", "own_aeppt", "wrap"]

Floats = npt.NDArray[np.float64]

_FIT = Fit(hidden=(64, 32))


@dataclass(frozen=True)
class Aeppt:
    """How far vectors are moved, see `auditor.wrappers.Perturbed`; all of it is ours."""

    step: float = 0.01
    steps: int = 60
    tolerance: float = 0.0


def wrap(target: Target, holding: Holding, seed: int, settings: Aeppt = Aeppt(), fit: Fit = _FIT) -> Perturbed:
    """Fit the defender's net on what `target` says about members and reference records.

    Args:
        target: The model to defend; it is not changed.
        holding: Its members and reference records are used, their labels are not.
        seed: Decides the net's initial weights and batches.
        settings: How vectors are moved.
        fit: How the net is fitted.

    Raises:
        UnfitDefenseError: there are too few members or reference records.
    """
    net = defenders_net(target, holding, fit, seed)
    return Perturbed(net, step=settings.step, steps=settings.steps, tolerance=settings.tolerance)


def own_aeppt(inspected: Inspected, fit: Fit = _FIT) -> Floats:
    """Score by an attacker who builds the same defense on shadows and learns what members look like behind it.

    The attacker's net reads the released vector, largest first, the probability of the true class, and the mean logit
    of the defenders' nets of the other shadows: they stand for the target's, which the attacker does not have.

    Args:
        inspected: The target and at least two shadows, all behind `Perturbed`.
        fit: How the attacker's net is fitted.

    Returns:
        The net's logit, float64 [record].

    Raises:
        ValueError: there are fewer than two shadows, or one has another wrapper.
    """
    defenders = [_defender(shadow) for shadow in inspected.shadows]
    if len(defenders) < 2:
        raise ValueError(f"the attacker's own AEPPT needs at least two shadows, got {len(defenders)}")
    rows = [
        _features(shadow, inspected, [*defenders[:index], *defenders[index + 1 :]])
        for index, shadow in enumerate(inspected.shadows)
    ]
    seen, included = torch.cat(rows), torch.from_numpy(inspected.inclusion.ravel())
    net = membership_net(seen[included], seen[~included], fit, inspected.seed)
    with torch.no_grad():
        logits: Tensor = net(_features(inspected.target, inspected, defenders))
    return logits.numpy().astype(np.float64)


def _defender(shadow: Target) -> Perturbed:
    if not isinstance(shadow.wrapper, Perturbed):
        raise ValueError("a shadow does not stand behind AEPPT")  # noqa: TRY004 - its value is wrong, not its type
    return shadow.wrapper


def _features(target: Target, inspected: Inspected, defenders: list[Perturbed]) -> Tensor:
    """float32 [record, class + 2], on the CPU."""
    records = inspected.records
    released = torch.from_numpy(class_probabilities(target, records.inputs))
    true = released.gather(1, torch.from_numpy(np.array(records.labels))[:, None])
    with torch.no_grad():
        placed = released.to(target.device)
        logits = torch.stack([defender.member_logit(placed) for defender in defenders]).mean(0)
    ranked = released.sort(dim=1, descending=True).values
    return torch.cat([ranked, true, logits.cpu()[:, None]], dim=1)


ROW = Defense(
    DefenseCard(
        id="aeppt",
        title="AEPPT-style (reconstruction)",
        paper=Paper(
            citation="Xue et al.: Use the Spear as a Shield: A Novel Adversarial Example based Privacy-Preserving "
            "Technique against Membership Inference Attacks, 2020",
            url="https://arxiv.org/abs/2011.13696",
        ),
        fidelity=Fidelity.RECONSTRUCTION,
        acts_on="output",
        counts_for=(Access.SCORES,),
        changed="Only the abstract was available: the defender's net, the update, the stop and all numbers are ours.",
        claims="AEPPT reports attack accuracy and precision of 50 % on CIFAR100 and Purchase (abstract); this tool's "
        "implementation is a reconstruction.",
        settings={**asdict(Aeppt()), "hidden": "64-32", "net_steps": _FIT.steps, "net_lr": _FIT.lr},
    ),
    wrap=wrap,
    uses_members=True,
    probes=(
        DefenseProbe(
            id="own-aeppt",
            title="A net trained on shadows behind the attacker's own AEPPT",
            access=Access.SCORES,
            score=own_aeppt,
            shadows=4,
        ),
    ),
)
