"""Inversion network: a decoder that turns what a model says back into what it was shown.

Yang, Zhang, Chang and Liang (2019), "Neural Network Inversion in Adversarial Setting via Background Knowledge
Alignment", CCS, arXiv:1902.08552.

What it claims
    A network trained on other images to undo the model rebuilds the images behind the model's outputs, also when only
    the largest probabilities are released. Here the attacker has the output of one record and wants that record, not
    a prototype of a class: a decoder that only reaches the error of the class mean has learned the class.

What the attacker needs
    Access `scores`, or `labels` at a loss, to ask about images of its own, and the output of each record to rebuild.
    No weights. The model must be asked as it is released: a decoder that was trained on undefended outputs
    understates what a defended model gives away.

Algorithm
    1. Ask the model about every auxiliary image a: p = F(a).
    2. Of each p keep the m largest entries (m = number of classes: all): max(log p, -1000) + 50. If the smallest kept
       value v is negative, add -v to those kept. All other entries are 0. Of a label only its place is known: the
       value is that of a probability of 1.
    3. A decoder of transposed convolutions, each followed by batch norm and tanh, the last by a sigmoid, maps that to
       an image. Minimise the squared error per pixel to a: Adam at 2e-4, betas .5 and .999, amsgrad, batches of 128,
       100 epochs.
    4. The reconstruction of a record is the decoder's answer to the model's output on it.

What we changed
    The authors' code is for 64 x 64 in one channel: 4 x 4, doubled four times, 8 to 1 times `width` channels. Other
    sides are halved, rounding up, until none is above 4, and the decoder goes the way back; a channel multiple less for
    every doubling less. Up to three channels or more work alike.
    The authors keep the epoch with the smallest error on the target's training images, which an attacker does not
    have; we keep the last.
    The input is the authors' (github.com/yziqi/adversarial-model-inversion @ c421bbc) with its constant of 50. That
    marks which entries are kept; where all are, it says nothing, and a decoder of soft scores, whose logarithms differ
    by little, does not get past it. `centred`, off by default, leaves it away and subtracts each row's mean instead.
    `narrow()` is a reduced variant for quick budgets: a quarter of the width, 25 epochs at most, learning rate 1e-3 on
    batches of 64, and full outputs centred.

Published number and ours
    None verified; not measured at the paper's width, but for one run below. Ours for `narrow()` before its inputs were
    centred, full outputs of one small network, one seed, no interval: private MNIST digits 0 to 4, 1,000 auxiliary
    images. Squared error per pixel on members and non-members: .061 and .061 with digits 5 to 9 as auxiliary images,
    .048 and .048 with other images of 0 to 4. The mean image of the right class has .053. So with other digits it told
    less than the class, with the same ones a little more, and neither time did it rebuild members better. Its learning
    rate and batch size are the pick of seven variants tried on these digits.
    Why it is centred: UCI digits of 8 x 8, one small network, 1,000 auxiliary images, three seeds, no interval. With
    the network's logits divided by 1, 4 and 16 the error on 397 other images is .028, .059 and .074 uncentred, where
    the mean image has .073 and the mean image of the right class .043; centred it is .022 each time. At the paper's
    width and 100 epochs, uncentred, it is .073 for 16 (one seed).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Inputs", "InversionNetwork", "Settings", "narrow", "prepared", "train"]

Inputs = Literal["full", "truncated", "label"]

_LOG_FLOOR = -1000.0
_SHIFT = 50.0
_LARGEST_START = 4
_LEAST_SIDE = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """What the decoder reads, how wide it is and how it is trained.

    Attributes:
        inputs: Which part of an output the attacker sees.
        kept: How many of the largest probabilities "truncated" keeps, all where there are fewer; ours, as the paper
            varies it.
        centred: Whether rows of "full" are centred; ours.
        width: Channels of the last hidden layer; those before have 2, 4, 8 times as many.
        learning_rate: Of Adam.
        batch_size: Images per step, and at once when reconstructing.
        epochs: Passes over the auxiliary images.

    Raises:
        ValueError: If a value is out of range.
    """

    inputs: Inputs = "full"
    kept: int = 5
    centred: bool = False
    width: int = 128
    learning_rate: float = 2e-4
    batch_size: int = 128
    epochs: int = 100

    def __post_init__(self) -> None:
        if self.inputs not in {"full", "truncated", "label"}:
            raise ValueError(f'inputs must be "full", "truncated" or "label", got {self.inputs!r}')
        if self.centred and self.inputs != "full":
            raise ValueError(f'centred needs inputs to be "full", got {self.inputs!r}')
        if min(self.kept, self.width, self.batch_size, self.epochs) < 1:
            raise ValueError(
                "kept, width, batch_size and epochs must be at least 1, "
                f"got {self.kept}, {self.width}, {self.batch_size}, {self.epochs}"
            )
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


def narrow(inputs: Inputs = "full", *, kept: int = 5, epochs: int = 25) -> Settings:
    """Settings of the reduced variant: seconds on a thousand images of 28 x 28.

    Args:
        inputs: Which part of an output the attacker sees.
        kept: How many of the largest probabilities "truncated" keeps.
        epochs: Passes over the auxiliary images, at most 25.

    Raises:
        ValueError: If a value is out of range.
    """
    if epochs > 25:
        raise ValueError(f"epochs of the narrow variant must be at most 25, got {epochs}")
    centred = inputs == "full"
    return Settings(inputs, kept=kept, centred=centred, width=32, learning_rate=1e-3, batch_size=64, epochs=epochs)


def prepared(outputs: Tensor, settings: Settings) -> Tensor:
    """What the decoder reads of a model's outputs.

    Args:
        outputs: Probabilities [image, class]; of "label" only the place of the largest counts, so one-hot rows do.
        settings: Which part of an output the attacker sees, and whether rows are centred.

    Returns:
        Shifted logarithms of the kept entries, 0 elsewhere, float32 [image, class].

    Raises:
        ValueError: If the outputs are not rows of probabilities.
    """
    if outputs.ndim != 2 or not outputs.is_floating_point() or not outputs.numel():
        raise ValueError(f"outputs must be probabilities [image, class], got shape {tuple(outputs.shape)}")
    if not bool(((outputs >= 0) & (outputs <= 1.0 + 1e-4)).all()):
        raise ValueError("outputs must be probabilities, but some are outside 0..1")
    classes = outputs.shape[1]
    m = {"full": classes, "truncated": min(settings.kept, classes), "label": 1}[settings.inputs]
    largest, places = outputs.detach().topk(m, dim=1)
    if settings.inputs == "label":
        largest = torch.ones_like(largest)
    values = largest.log().clamp_min(_LOG_FLOOR)
    if settings.centred:
        values = values - values.mean(dim=1, keepdim=True)
    else:
        values = values + _SHIFT
        values = values + F.relu(-values.amin(dim=1, keepdim=True))
    return torch.zeros(outputs.shape, device=outputs.device).scatter(1, places, values.float())


@dataclass(frozen=True, slots=True, eq=False)
class InversionNetwork:
    """A trained decoder.

    Attributes:
        image_shape: Channel, height, width.
        n_classes: Length of a model's output.
        settings: What it reads and how it was trained.
        losses: Mean squared error per pixel over the auxiliary images, one value per epoch made, while training.
    """

    image_shape: tuple[int, int, int]
    n_classes: int
    settings: Settings
    losses: tuple[float, ...]
    _decoder: nn.Sequential = field(repr=False)

    def reconstruct(self, outputs: Tensor) -> Tensor:
        """The images that the decoder thinks were shown.

        Args:
            outputs: The model's outputs on them, of the kind that the decoder was trained on [image, class].

        Returns:
            float32 in 0..1 [image, channel, height, width], where the decoder is.

        Raises:
            ValueError: If the outputs do not fit the decoder.
        """
        _check_width(outputs, self.n_classes)
        device = next(self._decoder.parameters()).device
        rows = prepared(outputs, self.settings).to(device)
        with torch.no_grad():
            parts = [self._decoder(batch) for batch in _columns(rows).split(self.settings.batch_size)]
        return torch.cat(parts)

    def state(self) -> dict[str, Tensor]:
        """Everything learned, as copies of flat tensors by name."""
        return {name: tensor.detach().clone() for name, tensor in self._decoder.state_dict().items()}

    @classmethod
    def restored(
        cls, state: Mapping[str, Tensor], *, image_shape: tuple[int, int, int], n_classes: int, settings: Settings
    ) -> InversionNetwork:
        """The decoder whose `state` this is; its losses are not part of that.

        Raises:
            RuntimeError: If the state is not that of such a decoder.
        """
        decoder = _fresh(image_shape, n_classes, settings.width, torch.Generator())
        decoder.load_state_dict(dict(state))
        device = next(iter(state.values())).device
        return cls(image_shape, n_classes, settings, (), decoder.to(device).eval())


def train(
    *,
    outputs: Tensor,
    images: Tensor,
    rng: torch.Generator,
    settings: Settings = Settings(),
    tick: Callable[[int, int], None] | None = None,
) -> InversionNetwork:
    """Learn to undo a model from its outputs on auxiliary images. The model itself is not asked here.

    Args:
        outputs: What the model released on the images: probabilities, or one-hot labels [image, class].
        images: The auxiliary images, in 0..1 [image, channel, height, width]; training happens where they are.
        rng: Draws the first weights and the batches; on the CPU.
        settings: What is read and how it is learned.
        tick: Called after each epoch with the epochs done and the epochs in all.

    Returns:
        The trained decoder.

    Raises:
        ValueError: If outputs and images do not fit each other or the images are too small to build a decoder for.
    """
    if images.ndim != 4 or len(images) != len(outputs) or not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError(
            "images must be one image in 0..1 [channel, height, width] for each output, "
            f"got {tuple(images.shape)} for outputs {tuple(outputs.shape)}"
        )
    channels, height, width = images.shape[1:]
    wanted = images.detach().float()
    columns = _columns(prepared(outputs, settings).to(images.device))
    decoder = _fresh((channels, height, width), outputs.shape[1], settings.width, rng).to(images.device).train()
    optimizer = torch.optim.Adam(decoder.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999), amsgrad=True)
    losses = []
    for epoch in range(1, settings.epochs + 1):
        total = torch.zeros((), dtype=torch.float64, device=images.device)
        for batch in torch.randperm(len(images), generator=rng).to(images.device).split(settings.batch_size):
            loss = F.mse_loss(decoder(columns[batch]), wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        losses.append(float(total) / len(images))
        if tick is not None:
            tick(epoch, settings.epochs)
    return InversionNetwork((channels, height, width), outputs.shape[1], settings, tuple(losses), decoder.eval())


def _columns(rows: Tensor) -> Tensor:
    """Rows [image, class] as images of one pixel [image, class, 1, 1]."""
    return rows[:, :, None, None]


def _check_width(outputs: Tensor, n_classes: int) -> None:
    if outputs.ndim != 2 or outputs.shape[1] != n_classes:
        raise ValueError(f"outputs must be [image, {n_classes}] as in training, got {tuple(outputs.shape)}")


def _sides(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width after each layer, the last first halved until none is above 4."""
    if min(height, width) < _LEAST_SIDE:
        raise ValueError(f"images must have sides of at least {_LEAST_SIDE}, got {height} x {width}")
    sides = [(height, width)]
    while max(sides[0]) > _LARGEST_START:
        sides.insert(0, ((sides[0][0] + 1) // 2, (sides[0][1] + 1) // 2))
    return sides


def _fresh(image_shape: tuple[int, int, int], n_classes: int, width: int, rng: torch.Generator) -> nn.Sequential:
    """A decoder with torch's usual first weights, drawn from the generator and not from torch's global one."""
    sides = _sides(*image_shape[1:])
    layers: list[nn.Module] = []
    before, channels = n_classes, width * 2 ** (len(sides) - 2)
    with torch.device("meta"):
        for layer, (tall, wide) in enumerate(sides):
            last = layer == len(sides) - 1
            after = image_shape[0] if last else channels
            if layer:
                # A kernel of 4 doubles a side; one of 3 doubles it less one.
                kernel = (4 - tall % 2, 4 - wide % 2)
                layers.append(nn.ConvTranspose2d(before, after, kernel, stride=2, padding=1))
            else:
                layers.append(nn.ConvTranspose2d(before, after, (tall, wide)))
            layers.extend([nn.Sigmoid()] if last else [nn.BatchNorm2d(after), nn.Tanh()])
            before, channels = after, channels // 2
    decoder = nn.Sequential(*layers).to_empty(device="cpu")
    for module in decoder:
        if isinstance(module, nn.ConvTranspose2d):
            _draw(module, rng)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return decoder


def _draw(layer: nn.ConvTranspose2d, rng: torch.Generator) -> None:
    bound = 1.0 / math.sqrt(layer.weight[0].numel())
    with torch.no_grad():
        for weights in layer.parameters():
            weights.uniform_(-bound, bound, generator=rng)
