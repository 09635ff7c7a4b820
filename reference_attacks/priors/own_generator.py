"""A user's own generator: what their factory made, as one that attacks can search, tried before it is used.

A factory makes one of three things:

* an object that satisfies `reference_attacks.inversion.material.Generator`, or `style.StyleGenerator`;
* a `torch.nn.Module`, scripted ones included, that says as attributes what `Facts` asks for;
* a module and its `Facts`, as a pair.

A module built like those of NVIDIA's stylegan2-ada-pytorch becomes a `StyleGenerator`.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from reference_attacks.inversion.material import Generator
from reference_attacks.inversion.style import StyleGenerator
from reference_attacks.priors._own_modules import Facts, ModuleGenerator, StyleGAN2, is_style_network

__all__ = ["Facts", "adapted"]

_PROTOCOL = ("latent_size", "image_shape", "conditional", "draw", "images")
_TRIED = 8  # images of a trial
_SLACK = 0.05  # share of the stated range by which a pixel may miss it
_MOST_OUTSIDE = 0.25  # share of pixels that may miss it by more: StyleGANs overshoot
_EQUAL = 1e-2  # pixels in 0..1 that differ by less are equal: batches change float32 sums
_STYLE_RANGE = (-1, 1)


def adapted(made: object, *, image_shape: tuple[int, int, int], device: torch.device | str = "cpu") -> Generator:
    """What a factory made, as a generator that was tried on a few latents.

    A module is moved to `device`, put into eval mode, and its parameters stop asking for gradients.

    Args:
        made: What a user's factory returned; see the top of this file.
        image_shape: Channel, height, width of the images that the target takes; those of a module are resized to it.
        device: Where a module is to run; an object of the protocol sees to that itself.

    Returns:
        The generator; a `StyleGenerator` where its styles can be searched.

    Raises:
        ValueError: If something is missing or is not as stated; the message says what, for the user.
    """
    generator = _generator(made, image_shape, torch.device(device))
    try:
        _try(generator, image_shape)
    except _UnfitError:
        raise
    except Exception as error:
        raise ValueError(f"the generator failed on {_TRIED} latents: {type(error).__name__}: {error}") from error
    return generator


class _UnfitError(ValueError):
    """What a trial showed, in words for the user."""


def _generator(made: object, image_shape: tuple[int, int, int], device: torch.device) -> Generator:
    match made:
        case (nn.Module() as module, Facts() as facts):
            return _wrapped(module, facts, image_shape, device)
        case _ if all(hasattr(made, name) for name in _PROTOCOL):
            return cast("Generator", made)
        case nn.Module():
            return _wrapped(made, _stated(made), image_shape, device)
    raise ValueError(
        f"the factory made a {type(made).__name__}; it must make a torch.nn.Module, a module and its Facts, or an "
        f"object with {', '.join(_PROTOCOL)}"
    )


def _stated(module: nn.Module) -> Facts:
    """The facts that a module says as attributes."""
    said: Any = module
    if is_style_network(module):
        return Facts(said.z_dim, _STYLE_RANGE, crop=getattr(module, "crop", 1.0))
    missing = [name for name in ("latent_size", "output_range") if not hasattr(module, name)]
    if missing:
        raise ValueError(
            f"{type(module).__name__} does not say its {' and '.join(missing)}; "
            "set them as attributes, or return the module and its Facts"
        )
    return Facts(
        latent_size=said.latent_size,
        output_range=tuple(said.output_range),
        conditional=getattr(module, "conditional", 0),
        crop=getattr(module, "crop", 1.0),
    )


def _wrapped(module: nn.Module, facts: Facts, image_shape: tuple[int, int, int], device: torch.device) -> Generator:
    module = module.to(device).eval()
    for parameter in module.parameters():  # a scripted module has no requires_grad_ of its own
        parameter.requires_grad = False
    if not is_style_network(module):
        return ModuleGenerator(module, facts, image_shape, device)
    if getattr(module, "c_dim", 0) or facts.conditional:
        raise ValueError("a style network that takes classes is not supported; write an object of the protocol")
    if facts.latent_size != module.z_dim:
        raise ValueError(f"latent_size is {facts.latent_size}, but the network's z_dim is {module.z_dim}")
    return StyleGAN2(module, facts, image_shape, device)


# --- the trial ----------------------------------------------------------------------------------------------------


def _try(generator: Generator, image_shape: tuple[int, int, int]) -> None:
    latents = _drawn(generator)
    classes = torch.arange(_TRIED, device=latents.device) % generator.conditional if generator.conditional else None
    if isinstance(generator, ModuleGenerator | StyleGAN2):
        with torch.no_grad():
            _check_made(generator.made(latents, classes), generator.facts, image_shape)
    elif tuple(generator.image_shape) != image_shape:
        raise _UnfitError(f"image_shape is {tuple(generator.image_shape)}, but the model takes {image_shape}")
    latents = latents.detach().requires_grad_()
    with torch.enable_grad():
        images = generator.images(latents, classes)
    _check_images(images, image_shape)
    _check_slope(images, latents)
    with torch.no_grad():
        alone = generator.images(latents[:1], None if classes is None else classes[:1])
    if not torch.allclose(alone, images[:1], rtol=0.0, atol=_EQUAL):
        raise _UnfitError("the same latent gave two images: switch off noise, dropout and batch statistics inside")
    if isinstance(generator, StyleGenerator):
        _check_stages(generator, latents.detach(), images.detach())


def _drawn(generator: Generator) -> Tensor:
    latents, again = (generator.draw(_TRIED, torch.Generator().manual_seed(0)) for _ in range(2))
    wanted = (_TRIED, generator.latent_size)
    if tuple(latents.shape) != wanted or latents.dtype != torch.float32:
        raise _UnfitError(f"draw must give float32 {wanted}, got {latents.dtype} {tuple(latents.shape)}")
    if not torch.equal(latents, again):
        raise _UnfitError("draw must take its random numbers from the rng that it is given")
    return latents


def _check_made(made: Tensor, facts: Facts, image_shape: tuple[int, int, int]) -> None:
    if made.ndim != 4 or len(made) != _TRIED:
        raise _UnfitError(f"{_TRIED} latents gave {tuple(made.shape)}, not images [image, channel, height, width]")
    if made.shape[1] != image_shape[0]:
        raise _UnfitError(f"the network makes {made.shape[1]} channels, but the model takes {image_shape[0]}")
    if not bool(made.isfinite().all()):
        raise _UnfitError("the network made pixels that are not finite")
    low, high = facts.output_range
    slack = _SLACK * (high - low)
    outside = ((made < low - slack) | (made > high + slack)).float().mean().item()
    span = f"the network's pixels go from {made.min().item():.3g} to {made.max().item():.3g}"
    if outside > _MOST_OUTSIDE:
        raise _UnfitError(f"output_range is {low}..{high}, but {span}")
    if low < 0 and made.min().item() >= 0:
        raise _UnfitError(f"output_range is {low}..{high}, but {span}: is it 0..1?")


def _check_images(images: Tensor, image_shape: tuple[int, int, int]) -> None:
    if tuple(images.shape) != (_TRIED, *image_shape) or images.dtype != torch.float32:
        raise _UnfitError(
            f"images must give float32 {(_TRIED, *image_shape)} for {_TRIED} latents, "
            f"got {images.dtype} {tuple(images.shape)}"
        )
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise _UnfitError("images must lie in 0..1")


def _check_slope(images: Tensor, latents: Tensor) -> None:
    if not images.requires_grad:
        raise _UnfitError("images must be differentiable in the latents: they were computed without gradients")
    (slope,) = torch.autograd.grad(images.square().sum(), latents, materialize_grads=True)
    if not bool(slope.isfinite().all()) or not bool(slope.any()):
        raise _UnfitError("images must be differentiable in the latents: the gradient is zero or not finite")


def _check_stages(generator: StyleGenerator, latents: Tensor, images: Tensor) -> None:
    mapped = generator.mapped(torch.zeros(1, generator.noise_size, device=latents.device))
    for name, shape, wanted in (
        ("mapped", mapped.shape, (1, generator.latent_size)),
        ("mean_latent", generator.mean_latent.shape, (generator.latent_size,)),
    ):
        if tuple(shape) != wanted:
            raise _UnfitError(f"{name} must have the shape {wanted}, got {tuple(shape)}")
    with torch.no_grad():
        if not torch.allclose(generator.images_from(None, latents, 0), images, rtol=0.0, atol=_EQUAL):
            raise _UnfitError("images_from stage 0 must give what images gives")
        features = None
        for stage in range(generator.stages - 1):
            features = generator.advanced(features, latents, stage)
            _check_images(generator.images_from(features, latents, stage + 1), generator.image_shape)
