"""What holds for every membership attack: one literal table, simulated signals with and without a leak."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit, logit
from scipy.stats import rankdata

from reference_attacks.membership import attack_p, gap, lira, loss, modified_entropy, rmia, signals

N_CLASSES = 4
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Everything an attack could be handed. Margins and confidences are [record, query] or [model, record, query]."""

    labels: npt.NDArray[np.int64]
    members: npt.NDArray[np.bool_]
    trained_on: npt.NDArray[np.bool_]
    probabilities: npt.NDArray[np.float32]
    margin: Array
    shadow_margin: Array
    population_margin: Array
    population_shadow_margin: Array

    def permuted(self, order):
        moved = {"labels", "members", "probabilities", "margin"}
        across_models = {"trained_on", "shadow_margin"}
        return replace(
            self,
            **{name: getattr(self, name)[order] for name in moved},
            **{name: getattr(self, name)[:, order] for name in across_models},
        )


def complementary_pairs(n_models, n_records, rng):
    """Every record is IN one model of each pair, so in exactly half of the models."""
    half = rng.random((n_models // 2, n_records)) < 0.5
    return np.concatenate([half, ~half])


def make_world(leak, *, seed, n_records=600, n_population=200, n_models=16, n_queries=2):
    """Margins with a difficulty for each record and query, noise for each model, and `leak` where trained on."""
    rng = np.random.default_rng(seed)
    members = rng.permutation(n_records) < n_records // 2
    trained_on = complementary_pairs(n_models, n_records, rng)
    difficulty = rng.normal(1.0, 1.5, (n_records, n_queries))
    population_difficulty = rng.normal(1.0, 1.5, (n_population, n_queries))

    def margins(centre, n=None):
        shape = centre.shape if n is None else (n, *centre.shape)
        return centre + rng.normal(size=shape)

    margin = margins(difficulty) + leak * members[:, None]
    labels = rng.integers(N_CLASSES, size=n_records)
    others = rng.dirichlet(np.ones(N_CLASSES - 1), n_records)
    p_y = expit(margin[:, 0])
    is_label = labels[:, None] == np.arange(N_CLASSES)
    probabilities = np.empty((n_records, N_CLASSES))
    probabilities[is_label] = p_y
    probabilities[~is_label] = (others * (1 - p_y)[:, None]).ravel()
    return World(
        labels=labels,
        members=members,
        trained_on=trained_on,
        probabilities=probabilities.astype(np.float32),
        margin=margin,
        shadow_margin=margins(difficulty, n_models) + leak * trained_on[..., None],
        population_margin=margins(population_difficulty),
        population_shadow_margin=margins(population_difficulty, n_models),
    )


def run_gap(world):
    return gap.score(target_signal=(world.probabilities.argmax(axis=1) == world.labels)[:, None])


def run_loss(world):
    return loss.score(target_signal=signals.cross_entropy(world.probabilities, world.labels)[:, None])


def run_modified_entropy(world):
    return modified_entropy.score(target_signal=signals.modified_entropy(world.probabilities, world.labels)[:, None])


def run_attack_p(world):
    return attack_p.score(target_signal=world.margin, population_target_signal=world.population_margin)


def run_lira(attack, settings) -> Callable[[World], Array]:
    return lambda world: attack(
        target_signal=world.margin,
        shadow_signal=world.shadow_margin,
        shadow_membership=world.trained_on,
        settings=settings,
    )


def run_rmia(attack, settings) -> Callable[[World], Array]:
    return lambda world: attack(
        target_signal=expit(world.margin),
        shadow_signal=expit(world.shadow_margin),
        shadow_membership=world.trained_on,
        population_target_signal=expit(world.population_margin),
        population_shadow_signal=expit(world.population_shadow_margin),
        settings=settings,
    )


# name, attack, the AUC that it must exceed on the planted leak
ATTACKS = [
    ("gap", run_gap, 0.55),
    ("loss", run_loss, 0.65),
    ("modified entropy", run_modified_entropy, 0.65),
    ("attack P", run_attack_p, 0.65),
    ("LiRA online, pooled", run_lira(lira.online, lira.LiRA()), 0.85),
    ("LiRA online, per record", run_lira(lira.online, lira.LiRA(variance="per-record")), 0.8),
    ("LiRA online, medians", run_lira(lira.online, lira.LiRA(centre="median")), 0.85),
    ("LiRA offline, pooled", run_lira(lira.offline, lira.LiRA()), 0.85),
    ("LiRA offline, per record", run_lira(lira.offline, lira.LiRA(variance="per-record")), 0.8),
    ("RMIA online", run_rmia(rmia.online, rmia.RMIA()), 0.75),
    ("RMIA online, mean of queries", run_rmia(rmia.online, rmia.RMIA(queries="mean", gamma=1.0)), 0.75),
    ("RMIA offline", run_rmia(rmia.offline, rmia.RMIA()), 0.7),
]
WITH_SHADOWS = [row for row in ATTACKS if row[0].startswith(("LiRA", "RMIA"))]
every_attack = pytest.mark.parametrize(("attack", "at_least"), [pytest.param(*row[1:], id=row[0]) for row in ATTACKS])
every_shadow_attack = pytest.mark.parametrize("attack", [pytest.param(row[1], id=row[0]) for row in WITH_SHADOWS])


def auc(scores, members):
    ranks = rankdata(scores)
    n_in, n_out = members.sum(), (~members).sum()
    return (ranks[members].sum() - n_in * (n_in + 1) / 2) / (n_in * n_out)


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


@every_shadow_attack
def test_a_shadow_in_the_place_of_the_target_leaks_nothing_once_its_twin_has_left(attack):
    world = make_world(0.0, seed=4, n_records=3000, n_models=6, n_queries=1)
    pool = [1, 2, 4, 5]
    stand_in = replace(
        world,
        margin=world.shadow_margin[0],
        members=world.trained_on[0],
        shadow_margin=world.shadow_margin[pool],
        trained_on=world.trained_on[pool],
        population_margin=world.population_shadow_margin[0],
        population_shadow_margin=world.population_shadow_margin[pool],
    )
    assert auc(attack(stand_in), stand_in.members) == pytest.approx(0.5, abs=0.035)


@every_attack
def test_returns_one_finite_float64_per_record(attack, at_least):
    world = make_world(1.0, seed=5, n_records=40)
    scores = attack(world)
    assert scores.shape == (40,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, attack(world))


@every_attack
def test_leaves_its_inputs_alone(attack, at_least):
    world = make_world(1.0, seed=6, n_records=40)
    for field in fields(world):
        getattr(world, field.name).flags.writeable = False
    before = {field.name: getattr(world, field.name).copy() for field in fields(world)}
    attack(world)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(world, name), array)


@every_attack
def test_permuted_records_give_permuted_scores(attack, at_least):
    world = make_world(1.0, seed=7, n_records=60)
    order = np.random.default_rng(8).permutation(60)
    np.testing.assert_allclose(attack(world.permuted(order)), attack(world)[order], rtol=1e-9, atol=1e-12)


@every_shadow_attack
def test_the_order_of_the_shadows_does_not_matter(attack):
    world = make_world(1.0, seed=9, n_records=60)
    order = np.random.default_rng(10).permutation(16)
    shuffled = replace(
        world,
        shadow_margin=world.shadow_margin[order],
        trained_on=world.trained_on[order],
        population_shadow_margin=world.population_shadow_margin[order],
    )
    np.testing.assert_allclose(attack(shuffled), attack(world), rtol=1e-9, atol=1e-12)


def test_gap_is_correctness():
    scores = gap.score(target_signal=np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    np.testing.assert_array_equal(scores, [1.0, 0.0, 1.0])


def test_loss_and_modified_entropy_are_at_most_zero():
    world = make_world(1.0, seed=12, n_records=40)
    assert run_loss(world).max() <= 0
    assert run_modified_entropy(world).max() <= 0


def test_attack_p_counts_the_population():
    target = np.array([[-0.5], [-2.0], [-0.1], [-9.0]])
    population = np.array([[-2.0], [-0.5], [-1.0], [-3.0]])
    scores = attack_p.score(target_signal=target, population_target_signal=population)
    np.testing.assert_array_equal(scores, [1.0, 0.5, 1.0, 0.0])


def test_attack_p_averages_its_fractions_over_queries():
    world = make_world(1.0, seed=13, n_records=30, n_population=20, n_queries=3)
    naive = [np.mean([np.mean(world.population_margin[:, q] <= x[q]) for q in range(3)]) for x in world.margin]
    np.testing.assert_allclose(run_attack_p(world), naive, atol=1e-12)


def test_attack_p_is_a_p_value_for_non_members():
    world = make_world(0.0, seed=14, n_records=4000, n_population=4000, n_queries=1)
    scores = run_attack_p(world)
    for alpha in (0.05, 0.2, 0.5):
        assert np.mean(1 - scores <= alpha) == pytest.approx(alpha, abs=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gap.score(target_signal=np.array([[1.5]])), "must be 0 or 1"),
        (lambda: loss.score(target_signal=np.array([[np.nan]])), "not finite"),
        (
            lambda: attack_p.score(target_signal=np.zeros((2, 1)), population_target_signal=np.zeros((2, 3))),
            "the population has 3 queries, the records have 1",
        ),
        (
            lambda: attack_p.score(target_signal=np.zeros(2), population_target_signal=np.zeros((2, 1))),
            r"target_signal must be a non-empty array \[record, query\]",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_simulation_releases_what_it_says():
    world = make_world(1.0, seed=15, n_records=50)
    p_y = world.probabilities[np.arange(50), world.labels]
    np.testing.assert_allclose(world.probabilities.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(logit(p_y.astype(np.float64)), world.margin[:, 0], atol=1e-3)
    assert (world.trained_on.sum(axis=0) == 8).all()
