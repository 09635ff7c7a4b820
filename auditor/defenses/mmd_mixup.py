"""MMD and mix-up: make members' outputs distributed like held-out ones (Li, Li, Ribeiro, CODASPY 2021).

What it claims
    How vulnerable a model is goes with the gap between its training and its test accuracy; closing that gap by mix-up
    and a penalty on the distance between both sets of outputs improves on earlier defenses. The abstract has no figure.

What it needs
    Retraining, and held-out records of every class from the same distribution; the paper's code holds about four
    times as many of them as it trains on. They are trained on indirectly, so they are sensitive too.

Algorithm (of the official code, github.com/colaalex111/MMD-mixup-Defense @ 0d64bbf)
    1. One pass with x' = s x + (1 - s) x_other and loss s CE(f(x'), y) + (1 - s) CE(f(x'), y_other), with one
       s ~ Beta(1, 1) for each batch.
    2. Measure the accuracy on the training set (augmented, in training mode) and on the held-out set (in eval mode).
       Under 3 points apart: nothing more happens in this epoch.
    3. Else, in eval mode, go through the training set sorted by class, 100 records at a time. For each batch P of
       probability vectors draw held-out records of the same classes, with replacement, and their vectors Q, as
       constants; step the same optimiser on weight * MMD^2(P, Q) with
       MMD^2 = mean k(P, P) + mean k(Q, Q) - 2 mean k(P, Q), diagonals kept, and k(a, b) = exp(-|a - b|^2 / 2).

What is not the paper's
    The code never draws the last held-out record of a class, as its upper bound is exclusive; here all are drawn. In
    the last epoch the code takes no step, so here nothing is measured either, and at weight 0 nothing ever is: the
    code's measuring moves the statistics of batch normalisation. A batch of one record is left out of the measuring.
    Optimiser, schedule and batches are the owner's. The weight has to be tuned (the authors' own go from 0.025 to 500):
    ours is one of 0.3, 3 and 30 around the 3 of their example. Each is tried on four fifths of the audited model's
    members; of those within 2 points of the best accuracy on the last fifth, the one with the smallest gap is taken,
    the smaller on ties.

What it does not stop
    Distributions are matched, not records: outliers may stay exposed to attacks on single records. The held-out records
    may leak: a probe asks whether they can be told from fresh ones, as the authors' option `validation_mi` does. It
    holds the answers against those of undefended models; with shadows that held out other records it might see more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.compute import generator
from auditor.defense import Defense, DefenseProbe, Holding, Inspected, UnfitDefenseError
from auditor.defenses.teaching import ALL_ACCESSES, Batch, in_batches, share_right, taught
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.records import Records
from auditor.signals import accuracy, class_probabilities
from auditor.splits import Recipe
from auditor.target import Target
from auditor.threat import Access
from auditor.training import Classroom, Lesson
from reference_attacks.membership import signals as formulas

__all__ = [
    "ROWS",
    "MmdMixup",
    "MmdMixupLesson",
    "Trial",
    "best_weight",
    "matched_rows",
    "mixup_loss",
    "mmd_squared",
    "remembered",
    "retrain",
    "settle",
]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NO_WEIGHT = 1e-5
_DIGITS = 9  # shares of records that are equal on paper differ beyond


@dataclass(frozen=True)
class MmdMixup:
    """How it is trained; all but `grid`, `part_judged` and `tolerance` are the official code's.

    Attributes:
        mixup: Whether records are mixed.
        weight: Of MMD^2 (lambda), where nothing was settled.
        alpha: Of the Beta distribution of the mixing share.
        sigma: Of the kernel.
        batch: Records to a step on MMD^2.
        gap: Share by which the accuracies must differ for such steps to be taken.
        grid: The weights that `settle` tries.
        part_judged: What share of the members judges them.
        tolerance: How far below the best accuracy, as a share, a weight may lie.
    """

    mixup: bool = True
    weight: float = 3.0
    alpha: float = 1.0
    sigma: float = 1.0
    batch: int = 100
    gap: float = 0.03
    grid: tuple[float, ...] = (0.3, 3.0, 30.0)
    part_judged: float = 0.2
    tolerance: float = 0.02


@dataclass(frozen=True)
class Trial:
    """One weight that was tried: the accuracy on what was trained on, and on what was not."""

    weight: float
    training: float
    validation: float

    @property
    def gap(self) -> float:
        """How far the two accuracies lie apart."""
        return round(abs(self.training - self.validation), _DIGITS)


def mmd_squared(ours: Tensor, theirs: Tensor, sigma: float) -> Tensor:
    """Squared maximum mean discrepancy, biased, with one Gaussian kernel: a scalar.

    Args:
        ours: Probabilities [record, class].
        theirs: Probabilities [other record, class].
        sigma: Width of the kernel.
    """

    def likeness(one: Tensor, other: Tensor) -> Tensor:
        squares = one.square().sum(1)[:, None] + other.square().sum(1)[None] - 2 * one @ other.T
        return (-squares / (2 * sigma**2)).exp().mean()

    return likeness(ours, ours) + likeness(theirs, theirs) - 2 * likeness(ours, theirs)


def mixup_loss(answers: Tensor, labels: Tensor, others: Tensor, share: float, smoothing: float) -> Tensor:
    """The loss of mixed records: a scalar.

    Args:
        answers: Logits of the mixed records [record, class].
        labels: int64 [record], of the records that have `share` in the mixture.
        others: int64 [record], of those that have the rest.
        share: Between 0 and 1.
        smoothing: Label smoothing of the owner's recipe.
    """
    first = functional.cross_entropy(answers, labels, label_smoothing=smoothing)
    second = functional.cross_entropy(answers, others, label_smoothing=smoothing)
    return share * first + (1 - share) * second


def matched_rows(labels: Integers, pool: Integers, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """For each label one row of the pool that has it, drawn with replacement.

    Args:
        labels: [record]; the pool has each of them.
        pool: Labels of what is drawn from [row].
        rng: Draws.
    """
    order = np.argsort(pool, kind="stable")
    ordered = pool[order]
    first, after = np.searchsorted(ordered, labels, "left"), np.searchsorted(ordered, labels, "right")
    return order[rng.integers(first, after)]


def best_weight(trials: Sequence[Trial], tolerance: float) -> float:
    """The weight with the smallest gap, the smaller on ties, of those whose accuracy is near enough to the best.

    Args:
        trials: At least one.
        tolerance: How far below the best validation accuracy, as a share, still counts.
    """
    best = max(trial.validation for trial in trials)
    near = [trial for trial in trials if round(best - trial.validation, _DIGITS) <= tolerance]
    return min(near, key=lambda trial: (trial.gap, trial.weight)).weight


class MmdMixupLesson(Lesson):
    """Mixes records while training, and matches outputs with held-out records' between epochs.

    Args:
        settings: Whether records are mixed, and the numbers.
        weight: Of MMD^2; under 1e-5 outputs are not matched.
        reference: The held-out records.
        batch_size: Of the measuring in training mode: the recipe's.
        seed: Decides how records are mixed and which are drawn.
    """

    def __init__(self, settings: MmdMixup, weight: float, reference: Records, batch_size: int, seed: int) -> None:
        self._settings = settings
        self._weight = weight
        self._reference = reference
        self._batch_size = batch_size
        self._rng = generator(seed, "mmd and mixup")

    def loss(self, module: nn.Module, batch: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
        """The loss of a mixed batch; see `Lesson.loss`."""
        if not self._settings.mixup:
            return super().loss(module, batch, labels, recipe)
        share = float(self._rng.beta(self._settings.alpha, self._settings.alpha))
        other = torch.from_numpy(self._rng.permutation(len(labels))).to(labels.device)
        answers = module(share * batch + (1 - share) * batch[other])
        return mixup_loss(answers, labels, labels[other], share, recipe.label_smoothing)

    def between_epochs(self, room: Classroom) -> bool:
        """Match outputs where the accuracies lie apart, but not after the last epoch."""
        if self._weight < _NO_WEIGHT or room.epoch == room.epochs:
            return True
        training = share_right(room.module, self._shuffled(room))
        room.module.eval()
        validation = share_right(room.module, in_batches(self._reference, room.plain, room.labels.device))
        if round(abs(training - validation), _DIGITS) >= self._settings.gap:
            self._match(room)
        room.module.train()
        return True

    def _shuffled(self, room: Classroom) -> Iterator[Batch]:
        order = torch.from_numpy(self._rng.permutation(len(room.labels))).to(room.labels.device)
        for rows in order.split(self._batch_size):
            # batch normalisation in training mode needs two records
            if len(rows) > 1:
                yield room.batch(rows), room.labels[rows]

    def _match(self, room: Classroom) -> None:
        for rows in torch.argsort(room.labels, stable=True).split(self._settings.batch):
            drawn = matched_rows(room.labels[rows].cpu().numpy(), self._reference.labels, self._rng)
            ours = room.module(room.batch(rows)).float().softmax(1)
            with torch.no_grad():
                held_out = room.plain(torch.from_numpy(self._reference.inputs[drawn]))
                theirs = room.module(held_out).float().softmax(1)
            loss = self._weight * mmd_squared(ours, theirs, self._settings.sigma)
            room.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            room.optimizer.step()


def retrain(template: Target, holding: Holding, seed: int, settings: MmdMixup = MmdMixup()) -> Target:
    """Train a network with mix-up and MMD, at the weight that was settled on.

    Args:
        template: Gives the network, untrained.
        holding: Members, held-out records, recipe, and `weight` among what was chosen.
        seed: Decides initial weights, batches, mixtures and draws.
        settings: The parts and the numbers.

    Raises:
        UnfitDefenseError: the recipe trains the head alone, a class has no held-out record, or training fails.
    """
    return _trained(template, holding, seed, settings, holding.chosen.get("weight", settings.weight))


def settle(template: Target, holding: Holding, seed: int, settings: MmdMixup = MmdMixup()) -> Mapping[str, float]:
    """Choose the weight of MMD^2 on a part of the members that the trials do not train on.

    Args:
        template: Gives the network, untrained.
        holding: The audited model's.
        seed: Decides the part, and the trials' training.
        settings: The weights to try, and the rule.

    Returns:
        `weight`.

    Raises:
        UnfitDefenseError: there are too few members, or a trial cannot be trained, see `retrain`.
    """
    members = holding.members
    order = generator(seed, "members that judge mmd").permutation(members.n)
    judging = round(members.n * settings.part_judged)
    if judging == 0:
        raise UnfitDefenseError(f"its weight cannot be chosen on {members.n} members")
    judge, learned = members.take(order[:judging]), members.take(order[judging:])
    trials: list[Trial] = []
    for weight in settings.grid:
        model = _trained(template, replace(holding, members=learned), seed, settings, weight)
        training, validation = (accuracy(model, part.inputs, part.labels) for part in (learned, judge))
        trials.append(Trial(weight, training, validation))
    return {"weight": best_weight(trials, settings.tolerance)}


def _trained(template: Target, holding: Holding, seed: int, settings: MmdMixup, weight: float) -> Target:
    if weight >= _NO_WEIGHT:
        _refuse_missing_classes(holding)
    lesson = MmdMixupLesson(settings, weight, holding.reference, holding.recipe.batch_size, seed)
    return taught(template, holding, seed, lesson)


def _refuse_missing_classes(holding: Holding) -> None:
    missing = np.setdiff1d(holding.members.labels, holding.reference.labels)
    if len(missing):
        raise UnfitDefenseError(
            f"{len(missing)} of the classes trained on, the first of them number {missing[0]}, have no record "
            "in the defender's half of the population"
        )


def remembered(inspected: Inspected) -> Floats:
    """How far the target's log-odds of the true class lie above what undefended shadows lead to expect, [record].

    Expected is the line of least squares through the shadows' mean log-odds, over all records asked, so that an easy
    record is not taken for a remembered one. The line knows nothing of who was held out.
    """
    seen = _log_odds(inspected.target, inspected.records)
    others = np.mean([_log_odds(shadow, inspected.records) for shadow in inspected.shadows], axis=0)
    centred = others - others.mean()
    spread = float(centred @ centred)
    slope = float(centred @ seen) / spread if spread > 0 else 0.0
    return np.asarray(seen - seen.mean() - slope * centred, dtype=np.float64)


def _log_odds(target: Target, records: Records) -> Floats:
    return formulas.released_margin(class_probabilities(target, records.inputs), records.labels)


_HELD_OUT = DefenseProbe(
    id="mmd-mixup-held-out",
    title="Records that it held out, against fresh ones",
    access=Access.SCORES,
    score=remembered,
    shadows=4,
    asks="held out",
)
_PAPER = Paper(
    citation="Li, Li, Ribeiro: Membership Inference Attacks and Defenses in Classification Models, CODASPY 2021",
    url="https://arxiv.org/abs/2002.12062",
)
_CHANGED = (
    "Every held-out record can be drawn (the code leaves out the last of a class); nothing is measured after the last "
    "epoch; the owner's optimiser; "
)
_TUNED = (
    "the weight is one of 0.3, 3 and 30, chosen on a fifth of the audited model's members, and the same for every "
    "shadow. The held-out set may be far smaller than the paper's."
)
_MATCHING: Mapping[str, str | float] = {"grid": "0.3, 3, 30", "sigma": 1.0, "batch": 100, "gap": 0.03}

ROWS = (
    Defense(
        DefenseCard(
            id="mmd-mixup",
            title="MMD and mix-up",
            paper=_PAPER,
            fidelity=Fidelity.OFFICIAL_CODE,
            acts_on="training",
            counts_for=ALL_ACCESSES,
            changed=_CHANGED + _TUNED,
            settings={**_MATCHING, "alpha": 1.0},
        ),
        retrain=retrain,
        settle=settle,
        budget="standard",
        probes=(_HELD_OUT,),
        trainings=2.5,
        settling=6.0,
    ),
    Defense(
        DefenseCard(
            id="mmd",
            title="MMD alone",
            paper=_PAPER,
            fidelity=Fidelity.OFFICIAL_CODE,
            acts_on="training",
            counts_for=ALL_ACCESSES,
            changed=_CHANGED + _TUNED,
            part_of="mmd-mixup",
            settings=dict(_MATCHING),
        ),
        retrain=partial(retrain, settings=MmdMixup(mixup=False)),
        settle=partial(settle, settings=MmdMixup(mixup=False)),
        budget="thorough",
        probes=(replace(_HELD_OUT, id="mmd-held-out"),),
        trainings=2.5,
        settling=6.0,
    ),
    Defense(
        DefenseCard(
            id="mixup",
            title="Mix-up alone",
            paper=_PAPER,
            fidelity=Fidelity.OFFICIAL_CODE,
            acts_on="training",
            counts_for=ALL_ACCESSES,
            changed="The owner's optimiser and schedule.",
            part_of="mmd-mixup",
            settings={"alpha": 1.0},
        ),
        retrain=partial(retrain, settings=MmdMixup(weight=0.0)),
        budget="thorough",
    ),
)
