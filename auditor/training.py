"""One trainer for every model that we train ourselves: shadows, null and control models, retrained twins.

It follows the owner's recipe from `splits.toml [training]`, or the stated default. Data stays uint8 and is
augmented on the device. The same seed on the same machine type gives the same weights.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from auditor.errors import InputError
from auditor.splits import Recipe
from auditor.target import Target

__all__ = ["DEFAULT_RECIPE", "train"]

DEFAULT_RECIPE = Recipe(
    epochs=30, optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=5e-4, batch_size=64, schedule="cosine"
)
_CROP_SHARE = 8  # random crops move by at most one eighth of the side: 4 pixels of 32, the field's habit


def train(
    template: Target,
    inputs: npt.NDArray[np.generic],
    labels: npt.NDArray[np.int64],
    recipe: Recipe,
    *,
    seed: int,
) -> Target:
    """Train a fresh network of the template's architecture and preprocessing.

    Args:
        template: Gives architecture, preprocessing and device; its own weights are not used.
        inputs: uint8 [record, height, width, channel] or float32 [record, feature].
        labels: int64 [record].
        recipe: Optimiser, schedule, epochs, augmentation.
        seed: Decides initial weights, batch order, augmentation and dropout.

    Returns:
        The trained model as a target of its own, in eval mode.

    Raises:
        InputError: the loss or the weights do not stay finite.
    """
    device = template.device
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        module = template.architecture.build().to(device)
        if recipe.init is not None:
            module.load_state_dict(template.with_weights_from(recipe.init).module.state_dict())
        if cuda:
            module = module.to(memory_format=torch.channels_last)
        _fit(module, template, torch.from_numpy(np.array(inputs)), torch.from_numpy(np.array(labels)), recipe)
    return template.with_weights(module.state_dict())


def _fit(module: nn.Module, template: Target, inputs: torch.Tensor, labels: torch.Tensor, recipe: Recipe) -> None:
    device = template.device
    inputs, labels = inputs.to(device), labels.to(device)
    optimizer = _optimizer(module, recipe)
    batches = list(range(0, len(labels), recipe.batch_size))
    # a last batch of one record would stop batch normalisation
    sizes = [start for start in batches if min(recipe.batch_size, len(labels) - start) > 1]
    scheduler = _schedule(optimizer, recipe, steps=recipe.epochs * len(sizes))
    module.train()
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(labels), device=device)
        for start in sizes:
            index = order[start : start + recipe.batch_size]
            batch = template.prepare(_augment(inputs[index], recipe.augmentation))
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss = functional.cross_entropy(module(batch), labels[index], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
        _refuse_divergence(module, loss, recipe, epoch)
    module.eval()


def _refuse_divergence(module: nn.Module, loss: torch.Tensor, recipe: Recipe, epoch: int) -> None:
    tensors = [loss, *module.state_dict().values()]
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise InputError(
            f"Training diverged in epoch {epoch + 1} ({recipe.describe()}): loss or weights are not finite.",
            "Correct [training] in splits.toml, e.g. lower lr: it must train a model like the audited one.",
        )


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer != "sgd":
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        return kind(module.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        module.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, *, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    if recipe.schedule == "cosine":
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
        )
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def _augment(inputs: torch.Tensor, augmentation: tuple[str, ...]) -> torch.Tensor:
    """Random flips and crops, one draw per record; `inputs` is [record, height, width, channel]."""
    if "crop" in augmentation:
        inputs = _random_crop(inputs)
    if "flip" in augmentation:
        flipped = torch.rand(len(inputs), device=inputs.device) < 0.5
        inputs = torch.where(flipped[:, None, None, None], inputs.flip(2), inputs)
    return inputs


def _random_crop(inputs: torch.Tensor) -> torch.Tensor:
    count, height, width, _ = inputs.shape
    pad = max(1, height // _CROP_SHARE)
    padded = functional.pad(inputs, (0, 0, pad, pad, pad, pad))
    top, left = (torch.randint(0, 2 * pad + 1, (count, 1), device=inputs.device) for _ in range(2))
    rows = top + torch.arange(height, device=inputs.device)
    columns = left + torch.arange(width, device=inputs.device)
    records = torch.arange(count, device=inputs.device)
    return padded[records[:, None, None], rows[:, :, None], columns[:, None, :]]
