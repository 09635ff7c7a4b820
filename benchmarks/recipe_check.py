"""How often does the recipe check fail on a target of the same recipe, and which temperature does it see?

Audits from signals, as `calibration.py` simulates them. Where models differ, each has an offset (standard deviation
.15) and a scale (5 %) of its own, as trained ones do. A temperature divides the target's margins, before its offset
is added. Run: python benchmarks/recipe_check.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from calibration_worlds import Design, simulate

from auditor.checks import Subject
from auditor.checks.shadows import recipe
from auditor.compute import generator
from auditor.controls.nulls import two_class_signals
from auditor.findings import CheckLevel
from auditor.signals import Signals
from auditor.stats.intervals import proportion

SEED = 83
RUNS = 400
OFFSET, SCALE = 0.15, 0.05


@dataclass(frozen=True)
class Case:
    """What is audited; `apart` gives each model an offset and a scale."""

    name: str
    design: Design
    temperature: float = 1.0
    apart: bool = False


def cases() -> Iterator[Case]:
    """The designs."""
    for shadows in (4, 8, 16):
        for n in (200, 1_000):
            plain = Design("", n, shadows)
            yield Case("no leak", plain)
            yield Case("remembers, models differ", replace(plain, leak=1.0), apart=True)
    plain = Design("", 1_000, 8)
    yield Case("remembers a tenth", replace(plain, share=0.1))
    yield Case("skewed noise", replace(plain, noise="skewed"))
    yield Case("groups of five", replace(plain, groups="fives"))
    yield Case("groups of 1 to 20", replace(plain, groups="unequal"))
    for shift in (0.2, 1.0):
        yield Case(f"easier members by {shift:g}", replace(plain, shift=shift))
    for temperature in (1.1, 1.25, 1.5, 2.0, 4.0):
        yield Case(f"temperature {temperature:g}, models differ", replace(plain, leak=1.0), temperature, apart=True)


def main() -> None:
    """Print how often it fails by accuracies, by margins, and by either, in percent."""
    print("| target | a side | K | by accuracy | by margins | either |\n|---|---|---|---|---|---|")
    for case in cases():
        print(line(case, RUNS if case.temperature == 1 else RUNS // 4), flush=True)


def line(case: Case, runs: int) -> str:
    """One row of the table."""
    told = [recipe(draw(case, index)) for index in range(runs)]
    failed = [check.sentence for check in told if check is not None and check.level is CheckLevel.FAIL]
    counts = (sum("accuracy on" in one for one in failed), sum("margin" in one for one in failed), len(failed))
    cells = " | ".join(percent(count, runs) for count in counts)
    return f"| {case.name} | {case.design.n:,} | {case.design.shadows} | {cells} |"


def draw(case: Case, index: int) -> Subject:
    """One audit's subject."""
    rng = generator(SEED, f"{case.name}, {case.design.n}, {case.design.shadows}, {index}")
    subject = simulate(case.design, rng).subject
    models = case.design.shadows + 1
    offsets = OFFSET * case.apart * rng.normal(size=models)
    scales = np.exp(SCALE * case.apart * rng.normal(size=models))
    evidence = subject.evidence
    target = _changed(evidence.target.audit, offsets[:1, None], scales[:1, None] / case.temperature)
    shadows = _changed(evidence.shadows.audit, offsets[1:, None, None], scales[1:, None, None])
    evidence = replace(
        evidence,
        target=replace(evidence.target, audit=target),
        shadows=replace(evidence.shadows, audit=shadows),
    )
    return replace(subject, evidence=evidence)


def _changed(signals: Signals, offset: npt.NDArray[np.float64], scale: npt.NDArray[np.float64]) -> Signals:
    released = two_class_signals(signals.released_margin * scale + offset)
    return replace(released, logit_margin=signals.logit_margin * scale + offset)


def percent(count: int, runs: int) -> str:
    """A share in percent, with its interval."""
    found = proportion(count, runs, unit="runs")
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


if __name__ == "__main__":
    main()
