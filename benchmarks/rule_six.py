"""When must a leak exceed the owner-label null, and by how much? The simulation behind docs/decisions/0007.

Audits from signals, as `calibration.py` simulates them, on other seeds than it reports on. Each is decided by several
rules: the one before; the one now; and the one now with another certainty of a lean, without a lean, with the excess
always asked for, and without allowing for what null models may have missed. The blind control sees features that have
nothing to do with the rest, so its results are drawn from a store of 60. Run: python benchmarks/rule_six.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from calibration_worlds import Design, World, simulate

from auditor.battery import MEMBERSHIP
from auditor.compute import generator
from auditor.controls.blind import blind_control, matched_test
from auditor.limits import Limits
from auditor.membership.evidence import Attack
from auditor.membership.measure import endpoint_p_values
from auditor.stats.auc import auc, auc_difference
from auditor.stats.excess import excess_over_null
from auditor.stats.multiplicity import holm
from auditor.threat import Access

SEED, RUNS, STORED = 73, 150, 60
LIMITS = Limits()
LEVEL = LIMITS.family_wise_error / len(Access)
ATTACKS = tuple(one for one in MEMBERSHIP if one.primary)

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_REMEMBERING = Design("", 1_000, 8, leak=1.0, spared=True)
_LEAK = Design("", 1_000, 8, leak=0.25)
DESIGNS = {
    "no leak": Design("", 1_000, 8),
    "easier members by 0.2": replace(_REMEMBERING, shift=0.2),
    "easier members by 0.35": replace(_REMEMBERING, shift=0.35),
    "easier by 0.25, hardly seen": replace(_REMEMBERING, shift=0.25, visible=0.075),
    "easier by 1, seen": replace(_REMEMBERING, shift=1.0, visible=0.3),
    "learned 0.1": replace(_REMEMBERING, learned=0.1),
    "learned 0.2": replace(_REMEMBERING, learned=0.2),
    "learned 1": replace(_REMEMBERING, learned=1.0),
    "learned 1, models differ by a tenth": replace(_REMEMBERING, learned=1.0, uneven=0.1),
    "learned 0.3, nulls miss a fifth": replace(_REMEMBERING, learned=0.3, unlearned=0.2),
    "learned 1, nulls miss a fifth": replace(_REMEMBERING, learned=1.0, unlearned=0.2),
    "learned 1, nulls miss two fifths": replace(_REMEMBERING, learned=1.0, unlearned=0.4),
    "moderate leak": _LEAK,
    "moderate leak, easier by 0.25, hardly seen": replace(_LEAK, shift=0.25, visible=0.075),
    "moderate leak, easier by 1, seen": replace(_LEAK, shift=1.0, visible=0.3),
    "moderate leak, learned 0.3": replace(_LEAK, learned=0.3),
}


@dataclass(frozen=True)
class Stored:
    """What the blind control found once: its propensities, and whether a shift was suspected before, and is now."""

    propensity: Floats
    before: bool
    now: bool


@dataclass(frozen=True)
class Seen:
    """One access of one audit.

    `shift` and `excess` are of the rule before, where the null was one score and its whole variance between models,
    chance and all, was added; `null_p` and `sharp` are of the one now, `sharp` without an allowance, `allowed` with it.
    """

    rejected: bool
    matched: bool
    shift: bool
    excess: bool
    null_shift: bool
    null_p: float
    sharp: bool
    allowed: bool


def main() -> None:
    """Print in how many audits each rule finds a leak, in percent."""
    stores = {visible: store(visible) for visible in {design.visible for design in DESIGNS.values()}}
    print(f"| {RUNS} audits each | a test rejects | {' | '.join(RULES)} |\n" + "|---" * (len(RULES) + 2) + "|")
    for name, design in DESIGNS.items():
        blinds = [stores[design.visible][index % STORED] for index in range(RUNS)]
        audits = [audit(name, design, index, blind) for index, blind in enumerate(blinds)]
        rates = [np.mean([any(one.rejected for one in found) for found in audits])]
        rates += [np.mean([rule(*pair) for pair in zip(audits, blinds, strict=True)]) for rule in RULES.values()]
        print(f"| {name} | " + " | ".join(f"{100 * rate:.1f}" for rate in rates) + " |", flush=True)


# --- one audit -----------------------------------------------------------------------------------------------------


def store(visible: float) -> list[Stored]:
    """What the blind control finds in records whose eight features differ so much."""
    found = []
    for index in range(STORED):
        world = simulate(Design("", 1_000, 2, visible=visible), generator(SEED, f"blind control, {visible}, {index}"))
        blind = blind_control(world.features, world.jury, index, LIMITS)
        plain = auc(blind.propensity, world.jury.membership, confidence=LIMITS.confidence)
        found.append(Stored(blind.propensity, plain.low > 0.5, blind.shift))
    return found


def audit(name: str, design: Design, index: int, blind: Stored) -> list[Seen]:
    """Every access of a fresh audit."""
    rng = generator(SEED, f"{name}, {index}")
    world = simulate(design, rng)
    scores = [attack.score(world.evidence) for attack in ATTACKS]
    p_values = [endpoint_p_values(*pair, world.jury, LIMITS) for pair in zip(ATTACKS, scores, strict=True)]
    adjusted = iter(holm([p for one in p_values for p in one]))
    found = []
    for attack, score, own in zip(ATTACKS, scores, p_values, strict=True):
        rejected = min([next(adjusted) for _ in own]) <= LIMITS.family_wise_error
        matched = bool(matched_test(score, world.jury, blind.propensity, LEVEL))
        null = null_seen(attack, world, score, rng.random(2 * design.n) < 0.5)
        found.append(replace(null, rejected=rejected, matched=matched))
    return found


def null_seen(attack: Attack, world: World, score: Floats, coin: Flags) -> Seen:
    """What the owner-label null of an access says, as it was before and as it is now."""
    member, halves = world.jury.membership, world.nulls.halves
    each = np.stack([attack.score(world.evidence.attacking(world.nulls.answers.model(one))) for one in range(2)])
    judge = np.where(member, halves[0], coin)
    one_score = np.where(judge, each[1], each[0])
    parts = [auc(each[one][judge == one], member[judge == one]).value for one in range(2)]
    old = auc_difference(score, one_score, member, extra_variance=1.5 * (parts[0] - parts[1]) ** 2 / 2)
    sharp, allowed = (excess_over_null(score, each, ~halves, member, unlearned=share) for share in (0.0, 0.2))
    return Seen(
        rejected=False,
        matched=False,
        shift=auc(one_score, member).low > 0.5,
        excess=old.p_value <= LEVEL,
        null_shift=sharp.null.low > 0.5,
        null_p=sharp.null_p_value,
        sharp=sharp.p_value <= LEVEL,
        allowed=allowed.p_value <= LEVEL,
    )


# --- rules ---------------------------------------------------------------------------------------------------------


def before(audited: Sequence[Seen], blind: Stored) -> bool:
    """Both tests under a suspected shift, and nothing otherwise."""
    shift = blind.before or any(one.shift for one in audited)
    return any(one.rejected and (not shift or (one.matched and one.excess)) for one in audited)


def now(audited: Sequence[Seen], blind: Stored, *, lean: float, allowing: bool = True) -> bool:
    """The same, and the excess where the null of that access lies above .5 with an error of `lean` at most."""
    shift = blind.now or any(one.null_shift for one in audited)

    def leaks(one: Seen) -> bool:
        excess = one.allowed if allowing else one.sharp
        return (one.matched and excess) if shift else (excess or one.null_p > lean)

    return any(one.rejected and leaks(one) for one in audited)


RULES: Mapping[str, Callable[[Sequence[Seen], Stored], bool]] = {
    "before": before,
    "now": partial(now, lean=0.2),
    "a lean from 10 %": partial(now, lean=0.1),
    "from 30 %": partial(now, lean=0.3),
    "no lean": partial(now, lean=0.0),
    "excess always": partial(now, lean=1.0),
    "nothing missed": partial(now, lean=0.2, allowing=False),
}


if __name__ == "__main__":
    main()
