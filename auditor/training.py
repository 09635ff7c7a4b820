"""One trainer for every model that we train ourselves: shadows, null and control models, retrained twins.

It follows the owner's recipe from `splits.toml [training]`, or the stated default for the make of network. Data stays
uint8 and is augmented on the device. Where only the head is trained and nothing is augmented, the rest of the network
runs once per record. The same seed on the same machine type gives the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from auditor.checkpoint.head import heads_of
from auditor.checkpoint.new_head import place_head
from auditor.errors import InputError
from auditor.queries import crop_pad
from auditor.splits import Recipe
from auditor.target import Target

__all__ = ["Classroom", "Lesson", "batches_in", "default_recipe", "reuses_features", "source_of", "train"]


@dataclass(frozen=True)
class _Default:
    made_for: str
    recipe: Recipe


_CONVOLUTIONAL = _Default(
    "convolutional networks with batch normalisation",
    Recipe(epochs=30, optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=5e-4, batch_size=64, schedule="cosine"),
)
_LAYER_NORMED = _Default(
    "networks with layer normalisation",
    Recipe(epochs=30, optimizer="adamw", lr=1e-3, weight_decay=0.05, batch_size=64, schedule="cosine"),
)
_OTHER = _Default(
    "networks of other makes",
    Recipe(epochs=30, optimizer="adamw", lr=1e-3, weight_decay=0.0, batch_size=64, schedule="cosine"),
)
_DEFAULTS = (_CONVOLUTIONAL, _LAYER_NORMED, _OTHER)  # all numbers are ours, by the habits of the field
_FEATURE_BATCH = 128


def default_recipe(module: nn.Module) -> Recipe:
    """What a network of this make is trained by where the owner states nothing; the choice and its numbers are ours.

    It is decided by what is inside, not by name: which normalisation has more layers, and whether there are
    convolutions. The learning rates are for training from scratch.
    """
    batch = _count(module, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    if _count(module, nn.LayerNorm) > batch:
        return _LAYER_NORMED.recipe
    convolutional = batch > 0 and _count(module, nn.Conv1d, nn.Conv2d, nn.Conv3d) > 0
    return (_CONVOLUTIONAL if convolutional else _OTHER).recipe


def _count(module: nn.Module, *kinds: type[nn.Module]) -> int:
    return sum(isinstance(one, kinds) for one in module.modules())


def source_of(recipe: Recipe, *, stated: bool) -> str:
    """Where a recipe comes from, after "trained by": the owner, or our default for which make of network."""
    if stated:
        return "the recipe in splits.toml"
    made_for = next((f" for {one.made_for}" for one in _DEFAULTS if one.recipe == recipe), "")
    return f"the default{made_for} (none in splits.toml)"


def reuses_features(recipe: Recipe) -> bool:
    """Whether an epoch costs as little as the head does, because each record's features are computed once."""
    return recipe.head_only and not recipe.augmentation


@dataclass(frozen=True)
class Classroom:
    """A training under way, as a lesson sees it.

    Attributes:
        module: What is trained, in the mode that the recipe asks for.
        optimizer: Its optimiser; a lesson may take further steps with it.
        batch: Makes the module's input of positions among the training records [record], augmented afresh.
        plain: Makes the module's input of stored records, not augmented.
        labels: int64 [record] of all training records, on the device.
        epoch: How many epochs are over.
        epochs: How many there will be.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    batch: Callable[[torch.Tensor], torch.Tensor]
    plain: Callable[[torch.Tensor], torch.Tensor]
    labels: torch.Tensor
    epoch: int
    epochs: int


class Lesson:
    """What is learned from a batch, and what happens between epochs: cross-entropy, and nothing.

    A training-time defense is a lesson of its own; whatever it does not override stays as the recipe says. A lesson
    lives through one training only, so it may keep what it needs from step to step.
    """

    def loss(self, module: nn.Module, batch: torch.Tensor, labels: torch.Tensor, recipe: Recipe) -> torch.Tensor:
        """The scalar loss of a batch.

        Args:
            module: In training mode, or in eval mode where only the head is trained.
            batch: The module's input [record, ...].
            labels: int64 [record].
            recipe: For label smoothing.
        """
        return functional.cross_entropy(module(batch), labels, label_smoothing=recipe.label_smoothing)

    def step(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch: torch.Tensor,
        labels: torch.Tensor,
        recipe: Recipe,
    ) -> torch.Tensor:
        """One step of the optimiser; the loss of the batch before it. Arguments as of `loss`."""
        with _mixed_precision(labels.device):
            loss = self.loss(module, batch, labels, recipe)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    def batches(self, records: int, recipe: Recipe, device: torch.device) -> Iterable[torch.Tensor]:
        """The batches of one epoch, `batches_in` many, as positions among the training records: all in random order."""
        order = torch.randperm(records, device=device)
        starts = range(0, batches_in(records, recipe) * recipe.batch_size, recipe.batch_size)
        return [order[start : start + recipe.batch_size] for start in starts]

    def between_epochs(self, room: Classroom) -> bool:
        """Called after each epoch; whether to go on with the next. The module is in training mode again after it."""
        del room
        return True


def batches_in(records: int, recipe: Recipe) -> int:
    """How many batches an epoch has: a last one of a single record, which would stop batch normalisation, is left out.

    Args:
        records: How many are trained on.
        recipe: Gives the batch size.
    """
    whole, rest = divmod(records, recipe.batch_size)
    return whole + (rest > 1)


def train(
    template: Target,
    inputs: npt.NDArray[np.generic],
    labels: npt.NDArray[np.int64],
    recipe: Recipe,
    *,
    seed: int,
    lesson: Lesson | None = None,
    start: Target | None = None,
) -> Target:
    """Train a fresh network of the template's architecture and preprocessing, or its head alone.

    A network of which only the head is trained stays in eval mode: statistics of batch normalisation do not move, and
    nothing is dropped out.

    Args:
        template: Gives architecture, preprocessing and device; its own weights are not used.
        inputs: uint8 [record, height, width, channel] or float32 [record, feature].
        labels: int64 [record].
        recipe: Optimiser, schedule, epochs, augmentation.
        seed: Decides initial weights, batch order, augmentation and dropout.
        lesson: What a batch teaches; cross-entropy by default.
        start: A model of the same architecture to go on from, in place of fresh or given weights.

    Returns:
        The trained model as a target of its own, in eval mode.

    Raises:
        InputError: the initial weights do not fit, no head can be found where only that is to be trained, or the
            loss or the weights do not stay finite.
    """
    device = template.device
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        module = _beginning(template, recipe, start).to(device)
        if cuda:
            module = module.to(memory_format=torch.channels_last)
        records = (_shared(inputs), torch.from_numpy(np.array(labels)))
        _fit(module, template, *records, recipe, lesson or Lesson())
    return template.with_weights(module.state_dict())


def _shared(inputs: npt.NDArray[np.generic]) -> torch.Tensor:
    """The same memory as a tensor, which training only reads; a copy where it is read-only, which torch cannot say."""
    whole = np.ascontiguousarray(inputs)
    return torch.from_numpy(whole if whole.flags.writeable else whole.copy())


def _beginning(template: Target, recipe: Recipe, start: Target | None) -> nn.Module:
    """Fresh weights, those that the recipe names under whatever head the template has, or those to go on from."""
    module = template.architecture.build()
    if start is not None:
        module.load_state_dict(start.module.state_dict())
    elif recipe.init is not None:
        plain = replace(template, architecture=replace(template.architecture, head=None))
        module = plain.with_weights_from(recipe.init).module.train().requires_grad_(requires_grad=True)
        if (head := template.architecture.head) is not None:
            module = place_head(module, head, template.facts.num_classes, template.architecture.label)
    return module


def _fit(
    module: nn.Module,
    template: Target,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    recipe: Recipe,
    lesson: Lesson,
) -> None:
    if not recipe.head_only:
        module.train()
        _descend(module, _batches(template, inputs, recipe), labels.to(template.device), recipe, lesson, template)
        module.eval()
        return
    heads = _freeze_all_but_heads(module, template)
    alone = heads[0] if len(heads) == 1 and reuses_features(recipe) else None
    features = None if alone is None else _features(module, alone, template, inputs)
    if alone is None or features is None:
        _descend(module, _batches(template, inputs, recipe), labels.to(template.device), recipe, lesson, template)
    else:
        _descend(alone, features.__getitem__, labels.to(template.device), recipe, lesson, template)


def _batches(template: Target, inputs: torch.Tensor, recipe: Recipe) -> Callable[[torch.Tensor], torch.Tensor]:
    inputs = inputs.to(template.device)
    return lambda index: template.prepare(_augment(inputs[index], recipe.augmentation))


def _freeze_all_but_heads(module: nn.Module, template: Target) -> tuple[nn.Module, ...]:
    heads = heads_of(module, template.facts.num_classes)
    if not heads:
        raise InputError(
            f"{template.architecture.label} has no layer of its own that gives the classes, so no head to train alone.",
            'Leave out trainable and shadows in splits.toml [training], or state "all" and "recipe".',
        )
    module.eval().requires_grad_(requires_grad=False)
    for head in heads:
        head.requires_grad_()
    return heads


def _features(module: nn.Module, head: nn.Module, template: Target, inputs: torch.Tensor) -> torch.Tensor | None:
    """What the head receives, float32 [record, feature]; None if the head's answer to it is not the module's."""
    parts = []
    for start in range(0, len(inputs), _FEATURE_BATCH):
        with torch.no_grad(), _mixed_precision(template.device):
            received = _into_head(module, head, template.prepare(inputs[start : start + _FEATURE_BATCH]))
        if received is None:
            return None
        parts.append(received.float())
    return torch.cat(parts)


def _into_head(module: nn.Module, head: nn.Module, batch: torch.Tensor) -> torch.Tensor | None:
    received: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, arguments: received.extend(arguments))
    try:
        answer = module(batch)
    finally:
        hook.remove()
    if len(received) != 1 or received[0].ndim != 2:
        return None
    alone = head(received[0])
    same = alone.shape == answer.shape and torch.allclose(alone.float(), answer.float(), atol=1e-4)
    return received[0] if same else None


def _descend(
    module: nn.Module,
    batch: Callable[[torch.Tensor], torch.Tensor],
    labels: torch.Tensor,
    recipe: Recipe,
    lesson: Lesson,
    template: Target,
) -> None:
    """Train what has a gradient; `batch` makes the module's input of record numbers [record]."""
    optimizer = _optimizer(module, recipe)
    scheduler = _schedule(optimizer, recipe, steps=recipe.epochs * batches_in(len(labels), recipe))
    for epoch in range(recipe.epochs):
        for index in lesson.batches(len(labels), recipe, labels.device):
            loss = lesson.step(module, optimizer, batch(index), labels[index], recipe)
            scheduler.step()
        room = Classroom(module, optimizer, batch, template.prepare, labels, epoch + 1, recipe.epochs)
        going_on = lesson.between_epochs(room)
        _refuse_divergence(module, loss, recipe, epoch)
        if not going_on:
            return


def _mixed_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _refuse_divergence(module: nn.Module, loss: torch.Tensor, recipe: Recipe, epoch: int) -> None:
    tensors = [loss, *module.state_dict().values()]
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise InputError(
            f"Training diverged in epoch {epoch + 1} ({recipe.describe()}): loss or weights are not finite.",
            "Correct [training] in splits.toml, e.g. lower lr: it must train a model like the audited one.",
        )


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if recipe.optimizer != "sgd":
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        return kind(trained, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(trained, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


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
    pad = crop_pad(height)
    padded = functional.pad(inputs, (0, 0, pad, pad, pad, pad))
    top, left = (torch.randint(0, 2 * pad + 1, (count, 1), device=inputs.device) for _ in range(2))
    rows = top + torch.arange(height, device=inputs.device)
    columns = left + torch.arange(width, device=inputs.device)
    records = torch.arange(count, device=inputs.device)
    return padded[records[:, None, None], rows[:, :, None], columns[:, None, :]]
