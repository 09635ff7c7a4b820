"""Can this audit be trusted? Each check is one reason to distrust, with the verdicts it voids (rule 7).

docs/checks.md has a paragraph on each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from auditor.checks import data, shadows
from auditor.checks import target as target_checks
from auditor.checks.subject import Row, Selection, Subject
from auditor.findings import Check, CheckLevel, Void
from auditor.membership.measure import Jury
from auditor.shadows import AuditSet
from auditor.splits import Splits
from auditor.target import Target

__all__ = ["CHECKS", "Row", "Selection", "Subject", "check_records", "doubts_ahead", "run_checks"]

_NOT_AS_ASSUMED = (Void.NOTHING_FOUND, Void.PER_RECORD, Void.POWER)
_NOT_UNDERSTOOD = (Void.NOTHING_FOUND, Void.PER_RECORD)

_OF_MODELS: tuple[Row[Subject], ...] = (
    Row("recipe", shadows.recipe, CheckLevel.FAIL, _NOT_AS_ASSUMED),
    Row("proxy-shadows", shadows.proxy_shadows, voids=_NOT_AS_ASSUMED),
    Row("given-inclusion", shadows.given_inclusion, CheckLevel.FAIL, _NOT_AS_ASSUMED),
    Row("few-shadows", shadows.few_shadows),
    Row("stale-shadows", shadows.stale_shadows),
    Row("members-learned", target_checks.members_learned, CheckLevel.FAIL, _NOT_UNDERSTOOD),
    Row("label-order", target_checks.label_order, CheckLevel.FAIL, _NOT_UNDERSTOOD, once=True),
    Row("saturation", target_checks.saturation),
    Row("stochastic", target_checks.stochastic, voids=(Void.NOTHING_FOUND,)),
    Row("attack-ceiling", target_checks.attack_ceiling),
)
_OF_RECORDS: tuple[Row[Selection], ...] = (
    Row("random-split", data.random_split),
    Row("few-records", data.few_records),
    Row("population", data.population_size),
    Row("groups", data.groups, CheckLevel.FAIL, (Void.LEAK_FOUND, *_NOT_UNDERSTOOD)),
    Row("duplicates", data.duplicates),
    Row("near-duplicates", data.near_duplicates, voids=(Void.NOTHING_FOUND,), once=True),
    Row("class-balance", data.class_balance),
    Row("traces", data.traces),
)
CHECKS: tuple[Row[Subject], ...] = (*_OF_MODELS, *_OF_RECORDS)


def run_checks(subject: Subject, earlier: Sequence[Check] = ()) -> tuple[Check, ...]:
    """Every check in order, of those that apply; before there are shadows, those that look at the rest.

    Args:
        subject: What they look at.
        earlier: What they said of the same data and target before; what cannot have changed is taken from there.
    """
    known = {check.id: check for check in earlier}
    answers = (known[row.id] if row.once and row.id in known else row.ask(subject) for row in CHECKS)
    return tuple(check for check in answers if check is not None)


def doubts_ahead(target: Target, splits: Splits, audit_set: AuditSet, seed: int) -> tuple[str, ...]:
    """What a few answers of the model and the checks of the records already say against an audit."""
    jury = Jury.of(audit_set.records, audit_set.membership, seed)
    checks = check_records(Selection(splits, audit_set, jury))
    told = (check.sentence for check in checks if check.level is not CheckLevel.PASS)
    return tuple(doubt for doubt in (target_checks.doubt_of_answers(target, audit_set), *told) if doubt)


def check_records(selection: Selection) -> tuple[Check, ...]:
    """What can be said of the records before anything is asked of the model."""
    answers = (row.ask(selection) for row in _OF_RECORDS)
    return tuple(check for check in answers if check is not None)
