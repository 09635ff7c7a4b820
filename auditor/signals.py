"""Ask a model once, keep the answers: what one pass over the records shows about each of them.

Attacks on the true label take these arrays and never see a model. Class vectors are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch

from auditor.errors import InputError
from auditor.target import Target
from reference_attacks.membership import signals as formulas

__all__ = [
    "IDENTITY",
    "MIRROR",
    "Signals",
    "accuracy",
    "class_probabilities",
    "class_vectors",
    "observe",
    "repeat_difference",
    "same_noise",
]

Floats = npt.NDArray[np.float64]

IDENTITY = "identity"
MIRROR = "mirror"
_BATCH = 512
_ASKED_TWICE = 64
_ROUNDING = 1e-4  # sums on a GPU may come out in another order


@dataclass(frozen=True)
class Signals:
    """What models answered, every field float64 [record, query], or [model, record, query] once stacked.

    `logit_margin` needs the weights; the rest is computed from the float32 probabilities as released, so that what an
    API rounds away is gone here too.
    """

    logit_margin: Floats
    released_margin: Floats
    confidence: Floats
    loss: Floats
    entropy: Floats
    modified_entropy: Floats
    correct: Floats

    @classmethod
    def stack(cls, models: Sequence[Signals]) -> Signals:
        """Several models' answers on the same records, along a new first axis."""
        return cls(**{name: np.stack([getattr(model, name) for model in models]) for name in models[0].arrays()})

    def arrays(self) -> dict[str, Floats]:
        """Name -> array, for the run folder."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def records(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Signals:
        """The answers on some of the records, in the order given."""
        return self._each(lambda array: array[..., chosen, :])

    def model(self, index: int) -> Signals:
        """One model's answers out of a stack."""
        return self._each(lambda array: array[index])

    def without_models(self, models: Sequence[int]) -> Signals:
        """The stack less some models."""
        return self._each(lambda array: np.delete(array, list(models), axis=0))

    def _each(self, change: Callable[[Floats], Floats]) -> Signals:
        return Signals(**{name: change(array) for name, array in self.arrays().items()})


def observe(
    target: Target,
    inputs: npt.NDArray[np.generic],
    labels: npt.NDArray[np.int64],
    queries: Sequence[str] = (IDENTITY,),
) -> Signals:
    """One pass over the records per query.

    Args:
        target: The model asked; its output wrapper, if any, is applied.
        inputs: uint8 [record, height, width, channel] or float32 [record, feature].
        labels: The true labels, int64 [record].
        queries: `identity`, and `mirror` where the training augmentation flips.

    Returns:
        float64 signals [record, query].
    """
    columns = [_ask(target, inputs, labels, query) for query in queries]
    return Signals(
        **{name: np.stack([getattr(column, name) for column in columns], axis=1) for name in columns[0].arrays()}
    )


def _ask(target: Target, inputs: npt.NDArray[np.generic], labels: npt.NDArray[np.int64], query: str) -> Signals:
    asked = inputs[:, :, ::-1] if query == MIRROR else inputs
    logits, released = class_vectors(target, asked)
    return Signals(
        logit_margin=formulas.logit_margin(logits, labels),
        released_margin=formulas.released_margin(released, labels),
        confidence=formulas.confidence(released, labels),
        loss=formulas.cross_entropy(released, labels),
        entropy=formulas.entropy(released),
        modified_entropy=formulas.modified_entropy(released, labels),
        correct=(released.argmax(1) == labels).astype(np.float64),
    )


@contextmanager
def same_noise(target: Target, time: int = 0) -> Iterator[None]:
    """Let a model that draws random numbers draw the same ones whenever it is asked; every model has its own.

    Args:
        target: Its weights decide the numbers, so that shadows do not share the target's noise.
        time: Another time gives other numbers.
    """
    cuda = [target.device] if target.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(int(target.facts.sha256[:12], 16) + time)
        yield


def class_vectors(
    target: Target, inputs: npt.NDArray[np.generic], *, time: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits and released probabilities, both float32 [record, class]; halves its batch when memory runs out.

    The same question at the same `time` gets the same answer, also from a model that adds noise.

    Raises:
        InputError: the model gives logits that are not finite.
    """
    with same_noise(target, time):
        logits, released = _in_batches(target, inputs)
    _refuse_non_finite(target, logits)
    return logits, released


def repeat_difference(target: Target, inputs: npt.NDArray[np.generic]) -> float:
    """How far the answers to two equal queries lie apart: the largest difference of an output, 0 if only rounding.

    Args:
        target: The model asked, behind its wrapper if it has one.
        inputs: Stored records; the first 64 are asked.
    """
    first, again = (class_vectors(target, inputs[:_ASKED_TWICE], time=time) for time in (0, 1))
    differences = [
        float(np.abs(one - other).max())
        for one, other in zip(first, again, strict=True)
        if not np.allclose(one, other, rtol=_ROUNDING, atol=_ROUNDING)
    ]
    return max(differences, default=0.0)


def _refuse_non_finite(target: Target, logits: npt.NDArray[np.float32]) -> None:
    bad = int((~np.isfinite(logits)).any(1).sum())
    if not bad:
        return
    found = f"gives logits that are not finite for {bad:,} of {len(logits):,} records"
    if target.made_here:
        raise InputError(
            f"A model that we trained {found}: training diverged.",
            "Correct [training] in splits.toml, e.g. lower lr: it must train a model like the audited one.",
        )
    raise InputError(
        f"The audited model {target.facts.name} {found}.",
        "Check mean, std and input_size in [preprocessing] of splits.toml, and the checkpoint itself.",
    )


def _in_batches(
    target: Target, inputs: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    batch, start = _BATCH, 0
    logits: list[torch.Tensor] = []
    released: list[torch.Tensor] = []
    while start < len(inputs):
        try:
            with torch.inference_mode():
                part = target.logits(np.ascontiguousarray(inputs[start : start + batch]))
                released.append(target.released(part).cpu())
            logits.append(part.float().cpu())
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2
            continue
        start += batch
    return torch.cat(logits).numpy(), torch.cat(released).numpy()


def class_probabilities(target: Target, inputs: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Released probabilities, float32 [record, class]."""
    return class_vectors(target, inputs)[1]


def accuracy(target: Target, inputs: npt.NDArray[np.generic], labels: npt.NDArray[np.int64]) -> float:
    """Share of records whose released top class is the true label."""
    return float((class_probabilities(target, inputs).argmax(1) == labels).mean())
