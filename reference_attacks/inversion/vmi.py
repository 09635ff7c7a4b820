"""VMI: fit, for each class, a distribution of latents that the target takes for the class.

Wang, Fu, Li, Khisti, Zemel and Makhzani (2021), "Variational Model Inversion Attacks", NeurIPS. Checked against the
released code (wangkua1/vmi, commit f308752).

What it claims
    Inversion is inference: what can be known of a class is the posterior over a generator's latents. Its variational
    approximation gives accurate images that differ from each other, where a search for the best one gives one.

What the attacker needs
    Access `weights`: logits and their gradient. A generator trained on public images whose latents are N(0, I); a style
    generator through `NoiseSpace`.

Algorithm
    1. For each class, q(z) is a normalizing flow: ten steps of scale and shift of each entry, a fixed shuffle, and an
       additive coupling by a network with two hidden layers of 100. It begins as N(0, I). Or: q is a Gaussian.
    2. Draw 64 latents from q. The loss is their mean cross-entropy plus .001 * KL(q || N(0, I)).
    3. 4,867 steps of SGD with momentum .9, learning rate 1e-4: 31 times 10,000 latents.
    4. Draw 50 latents from q and hand in their images.

What we changed
    Tested for its mechanics only, on tiny generators: it is meant for a StyleGAN at full size, which is the user's.
    Reduced: the released code fits a flow of its own for the style of each of a StyleGAN's layers, the first ten of
    which are attacked while the others get random styles. Here one flow gives z for all layers. Its flows are Glows of
    three levels, which split off half of the entries twice, with convolutions of one pixel; here there is one level.
    The KL divergence is that of the 64 latents shown, where the released code draws others, and in closed form for the
    Gaussian. The released script that makes images takes the flow after 20 of its 31 rounds; here it is the last.
    Images are ordered by the target's confidence. All classes begin with the same flow and draw the same noise.
    Latents are float32, there float64.

Published number and ours
    None verified, none measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from reference_attacks.inversion._families import Family, Flow, Gaussian
from reference_attacks.inversion._rows import by_rows, gradient, shown_at_the_end, wanted
from reference_attacks.inversion.losses import cross_entropy
from reference_attacks.inversion.material import Generator, Images, Inverted

__all__ = ["VMI", "invert"]


@dataclass(frozen=True, slots=True)
class VMI:
    """What is fitted, and how.

    Attributes:
        family: Of the distribution.
        kl_weight: Of the divergence from N(0, I); the cross-entropy's is 1.
        steps: Of SGD.
        learning_rate: Of SGD.
        momentum: Of SGD.
        draws: Latents of each class and step.
        flow_steps: Of a flow.
        hidden: Width of the networks in a flow.
        restarts: Latents drawn at the end and handed in for each class.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    family: Literal["flow", "gaussian"] = "flow"
    kl_weight: float = 1e-3
    steps: int = 4867
    learning_rate: float = 1e-4
    momentum: float = 0.9
    draws: int = 64
    flow_steps: int = 10
    hidden: int = 100
    restarts: int = 50
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.family not in ("flow", "gaussian"):
            raise ValueError(f"family must be 'flow' or 'gaussian', got {self.family!r}")
        for name in ("steps", "draws", "flow_steps", "hidden", "restarts", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum must lie in 0..1, got {self.momentum}")
        if not 0.0 <= self.kl_weight < math.inf:
            raise ValueError(f"kl_weight must not be negative, got {self.kl_weight}")


def invert(
    *,
    logits: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: VMI = VMI(),
) -> Inverted:
    """Fit a distribution for each class and draw from it. Classes do not influence each other.

    Args:
        logits: Images to logits [image, class], differentiably and each image for itself (eval mode).
        classes: Target class ids.
        generator: Trained on public images; its latents are N(0, I).
        rng: Draws noise, on the CPU.
        settings: What is fitted, and how.

    Returns:
        `settings.restarts` images of each class, the one of which the target is surest first.

    Raises:
        ValueError: If there is no class or the logits carry no gradient.
    """
    like = generator.draw(1, torch.Generator().manual_seed(0))  # tells where the generator runs
    targets = wanted(classes, like.device)
    family: Family = Gaussian.standard(len(targets), like)
    if settings.family == "flow":
        family = Flow.standard(len(targets), like, steps=settings.flow_steps, hidden=settings.hidden, rng=rng)
    _fit(family, logits, generator, targets, rng, settings)
    with torch.no_grad():
        latents, _ = family.sampled(torch.randn(settings.restarts, like.shape[1], generator=rng).to(like))
        images = by_rows(
            generator.images,
            latents.flatten(0, 1),
            targets.repeat_interleave(settings.restarts),
            batch_size=settings.batch_size,
        )
    return shown_at_the_end(
        logits=logits,
        images=images.unflatten(0, latents.shape[:2]),
        targets=targets,
        queries=settings.steps * settings.draws,
        shared=0,
        batch_size=settings.batch_size,
    )


def _fit(
    family: Family, logits: Images, generator: Generator, targets: Tensor, rng: torch.Generator, settings: VMI
) -> None:
    """Bring the distributions of the classes [class] to where the loss is small."""
    for parameter in family.parameters:
        parameter.requires_grad_()
    optimizer = torch.optim.SGD(family.parameters, lr=settings.learning_rate, momentum=settings.momentum)
    of = targets.repeat_interleave(settings.draws)

    def slope(latents: Tensor, wanted_of: Tensor) -> Tensor:
        return gradient(partial(_cost, logits, generator, wanted_of), latents)[1]

    for _ in range(settings.steps):
        noise = torch.randn(settings.draws, generator.latent_size, generator=rng).to(targets.device)
        with torch.enable_grad():
            latents, divergence = family.sampled(noise)
            rows = latents.flatten(0, 1)
            slopes = by_rows(slope, rows, of, batch_size=settings.batch_size)
            loss = (rows * slopes).sum() / settings.draws + settings.kl_weight * divergence.sum()
            gradients = torch.autograd.grad(loss, family.parameters)
        for parameter, own in zip(family.parameters, gradients, strict=True):
            parameter.grad = own
        optimizer.step()


def _cost(logits: Images, generator: Generator, targets: Tensor, latents: Tensor) -> Tensor:
    return cross_entropy(logits(generator.images(latents, targets)), targets)
