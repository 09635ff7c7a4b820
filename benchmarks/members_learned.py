"""How often does the check `members-learned` fail by chance, and does it still see a model of other records?

Audits from signals, as `calibration.py` simulates them (accuracy about .81): a model without any leak, one that
remembers its members, one that was trained on none of them while its shadows remember theirs, and one whose splits were
swapped. Beside the rule of docs/decisions/0007 stands the one before it, which failed where members were answered worse
by more than 2 points. Run: python benchmarks/members_learned.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from calibration_worlds import Design, simulate

from auditor.checks.subject import Subject, accuracies
from auditor.checks.target import members_learned
from auditor.compute import generator
from auditor.findings import CheckLevel
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion

SEED = 71
FLOOR_BEFORE = 0.02
RUNS = {200: 400, 1_000: 300, 5_000: 60}


@dataclass(frozen=True)
class Case:
    """What is audited; `swapped` exchanges the owner's splits."""

    name: str
    design: Design
    swapped: bool = False


def cases(n: int, shadows: int) -> Iterator[Case]:
    """The designs at one size."""
    plain = Design("", n, shadows)
    yield Case("no leak", plain)
    yield Case("no leak, groups of five", replace(plain, groups="fives"))
    for leak in (0.5, 1.0):
        remembers = replace(plain, leak=leak)
        yield Case(f"remembers, {leak:g}", remembers)
        yield Case(f"remembers, {leak:g}, groups of five", replace(remembers, groups="fives"))
        yield Case(f"never saw them, {leak:g}", replace(remembers, spared=True))
        yield Case(f"swapped, {leak:g}", remembers, swapped=True)


def main() -> None:
    """Print how often either rule fails, in percent."""
    print("| model, leak | a side | K | lead on own records, shadows | before | now |\n|---|---|---|---|---|---|")
    for n, runs in RUNS.items():
        for case in cases(n, 8):
            print(line(case, runs), flush=True)
    for shadows in (4, 16):
        for case in cases(1_000, shadows):
            if case.design.leak != 0.5 and case.design.groups == "none":
                print(line(case, RUNS[1_000]), flush=True)


def line(case: Case, runs: int) -> str:
    """One row of the table."""
    before, now, leads = 0, 0, 0.0
    for index in range(runs):
        subject = draw(case, index)
        inside, outside = accuracies(subject.evidence.target.audit, subject.jury.membership)
        before += inside < outside - FLOOR_BEFORE
        now += members_learned(subject).level is CheckLevel.FAIL
        shadow = accuracies(subject.evidence.shadows.audit.model(0), subject.evidence.shadow_membership[0])
        leads += (shadow[0] - shadow[1]) / runs
    told = (percent(proportion(count, runs, unit="runs")) for count in (before, now))
    return f"| {case.name} | {case.design.n:,} | {case.design.shadows} | {leads:.1%} | {' | '.join(told)} |"


def draw(case: Case, index: int) -> Subject:
    """One audit, as its checks see it."""
    name = f"{case.name}, {case.design.n}, {case.design.shadows}, {index}"
    subject = simulate(case.design, generator(SEED, name)).subject
    if not case.swapped:
        return subject
    return replace(subject, jury=replace(subject.jury, membership=~subject.jury.membership))


def percent(found: Estimate) -> str:
    """A share with its interval."""
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


if __name__ == "__main__":
    main()
