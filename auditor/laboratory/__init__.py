"""The laboratory: models trained on known parts of the audit set, and what they answered, once each.

Shadows, null models and the control model are trained here, by work items that leave finished files in the run folder.
Shadows that the owner gives are asked where they lie.
"""

from __future__ import annotations

from auditor.laboratory.answers import Answers, Arrays
from auditor.laboratory.jobs import Blueprint, is_whole
from auditor.laboratory.laboratory import Laboratory
from auditor.laboratory.probes import Asked, Probe, is_probe
from auditor.laboratory.shared import published, share_records

__all__ = [
    "Answers",
    "Arrays",
    "Asked",
    "Blueprint",
    "Laboratory",
    "Probe",
    "is_probe",
    "is_whole",
    "published",
    "share_records",
]
