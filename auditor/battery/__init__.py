"""Which attacks run at which budget: literal tuples, and the plan, written before anything is trained."""

from auditor.battery.attacks import ATTACKS, CARDS, MEMBERSHIP, title_of
from auditor.battery.inversion import DECODER, DECODERS, GRADIENTS, INVERSION
from auditor.battery.plan import (
    BUDGETS,
    Budget,
    GivenFacts,
    Plan,
    attacks_at,
    budget_named,
    planned_at,
    probes_for,
    queries_for,
    run_battery,
    run_inversion_battery,
    run_output_matrix,
    software,
    why_not,
    why_not_planned,
)
from auditor.battery.rules import Ahead

__all__ = [
    "ATTACKS",
    "BUDGETS",
    "CARDS",
    "DECODER",
    "DECODERS",
    "GRADIENTS",
    "INVERSION",
    "MEMBERSHIP",
    "Ahead",
    "Budget",
    "GivenFacts",
    "Plan",
    "attacks_at",
    "budget_named",
    "planned_at",
    "probes_for",
    "queries_for",
    "run_battery",
    "run_inversion_battery",
    "run_output_matrix",
    "software",
    "title_of",
    "why_not",
    "why_not_planned",
]
