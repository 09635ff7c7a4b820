"""What the interval of a change between two releases carries, and what it does not (docs/decisions/0010).

Two audits of the same records: both models, and the shadows in front of each, answer with a record's own difficulty, a
lead on what they trained on, and noise. LiRA scores the records of either audit. The interval of the change, record by
record and from both intervals alone, is asked for zero, the truth about the recipe in every row: both models were
trained alike. In the last rows the lead of a whole model differs from training to training.
Run: python benchmarks/paired_change.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.shadows import inclusion_pairs
from auditor.stats.auc import auc, auc_difference
from auditor.stats.difference import unpaired_difference
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import proportion
from auditor.stats.low_fpr import tpr_at_fpr, tpr_at_fpr_difference
from reference_attacks.membership import lira

SEED = 10
N = 1_000
SHADOWS = 8
AUDITS = 200
FPR = 0.01

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """Two models of one recipe.

    Attributes:
        name: Of the row.
        lead: What training on a record adds to its signal, in units of the noise.
        shared: Whether both stand before the same shadows.
        alike: Correlation of the noise of both models on a record: 0 trained anew, 1 the same file.
        between: By how much of itself the lead of a whole training varies.
    """

    name: str
    lead: float
    shared: bool = False
    alike: float = 0.0
    between: float = 0.0


CASES = (
    Case("no leak, own shadows", 0.0),
    Case("moderate leak, own shadows", 0.7),
    Case("moderate leak, the same shadows", 0.7, shared=True),
    Case("moderate leak, tuned from the old model, the same shadows", 0.7, shared=True, alike=0.8),
    Case("moderate leak, the lead of a training varies by a tenth", 0.7, between=0.1),
    Case("moderate leak, the lead of a training varies by a third", 0.7, between=0.33),
)


@dataclass(frozen=True)
class Change:
    """One change, record by record and from both intervals."""

    paired: Estimate
    unpaired: Estimate


def main() -> None:
    """Print one row a case and endpoint."""
    print("| two models of one recipe | endpoint | width, paired | unpaired | covers zero, paired | unpaired |")
    print("|---" * 6 + "|")
    for case in CASES:
        audits = [both(case, np.random.default_rng([SEED, index])) for index in range(AUDITS)]
        for endpoint, found in zip(("AUC", "TPR at 1 % FPR"), zip(*audits, strict=True), strict=True):
            print(f"| {case.name} | {endpoint} | {row(list(found))} |", flush=True)


def both(case: Case, rng: np.random.Generator) -> tuple[Change, Change]:
    """The change of both endpoints between two audits."""
    membership, difficulty = np.arange(2 * N) < N, rng.normal(size=2 * N)
    panels = [panel(case, difficulty, rng) for _ in range(1 if case.shared else 2)]
    noise = rng.normal(size=(3, 2 * N))
    scores = []
    for index in range(2):
        own = np.sqrt(case.alike) * noise[2] + np.sqrt(1 - case.alike) * noise[index]
        signal = difficulty + case.lead * (1 + case.between * rng.normal()) * membership + own
        shadow_signal, inclusion = panels[min(index, len(panels) - 1)]
        scores.append(
            lira.online(
                target_signal=signal[:, None], shadow_signal=shadow_signal[..., None], shadow_membership=inclusion
            )
        )
    old, new = scores
    area = Change(
        auc_difference(new, old, membership).estimate, unpaired_difference(auc(new, membership), auc(old, membership))
    )
    rates = [tpr_at_fpr(one, membership, FPR) for one in (new, old)]
    return area, Change(tpr_at_fpr_difference(new, old, membership, FPR, rng), unpaired_difference(*rates))


def panel(case: Case, difficulty: Floats, rng: np.random.Generator) -> tuple[Floats, Flags]:
    """What shadows answer [model, record], and who trained on whom."""
    inclusion = inclusion_pairs(difficulty.size, SHADOWS, rng)
    return difficulty + case.lead * inclusion + rng.normal(size=inclusion.shape), inclusion


def row(found: list[Change]) -> str:
    """The rest of a row: mean widths, and how often zero is covered."""
    sides = [[one.paired for one in found], [one.unpaired for one in found]]
    widths = [f"{np.mean([one.high - one.low for one in side]):.4f}" for side in sides]
    covered = [proportion(sum(one.low <= 0 <= one.high for one in side), len(side), unit="audits") for side in sides]
    told = [f"{100 * one.value:.1f} % [{100 * one.low:.1f}, {100 * one.high:.1f}]" for one in covered]
    return " | ".join((*widths, *told))


if __name__ == "__main__":
    main()
