"""Training a generator against a critic, such that a killed training goes on as if nothing had happened."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_attacks.priors._networks import CriticNetwork, GeneratorNetwork, above, below

__all__ = ["Extra", "GanSettings", "GanTrainer", "Progress"]

Extra = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Fakes, the classes they are to show and a generator for random views to what is added to the generator's loss."""

_TINY = 1e-12
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class GanSettings:
    """How large the networks are and how they are trained. The defaults are ours, for minutes on a CPU.

    Attributes:
        latent_size: Length of a latent.
        width: Channels of both networks at half the image's resolution; up to 8 times as many below.
        steps: Updates of the generator.
        critic_steps: Updates of the critic before each.
        batch_size: Real images and fakes in an update.
        learning_rate: Of the generator's Adam.
        critic_learning_rate: Of the critic's Adam.
        first_moment: Adam's beta 1.
        second_moment: Adam's beta 2.
        loss: `hinge`, with spectral norms held at 1 in the critic, or the slower `wgan-gp`, with its slope penalised.
        penalty: Weight of that penalty.
        average: The generator handed out is a moving average of its weights: how much of it stays in a step; 0: the
            last weights as they are.

    Raises:
        ValueError: If a value is out of range.
    """

    latent_size: int = 64
    width: int = 32
    steps: int = 3_000
    critic_steps: int = 1
    batch_size: int = 64
    learning_rate: float = 5e-4
    critic_learning_rate: float = 1e-3
    first_moment: float = 0.5
    second_moment: float = 0.999
    loss: Literal["hinge", "wgan-gp"] = "hinge"
    penalty: float = 10.0
    average: float = 0.99

    def __post_init__(self) -> None:
        counts = (self.latent_size, self.width, self.steps, self.critic_steps, self.batch_size)
        if min(counts) < 1 or self.batch_size < 2:
            raise ValueError(f"sizes and steps must be at least 1, and batch_size at least 2, got {counts}")
        if not (0.0 < self.learning_rate < math.inf and 0.0 < self.critic_learning_rate < math.inf):
            rates = (self.learning_rate, self.critic_learning_rate)
            raise ValueError(f"learning_rate and critic_learning_rate must be positive, got {rates}")
        for name in ("first_moment", "second_moment", "average"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if self.loss not in {"hinge", "wgan-gp"}:
            raise ValueError(f"loss must be 'hinge' or 'wgan-gp', got {self.loss!r}")
        if not 0.0 <= self.penalty < math.inf:
            raise ValueError(f"penalty must not be negative, got {self.penalty}")


@dataclass(frozen=True, slots=True)
class Progress:
    """How a training goes on, is kept and is watched.

    Attributes:
        resume: What was kept of a training with the same images, settings and random generator; None: a new one.
        keep: Called with all that resuming needs, as a flat mapping of tensors that nobody changes afterwards.
        keep_every: After how many steps; not after the last one.
        tick: Called after every step with the steps done and the steps in all.

    Raises:
        ValueError: If keep_every is below 1.
    """

    resume: Mapping[str, Tensor] | None = None
    keep: Callable[[Mapping[str, Tensor]], None] | None = None
    keep_every: int = 500
    tick: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        if self.keep_every < 1:
            raise ValueError(f"keep_every must be at least 1, got {self.keep_every}")


class GanTrainer:
    """A training at some step; on one machine and thread count, the same state goes on to the same weights.

    Args:
        images: Public images in 0..1, float32 [image, channel, height, width]; where they are, training happens.
        settings: How large the networks are and how they are trained.
        rng: Draws everything, on the CPU.
        classes: What the images show, int64 [image]; for a conditional generator.
        n_classes: How many classes it can be told; 0: it takes none.
        extra: Added to a conditional generator's loss; no gradient reaches what it asks.

    Raises:
        ValueError: If the images or the classes do not fit.
    """

    def __init__(
        self,
        images: Tensor,
        settings: GanSettings,
        rng: torch.Generator,
        *,
        classes: Tensor | None = None,
        n_classes: int = 0,
        extra: Extra | None = None,
    ) -> None:
        _check(images, classes, n_classes)
        self._images, self._classes = images, classes
        self._settings, self._rng, self._extra = settings, rng, extra
        _, channels, height, width = images.shape
        shape = (channels, height, width)
        with torch.random.fork_rng(devices=[]):
            # Layers draw their first weights from torch's global generator.
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=rng)))
            self.generator = GeneratorNetwork(
                shape, latent_size=settings.latent_size, width=settings.width, n_classes=n_classes
            ).to(images.device)
            self.critic = CriticNetwork(
                shape, width=settings.width, n_classes=n_classes, spectral=settings.loss == "hinge"
            ).to(images.device)
        self.average = copy.deepcopy(self.generator)
        self._generator_adam = self._adam(self.generator, settings.learning_rate)
        self._critic_adam = self._adam(self.critic, settings.critic_learning_rate)
        self.step = 0

    def _adam(self, network: nn.Module, learning_rate: float) -> torch.optim.Adam:
        betas = (self._settings.first_moment, self._settings.second_moment)
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas)

    def run(self, progress: Progress) -> None:
        """Go on to the last step.

        Raises:
            ValueError: If what is to be resumed is not of this training.
            FloatingPointError: If the training diverges.
        """
        if progress.resume is not None:
            self.load(progress.resume)
        total = self._settings.steps
        while self.step < total:
            self.advance()
            if progress.keep is not None and self.step % progress.keep_every == 0 and self.step < total:
                progress.keep(self.state())
            if progress.tick is not None:
                progress.tick(self.step, total)

    def advance(self) -> None:
        """One update of the generator, after those of the critic.

        Raises:
            FloatingPointError: If the training diverges.
        """
        for _ in range(self._settings.critic_steps):
            self._update(self._critic_adam, self.critic, self._critic_loss())
        self._update(self._generator_adam, self.generator, self._generator_loss())
        self._follow()
        self.step += 1

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs, by flat names: weights, moments, random state and step."""
        state = {"step": torch.tensor(self.step), "rng": self._rng.get_state()}
        for name, network in self._networks().items():
            state |= above(name, network)
        for name, adam in self._adams().items():
            for index, moments in adam.state_dict()["state"].items():
                state |= {f"{name}.{index}.{key}": value.clone() for key, value in moments.items()}
        return state

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go back, or on, to a state of this training; the random generator is set as well.

        Raises:
            ValueError: If the state is of networks of other sizes, or holds something else.
        """
        try:
            for name, network in self._networks().items():
                network.load_state_dict(below(state, name))
            for name, adam in self._adams().items():
                _load_moments(adam, below(state, name))
            self._rng.set_state(state["rng"].cpu())
            self.step = int(state["step"])
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"the state to resume from is not of this training: {error}") from error

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "critic": self.critic, "average": self.average}

    def _adams(self) -> dict[str, torch.optim.Adam]:
        return {"generator_adam": self._generator_adam, "critic_adam": self._critic_adam}

    def _fakes(self) -> tuple[Tensor, Tensor | None]:
        """Fakes, and the classes that they are to show."""
        size, n_classes = self._settings.batch_size, self.generator.n_classes
        latents = self.generator.draw(size, self._rng)
        classes = torch.randint(n_classes, (size,), generator=self._rng).to(latents.device) if n_classes else None
        return self.generator(latents, classes), classes

    def _critic_loss(self) -> Tensor:
        size = self._settings.batch_size
        rows = torch.randint(len(self._images), (size,), generator=self._rng).to(self._images.device)
        real = self._images[rows]
        with torch.no_grad():
            fakes, asked = self._fakes()
        classes = None if self._classes is None or asked is None else torch.cat((self._classes[rows], asked))
        of_real, of_fakes = self.critic(torch.cat((real, fakes)), classes).split(size)
        if self._settings.loss == "hinge":
            return F.relu(1.0 - of_real).mean() + F.relu(1.0 + of_fakes).mean()
        between = torch.lerp(fakes, real, torch.rand(size, 1, 1, 1, generator=self._rng).to(real))
        steepness = self._steepness(between, asked)
        loss: Tensor = of_fakes.mean() - of_real.mean()
        return loss + self._settings.penalty * (steepness - 1.0).square().mean()

    def _steepness(self, images: Tensor, classes: Tensor | None) -> Tensor:
        """Length of the critic's gradient by the image [image], differentiable in the critic's weights."""
        images.requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(images, classes).sum(), images, create_graph=True)
        steepness: Tensor = (slope.square().sum(dim=(1, 2, 3)) + _TINY).sqrt()
        return steepness

    def _generator_loss(self) -> Tensor:
        fakes, classes = self._fakes()
        loss: Tensor = -self.critic(fakes, classes).mean()
        return loss if self._extra is None or classes is None else loss + self._extra(fakes, classes, self._rng)

    def _update(self, adam: torch.optim.Adam, network: nn.Module, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the training diverged in step {self.step}: lower the learning rates")
        adam.zero_grad()
        loss.backward(inputs=list(network.parameters()))
        adam.step()

    def _follow(self) -> None:
        """The averaged generator moves towards the trained one; counters are taken over."""
        with torch.no_grad():
            latest = self.generator.state_dict()
            for name, value in self.average.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(latest[name], 1.0 - self._settings.average)
                else:
                    value.copy_(latest[name])


def _check(images: Tensor, classes: Tensor | None, n_classes: int) -> None:
    if images.ndim != 4 or len(images) < 1 or not images.is_floating_point():
        raise ValueError(
            f"images must be float [image, channel, height, width], got {images.dtype} {tuple(images.shape)}"
        )
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError("images must lie in 0..1")
    if (classes is not None) != (n_classes > 0):
        raise ValueError("classes and n_classes go together")
    if classes is not None and (
        classes.shape != images.shape[:1] or not 0 <= int(classes.min()) <= int(classes.max()) < n_classes
    ):
        raise ValueError(f"classes must name one of {n_classes} for each of {len(images)} images")


def _load_moments(adam: torch.optim.Adam, moments: Mapping[str, Tensor]) -> None:
    """Put Adam's moments back; before its first step it has none."""
    held = adam.state_dict()
    indices = held["param_groups"][0]["params"]
    if moments and moments.keys() != {f"{index}.{name}" for index in indices for name in _MOMENTS}:
        raise KeyError("moments of other weights")
    held["state"] = {index: {name: moments[f"{index}.{name}"] for name in _MOMENTS} for index in indices if moments}
    adam.load_state_dict(held)
