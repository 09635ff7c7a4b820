"""Image priors: a small GAN trained on public/, kept in the run folder, or the user's own generator.

The training goes on after a kill from what it kept last. A tenth of public/ is held out to see what its samples are
worth; a collapsed prior is told, and attacks with it say little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from auditor.checkpoint.factories import absolute_factory, load_factory
from auditor.compute import RunFolder, digest, generator, rename_into_place
from auditor.errors import InputError
from auditor.findings import Measurement
from auditor.inversion.given import Prior
from auditor.laboratory import Blueprint
from auditor.records import printable
from auditor.stats.intervals import proportion
from auditor.target import Target
from reference_attacks.priors import gan, own_generator, quality

__all__ = [
    "OwnGenerator",
    "PriorSource",
    "advance_prior",
    "describe_prior",
    "load_prior",
    "measure_prior",
    "read_generator",
    "train_prior",
    "untrained_prior",
]

_OPTION = "--generator"
_SETTINGS = gan.GanSettings(steps=2_000)
_TRIAL = gan.GanSettings(steps=1)
_KEEP_EVERY = 200
_HELD_OUT = 10
_MOST_COMPARED = 500
_QUALITY = "quality"
_NAMED_BY = 4  # images


@dataclass(frozen=True)
class PriorSource:
    """Where a prior comes from.

    Attributes:
        own: The user's own generator; None: a GAN that we train.
        name: Names it by its content, in files.
        seed: Of the training.
    """

    own: OwnGenerator | None
    name: str
    seed: int

    @classmethod
    def of(cls, own: OwnGenerator | None, public: str, blueprint: Blueprint, seed: int) -> PriorSource:
        """Name the source.

        Args:
            own: The user's own generator, if there is one.
            public: Digest of public/.
            blueprint: Of the target, whose image size the prior has.
            seed: The audit's.
        """
        drawn = int(generator(seed, "prior").integers(2**31))
        preprocessing = blueprint.facts.preprocessing.model_dump(mode="json")
        name = own.name if own else f"gan-{digest(public, preprocessing, drawn, str(_SETTINGS))}"
        return cls(own, name, drawn)

    @property
    def file(self) -> str:
        """Where the trained GAN is kept."""
        return f"inversion/{self.name}.safetensors"

    @property
    def unfinished(self) -> str:
        """Where its training is kept until it is done."""
        return f"inversion/{self.name}.unfinished.safetensors"


# --- the user's own --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnGenerator:
    """The user's own generator.

    Attributes:
        option: `path/to/module.py:factory`, absolute.
        name: File and factory without folders, and a digest of the file and of what it makes.
    """

    option: str
    name: str


def read_generator(option: str, target: Target) -> OwnGenerator:
    """Run the user's factory once, see that what it makes fits the model, and name it by its content.

    Raises:
        InputError: it cannot be used; the message names the option and what is wrong.
    """
    named = absolute_factory(option, _OPTION)
    file, _, factory = named.rpartition(":")
    prior = _user_generator(named, target, torch.device("cpu")).generator
    latents = prior.draw(_NAMED_BY, torch.Generator().manual_seed(0))
    classes = torch.arange(_NAMED_BY) % prior.conditional if prior.conditional else None
    with torch.no_grad():
        made = prior.images(latents, classes).cpu().mul(255).round().to(torch.uint8)
    content = digest(Path(file).read_bytes().hex(), made.numpy())
    return OwnGenerator(named, f"{Path(file).name}:{factory} {content}")


def _user_generator(named: str, target: Target, device: torch.device) -> Prior:
    shape, classes = target.facts.preprocessing.input_size, target.facts.num_classes
    try:
        found = own_generator.adapted(load_factory(named, _OPTION)(), image_shape=shape, device=device)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{printable(named)} ({_OPTION}): {error}.", "See docs/bring-your-own-generator.md for what it returns."
        ) from error
    if found.conditional not in (0, classes):
        raise InputError(
            f"{printable(named)} ({_OPTION}) is told one of {found.conditional} classes, and the model has {classes}.",
            "Name a generator of the model's classes, or one that takes none.",
        )
    return Prior(found)


# --- ours ------------------------------------------------------------------------------------------------------------


def train_prior(source: PriorSource, images: Tensor, folder: RunFolder) -> None:
    """Train a GAN on public images, from where it stopped, and keep it with what its samples are worth.

    Args:
        source: Names the files.
        images: float32 in [0, 1] [image, channel, height, width], on the device where it is to be trained.
        folder: Keeps it.

    Raises:
        FloatingPointError: the training diverges.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(source.seed))
    held_out, seen = order.tensor_split([max(len(images) // _HELD_OUT, 1)])
    arrays = folder.read_arrays(source.unfinished)

    def keep(state: Mapping[str, Tensor]) -> None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        rename_into_place(folder.path(source.unfinished), lambda temporary: save_file(tensors, temporary))

    progress = gan.Progress(
        resume=None if arrays is None else {name: torch.from_numpy(one.copy()) for name, one in arrays.items()},
        keep=keep,
        keep_every=_KEEP_EVERY,
    )
    rng = torch.Generator().manual_seed(source.seed)
    prior = gan.train(images[seen.to(images.device)], rng=rng, settings=_SETTINGS, progress=progress)
    found = _quality(prior, images[held_out.to(images.device)], rng)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in prior.tensors().items()}
    tensors[_QUALITY] = torch.tensor([found.coverage, float(found.collapsed), float(found.samples)])
    rename_into_place(folder.path(source.file), lambda temporary: save_file(tensors, temporary))
    folder.path(source.unfinished).unlink(missing_ok=True)


def _quality(prior: gan.GanPrior, held_out: Tensor, rng: torch.Generator) -> quality.Quality:
    real = held_out[:_MOST_COMPARED].cpu()
    with torch.no_grad():
        generated = prior.images(prior.draw(len(real), rng)).cpu()
    return quality.check(generated=generated, real=real)


def load_prior(source: PriorSource, folder: RunFolder, model: Target) -> Prior:
    """The prior, where a model is.

    Raises:
        InputError: the trained file is missing or damaged, or the user's generator cannot be used.
    """
    shape = model.facts.preprocessing.input_size
    if source.own is not None:
        return _user_generator(source.own.option, model, model.device)
    arrays = folder.read_arrays(source.file)
    if arrays is None:
        raise InputError(f"{folder.path(source.file)} is missing or damaged.", "Start again with a fresh --run-dir.")
    tensors = {name: torch.from_numpy(one.copy()).to(model.device) for name, one in arrays.items() if name != _QUALITY}
    prior = gan.load(tensors, image_shape=shape, settings=_SETTINGS)
    return Prior(prior, prior.critic)


def describe_prior(source: PriorSource, folder: RunFolder) -> str:
    """What the report says of it."""
    if source.own is not None:
        return f"the user's own generator, {source.name}"
    verdict = "collapsed: attacks with it say little" if _kept_quality(source, folder).collapsed else "not collapsed"
    return f"a GAN trained on public/ for {_SETTINGS.steps:,} steps, {verdict}"


def measure_prior(source: PriorSource, folder: RunFolder) -> tuple[Measurement, ...]:
    """How much of public/ its samples reach; nothing of a user's own generator."""
    if source.own is not None:
        return ()
    found = _kept_quality(source, folder)
    share = proportion(round(found.coverage * found.samples), found.samples, unit="images")
    name = "Held-out public images with a sample of the prior near them"
    return (Measurement(name=name, estimate=share, unit="share"),)


@dataclass(frozen=True)
class _Kept:
    coverage: float
    collapsed: bool
    samples: int


def _kept_quality(source: PriorSource, folder: RunFolder) -> _Kept:
    arrays = folder.read_arrays(source.file) or {}
    coverage, collapsed, samples = np.asarray(arrays[_QUALITY])
    return _Kept(float(coverage), bool(collapsed), int(samples))


# --- timed trials ----------------------------------------------------------------------------------------------------


def untrained_prior(model: Target) -> Prior:
    """A prior of the same size that has learned nothing, for timed trials."""
    shape = model.facts.preprocessing.input_size
    blank = torch.zeros(2, *shape, device=model.device)
    prior = gan.train(blank, rng=torch.Generator().manual_seed(0), settings=_TRIAL)
    return Prior(prior, prior.critic)


def advance_prior(images: Tensor, thousandths: int) -> None:
    """Make that part of a training's steps, for timed trials."""
    steps = max(1, round(_SETTINGS.steps * thousandths / 1000))
    gan.train(images, rng=torch.Generator().manual_seed(0), settings=replace(_SETTINGS, steps=steps))
