"""An endpoint as the cell of a table, and why an attack that ran has none."""

from __future__ import annotations

from auditor.findings import Endpoint
from auditor.report.text import cell, metric_unit

__all__ = ["in_cell", "missing"]


def in_cell(end: Endpoint | None, absent: str = "–") -> str:
    """Value and interval, marked where n is too small for a headline; else why there is none."""
    if end is None:
        return absent
    return cell(end.estimate, metric_unit(end.metric)) + (" *" if end.appendix else "")


def missing(auc: Endpoint | None, fpr: float) -> str:
    """Why an attack with this AUC has no TPR at this FPR: an FPR below one non-member, or scores of few values."""
    if auc is None:
        return "not measured"
    few = auc.estimate.n.get("non-members", 0) * fpr < 1
    return "n too small" if few else "too coarse"
