"""The MID study's models and attacks, by exact statements and naive oracles."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.stats import norm
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from benchmarks import mid_linear, mid_map, mid_tables, mid_tree


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def entropy(*law):
    return -sum(p * math.log(p) for p in law if p > 0)


# --- regression ------------------------------------------------------------------------------------------------------


@pytest.fixture
def line_data(rng):
    features = rng.uniform(-0.5, 0.5, (400, 3))
    return features, features @ [2.0, -1.0, 0.5] + rng.normal(0.3, 0.5, 400)


def test_without_a_penalty_mid_is_least_squares(line_data):
    features, outcome = line_data
    sklearn = LinearRegression().fit(features, outcome)
    expected = [sklearn.intercept_, *sklearn.coef_]
    np.testing.assert_allclose(mid_linear.fit_mid(features, outcome, 0.0, noise=0.2).weights, expected)
    np.testing.assert_allclose(mid_linear.fit_least_squares(features, outcome).weights, expected)


def test_entropy_of_one_gaussian_is_its_formula():
    found, gradient = mid_linear.mixture_entropy(np.full(5, 3.0), 0.2)
    assert found == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 0.04), abs=1e-9)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-9)


@pytest.mark.parametrize("centres", [[-1.0, 0.0, 0.3], [0.0, 0.0, 5.0], [0.0, 100.0]])
def test_entropy_of_a_mixture_is_the_integral(centres):
    def integrand(point):
        density = norm.pdf(point, centres, 0.2).mean()
        return -density * math.log(density) if density > 0 else 0.0

    pieces = [quad(integrand, centre - 2, centre + 2, epsabs=1e-11, limit=200)[0] for centre in centres]
    overlapping = quad(integrand, min(centres) - 3, max(centres) + 3, points=centres, limit=500)[0]
    expected = sum(pieces) if min(np.diff(sorted(centres))) > 4 else overlapping
    assert mid_linear.mixture_entropy(np.array(centres), 0.2)[0] == pytest.approx(expected, abs=1e-7)


def test_gradient_of_the_entropy(rng):
    centres = rng.normal(size=6)
    numeric = approx_fprime(centres, lambda where: mid_linear.mixture_entropy(where, 0.3)[0], 1e-6)
    np.testing.assert_allclose(mid_linear.mixture_entropy(centres, 0.3)[1], numeric, atol=1e-5)


def test_a_heavy_penalty_leaves_the_mean_and_no_information(line_data):
    features, outcome = line_data
    line = mid_linear.fit_mid(features, outcome, 100.0, noise=0.5)
    np.testing.assert_allclose(line.mean(features), outcome.mean(), atol=0.02)


def test_among_gaussian_answers_the_penalty_shrinks_towards_the_stationary_point(rng):
    answers = rng.normal(size=(20_000, 1))
    # With w the weight: 2 (w - 1) + penalty * w / (w^2 + s^2) = 0 solved by penalty = 2 (1 - w) (w^2 + s^2) / w
    kept, noise = 0.7, 0.5
    penalty = 2 * (1 - kept) * (kept**2 + noise**2) / kept
    answers = (answers - answers.mean()) / answers.std()
    line = mid_linear.fit_mid(answers, answers[:, 0], penalty, noise=noise)
    assert line.weights[1] == pytest.approx(kept, abs=0.02)


def test_private_regression_tends_to_least_squares_and_to_nothing(line_data, rng):
    features, outcome = line_data
    generous = mid_linear.fit_private(features, outcome, 1e9, rng, delta=1e-5, most=3.0)
    np.testing.assert_allclose(generous.weights, mid_linear.fit_least_squares(features, outcome).weights, atol=1e-3)
    strict = mid_linear.fit_private(features, outcome, 1e-6, rng, delta=1e-5, most=3.0)
    assert np.linalg.norm(generous.weights - strict.weights) > 1.0


# --- trees -----------------------------------------------------------------------------------------------------------

# Two questions; the second is about the sensitive value itself, of which there are two.
QUESTIONS = mid_tree.Questions(np.array([[True, True], [False, True]]), np.array([[True, True], [True, False]]))
# Answers to the questions, label, how many people
SMALL = [((0, 0), 0, 30), ((0, 0), 1, 10), ((0, 1), 0, 15), ((0, 1), 1, 15), ((1, 0), 1, 15), ((1, 1), 1, 15)]


@pytest.fixture
def small():
    asked = np.array([answers for answers, _, n in SMALL for _ in range(n)], dtype=bool)
    return asked, np.array([label for _, label, n in SMALL for _ in range(n)])


@pytest.fixture
def plain(small):
    return mid_tree.grow(*small, QUESTIONS, None, depth=2, least=1)


def test_information_of_a_tree_by_hand():
    # Half of the people get yes with 3/4, the others with 1/4: one bit less the entropy of 1/4
    law = np.array([[0.25, 0.75], [0.75, 0.25]])
    assert mid_tree.information(np.array([0.5, 0.5]), law) == pytest.approx(math.log(2) - entropy(0.25, 0.75))
    fixed = np.eye(2)
    assert mid_tree.information(np.array([0.2, 0.8]), fixed) == pytest.approx(entropy(0.2, 0.8))
    same = np.array([[0.4, 0.6], [0.4, 0.6]])
    assert mid_tree.information(np.array([0.2, 0.8]), same) == pytest.approx(0.0, abs=1e-12)


def test_the_small_tree_by_hand(small, plain):
    asked, labels = small
    # The first question first; behind its no the status is asked: leaves 30:10, 15:15 and 0:30
    assert sorted(map(tuple, plain.counts)) == [(0.0, 30.0), (15.0, 15.0), (30.0, 10.0)]
    sampled = mid_tree.grow(asked, labels, QUESTIONS, 0.0, depth=2, least=1)
    inside = 0.4 * entropy(0.75, 0.25) + 0.3 * entropy(0.5, 0.5)
    shares = sampled.counts.sum(axis=1) / 100
    assert mid_tree.information(shares, sampled.law) == pytest.approx(entropy(0.45, 0.55) - inside)


def test_without_a_penalty_mid_has_the_splits_of_the_plain_tree(rng):
    asked = rng.random((500, 6)) < 0.5
    labels = (rng.random(500) < 0.2 + 0.5 * asked[:, 0] * asked[:, 1] + 0.2 * asked[:, 2]).astype(int)
    questions = mid_tree.Questions(*(np.ones((6, 1), dtype=bool),) * 2)
    plain, sampled = (mid_tree.grow(asked, labels, questions, penalty, depth=3, least=10) for penalty in (None, 0.0))
    np.testing.assert_array_equal(plain.test, sampled.test)
    np.testing.assert_array_equal(plain.law, np.eye(2)[plain.counts.argmax(axis=1)])
    sklearn = DecisionTreeClassifier(max_depth=3, min_samples_leaf=10).fit(asked, labels)
    np.testing.assert_allclose(sampled.law[sampled.leaves(asked)], sklearn.predict_proba(asked))


def test_information_gain_and_the_increase_of_information_are_one_number(small):
    """Why a split is not scored by information gain: leaves that draw from their frequencies make lambda idle."""
    asked, labels = small
    for depth, least in ((1, 1), (2, 1), (2, 20)):
        tree = mid_tree.grow(asked, labels, QUESTIONS, 0.0, depth=depth, least=least)
        shares = tree.counts.sum(axis=1) / len(labels)
        gain = entropy(*(np.bincount(labels) / len(labels))) - sum(
            share * entropy(*law) for share, law in zip(shares, tree.law, strict=True)
        )
        assert mid_tree.information(shares, tree.law) == pytest.approx(gain)


def test_a_split_is_made_exactly_while_its_score_is_positive(small):
    asked, labels = small
    whole, parts = (0.45, 0.55), ((0.7, (45 / 70, 25 / 70)), (0.3, (0.0, 1.0)))
    loss = 2 * math.prod(whole) - sum(share * 2 * math.prod(law) for share, law in parts)
    information = entropy(*whole) - sum(share * entropy(*law) for share, law in parts)
    only = mid_tree.Questions(QUESTIONS.can_be_true[:1], QUESTIONS.can_be_false[:1])
    for factor, leaves in ((0.99, 2), (1.01, 1)):
        tree = mid_tree.grow(asked[:, :1], labels, only, factor * loss / information, depth=1, least=1)
        assert len(tree.law) == leaves


def test_answers_minimise_their_objective(plain):
    penalty = 0.2
    found = mid_tree.with_answers(plain, penalty)
    people = plain.counts.sum(axis=1)
    right, shares = plain.counts / people[:, None], people / people.sum()

    def objective(yes):
        law = np.column_stack([1 - np.array(yes), yes])
        wrong = float(shares @ (law * (1 - right)).sum(axis=1))
        return wrong + penalty * mid_tree.information(shares, law)

    grid = min(objective(yes) for yes in product(np.linspace(0, 1, 41), repeat=3))
    assert objective(found.law[:, 1]) <= grid + 1e-9
    np.testing.assert_allclose(found.law.sum(axis=1), 1.0)


def test_answers_tend_to_the_majority_and_to_a_constant(plain):
    firm, constant = (mid_tree.with_answers(plain, penalty) for penalty in (1e-3, 50.0))
    decided = plain.counts[:, 0] != plain.counts[:, 1]
    np.testing.assert_allclose(firm.law[decided], plain.law[decided], atol=1e-6)
    assert np.ptp(constant.law[:, 1]) < 0.05


def test_reach_is_which_values_can_get_there(small, plain):
    for value in (0, 1):
        asked = np.array([[first, value] for first in (0, 1)], dtype=bool)
        reached = set(plain.leaves(asked).tolist())
        assert reached == set(np.flatnonzero(plain.reach[:, value]).tolist())


def test_one_person_moves_the_gini_loss_by_at_most_its_sensitivity(rng):
    counts = rng.integers(0, 40, (500, 2)).astype(float)
    for one in np.eye(2):
        moved = mid_tree._gini(counts + one) - mid_tree._gini(counts)
        assert moved.max() < mid_tree._SENSITIVITY
        assert moved.min() >= -1e-9


def test_private_tree_tends_to_the_plain_splits_and_to_chance(small, plain, rng):
    generous = mid_tree.grow_private(*small, QUESTIONS, 1e9, rng, depth=1)
    assert generous.test[0] == plain.test[0]
    np.testing.assert_allclose(generous.counts, [[45, 25], [0, 30]], atol=1e-3)
    first = [mid_tree.grow_private(*small, QUESTIONS, 1e-9, rng, depth=1).test[0] for _ in range(400)]
    assert 0.4 < np.mean(first) < 0.6


# --- attacks ---------------------------------------------------------------------------------------------------------


def test_regression_map_is_bayes_rule():
    # Value 0 is three times as frequent; with these answers and error the posterior is even at the outcome 0.5 + ln 3
    shares, answers = np.array([0.75, 0.25]), np.array([[0.0, 1.0]] * 3)
    even = 0.5 + math.log(3)
    scores = mid_map.naive_map_regression(shares, answers, np.array([even - 0.01, even + 0.01, even]), 1.0)
    assert mid_map.guess(scores, shares).tolist()[:2] == [0, 1]
    assert scores[2, 0] == pytest.approx(scores[2, 1])


def test_regression_map_far_from_every_answer_still_knows_the_nearer():
    scores = mid_map.naive_map_regression(np.array([0.9, 0.1]), np.array([[0.0, 1.0]]), np.array([1e3]), 0.01)
    assert mid_map.guess(scores, np.array([0.9, 0.1])).tolist() == [1]


def test_error_table_by_hand():
    laws = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    table = mid_map.error_table(laws, np.array([0, 1, 1, 1]))
    np.testing.assert_allclose(table, [[1 / 2.5, 1.5 / 2.5], [0.0, 1.0]])
    never_yes = mid_map.error_table(np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(never_yes[1], [0.75, 0.25])


def test_tree_map_is_bayes_rule_for_fixed_answers():
    shares, table = np.array([0.6, 0.4]), np.array([[0.9, 0.1], [0.3, 0.7]])
    laws = np.array([[[1.0, 0.0], [0.0, 1.0]]] * 2)
    scores = mid_map.naive_map_tree(shares, laws, np.array([0, 1]), table)
    np.testing.assert_allclose(scores, [[0.6 * 0.9, 0.4 * 0.3], [0.6 * 0.1, 0.4 * 0.7]])
    assert mid_map.guess(scores, shares).tolist() == [0, 1]


def test_by_odds_is_naive_where_answers_are_fixed(rng):
    labels, own = rng.integers(0, 2, 60), np.eye(2)[rng.integers(0, 2, 60)]
    laws, shares = np.eye(2)[rng.integers(0, 2, (60, 3))], np.array([0.5, 0.3, 0.2])
    naive = mid_map.naive_map_tree(shares, laws, labels, mid_map.error_table(own, labels))
    by_odds = mid_map.tree_map_by_odds(shares, laws, labels, mid_map.odds_table(own, labels))
    np.testing.assert_allclose(by_odds, naive)


def test_by_odds_tells_apart_what_a_table_of_answers_does_not():
    shares = np.array([0.55, 0.45])
    own = np.repeat([[0.95, 0.05], [0.35, 0.65]], 100, axis=0)
    labels = np.concatenate([np.repeat([0, 1], [95, 5]), np.repeat([0, 1], [35, 65])])
    laws = own[[0, 100]][None]
    by_odds = mid_map.tree_map_by_odds(shares, laws, np.array([1]), mid_map.odds_table(own, labels))
    np.testing.assert_allclose(by_odds, [[0.55 * 0.05, 0.45 * 0.65]])


def test_map_with_counts_on_a_tree_with_one_leaf_for_each_value():
    # P(label 1 | value) is 1/10 and 8/10; both values can reach only their own leaf
    counts, reach = np.array([[90.0, 10.0], [4.0, 16.0]]), np.eye(2, dtype=bool)
    leaves, shares = np.array([[0, 1], [0, 1]]), np.array([5 / 6, 1 / 6])
    scores = mid_map.tree_map_with_counts(shares, leaves, np.array([0, 1]), counts, reach)
    np.testing.assert_allclose(scores, [[0.9 * 5 / 6, 0.2 / 6], [0.1 * 5 / 6, 0.8 / 6]])
    assert mid_map.guess(scores, shares).tolist() == [0, 1]


def test_ties_go_to_the_more_frequent_value():
    assert mid_map.guess(np.zeros((2, 3)), np.array([0.2, 0.5, 0.3])).tolist() == [1, 1]


# --- judgements ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("middle", "reach", "end", "verdict"),
    [
        (0.2, 0.001, 0.1, "reproduced"),
        (0.27, 0.001, 0.1, "partly"),
        (0.45, 0.001, 0.1, "not reproduced"),
        (0.3, 0.15, 0.1, "cannot tell"),
        (0.5, 0.001, 0.5, "not reproduced"),
    ],
)
def test_front_loaded(middle, reach, end, verdict):
    wobble = np.concatenate([[0.0], np.linspace(-reach, reach, 400)])
    assert mid_tables.front_loaded(np.full(401, 0.5), middle + wobble, np.full(401, end))[1] == verdict


@pytest.mark.parametrize(
    ("centre", "reach", "verdict"),
    [
        (0.0, 0.01, "reproduced"),
        (0.05, 0.01, "not reproduced"),
        (-0.05, 0.01, "not reproduced"),
        (0.02, 0.01, "cannot tell"),
    ],
)
def test_same_inside_and_out(centre, reach, verdict):
    resamples = np.concatenate([[centre], centre + np.linspace(-reach, reach, 400)])
    assert mid_tables.same_inside_and_out(resamples)[1] == verdict
