"""What models answered, and the file that keeps it: asking, stacking, writing and reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.compute import RunFolder
from auditor.errors import InputError
from auditor.laboratory.shared import published
from auditor.queries import IDENTITY
from auditor.signals import CoarseMargins, Signals, observe, observe_outputs
from auditor.target import Target

__all__ = ["Answers", "Arrays", "ask", "is_answered", "read_answers", "read_floats", "write_answers"]

Arrays = Mapping[str, npt.NDArray[np.float64]]

_REPEATED = "repeat_difference"
_PARTS: Mapping[str, type[Signals | CoarseMargins]] = {
    "audit": Signals,
    "calibration": Signals,
    "coarse": CoarseMargins,
}
_KEPT = frozenset(f"{part}.{name}" for part, kind in _PARTS.items() for name in kind.names())


@dataclass(frozen=True)
class Answers:
    """What models said.

    Attributes:
        audit: On the audit set.
        calibration: On the calibrating half of the population.
        repeat_difference: How far one model's answers to two equal queries lay apart; None where nobody asked twice.
        coarse: What coarser outputs show of the audit set; None in simulations.
    """

    audit: Signals
    calibration: Signals
    repeat_difference: float | None = None
    coarse: CoarseMargins | None = None

    @classmethod
    def stack(cls, models: Sequence[Answers]) -> Answers:
        """Several models' answers along a new first axis."""
        coarse = [model.coarse for model in models if model.coarse is not None]
        return cls(
            Signals.stack([model.audit for model in models]),
            Signals.stack([model.calibration for model in models]),
            coarse=CoarseMargins.stack(coarse) if coarse and len(coarse) == len(models) else None,
        )

    def model(self, index: int) -> Answers:
        """One model out of a stack."""
        coarse = None if self.coarse is None else self.coarse.model(index)
        return Answers(self.audit.model(index), self.calibration.model(index), coarse=coarse)

    def without_models(self, models: Sequence[int]) -> Answers:
        """The stack less some models."""
        coarse = None if self.coarse is None else self.coarse.without_models(models)
        return Answers(self.audit.without_models(models), self.calibration.without_models(models), coarse=coarse)


def ask(target: Target, folder: RunFolder, queries: tuple[str, ...], repeats: int) -> Answers:
    """What a model says about the published audit set and calibrating records; on average if it is asked repeatedly."""
    asked = queries if repeats == 1 else (IDENTITY,) * repeats
    audit, coarse = observe_outputs(target, *published(folder, "audit"), asked)
    calibration = observe(target, *published(folder, "calibration"), asked)
    if repeats == 1:
        return Answers(audit, calibration, coarse=coarse)
    return Answers(audit.averaged(), calibration.averaged(), coarse=coarse)


def is_answered(folder: RunFolder, name: str) -> bool:
    """Whether a file holds all that is kept of a model's answers; that of an earlier version may hold less."""
    arrays = folder.read_arrays(name)
    return arrays is not None and arrays.keys() >= _KEPT


def read_answers(folder: RunFolder, name: str) -> Answers:
    """Read what `write_answers` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    arrays = read_floats(folder, name)
    difference = arrays.get(_REPEATED)
    return Answers(
        audit=Signals(**_part(arrays, "audit")),
        calibration=Signals(**_part(arrays, "calibration")),
        repeat_difference=None if difference is None else float(difference[0]),
        coarse=CoarseMargins(**_part(arrays, "coarse")),
    )


def write_answers(folder: RunFolder, name: str, answers: Answers) -> None:
    """Keep what one model answered, as one finished file."""
    arrays = {f"audit.{key}": array for key, array in answers.audit.arrays().items()}
    arrays |= {f"calibration.{key}": array for key, array in answers.calibration.arrays().items()}
    if answers.coarse is not None:
        arrays |= {f"coarse.{key}": array for key, array in answers.coarse.arrays().items()}
    if answers.repeat_difference is not None:
        arrays[_REPEATED] = np.array([answers.repeat_difference])
    folder.write_arrays(name, arrays)


def read_floats(folder: RunFolder, name: str) -> Arrays:
    """Read the arrays of a file that must be there.

    Raises:
        InputError: the file is missing or damaged.
    """
    arrays = folder.read_arrays(name)
    if arrays is None:
        raise InputError(f"{folder.path(name)} is missing or damaged.", "Start again with a fresh --run-dir.")
    return {key: array.astype(np.float64) for key, array in arrays.items()}


def _part(arrays: Arrays, part: str) -> Arrays:
    return {name: arrays[f"{part}.{name}"] for name in _PARTS[part].names()}
