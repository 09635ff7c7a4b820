"""The trained planted shadow (rule 5): does this recipe keep what can only be learned by heart?

One further shadow trains on records under a wrong class, each included if a coin says so. Its answers on them, against
those of the shadows, none of which saw any, tell how much a model of this recipe keeps. Reported, and blocks nothing:
a model that fits well need not memorise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from auditor.findings import ControlResult, Measurement
from auditor.membership.one_run import canary_scores
from auditor.shadows import Planting
from auditor.splits import Records
from auditor.stats.auc import auc
from auditor.target import Target
from auditor.threat import Access

__all__ = ["planted_shadow_control"]


def planted_shadow_control(
    planting: Planting, reference: Records, planted: Target, shadows: Iterable[Target]
) -> ControlResult:
    """Tell planted records from those that the coins left out: own canaries, scored like the owner's.

    Args:
        planting: Which records, under which classes, and the coins.
        reference: What the planting refers to.
        planted: The shadow that trained on those included.
        shadows: Two or more that trained on none; each is asked before the next is taken.
    """
    learned = replace(reference.take(planting.rows), labels=planting.labels)
    scores = canary_scores(learned, planted, shadows)[Access.WEIGHTS]
    told = auc(scores, planting.included)
    kept = told.low > 0.5
    return ControlResult(
        id="planted-shadow",
        title="Planted control, trained",
        question="Does a model by this recipe keep records that can only be learned by heart?",
        status="pass" if kept else "warn",
        sentence=(
            f"A shadow trained with {int(planting.included.sum())} mislabelled records "
            + ("tells them" if kept else "does not tell them")
            + f" from {int((~planting.included).sum())} others that it was spared."
        ),
        measurements=(Measurement(name="AUC on mislabelled records (weights)", estimate=told, against="0.5"),),
    )
