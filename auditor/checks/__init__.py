"""Can this audit be trusted? Each check is one reason to distrust, with the verdicts it voids (DESIGN 7.7).

docs/checks.md has a paragraph on each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from auditor.checks import data, shadows, target
from auditor.checks.subject import Row, Subject
from auditor.findings import Check, CheckLevel, Void

__all__ = ["CHECKS", "Row", "Subject", "run_checks"]

_NOT_AS_ASSUMED = (Void.NOTHING_FOUND, Void.PER_RECORD, Void.POWER)
_NOT_UNDERSTOOD = (Void.NOTHING_FOUND, Void.PER_RECORD)

CHECKS = (
    Row("recipe", shadows.recipe, CheckLevel.FAIL, _NOT_AS_ASSUMED),
    Row("proxy-shadows", shadows.proxy_shadows, voids=_NOT_AS_ASSUMED),
    Row("given-inclusion", shadows.given_inclusion, CheckLevel.FAIL, _NOT_AS_ASSUMED),
    Row("few-shadows", shadows.few_shadows),
    Row("stale-shadows", shadows.stale_shadows),
    Row("members-learned", target.members_learned, CheckLevel.FAIL, _NOT_UNDERSTOOD),
    Row("label-order", target.label_order, CheckLevel.FAIL, _NOT_UNDERSTOOD, once=True),
    Row("saturation", target.saturation),
    Row("stochastic", target.stochastic, voids=(Void.NOTHING_FOUND,)),
    Row("attack-ceiling", target.attack_ceiling),
    Row("random-split", data.random_split),
    Row("few-records", data.few_records),
    Row("population", data.population_size),
    Row("groups", data.groups, CheckLevel.FAIL, (Void.LEAK_FOUND, *_NOT_UNDERSTOOD)),
    Row("duplicates", data.duplicates),
    Row("near-duplicates", data.near_duplicates, voids=(Void.NOTHING_FOUND,), once=True),
    Row("class-balance", data.class_balance),
    Row("traces", data.traces),
)


def run_checks(subject: Subject, earlier: Sequence[Check] = ()) -> tuple[Check, ...]:
    """Every check in order, of those that apply; before there are shadows, those that look at the rest.

    Args:
        subject: What they look at.
        earlier: What they said of the same data and target before; what cannot have changed is taken from there.
    """
    known = {check.id: check for check in earlier}
    answers = (known[row.id] if row.once and row.id in known else row.ask(subject) for row in CHECKS)
    return tuple(check for check in answers if check is not None)
