"""Ask a model once, keep the answers: what one pass over the records shows about each of them.

Attacks on the true label take these arrays and never see a model. Class vectors are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch

from auditor.target import Target
from reference_attacks.membership import signals as formulas

__all__ = ["IDENTITY", "MIRROR", "Signals", "accuracy", "class_probabilities", "class_vectors", "observe"]

Floats = npt.NDArray[np.float64]

IDENTITY = "identity"
MIRROR = "mirror"
_BATCH = 512


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
        modified_entropy=formulas.modified_entropy(released, labels),
        correct=(released.argmax(1) == labels).astype(np.float64),
    )


def class_vectors(
    target: Target, inputs: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits and released probabilities, both float32 [record, class]; halves its batch when memory runs out."""
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
