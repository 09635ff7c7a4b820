"""Probes: further passes over the audit set, and what a worker does to run one of them on a finished model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.compute import RunFolder
from auditor.findings import Timing
from auditor.laboratory.answers import Arrays
from auditor.laboratory.jobs import Blueprint, Job, finished_model
from auditor.laboratory.shared import published
from auditor.signals import same_noise
from auditor.splits import Records
from auditor.target import Target

__all__ = ["Asked", "Probe", "ProbeJob", "asked_about", "is_probe", "probe_model", "seen"]

_PROBE = "probe "


@dataclass(frozen=True)
class Asked:
    """What a probe is given.

    Attributes:
        target: The model asked.
        records: The audit records asked about, all or a sample.
        own: The attacker's own records of the same classes: the calibrating half of the population.
        blueprint: Builds fresh networks like the target.
        seed: For probes that draw or train.
    """

    target: Target
    records: Records
    own: Records
    blueprint: Blueprint
    seed: int


@dataclass(frozen=True)
class Probe:
    """A further pass over the audit set that only some attacks need, and only on some models.

    Attributes:
        id: Names it in files and in the evidence.
        run: A module-level function: what is asked -> float64 arrays by name, [record, ...].
        sample: How many members, and as many non-members, are asked about; None: all.
        on_shadows: Whether attacks read what it sees of shadows; else only the target is asked.
    """

    id: str
    run: Callable[[Asked], Arrays]
    sample: int | None = None
    on_shadows: bool = True

    @property
    def phase(self) -> str:
        """Under which name the clock keeps what it takes."""
        return f"{_PROBE}{self.id}"


def is_probe(timing: Timing) -> bool:
    """Whether a timing is of one probe and not of a phase of the audit."""
    return timing.phase.startswith(_PROBE)


@dataclass(frozen=True)
class ProbeJob:
    """One probe of one model.

    Attributes:
        model: The job that made the model.
        probe: What is run.
        rows: The audit records asked about.
        answer: The file of what it sees, in the run folder.
    """

    model: Job
    probe: Probe
    rows: npt.NDArray[np.intp]
    answer: str


def probe_model(job: ProbeJob) -> None:
    """Run a probe on a finished model, and keep what it sees."""
    folder = RunFolder(job.model.folder)
    model, seed = finished_model(job.model, folder), job.model.training_set.seed
    found = seen(job.probe, asked_about(model, folder, job.rows, job.model.blueprint, seed))
    folder.write_arrays(job.answer, found)


def seen(probe: Probe, asked: Asked) -> Arrays:
    """What a probe sees, under noise that is the same every time."""
    with same_noise(asked.target):
        return probe.run(asked)


def asked_about(
    target: Target, folder: RunFolder, rows: npt.NDArray[np.intp], blueprint: Blueprint, seed: int
) -> Asked:
    """What a probe is given to ask a model about some of the published audit set (`rows`) or all of it."""
    records, own = (Records.of(*published(folder, name)) for name in ("audit", "calibration"))
    # all of them stay on disk, mapped
    asked = records if len(rows) == records.n else records.take(rows)
    return Asked(target, asked, own, blueprint, seed)
