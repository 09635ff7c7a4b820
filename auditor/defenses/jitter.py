"""The jitter probe: a label that changes as soon as a record is shaken a little was looked up, not predicted.

A defense that swaps the labels of known members by their stored vectors (Purifier, 2023) answers a member with a wrong
label and the same member plus a little noise with the right one, while the labels of other records do not change. No
publication is known that reports this attack; it is ours. It needs labels only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auditor.compute import generator
from auditor.defense import DefenseProbe, Inspected
from auditor.records import Inputs
from auditor.signals import class_vectors
from auditor.target import Target
from auditor.threat import Access

__all__ = ["JITTER", "jitter"]

_DRAWS = 8
_SHAKEN_AT_ONCE = 512  # the records may be larger than memory
_FEATURE_NOISE = 1e-3  # of a feature's standard deviation; images move by one of 255 levels at most


def jitter(inspected: Inspected) -> npt.NDArray[np.float64]:
    """How often the label of a shaken copy is not the record's usual one, float64 [record] in 0..1.

    Both are asked for several times: what a defense draws at random must not pass for an answer to the noise.
    """
    target, inputs, classes = inspected.target, inspected.records.inputs, inspected.target.facts.num_classes
    rng, noise = generator(inspected.seed, "jitter"), _noise_of(inspected.own.inputs)
    scores = []
    for start in range(0, len(inputs), _SHAKEN_AT_ONCE):
        part = inputs[start : start + _SHAKEN_AT_ONCE]
        plain = np.stack([_labels(target, part, time=2 * draw) for draw in range(_DRAWS)])
        shaken = np.stack([_labels(target, _shaken(part, noise, rng), time=2 * draw + 1) for draw in range(_DRAWS)])
        scores.append((shaken != _most_frequent(plain, classes)).mean(0))
    return np.concatenate(scores)


def _labels(target: Target, inputs: Inputs, *, time: int) -> npt.NDArray[np.intp]:
    labels: npt.NDArray[np.intp] = class_vectors(target, inputs, time=time)[1].argmax(1)
    return labels


def _noise_of(own: Inputs) -> npt.NDArray[np.float64]:
    """How far features are moved, by the attacker's own records, float64 [feature]; images need no such scale."""
    return np.zeros(1) if own.dtype == np.uint8 else _FEATURE_NOISE * own.astype(np.float64).std(0)


def _shaken(inputs: Inputs, noise: npt.NDArray[np.float64], rng: np.random.Generator) -> Inputs:
    """Images with every pixel moved by -1, 0 or 1 of 255 levels; features with Gaussian noise."""
    if inputs.dtype == np.uint8:
        moved = inputs + rng.integers(-1, 2, inputs.shape, dtype=np.int16)
        return moved.clip(0, 255).astype(np.uint8)
    return (inputs + noise * rng.standard_normal(inputs.shape)).astype(np.float32)


def _most_frequent(labels: npt.NDArray[np.intp], classes: int) -> npt.NDArray[np.intp]:
    """Per record [record] the label that most of the draws [draw, record] give, the smallest of tied ones."""
    votes = np.stack([(labels == one).sum(0) for one in range(classes)])
    usual: npt.NDArray[np.intp] = votes.argmax(0)
    return usual


JITTER = DefenseProbe(
    id="jitter",
    title="Labels of a record against labels of the record and a little noise",
    access=Access.LABELS,
    score=jitter,
)
