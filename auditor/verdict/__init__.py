"""Estimates, controls and checks go in; one verdict per access and family comes out (rule 8).

Pure functions of their arguments. *Leak found* needs a rejected primary test and, under a suspected shift between the
splits, evidence that the model caused it. *Nothing found* needs everything that would have shown a leak to have worked.
Everything else is *cannot say*.
"""

from __future__ import annotations

from auditor.verdict.doubt import Doubt, doubts_of
from auditor.verdict.inversion import InversionFacts, decide_inversion
from auditor.verdict.membership import AccessFacts, ShadowData, decide_membership

__all__ = [
    "AccessFacts",
    "Doubt",
    "InversionFacts",
    "ShadowData",
    "decide_inversion",
    "decide_membership",
    "doubts_of",
]
