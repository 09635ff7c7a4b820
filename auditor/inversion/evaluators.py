"""Evaluation networks: who is asked whether a reconstruction shows its class.

Two architectures other than the target's, so that what fools the target need not fool them. Both are trained on the
population and on as many audited members as non-members of each class: nearer to a member than to a non-member can then
not come from them. A tenth of those records is held out to state their accuracy. Large images are averaged down to 64
pixels; the sizes and the training below are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion

__all__ = ["EVALUATORS", "Evaluator", "EvaluatorKind", "load_evaluator", "train_evaluator"]

Floats = npt.NDArray[np.float64]

_LARGEST = 64
_EPOCHS = 12
_LEAST_STEPS = 600
_MOST_STEPS = 1500
_BATCH = 64
_ASKED_AT_ONCE = 256
_LEARNING_RATE = 2e-3
_SHIFT = 2
_NOISE = 0.02
_HELD_OUT = 0.1
_RIGHT, _TRIED = "held-out.right", "held-out.tried"


class _Plain(nn.Module):
    """3x3 convolutions with batch normalisation and pooling by maxima."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = (channels, 16, 32, 64)
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
                for a, b in pairwise(widths)
            ),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 96),
            nn.ReLU(),
        )
        self.head = nn.Linear(96, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


class _Residual(nn.Module):
    """5x5 convolutions with strides, group normalisation and a residual block at each size."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 24, 5, stride=2, padding=2),
            _Block(24),
            nn.Conv2d(24, 48, 5, stride=2, padding=2),
            _Block(48),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(432, 96),
            nn.GELU(),
        )
        self.head = nn.Linear(96, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.GroupNorm(8, width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        changed: Tensor = images + self.inner(images)
        return changed


@dataclass(frozen=True)
class EvaluatorKind:
    """An architecture by name."""

    name: str
    build: Callable[[int, int], nn.Module]


EVALUATORS = (EvaluatorKind("plain", _Plain), EvaluatorKind("residual", _Residual))


@dataclass(frozen=True)
class Evaluator:
    """A trained evaluation network.

    Attributes:
        name: Of its architecture.
        module: In eval mode.
        accuracy: On records held out from its training.
    """

    name: str
    module: nn.Module
    accuracy: Estimate

    def probabilities(self, images: Tensor) -> Floats:
        """float64 [image, class]."""
        return _in_batches(self.module, images, lambda batch: torch.softmax(self.module(batch).double(), 1))

    def features(self, images: Tensor) -> Floats:
        """What its last layer receives, float64 [image, feature]."""
        body = self.module.get_submodule("body")
        return _in_batches(self.module, images, lambda batch: body(batch).double())


def train_evaluator(
    kind: EvaluatorKind,
    images: Tensor,
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    seed: int,
    device: torch.device,
    effort: float = 1.0,
) -> Mapping[str, Tensor]:
    """Train an evaluation network and try it on what was held out.

    Args:
        kind: Which architecture.
        images: float32 in [0, 1] [record, channel, height, width].
        labels: int64 [record].
        classes: How many there are.
        seed: Decides initial weights, order, augmentation and who is held out.
        device: Where to train.
        effort: Share of the steps, for timed trials.

    Returns:
        Tensors for the run folder, that `load_evaluator` reads.
    """
    targets = torch.from_numpy(np.array(labels))
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    held_out = max(1, round(_HELD_OUT * len(targets)))
    tried, seen = order[:held_out], order[held_out:]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        module = kind.build(images.shape[1], classes).to(device)
        _fit(module, images[seen], targets[seen], device, effort)
    named = _in_batches(module, images[tried], module).argmax(1)
    right = int((named == targets[tried].numpy()).sum())
    state = {name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}
    return {**state, _RIGHT: torch.tensor([right]), _TRIED: torch.tensor([held_out])}


def load_evaluator(
    kind: EvaluatorKind, tensors: Mapping[str, Tensor], channels: int, classes: int, device: torch.device
) -> Evaluator:
    """Build a trained evaluation network again."""
    module = kind.build(channels, classes)
    module.load_state_dict({name: one for name, one in tensors.items() if name not in (_RIGHT, _TRIED)})
    module.to(device).eval().requires_grad_(requires_grad=False)
    return Evaluator(kind.name, module, proportion(int(tensors[_RIGHT]), int(tensors[_TRIED]), unit="records"))


def _in_batches(module: nn.Module, images: Tensor, ask: Callable[[Tensor], Tensor]) -> Floats:
    device = next(module.parameters()).device
    with torch.inference_mode():
        parts = [ask(_shrunk(batch.to(device))).cpu() for batch in images.float().split(_ASKED_AT_ONCE)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)


def _fit(module: nn.Module, images: Tensor, labels: Tensor, device: torch.device, effort: float) -> None:
    module.train()
    steps = max(2, round(effort * min(max(_EPOCHS * len(labels) // _BATCH, _LEAST_STEPS), _MOST_STEPS)))
    optimizer = torch.optim.AdamW(module.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_LEARNING_RATE, total_steps=steps)
    images = _shrunk(images)
    for index in islice(_batches(len(labels)), steps):
        batch = _varied(images[index].to(device))
        loss = functional.cross_entropy(module(batch), labels[index].to(device), label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    module.eval()


def _batches(count: int) -> Iterator[Tensor]:
    """Positions in random order without end; a batch of one record would stop batch normalisation."""
    while True:
        yield from (index for index in torch.randperm(count).split(_BATCH) if len(index) > 1)


def _shrunk(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    if max(height, width) <= _LARGEST:
        return images
    scale = _LARGEST / max(height, width)
    return functional.adaptive_avg_pool2d(images, (round(height * scale), round(width * scale)))


def _varied(images: Tensor) -> Tensor:
    """Shifted by up to two pixels, with other brightness and contrast, and noise; one draw per image."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (_SHIFT,) * 4, mode="replicate")
    top, left = (torch.randint(0, 2 * _SHIFT + 1, (len(images), 1), device=images.device) for _ in range(2))
    rows = (top + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (left + torch.arange(width, device=images.device))[:, None, None, :]
    record = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    shifted = padded[record, channel, rows, columns]
    contrast = torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(0.8, 1.2)
    brightness = torch.empty_like(contrast).uniform_(-0.1, 0.1)
    return shifted * contrast + brightness + _NOISE * torch.randn_like(shifted)
