"""DP-SGD: clipped and noised gradients, so that no one record weighs much (Abadi et al., CCS 2016).

What it claims
    A bound (epsilon, delta) on what adding or removing one record changes about the training, whatever the attack. It
    is the yardstick for defenses without one.

What it needs
    The training records, the recipe, opacus (`pip install "privaudit[dp]"`), and a network without batch normalisation,
    since that mixes the records of a batch.

Algorithm
    Every step draws each record with probability batch size / records (Poisson), clips the gradient of each drawn
    record to norm C, adds Gaussian noise of deviation sigma C to their sum, divides by the batch size and hands the
    result to the recipe's optimiser. opacus clips, adds the noise and accounts (Renyi); gradients per record come from
    torch.func.

What is not the paper's
    sigma, C and delta are ours and not tuned to the data; optimiser, rate and epochs are the owner's recipe. Epsilon
    counts the number of records and the weights that `init` names as public, and covers this one training alone, not a
    recipe that was tuned on the same records.

What it does not stop
    At the epsilon of a usable model the bound is weak: what the attacks then find is an observation.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from auditor.checkpoint.preprocessing import blank_input
from auditor.defense import Defense, Holding, UnfitDefenseError
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.splits import Recipe
from auditor.target import Target
from auditor.threat import Access
from auditor.training import Lesson, batches_in, train

__all__ = ["DPSGD", "ROW", "PrivateLesson", "epsilon_of", "retrain", "settle"]

_AT_ONCE = 16  # gradients per record held at a time
_PLACE = "grad_sample"  # where opacus looks for them
_MIXING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class DPSGD:
    """Settings, all ours.

    Attributes:
        noise: sigma, the deviation of the noise as a multiple of `clipping`.
        clipping: C, the largest norm of a record's gradient.
        delta: Of the bound; at most a tenth of 1 / records is used.
    """

    noise: float = 1.0
    clipping: float = 1.0
    delta: float = 1e-5


_DEFAULT = DPSGD()


def settle(template: Target, holding: Holding, seed: int) -> Mapping[str, float]:
    """What this training spends: `epsilon` at `delta`, from the number of records and the recipe; nothing is tuned.

    Raises:
        UnfitDefenseError: opacus is missing, or the network cannot be trained so.
    """
    del seed
    _refuse_unfit(template, holding)
    records = holding.members.n
    delta = min(_DEFAULT.delta, 0.1 / records)
    return {"delta": delta, "epsilon": epsilon_of(records, holding.recipe, _DEFAULT.noise, delta)}


def epsilon_of(records: int, recipe: Recipe, noise: float, delta: float) -> float:
    """Epsilon of a whole training by opacus's Renyi accountant, for adding or removing one record.

    Args:
        records: How many are trained on.
        recipe: Gives batch size and epochs.
        noise: sigma.
        delta: Between 0 and 1.
    """
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    steps = recipe.epochs * batches_in(records, recipe)
    accountant.history = [(noise, min(1.0, recipe.batch_size / records), steps)]
    with warnings.catch_warnings():
        # an order at the end of opacus's range only makes the bound looser
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def retrain(template: Target, holding: Holding, seed: int) -> Target:
    """Train a network by DP-SGD.

    Args:
        template: An untrained network.
        holding: Its members and recipe are used.
        seed: Decides initial weights, draws and noise. The noise is pseudo-random: whoever knows the seed can take it
            off, so the bound holds against those who do not.

    Raises:
        UnfitDefenseError: opacus is missing, or the network cannot be trained so.
    """
    _refuse_unfit(template, holding)
    members, lesson = holding.members, PrivateLesson(_DEFAULT)
    return train(template, members.inputs, members.labels, holding.recipe, seed=seed, lesson=lesson)


class _Private(Protocol):
    """opacus's optimiser: steps on `grad_sample`, [record, ...], of each parameter."""

    def signal_skip_step(self, *, do_skip: bool) -> None: ...

    def step(self) -> object: ...

    def zero_grad(self, *, set_to_none: bool) -> None: ...


class PrivateLesson(Lesson):
    """Poisson batches, and steps on clipped and noised gradients.

    Args:
        settings: Noise and clipping.
    """

    def __init__(self, settings: DPSGD) -> None:
        self.settings = settings
        self._private: _Private | None = None

    def batches(self, records: int, recipe: Recipe, device: torch.device) -> Iterable[torch.Tensor]:
        """See `Lesson.batches`: as many, each of any size, also empty."""
        share = min(1.0, recipe.batch_size / records)
        for _ in range(batches_in(records, recipe)):
            yield (torch.rand(records, device=device) < share).nonzero()[:, 0]

    def step(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch: torch.Tensor,
        labels: torch.Tensor,
        recipe: Recipe,
    ) -> torch.Tensor:
        """See `Lesson.step`. A few gradients per record are held at a time; noise is added once, after the last."""
        private = self._private or self._wrapped(optimizer, recipe)
        starts = range(0, max(1, len(labels)), _AT_ONCE)
        total = torch.zeros((), device=labels.device)
        for start in starts:
            part = slice(start, start + _AT_ONCE)
            total += _note_gradients(module, batch[part], labels[part], recipe)
            private.signal_skip_step(do_skip=start != starts[-1])
            private.step()
            private.zero_grad(set_to_none=True)
        return total / max(1, len(labels))

    def _wrapped(self, optimizer: torch.optim.Optimizer, recipe: Recipe) -> _Private:
        from opacus.optimizers import DPOptimizer

        private: _Private = DPOptimizer(
            optimizer,
            noise_multiplier=self.settings.noise,
            max_grad_norm=self.settings.clipping,
            expected_batch_size=recipe.batch_size,
        )
        self._private = private
        return private


def _note_gradients(module: nn.Module, batch: torch.Tensor, labels: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Leave each record's gradient at the parameters, as `grad_sample` [record, ...]; the sum of the losses."""
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not len(labels):
        for parameter in trained.values():
            setattr(parameter, _PLACE, parameter.new_zeros((0, *parameter.shape)))
        return torch.zeros((), device=labels.device)

    def loss(parameters: dict[str, torch.Tensor], record: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        logits = functional_call(module, parameters, (record[None],))
        return functional.cross_entropy(logits, label[None], label_smoothing=recipe.label_smoothing)

    values = {name: parameter.detach() for name, parameter in trained.items()}
    # the fused kernels of attention cannot be batched over records
    with sdpa_kernel(SDPBackend.MATH):
        each = vmap(grad_and_value(loss), in_dims=(None, 0, 0), randomness="different")
        gradients, losses = each(values, batch, labels)
    for name, parameter in trained.items():
        setattr(parameter, _PLACE, gradients[name])
    total: torch.Tensor = losses.sum()
    return total


def _refuse_unfit(template: Target, holding: Holding) -> None:
    """Raise an `UnfitDefenseError` unless opacus is there and the network gives a gradient per record."""
    whole, name = not holding.recipe.head_only, template.architecture.label
    if whole and any(isinstance(part, _MIXING) for part in template.module.modules()):
        raise UnfitDefenseError(
            f"{name} has batch normalisation, which mixes the records of a batch; take a network with group or layer "
            "normalisation"
        )
    if importlib.util.find_spec("opacus") is None:
        raise UnfitDefenseError('opacus is not installed; pip install "privaudit[dp]"')
    with torch.random.fork_rng(devices=[]):
        module = template.architecture.build().train(whole)
        blank = blank_input(template.facts.preprocessing, torch.device("cpu")).repeat_interleave(2, dim=0)
        try:
            _note_gradients(module, blank, torch.zeros(2, dtype=torch.int64), holding.recipe)
        except RuntimeError as error:
            raise UnfitDefenseError(f"{name} gives no gradient per record: {error}") from error


ROW = Defense(
    DefenseCard(
        id="dp-sgd",
        title="DP-SGD",
        paper=Paper(
            citation="Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang: Deep Learning with Differential "
            "Privacy, CCS 2016",
            url="https://arxiv.org/abs/1607.00133",
        ),
        fidelity=Fidelity.THIRD_PARTY,
        acts_on="training",
        counts_for=(Access.LABELS, Access.SCORES, Access.WEIGHTS),
        changed="Clipping, noise and accounting are those of the library opacus; noise, clipping norm and delta are "
        "ours and not tuned, optimiser, rate and epochs are the owner's. Epsilon is for adding or removing one record, "
        "for this training alone; the noise is drawn from the audit's seed, and who knows that can take it away.",
        settings={
            "noise_multiplier": _DEFAULT.noise,
            "clipping_norm": _DEFAULT.clipping,
            "delta": f"{_DEFAULT.delta:g}, at most a tenth of 1 / records",
            "sampling": "Poisson, on average the recipe's batch size",
        },
    ),
    retrain=retrain,
    settle=settle,
    budget="thorough",
)
