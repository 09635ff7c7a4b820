"""What a gate hands back: rulings, and the answer they add up to. Plain data, which `auditor.report` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, TypeAlias

from auditor.findings import Family, Measurement, VerdictState
from auditor.policy_file import Rule, Waiver
from auditor.threat import Access

__all__ = ["NOT_COMPARED", "Asked", "Gate", "Mode", "Note", "Outcome", "Ruling", "Unjudged"]

NOT_COMPARED = "no file was compared with the report"

Outcome: TypeAlias = Literal["pass", "fail", "inconclusive"]
Asked: TypeAlias = Rule | Literal["complete"]
Mode: TypeAlias = Literal["strict", "lenient"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of one rule.

    The sentence may hold names from the report as they are: whoever prints it escapes it.

    Attributes:
        rule: Its name in the policy; `complete` is asked of every report and cannot be waived.
        outcome: Whether it is met.
        sentence: Why, with the number, its interval, its n and the limit.
        see: Where to read on: the section of the HTML report.
        measured: The number that decided, where one did.
        bound: Its upper bound, where that was held against the limit.
        limit: What it was held against.
        waiver: That which holds for the rule on this day.
        on: Which of several limits of the rule this is, where it may state more than one: a metric or a question.
        lenient: Whether it passes only because the policy is lenient.
    """

    rule: Asked
    outcome: Outcome
    sentence: str
    see: str
    measured: Measurement | None = None
    bound: float | None = None
    limit: float | None = None
    waiver: Waiver | None = None
    on: str = ""
    lenient: bool = False

    @property
    def counts(self) -> Outcome:
        """The outcome as it counts for the gate: what is waived passes."""
        return "pass" if self.waiver is not None else self.outcome

    @property
    def name(self) -> str:
        """The rule and, where it may state several limits, which of them."""
        return f"{self.rule} ({self.on})" if self.on else self.rule


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A question that the audit answered and no rule asked about.

    Attributes:
        family: Which.
        state: What the verdict at the release says; None: the report holds none.
        sentence: Why nothing asked, and what the verdict says.
    """

    family: Family
    state: VerdictState | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader has to know of a judgement and no rule says: about what, and the rest of the sentence.

    The sentence may hold names from the report as they are.
    """

    about: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The answer to "may it go out?", rule by rule.

    Attributes:
        release: The access that was judged.
        rulings: One per rule, in the order in which they were asked.
        waivers: Those of the policy, whether they hold or not.
        judged_at: The moment of judgement.
        policy: What was asked by, as a reader knows it: the name of a file, never its path.
        compared: What was compared with the report, so that it is that of the model which goes out.
        unjudged: The questions that no rule asked about.
        remarks: What else a reader has to know of what was asked and given.
        mode: What became of a number whose interval holds its limit.
    """

    release: Access
    rulings: tuple[Ruling, ...]
    waivers: tuple[Waiver, ...]
    judged_at: datetime
    policy: str
    compared: str = NOT_COMPARED
    unjudged: tuple[Unjudged, ...] = ()
    remarks: tuple[Note, ...] = ()
    mode: Mode = "strict"

    @property
    def outcome(self) -> Outcome:
        """One rule that fails fails the gate; else one that is inconclusive leaves it so. What is waived passes."""
        found = {one.counts for one in self.rulings}
        return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"

    @property
    def sentence(self) -> str:
        """The reason: the first rule that decided, or all that are met."""
        decisive = [one for one in self.rulings if one.counts == self.outcome]
        if self.outcome != "pass":
            more = f" Likewise: {_listed(decisive[1:])}." if decisive[1:] else ""
            return f"{decisive[0].rule}: {decisive[0].sentence}{more}"
        waived = [one for one in self.rulings if one.waiver is not None and one.outcome != "pass"]
        mode = ", in lenient mode" if self.mode == "lenient" else ""
        told = [f"Every rule is met at release {self.release}{mode}: {_listed(decisive)}."]
        if lenient := [one for one in decisive if one.lenient]:
            told.append(f"Met only because the policy is lenient: {_listed(lenient)}.")
        if waived:
            told.append(f"Met by waiver only: {_listed(waived)}.")
        if self.unjudged:
            left = ", ".join(f"{one.family} ({one.state or 'no verdict'})" for one in self.unjudged)
            told.append(f"Not judged: {left}.")
        return " ".join(told)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Of what model it is said, what was not judged, and what was given in vain."""
        return (
            Note("model", self.compared),
            *(Note(one.family, one.sentence) for one in self.unjudged),
            *self.remarks,
        )

    @property
    def day(self) -> date:
        """The day of judgement (UTC), by which waivers hold or have expired."""
        return self.judged_at.astimezone(UTC).date()

    @property
    def idle_waivers(self) -> tuple[Waiver, ...]:
        """Those that no ruling took: expired, or not needed."""
        used = [one.waiver for one in self.rulings]
        return tuple(one for one in self.waivers if one not in used)


def _listed(rulings: Iterable[Ruling]) -> str:
    return ", ".join(dict.fromkeys(one.rule for one in rulings))
