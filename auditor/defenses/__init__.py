"""The defenses that can be measured: one file each, and one row each in `DEFENSES`."""

from __future__ import annotations

from auditor.defense import Applied, Defense
from auditor.defenses import (
    aeppt,
    calor,
    dp_sgd,
    early_stopping,
    hamp,
    labels_only,
    memguard,
    mid,
    mmd_mixup,
    plain,
    purifier,
    purifier_2023,
    purifier_specialised,
    relaxloss,
    smoothing,
)
from auditor.errors import InputError
from auditor.findings import LABELS_ONLY, DefenseCard, Fidelity
from auditor.records import printable
from auditor.target import Target
from auditor.threat import Access

__all__ = ["DEFENSES", "applied_to"]

_LONGEST_TOLD = 60

DEFENSES = (
    purifier.ROW,
    *purifier_specialised.ROWS,
    *purifier_2023.ROWS,
    Defense(
        DefenseCard(
            id=LABELS_ONLY,
            title="Labels only",
            paper=None,
            fidelity=Fidelity.OWN,
            acts_on="output",
            counts_for=(Access.SCORES,),
        ),
        wrap=labels_only.wrap,
        budget="quick",
    ),
    *mmd_mixup.ROWS,
    *smoothing.ROWS,
    relaxloss.ROW,
    hamp.ROW,
    early_stopping.ROW,
    *calor.ROWS,
    *mid.ROWS,
    dp_sgd.ROW,
    aeppt.ROW,
    memguard.ROW,
    *plain.ROWS,
)


def applied_to(target: Target) -> Applied | None:
    """The defense that the target was saved with: its shadows are defended alike, each refitted (rule 12).

    Raises:
        InputError: this version does not know it.
    """
    mark, wrapper = target.trained_with, target.facts.wrapper
    name = wrapper if mark is None else mark.defense
    if name is None:
        return None
    for row in DEFENSES:
        if row.card.id == name and (mark is None or row.retrain is not None):
            return Applied(row, {} if mark is None else mark.chosen)
    raise InputError(
        f"The checkpoint was made by the defense {printable(name[:_LONGEST_TOLD])}, which this version does not know.",
        "Audit it with the version of privaudit that wrote it.",
    )
