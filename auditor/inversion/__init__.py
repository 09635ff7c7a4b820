"""Model inversion: runs an attack file on a model, and measures what its images show (rule 11)."""

from auditor.inversion.attack import InversionAttack, Supply, why_not_inverted

__all__ = ["InversionAttack", "Supply", "why_not_inverted"]
