"""What five papers claim of their defenses, as lines, and how each is judged: docs/validation/defenses-protocol.md.

Every value is read from the report of an audit; larger always speaks for the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from defenses_values import (
    Results,
    UnmeasuredError,
    accuracy_change,
    auc_change,
    defense_of,
    error_factor,
    labels_kept,
    lead_taken,
    recognition_taken,
    strongest_taken,
    taken_from_probe,
)

from auditor.findings import DefenseResult
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import mean

__all__ = [
    "LINES",
    "QUESTIONS",
    "SEEDS",
    "WORLDS",
    "Answer",
    "Judgement",
    "Line",
    "Question",
    "Rule",
    "Verdict",
    "over_seeds",
    "verdicts",
]

SEEDS = (1, 2, 3)
WORLDS = ("cifar10", "location30")
CONFIDENCE = 0.95


# --- the rule --------------------------------------------------------------------------------------------------------


class Judgement(StrEnum):
    """What becomes of a line in a world."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Rule:
    """Where the interval over seeds has to lie.

    Attributes:
        enough: Reproduced if all of it lies here or above.
        trifle: Not reproduced if all of it lies below.
        some: Partly if all of it lies above, and neither of the two holds.
    """

    enough: float
    trifle: float
    some: float

    def judge(self, found: Estimate) -> Judgement:
        """The first that holds, in the order of the attributes."""
        if found.low >= self.enough:
            return Judgement.REPRODUCED
        if found.high < self.trifle:
            return Judgement.NOT_REPRODUCED
        return Judgement.PARTLY if found.low > self.some else Judgement.CANNOT_TELL


_HALVED = Rule(enough=0.5, trifle=0.1, some=0.0)
_TO_CHANCE = Rule(enough=0.8, trifle=0.1, some=0.0)
_DOUBLED = Rule(enough=2.0, trifle=1.1, some=1.0)
_RAISED = Rule(enough=1.1, trifle=1.02, some=1.0)
_UNDER_FOUR_THOUSANDTHS = Rule(enough=-0.004, trifle=-0.004, some=-0.02)
_UNDER_TWO_POINTS = Rule(enough=-0.02, trifle=-0.02, some=-0.05)
_EXACTLY = Rule(enough=0.0, trifle=-0.004, some=-0.02)


# --- the lines -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One claim, against one attacker.

    Attributes:
        defense: Its id.
        claim: In words.
        attacker: Who attacks, or empty.
        quantity: What is measured, in words.
        rule: How it is judged.
        value: Reads it from what one audit said of the defense.
        images: Whether it is asked where records are images only.
    """

    defense: str
    claim: str
    attacker: str
    quantity: str
    rule: Rule
    value: Callable[[DefenseResult], float]
    images: bool = False

    def judged(self, results: Results, world: str) -> Verdict:
        """By the runs in a world."""
        try:
            values = _values(results, world, self.defense, self.value)
        except UnmeasuredError as reason:
            return Verdict(self, world, (), None, Judgement.CANNOT_TELL, str(reason))
        if len(values) < len(SEEDS):
            told = f"{len(values)} of {len(SEEDS)} seeds"
            return Verdict(self, world, values, None, Judgement.CANNOT_TELL, told)
        found = over_seeds(values)
        return Verdict(self, world, values, found, self.rule.judge(found), "")


@dataclass(frozen=True)
class Verdict:
    """A line in a world: its values by seed, their mean, and what follows; or why nothing does."""

    line: Line
    world: str
    values: tuple[float, ...]
    found: Estimate | None
    judgement: Judgement
    reason: str


def _values(results: Results, world: str, defense: str, value: Callable[[DefenseResult], float]) -> tuple[float, ...]:
    """By seed.

    Raises:
        UnmeasuredError: one is missing; the message says which and why.
    """
    values = []
    for run in results.of(world):
        try:
            values.append(value(defense_of(run, defense)))
        except UnmeasuredError as reason:
            raise UnmeasuredError(f"seed {run.seed}: {reason}") from reason
    return tuple(values)


def over_seeds(values: Sequence[float]) -> Estimate:
    """Mean with Student's t interval; seeds are the units."""
    return mean(values, confidence=CONFIDENCE, unit="seeds")


_TAKEN = "share of the lead over chance taken away"
_STATIC = "LiRA on scores, static"
_ADAPTIVE = "LiRA on scores, adaptive"
_STRONGEST = "strongest on scores, adaptive"


def _static(defense: str, claim: str, rule: Rule) -> Line:
    """Against who does not know of the defense."""
    return Line(defense, claim, _STATIC, _TAKEN, rule, partial(lead_taken, attack="lira-scores", state="static"))


def _adaptive(defense: str, claim: str) -> tuple[Line, Line]:
    """Against who refits everything through it."""
    lira = partial(lead_taken, attack="lira-scores", state="adaptive")
    return (
        Line(defense, claim, _ADAPTIVE, _TAKEN, _HALVED, lira),
        Line(defense, claim, _STRONGEST, _TAKEN, _HALVED, strongest_taken),
    )


def _membership(defense: str, claim: str) -> tuple[Line, ...]:
    return (_static(defense, claim, _HALVED), *_adaptive(defense, claim))


def _inversion_error(defense: str, claim: str, rule: Rule) -> Line:
    told = "times the undefended error on members"
    return Line(defense, claim, "inversion network, adaptive", told, rule, error_factor, images=True)


def _kept_accuracy(defense: str, claim: str, rule: Rule) -> Line:
    return Line(defense, claim, "", "change of accuracy on non-members", rule, accuracy_change)


def _harder_to_invert(defense: str) -> tuple[Line, Line]:
    claim = "inversion succeeds less"
    told = "share of the lead over images that show nothing taken away"
    return (
        Line(defense, claim, "MIFace on the weights", told, _HALVED, recognition_taken, images=True),
        _inversion_error(defense, claim, _RAISED),
    )


_GAP = partial(lead_taken, attack="gap", state="adaptive")

LINES = (
    *_membership("purifier", "membership inference falls"),
    _inversion_error("purifier", "inversion error rises, up to 4 times", _DOUBLED),
    _kept_accuracy("purifier", "accuracy falls by less than 0.4 points", _UNDER_FOUR_THOUSANDTHS),
    *_membership("purifier-2023", "members look like non-members: scores"),
    Line("purifier-2023", "members look like non-members: labels", "gap attack", _TAKEN, _TO_CHANCE, _GAP),
    _inversion_error("purifier-2023", "inversion error rises, about 4 times", _DOUBLED),
    _kept_accuracy("purifier-2023", "the loss of utility is negligible", _UNDER_TWO_POINTS),
    Line("mmd-mixup", "the gap of train and test accuracy closes", "gap attack", _TAKEN, _HALVED, _GAP),
    *_membership("mmd-mixup", "membership inference falls"),
    _kept_accuracy("mmd-mixup", "test accuracy suffers little", _UNDER_TWO_POINTS),
    *_harder_to_invert("calor"),
    *_harder_to_invert("mid"),
    _static("aeppt", "membership inference falls to about 50 %", _TO_CHANCE),
    *_adaptive("aeppt", "attackers who know it are resisted too"),
    Line(
        "aeppt",
        "attackers who know it are resisted too",
        "the attacker's own AEPPT",
        _TAKEN,
        _HALVED,
        partial(taken_from_probe, probe="own-aeppt"),
    ),
    Line("aeppt", "labels stay as they are", "", "minus the share of changed labels", _EXACTLY, labels_kept),
)


def verdicts(results: Results) -> list[Verdict]:
    """Every line in every world in which it is asked."""
    return [
        line.judged(results, world)
        for line in LINES
        for world in WORLDS
        if not line.images or any(run.images for run in results.of(world))
    ]


# --- what no paper claims --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """What is asked beside, without a claim: only its direction is told."""

    defense: str
    asked: str
    value: Callable[[DefenseResult], float]

    def answered(self, results: Results, world: str) -> Answer:
        """By the runs in a world."""
        try:
            values = _values(results, world, self.defense, self.value)
        except UnmeasuredError as reason:
            return Answer(self, world, (), None, str(reason))
        if len(values) < len(SEEDS):
            return Answer(self, world, values, None, f"{len(values)} of {len(SEEDS)} seeds")
        found = over_seeds(values)
        direction = "rises" if found.low > 0 else "falls" if found.high < 0 else "cannot tell"
        return Answer(self, world, values, found, direction)


@dataclass(frozen=True)
class Answer:
    """A question in a world: changes by seed, their mean, and in which direction, or why nothing can be told."""

    question: Question
    world: str
    values: tuple[float, ...]
    found: Estimate | None
    told: str


def _questions() -> Iterator[Question]:
    for defense in ("calor", "mid"):
        yield Question(defense, "AUC of LiRA on scores, adaptive", partial(auc_change, attack="lira-scores"))
        yield Question(defense, "AUC of LiRA on weights, adaptive", partial(auc_change, attack="lira-weights"))
        yield Question(defense, "accuracy on non-members", accuracy_change)
    yield Question("mmd-mixup", "AUC of LiRA on weights, adaptive", partial(auc_change, attack="lira-weights"))
    yield Question("purifier", "AUC of the gap attack", partial(auc_change, attack="gap"))
    yield Question("aeppt", "AUC of the gap attack", partial(auc_change, attack="gap"))


QUESTIONS = tuple(_questions())
