"""Differential privacy: the lower bounds that canaries give, and what the attacks' rates would imply."""

from __future__ import annotations

import math

from auditor.findings import AuditReport, CanaryBound, ImpliedEpsilon
from auditor.report.text import cell, clean, count, counts, level, short
from auditor.report.view import Row, Table

__all__ = ["bounds", "claim", "implied", "told"]


def told(report: AuditReport) -> str:
    """What the canaries showed, in words; empty where there were none."""
    found = report.canaries
    if found is None:
        return ""
    given = " The given shadows are taken never to have seen a canary." if report.plan.shadow_source == "given" else ""
    return clean(found.sentence) + given


def claim(report: AuditReport) -> str:
    """What became of the claim, for the first page; empty where none was held against canaries."""
    found = report.canaries
    if found is None or found.claim is None:
        return ""
    stated = f"epsilon {found.claim.epsilon:g} at delta {found.claim.delta:g} for each {found.claim.unit}"
    ended = "contradicted" if found.contradicted else "not contradicted (no evidence that it holds)"
    return f"{stated}: {ended} by {count(found.canaries)} canaries"


def bounds(report: AuditReport) -> Table:
    """Every lower bound, the declared one marked."""
    found = report.canaries
    rows = () if found is None else tuple(_bound_row(bound) for bound in found.bounds)
    head = ("Access, assuming", "Epsilon at least", "Could show at most", "Confidence", "Guessed rightly", "AUC")
    return Table(_caption(report), head, rows, frozenset({1, 2, 3, 4}))


def _caption(report: AuditReport) -> str:
    found = report.canaries
    if found is None:
        return ""
    delta = f" at delta {found.bounds[0].delta:g}" if found.bounds else ""
    return (
        f"Lower bounds of epsilon{delta} from {count(found.canaries)} canaries ({count(found.included)} included, "
        f"{count(found.mislabelled)} mislabelled); * declared before the run, and alone held against a claim. Each "
        "holds at its own confidence, not all of them together"
    )


def _bound_row(bound: CanaryBound) -> Row:
    label = f"{bound.access}, {clean(bound.assumes) or 'nothing'}{' *' if bound.declared else ''}"
    return Row(
        (
            label,
            f"{_rounded_down(bound.epsilon):.2f}",
            f"{bound.ceiling:.2f}",
            level(bound.confidence),
            f"{count(bound.correct)} of {count(bound.guesses)}",
            f"{cell(bound.auc)}, {counts(bound.auc.n)}",
        )
    )


def _rounded_down(epsilon: float) -> float:
    """A bound from below stays one when it is printed."""
    return math.floor(100 * epsilon) / 100


def implied(report: AuditReport) -> Table:
    """The implied epsilon of each primary attack: descriptive."""
    rows = tuple(_implied_row(one, report) for one in report.implied_epsilon)
    head = ("Attack", "Non-members flagged", "Implied epsilon", "Interval", "n")
    caption = (
        "Implied epsilon (descriptive): the log-ratio of the rates of true and false flags. Approximate: the split is "
        "random, but not by logged coin flips. It bounds nothing and is part of no verdict"
    )
    return Table(caption, head, rows, frozenset({1, 2, 3, 4}))


def _implied_row(one: ImpliedEpsilon, report: AuditReport) -> Row:
    titles = {result.card.id: result.card.title for result in report.membership}
    found = one.estimate
    label = f"{one.access}: {short(titles.get(one.attack_id, one.attack_id))}"
    ends = f"{found.low:.2f} to {found.high:.2f} ({level(found.confidence)})"
    return Row((label, level(one.fpr), f"{found.value:.2f}", ends, counts(found.n)))
