import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from auditor.stats.intervals import proportion
from auditor.stats.roc import roc_band, roc_curve, thin_roc


@st.composite
def scored_records(draw):
    size = draw(st.integers(2, 60))
    scores = draw(st.lists(st.sampled_from([-1.5, 0.0, 0.25, 1.0, 7.0]), min_size=size, max_size=size))
    membership = draw(st.lists(st.booleans(), min_size=size - 2, max_size=size - 2))
    return np.array(scores), np.array([True, False, *membership])


@settings(deadline=None, derandomize=True)
@given(records=scored_records())
def test_agrees_with_sklearn_point_by_point_with_ties(records):
    scores, membership = records
    roc = roc_curve(scores, membership)
    fpr, tpr, thresholds = metrics.roc_curve(membership, scores, drop_intermediate=False)
    assert roc.fpr == pytest.approx(fpr)
    assert roc.tpr == pytest.approx(tpr)
    assert np.array_equal(roc.thresholds, thresholds)


def test_four_points_by_hand():
    roc = roc_curve([0.9, 0.8, 0.7, 0.1], np.array([True, False, True, False]))
    assert roc.fpr.tolist() == [0, 0, 0.5, 0.5, 1]
    assert roc.tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    assert roc.thresholds.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.1]


def test_thinning_picks_points_of_the_curve_and_keeps_its_low_end():
    rng = np.random.default_rng(0)
    membership = np.arange(20_000) % 2 == 0
    roc = roc_curve(rng.standard_normal(20_000) + membership, membership)
    thin = thin_roc(roc, points=150)
    own = set(zip(roc.fpr, roc.tpr, roc.thresholds, strict=True))
    assert thin.fpr.size <= 150
    assert set(zip(thin.fpr, thin.tpr, thin.thresholds, strict=True)) <= own
    assert (thin.fpr[0], thin.tpr[0]) == (0, 0)
    assert (thin.fpr[-1], thin.tpr[-1]) == (1, 1)
    assert roc.tpr[roc.fpr == 0].max() in thin.tpr[thin.fpr == 0]
    for kept in (1e-4, 2e-4, 3e-4):
        assert np.isclose(thin.fpr, kept).any()


def test_a_short_curve_is_not_thinned():
    roc = roc_curve([2.0, 1.0, 0.0], np.array([True, False, True]))
    assert thin_roc(roc) is roc


def test_band_is_the_exact_interval_at_each_point():
    rng = np.random.default_rng(1)
    membership = rng.random(60) < 0.5
    roc = roc_curve(rng.standard_normal(60), membership)
    members = int(membership.sum())
    band = roc_band(roc, members, 0.9)
    for low, high, tpr in zip(band.low, band.high, roc.tpr, strict=True):
        exact = proportion(round(tpr * members), members, confidence=0.9, unit="members")
        assert (low, high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(
    ("scores", "membership", "name"),
    [
        ([[1.0, 2.0]], [True, False], "scores"),
        ([1.0, np.nan], [True, False], "scores"),
        ([1.0, np.inf], [True, False], "scores"),
        ([1.0, 2.0], [True, False, True], "membership"),
        ([1.0, 2.0], [True, True], "membership"),
        ([1.0, 2.0], [False, False], "membership"),
        ([1.0, 2.0], [1, -1], "membership"),
        ([], [], "membership"),
    ],
)
def test_bad_input_is_named(scores, membership, name):
    with pytest.raises(ValueError, match=name):
        roc_curve(scores, membership)


def test_bad_settings_are_named():
    roc = roc_curve([2.0, 1.0], np.array([True, False]))
    with pytest.raises(ValueError, match="points"):
        thin_roc(roc, points=2)
    with pytest.raises(ValueError, match="n_members"):
        roc_band(roc, 0, 0.95)
