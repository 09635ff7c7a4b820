import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.stats.multiplicity import benjamini_hochberg, conformal_p_values, holm

p_value_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(deadline=None, derandomize=True)
@given(p_values=p_value_lists, alpha=st.floats(0.01, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    rejected = set()
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (len(p_values) - step) > alpha:
            break
        rejected.add(int(index))
    assert set(np.flatnonzero(holm(p_values) <= alpha)) == rejected


@settings(deadline=None, derandomize=True)
@given(p_values=p_value_lists)
def test_benjamini_hochberg_agrees_with_scipy(p_values):
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values))


def test_order_of_the_tests_does_not_matter():
    rng = np.random.default_rng(0)
    p_values, order = rng.random(20), rng.permutation(20)
    for adjust in (holm, benjamini_hochberg):
        assert adjust(p_values[order]) == pytest.approx(adjust(p_values)[order])
        assert np.all(adjust(p_values) >= p_values)


def test_holm_keeps_the_family_wise_error():
    rng = np.random.default_rng(1)
    wrong = sum(holm(rng.random(5)).min() <= 0.05 for _ in range(4000))
    assert stats.binomtest(wrong, 4000, 0.05).pvalue > 0.001


def test_conformal_rank_by_hand_counts_ties_against():
    assert conformal_p_values([5.0, 2.0, 0.0], [1.0, 2.0, 3.0]) == pytest.approx([1 / 4, 3 / 4, 1.0])


def test_conformal_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(2)
    p_values = np.array([conformal_p_values(rng.standard_normal(1), rng.standard_normal(19))[0] for _ in range(4000)])
    counts = np.bincount(np.rint(p_values * 20).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: holm([0.1, 1.1]), "p_values"),
        (lambda: holm([np.nan]), "p_values"),
        (lambda: benjamini_hochberg([[0.1]]), "p_values"),
        (lambda: conformal_p_values([1.0], []), "null_scores"),
        (lambda: conformal_p_values([np.inf], [1.0]), "scores"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(ValueError, match=name):
        call()
