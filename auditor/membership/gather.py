"""Gathers what the attacks of a plan need beyond the answers: the records themselves, and the probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from auditor.errors import WorkerKilledError
from auditor.laboratory import Arrays, Laboratory, Probe
from auditor.membership.evidence import Context, Probed
from auditor.membership.features import describe
from auditor.shadows import AuditSet, TrainingSet
from auditor.target import Target

__all__ = ["PROBED_SHADOWS", "records_context", "run_probes"]

PROBED_SHADOWS = 2  # one complementary pair: every audit record is a member of one and a non-member of the other


def records_context(target: Target, audit_set: AuditSet, seed: int) -> Context:
    """What is known of the records without asking the model."""
    return Context(
        labels=audit_set.records.labels,
        calibration_labels=audit_set.calibration.labels,
        features=describe(target, audit_set.records.inputs),
        calibration_features=describe(target, audit_set.calibration.inputs),
        seed=seed,
    )


def run_probes(
    probes: Sequence[Probe], laboratory: Laboratory, target: Target, sets: Sequence[TrainingSet]
) -> dict[str, Probed | Exception]:
    """Send every probe through the target, and through some shadows if attacks read it there; or keep its exception."""
    return {probe.id: _run_probe(probe, laboratory, target, sets) for probe in probes}


def _run_probe(probe: Probe, laboratory: Laboratory, target: Target, sets: Sequence[TrainingSet]) -> Probed | Exception:
    rows, models = laboratory.rows(probe), sets if probe.on_shadows else ()
    try:
        return Probed(
            target=laboratory.probe_target(probe, target, seed=0),
            shadows=_stacked(laboratory.probe(probe, models, task=f"{probe.id} probe")),
            shadow_membership=np.stack([one.included for one in sets])[: len(models), rows],
            rows=rows,
            records=laboratory.audit_set.records.n,
        )
    except WorkerKilledError:
        raise
    except Exception as error:  # noqa: BLE001 - the attacks that read it tell; the rest of the report must still come
        return error


def _stacked(models: Sequence[Arrays]) -> Mapping[str, np.ndarray]:
    names = models[0] if models else ()
    return {name: np.stack([model[name] for model in models]) for name in names}
