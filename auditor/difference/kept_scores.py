"""Beside `report.json` in a run folder: what the primary attacks gave each evaluated record, as `scores.safetensors`.

It stays in the run folder (mode 0700), as private as the models there, and no output is made from it: it lets two
audits of the same records be compared record by record. What is found there may be of another audit, or no such file
at all; then it is not used, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from auditor.difference.pairing import Kept, KeptScores, Missing
from auditor.findings import AuditReport, Completed, Metric, Role
from auditor.stats.auc import auc

__all__ = ["SCORES_NAME", "arrays_of", "default_run_folder", "read_kept", "stamp_of"]

Arrays: TypeAlias = Mapping[str, npt.NDArray[np.generic]]

SCORES_NAME = "scores.safetensors"
_RUNS = Path("privaudit-runs")
_STAMP = "privaudit.audit"
_SCORES = "scores."
_TYPES = {"records": "U64", "members": "U8", "groups": "I64"}
_LARGEST = 256 * 2**20
_ROUNDING = 1e-9


def default_run_folder(name: str, fingerprint: str) -> Path:
    """Where a scan keeps its work if nobody says where: by the name and the fingerprint of the model."""
    return _RUNS / f"{name}-{fingerprint[:8]}"


def arrays_of(kept: KeptScores) -> Arrays:
    """The arrays of the file, each [record]; members are 1 and non-members 0."""
    groups = {} if kept.groups is None else {"groups": kept.groups}
    scores = {f"{_SCORES}{name}": one for name, one in kept.scores.items()}
    return {"records": kept.records, "members": kept.membership.astype(np.uint8), **groups, **scores}


def stamp_of(report: AuditReport) -> Mapping[str, str]:
    """The metadata of the file: whose report it belongs to. One entry, as safetensors writes several in any order."""
    return {_STAMP: f"plan {report.plan.digest}, key {report.data.key_fingerprint}"}


def read_kept(file: Path, report: AuditReport) -> Kept:
    """Read the scores that lie beside a report, or, as a report may be kept elsewhere, in the default run folder here.

    Args:
        file: Where the report was read.
        report: What it says; the scores must be of its plan and key, and give its AUCs.
    """
    beside = _read(file.with_name(SCORES_NAME), report)
    if not isinstance(beside, Missing):
        return beside
    folders = sorted(path for path in _RUNS.glob("*") if path.name.rpartition("-")[0] == report.model.name)
    others = (_read(folder / SCORES_NAME, report) for folder in folders)
    return next((kept for kept in others if not isinstance(kept, Missing)), beside)


def _read(path: Path, report: AuditReport) -> Kept:
    try:
        if not path.is_file():
            return Missing(f"has no {SCORES_NAME} beside it")
        if path.stat().st_size > _LARGEST:
            return Missing(f"stands beside a {SCORES_NAME} of more than {_LARGEST >> 20} MiB")
        arrays = _arrays(path, stamp_of(report))
    except (OSError, SafetensorError):
        return Missing(f"stands beside a {SCORES_NAME} that cannot be read")
    if arrays is None:
        return Missing(f"stands beside the {SCORES_NAME} of another audit")
    kept = _whole(arrays, report.data.evaluated)
    if kept is None or not _gives(kept, report):
        return Missing(f"stands beside a {SCORES_NAME} that does not give its numbers")
    return kept


def _arrays(path: Path, stamp: Mapping[str, str]) -> Arrays | None:
    """The arrays of the types that we write; None where the file does not bear the stamp."""
    with safe_open(path, framework="np") as file:
        if (file.metadata() or {}) != stamp:
            return None
        known = (name for name in file.keys() if file.get_slice(name).get_dtype() == _TYPES.get(name, "F64"))  # noqa: SIM118 - no mapping
        return {name: file.get_tensor(name) for name in known}


def _whole(arrays: Arrays, evaluated: int) -> KeptScores | None:
    """The scores, where nothing is missing: of as many members and non-members as were evaluated, each once."""
    if not {"records", "members"} <= arrays.keys() or {one.shape for one in arrays.values()} != {(2 * evaluated,)}:
        return None
    records = np.asarray(arrays["records"], dtype=np.uint64)
    members = np.asarray(arrays["members"], dtype=np.uint8)
    groups = np.asarray(arrays["groups"], dtype=np.int64) if "groups" in arrays else None
    scores = {
        name.removeprefix(_SCORES): np.asarray(one, dtype=np.float64)
        for name, one in arrays.items()
        if name.startswith(_SCORES)
    }
    ordered = bool((records[1:] > records[:-1]).all())
    sides = members.max(initial=0) == 1 and int(members.sum()) == evaluated
    if not (ordered and sides and all(np.isfinite(one).all() for one in scores.values())):
        return None
    return KeptScores(records, members == 1, groups, scores)


def _gives(kept: KeptScores, report: AuditReport) -> bool:
    """Whether every AUC that the report tells of these scores is the AUC of these scores."""
    return all(
        isclose(auc(kept.scores[one.card.id], kept.membership).value, endpoint.estimate.value, abs_tol=_ROUNDING)
        for one in report.membership
        if one.role is Role.PRIMARY and one.card.id in kept.scores and isinstance(one.outcome, Completed)
        for endpoint in one.outcome.endpoints
        if endpoint.metric is Metric.AUC
    )
