"""Checks on how the target behaves: is it the model of these records, and can its answers be read?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from auditor.checks.subject import CONFIDENCE, MATERIAL, Subject, accuracies
from auditor.findings import Check, CheckLevel, Completed, Endpoint, Metric, Role, Void
from auditor.shadows import AuditSet
from auditor.signals import class_probabilities
from auditor.stats.auc import auc
from auditor.stats.intervals import prediction_interval, proportion
from auditor.target import Target

__all__ = ["attack_ceiling", "doubt_of_answers", "label_order", "members_learned", "saturation", "stochastic"]

Labels = npt.NDArray[np.int64]

_NEAR_CHANCE = 0.5  # above chance, as a share of chance
_MOST_ABOVE_CHANCE = 0.1  # of accuracy; half of chance would be 75 % right with two classes
_SATURATED_WARNS = 0.5
_BY_CHANCE = 0.001
_LEAST_PER_CLASS = 2  # one to fit a numbering to, one to judge it by
_CEILING = 0.999  # of AUC
_ASKED_AHEAD = 500  # members, before anything is planned to be trained


def doubt_of_answers(target: Target, audit_set: AuditSet) -> str:
    """Why the target may not be the model of these records, asked of some members ahead of a scan; empty: no doubt.

    Args:
        target: The audited model.
        audit_set: Its members are asked, evenly spread over their order.
    """
    evaluated, classes = audit_set.evaluated, target.facts.num_classes
    asked = np.unique(np.linspace(0, evaluated - 1, min(evaluated, _ASKED_AHEAD)).astype(np.int64))
    named = class_probabilities(target, audit_set.records.inputs[asked]).argmax(1)
    right = proportion(int((named == audit_set.records.labels[asked]).sum()), len(asked), unit="members")
    if not _near_chance(right.value, classes):
        return ""
    return (
        f"The model is right on {100 * right.value:.1f} % ({100 * right.confidence:g} % interval "
        f"{100 * right.low:.1f} to {100 * right.high:.1f} %) of {len(asked):,} members, and chance is "
        f"{100 / classes:.2g} %: is it the order of classes.txt, another preprocessing, or a model that was not "
        "trained on them?"
    )


def _near_chance(accuracy: float, classes: int) -> bool:
    return accuracy <= 1 / classes + min(_NEAR_CHANCE / classes, _MOST_ABOVE_CHANCE)


def members_learned(subject: Subject) -> Check:
    """Did the model see the members at all? It should beat chance on them, and know them as shadows know theirs.

    How much better it is on members is held against zero and, once there are shadows, against how much better they are
    on their own records. Both take what chance can do into account (docs/decisions/0007).
    """
    inside, outside = accuracies(subject.evidence.target.audit, subject.jury.membership)
    lead, classes = _Lead.of(subject), subject.splits.num_classes
    told = (
        f"Accuracy is {100 * inside:.1f} % on members and {100 * outside:.1f} % on non-members. The difference lies "
        f"between {100 * lead.low:+.1f} % and {100 * lead.high:+.1f} % ({100 * CONFIDENCE:.0f} % interval)."
    )
    level, doubt = CheckLevel.FAIL, ""
    if _near_chance(inside, classes):
        doubt = "On its own training records that is near chance: check mean, std, channel order and classes.txt."
    elif lead.high < 0:
        doubt = "The model is worse on members: are the splits swapped, or is this another model's training data?"
    elif lead.behind_shadows:
        doubt = (
            f"Shadows are better on their own records by {100 * lead.shadows:.1f} %, this model is not: it was "
            "trained on other records, or otherwise."
        )
    elif lead.low <= 0:
        level = CheckLevel.WARN
        doubt = "The model is no better on members beyond chance: it generalises well, or did not train on them."
    else:
        level = CheckLevel.PASS
    return Check(
        id="members-learned",
        title="Members were learned",
        level=level,
        sentence=f"{told} {doubt}".strip(),
        voids=(Void.NOTHING_FOUND, Void.PER_RECORD) if level is CheckLevel.FAIL else (),
    )


@dataclass(frozen=True)
class _Lead:
    """By how much accuracy is higher on members than on non-members.

    Attributes:
        low: Lower end of its interval.
        high: Upper end.
        shadows: The mean lead of shadows on records of their own; NaN without shadows.
        behind_shadows: Whether the target is level with the others, where shadows would not be.
    """

    low: float
    high: float
    shadows: float
    behind_shadows: bool

    @classmethod
    def of(cls, subject: Subject) -> _Lead:
        evidence, jury = subject.evidence, subject.jury
        # right or wrong as a score: its AUC is one half plus half of the lead
        correct = evidence.target.audit.correct[:, 0]
        area = auc(correct, jury.membership, confidence=CONFIDENCE, groups=jury.groups)
        value, low, high = (2 * end - 1 for end in (area.value, area.low, area.high))
        leads = [
            float(np.subtract(*accuracies(evidence.shadows.audit.model(index), inside)))
            for index, inside in enumerate(evidence.shadow_membership)
        ]
        if not leads:
            return cls(low, high, shadows=np.nan, behind_shadows=False)
        expected, centre = prediction_interval(leads, confidence=CONFIDENCE), float(np.mean(leads))
        # shadows split records, the owner may have split groups: then the target's own interval is the wider one
        behind = value < expected.low and high < centre and low <= 0
        return cls(low, high, centre, behind)


def label_order(subject: Subject) -> Check | None:
    """Would the model be right far more often if the classes were numbered otherwise?

    Another numbering is fitted to one half of the non-members and judged on the other, since with few records a class
    some numbering always fits better. It must gain the material 2 points, and more than chance gives (p < 0.001).
    """
    labels = subject.jury.labels[~subject.jury.membership]
    if subject.predicted is None or len(labels) < _LEAST_PER_CLASS * len(np.unique(labels)):
        return None
    found = _renumbered(labels, subject.predicted)
    swapped = found.gain >= MATERIAL and found.p_value < _BY_CHANCE
    told = f"Non-members are answered rightly in {100 * found.as_numbered:.1f} %"
    return Check(
        id="label-order",
        title="Order of the classes",
        level=CheckLevel.FAIL if swapped else CheckLevel.PASS,
        sentence=(
            f"{told}, but in {100 * (found.as_numbered + found.gain):.1f} % if classes were numbered otherwise "
            f"({found.moved:,} change places): write classes.txt, one class name per line in the order of the model's "
            "outputs, or number the labels so."
            if swapped
            else f"{told}; no other numbering of the classes is better by {100 * MATERIAL:g} % or more beyond chance."
        ),
        voids=(Void.NOTHING_FOUND, Void.PER_RECORD) if swapped else (),
    )


@dataclass(frozen=True)
class _Renumbering:
    """How much the best other numbering of the classes gains on records that it was not fitted to."""

    as_numbered: float
    gain: float
    p_value: float
    moved: int


def _renumbered(labels: Labels, predicted: Labels) -> _Renumbering:
    classes, codes = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    true, named = codes[: len(labels)], codes[len(labels) :]
    straight, fitted = named == true, np.zeros(len(labels), dtype=bool)
    # every second record of each class: records may come class by class, or in turn
    half_of_each = np.argsort(np.argsort(true, kind="stable")) % 2 == 0
    for half in (half_of_each, ~half_of_each):
        fitted[~half] = _numbering(true[half], named[half], len(classes))[true[~half]] == named[~half]
    gained, lost = int((fitted & ~straight).sum()), int((straight & ~fitted).sum())
    # at least one trial: where the two never differ there is nothing to test
    p_value = binomtest(gained, max(gained + lost, 1), alternative="greater").pvalue
    seen = np.unique(true)
    moved = int((_numbering(true, named, len(classes))[seen] != seen).sum())
    return _Renumbering(float(straight.mean()), (gained - lost) / len(labels), float(p_value), moved)


def _numbering(true: Labels, named: Labels, classes: int) -> Labels:
    """The output [class] to read as each class so that most records are right; its own where that is as good."""
    hits = np.eye(classes) / (2 * classes)
    np.add.at(hits, (true, named), 1)
    outputs: Labels = linear_sum_assignment(hits, maximize=True)[1]
    return outputs


def saturation(subject: Subject) -> Check:
    """How many released probabilities of the true class are exactly 1, so that an order among them is gone?"""
    share = float((subject.evidence.target.audit.confidence[:, 0] >= 1.0).mean())
    return Check(
        id="saturation",
        title="Saturated probabilities",
        level=CheckLevel.WARN if share > _SATURATED_WARNS else CheckLevel.PASS,
        sentence=(
            f"{100 * share:.1f} % of the released true-class probabilities are exactly 1 in float32; the attacks on "
            "scores read the other classes instead."
        ),
    )


def stochastic(subject: Subject) -> Check:
    """Does the target answer the same query in the same way twice?"""
    difference = subject.evidence.target.repeat_difference
    told = "Equal queries are answered equally."
    if difference is None:
        told = "Whether the model answers equal queries equally was not measured."
    elif difference:
        told = (
            f"The model is stochastic: outputs differ between two equal queries by up to {difference:.2g}. Repeated "
            "queries average the noise away, and no attack here repeats its queries."
        )
    return Check(
        id="stochastic",
        title="Repeated queries",
        level=CheckLevel.PASS if difference == 0 else CheckLevel.WARN,
        sentence=told,
        voids=(Void.NOTHING_FOUND,) if difference else (),
    )


def attack_ceiling(subject: Subject) -> Check | None:
    """Does a primary attack tell all members apart, so that its interval is at the edge and the split is suspect?"""
    primaries = [
        (one.attack.card.title, one.outcome.endpoints)
        for one in subject.scored
        if one.role is Role.PRIMARY and isinstance(one.outcome, Completed)
    ]
    if not primaries:
        return None
    reached = [_told(title, end) for title, endpoints in primaries for end in endpoints if _at_ceiling(end)]
    return Check(
        id="attack-ceiling",
        title="Attacks at their ceiling",
        level=CheckLevel.WARN if reached else CheckLevel.PASS,
        sentence=(
            f"Hardly any member is missed: {'; '.join(reached)}. An interval at the edge says little, and so complete "
            "a leak is often a split that gives itself away: look at the blind control and the owner-label null first."
            if reached
            else "No primary attack tells members apart without a fault."
        ),
    )


def _at_ceiling(endpoint: Endpoint) -> bool:
    return endpoint.estimate.value >= (_CEILING if endpoint.metric is Metric.AUC else 1.0)


def _told(title: str, endpoint: Endpoint) -> str:
    if endpoint.metric is Metric.AUC:
        return f"{title} has AUC {endpoint.estimate.value:.4f}"
    return f"{title} has TPR {100 * endpoint.estimate.value:.1f} % at {100 * (endpoint.fpr or 0.0):.1f} % FPR"
