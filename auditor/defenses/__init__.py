"""The defenses that can be measured: one file each, `apply(target, reference, seed) -> Target`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from auditor.defenses import labels_only, purifier
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.splits import Records
from auditor.target import Target
from auditor.threat import Access

__all__ = ["DEFENSES", "Defense"]


@dataclass(frozen=True)
class Defense:
    """A row of the table: the card, and what puts the defense in front of a target."""

    card: DefenseCard
    apply: Callable[[Target, Records, int], Target]


DEFENSES = (
    Defense(
        DefenseCard(
            id="purifier",
            title="Purifier (2020, basic)",
            paper=Paper(
                citation="Yang, Shao, Xuan, Chang, Zhang: Defending Model Inversion and Membership Inference Attacks "
                "via Prediction Purification, 2020",
                url="https://arxiv.org/abs/2005.03915",
            ),
            fidelity=Fidelity.THIRD_PARTY,
            acts_on="output",
            counts_for=(Access.SCORES,),
            changed="Loss and network as transcribed by a third party; input domain, optimiser and epochs are ours.",
            settings={"label_weight": 0.2, "epochs": 100, "batch_size": 64, "lr": 0.01},
        ),
        purifier.apply,
    ),
    Defense(
        DefenseCard(
            id="labels-only",
            title="Labels only",
            paper=None,
            fidelity=Fidelity.OWN,
            acts_on="output",
            counts_for=(Access.SCORES,),
        ),
        labels_only.apply,
    ),
)
