"""Model inversion: runs an attack file on a model, and measures what its images show (DESIGN 7.11)."""

from auditor.inversion.given import Given, InversionAttack, Rebuilt, View
from auditor.inversion.measure import inversion_facts, with_findings
from auditor.inversion.prior import OwnGenerator, read_generator
from auditor.inversion.workshop import Inversions, Models, Workshop

__all__ = [
    "Given",
    "InversionAttack",
    "Inversions",
    "Models",
    "OwnGenerator",
    "Rebuilt",
    "View",
    "Workshop",
    "inversion_facts",
    "read_generator",
    "with_findings",
]
