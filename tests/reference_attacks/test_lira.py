"""LiRA against naive loops, by theory, and on what it must refuse."""

import numpy as np
import pytest
from scipy.stats import norm

from reference_attacks.membership import lira
from reference_attacks.membership.lira import LiRA

N_MODELS, N_RECORDS, N_QUERIES = 7, 9, 3
CENTRES = {"mean": np.mean, "median": np.median}


def unbalanced_signals(seed=0):
    """Random signals where the records have between 2 and 5 IN models."""
    rng = np.random.default_rng(seed)
    trained_on = np.stack([rng.permutation(N_MODELS) < 2 + record % 4 for record in range(N_RECORDS)], axis=1)
    scale = rng.uniform(0.5, 2.0, N_RECORDS)[:, None]
    shadows = rng.normal(size=(N_RECORDS, N_QUERIES)) + scale * rng.normal(size=(N_MODELS, N_RECORDS, N_QUERIES))
    return {
        "target_signal": rng.normal(size=(N_RECORDS, N_QUERIES)) * 2,
        "shadow_signal": shadows + 1.5 * trained_on[..., None],
        "shadow_membership": trained_on,
    }


def naive_sigma(shadows, groups, record, query, variance):
    """Sigma of the first group: its own spread, or the spread of all groups within records and around own means."""
    if variance == "per-record":
        values = [shadows[k, record, query] for k in range(N_MODELS) if groups[0][k, record]]
        return np.std(values)
    squares, freedom = 0.0, 0
    for group in groups:
        for i in range(N_RECORDS):
            values = [shadows[k, i, query] for k in range(N_MODELS) if group[k, i]]
            squares += sum((value - np.mean(values)) ** 2 for value in values)
            freedom += len(values) - 1
    return np.sqrt(squares / freedom)


def naive_online(target_signal, shadow_signal, shadow_membership, settings):
    inside, outside = shadow_membership, ~shadow_membership
    scores = []
    for i in range(N_RECORDS):
        ratios = []
        for q in range(N_QUERIES):
            density = []
            for group, other in ((inside, outside), (outside, inside)):
                centre = CENTRES[settings.centre](shadow_signal[group[:, i], i, q])
                sigma = naive_sigma(shadow_signal, (group, other), i, q, settings.variance)
                density.append(norm.logpdf(target_signal[i, q], centre, sigma))
            ratios.append(density[0] - density[1])
        scores.append(np.mean(ratios))
    return scores


def naive_offline(target_signal, shadow_signal, shadow_membership, settings):
    outside = ~shadow_membership
    scores = []
    for i in range(N_RECORDS):
        z = []
        for q in range(N_QUERIES):
            centre = CENTRES[settings.centre](shadow_signal[outside[:, i], i, q])
            z.append((target_signal[i, q] - centre) / naive_sigma(shadow_signal, (outside,), i, q, settings.variance))
        scores.append(np.mean(z))
    return scores


@pytest.mark.parametrize("centre", ["mean", "median"])
@pytest.mark.parametrize("variance", ["pooled", "per-record"])
@pytest.mark.parametrize(("attack", "naive"), [(lira.online, naive_online), (lira.offline, naive_offline)])
def test_agrees_with_the_naive_loop(attack, naive, variance, centre):
    signals, settings = unbalanced_signals(), LiRA(variance=variance, centre=centre)
    expected = naive(**signals, settings=settings)
    np.testing.assert_allclose(attack(**signals, settings=settings), expected, rtol=1e-9, atol=1e-9)


WORKED = {
    "target_signal": np.array([[2.5]]),
    "shadow_signal": np.array([2.0, 3.0, 4.0, 0.0, 1.0, 0.5]).reshape(6, 1, 1),
    "shadow_membership": np.array([True, True, True, False, False, False]).reshape(6, 1),
}


@pytest.mark.parametrize("centre", ["mean", "median"])
def test_worked_example(centre):
    settings = LiRA(variance="per-record", centre=centre)
    np.testing.assert_allclose(lira.online(**WORKED, settings=settings), [11.119352819440], atol=1e-11)
    np.testing.assert_allclose(lira.offline(**WORKED, settings=settings), [4.898979], atol=1e-6)


def test_worked_example_pooled():
    # Squares 2 (IN) and 0.5 (OUT) over 4 degrees of freedom; offline 0.5 over 2.
    np.testing.assert_allclose(lira.online(**WORKED), [(2.0**2 - 0.5**2) / (2 * 2.5 / 4)])
    np.testing.assert_allclose(lira.offline(**WORKED), [2.0 / np.sqrt(0.5 / 2)])


def test_pooled_sigma_is_unbiased_and_ignores_the_spread_between_records():
    rng = np.random.default_rng(1)
    trained_on = np.repeat([[True], [True], [False], [False]], 5000, axis=1)
    centres = 50 * rng.normal(size=(5000, 1))
    shadows = centres + 3.0 * rng.normal(size=(4, 5000, 1))
    at_centre = lira.offline(target_signal=centres, shadow_signal=shadows, shadow_membership=trained_on)
    # (centre - mean of two) / sigma has variance 1/2 only if sigma is the within-record 3.
    assert np.var(at_centre) == pytest.approx(0.5, rel=0.06)


def test_offline_does_not_look_at_in_models():
    signals = unbalanced_signals()
    changed = np.where(signals["shadow_membership"][..., None], 1e6, signals["shadow_signal"])
    np.testing.assert_array_equal(lira.offline(**signals), lira.offline(**{**signals, "shadow_signal": changed}))


@pytest.mark.parametrize("variance", ["pooled", "per-record"])
def test_offline_is_one_sided_and_online_rescales(variance):
    signals, settings = unbalanced_signals(), LiRA(variance=variance)
    low = {**signals, "target_signal": signals["target_signal"] - 100}
    assert (lira.offline(**low, settings=settings) < lira.offline(**signals, settings=settings)).all()
    scaled = {name: values if values.dtype == bool else 7 * values + 3 for name, values in signals.items()}
    for attack in (lira.online, lira.offline):
        np.testing.assert_allclose(attack(**scaled, settings=settings), attack(**signals, settings=settings))


def test_float32_signals_are_computed_in_float64():
    signals = unbalanced_signals()
    single = {name: values if values.dtype == bool else values.astype(np.float32) for name, values in signals.items()}
    double = {name: values if values.dtype == bool else values.astype(np.float64) for name, values in single.items()}
    np.testing.assert_array_equal(lira.online(**single), lira.online(**double))


def test_shadows_without_any_spread_stay_finite():
    signals = {**unbalanced_signals(), "shadow_signal": np.ones((N_MODELS, N_RECORDS, N_QUERIES))}
    for variance in ("pooled", "per-record"):
        for attack in (lira.online, lira.offline):
            assert np.isfinite(attack(**signals, settings=LiRA(variance=variance))).all()


def with_membership_of_record_2(column):
    trained_on = unbalanced_signals()["shadow_membership"].copy()
    trained_on[:, 2] = column
    return trained_on


ONE_IN = np.arange(N_MODELS) == 3


@pytest.mark.parametrize(
    ("attack", "variance", "column", "message"),
    [
        (lira.online, "pooled", False, "record 2 has 0 IN models, this attack needs 1"),
        (lira.online, "pooled", True, "record 2 has 0 OUT models, this attack needs 1"),
        (lira.online, "per-record", ONE_IN, "record 2 has 1 IN models, this attack needs 2"),
        (lira.online, "per-record", ~ONE_IN, "record 2 has 1 OUT models, this attack needs 2"),
        (lira.offline, "pooled", True, "record 2 has 0 OUT models, this attack needs 1"),
        (lira.offline, "per-record", ~ONE_IN, "record 2 has 1 OUT models, this attack needs 2"),
    ],
)
def test_a_record_without_enough_models_is_refused(attack, variance, column, message):
    signals = {**unbalanced_signals(), "shadow_membership": with_membership_of_record_2(column)}
    with pytest.raises(ValueError, match=message):
        attack(**signals, settings=LiRA(variance=variance))


def test_offline_needs_no_in_models_at_all():
    signals = {**unbalanced_signals(), "shadow_membership": np.zeros((N_MODELS, N_RECORDS), dtype=bool)}
    assert np.isfinite(lira.offline(**signals)).all()


def test_two_shadows_cannot_give_a_pooled_variance():
    signals = unbalanced_signals()
    pair = np.stack([signals["shadow_membership"][0], ~signals["shadow_membership"][0]])
    with pytest.raises(ValueError, match="train more shadows"):
        lira.online(
            target_signal=signals["target_signal"], shadow_signal=signals["shadow_signal"][:2], shadow_membership=pair
        )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("shadow_membership", lambda a: a.astype(int), "shadow_membership must be boolean, got int64"),
        ("shadow_membership", lambda a: a[:, :-1], "shadow_membership .* does not fit"),
        ("target_signal", lambda a: a[:, :1], "shadow_signal .* does not fit target_signal"),
        ("target_signal", lambda a: a[:, 0], r"target_signal must be a non-empty array \[record, query\]"),
        ("shadow_signal", lambda a: a * np.inf, "shadow_signal holds values that are not finite"),
    ],
)
def test_bad_arrays_are_named(name, change, message):
    signals = unbalanced_signals()
    with pytest.raises(ValueError, match=message):
        lira.online(**{**signals, name: change(signals[name])})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"variance": "fixed"}, "variance must be"),
        ({"centre": "mode"}, "centre must be"),
        ({"sigma_floor": 0.0}, "sigma_floor must be positive"),
        ({"sigma_floor": float("nan")}, "sigma_floor must be positive"),
    ],
)
def test_bad_settings_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        LiRA(**values)
