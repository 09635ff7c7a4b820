"""Does the interval of the blind control cover, and how often is a shift suspected where there is none?

Members and non-members are drawn alike, or with a shift of every feature's mean; the control runs as in an audit. The
standard deviation of its AUC over audits stands beside the standard errors of two intervals: DeLong's, which takes a
cross-fitted score for a given one, and that of docs/decisions/0007. Covered is the mean AUC over the audits of a row.
Run: python benchmarks/blind_interval.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logit
from scipy.stats import norm

from auditor.compute import generator
from auditor.controls.blind import blind_control
from auditor.limits import Limits
from auditor.membership.measure import Jury
from auditor.splits import Records
from auditor.stats.auc import auc
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion

SEED = 72
LIMITS = Limits()


@dataclass(frozen=True)
class Case:
    """Records a side, features, classes, shift of each feature's mean, records a group, audits."""

    n: int
    features: int
    classes: int
    runs: int
    shift: float = 0.0
    group: int = 1


CASES = (
    Case(200, 8, 5, 300),
    Case(1_000, 8, 5, 200),
    Case(5_000, 8, 5, 50),
    Case(200, 82, 10, 100),
    Case(1_000, 82, 10, 60),
    Case(1_000, 8, 5, 100, group=5),
    Case(1_000, 8, 5, 100, shift=0.075),
    Case(1_000, 8, 5, 60, shift=0.3),
)


@dataclass(frozen=True)
class Read:
    """The control's interval in one audit, and DeLong's."""

    before: Estimate
    now: Estimate


def main() -> None:
    """Print one row a case."""
    print("| a side | features | groups of | shift | audits | mean AUC | its SD | SE before, now ", end="")
    print("| suspected, before | now | covered, before | now |\n" + "|---" * 12 + "|")
    for case in CASES:
        print(line(case, [read(case, index) for index in range(case.runs)]), flush=True)


def read(case: Case, index: int) -> Read:
    """Run the control on fresh records."""
    rng = generator(SEED, f"{case}, {index}")
    membership, groups = np.arange(2 * case.n) < case.n, np.arange(2 * case.n) // case.group
    digests = tuple(number.to_bytes(8, "big") for number in range(2 * case.n))
    labels = rng.integers(0, case.classes, 2 * case.n)
    records = Records(np.zeros((2 * case.n, 1), np.float32), labels, None if case.group == 1 else groups, digests)
    jury = Jury.of(records, membership, index)
    features = rng.normal(size=(2 * case.n, case.features)) + case.shift * membership[:, None]
    if case.group > 1:
        features = (features + rng.normal(size=features.shape)[groups]) / np.sqrt(2)
    blind = blind_control(features, jury, index, LIMITS)
    before = auc(blind.propensity, membership, confidence=LIMITS.confidence, groups=jury.groups)
    return Read(before, blind.result.measurements[0].estimate)


def line(case: Case, found: list[Read]) -> str:
    """One row of the table."""
    values = np.array([one.now.value for one in found])
    both = [[one.before for one in found], [one.now for one in found]]
    errors = " and ".join(f"{np.mean([error(one) for one in side]):.4f}" for side in both)
    suspected = [share([one.low > 0.5 for one in side]) for side in both]
    covered = [share([one.low <= values.mean() <= one.high for one in side]) for side in both]
    told = (f"{values.mean():.3f}", f"{values.std(ddof=1):.4f}", errors, *suspected, *covered)
    start = (f"{case.n:,}", str(case.features), str(case.group), f"{case.shift:g}", str(case.runs))
    return "| " + " | ".join((*start, *told)) + " |"


def error(found: Estimate) -> float:
    """The standard error behind an interval on the logit scale."""
    width = (logit(found.high) - logit(found.low)) / (2 * norm.ppf(0.5 + found.confidence / 2))
    return float(width * found.value * (1 - found.value))


def share(yes: list[bool]) -> str:
    """A share in percent, with its interval."""
    found = proportion(sum(yes), len(yes), unit="audits")
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


if __name__ == "__main__":
    main()
