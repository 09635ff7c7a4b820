"""`privaudit.toml`, or `[tool.privaudit]` of a pyproject.toml: what the owner's policy asks of a release.

[limits]                        # what upper bounds stay under, for a verdict "nothing found" and for the gate alike
auc = 0.60
tpr_at_fpr."0.01" = 0.05        # true positive rate at 1 % false positives
inversion_excess = { record = 0.01, class = 0.05 }

[severity]                      # a leak is this severe when a lower bound reaches either number
moderate = { tpr = 0.03, auc = 0.60 }
high = { tpr = 0.10, auc = 0.70 }
critical = { tpr = 0.50, auc = 0.90 }

[gate]                          # what is judged, and what else is asked; see docs/gate.md
families = ["membership"]       # and "inversion"
mode = "strict"                 # or lenient
release = "scores"              # without it, as the report was made
fail_on = "high"
least_evaluated = 2000          # records a side
required_attacks = ["lira-scores"]
required_checks = ["recipe", "planted"]
max_age = "90d"
claimed_epsilon = { epsilon = 8.0, delta = 1e-5, unit = "record" }
no_worse_than_last = { auc = 0.02, tpr_at_fpr."0.01" = 0.02 }

[[waiver]]
rule = "auc"
reason = "Internal pilot, 40 users, ticket 1234"
expires = 2027-03-31

What is left out has its default: limits and severity from `auditor.limits`, and of the rest nothing is asked.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from auditor.errors import InputError
from auditor.limits import Limits, SeverityRow, SeverityTable
from auditor.records import printable
from auditor.splits_file import ClaimSection
from auditor.toml_file import Section, parse_toml, settings_in

__all__ = [
    "CheckName",
    "GateSection",
    "InversionLimits",
    "LimitsSection",
    "Margins",
    "Policy",
    "Rule",
    "TprLimits",
    "TprMargins",
    "Waiver",
    "read_policy",
]

_SHARED_FILE = "pyproject.toml"
_HOURS = {"h": 1, "d": 24, "w": 24 * 7}
# what a reader sees: neither space, control, mark of direction or joining, nor a letter that is drawn as nothing
_SEEN = (
    r"[^\s\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]"
)
_AGE = r"^[1-9][0-9]{0,3}[hdw]$"

Rule: TypeAlias = Literal[
    "auc",
    "tpr_at_fpr",
    "inversion_excess",
    "severity",
    "claimed_epsilon",
    "required_attacks",
    "required_checks",
    "least_evaluated",
    "max_age",
    "no_worse_than_last",
]
CheckName: TypeAlias = Literal[
    "recipe",
    "proxy-shadows",
    "given-inclusion",
    "few-shadows",
    "stale-shadows",
    "members-learned",
    "label-order",
    "saturation",
    "stochastic",
    "attack-ceiling",
    "random-split",
    "few-records",
    "population",
    "groups",
    "duplicates",
    "near-duplicates",
    "class-balance",
    "traces",
    "blind",
    "owner-label-null",
    "instrument-null",
    "planted",
    "planted-shadow",
]
_Family: TypeAlias = Literal["membership", "inversion"]


def _some(families: tuple[_Family, ...]) -> tuple[_Family, ...]:
    if not families:
        raise ValueError('it names nothing to judge: write ["membership"], ["inversion"] or both')
    return families


def _age(told: str) -> str:
    if not re.fullmatch(_AGE, told):
        raise ValueError('write a number of hours, days or weeks, as in "36h", "90d" or "12w"')
    return told


def _said(reason: str) -> str:
    if not any(char.isprintable() for char in re.findall(_SEEN, reason)):
        raise ValueError("it must say why")
    return reason


_Margin: TypeAlias = Annotated[float, Field(gt=0, lt=1)]


class TprLimits(Section):
    """Limits on the true positive rate, by the false positive rate at which it is taken."""

    at_one_percent: float = Field(default=Limits.tpr, gt=Limits.fpr, lt=1, alias="0.01")


class InversionLimits(Section):
    """What the excess of a reconstruction over its best control stays under.

    `record` is a gain in squared error to members, `class` one in the probability of the class. None: that question is
    judged by the verdict alone.
    """

    by_record: float | None = Field(default=None, gt=0, alias="record")
    by_class: float | None = Field(default=None, gt=0, alias="class")


class LimitsSection(Section):
    """What upper bounds must stay under (rule 8 of docs/rules-of-evidence.md)."""

    auc: float = Field(default=Limits.auc, gt=0.5, lt=1)
    tpr_at_fpr: TprLimits = TprLimits()
    inversion_excess: InversionLimits = InversionLimits()

    def stated(self) -> Limits:
        """The limits as verdicts on membership take them; what a policy cannot change is as by default."""
        return Limits(auc=self.auc, tpr=self.tpr_at_fpr.at_one_percent)


class TprMargins(Section):
    """By how much the true positive rate may rise, by the false positive rate at which it is taken."""

    at_one_percent: _Margin = Field(alias="0.01")


class Margins(Section):
    """By how much the primary endpoints may be worse than in the last release; None: that one is not compared."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    auc: _Margin | None = None
    tpr_at_fpr: TprMargins | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Margins:
        if self.auc is None and self.tpr_at_fpr is None:
            raise ValueError('it states no margin: write { auc = 0.02 }, { tpr_at_fpr."0.01" = 0.02 } or both')
        return self


class GateSection(Section):
    """What the gate judges, and what it asks beside the limits.

    Attributes:
        families: Whose verdicts and limits are judged.
        mode: `strict`: an upper bound has to be under its limit. `lenient`: only a lower bound over the limit fails.
        release: The access that is judged; None: as the report was made.
        fail_on: The least severity of a membership leak that fails; None: severity is not judged.
        least_evaluated: Records a side.
        required_attacks: Ids of attacks that must have completed.
        required_checks: Ids of checks and controls that must have passed.
        max_age: How old a report may be: a number of hours, days or weeks, as in "36h", "90d", "12w".
        claimed_epsilon: A claim that canaries must have had the chance to contradict, and did not.
        no_worse_than_last: Margins against the report of the last release.
    """

    families: Annotated[tuple[_Family, ...], AfterValidator(_some)] = Field(
        default=("membership",), strict=False, json_schema_extra={"minItems": 1}
    )
    mode: Literal["strict", "lenient"] = "strict"
    release: Literal["labels", "scores", "weights"] | None = None
    fail_on: Literal["low", "moderate", "high", "critical"] | None = None
    least_evaluated: int | None = Field(default=None, ge=1)
    required_attacks: tuple[str, ...] = Field(default=(), strict=False)
    required_checks: tuple[CheckName, ...] = Field(default=(), strict=False)
    max_age: Annotated[str, AfterValidator(_age), Field(json_schema_extra={"pattern": _AGE})] | None = None
    claimed_epsilon: ClaimSection | None = None
    no_worse_than_last: Margins | None = None

    @property
    def longest_age(self) -> timedelta | None:
        """`max_age` as a length of time."""
        return None if self.max_age is None else int(self.max_age[:-1]) * timedelta(hours=_HOURS[self.max_age[-1]])


class Waiver(Section):
    """A rule that need not be met, why, and the last day on which that holds. Always printed."""

    rule: Rule
    reason: Annotated[str, AfterValidator(_said)] = Field(max_length=500, json_schema_extra={"pattern": _SEEN})
    expires: date

    def holds(self, day: date) -> bool:
        """Whether it counts on this day (UTC)."""
        return day <= self.expires


class Policy(Section):
    """The whole policy; without a file, every field has its default."""

    limits: LimitsSection = LimitsSection()
    severity: SeverityTable = SeverityTable()
    gate: GateSection = GateSection()
    waiver: tuple[Waiver, ...] = Field(default=(), strict=False)


_TABLES: dict[str, type[BaseModel]] = {
    "": Policy,
    "limits": LimitsSection,
    "limits.tpr_at_fpr": TprLimits,
    "limits.inversion_excess": InversionLimits,
    "severity": SeverityTable,
    "severity.moderate": SeverityRow,
    "severity.high": SeverityRow,
    "severity.critical": SeverityRow,
    "gate": GateSection,
    "gate.claimed_epsilon": ClaimSection,
    "gate.no_worse_than_last": Margins,
    "gate.no_worse_than_last.tpr_at_fpr": TprMargins,
    "waiver": Waiver,
}


def read_policy(path: Path) -> Policy:
    """Read a policy.

    Args:
        path: A file of its own, or a pyproject.toml with a table [tool.privaudit].

    Raises:
        InputError: the file cannot be read or is not TOML, has no such table, an unknown key or a value out of bounds.
    """
    content = parse_toml(path)
    if path.name != _SHARED_FILE:
        return settings_in(content, Policy, _TABLES, path)
    tools = content.get("tool")
    if not isinstance(tools, dict) or "privaudit" not in tools:
        raise InputError(f"{printable(path)} has no table [tool.privaudit].", "Add it; see docs/policy.md.")
    return settings_in(tools["privaudit"], Policy, _TABLES, path, under="tool.privaudit.")
