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
    Metric,
    Role,
    SecondaryChoice,
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

    def of_last(self, last: AuditReport) -> Hearing:
        """The report of the last release in front of the same policy, at the release that is judged now."""
        gate = self.policy.gate.model_copy(update={"release": self.release.value})
        return replace(self, report=last, policy=self.policy.model_copy(update={"gate": gate}), baseline=None)

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
        """The accesses up to the release whose own numbers found a leak; empty unless the release itself has one.

        A verdict that is inherited attributes nothing that was measured at its own access to the model.
        """
        verdict = self.verdict(family)
        if verdict is None or verdict.state is not VerdictState.LEAK_FOUND:
            return frozenset()
        found = (one for one in self.report.verdicts if one.family is family and self.release.includes(one.access))
        return frozenset(
            one.access for one in found if one.state is VerdictState.LEAK_FOUND and one.inherited_from is None
        )

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
        if loose := self._not_attributed():
            return f"at {loose.card.access} {loose.card.id} rejects as well, and that is not attributed to the model."
        planted = (dose.access for control in self.report.controls for dose in control.doses)
        return "" if self.release in planted else f"no leak was planted at release {self.release}."

    def _not_attributed(self) -> AttackResult | None:
        """A primary attack up to the release that rejects where the leak is only inherited."""
        verdicts = (one for one in self.report.verdicts if one.family is Family.MEMBERSHIP)
        inheriting = {one.access for one in verdicts if one.inherited_from is not None}
        found = (result for result, one in self.endpoints() if one.rejected and result.card.access in inheriting)
        return next(found, None)

    def voided(self) -> str:
        """The first check or control that takes *nothing found* away; what rules out a leak rules that out too."""
        found: tuple[ControlResult | Check, ...] = (*self.report.controls, *self.report.checks)
        against = {Void.LEAK_FOUND, Void.NOTHING_FOUND}
        return next((one.sentence for one in found if against & set(one.voids)), "")

    def broken_inversion(self) -> str:
        """That a planned inversion attack which the release allows failed, or the empty string."""
        failed = [
            one.card.id
            for one in self.report.inversion
            if one.status == "failed"
            and one.card.id in self.report.plan.inversion
            and self.release.includes(one.card.access)
        ]
        return f"An inversion attack of the plan failed: {', '.join(failed)}." if failed else ""

    def secondary_auc(self) -> SecondaryChoice | None:
        """The best secondary attack by AUC, chosen on one half and told of the other, where the release allows it."""
        choice = self.report.secondary_at(self.release)
        return choice if choice is not None and choice.metric is Metric.AUC else None
