"""What the jobs of `calibration.py` leave behind: rows of counts and values, from which all tables are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from auditor.limits import Limits

__all__ = [
    "AUDIT_SEED",
    "FPR",
    "LIMITS",
    "SEED",
    "AuditRow",
    "CoverageRow",
    "DoseRow",
    "PowerRow",
    "Rows",
    "StrictRow",
    "TrainedRow",
    "ZeroRow",
]

SEED = 41
AUDIT_SEED = 47  # of whole audits; what rules 6 and 7 ask was chosen on others
LIMITS = Limits()
FPR = LIMITS.fpr


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AuditRow(_Row):
    """One audit from signals to verdict.

    `single` is the uncorrected p of the AUC of the primary attack with the most access, which is `top`;
    `against_nothing` names what stood in the way of *nothing found* there; `asked` tells whether an excess over the
    owner-label null was asked for at some access. Where `complete` is false the instrument null did not run, and the
    planted leak counts as recovered.
    """

    design: str
    single: float
    rejected: bool
    shift: bool
    asked: bool
    states: dict[str, str]
    top: str
    against_nothing: tuple[str, ...]
    complete: bool


class TrainedRow(_Row):
    """One audit from training to verdict; `knew` tells whether the target had been trained on the stated members."""

    knew: bool
    states: dict[str, str]
    smallest_p: float
    recipe_matched: bool
    cpu_seconds: float


class CoverageRow(_Row):
    """How often an interval or bound held the truth; `weighed` counts exactly, where no trials were needed."""

    statistic: str
    case: str
    n: int
    nominal: float
    exact: bool
    held: int
    trials: int
    weighed: float | None = None
    judged: bool = True


class PowerRow(_Row):
    """How often a test rejected, or a bound stayed under its limit, where a rule states `about`, `least` or `most`."""

    question: str
    n: int
    stated: float
    hits: int
    trials: int
    meant: Literal["about", "least", "most"]


class DoseRow(_Row):
    """One dose of the planted control: what it prints, and what audits of really leaking models of that dose found."""

    dose: float
    printed: tuple[float, ...]
    shadows: int
    hits: int
    trials: int


class ZeroRow(_Row):
    """AUCs of an attack on signals without a leak, a shadow in the target's place; `twin` if its twin stayed."""

    attack: str
    shadows: int
    twin: bool
    values: tuple[float, ...]


class StrictRow(_Row):
    """In how many audits a corrected test rejects and the excess over the owner-label null is significant beside it."""

    design: str
    hits: int
    trials: int


class Rows(_Row):
    """What a job found, or all of them together; CPU seconds are those of the process that did it."""

    audits: tuple[AuditRow, ...] = ()
    trained: tuple[TrainedRow, ...] = ()
    coverage: tuple[CoverageRow, ...] = ()
    power: tuple[PowerRow, ...] = ()
    doses: tuple[DoseRow, ...] = ()
    zero: tuple[ZeroRow, ...] = ()
    strict: tuple[StrictRow, ...] = ()
    cpu_seconds: float = 0.0

    @classmethod
    def joined(cls, parts: Iterable[Rows]) -> Rows:
        """All rows of several jobs, in their order."""
        every = list(parts)
        return cls(
            audits=tuple(row for one in every for row in one.audits),
            trained=tuple(row for one in every for row in one.trained),
            coverage=tuple(row for one in every for row in one.coverage),
            power=tuple(row for one in every for row in one.power),
            doses=tuple(row for one in every for row in one.doses),
            zero=tuple(row for one in every for row in one.zero),
            strict=tuple(row for one in every for row in one.strict),
            cpu_seconds=sum(one.cpu_seconds for one in every),
        )
