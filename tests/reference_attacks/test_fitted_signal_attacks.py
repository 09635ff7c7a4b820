"""Attacks that fit something: Student-t LiRA, regressions over shadows or non-members, networks, combinations."""

import numpy as np
import pytest
from scipy.optimize import root
from scipy.special import expit
from scipy.stats import norm, rankdata, t
from sklearn.linear_model import LogisticRegression

from reference_attacks.membership import combination, instance_probability, lira, quantile, rapid
from reference_attacks.membership._learners import Network
from reference_attacks.membership.combination import Combination
from reference_attacks.membership.instance_probability import InstanceProbability
from reference_attacks.membership.lira import LiRA
from reference_attacks.membership.quantile import Quantile
from reference_attacks.membership.rapid import RAPID
from tests.reference_attacks.test_membership_attacks import auc, make_world

STUDENT_T = LiRA(variance="student-t")


def unbalanced(n_models=7, n_records=9, n_queries=3):
    """Random signals where the records have between 2 and 5 IN models, and spreads of their own."""
    rng = np.random.default_rng(0)
    trained_on = np.stack([rng.permutation(n_models) < 2 + record % 4 for record in range(n_records)], axis=1)
    scale = rng.uniform(0.5, 3.0, n_records)[:, None]
    return {
        "target_signal": rng.normal(size=(n_records, n_queries)) * 2,
        "shadow_signal": scale * rng.normal(size=(n_models, n_records, n_queries)) + trained_on[..., None],
        "shadow_membership": trained_on,
    }


def naive_posteriors(groups):
    """Degrees of freedom and scale of every record, from its groups of values around their own means."""
    squares = np.array([sum(((g - g.mean()) ** 2).sum() for g in record) for record in groups])
    freedom = np.array([sum(len(g) - 1 for g in record) for record in groups])
    variance = squares / freedom
    first = variance.mean()
    spread = max((variance**2 / (1 + 2 / freedom)).mean() - first**2, 1e-6 * first**2)
    shape = 2 + first**2 / spread
    rate = first * (shape - 1)
    shape, rate = shape + freedom / 2, rate + squares / 2
    return 2 * shape, np.sqrt(rate / shape)


def groups_of(inputs, query, *, with_in):
    shadows, trained_on = inputs["shadow_signal"], inputs["shadow_membership"]
    out = [shadows[~trained_on[:, i], i, query] for i in range(shadows.shape[1])]
    return [[shadows[trained_on[:, i], i, query], o] if with_in else [o] for i, o in enumerate(out)]


def test_student_t_online_agrees_with_the_naive_loop():
    inputs = unbalanced()
    scores = np.zeros((9, 3))
    for q in range(3):
        groups = groups_of(inputs, q, with_in=True)
        freedom, sigma = naive_posteriors(groups)
        for i, pair in enumerate(groups):
            density = [
                t.logpdf(inputs["target_signal"][i, q], freedom[i], g.mean(), sigma[i] * np.sqrt(1 + 1 / len(g)))
                for g in pair
            ]
            scores[i, q] = density[0] - density[1]
    np.testing.assert_allclose(lira.online(**inputs, settings=STUDENT_T), scores.mean(axis=1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("query", [0, 1, 2])
def test_student_t_offline_is_the_cdf_as_a_normal_deviate(query):
    inputs = unbalanced()
    one = {name: values if values.dtype == bool else values[..., [query]] for name, values in inputs.items()}
    groups = groups_of(inputs, query, with_in=False)
    freedom, sigma = naive_posteriors(groups)
    cdf = [
        t.cdf(inputs["target_signal"][i, query], freedom[i], g.mean(), sigma[i] * np.sqrt(1 + 1 / len(g)))
        for i, (g,) in enumerate(groups)
    ]
    np.testing.assert_allclose(norm.cdf(lira.offline(**one, settings=STUDENT_T)), cdf, atol=2e-3)


def test_student_t_offline_ranks_by_the_cdf_exactly_where_the_out_models_are_equally_many():
    rng = np.random.default_rng(1)
    shadows = rng.normal(size=(5, 400, 1)) * rng.uniform(0.5, 3, (400, 1))
    inputs = {
        "target_signal": 4 * rng.normal(size=(400, 1)),
        "shadow_signal": shadows,
        "shadow_membership": np.zeros((5, 400), dtype=bool),
    }
    freedom, sigma = naive_posteriors([[shadows[:, i, 0]] for i in range(400)])
    scale = sigma * np.sqrt(1 + 1 / 5)
    expected = t.logsf((inputs["target_signal"][:, 0] - shadows.mean(axis=0)[:, 0]) / scale, freedom)
    np.testing.assert_array_equal(rankdata(lira.offline(**inputs, settings=STUDENT_T)), rankdata(-expected))


def varied_spreads(n_models, seed=2, n_records=4000):
    """Records whose spreads over retrainings differ much, half of them members."""
    rng = np.random.default_rng(seed)
    members = np.arange(n_records) < n_records // 2
    trained_on = np.repeat(np.arange(n_models)[:, None] % 2 == 0, n_records, axis=1)
    sigma = np.sqrt(1 / rng.gamma(2.5, 1 / 1.5, n_records))
    centre = 3 * rng.normal(size=n_records)

    def draw(is_in):
        return (centre + sigma * rng.normal(size=is_in.shape) + 1.5 * is_in)[..., None]

    return members, {
        "target_signal": draw(members),
        "shadow_signal": draw(trained_on),
        "shadow_membership": trained_on,
    }


@pytest.mark.parametrize("attack", [lira.online, lira.offline])
def test_student_t_beats_both_gaussians_with_few_shadows(attack):
    members, inputs = varied_spreads(8)
    area = {v: auc(attack(**inputs, settings=LiRA(variance=v)), members) for v in ("student-t", "pooled", "per-record")}
    assert area["student-t"] > area["pooled"]
    assert area["student-t"] > area["per-record"]


@pytest.mark.parametrize("attack", [lira.online, lira.offline])
def test_student_t_stays_finite_and_keeps_units(attack):
    inputs = unbalanced()
    for change in ({"shadow_signal": np.ones((7, 9, 3))}, {"target_signal": np.full((9, 3), 1e12)}):
        assert np.isfinite(attack(**{**inputs, **change}, settings=STUDENT_T)).all()
    scaled = {name: values if values.dtype == bool else 7 * values + 3 for name, values in inputs.items()}
    np.testing.assert_allclose(attack(**scaled, settings=STUDENT_T), attack(**inputs, settings=STUDENT_T))


def test_student_t_takes_records_with_one_model_of_a_status():
    inputs = unbalanced()
    inputs["shadow_membership"][:, 2] = np.arange(7) == 3
    assert np.isfinite(lira.online(**inputs, settings=STUDENT_T)).all()
    inputs["shadow_membership"][:, 2] = np.arange(7) != 3
    assert np.isfinite(lira.offline(**inputs, settings=STUDENT_T)).all()


@pytest.mark.parametrize("variance", ["pooled", "per-record"])
def test_two_sided_is_the_negative_log_density(variance):
    inputs = unbalanced()
    settings = LiRA(variance=variance)
    squares = [[((g - g.mean()) ** 2).sum() for (g,) in groups_of(inputs, q, with_in=False)] for q in range(3)]
    freedom = (~inputs["shadow_membership"]).sum() - 9
    expected = np.zeros((9, 3))
    for q in range(3):
        for i, (g,) in enumerate(groups_of(inputs, q, with_in=False)):
            sigma = np.sqrt(sum(squares[q]) / freedom) if variance == "pooled" else g.std()
            expected[i, q] = -norm.logpdf(inputs["target_signal"][i, q], g.mean(), sigma)
    np.testing.assert_allclose(
        lira.offline_two_sided(**inputs, settings=settings), expected.mean(axis=1), rtol=1e-9, atol=1e-9
    )


def test_two_sided_calls_an_unusually_low_signal_a_member_and_offline_does_not():
    inputs = unbalanced()
    low = {**inputs, "target_signal": inputs["target_signal"] - 100}
    assert (lira.offline_two_sided(**low) > lira.offline_two_sided(**inputs)).all()
    for settings in (LiRA(), STUDENT_T):
        assert (lira.offline(**low, settings=settings) < lira.offline(**inputs, settings=settings)).all()


def confidences():
    return {name: values if values.dtype == bool else expit(values) for name, values in unbalanced().items()}


def rescaled(p):
    return np.log(0.01 + p) - np.log(1.01 - p)


@pytest.mark.parametrize("weight", [0.1, 1.0, 1000.0])
def test_instance_probability_solves_each_regression(weight):
    inputs = confidences()
    target, shadows = rescaled(inputs["target_signal"]), rescaled(inputs["shadow_signal"])
    expected = np.zeros((9, 3))
    for i in range(9):
        status = inputs["shadow_membership"][:, i].astype(float)
        for q in range(3):
            v = shadows[:, i, q]

            def gradient(x, v=v, status=status):
                error = weight * (expit(x[0] * v + x[1]) - status)
                return [x[0] + error @ v, error.sum()]

            start = LogisticRegression(C=weight, tol=1e-8, max_iter=10_000).fit(v[:, None], status)
            slope, intercept = root(gradient, [start.coef_[0, 0], start.intercept_[0]], tol=1e-13).x
            expected[i, q] = slope * target[i, q] + intercept - np.log(status.sum() / (7 - status.sum()))
    scores = instance_probability.score(**inputs, settings=InstanceProbability(inverse_penalty=weight))
    np.testing.assert_allclose(scores, expected.mean(axis=1), rtol=1e-8, atol=1e-9)


def test_instance_probability_survives_separation_and_saturation():
    trained_on = np.repeat([[True], [True], [False], [False]], 3, axis=1)
    shadows = np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.0, 1.0, 0.5], [0.0, 1.0, 0.5]])[..., None]
    inputs = {
        "target_signal": np.array([[1.0], [1.0], [0.9]]),
        "shadow_signal": shadows,
        "shadow_membership": trained_on,
    }
    scores = instance_probability.score(**inputs, settings=InstanceProbability(inverse_penalty=1e6))
    assert np.isfinite(scores).all()
    assert scores[0] > 1
    # Where IN and OUT shadows are alike nothing is learned.
    np.testing.assert_allclose(scores[1:], 0.0, atol=1e-9)


def test_instance_probability_does_not_count_in_models():
    more_in = {
        "target_signal": np.array([[0.7]]),
        "shadow_signal": np.full((5, 1, 1), 0.7),
        "shadow_membership": np.array([True, True, True, True, False])[:, None],
    }
    np.testing.assert_allclose(instance_probability.score(**more_in), [0.0], atol=1e-9)


def difficult_records(leak, *, seed, n_records=2000, n_population=600, noise=1.0):
    """Margins that depend on four features, with a noise that depends on the first; half are members."""
    rng = np.random.default_rng(seed)
    members = rng.random(n_records) < 0.5

    def draw(n):
        features = rng.normal(size=(n, 4))
        mean = features @ [2.0, -1.0, 0.5, 0.0] + 3
        return features, mean + noise * np.exp(0.5 * features[:, 0]) * rng.normal(size=n)

    record_features, margin = draw(n_records)
    population_features, population = draw(n_population)
    return members, {
        "target_signal": margin + leak * members,
        "record_features": record_features,
        "population_target_signal": population,
        "population_features": population_features,
    }


REGRESSORS = [Quantile(), Quantile(regressor="boosting")]


@pytest.mark.parametrize("settings", REGRESSORS)
def test_quantile_finds_what_the_margin_alone_does_not(settings):
    members, inputs = difficult_records(1.5, seed=3)
    found = auc(quantile.score(**inputs, settings=settings), members)
    assert found > 0.75
    assert found > auc(inputs["target_signal"], members) + 0.08


@pytest.mark.parametrize("settings", REGRESSORS)
def test_quantile_finds_nothing_where_there_is_nothing(settings):
    members, inputs = difficult_records(0.0, seed=4, n_records=4000)
    assert auc(quantile.score(**inputs, settings=settings), members) == pytest.approx(0.5, abs=0.035)


def test_quantile_scores_of_non_members_are_standard_normal_everywhere():
    moments = []
    for seed in range(10):
        _, inputs = difficult_records(0.0, seed=seed, n_records=4000, n_population=2000)
        scores = quantile.score(**inputs)
        parts = np.array_split(np.argsort(inputs["record_features"][:, 0]), 4)
        moments.append([(scores[part].mean(), scores[part].std()) for part in parts])
    # One regression errs by up to .07 (standard error) where the noise is small, hence the mean of ten.
    np.testing.assert_allclose(np.mean(moments, axis=0), np.tile([0.0, 1.0], (4, 1)), atol=0.09)


@pytest.mark.parametrize("settings", REGRESSORS)
def test_quantile_keeps_units_and_judges_each_record_alone(settings):
    _, inputs = difficult_records(1.0, seed=6, n_records=200, n_population=120)
    scores = quantile.score(**inputs, settings=settings)
    order = np.random.default_rng(7).permutation(200)
    moved = {**inputs, **{name: inputs[name][order] for name in ("target_signal", "record_features")}}
    np.testing.assert_allclose(quantile.score(**moved, settings=settings), scores[order], rtol=1e-9, atol=1e-9)
    scaled = {
        **inputs,
        **{name: 64 * inputs[name] for name in ("target_signal", "population_target_signal")},
    }
    np.testing.assert_allclose(quantile.score(**scaled, settings=settings), scores, rtol=1e-3, atol=1e-3)


def test_quantile_bears_features_that_tell_nothing():
    _, inputs = difficult_records(1.0, seed=8, n_records=50, n_population=40)
    blind = {**inputs, "record_features": np.ones((50, 2)), "population_features": np.ones((40, 2))}
    scores = quantile.score(**blind)
    np.testing.assert_array_equal(rankdata(scores), rankdata(inputs["target_signal"]))


QUICK = RAPID(network=Network(hidden=(32,), learning_rate=1e-3, weight_decay=5e-4, epochs=8, batch_size=128))
# Pairs of complementary shadows are (k, k + 8): references and training shadows share none.
REFERENCES, TRAINING = [0, 1, 8, 9], [2, 3, 10, 11]


def rapid_inputs(leak, *, seed, n_records=600):
    world = make_world(leak, seed=seed, n_records=n_records)

    def loss(margin):
        return np.logaddexp(0.0, -margin)

    return world.members, {
        "target_signal": loss(world.margin),
        "reference_signal": loss(world.shadow_margin[REFERENCES]),
        "reference_membership": world.trained_on[REFERENCES],
        "shadow_signal": loss(world.shadow_margin[TRAINING]),
        "shadow_membership": world.trained_on[TRAINING],
    }


def test_rapid_finds_a_planted_leak_beyond_the_loss():
    members, inputs = rapid_inputs(1.5, seed=1)
    found = auc(rapid.score(**inputs, rng=np.random.default_rng(0)), members)
    assert found > 0.75
    assert found > auc(-inputs["target_signal"].mean(axis=1), members)


def test_rapid_finds_nothing_where_there_is_nothing():
    members, inputs = rapid_inputs(0.0, seed=2, n_records=3000)
    scores = rapid.score(**inputs, rng=np.random.default_rng(0), settings=QUICK)
    assert auc(scores, members) == pytest.approx(0.5, abs=0.035)


def test_rapid_depends_on_its_generator_only_and_not_on_the_order():
    _, inputs = rapid_inputs(1.0, seed=3, n_records=100)
    for values in inputs.values():
        values.flags.writeable = False
    before = {name: values.copy() for name, values in inputs.items()}
    scores = rapid.score(**inputs, rng=np.random.default_rng(5), settings=QUICK)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, rapid.score(**inputs, rng=np.random.default_rng(5), settings=QUICK))
    assert (scores != rapid.score(**inputs, rng=np.random.default_rng(6), settings=QUICK)).any()
    order, models = np.random.default_rng(4).permutation(100), [3, 1, 0, 2]
    moved = {
        name: values[order] if name == "target_signal" else values[models][:, order] for name, values in inputs.items()
    }
    again = rapid.score(**moved, rng=np.random.default_rng(5), settings=QUICK)
    np.testing.assert_allclose(again, scores[order], rtol=1e-6, atol=1e-6)
    for name, values in before.items():
        np.testing.assert_array_equal(inputs[name], values)


def test_rapid_looks_at_no_in_reference():
    _, inputs = rapid_inputs(1.0, seed=3, n_records=60)
    hidden = np.where(inputs["reference_membership"][..., None], 9.0, inputs["reference_signal"])
    np.testing.assert_array_equal(
        rapid.score(**{**inputs, "reference_signal": hidden}, rng=np.random.default_rng(0), settings=QUICK),
        rapid.score(**inputs, rng=np.random.default_rng(0), settings=QUICK),
    )


def attack_scores(leak, *, seed, n_records=2000):
    """Two attacks that see different things on wild scales, and one that sees nothing."""
    rng = np.random.default_rng(seed)
    members = rng.random(n_records) < 0.5
    first = np.sinh(1.5 * (rng.normal(size=n_records) + leak * members))
    second = 1e-3 * (rng.normal(size=n_records) + leak * members) + 7
    return members, np.stack([first, second, rng.normal(size=n_records)]), rng.random(n_records) < 0.5


def combined_for(scores, members, half):
    """Fitted to one half, for the records of the other."""
    return combination.score(
        fitting_scores=scores[:, half], fitting_membership=members[half], judged_scores=scores[:, ~half]
    )


def test_combination_finds_more_than_its_best_part():
    members, scores, half = attack_scores(1.0, seed=1)
    combined = combined_for(scores, members, half)
    assert auc(combined, members[~half]) > max(auc(part, members[~half]) for part in scores[:, ~half]) + 0.03


def test_combination_of_nothing_is_nothing():
    areas = []
    for seed in range(20):
        members, scores, half = attack_scores(0.0, seed=seed, n_records=300)
        areas.append(auc(combined_for(scores, members, half), members[~half]))
    # The mean of 20 areas with a standard error of about .047 each.
    assert np.mean(areas) == pytest.approx(0.5, abs=0.03)


def test_combination_judges_records_one_by_one_in_any_unit():
    members, scores, half = attack_scores(1.0, seed=5, n_records=100)
    fitting = {"fitting_scores": scores[:, half], "fitting_membership": members[half]}
    odds = combination.score(**fitting, judged_scores=scores[:, ~half])
    np.testing.assert_allclose(combination.score(**fitting, judged_scores=scores[:, ~half][:, :3]), odds[:3])
    order = np.random.default_rng(6).permutation(half.sum())
    moved = {"fitting_scores": scores[:, half][:, order], "fitting_membership": members[half][order]}
    np.testing.assert_allclose(combination.score(**moved, judged_scores=scores[:, ~half]), odds, rtol=1e-7, atol=1e-8)
    unit = np.array([[10.0], [1e-3], [4.0]])
    scaled = combination.score(
        fitting_scores=unit * scores[:, half] + 5,
        fitting_membership=members[half],
        judged_scores=unit * scores[:, ~half] + 5,
    )
    np.testing.assert_allclose(scaled, odds, rtol=1e-6, atol=1e-6)


def test_combination_bears_a_constant_and_a_doubled_attack():
    members, scores, half = attack_scores(1.0, seed=7, n_records=100)
    more = np.concatenate([scores, scores[:1], np.ones((1, 100))])
    combined = combined_for(more, members, half)
    assert np.isfinite(combined).all()
    assert auc(combined, members[~half]) > 0.75


def test_regression_and_combination_leave_their_inputs_alone():
    members, scores, half = attack_scores(1.0, seed=9, n_records=40)
    _, inputs = difficult_records(1.0, seed=10, n_records=40, n_population=30)
    arrays = [members, scores, half, *inputs.values()]
    before = [values.copy() for values in arrays]
    for values in arrays:
        values.flags.writeable = False
    combined_for(scores, members, half)
    for settings in REGRESSORS:
        quantile.score(**inputs, settings=settings)
    for values, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(values, copy)


def quantile_with(**change):
    _, inputs = difficult_records(0.0, seed=11, n_records=10, n_population=30)
    return quantile.score(**{**inputs, **change})


def rapid_with(**change):
    _, inputs = rapid_inputs(0.0, seed=12, n_records=10)
    return rapid.score(**{**inputs, **change}, rng=np.random.default_rng(0))


def combination_with(**change):
    inputs = {
        "fitting_scores": np.zeros((2, 4)),
        "fitting_membership": np.arange(4) < 2,
        "judged_scores": np.zeros((2, 4)),
    }
    return combination.score(**{**inputs, **change})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LiRA(variance="student-t", centre="median"), 'variance "student-t" needs centre "mean"'),
        (lambda: lira.offline_two_sided(**unbalanced(), settings=STUDENT_T), "variance must be"),
        (
            lambda: lira.offline(
                target_signal=np.zeros((2, 1)),
                shadow_signal=np.zeros((1, 2, 1)),
                shadow_membership=np.zeros((1, 2), dtype=bool),
                settings=STUDENT_T,
            ),
            "train more shadows",
        ),
        (lambda: instance_probability.score(**unbalanced()), r"target_signal must hold probabilities in 0\.\.1"),
        (
            lambda: instance_probability.score(**{**confidences(), "shadow_membership": np.ones((7, 9), dtype=bool)}),
            "record 0 has 0 OUT models",
        ),
        (lambda: InstanceProbability(inverse_penalty=0.0), "inverse_penalty must be positive"),
        (lambda: quantile_with(record_features=np.zeros((9, 4))), "record_features has 9 records"),
        (lambda: quantile_with(record_features=np.zeros((10, 3))), "the population has 4 features, the records have 3"),
        (lambda: quantile_with(population_target_signal=np.zeros(30)), "is constant"),
        (
            lambda: quantile_with(population_target_signal=np.zeros(9), population_features=np.zeros((9, 4))),
            "the population has 9 records, a regression needs 20",
        ),
        (lambda: quantile_with(target_signal=np.zeros((10, 1))), r"target_signal must be a non-empty array \[record\]"),
        (lambda: Quantile(regressor="forest"), "regressor must be"),
        (lambda: Quantile(folds=1), "folds must lie"),
        (lambda: Quantile(scale_range=0.5), "scale_range must be at least 1"),
        (lambda: rapid_with(reference_membership=np.ones((4, 10), dtype=bool)), "record 0 has 0 OUT models"),
        (lambda: rapid_with(reference_membership=np.ones((4, 10))), "reference_membership must be boolean"),
        (lambda: rapid_with(reference_signal=np.zeros((4, 9, 2))), "reference_signal .* does not fit target_signal"),
        (lambda: rapid_with(shadow_membership=np.ones((4, 10), dtype=bool)), "must hold members and non-members"),
        (lambda: combination_with(fitting_membership=np.arange(4)), "membership must be 4 booleans"),
        (lambda: combination_with(fitting_membership=np.ones(4, dtype=bool)), "must hold members and non-members"),
        (
            lambda: combination_with(judged_scores=np.full((2, 4), np.nan)),
            "judged_scores holds values that are not finite",
        ),
        (
            lambda: combination_with(judged_scores=np.zeros((3, 4))),
            "fitting_scores has 2 attacks, judged_scores has 3",
        ),
        (lambda: Combination(inverse_penalty=-1.0), "inverse_penalty must be positive"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
