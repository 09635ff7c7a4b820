"""Ask a model once, keep the answers: what one pass over the records shows about each of them.

Attacks on the true label take these arrays and never see a model. Class vectors are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from auditor.errors import InputError
from auditor.queries import IDENTITY, Query
from auditor.target import Target
from reference_attacks.membership import signals as formulas

__all__ = [
    "CoarseMargins",
    "Signals",
    "accuracy",
    "class_probabilities",
    "class_vectors",
    "observe",
    "observe_outputs",
    "repeat_difference",
    "same_noise",
]

Floats = npt.NDArray[np.float64]

_AS_IT_IS = Query()
_BATCH = 512
_ASKED_TWICE = 64
_ROUNDING = 1e-4  # sums on a GPU may come out in another order


@dataclass(frozen=True)
class _Answered:
    """Arrays of one shape under the names of the fields, taken apart and put together alike."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def stack(cls, models: Sequence[Self]) -> Self:
        """Several models' answers on the same records, along a new first axis."""
        return cls(**{name: np.stack([getattr(model, name) for model in models]) for name in cls.names()})

    def arrays(self) -> dict[str, Floats]:
        """Name -> array, for the run folder."""
        return {name: getattr(self, name) for name in self.names()}

    def records(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Self:
        """The answers on some of the records, in the order given."""
        return self._each(lambda array: array[..., chosen, :])

    def model(self, index: int) -> Self:
        """One model's answers out of a stack."""
        return self._each(lambda array: array[index])

    def without_models(self, models: Sequence[int]) -> Self:
        """The stack less some models."""
        return self._each(lambda array: np.delete(array, list(models), axis=0))

    def averaged(self) -> Self:
        """The mean over the queries, as one query: what is left when a model's noise is averaged away."""
        return self._each(lambda array: array.mean(-1, keepdims=True))

    def _each(self, change: Callable[[Floats], Floats]) -> Self:
        return type(self)(**{name: change(array) for name, array in self.arrays().items()})


@dataclass(frozen=True)
class Signals(_Answered):
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


@dataclass(frozen=True)
class CoarseMargins(_Answered):
    """The margin of the true class as far as coarser outputs show it; axes as of `Signals`, with one query.

    The query is the record itself: what an output gives away is compared on it alone, and eighteen copies would cost
    more memory than the comparison is worth.

    Attributes:
        top3: From the three largest released probabilities.
        top1: From the largest one.
        rounded2: From all of them, rounded to two decimals.
        rounded1: To one decimal.
    """

    top3: Floats
    top1: Floats
    rounded2: Floats
    rounded1: Floats


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
        queries: Names of the copies asked about, see `auditor.queries`; a name that comes again is asked again, and
            gets fresh noise from a model that draws some.

    Returns:
        float64 signals [record, query].

    Raises:
        ValueError: a query is unknown, or needs images.
        InputError: the model gives logits that are not finite.
    """
    return _side_by_side(
        [_signals(*_answers(target, inputs, queries, position), labels) for position in range(len(queries))]
    )


def observe_outputs(
    target: Target, inputs: npt.NDArray[np.generic], labels: npt.NDArray[np.int64], queries: Sequence[str]
) -> tuple[Signals, CoarseMargins]:
    """As `observe`, and in the same passes what coarser outputs show on the first query.

    Raises:
        ValueError: a query is unknown or needs images, or the first one is not the record itself.
        InputError: the model gives logits that are not finite.
    """
    if queries[0] != IDENTITY:
        raise ValueError(f"the first query must be the record itself, got {queries[0]!r}")
    logits, released = class_vectors(target, inputs, labels=labels)
    columns = [_signals(logits, released, labels)]
    columns += [_signals(*_answers(target, inputs, queries, position), labels) for position in range(1, len(queries))]
    return _side_by_side(columns), _coarse_margins(released, labels)


def _answers(
    target: Target, inputs: npt.NDArray[np.generic], queries: Sequence[str], position: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Class vectors for one of the queries, as if at another time where the same came before."""
    name = queries[position]
    return class_vectors(target, inputs, query=Query.named(name), time=queries[:position].count(name))


def _side_by_side(columns: Sequence[Signals]) -> Signals:
    """Signals [record, query] of several queries as one."""
    return Signals(**{name: np.hstack([getattr(column, name) for column in columns]) for name in Signals.names()})


def _signals(
    logits: npt.NDArray[np.float32], released: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> Signals:
    """What one query shows, [record, 1], of class vectors [record, class]."""
    return Signals(
        logit_margin=formulas.logit_margin(logits, labels)[:, None],
        released_margin=formulas.released_margin(released, labels)[:, None],
        confidence=formulas.confidence(released, labels)[:, None],
        loss=formulas.cross_entropy(released, labels)[:, None],
        entropy=formulas.entropy(released)[:, None],
        modified_entropy=formulas.modified_entropy(released, labels)[:, None],
        correct=(released.argmax(1) == labels).astype(np.float64)[:, None],
    )


def _coarse_margins(released: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> CoarseMargins:
    return CoarseMargins(
        top3=formulas.top_margin(released, labels, shown=3)[:, None],
        top1=formulas.top_margin(released, labels, shown=1)[:, None],
        rounded2=formulas.rounded_margin(released, labels, decimals=2)[:, None],
        rounded1=formulas.rounded_margin(released, labels, decimals=1)[:, None],
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
    target: Target,
    inputs: npt.NDArray[np.generic],
    *,
    query: Query = _AS_IT_IS,
    time: int = 0,
    labels: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits and released probabilities, both float32 [record, class]; halves its batch when memory runs out.

    The same question at the same `time` gets the same answer, also from a model that adds noise. Copies are made batch
    by batch: the records may be larger than memory. `labels` [record] serve the complaint alone.

    Raises:
        InputError: the model gives logits that are not finite.
    """
    with same_noise(target, time):
        logits, released = _in_batches(target, inputs, query)
    _refuse_non_finite(target, logits, labels)
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


def _refuse_non_finite(target: Target, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64] | None) -> None:
    bad = np.flatnonzero((~np.isfinite(logits)).any(1))
    if not bad.size:
        return
    found = f"gives logits that are not finite for {bad.size:,} of {len(logits):,} records"
    if labels is not None:
        found += f", the first of class {labels[bad[0]]} (from 0)"
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
    target: Target, inputs: npt.NDArray[np.generic], query: Query
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    batch, start = _BATCH, 0
    logits: list[torch.Tensor] = []
    released: list[torch.Tensor] = []
    while start < len(inputs):
        try:
            with torch.inference_mode():
                part = target.logits(np.ascontiguousarray(query.of(inputs[start : start + batch])))
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
