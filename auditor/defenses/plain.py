"""Plain baselines of output-time defenses: the three largest scores, one decimal, a high temperature.

What they claim
    Nothing: these are what an API does without a paper. A defense that does no better is not worth fitting.

What they need
    Nothing to fit on; the model is not changed.

Algorithm
    top-3: keep the three largest probabilities, the rest is 0, divide by the sum.
    rounding: round every probability to one decimal, half to even, divide by the sum; if all are 0, release the label.
    temperature: softmax(log p / 4).
    All keep the predicted class: they keep the order, and where two floats have become equal the predicted one is
    raised to the next float.

What is ours
    All of it, the numbers included. Dividing by the sum is there so that what is released stays a probability vector;
    it also hides how much was left out. Fidelity: own.

What they do not stop
    Labels stay, so label-only attacks are untouched. A temperature keeps the vector but for rounding errors: whoever
    knows it undoes it. Whoever holds the weights leaves all of them away.
"""

from __future__ import annotations

from auditor.defense import Defense, Holding, UnfitDefenseError
from auditor.findings import DefenseCard, Fidelity
from auditor.target import Target
from auditor.threat import Access
from auditor.wrappers import Rounded, Temperature, TopThree

__all__ = ["ROWS", "rounding", "temperature", "top_three"]

_DIGITS = 1
_TEMPERATURE = 4.0


def top_three(target: Target, holding: Holding, seed: int) -> TopThree:
    """There is nothing to fit: only the number of classes matters.

    Raises:
        UnfitDefenseError: there are no more than three classes.
    """
    del holding, seed
    if target.facts.num_classes <= TopThree.shown:
        raise UnfitDefenseError(f"with {target.facts.num_classes} classes the three largest scores are all of them")
    return TopThree()


def rounding(target: Target, holding: Holding, seed: int) -> Rounded:
    """There is nothing to fit, so no argument is used."""
    del target, holding, seed
    return Rounded(_DIGITS)


def temperature(target: Target, holding: Holding, seed: int) -> Temperature:
    """There is nothing to fit, so no argument is used."""
    del target, holding, seed
    return Temperature(_TEMPERATURE)


ROWS = (
    Defense(
        DefenseCard(
            id="top-3",
            title="Three largest scores",
            paper=None,
            fidelity=Fidelity.OWN,
            acts_on="output",
            counts_for=(Access.SCORES,),
            settings={"shown": TopThree.shown},
        ),
        wrap=top_three,
    ),
    Defense(
        DefenseCard(
            id="temperature",
            title="Temperature 4",
            paper=None,
            fidelity=Fidelity.OWN,
            acts_on="output",
            counts_for=(Access.SCORES,),
            settings={"temperature": _TEMPERATURE},
        ),
        wrap=temperature,
    ),
    Defense(
        DefenseCard(
            id="rounding",
            title="Scores to one decimal",
            paper=None,
            fidelity=Fidelity.OWN,
            acts_on="output",
            counts_for=(Access.SCORES,),
            settings={"digits": _DIGITS},
        ),
        wrap=rounding,
        budget="thorough",
    ),
)
