"""All controls of one audit, and what they say to the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.battery import title_of
from auditor.controls.blind import Blind, blind_control, matched_test
from auditor.controls.nulls import NullExcess, instrument_null, owner_label_excess, owner_label_result
from auditor.controls.planted import Planted, planted_control
from auditor.findings import Completed, ControlResult, Endpoint, Failed, Role, Skipped
from auditor.limits import Limits
from auditor.membership.evidence import Evidence, NullModels
from auditor.membership.measure import Jury, Scored, choose_secondary, declared_tests
from auditor.threat import Access
from auditor.verdict import AccessFacts, ShadowData

__all__ = ["Panel", "run_controls"]


@dataclass(frozen=True)
class Panel:
    """What every control found."""

    blind: Blind
    excesses: tuple[NullExcess, ...]
    instrument: ControlResult
    planted: Planted
    results: tuple[ControlResult, ...]

    def facts(
        self,
        scored: Sequence[Scored],
        evidence: Evidence,
        jury: Jury,
        limits: Limits,
        *,
        random_split: bool | None = None,
        shadows: ShadowData = "audited",
    ) -> list[AccessFacts]:
        """What the verdict needs to know about each access.

        Args:
            scored: The battery's attacks with their scores.
            evidence: The attacker in front of the target.
            jury: Who is evaluated.
            limits: Levels and limits.
            random_split: What the owner states.
            shadows: What the shadows were trained on.
        """
        found = [self._of_access(access, scored, evidence, jury, limits) for access in Access]
        return [replace(one, random_split=bool(random_split), shadow_data=shadows) for one in found]

    def _of_access(
        self, access: Access, scored: Sequence[Scored], evidence: Evidence, jury: Jury, limits: Limits
    ) -> AccessFacts:
        own = next((one for one in scored if one.role is Role.PRIMARY and one.attack.card.access is access), None)
        excess = next((one for one in self.excesses if one.access is access), None)
        shadow_based = own is not None and own.scores is not None and own.attack.least_shadows > 0
        matched = None
        if own is not None and own.scores is not None:
            alpha = limits.family_wise_error / len(Access)
            matched = matched_test(own.scores, jury, self.blind.propensity, alpha)
        secondary = choose_secondary(scored, jury, limits, access)
        return AccessFacts(
            access=access,
            endpoints=_tested(own),
            evaluated=int(jury.membership.sum()),
            shadows=len(evidence.shadow_membership) if shadow_based else 0,
            planted_recovered=access in self.planted.recovered,
            shift=self.blind.shift or any(one.shift for one in self.excesses),
            leans=excess is not None and excess.leans,
            matched_significant=matched,
            excess_significant=None if excess is None else excess.significant,
            excess_tested=None if excess is None else excess.beyond.estimate,
            attack="" if own is None else own.attack.card.title,
            not_made=_not_made(own),
            secondary=secondary,
            secondary_title="" if secondary is None else title_of(secondary.attack_id),
        )


def _tested(own: Scored | None) -> tuple[Endpoint, ...]:
    if own is None or not isinstance(own.outcome, Completed):
        return ()
    return tuple(endpoint for endpoint in own.outcome.endpoints if not endpoint.appendix)


def _not_made(own: Scored | None) -> str:
    """What became of a declared primary attack that did not complete; empty where it did, or none was declared."""
    match own:
        case Scored(declared=True, outcome=Failed()):
            return "it crashed"
        case Scored(declared=True, outcome=Skipped(reason=reason)):
            return f"it was skipped: {reason.rstrip('.')}"
        case _:
            return ""


def run_controls(
    scored: Sequence[Scored],
    evidence: Evidence,
    nulls: NullModels,
    jury: Jury,
    features: npt.NDArray[np.float64],
    limits: Limits,
    seed: int,
) -> Panel:
    """Run the blind, both null and the planted control.

    Args:
        scored: The battery's attacks with their scores.
        evidence: The attacker in front of the target.
        nulls: The two null models.
        jury: Who is evaluated.
        features: What the blind control sees of the audit records [record, feature].
        limits: Levels and limits.
        seed: The audit's seed.
    """
    primaries = [one for one in scored if one.role is Role.PRIMARY and one.scores is not None]
    shadow_based = [one.attack for one in primaries if one.attack.least_shadows]
    tests = max(declared_tests(scored, jury, limits), 1)
    blind = blind_control(features, jury, seed, limits)
    excesses = tuple(owner_label_excess(one.attack, evidence, nulls, jury, limits, seed) for one in primaries)
    instrument = instrument_null(scored, jury, limits, seed)
    planted = planted_control(shadow_based, evidence, jury, limits, tests=tests, seed=seed)
    owner = owner_label_result(excesses, jury)
    return Panel(blind, excesses, instrument, planted, (blind.result, owner, instrument, planted.result))
