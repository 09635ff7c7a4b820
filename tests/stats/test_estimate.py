"""Bounds are rounded up wherever they are printed."""

import pytest

from auditor.gate.numbers import bound_apart
from auditor.stats.estimate import rounded_up


@pytest.mark.parametrize("bound", [0.5249, 0.5949, 0.05001, 0.9961, 0.99999, 1.0, 0.0031, -0.0137, 0.6])
def test_what_is_printed_is_never_under_the_bound(bound):
    assert bound <= float(bound_apart(bound, 0.6, "")) + 1e-12
    assert bound <= float(bound_apart(bound, 0.05, "share").split()[0]) / 100 + 1e-12
    assert all(rounded_up(bound, decimals) >= bound - 1e-12 for decimals in range(6))
    assert bound <= float(bound_apart(bound, 0.6, "excess")) + 1e-12


@pytest.mark.parametrize(
    ("bound", "limit", "unit", "told"),
    [
        (0.5949, 0.6, "", "0.595"),
        (0.59961, 0.6, "", "0.5997"),
        (0.0499, 0.05, "share", "4.99 %"),
        (0.5249, 0.6, "", "0.525"),
    ],
)
def test_a_bound_is_told_apart_from_its_limit(bound, limit, unit, told):
    assert bound_apart(bound, limit, unit) == told
