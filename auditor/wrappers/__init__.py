"""What may stand between a model and the outside, one file per kind; `WRAPPERS` are all that a folder may name."""

from __future__ import annotations

from auditor.wrappers.base import OutputWrapper, Settings
from auditor.wrappers.conditional_purifier import (
    ConditionalAutoencoder,
    ReformingPurifier,
    SwappingPurifier,
    matches,
)
from auditor.wrappers.hamp import Hamp
from auditor.wrappers.labels_only import LabelsOnly
from auditor.wrappers.memguard import MemGuardNoise
from auditor.wrappers.perturbed import Perturbed
from auditor.wrappers.plain import Rounded, Temperature, TopThree
from auditor.wrappers.purifier import InversionPurifierNet, MembershipPurifierNet, PurifierNet

__all__ = [
    "WRAPPERS",
    "ConditionalAutoencoder",
    "Hamp",
    "InversionPurifierNet",
    "LabelsOnly",
    "MemGuardNoise",
    "MembershipPurifierNet",
    "OutputWrapper",
    "Perturbed",
    "PurifierNet",
    "ReformingPurifier",
    "Rounded",
    "Settings",
    "SwappingPurifier",
    "Temperature",
    "TopThree",
    "matches",
]

WRAPPERS: tuple[type[OutputWrapper], ...] = (
    Hamp,
    InversionPurifierNet,
    LabelsOnly,
    MemGuardNoise,
    MembershipPurifierNet,
    Perturbed,
    PurifierNet,
    ReformingPurifier,
    Rounded,
    SwappingPurifier,
    Temperature,
    TopThree,
)
