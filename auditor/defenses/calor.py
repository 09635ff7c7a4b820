"""CALoR: a low-rank header with tanh, and fine-tuning that holds confidence back (Yu, Qiu et al., arXiv:2410.05814v2).

What it claims
    A header of low rank keeps a model from telling more about an input than its class, and tanh and a lowered
    confidence stop the gradients that a white-box inversion follows. Membership inference is not its subject. It is a
    preprint, not accepted at ICLR 2025; later versions of the same record are a different paper.

What it needs
    The training records and the recipe: the network is trained anew, in two stages.

Algorithm
    1. In place of the last linear layer, d features -> C classes: batch normalisation -> Linear(d, r) -> tanh ->
       Linear(r, C). Train everything by cross-entropy.
    2. Go on from there with L = mean(a p^b ln p), p the softmax probability of the true class (class
       `InverseFocalLoss` of the authors' toolbox): its minimum lies at p = exp(-1/b), so members are pinned at one
       confidence. In training mode, without random crops, without weight decay; the last weights are kept.

What is not the paper's
    The rank for few classes and the step of stage 2. The authors' example takes r = 50 for 530 classes, and SGD at 2e-5
    for 5 epochs: with it the loss hardly moves a small network, since its gradient vanishes towards p = 1. Here r is at
    most the number of classes and half the features, and stage 2 is Adam at a share of the recipe's rate; even so a
    saturated network goes only part of the way. Stage 1 follows the owner's recipe. Fidelity: official-code-derived.

    Reviewers asked for a squared error in the loss's place: `MSELogitLoss` of the same toolbox, mean (p - target)^2, is
    the part `squared-error`. Its target here is exp(-1/b), so that the two differ in nothing but how they get there.

What it does not stop
    Attackers who read the features before the neck, or take the confidence exp(-1/b) for their goal: the probes here do
    both. Whoever holds the weights also chooses what a gradient goes through: the inversion probes aim at exp(-1/b),
    take tanh out, or let the gradient pass it as if it were not there. Members pinned at one confidence can be easier
    to tell than before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from auditor.checkpoint.new_head import NewHead
from auditor.compute import generator
from auditor.defense import Defense, DefenseProbe, Holding, Inspected, InversionProbe
from auditor.defenses.calibration import less_out_mean
from auditor.defenses.heads import head_for
from auditor.defenses.neck import neck_of, straight_through, without_tanh
from auditor.defenses.teaching import ALL_ACCESSES, taught
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.records import Records
from auditor.signals import class_probabilities, same_noise
from auditor.splits import Recipe
from auditor.target import Target
from auditor.threat import Access
from auditor.training import Lesson

__all__ = [
    "ROWS",
    "CALoR",
    "ConfidenceAdaptation",
    "SquaredError",
    "adapt_alone",
    "head",
    "in_band",
    "rank_for",
    "retrain",
    "retrain_squared",
    "through_features",
    "train_header",
]

Floats = npt.NDArray[np.float64]

_BATCH = 256
_RIDGE = 0.1


@dataclass(frozen=True)
class CALoR:
    """Settings: `rank`, `scale` and `power` as the authors' example scripts have them, the rest is ours.

    Attributes:
        rank: Largest width of the neck.
        scale: a of the loss.
        power: b of the loss.
        adaptive_share: Rate of stage 2 as a share of the recipe's, where that is Adam's or AdamW's.
        sgd_share: The same where the recipe's is SGD's, which is larger by habit.
        epochs_share: Epochs of stage 2 as a share of the recipe's.
        epochs_least: At least so many.
    """

    rank: int = 50
    scale: float = 0.25
    power: float = 8.0
    adaptive_share: float = 0.3
    sgd_share: float = 0.01
    epochs_share: float = 1 / 3
    epochs_least: int = 5

    @property
    def goal(self) -> float:
        """The confidence in the true class at which the loss is smallest."""
        return math.exp(-1 / self.power)

    def second_stage(self, recipe: Recipe) -> Recipe:
        """How stage 2 is trained where stage 1 was trained by `recipe`."""
        share = self.sgd_share if recipe.optimizer == "sgd" else self.adaptive_share
        return recipe.model_copy(
            update={
                "optimizer": "adam",
                "lr": share * recipe.lr,
                "weight_decay": 0.0,
                "schedule": "cosine",
                "epochs": max(self.epochs_least, round(self.epochs_share * recipe.epochs)),
                "augmentation": tuple(one for one in recipe.augmentation if one != "crop"),
            }
        )


_DEFAULT = CALoR()


class ConfidenceAdaptation(Lesson):
    """mean(a p^b ln p), p the probability of the true class.

    Args:
        scale: a.
        power: b.
    """

    def __init__(self, scale: float, power: float) -> None:
        self.scale = scale
        self.power = power

    def loss(self, module: nn.Module, batch: torch.Tensor, labels: torch.Tensor, recipe: Recipe) -> torch.Tensor:
        """See `Lesson.loss`; the recipe's label smoothing has no place in it."""
        del recipe
        log_p = functional.log_softmax(module(batch).float(), dim=1).gather(1, labels[:, None])
        return (self.scale * (self.power * log_p).exp() * log_p).mean()


class SquaredError(Lesson):
    """mean((p - goal)^2), p the probability of the true class.

    Args:
        goal: Where the loss is zero.
    """

    def __init__(self, goal: float) -> None:
        self.goal = goal

    def loss(self, module: nn.Module, batch: torch.Tensor, labels: torch.Tensor, recipe: Recipe) -> torch.Tensor:
        """See `Lesson.loss`; the recipe's label smoothing has no place in it."""
        del recipe
        p: torch.Tensor = module(batch).float().softmax(1).gather(1, labels[:, None])
        return (p - self.goal).square().mean()


def rank_for(features: int, classes: int) -> int:
    """Width of the neck: the example's, but no more than there are classes, nor than half the features."""
    return max(1, min(_DEFAULT.rank, classes, features // 2))


def head(target: Target) -> NewHead:
    """The low-rank header for a network.

    Raises:
        UnfitDefenseError: its own head is not one linear layer.
    """
    return head_for(target, "low-rank", rank_for)


def train_header(template: Target, holding: Holding, seed: int) -> Target:
    """Stage 1: train a network with the header by the owner's recipe.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    return taught(template, holding, seed)


def retrain(template: Target, holding: Holding, seed: int) -> Target:
    """Both stages.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    return _adapted(train_header(template, holding, seed), holding, seed, _ADAPTATION)


def retrain_squared(template: Target, holding: Holding, seed: int) -> Target:
    """Both stages, with the squared error in the second.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    return _adapted(train_header(template, holding, seed), holding, seed, SquaredError(_DEFAULT.goal))


def adapt_alone(template: Target, holding: Holding, seed: int) -> Target:
    """Stage 2 alone, after plain training of a network with its own head.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, or training fails.
    """
    return _adapted(taught(template, holding, seed), holding, seed, _ADAPTATION)


_ADAPTATION = ConfidenceAdaptation(_DEFAULT.scale, _DEFAULT.power)


def _adapted(start: Target, holding: Holding, seed: int, lesson: Lesson) -> Target:
    later = int(generator(seed, "confidence adaptation").integers(2**31))
    return taught(start, holding, later, lesson, recipe=_DEFAULT.second_stage(holding.recipe), start=start)


# --- probes --------------------------------------------------------------------------------------------------------


def in_band(inspected: Inspected) -> Floats:
    """How close the confidence in the true class is to where the loss pins members: -|p_y - exp(-1/b)|, [record]."""
    released = class_probabilities(inspected.target, inspected.records.inputs)
    confidence = released[np.arange(inspected.records.n), inspected.records.labels].astype(np.float64)
    return -np.abs(confidence - _DEFAULT.goal)


def through_features(inspected: Inspected) -> Floats:
    """The neck taken out: a plain linear head, refitted on the attacker's records, on what the neck receives.

    The same is done to every shadow; the score is the margin of the true class under the target's refitted head, less
    its mean under those of the shadows without the record. [record].
    """
    shadows = np.stack([_refitted_margin(shadow, inspected) for shadow in inspected.shadows])
    return less_out_mean(_refitted_margin(inspected.target, inspected), shadows, inspected.inclusion)


def _refitted_margin(target: Target, inspected: Inspected) -> Floats:
    """Score of the true class less the best other's, [record], under ridge regression to one-hot labels."""
    classes, own, records = target.facts.num_classes, inspected.own, inspected.records
    known, asked = _before_the_neck(target, own), _before_the_neck(target, records)
    centre, spread = known.mean(0), known.std(0) + 1e-6
    known, asked = (known - centre) / spread, (asked - centre) / spread
    goal = np.eye(classes)[own.labels]
    gram = known.T @ known + _RIDGE * own.n * np.eye(known.shape[1])
    answers = goal.mean(0) + asked @ np.linalg.solve(gram, known.T @ (goal - goal.mean(0)))
    true = np.eye(classes, dtype=bool)[records.labels]
    return np.asarray(answers[true] - np.where(true, -np.inf, answers).max(1), dtype=np.float64)


def _before_the_neck(target: Target, records: Records) -> Floats:
    """float64 [record, feature]."""
    neck, received = neck_of(target.module), list[torch.Tensor]()
    hook = neck.register_forward_pre_hook(lambda _, arguments: received.append(arguments[0].float().cpu()))
    try:
        with torch.inference_mode(), same_noise(target):
            for start in range(0, records.n, _BATCH):
                target.logits(records.inputs[start : start + _BATCH])
    finally:
        hook.remove()
    return torch.cat(received).numpy().astype(np.float64)


# --- rows ----------------------------------------------------------------------------------------------------------

_PAPER = Paper(
    citation="Yu, Qiu et al.: CALoR: Towards Comprehensive Model Inversion Defense, preprint, version 2, 2024",
    url="https://arxiv.org/abs/2410.05814v2",
)
_RANK = (
    "The rank is 50 as in the authors' script for 530 classes, but at most the number of classes and half the features."
)
_STEP = (
    "Fine-tuning is by Adam at 0.3 of the recipe's rate (0.01 of it where that is SGD's), falling to zero over a third "
    "of its epochs, at least 5: the script's own step, SGD at 2e-5 for 5 epochs, hardly moves a small network."
)
_SQUARED = (
    "The loss is the class MSELogitLoss of the authors' toolbox (branch tomain @ d58590c); that it takes the place of "
    "the paper's, and that its target is exp(-1/8) and not the class's default of 1, is ours."
)
_RECIPE = "The rest follows the owner's recipe."
_STATUS = (
    "CALoR is an arXiv preprint (2410.05814v2), not accepted at ICLR 2025; later versions of the same record are a "
    "different paper (LoFt, KDD 2026)."
)
_LOSS = {"scale": _DEFAULT.scale, "power": _DEFAULT.power}
_STEPS = {
    "adaptive_share": _DEFAULT.adaptive_share,
    "sgd_share": _DEFAULT.sgd_share,
    "epochs_share": round(_DEFAULT.epochs_share, 3),
    "epochs_least": _DEFAULT.epochs_least,
}

_CARD = DefenseCard(
    id="calor",
    title="CALoR",
    paper=_PAPER,
    fidelity=Fidelity.OFFICIAL_CODE,
    acts_on="training",
    counts_for=ALL_ACCESSES,
    changed=f"{_RANK} {_STEP} {_RECIPE}",
    claims=_STATUS,
    settings={"rank_at_most": _DEFAULT.rank, "activation": "tanh", **_LOSS, **_STEPS},
)
_BAND = DefenseProbe(
    id="calor-band",
    title="Confidence close to where the loss pins members",
    access=Access.SCORES,
    score=in_band,
)
_FEATURES = DefenseProbe(
    id="calor-features",
    title="Features before the neck, with a linear head refitted by the attacker",
    access=Access.WEIGHTS,
    score=through_features,
    shadows=4,
)
_AIM = InversionProbe(
    id="calor-aim",
    title="MIFace towards the confidence where the loss pins members",
    aim=_DEFAULT.goal,
)
_NO_TANH = InversionProbe(id="calor-no-tanh", title="MIFace on a copy without the neck's tanh", opened=without_tanh)
_STRAIGHT = InversionProbe(
    id="calor-straight-through",
    title="MIFace with gradients that pass the neck's tanh unchanged",
    opened=straight_through,
)
_BOTH = InversionProbe(
    id="calor-aim-straight-through",
    title="MIFace towards that confidence, with gradients that pass the neck's tanh unchanged",
    aim=_DEFAULT.goal,
    opened=straight_through,
)
_INVERTERS = (_AIM, _NO_TANH, _STRAIGHT, _BOTH)
_HEADER_CARD = DefenseCard(
    id="low-rank",
    title="Low-rank header alone (CALoR)",
    paper=_PAPER,
    fidelity=Fidelity.OFFICIAL_CODE,
    acts_on="training",
    counts_for=ALL_ACCESSES,
    changed=f"{_RANK} {_RECIPE}",
    part_of="calor",
    settings={"rank_at_most": _DEFAULT.rank, "activation": "tanh"},
)
_ADAPTATION_CARD = DefenseCard(
    id="confidence-adaptation",
    title="Confidence adaptation alone (CALoR)",
    paper=_PAPER,
    fidelity=Fidelity.OFFICIAL_CODE,
    acts_on="training",
    counts_for=ALL_ACCESSES,
    changed=f"{_STEP} {_RECIPE}",
    part_of="calor",
    settings={**_LOSS, **_STEPS},
)
_SQUARED_CARD = DefenseCard(
    id="squared-error",
    title="CALoR with a squared error in place of its loss",
    paper=_PAPER,
    fidelity=Fidelity.OFFICIAL_CODE,
    acts_on="training",
    counts_for=ALL_ACCESSES,
    changed=f"{_SQUARED} {_RANK} {_STEP} {_RECIPE}",
    part_of="calor",
    settings={"rank_at_most": _DEFAULT.rank, "activation": "tanh", "goal": round(_DEFAULT.goal, 3), **_STEPS},
)

ROWS = (
    Defense(_CARD, retrain=retrain, head=head, probes=(_BAND, _FEATURES), inverters=_INVERTERS),
    Defense(
        _HEADER_CARD,
        retrain=train_header,
        head=head,
        budget="thorough",
        probes=(replace(_FEATURES, id="low-rank-features"),),
        inverters=(replace(_NO_TANH, id="low-rank-no-tanh"), replace(_STRAIGHT, id="low-rank-straight-through")),
    ),
    Defense(
        _ADAPTATION_CARD,
        retrain=adapt_alone,
        budget="thorough",
        probes=(replace(_BAND, id="confidence-adaptation-band"),),
        inverters=(replace(_AIM, id="confidence-adaptation-aim"),),
    ),
    Defense(
        _SQUARED_CARD,
        retrain=retrain_squared,
        head=head,
        budget="thorough",
        probes=(replace(_BAND, id="squared-error-band"), replace(_FEATURES, id="squared-error-features")),
        inverters=tuple(replace(one, id=one.id.replace("calor", "squared-error", 1)) for one in _INVERTERS),
    ),
)
