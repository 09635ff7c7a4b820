"""The defenses that can be measured: one file each, and one row each in `DEFENSES`."""

from __future__ import annotations

from auditor.defense import Applied, Defense
from auditor.defenses import labels_only, purifier
from auditor.errors import InputError
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.records import printable
from auditor.target import Target
from auditor.threat import Access

__all__ = ["DEFENSES", "applied_to"]

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
        wrap=purifier.wrap,
        budget="quick",
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
        wrap=labels_only.wrap,
        budget="quick",
    ),
)


def applied_to(target: Target) -> Applied | None:
    """The defense that the target was saved with: its shadows are defended alike, each refitted (DESIGN 7.12).

    Raises:
        InputError: this version does not know it.
    """
    mark, wrapper = target.trained_with, target.facts.wrapper
    name = wrapper if mark is None else mark.defense
    if name is None:
        return None
    for row in DEFENSES:
        if row.card.id == name:
            return Applied(row, {} if mark is None else mark.chosen)
    raise InputError(
        f"The checkpoint was made by the defense {printable(name)}, which this version does not know.",
        "Audit it with the version of privaudit that wrote it.",
    )
