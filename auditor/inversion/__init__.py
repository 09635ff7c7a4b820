"""Model inversion: runs an attack file on a model, and measures what its images show (DESIGN 7.11)."""

from auditor.inversion.attack import InversionAttack

__all__ = ["InversionAttack"]
