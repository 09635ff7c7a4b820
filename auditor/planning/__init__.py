"""The plan of a scan: what the caller asks for, who trains on whom, what runs and what it costs.

A plan is made once (`fresh`), kept in the run folder, and from then on replayed or refused (`replay`): never bent.
"""

from __future__ import annotations

from auditor.planning.design import Design, design_of
from auditor.planning.facts import plan_facts
from auditor.planning.fresh import recipe_of
from auditor.planning.options import AuditOptions
from auditor.planning.pricing import Preview, preview
from auditor.planning.settling import settle_plan

__all__ = [
    "AuditOptions",
    "Design",
    "Preview",
    "design_of",
    "plan_facts",
    "preview",
    "recipe_of",
    "settle_plan",
]
