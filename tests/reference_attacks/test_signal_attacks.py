"""Attacks that read the signals through a formula: one table of what holds for all, then each against naive loops."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import rankdata

from reference_attacks.membership import (
    attack_r,
    base,
    confidence,
    difficulty,
    entropy,
    instance_probability,
    lira,
    per_class,
    rmia,
    signals,
)
from reference_attacks.membership.attack_r import AttackR
from reference_attacks.membership.base import BASE
from reference_attacks.membership.lira import LiRA
from reference_attacks.membership.per_class import PerClass
from tests.reference_attacks.test_membership_attacks import N_CLASSES, auc, make_world

GAUSSIAN = AttackR(estimate="logit-gaussian")
STUDENT_T = LiRA(variance="student-t")


def probabilities(margin, labels):
    """The label's probability from the first query's margin, the rest spread evenly [record, class]."""
    p_y = expit(margin[:, :1])
    return np.where(labels[:, None] == np.arange(N_CLASSES), p_y, (1 - p_y) / (N_CLASSES - 1))


def run_confidence(world):
    return confidence.score(target_signal=expit(world.margin))


def run_entropy(world):
    return entropy.score(target_signal=signals.entropy(world.probabilities)[:, None])


def run_per_class(world):
    population_labels = np.arange(len(world.population_margin)) % N_CLASSES
    population = probabilities(world.population_margin, population_labels)
    return per_class.score(
        target_signal=signals.modified_entropy(probabilities(world.margin, world.labels), world.labels)[:, None],
        population_target_signal=signals.modified_entropy(population, population_labels)[:, None],
        classes=world.labels,
        population_classes=population_labels,
    )


def run_shadows(attack, signal=lambda margin: margin, **settings):
    return lambda world: attack(
        target_signal=signal(world.margin),
        shadow_signal=signal(world.shadow_margin),
        shadow_membership=world.trained_on,
        **settings,
    )


def log_p(margin):
    return -np.logaddexp(0.0, -margin)


# name, attack, the AUC that it must exceed on the planted leak
WITHOUT_SHADOWS = [
    ("confidence", run_confidence, 0.65),
    ("entropy", run_entropy, 0.6),
    ("per class", run_per_class, 0.65),
]
WITH_SHADOWS = [
    ("attack R", run_shadows(attack_r.score), 0.8),
    ("attack R, Gaussian", run_shadows(attack_r.score, settings=GAUSSIAN), 0.8),
    ("BASE online", run_shadows(base.online, log_p), 0.75),
    ("BASE offline", run_shadows(base.offline, log_p), 0.7),
    ("difficulty calibration", run_shadows(difficulty.score), 0.85),
    ("instance probability", run_shadows(instance_probability.score, expit), 0.8),
    ("LiRA online, Student-t", run_shadows(lira.online, settings=STUDENT_T), 0.85),
    ("LiRA offline, Student-t", run_shadows(lira.offline, settings=STUDENT_T), 0.85),
    ("LiRA offline, two-sided", run_shadows(lira.offline_two_sided), 0.6),
]
ATTACKS = WITHOUT_SHADOWS + WITH_SHADOWS
every_attack = pytest.mark.parametrize(("attack", "at_least"), [pytest.param(*row[1:], id=row[0]) for row in ATTACKS])
every_shadow_attack = pytest.mark.parametrize("attack", [pytest.param(row[1], id=row[0]) for row in WITH_SHADOWS])


@every_attack
def test_finds_a_planted_leak(attack, at_least):
    world = make_world(1.5, seed=1)
    assert auc(attack(world), world.members) > at_least


@every_attack
def test_finds_nothing_where_there_is_nothing(attack, at_least):
    world = make_world(0.0, seed=2, n_records=3000)
    assert auc(attack(world), world.members) == pytest.approx(0.5, abs=0.035)


@pytest.mark.parametrize("n_models", [4, 8])
@every_shadow_attack
def test_few_complementary_shadows_invent_no_leak(attack, n_models):
    world = make_world(0.0, seed=3, n_records=3000, n_models=n_models, n_queries=1)
    assert auc(attack(world), world.members) == pytest.approx(0.5, abs=0.035)


@every_attack
def test_returns_one_finite_float64_per_record_and_leaves_its_inputs_alone(attack, at_least):
    world = make_world(1.0, seed=5, n_records=40)
    before = {field.name: getattr(world, field.name).copy() for field in fields(world)}
    for field in fields(world):
        getattr(world, field.name).flags.writeable = False
    scores = attack(world)
    assert scores.shape == (40,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, attack(world))
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(world, name), array)


@every_attack
def test_permuted_records_give_permuted_scores(attack, at_least):
    world = make_world(1.0, seed=7, n_records=60)
    order = np.random.default_rng(8).permutation(60)
    np.testing.assert_allclose(attack(world.permuted(order)), attack(world)[order], rtol=1e-9, atol=1e-9)


@every_shadow_attack
def test_the_order_of_the_shadows_does_not_matter(attack):
    world = make_world(1.0, seed=9, n_records=60)
    order = np.random.default_rng(10).permutation(16)
    shuffled = replace(world, shadow_margin=world.shadow_margin[order], trained_on=world.trained_on[order])
    np.testing.assert_allclose(attack(shuffled), attack(world), rtol=1e-9, atol=1e-9)


ONLINE = ("BASE online", "instance probability", "LiRA online, Student-t")
OFFLINE = [row for row in WITH_SHADOWS if row[0] not in ONLINE]


@pytest.mark.parametrize("attack", [pytest.param(row[1], id=row[0]) for row in OFFLINE])
def test_offline_attacks_do_not_look_at_in_models(attack):
    world = make_world(1.0, seed=11, n_records=40)
    changed = replace(world, shadow_margin=np.where(world.trained_on[..., None], 30.0, world.shadow_margin))
    np.testing.assert_array_equal(attack(changed), attack(world))


def test_confidence_is_the_mean_over_queries():
    scores = confidence.score(target_signal=np.array([[0.5, 1.0], [0.25, 0.25]], dtype=np.float32))
    np.testing.assert_array_equal(scores, [0.75, 0.25])


def test_entropy_signal():
    p = softmax(np.array([[3.0, 1.0, -0.5]]), axis=1)
    np.testing.assert_allclose(signals.entropy(p), [0.47608756798], atol=1e-10)
    np.testing.assert_allclose(signals.entropy(np.full((1, 8), 0.125, dtype=np.float32)), [np.log(8)])
    certain = signals.entropy(np.array([[1.0, 0.0]], dtype=np.float32))
    np.testing.assert_array_equal(certain, [0.0])
    assert not np.signbit(certain).any()


def test_entropy_takes_a_confident_mistake_for_a_member():
    p = np.array([[0.98, 0.01, 0.01], [0.4, 0.3, 0.3]])
    scores = entropy.score(target_signal=signals.entropy(p)[:, None])
    assert scores[0] > scores[1]
    assert scores.max() <= 0


def per_class_inputs(n_queries=2, n_population=90):
    rng = np.random.default_rng(20)
    return {
        "target_signal": rng.exponential(size=(30, n_queries)),
        "population_target_signal": rng.exponential(size=(n_population, n_queries)),
        "classes": np.arange(30) % 3,
        # 60 of class 0, 30 of class 1, none of class 2.
        "population_classes": np.repeat([0, 0, 1], n_population // 3),
    }


def test_per_class_counts_the_own_class_and_falls_back_to_all():
    inputs = per_class_inputs()
    scores = per_class.score(**inputs)
    for record, value in enumerate(scores):
        population = inputs["population_target_signal"]
        if inputs["classes"][record] == 0:
            population = population[inputs["population_classes"] == 0]
        mine = inputs["target_signal"][record]
        fraction = np.mean([[z[q] >= mine[q] for q in range(2)] for z in population])
        tie_breaker = 0.5 * mine.mean() / (1 + mine.mean()) / (90 * 2)
        assert value == pytest.approx(fraction - tie_breaker, abs=1e-12)


def test_per_class_uses_small_classes_when_told_to():
    inputs = per_class_inputs(n_queries=1)
    inputs["population_target_signal"][inputs["population_classes"] == 1] = 1e6
    of_class_1 = inputs["classes"] == 1
    assert (per_class.score(**inputs, settings=PerClass(smallest_class=30))[of_class_1] > 0.99).all()
    assert (per_class.score(**inputs, settings=PerClass(smallest_class=31))[of_class_1] < 0.99).any()


def test_per_class_is_blind_to_how_easy_a_class_is():
    inputs = per_class_inputs(n_queries=1, n_population=300)
    both = {**inputs, "classes": np.arange(30) % 2}
    easier = {
        **both,
        "target_signal": np.where(both["classes"][:, None] == 1, both["target_signal"] / 100, both["target_signal"]),
        "population_target_signal": np.where(
            both["population_classes"][:, None] == 1,
            both["population_target_signal"] / 100,
            both["population_target_signal"],
        ),
    }
    np.testing.assert_allclose(per_class.score(**easier), per_class.score(**both), atol=1 / 300)


def test_per_class_orders_what_lies_beyond_its_class():
    inputs = {**per_class_inputs(n_queries=1), "target_signal": np.linspace(0.0, 1e-9, 30)[:, None]}
    assert (np.diff(per_class.score(**inputs)) < 0).all()


def unbalanced(n_models=7, n_records=9, n_queries=3):
    """Random signals where the records have between 2 and 5 IN models."""
    rng = np.random.default_rng(0)
    trained_on = np.stack([rng.permutation(n_models) < 2 + record % 4 for record in range(n_records)], axis=1)
    return {
        "target_signal": rng.normal(size=(n_records, n_queries)) * 2,
        "shadow_signal": rng.normal(size=(n_models, n_records, n_queries)) + trained_on[..., None],
        "shadow_membership": trained_on,
    }


def naive(formula, inputs):
    """Mean over queries of a formula of (target, OUT values, IN values)."""
    target, shadows, trained_on = inputs.values()
    return [
        np.mean(
            [formula(x, shadows[~trained_on[:, i], i, q], shadows[trained_on[:, i], i, q]) for q, x in enumerate(row)]
        )
        for i, row in enumerate(target)
    ]


@pytest.mark.parametrize(
    ("attack", "formula"),
    [
        (attack_r.score, lambda t, out, _: np.mean([np.log1p(np.exp(-o)) > np.log1p(np.exp(-t)) for o in out])),
        (lambda **s: attack_r.score(**s, settings=GAUSSIAN), lambda t, out, _: (t - out.mean()) / out.std()),
        (difficulty.score, lambda t, out, _: t - out.mean()),
    ],
)
def test_agrees_with_the_naive_loop(attack, formula):
    inputs = unbalanced()
    np.testing.assert_allclose(attack(**inputs), naive(formula, inputs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("attack", "formula"),
    [
        (base.online, lambda t, out, ins: t - np.log(np.exp(np.concatenate([out, ins])).mean())),
        (base.offline, lambda t, out, _: t - 0.33 * np.log(np.exp(out).mean())),
    ],
)
def test_base_agrees_with_the_naive_loop(attack, formula):
    inputs = {name: values if values.dtype == bool else log_p(values) for name, values in unbalanced().items()}
    np.testing.assert_allclose(attack(**inputs), naive(formula, inputs), rtol=1e-9, atol=1e-9)


def test_attack_r_counts_equal_losses_half_and_is_offline_lira_as_a_gaussian():
    tied = {
        "target_signal": np.array([[1.0]]),
        "shadow_signal": np.array([1.0, 1.0, 0.0, 2.0]).reshape(4, 1, 1),
        "shadow_membership": np.zeros((4, 1), dtype=bool),
    }
    np.testing.assert_array_equal(attack_r.score(**tied), [0.5])
    inputs = unbalanced()
    np.testing.assert_allclose(
        attack_r.score(**inputs, settings=GAUSSIAN), lira.offline(**inputs, settings=LiRA(variance="per-record"))
    )


def test_attack_r_is_a_p_value_for_non_members():
    rng = np.random.default_rng(30)
    values = rng.normal(size=(20, 5000, 1))
    scores = attack_r.score(
        target_signal=values[0], shadow_signal=values[1:], shadow_membership=np.zeros((19, 5000), dtype=bool)
    )
    for alpha in (0.05, 0.2, 0.5):
        assert np.mean(scores > 1 - alpha) == pytest.approx(alpha, abs=0.03)


WORKED = {
    "target_signal": np.log([[0.9]]),
    "shadow_signal": np.log([0.5, 0.6, 0.4, 0.95, 0.9]).reshape(5, 1, 1),
    "shadow_membership": np.array([False, False, False, True, True]).reshape(5, 1),
}


def test_base_worked_example():
    np.testing.assert_allclose(base.online(**WORKED), [0.2951170509], atol=1e-10)
    np.testing.assert_allclose(base.offline(**WORKED), [0.1233780540], atol=1e-10)
    np.testing.assert_allclose(base.offline(**WORKED, settings=BASE(offline_scale=0.0)), np.log([0.9]))


def test_base_online_orders_as_online_rmia_does():
    world = make_world(1.0, seed=12, n_records=80, n_queries=1)
    by_rmia = rmia.online(
        target_signal=expit(world.margin),
        shadow_signal=expit(world.shadow_margin),
        shadow_membership=world.trained_on,
        population_target_signal=expit(world.population_margin),
        population_shadow_signal=expit(world.population_shadow_margin),
    )
    np.testing.assert_array_equal(rankdata(run_shadows(base.online, log_p)(world)), rankdata(by_rmia))


def test_base_stays_finite_at_the_floor():
    lowest = np.log(signals.FLOOR)
    inputs = {**WORKED, "shadow_signal": np.full((5, 1, 1), lowest)}
    np.testing.assert_allclose(base.online(**inputs), np.log([0.9]) - lowest)


ALL_IN = np.ones((7, 9), dtype=bool)
ONE_OUT = np.arange(7)[:, None] != np.zeros((1, 9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confidence.score(target_signal=np.array([[1.5]])), r"must hold probabilities in 0\.\.1"),
        (lambda: entropy.score(target_signal=np.array([[-0.1]])), "entropies, at least 0, got -0.1"),
        (lambda: signals.entropy(np.array([[2.0, -1.0]])), "must hold probabilities"),
        (
            lambda: per_class.score(**{**per_class_inputs(), "classes": np.zeros(29, dtype=int)}),
            "classes must be 30 integers",
        ),
        (
            lambda: per_class.score(**{**per_class_inputs(), "population_classes": np.zeros(90)}),
            "population_classes must be 90 integers",
        ),
        (
            lambda: per_class.score(**{**per_class_inputs(), "population_target_signal": np.zeros((90, 1))}),
            "the population has 1 queries, the records have 2",
        ),
        (
            lambda: per_class.score(**{**per_class_inputs(), "target_signal": -np.ones((30, 2))}),
            "target_signal must hold modified entropies, at least 0",
        ),
        (lambda: PerClass(smallest_class=0), "smallest_class must be at least 1"),
        (lambda: attack_r.score(**{**unbalanced(), "shadow_membership": ALL_IN}), "record 0 has 0 OUT models"),
        (
            lambda: attack_r.score(**{**unbalanced(), "shadow_membership": ONE_OUT}, settings=GAUSSIAN),
            "record 0 has 1 OUT models, this attack needs 2",
        ),
        (lambda: AttackR(estimate="median"), "estimate must be"),
        (lambda: AttackR(sigma_floor=0.0), "sigma_floor must be positive"),
        (lambda: base.online(**unbalanced()), "target_signal must hold log probabilities, at most 0"),
        (lambda: base.online(**{**WORKED, "shadow_membership": np.ones((5, 1), dtype=bool)}), "0 OUT models"),
        (lambda: base.offline(**{**WORKED, "shadow_membership": np.ones((5, 1), dtype=bool)}), "0 OUT models"),
        (lambda: BASE(offline_scale=1.1), r"offline_scale must lie in 0\.\.1"),
        (lambda: difficulty.score(**{**unbalanced(), "shadow_membership": ALL_IN}), "record 0 has 0 OUT models"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
