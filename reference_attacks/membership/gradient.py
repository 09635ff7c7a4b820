"""The gradient norm: how much would training on x still change the model?

After Nasr, Shokri and Houmansadr (2019), "Comprehensive Privacy Analysis of Deep Learning", arXiv:1812.00910: a
reduction of their attack to the norms of the gradients.

What it claims
    Training stops where the gradients of its records are small, so the gradient of the loss at a member is shorter than
    at a non-member. The weights show it layer by layer, which says more than the loss alone.

What the attacker needs
    Access `weights`: one forward and backward pass per record, and the true label. Shadow models by
    the target's recipe, with known membership, probed alike.

Algorithm
    1. For every record alone take the gradient of the cross-entropy with respect to all parameters.
    2. Its L2 norms over each of the last layers and over all parameters are the signals. That is `probe`.
    3. `combined` trains a logistic regression on the shadows: the logarithms of the loss and of the norms, standardised
       over the shadows, against membership; its log-odds on the target's are the score.

What we changed
    Reconstructed and reduced: the authors train a network on the gradients themselves, on hidden activations, outputs
    and the loss; we keep norms and the loss, and a linear combination, because shadows in an audit are few. That this
    finds nothing does not speak for their attack.
    A layer is a module with parameters of its own, in the order in which the model registers them.
    Norms and losses are raised to the smallest normal float32 before the logarithm.

Published number and ours
    None verified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from reference_attacks.membership._images import checked_labels, require_positive
from reference_attacks.membership._inputs import FLOOR, BoolArray, FloatArray, Observations, SignalArray, as_signal

__all__ = ["GradientNorm", "combined", "layer_names", "probe"]

_Squares = Callable[[Tensor, Tensor], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class GradientNorm:
    """Which norms are taken and how.

    Attributes:
        last_layers: How many of the last layers get a norm of their own.
        method: "vmap" takes the gradients of a batch together, "loop" one by one; "auto" loops where vmap fails, as for
            a model with an operation that vmap does not know.
        batch_size: Records whose gradients are held together by vmap, each as large as the model.

    Raises:
        ValueError: If a value is out of range.
    """

    last_layers: int = 1
    method: Literal["auto", "vmap", "loop"] = "auto"
    batch_size: int = 16

    def __post_init__(self) -> None:
        require_positive("last_layers", self.last_layers, least=0)
        require_positive("batch_size", self.batch_size)
        if self.method not in {"auto", "vmap", "loop"}:
            raise ValueError(f'method must be "auto", "vmap" or "loop", got {self.method!r}')


def layer_names(*, module: nn.Module, settings: GradientNorm = GradientNorm()) -> tuple[str, ...]:
    """Name the columns of `probe`: the last layers, the very last first, then "all".

    Raises:
        ValueError: If the module has fewer layers with parameters.
    """
    owners = tuple(dict.fromkeys(_owner(name) for name, _ in module.named_parameters()))
    if len(owners) < max(1, settings.last_layers):
        raise ValueError(f"module has {len(owners)} layers with parameters, last_layers is {settings.last_layers}")
    return (*owners[::-1][: settings.last_layers], "all")


def probe(*, module: nn.Module, inputs: Tensor, labels: Tensor, settings: GradientNorm = GradientNorm()) -> FloatArray:
    """Measure the gradients of the loss at every record. The module and its own gradients stay as they are.

    Args:
        module: Maps prepared inputs to logits [record, class]; in eval mode.
        inputs: What the module takes, prepared as for its training [record, ...].
        labels: True labels [record].
        settings: Which norms are taken and how.

    Returns:
        L2 norms [record, layer], columns as `layer_names`, the last one over all parameters.

    Raises:
        ValueError: If the module is in training mode or has too few layers, or there is not one label per record.
    """
    if any(part.training for part in module.modules()):
        raise ValueError("module must be in eval mode: batch statistics and dropout would mix into the gradients")
    if inputs.ndim < 2 or not inputs.numel():
        raise ValueError(f"inputs must be a non-empty tensor [record, ...], got shape {tuple(inputs.shape)}")
    classes, columns = checked_labels(labels, inputs), layer_names(module=module, settings=settings)
    squares: _Squares = _one_by_one(module) if settings.method == "loop" else _together(module)
    rows = []
    for start in range(0, len(inputs), settings.batch_size):
        batch = inputs.detach()[start : start + settings.batch_size], classes[start : start + settings.batch_size]
        try:
            found = squares(*batch)
        except RuntimeError:
            if settings.method != "auto":
                raise
            squares = _one_by_one(module)
            found = squares(*batch)
        rows.append(_norms(found, columns))
    return np.asarray(torch.cat(rows).cpu().numpy(), dtype=np.float64)


def combined(
    *,
    target_loss: SignalArray,
    target_norms: SignalArray,
    shadow_loss: SignalArray,
    shadow_norms: SignalArray,
    shadow_membership: BoolArray,
) -> FloatArray:
    """Score every record by a logistic combination of its loss and norms, learnt on shadows.

    Args:
        target_loss: Losses by the target [record], at least 0.
        target_norms: Norms by the target [record, layer].
        shadow_loss: Losses by the shadows [model, record].
        shadow_norms: Norms by the shadows [model, record, layer].
        shadow_membership: Whether the shadow was trained on the record [model, record].

    Returns:
        Scores [record]: log-odds of membership, larger = more likely a member.

    Raises:
        ValueError: If the arrays do not fit each other, a value is negative, or the shadows have no members or no
            non-members among the records.
    """
    seen = Observations.check(
        target_signal=_features("target", target_loss, target_norms, ("record",)),
        shadow_signal=_features("shadow", shadow_loss, shadow_norms, ("model", "record")),
        shadow_membership=shadow_membership,
    )
    trained_on = seen.trained_on.ravel()
    if trained_on.all() or not trained_on.any():
        raise ValueError("shadow_membership must hold members and non-members")
    learner = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    learner.fit(seen.shadows.reshape(len(trained_on), -1), trained_on)
    return np.asarray(learner.decision_function(seen.target), dtype=np.float64)


def _features(whose: str, loss: SignalArray, norms: SignalArray, axes: tuple[str, ...]) -> FloatArray:
    """Logarithms of the loss and the norms side by side [..., record, feature]."""
    losses = as_signal(f"{whose}_loss", loss, axes)
    lengths = as_signal(f"{whose}_norms", norms, (*axes, "layer"))
    if lengths.shape[:-1] != losses.shape:
        raise ValueError(f"{whose}_norms {lengths.shape} does not fit {whose}_loss {losses.shape}")
    joined = np.concatenate([losses[..., None], lengths], axis=-1)
    if joined.min() < 0.0:
        raise ValueError(f"{whose}_loss and {whose}_norms must not be negative, got {joined.min():g}")
    return np.asarray(np.log(np.maximum(joined, FLOOR)), dtype=np.float64)


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _loss(module: nn.Module, parameters: dict[str, Tensor], record: Tensor, label: Tensor) -> Tensor:
    buffers = {name: buffer.detach() for name, buffer in module.named_buffers()}
    logits = functional_call(module, (parameters, buffers), (record[None],))
    return F.cross_entropy(logits.double(), label[None])


def _together(module: nn.Module) -> _Squares:
    """Squared gradient norms of each parameter for a batch, by vmap."""
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def of_one(weights: dict[str, Tensor], record: Tensor, label: Tensor) -> Tensor:
        return _loss(module, weights, record, label)

    gradients = vmap(grad(of_one), in_dims=(None, 0, 0))

    def squares(records: Tensor, labels: Tensor) -> dict[str, Tensor]:
        found = gradients(parameters, records, labels)
        return {name: gradient.flatten(1).double().square().sum(dim=1) for name, gradient in found.items()}

    return squares


def _one_by_one(module: nn.Module) -> _Squares:
    """The same by one backward pass per record."""
    parameters = {name: parameter.detach().requires_grad_() for name, parameter in module.named_parameters()}

    def squares(records: Tensor, labels: Tensor) -> dict[str, Tensor]:
        rows = []
        for record, label in zip(records, labels, strict=True):
            with torch.enable_grad():
                loss = _loss(module, parameters, record, label)
                found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
            rows.append(torch.stack([gradient.double().square().sum() for gradient in found]))
        return dict(zip(parameters, torch.stack(rows, dim=1), strict=True))

    return squares


def _norms(squares: dict[str, Tensor], columns: tuple[str, ...]) -> Tensor:
    """Norms [record, layer] from the squared norms of each parameter [record]; the last column is over all."""
    of_layers = [
        torch.stack([square for name, square in squares.items() if _owner(name) == layer]).sum(dim=0)
        for layer in columns[:-1]
    ]
    return torch.stack([*of_layers, torch.stack(list(squares.values())).sum(dim=0)], dim=1).sqrt()
