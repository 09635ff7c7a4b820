"""HAMP: less confident in training, and no confidence of its own at all when asked (Chen, Pattabiraman, NDSS 2024).

What it claims
    The abstract: attacks live on overconfidence about members; soft labels of high entropy with an entropy
    regulariser, and outputs that are all changed to unconfident ones while accuracy is kept, give a better trade-off
    than seven earlier defenses on five data sets, without extra data. No figure.

What it needs
    Retraining; no further records. Records of features: the reference, for what random ones look like.

Algorithm (of the official code, github.com/DependableSystemsLab/MIA_defense_HAMP @ a064a1f)
    1. Soft labels t: the true class gets the largest of 0.99, 0.98, ... at which the entropy of t is at least
       gamma ln K, every other class the same share of the rest.
    2. Train on mean over records and classes of t (ln t - ln p), less alpha times the mean entropy of p.
    3. Asked about x, sort p(x), and release in its place, rank by rank, the sorted p(noise) of one random input, drawn
       anew with each query. Ranks and label stay.

What is not the paper's
    gamma and alpha are the code's for CIFAR-10, which has others for other data. The loss is K times the code's, whose
    mean runs over classes as well, so that the owner's learning rate fits; K alpha is the same trade-off. The last
    epoch's weights are kept, as those of the undefended model are, not the best on validation records. The owner's
    optimiser, schedule and augmentation are used; the owner's label smoothing is left out. Ours also: the random inputs
    of step 3 are 1,000, drawn once, uniform in 0 to 255 for images; a random record of features takes each feature from
    a reference record of its own, where the code draws bits for its binary features. Answers whose two largest
    probabilities are equal are left out of them, as they would change labels.

What it does not stop
    The label and the order of the classes are released, so attacks on labels are only met by training; whoever holds
    the weights leaves step 3 away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.compute import generator
from auditor.defense import Defense, Holding, UnfitDefenseError
from auditor.defenses.teaching import ALL_ACCESSES, taught
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.signals import class_probabilities
from auditor.splits import Recipe
from auditor.target import Target
from auditor.training import Lesson
from auditor.wrappers import Hamp

__all__ = ["ROW", "Settings", "entropy_loss", "random_inputs", "retrain", "top_share", "wrap"]

Inputs: TypeAlias = npt.NDArray[np.generic]

_STEPS = 100


@dataclass(frozen=True)
class Settings:
    """The code's for CIFAR-10; the last is ours.

    Attributes:
        entropy_share: Of the largest entropy, that soft labels have at least (gamma).
        regularisation: Of the entropy, beside a loss that is a mean over classes too (alpha).
        answers: How many random inputs the released values are of.
    """

    entropy_share: float = 0.95
    regularisation: float = 0.001
    answers: int = 1000


def top_share(num_classes: int, entropy_share: float) -> float:
    """What soft labels give the true class: the largest hundredth under 1 at which they have enough entropy.

    Args:
        num_classes: At least 2.
        entropy_share: Of the logarithm of `num_classes`.
    """

    def entropy(top: float) -> float:
        return -top * math.log(top) - (1 - top) * math.log((1 - top) / (num_classes - 1))

    threshold = entropy_share * math.log(num_classes)
    return max(top for top in (step / _STEPS for step in range(1, _STEPS)) if entropy(top) >= threshold)


def entropy_loss(answers: Tensor, labels: Tensor, top: float, regularisation: float) -> Tensor:
    """Divergence from the soft labels, less the entropy of the answers, both as means over records: a scalar.

    Args:
        answers: Logits [record, class].
        labels: int64 [record].
        top: What soft labels give the true class.
        regularisation: Weight of the entropy beside a divergence that is a mean over classes too.
    """
    classes = answers.shape[1]
    logs = functional.log_softmax(answers, dim=1)
    soft = torch.full_like(logs, (1 - top) / (classes - 1)).scatter(1, labels[:, None], top)
    divergence = functional.kl_div(logs, soft, reduction="batchmean")
    entropy = -(logs.exp() * logs).sum(1).mean()
    return divergence - classes * regularisation * entropy


class _Unconfident(Lesson):
    def __init__(self, top: float, regularisation: float) -> None:
        self._top = top
        self._regularisation = regularisation

    def loss(self, module: nn.Module, batch: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
        """The loss of a batch; the recipe's label smoothing is left out."""
        del recipe
        return entropy_loss(module(batch).float(), labels, self._top, self._regularisation)


def retrain(template: Target, holding: Holding, seed: int, settings: Settings = Settings()) -> Target:
    """Train a network on soft labels of high entropy.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    top = top_share(template.facts.num_classes, settings.entropy_share)
    return taught(template, holding, seed, _Unconfident(top, settings.regularisation))


def random_inputs(like: Inputs, count: int, rng: np.random.Generator) -> Inputs:
    """Stored records that show nothing.

    Args:
        like: Records of the same kind: images uint8 [record, height, width, channel] or features [record, feature].
        count: How many.
        rng: Draws.

    Returns:
        Images of uniform noise, or features each taken from a record of its own.
    """
    if like.dtype == np.uint8:
        return rng.integers(0, 256, (count, *like.shape[1:]), dtype=np.uint8)
    rows = rng.integers(0, len(like), (count, like.shape[1]))
    return np.take_along_axis(like, rows, axis=0)


def wrap(target: Target, holding: Holding, seed: int, settings: Settings = Settings()) -> Hamp:
    """What the model answers to random inputs, to be released in place of its own probabilities.

    Args:
        target: The retrained model; it is not changed.
        holding: Its reference records say what inputs look like.
        seed: Decides the random inputs.
        settings: How many.

    Raises:
        UnfitDefenseError: there are no reference records, or the model is undecided about every random input.
    """
    if holding.reference.n == 0:
        raise UnfitDefenseError("there are no records in the defender's half of the population")
    noise = random_inputs(holding.reference.inputs, settings.answers, generator(seed, "random inputs of hamp"))
    answers = np.sort(class_probabilities(target, noise), axis=1)[:, ::-1]
    decided = answers[answers[:, 0] > answers[:, 1]]
    if len(decided) == 0:
        raise UnfitDefenseError("the model gives two classes the same probability for every random input")
    return Hamp(torch.from_numpy(decided.copy())).to(target.device).eval()


ROW = Defense(
    DefenseCard(
        id="hamp",
        title="HAMP",
        paper=Paper(
            citation="Chen, Pattabiraman: Overconfidence is a Dangerous Thing: Mitigating Membership Inference Attacks "
            "by Enforcing Less Confident Prediction, NDSS 2024",
            url="https://arxiv.org/abs/2307.01610",
        ),
        fidelity=Fidelity.OFFICIAL_CODE,
        acts_on="training",
        counts_for=ALL_ACCESSES,
        changed="Not tuned: entropy and regularisation are the code's for CIFAR-10; the last epoch is kept; released "
        "values come from 1,000 random inputs drawn once; the owner's optimiser, without the owner's label smoothing.",
        settings={"entropy_share": 0.95, "regularisation": 0.001, "answers": 1000},
    ),
    retrain=retrain,
    wrap=wrap,
    budget="thorough",
)
