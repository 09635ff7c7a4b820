"""Makes the defended model of an audit: the same in a scan, which measures it, and in `defend`, which writes it."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.compute import generator
from auditor.defense import Applied, Defense, Holding
from auditor.planning import Design
from auditor.shadows import AuditSet
from auditor.splits import Recipe, Records
from auditor.target import Target

__all__ = ["defend", "settle"]


def _holding(audit_set: AuditSet, recipe: Recipe) -> Holding:
    """What the defender of the audited model holds."""
    members = Records.concatenate([audit_set.records.take(audit_set.membership), audit_set.others])
    return Holding(members, audit_set.reference, recipe)


def _seed(seed: int, defense: Defense) -> int:
    """From the audit's seed."""
    return int(generator(seed, f"defense {defense.card.id}").integers(2**31))


def settle(defense: Defense, target: Target, design: Design, recipe: Recipe) -> Mapping[str, float]:
    """What the defense has to tune, chosen on the audited model's records.

    Raises:
        UnfitDefenseError: it cannot be put on this model with these data.
    """
    if defense.settle is None:
        return {}
    template = Applied(defense).template(target)
    return dict(defense.settle(template, _holding(design.audit_set, recipe), _seed(design.seed, defense)))


def defend(applied: Applied, target: Target, design: Design, recipe: Recipe) -> Target:
    """The defended model: the audited one behind a wrapper, or its records trained through the defense.

    Raises:
        UnfitDefenseError: it cannot be put on this model with these data.
    """
    retrained = applied.defense.retrain is not None
    seed = design.twin.seed if retrained else _seed(design.seed, applied.defense)
    return applied.apply(target, _holding(design.audit_set, recipe), seed)
