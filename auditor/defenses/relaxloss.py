"""RelaxLoss: train to a loss above zero and no further (Chen, Yu, Fritz, ICLR 2022, arXiv:2207.05801).

What it claims
    The abstract: a training loss that is easier to reach narrows the generalisation gap and leaks less; on five data
    sets it withstands many attacks while utility is kept or even grows. No figure.

What it needs
    Retraining; no further records.

Algorithm (of the official code, github.com/DingfanChen/RelaxLoss @ fc8c68e, its image version), L the batch's mean loss
    1. In epochs 0, 2, 4, ... the loss is |L - level|: descent above the level, ascent below.
    2. In the others, above the level, it is L.
    3. In the others, at or below the level, it is the mean over records of [wrong] CE(p, t) - CE(p, y): posterior
       flattening. t gives the true class c = min(p_y, upper) and every other (1 - c) / (K - 1); [wrong] is 1 where the
       top class is not y. The gradient goes through t too, as in the code.

What is not the paper's
    The level is the code's for CIFAR-10 and ResNet-20, which tunes it for each data set and network, but at most half
    of ln K, the loss of guessing: ours, as with few classes 1 would be worse than guessing. For records without images
    the code has another form of step 3, which is not used. The owner's optimiser, schedule and augmentation replace
    the code's; any label smoothing of the owner's is left out.

What it does not stop
    Losses are levelled on average; whether single records are still told apart is what the attacks measure. Labels are
    learned as before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.defense import Defense, Holding
from auditor.defenses.teaching import ALL_ACCESSES, taught
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.splits import Recipe
from auditor.target import Target
from auditor.training import Classroom, Lesson

__all__ = ["ROW", "RelaxLoss", "flattening_loss", "level_for", "relaxed_loss", "retrain"]


@dataclass(frozen=True)
class RelaxLoss:
    """Level (alpha) and cap of the confidence: the code's for CIFAR-10 and ResNet-20. The third is ours.

    Attributes:
        level: The mean loss to be reached.
        upper: The most that flattening gives the true class.
        share_of_guessing: The level is at most this share of the loss of guessing.
    """

    level: float = 1.0
    upper: float = 1.0
    share_of_guessing: float = 0.5


def level_for(num_classes: int, settings: RelaxLoss) -> float:
    """The level for a number of classes."""
    return min(settings.level, settings.share_of_guessing * math.log(num_classes))


def relaxed_loss(answers: Tensor, labels: Tensor, epoch: int, level: float, upper: float) -> Tensor:
    """The loss of a batch: a scalar.

    Args:
        answers: Logits [record, class].
        labels: int64 [record].
        epoch: Counted from 0.
        level: The mean loss to be reached.
        upper: The most that flattening gives the true class.
    """
    mean = functional.cross_entropy(answers, labels)
    if epoch % 2 == 0:
        return (mean - level).abs()
    return mean if mean > level else flattening_loss(answers, labels, upper)


def flattening_loss(answers: Tensor, labels: Tensor, upper: float) -> Tensor:
    """The loss that flattens what is said of the other classes: a scalar; see `relaxed_loss`."""
    logs = functional.log_softmax(answers, dim=1)
    own = functional.one_hot(labels, answers.shape[1]).bool()
    confidence = logs.exp()[own].clamp(max=upper)[:, None]
    soft = torch.where(own, confidence, (1 - confidence) / (answers.shape[1] - 1))
    wrong = (answers.argmax(1) != labels).to(answers.dtype)
    return (-wrong * (soft * logs).sum(1) + logs[own]).mean()


class _Relaxed(Lesson):
    def __init__(self, level: float, upper: float) -> None:
        self._level = level
        self._upper = upper
        self._epoch = 0

    def loss(self, module: nn.Module, batch: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
        """The relaxed loss of a batch; the recipe's label smoothing is left out."""
        del recipe
        return relaxed_loss(module(batch), labels, self._epoch, self._level, self._upper)

    def between_epochs(self, room: Classroom) -> bool:
        """Count the epochs."""
        self._epoch = room.epoch
        return True


def retrain(template: Target, holding: Holding, seed: int, settings: RelaxLoss = RelaxLoss()) -> Target:
    """Train a network with the relaxed loss.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    level = level_for(template.facts.num_classes, settings)
    return taught(template, holding, seed, _Relaxed(level, settings.upper))


ROW = Defense(
    DefenseCard(
        id="relaxloss",
        title="RelaxLoss",
        paper=Paper(
            citation="Chen, Yu, Fritz: RelaxLoss: Defending Membership Inference Attacks without Losing Utility, "
            "ICLR 2022",
            url="https://arxiv.org/abs/2207.05801",
        ),
        fidelity=Fidelity.OFFICIAL_CODE,
        acts_on="training",
        counts_for=ALL_ACCESSES,
        changed="Not tuned: the level is the code's for CIFAR-10 and ResNet-20, but at most half of the loss of "
        "guessing; the owner's optimiser; the owner's label smoothing is left out.",
        settings={"level": 1.0, "upper": 1.0, "share_of_guessing": 0.5},
    ),
    retrain=retrain,
    budget="thorough",
)
