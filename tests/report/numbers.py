"""Estimates as the statistics would make them."""

from scipy.stats import beta

from auditor.stats.estimate import Estimate


def share(value: float, n: int, unit: str = "members") -> Estimate:
    hits = round(value * n)
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return Estimate(hits / n, low, high, 0.95, "Clopper-Pearson", {unit: n})


def about(value: float, half: float, n: dict[str, int], method: str = "t interval") -> Estimate:
    return Estimate(round(value, 6), round(value - half, 6), round(value + half, 6), 0.95, method, n)
