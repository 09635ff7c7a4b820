"""Does averaging a non-member's score over two null models, and a member's over one, bias the owner-label null?

Rule 4 first asked for it. Here members and non-members are exchangeable, two null models score each record with
skewed between-model noise, and the AUC is taken (a) with averages for non-members, (b) with one model per record, on a
coin for non-members. Run: python benchmarks/null_average.py
"""

from __future__ import annotations

import numpy as np

from auditor.stats.auc import auc

RUNS, RECORDS = 200, 1000
NOISE = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "squared normal": lambda rng, shape: rng.normal(size=shape) ** 2,
}


def main() -> None:
    """Print the mean AUC of both ways, with its Monte-Carlo error."""
    membership = np.arange(2 * RECORDS) < RECORDS
    print(f"{'noise between models':<22}{'averaged':>18}{'one by coin':>18}")
    for name, draw in NOISE.items():
        rng = np.random.default_rng(0)
        averaged, coin = [], []
        for _ in range(RUNS):
            scores = 0.5 * rng.normal(size=2 * RECORDS) + draw(rng, (2, 2 * RECORDS))
            averaged.append(auc(np.where(membership, scores[0], scores.mean(0)), membership).value)
            judge = np.where(rng.random(2 * RECORDS) < 0.5, 1, 0)
            coin.append(auc(np.take_along_axis(scores, judge[None], 0)[0], membership).value)
        print(f"{name:<22}{told(averaged):>18}{told(coin):>18}")


def told(values: list[float]) -> str:
    """Mean and Monte-Carlo standard error."""
    return f"{np.mean(values):.4f} ± {np.std(values) / np.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    main()
