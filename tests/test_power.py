"""What a number of records can decide: told before the run, and right at the edges."""

from dataclasses import replace
from pathlib import Path

import pytest

from auditor.battery.power import Trial, power_of
from auditor.findings import Metric
from auditor.limits import Limits
from auditor.stats.power import records_for_auc, smallest_detectable_auc, smallest_detectable_tpr

DOCUMENT = Path(__file__).parents[1] / "docs" / "policy.md"
USUAL = Trial(Limits(), 2_000, groups=None, auc_tests=3, tpr_tests=2)


def of(trial, metric):
    return next(one for one in power_of(trial) if one.metric is metric)


@pytest.mark.parametrize(
    ("changes", "auc", "tpr"),
    [
        ({}, True, True),
        ({"records": 1_000}, True, True),
        ({"records": 999}, True, False),
        ({"records": 100}, False, False),
        ({"records": 2}, False, False),
        ({"limits": Limits(auc=0.52)}, False, True),
        ({"limits": Limits(tpr=0.02)}, True, False),
        ({"limits": Limits(tpr=0.0101)}, True, False),
        ({"limits": Limits(auc=0.52, tpr=0.02), "records": 7_000}, True, True),
        ({"groups": 400}, True, False),
        ({"groups": 100}, False, False),
        ({"groups": 9, "limits": Limits(auc=0.95)}, False, False),
        ({"groups": 10, "limits": Limits(auc=0.95)}, True, False),
    ],
)
def test_which_limit_is_decided(changes, auc, tpr):
    trial = replace(USUAL, **changes)
    found = power_of(trial)
    assert [one.decided for one in found] == [auc, tpr]
    for one in found:
        assert one.decided == ("can decide" in one.sentence)
        assert one.decided != ("cannot" in one.sentence)
        assert one.needed is None or f"{one.needed:,} are needed" in one.sentence


@pytest.mark.parametrize("limits", [Limits(), Limits(auc=0.55, tpr=0.03), Limits(auc=0.52, tpr=0.02)])
@pytest.mark.parametrize("metric", Metric)
def test_the_number_that_is_needed_is_the_first_that_decides(limits, metric):
    needed = of(replace(USUAL, records=50, limits=limits), metric).needed
    assert of(replace(USUAL, records=needed, limits=limits), metric).decided
    assert not of(replace(USUAL, records=needed - 1, limits=limits), metric).decided


def test_the_level_is_what_the_correction_leaves():
    few, many = replace(USUAL, records=999), USUAL
    assert [one.level for one in power_of(few)] == [0.05 / 3, 0.05 / 5]
    assert [one.level for one in power_of(many)] == [0.05 / 5] * 2
    assert [one.level for one in power_of(replace(many, groups=50))] == [0.05 / 3] * 2
    found = power_of(many)
    assert found[0].smallest == smallest_detectable_auc(2_000, 2_000, alpha=0.01)
    assert found[0].needed == records_for_auc(0.6, alpha=0.01)
    assert found[1].smallest == smallest_detectable_tpr(2_000, 2_000, 0.01, alpha=0.01)


@pytest.mark.parametrize("changes", [{"records": 2}, {"groups": 9}])
def test_where_nothing_can_be_found_no_number_is_told(changes):
    assert [one.smallest for one in power_of(replace(USUAL, **changes))] == [None, None]


def test_groups_are_not_told_as_records():
    auc, tpr = power_of(replace(USUAL, groups=25))
    assert (auc.n, auc.grouped) == (25, True)
    assert auc.smallest == smallest_detectable_auc(25, 25, alpha=0.05 / 3)
    assert "25 groups a side" in auc.sentence
    assert "records come in groups" in tpr.sentence


def test_only_what_is_tested_is_told():
    assert power_of(replace(USUAL, auc_tests=0, tpr_tests=0)) == ()
    assert [one.metric for one in power_of(replace(USUAL, auc_tests=1, tpr_tests=0))] == [Metric.AUC]


def test_the_documented_numbers_are_those_that_are_computed():
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    for n in (1_000, 2_000, 5_000, 10_000):
        auc, tpr = (one.smallest for one in power_of(replace(USUAL, records=n)))
        assert f"| {n:,} | {auc:.3f} | {100 * tpr:.1f} % |" in text
    for auc_limit, tpr_limit in ((0.55, 0.03), (0.52, 0.02)):
        auc, tpr = (one.needed for one in power_of(replace(USUAL, limits=Limits(auc=auc_limit, tpr=tpr_limit))))
        assert f"of {auc_limit} takes {auc:,}" in text
        assert f"of {tpr_limit:.0%} takes {tpr:,}".replace("%", " %") in text
