"""What each kind of output gives away: logits, probabilities, the largest of them, rounded ones, labels.

The attacker is the same each time, online LiRA with one pooled variance on the margin of the true class of the record
itself, as far as the output shows that margin. Labels have no margin; there it is the gap attack. All numbers are of
the reporting half, none is corrected and nothing is chosen among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from auditor.findings import Outcome, OutputLeak, Role, Skipped
from auditor.laboratory import Answers
from auditor.limits import Limits
from auditor.membership.evidence import Attack, Evidence, Unavailable
from auditor.membership.measure import Jury, run_attack
from auditor.signals import CoarseMargins
from auditor.threat import Access
from reference_attacks.membership import lira

__all__ = ["output_matrix"]

Floats = npt.NDArray[np.float64]
_Margin = Callable[[Answers], Floats]

_LEAST_SHADOWS = 4


@dataclass(frozen=True)
class _Output:
    """One granularity of the output.

    Attributes:
        name: What the report calls it.
        access: Who has it.
        seen: What is shown, and what stands for the rest.
        margin: Its margin of the true class, [record, 1] or [model, record, 1]; None where only a label is shown.
        shown: How many classes are shown; None: all.
    """

    name: str
    access: Access
    seen: str
    margin: _Margin | None
    shown: int | None = None


def _coarse(answers: Answers) -> CoarseMargins:
    if answers.coarse is None:
        raise Unavailable("what coarser outputs show was not recorded")
    return answers.coarse


_OUTPUTS = (
    _Output(
        "Logits",
        Access.WEIGHTS,
        "the logits, float32",
        lambda answers: answers.audit.logit_margin[..., :1],
    ),
    _Output(
        "Probabilities",
        Access.SCORES,
        "the probability of every class, float32",
        lambda answers: answers.audit.released_margin[..., :1],
    ),
    _Output(
        "Top 3",
        Access.SCORES,
        "the three largest probabilities with their classes; each class not shown counts as (1 − sum of the shown) / "
        "(classes not shown), at most the smallest shown; the rest to be shared out is 2^-25 at least",
        lambda answers: _coarse(answers).top3,
        shown=3,
    ),
    _Output(
        "Top 1",
        Access.SCORES,
        "the predicted class and its probability p; each other class counts as (1 − p) / (classes − 1), at most p; "
        "1 − p is 2^-25 at least",
        lambda answers: _coarse(answers).top1,
        shown=1,
    ),
    _Output(
        "Rounded to 2 decimals",
        Access.SCORES,
        "the probability of every class to 0.01; p and 1 − p of the true class count as 0.005 at least",
        lambda answers: _coarse(answers).rounded2,
    ),
    _Output(
        "Rounded to 1 decimal",
        Access.SCORES,
        "the probability of every class to 0.1; p and 1 − p of the true class count as 0.05 at least",
        lambda answers: _coarse(answers).rounded1,
    ),
    _Output("Label", Access.LABELS, "the predicted class only", None),
)


def output_matrix(
    lira_attack: Attack,
    gap_attack: Attack,
    evidence: Evidence,
    jury: Jury,
    limits: Limits,
    *,
    shows: Access,
    classes: int,
) -> tuple[OutputLeak, ...]:
    """Measure what every granularity of the output gives away, from the finest to the coarsest.

    Args:
        lira_attack: The battery's row of online LiRA; its signal is replaced.
        gap_attack: The battery's row of the gap attack, for labels.
        evidence: The attacker in front of the target.
        jury: Who is evaluated; its reporting half is.
        limits: Levels and the FPR.
        shows: The most that queries of the target show.
        classes: How many classes the model has.
    """
    found = []
    for output in _OUTPUTS:
        attack = gap_attack if output.margin is None else _reading(output.margin, lira_attack)
        title = gap_attack.card.title if output.margin is None else "LiRA (online)"
        reason = _why_not(output, shows, classes)
        outcome: Outcome = Skipped(reason=reason)
        if not reason:
            outcome = run_attack(attack, Role.SECONDARY, evidence, jury, limits).outcome
        found.append(
            OutputLeak(granularity=output.name, access=output.access, seen=output.seen, attack=title, outcome=outcome)
        )
    return tuple(found)


def _why_not(output: _Output, shows: Access, classes: int) -> str:
    if output.access is Access.SCORES and not shows.includes(Access.SCORES):
        return f"the wrapped model releases {shows} only"
    if output.shown is not None and output.shown >= classes:
        return f"the model has {classes} classes, so that the top {output.shown} are all probabilities"
    return ""


def _reading(margin: _Margin, lira_attack: Attack) -> Attack:
    """The same attack on another margin."""
    return replace(lira_attack, score=partial(_score, margin), least_shadows=_LEAST_SHADOWS, queries=1)


def _score(margin: _Margin, evidence: Evidence) -> Floats:
    return lira.online(
        target_signal=margin(evidence.target),
        shadow_signal=margin(evidence.shadows),
        shadow_membership=evidence.shadow_membership,
    )
