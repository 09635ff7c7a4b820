"""Differences of numbers from two audits: unpaired from their intervals, paired where single records can be matched."""

from __future__ import annotations

import math

from auditor.stats._validate import check_count, check_fraction
from auditor.stats.estimate import Estimate

__all__ = ["paired_difference", "unpaired_difference"]


def unpaired_difference(new: Estimate, old: Estimate) -> Estimate:
    """Estimate `new - old` from the two intervals alone, taking them as independent.

    Each end of the interval is reached by the squares of the distances that the two estimates have to their ends (Zou
    and Donner 2008), so that lopsided intervals stay lopsided. Where both are of the same records they mostly rise and
    fall together, and the interval is wider than it had to be.

    Args:
        new: The one.
        old: The other, at the same confidence.

    Raises:
        ValueError: Their confidence differs.
    """
    if not math.isclose(new.confidence, old.confidence):
        raise ValueError(f"intervals at {new.confidence:g} and {old.confidence:g} confidence cannot be compared")
    value = new.value - old.value
    low = value - math.hypot(new.value - new.low, old.high - old.value)
    high = value + math.hypot(new.high - new.value, old.value - old.low)
    n = {f"{which} {unit}": count for which, one in (("new", new), ("old", old)) for unit, count in one.n.items()}
    return Estimate(value, low, high, new.confidence, "unpaired, from both intervals", n)


def paired_difference(gained: int, lost: int, pairs: int, *, confidence: float = 0.95, unit: str) -> Estimate:
    """Estimate by how much a share changed among the same units: `(gained - lost) / pairs`.

    A normal interval after one is added to either count (Bonett and Price 2012), so that it never has width zero.

    Args:
        gained: Units that count now and did not.
        lost: Units that counted and do not now.
        pairs: All units.
        confidence: Nominal coverage.
        unit: What one is, for `Estimate.n`.

    Raises:
        ValueError: There are no pairs, or fewer than counted.
    """
    from scipy import stats  # heavy, and what imports this module mostly asks for nothing that is paired

    check_count(pairs, name="pairs")
    if min(gained, lost) < 0 or gained + lost > pairs:
        raise ValueError(f"gained and lost must be counts of at most {pairs} pairs, got {gained} and {lost}")
    reach = float(stats.norm.ppf(0.5 + check_fraction(confidence, name="confidence") / 2))
    value, up, down = (gained - lost) / pairs, (gained + 1) / (pairs + 2), (lost + 1) / (pairs + 2)
    half = reach * math.sqrt((up + down - (up - down) ** 2) / (pairs + 2))
    low, high = max(up - down - half, -1.0), min(up - down + half, 1.0)
    return Estimate(value, min(low, value), max(high, value), confidence, "paired, Bonett-Price", {unit: pairs})
