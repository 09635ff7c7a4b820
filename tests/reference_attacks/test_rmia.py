"""RMIA against naive loops over pairs, its order of ties, and what it must refuse."""

import numpy as np
import pytest
from scipy.stats import rankdata

from reference_attacks.membership import rmia
from reference_attacks.membership.rmia import RMIA

N_MODELS, N_RECORDS, N_POPULATION = 6, 11, 17


def random_probabilities(n_queries, seed=0):
    """Probabilities in 0..1 where every record has between one and five IN models."""
    rng = np.random.default_rng(seed)
    trained_on = np.stack([rng.permutation(N_MODELS) < 1 + record % 5 for record in range(N_RECORDS)], axis=1)
    return {
        "target_signal": rng.random((N_RECORDS, n_queries)),
        "shadow_signal": rng.random((N_MODELS, N_RECORDS, n_queries)),
        "shadow_membership": trained_on,
        "population_target_signal": rng.random((N_POPULATION, n_queries)),
        "population_shadow_signal": rng.random((N_MODELS, N_POPULATION, n_queries)),
    }


def naive_reference(shadows, trained_on, settings, *, is_online):
    """P(x) of one record and query from the signals of all models and which of them knew it (None: no model did)."""
    if is_online and trained_on is not None:
        inside = [p for p, known in zip(shadows, trained_on, strict=True) if known]
        outside = [p for p, known in zip(shadows, trained_on, strict=True) if not known]
        return 0.5 * (np.mean(inside) + np.mean(outside))
    if is_online:
        return np.mean(shadows)
    outside = shadows if trained_on is None else [p for p, known in zip(shadows, trained_on, strict=True) if not known]
    return 0.5 * ((1 + settings.a) * np.mean(outside) + (1 - settings.a))


def naive_scores(signals, settings, *, is_online):
    """Count pairs (x, z) one by one, then add the tie-breaker."""
    n_queries = signals["target_signal"].shape[1]
    scores = []
    for i in range(N_RECORDS):
        ratio_x = [
            signals["target_signal"][i, q]
            / naive_reference(
                signals["shadow_signal"][:, i, q], signals["shadow_membership"][:, i], settings, is_online=is_online
            )
            for q in range(n_queries)
        ]
        fraction = 0.0
        for j in range(N_POPULATION):
            votes = 0
            for q in range(n_queries):
                reference = naive_reference(
                    signals["population_shadow_signal"][:, j, q], None, settings, is_online=is_online
                )
                votes += ratio_x[q] / (signals["population_target_signal"][j, q] / reference) > settings.gamma
            if settings.queries == "mean":
                fraction += votes / n_queries
            else:
                fraction += 1.0 if 2 * votes > n_queries else 0.5 * (2 * votes == n_queries)
        voting = settings.queries == "majority" and n_queries > 1
        steps = N_POPULATION * (2 if voting else n_queries)
        margin = np.mean(np.log(ratio_x))
        scores.append(fraction / N_POPULATION + 0.5 * margin / (1 + abs(margin)) / steps)
    return scores


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("queries", ["majority", "mean"])
@pytest.mark.parametrize("n_queries", [1, 2, 3, 4])
@pytest.mark.parametrize("attack", [rmia.online, rmia.offline])
def test_agrees_with_the_naive_loop(attack, n_queries, queries, gamma):
    signals, settings = random_probabilities(n_queries), RMIA(gamma=gamma, a=0.4, queries=queries)
    expected = naive_scores(signals, settings, is_online=attack is rmia.online)
    np.testing.assert_allclose(attack(**signals, settings=settings), expected, rtol=1e-9, atol=1e-9)


def test_records_are_voted_on_in_chunks(monkeypatch):
    signals = random_probabilities(3)
    whole = rmia.online(**signals)
    monkeypatch.setattr(rmia, "_PAIRS_AT_ONCE", 2 * N_POPULATION + 1)
    np.testing.assert_array_equal(rmia.online(**signals), whole)


WORKED = {
    "target_signal": np.array([[0.9]]),
    "shadow_signal": np.array([0.5, 0.6, 0.4, 0.95, 0.9]).reshape(5, 1, 1),
    "shadow_membership": np.array([False, False, False, True, True]).reshape(5, 1),
    "population_target_signal": np.array([[0.7], [0.99], [0.3]]),
    "population_shadow_signal": np.repeat(np.array([[[0.6], [0.95], [0.5]]]), 5, axis=0),
}


@pytest.mark.parametrize(
    ("attack", "log_ratio"), [(rmia.online, np.log(1.2631578947)), (rmia.offline, np.log(1.3333333333))]
)
@pytest.mark.parametrize(("gamma", "beaten"), [(1.0, 3), (2.0, 1)])
def test_worked_example(attack, log_ratio, gamma, beaten):
    (score,) = attack(**WORKED, settings=RMIA(gamma=gamma, a=0.3))
    assert round(score * 3) == beaten
    # What is left beside the fraction is the tie-breaker, hence the ratio.
    left = 2 * (3 * score - beaten)
    assert left / (1 - left) == pytest.approx(log_ratio, abs=1e-9)


# r_z = 1.16666667, 1.04210526, 0.6 online; 0.94594595, 1.02325581, 0.44444444 offline.
@pytest.mark.parametrize(
    ("attack", "gamma", "beaten"),
    [
        (rmia.online, 1.0826, 3),
        (rmia.online, 1.0828, 2),
        (rmia.online, 1.2121, 2),
        (rmia.online, 1.2122, 1),
        (rmia.online, 2.1052, 1),
        (rmia.online, 2.1053, 0),
        (rmia.offline, 1.3030, 3),
        (rmia.offline, 1.3031, 2),
        (rmia.offline, 1.4095, 2),
        (rmia.offline, 1.4096, 1),
        (rmia.offline, 2.9999, 1),
        (rmia.offline, 3.0001, 0),
    ],
)
def test_worked_likelihood_ratios(attack, gamma, beaten):
    (score,) = attack(**WORKED, settings=RMIA(gamma=gamma, a=0.3))
    assert round(score * 3) == beaten


@pytest.mark.parametrize("attack", [rmia.online, rmia.offline])
def test_with_one_query_gamma_changes_the_grid_but_not_the_order(attack):
    signals = random_probabilities(1)
    scores = [attack(**signals, settings=RMIA(gamma=gamma)) for gamma in (0.01, 1.0, 2.0, 100.0)]
    fractions = [np.unique(np.round(score * N_POPULATION)) for score in scores]
    assert [values.tolist() for values in (fractions[0], fractions[3])] == [[N_POPULATION], [0]]
    assert len(fractions[1]) > 3
    for score in scores[1:]:
        np.testing.assert_array_equal(rankdata(score), rankdata(scores[0]))


def test_records_above_the_whole_population_are_ordered_by_their_ratio():
    confidence = np.array([[0.9], [0.99], [0.999999], [0.95]])
    scores = rmia.offline(
        target_signal=confidence,
        shadow_signal=np.full((2, 4, 1), 0.1),
        shadow_membership=np.zeros((2, 4), dtype=bool),
        population_target_signal=np.full((50, 1), 0.1),
        population_shadow_signal=np.full((2, 50, 1), 0.9),
    )
    np.testing.assert_array_equal(np.round(scores * 50), 50)
    np.testing.assert_array_equal(np.argsort(scores), [0, 3, 1, 2])


@pytest.mark.parametrize("queries", ["majority", "mean"])
def test_the_order_is_that_of_the_fraction_and_then_of_the_ratio(queries):
    signals = random_probabilities(3)
    signals["population_target_signal"][:] = signals["population_target_signal"][:1]
    signals["population_shadow_signal"][:] = signals["population_shadow_signal"][:, :1]
    reference = np.stack(
        [
            [naive_reference(signals["shadow_signal"][:, i, q], trained_on, RMIA(), is_online=True) for q in range(3)]
            for i, trained_on in enumerate(signals["shadow_membership"].T)
        ]
    )
    r_x = signals["target_signal"] / reference
    r_z = signals["population_target_signal"][0] / signals["population_shadow_signal"][:, 0].mean(axis=0)
    votes = (r_x > r_z).sum(axis=1)
    fraction = votes > 1.5 if queries == "majority" else votes / 3
    assert len(np.unique(fraction)) < N_RECORDS // 2
    scores = rmia.online(**signals, settings=RMIA(gamma=1.0, queries=queries))
    np.testing.assert_array_equal(np.argsort(scores), np.lexsort((np.log(r_x).mean(axis=1), fraction)))


@pytest.mark.parametrize("queries", ["majority", "mean"])
@pytest.mark.parametrize("n_queries", [1, 3])
def test_a_ratio_of_exactly_gamma_does_not_count(n_queries, queries):
    level = {
        name: a if a.dtype == bool else np.full_like(a, 0.5) for name, a in random_probabilities(n_queries).items()
    }
    scores = rmia.online(**level, settings=RMIA(gamma=1.0, queries=queries))
    np.testing.assert_array_equal(scores, np.zeros(N_RECORDS))


def test_offline_does_not_look_at_in_models():
    signals = random_probabilities(2)
    changed = np.where(signals["shadow_membership"][..., None], 1.0, signals["shadow_signal"])
    np.testing.assert_array_equal(rmia.offline(**signals), rmia.offline(**{**signals, "shadow_signal": changed}))


def test_probabilities_of_exactly_zero_stay_finite():
    zeros = {name: a if a.dtype == bool else np.zeros_like(a) for name, a in random_probabilities(2).items()}
    for attack in (rmia.online, rmia.offline):
        assert np.isfinite(attack(**zeros, settings=RMIA(a=1.0))).all()


@pytest.mark.parametrize(
    ("attack", "column", "message"),
    [
        (rmia.online, False, "record 4 has 0 IN models, this attack needs 1"),
        (rmia.online, True, "record 4 has 0 OUT models, this attack needs 1"),
        (rmia.offline, True, "record 4 has 0 OUT models, this attack needs 1"),
    ],
)
def test_a_record_without_enough_models_is_refused(attack, column, message):
    signals = random_probabilities(1)
    signals["shadow_membership"][:, 4] = column
    with pytest.raises(ValueError, match=message):
        attack(**signals)


def test_offline_needs_no_in_models_at_all():
    signals = {**random_probabilities(1), "shadow_membership": np.zeros((N_MODELS, N_RECORDS), dtype=bool)}
    assert np.isfinite(rmia.offline(**signals)).all()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("target_signal", lambda a: a * 3, "target_signal must hold probabilities"),
        ("shadow_signal", lambda a: -a, "shadow_signal must hold probabilities"),
        ("population_target_signal", lambda a: a * 3, "population_target_signal must hold probabilities"),
        ("population_shadow_signal", lambda a: a[:-1], "population's signals .* do not fit"),
        ("population_target_signal", lambda a: a[:-1], "population's signals .* do not fit"),
        ("population_target_signal", lambda a: a[:0], "population_target_signal must be a non-empty array"),
    ],
)
def test_bad_arrays_are_named(name, change, message):
    signals = random_probabilities(2)
    with pytest.raises(ValueError, match=message):
        rmia.online(**{**signals, name: change(signals[name])})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gamma": 0.0}, "gamma must be positive"),
        ({"a": 1.5}, "a must lie in"),
        ({"queries": "vote"}, "queries must be"),
    ],
)
def test_bad_settings_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        RMIA(**values)
