"""What every rule is handed, and what several of them ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from auditor.difference.pairing import ALONE, Kept
from auditor.findings import (
    AttackResult,
    AuditReport,
    Check,
    Completed,
    ControlResult,
    Endpoint,
    Family,
    Role,
    Verdict,
    VerdictState,
    Void,
)
from auditor.gate.ruling import Ruling
from auditor.policy_file import Policy
from auditor.threat import Access

__all__ = ["Hearing"]


@dataclass(frozen=True)
class Hearing:
    """A report in front of a policy.

    Attributes:
        report: What was found.
        policy: What is asked.
        now: The present moment, with its time zone.
        baseline: The report of the last release, if there is one.
        kept: The scores beside the baseline and beside the report, where they were looked for.
    """

    report: AuditReport
    policy: Policy
    now: datetime
    baseline: AuditReport | None = None
    kept: tuple[Kept, Kept] = ALONE

    @property
    def release(self) -> Access:
        """The access that is judged."""
        stated = self.policy.gate.release
        return self.report.plan.release if stated is None else Access(stated)

    def between(self, ruling: Ruling) -> Ruling:
        """What becomes of an inconclusive number whose interval holds the limit: a lenient policy lets it pass."""
        if self.policy.gate.mode == "strict":
            return ruling
        told = f"{ruling.sentence} It passes because the policy is lenient."
        return replace(ruling, outcome="pass", sentence=told, lenient=True)

    def verdict(self, family: Family) -> Verdict | None:
        """The verdict at the release, if the report holds one."""
        return next(
            (one for one in self.report.verdicts if one.access is self.release and one.family is family),
            None,
        )

    def leaking(self, family: Family) -> frozenset[Access]:
        """The accesses up to the release at which a leak was found; empty unless one was at the release itself."""
        verdict = self.verdict(family)
        if verdict is None or verdict.state is not VerdictState.LEAK_FOUND:
            return frozenset()
        found = (one for one in self.report.verdicts if one.family is family and self.release.includes(one.access))
        return frozenset(one.access for one in found if one.state is VerdictState.LEAK_FOUND)

    def primaries(self) -> tuple[AttackResult, ...]:
        """The primary attacks that the release allows."""
        found = (one for one in self.report.membership if self.release.includes(one.card.access))
        return tuple(one for one in found if one.role is Role.PRIMARY)

    def endpoints(self) -> Iterator[tuple[AttackResult, Endpoint]]:
        """What they measured, as far as it may be judged."""
        for result in self.primaries():
            if isinstance(result.outcome, Completed):
                yield from ((result, one) for one in result.outcome.endpoints if not one.appendix)

    def doubt(self) -> str:
        """Why small numbers would not mean a small membership leak, or the empty string."""
        verdict = self.verdict(Family.MEMBERSHIP)
        if verdict is None:
            return f"The report holds no verdict on membership at release {self.release}."
        if verdict.state is VerdictState.CANNOT_SAY and not verdict.too_wide:
            return f"The audit cannot say whether membership leaks at release {self.release}: {verdict.sentence}"
        if verdict.state is VerdictState.LEAK_FOUND and (doubt := self._doubt_beside_a_leak()):
            return f"More than was found may leak: {doubt}"
        missing = [one.card.id for one in self.primaries() if not isinstance(one.outcome, Completed)]
        return f"A primary attack did not complete: {', '.join(missing)}." if missing else ""

    def _doubt_beside_a_leak(self) -> str:
        if voided := self.voided():
            return voided
        planted = (dose.access for control in self.report.controls for dose in control.doses)
        return "" if self.release in planted else f"no leak was planted at release {self.release}."

    def voided(self) -> str:
        """The first check or control that takes *nothing found* away."""
        found: tuple[ControlResult | Check, ...] = (*self.report.controls, *self.report.checks)
        return next((one.sentence for one in found if Void.NOTHING_FOUND in one.voids), "")
