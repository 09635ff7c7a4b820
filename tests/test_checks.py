from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from auditor.checks import groups
from auditor.findings import CheckLevel, Void
from tests.worlds import world


@pytest.fixture(scope="module")
def jury():
    return world(n=100, shadows=4).jury


def judged(jury, own):
    """The check, with the same division into groups [record] on either side."""
    return groups(SimpleNamespace(jury=replace(jury, groups=np.concatenate([own, own + 1000]))))


def test_records_without_groups_are_not_checked(jury):
    assert groups(SimpleNamespace(jury=jury)) is None


@pytest.mark.parametrize(("own", "worth"), [(np.maximum(np.arange(100) - 88, 0), "1.3"), (np.arange(100) % 9, "9.0")])
def test_too_few_effective_groups_void_every_verdict(jury, own, worth):
    check = judged(jury, own)
    assert check.level is CheckLevel.FAIL
    assert set(check.voids) == {Void.LEAK_FOUND, Void.NOTHING_FOUND, Void.PER_RECORD}
    assert f"worth {worth} equal ones among members" in check.sentence


def test_ten_equal_groups_a_side_are_enough(jury):
    check = judged(jury, np.arange(100) % 10)
    assert (check.level, check.voids) == (CheckLevel.PASS, ())
    assert "20 groups" in check.sentence
