"""Label smoothing, with a positive and with a negative factor (Struppek, Hintersdorf, Kersting, ICLR 2024).

What it claims
    The abstract: positive smoothing makes model inversion easier, negative smoothing makes it harder and beats earlier
    defenses. Of membership inference it says nothing.

What it needs
    Retraining; no further records.

Algorithm
    The target vector is (1 - a) onehot(y) + a / K for K classes, so that the loss is
    (1 - a) CE(p, y) - a mean over classes of ln p. Positive: a = 0.1 throughout. Negative: a = -0.05, by the official
    code (github.com/LukasStruppek/Plug-and-Play-Attacks @ 3087a4f) none in the first half of the epochs, then
    a (e + 1 - E / 2) / (E - E / 2) in epoch e of E, counted from 0, and the whole of it in the last quarter.

What is not the paper's
    The code's schedule is in epochs 50 and 75 of 100; here they are shares of the owner's epochs. -0.05 is the factor
    of the code's own example; what the paper took for each of its models could not be read. The positive factor is the
    one at which the code of RelaxLoss measures label smoothing. The owner's optimiser, schedule and augmentation
    replace the paper's, and the negative factor replaces any smoothing in the owner's recipe.

What it does not stop
    Neither was made against membership inference, and smoothing can help such attacks. Labels are learned as before.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from auditor.defense import Defense, Holding, UnfitDefenseError
from auditor.defenses.teaching import ALL_ACCESSES, taught
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.splits import Recipe
from auditor.target import Target
from auditor.training import Classroom, Lesson

__all__ = ["ROWS", "NegativeSmoothing", "Smoothing", "factor_at", "retrain", "retrain_negative", "smoothed_loss"]


@dataclass(frozen=True)
class Smoothing:
    """Positive smoothing; the factor is that of RelaxLoss's code."""

    factor: float = 0.1


@dataclass(frozen=True)
class NegativeSmoothing:
    """Negative smoothing; from which share of the epochs on it sets in, and from which it is whole."""

    factor: float = -0.05
    sets_in: float = 0.5
    whole: float = 0.75


def smoothed_loss(answers: Tensor, labels: Tensor, factor: float) -> Tensor:
    """Cross-entropy to smoothed labels, for negative factors too, which torch refuses: a scalar.

    Args:
        answers: Logits [record, class].
        labels: int64 [record].
        factor: At most 1.
    """
    logs = functional.log_softmax(answers, dim=1)
    return (1 - factor) * functional.nll_loss(logs, labels) - factor * logs.mean()


def factor_at(epoch: int, epochs: int, settings: NegativeSmoothing) -> float:
    """The smoothing factor in an epoch, counted from 0."""
    start = settings.sets_in * epochs
    if epoch < start:
        return 0.0
    if epoch < settings.whole * epochs:
        return settings.factor * (epoch + 1 - start) / (epochs - start)
    return settings.factor


class _Negative(Lesson):
    def __init__(self, settings: NegativeSmoothing, epochs: int) -> None:
        self._settings = settings
        self._epochs = epochs
        self._epoch = 0

    def loss(self, module: nn.Module, batch: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
        """The smoothed loss of a batch; the recipe's own smoothing is left out."""
        del recipe
        return smoothed_loss(module(batch), labels, factor_at(self._epoch, self._epochs, self._settings))

    def between_epochs(self, room: Classroom) -> bool:
        """Count the epochs."""
        self._epoch = room.epoch
        return True


def retrain(template: Target, holding: Holding, seed: int, settings: Smoothing = Smoothing()) -> Target:
    """Train a network with smoothed labels.

    Raises:
        UnfitDefenseError: the recipe smooths labels as it is or trains the head alone, or training fails.
    """
    if holding.recipe.label_smoothing > 0:
        raise UnfitDefenseError(f"the recipe smooths labels as it is, by {holding.recipe.label_smoothing:g}")
    recipe = holding.recipe.model_copy(update={"label_smoothing": settings.factor})
    return taught(template, holding, seed, recipe=recipe)


def retrain_negative(
    template: Target, holding: Holding, seed: int, settings: NegativeSmoothing = NegativeSmoothing()
) -> Target:
    """Train a network with negatively smoothed labels from the middle on.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    return taught(template, holding, seed, _Negative(settings, holding.recipe.epochs))


ROWS = (
    Defense(
        DefenseCard(
            id="label-smoothing",
            title="Label smoothing",
            paper=Paper(
                citation="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception Architecture for Computer "
                "Vision, CVPR 2016",
                url="https://arxiv.org/abs/1512.00567",
            ),
            fidelity=Fidelity.THIRD_PARTY,
            acts_on="training",
            counts_for=ALL_ACCESSES,
            changed="The factor is the one at which the authors of RelaxLoss measure it; the owner's optimiser.",
            for_comparison=True,
            settings={"factor": 0.1},
        ),
        retrain=retrain,
        budget="thorough",
    ),
    Defense(
        DefenseCard(
            id="negative-label-smoothing",
            title="Negative label smoothing",
            paper=Paper(
                citation="Struppek, Hintersdorf, Kersting: Be Careful What You Smooth For: Label Smoothing Can Be a "
                "Privacy Shield but Also a Catalyst for Model Inversion Attacks, ICLR 2024",
                url="https://arxiv.org/abs/2310.06549",
            ),
            fidelity=Fidelity.OFFICIAL_CODE,
            acts_on="training",
            counts_for=ALL_ACCESSES,
            changed="The code's epochs 50 and 75 of 100 are shares of the owner's epochs; the factor is that of the "
            "code's example; the owner's optimiser; any smoothing in the owner's recipe is replaced.",
            for_comparison=True,
            settings={"factor": -0.05, "sets_in": 0.5, "whole": 0.75},
        ),
        retrain=retrain_negative,
        budget="thorough",
    ),
)
