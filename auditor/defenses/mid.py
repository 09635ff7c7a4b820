"""MID: a variational bottleneck before the classes, so that outputs tell little of inputs (Wang et al., AAAI 2021).

What it claims
    Less mutual information between inputs and predictions makes inversion harder at less cost than differential
    privacy. For neural networks the mutual information is bounded by that of a noisy code.

What it needs
    The training records and the recipe: the network is trained anew, with another head.

Algorithm
    In place of the last linear layer, d features -> C classes: Linear(d, 2k) with k = d // 2 gives mean and raw
    deviation; the code is mean + softplus(raw - 5) * eps, eps ~ N(0, I); Linear(k, C) makes the logits of it. Loss:
    cross-entropy + beta * KL(code || N(0, I)), the divergence summed over k and averaged over the batch. The noise
    stays in eval mode: the released model answers at random (the authors' code, three experiments).

What is not the paper's
    Training follows the owner's recipe, and the last weights are kept: the code keeps the epoch of the best test
    accuracy, which would let the test records steer the training. beta = 0.003 is the code's for a code of 1,024; the
    sum over k makes it stronger or weaker elsewhere. Fidelity: official-code-derived.

What it does not stop
    Averaging many answers, or, with the weights, reading the mean of the code (`opened`). A small divergence says
    little about one person's data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from auditor.checkpoint.new_head import BottleneckHead, NewHead
from auditor.defense import Defense, DefenseProbe, Holding, Inspected
from auditor.defenses.calibration import less_out_mean
from auditor.defenses.heads import head_for
from auditor.defenses.teaching import ALL_ACCESSES, taught
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.records import Records
from auditor.signals import class_vectors
from auditor.splits import Recipe
from auditor.target import Target
from auditor.threat import Access
from auditor.training import Lesson
from reference_attacks.membership import signals as formulas

__all__ = ["MID", "ROWS", "MutualInformation", "averaged", "head", "opened", "retrain", "train_bottleneck"]

Floats = npt.NDArray[np.float64]

_DRAWS = 16


@dataclass(frozen=True)
class MID:
    """`beta` weighs the divergence of the code; the default is that of the code's experiment on faces."""

    beta: float = 0.003


_DEFAULT = MID()


class MutualInformation(Lesson):
    """The recipe's cross-entropy and `beta` times the divergence of the code.

    Args:
        beta: Weight of the divergence, which is in nats.
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def loss(self, module: nn.Module, batch: torch.Tensor, labels: torch.Tensor, recipe: Recipe) -> torch.Tensor:
        """See `Lesson.loss`."""
        error = super().loss(module, batch, labels, recipe)
        bottleneck = next(part for part in module.modules() if isinstance(part, BottleneckHead))
        return error + self.beta * bottleneck.divergence


def head(target: Target) -> NewHead:
    """The bottleneck for a network: half as wide as its features.

    Raises:
        UnfitDefenseError: its own head is not one linear layer.
    """
    return head_for(target, "bottleneck", _half)


def _half(features: int, classes: int) -> int:
    del classes
    return max(1, features // 2)


def retrain(template: Target, holding: Holding, seed: int, settings: MID = _DEFAULT) -> Target:
    """Train a network with the bottleneck.

    Args:
        template: An untrained network with the bottleneck in place.
        holding: Its members and recipe are used.
        seed: Decides initial weights, batch order and noise.
        settings: The weight of the divergence.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    return taught(template, holding, seed, MutualInformation(settings.beta))


def train_bottleneck(template: Target, holding: Holding, seed: int) -> Target:
    """The noisy bottleneck alone: beta = 0."""
    return retrain(template, holding, seed, MID(beta=0.0))


def opened(target: Target) -> Target:
    """The model as whoever holds its weights runs it: the mean of the code, without the noise."""
    noisy = target.architecture.head
    if noisy is None:
        return target
    mean = noisy.model_copy(update={"noisy": False})
    architecture = replace(target.architecture, head=mean)
    quiet = replace(target, architecture=architecture).with_weights(target.module.state_dict())
    mark = target.trained_with
    told = None if mark is None else mark.model_copy(update={"head": mean})
    return replace(target, module=quiet.module, architecture=architecture, trained_with=told)


def averaged(inspected: Inspected) -> Floats:
    """The noise averaged away: mean log-odds of the true class over 16 queries, less the shadows' without the record.

    [record].
    """
    shadows = np.stack([_mean_log_odds(shadow, inspected.records) for shadow in inspected.shadows])
    return less_out_mean(_mean_log_odds(inspected.target, inspected.records), shadows, inspected.inclusion)


def _mean_log_odds(target: Target, records: Records) -> Floats:
    answers = (class_vectors(target, records.inputs, time=time)[1] for time in range(_DRAWS))
    log_odds = np.stack([formulas.released_margin(released, records.labels) for released in answers])
    return np.asarray(log_odds.mean(0), dtype=np.float64)


# --- rows ----------------------------------------------------------------------------------------------------------

_PAPER = Paper(
    citation="Wang, Zhang, Jia: Improving Robustness to Model Inversion Attacks via Mutual Information Regularization, "
    "AAAI 2021",
    url="https://arxiv.org/abs/2009.05241",
)
_CHANGED = (
    "Trained by the owner's recipe; the last weights are kept, where the code keeps those of the best test accuracy."
)
_CLAIMS = (
    "MID's official implementation is a variational bottleneck with noise at inference; in a rerun by other authors "
    "CelebA accuracy fell to 77.6 / 67.7 / 59.2 % at beta 0.003 / 0.01 / 0.02 against 85.9-87.3 % undefended "
    "(checkpoint names in the BiDO repository). In MID's own Figure 4, GMI attack accuracy on CelebA/VGG-16 falls from "
    "about 31 % to 18-8 % while model accuracy goes from about 85 % to 85-73 % (read off the plot)."
)
_PROBE = DefenseProbe(
    id="mid-averaged",
    title="Noise averaged over 16 queries",
    access=Access.SCORES,
    score=averaged,
    shadows=4,
)

ROWS = (
    Defense(
        DefenseCard(
            id="mid",
            title="MID",
            paper=_PAPER,
            fidelity=Fidelity.OFFICIAL_CODE,
            acts_on="training",
            counts_for=ALL_ACCESSES,
            changed=_CHANGED,
            claims=_CLAIMS,
            settings={"beta": _DEFAULT.beta, "width": "half the features"},
        ),
        retrain=retrain,
        head=head,
        opened=opened,
        probes=(_PROBE,),
    ),
    Defense(
        DefenseCard(
            id="bottleneck",
            title="Noisy bottleneck alone (MID at beta 0)",
            paper=_PAPER,
            fidelity=Fidelity.OFFICIAL_CODE,
            acts_on="training",
            counts_for=ALL_ACCESSES,
            changed=_CHANGED,
            part_of="mid",
            settings={"beta": 0.0, "width": "half the features"},
        ),
        retrain=train_bottleneck,
        head=head,
        opened=opened,
        budget="thorough",
        probes=(replace(_PROBE, id="bottleneck-averaged"),),
    ),
)
