"""Attacks on confidence vectors and on distilled students: one table, oracles in plain loops, what they must refuse."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import entropy
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from reference_attacks.membership import (
    _learners,
    attack_d,
    class_vector,
    distillation,
    instance_vector,
    ml_leaks,
    seqmia,
    shokri,
    trajectory,
)
from reference_attacks.membership._learners import Network
from reference_attacks.membership._vectors import ShadowVectors
from tests.reference_attacks.test_membership_attacks import N_CLASSES, auc, make_world

N_SNAPSHOTS, N_STUDENTS = 6, 4
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VectorWorld:
    """Vectors [model, record, class] with a leak; sequences [record, snapshot, metric] of the target and one shadow."""

    labels: npt.NDArray[np.int64]
    members: npt.NDArray[np.bool_]
    trained_on: npt.NDArray[np.bool_]
    target: npt.NDArray[np.float32]
    shadows: npt.NDArray[np.float32]
    margin: Array
    students: Array
    sequences: Array
    shadow_sequences: Array
    shadow_members: npt.NDArray[np.bool_]

    def permuted(self, order):
        """Other order of the audited records; the shadow's own records keep theirs."""
        moved = {"labels", "members", "target", "margin", "sequences"}
        across_models = {"trained_on", "shadows", "students"}
        return replace(
            self,
            **{name: getattr(self, name)[order] for name in moved},
            **{name: getattr(self, name)[:, order] for name in across_models},
        )

    def reshuffled(self, models, students, shadow_records):
        """Other order of everything that is learned from."""
        return replace(
            self,
            trained_on=self.trained_on[models],
            shadows=self.shadows[models],
            students=self.students[students],
            shadow_sequences=self.shadow_sequences[shadow_records],
            shadow_members=self.shadow_members[shadow_records],
        )


def make_vector_world(leak, *, seed, n_records=400, n_models=6):
    world = make_world(leak, seed=seed, n_records=n_records, n_models=n_models, n_queries=1)
    rng = np.random.default_rng([seed, 1])
    is_label = world.labels[:, None] == np.arange(N_CLASSES)

    def vectors(margin):
        others = rng.dirichlet(np.ones(N_CLASSES - 1), n_records) * expit(-margin)[:, None]
        drawn = np.empty((n_records, N_CLASSES))
        drawn[is_label], drawn[~is_label] = expit(margin), others.ravel()
        return drawn.astype(np.float32)

    def sequences(last_margin, members):
        """Margins come from a common start to those of the model itself, a member's with some of the leak."""
        progress = np.linspace(0.0, 1.0, N_SNAPSHOTS)
        noise = 0.3 * rng.normal(size=(n_records, N_SNAPSHOTS))
        margins = last_margin[:, None] * progress - 0.5 * leak * members[:, None] * progress * (1 - progress) + noise
        margins[:, -1] = last_margin
        return np.stack([-np.log(expit(margins)), expit(margins), np.abs(margins)], axis=2)

    shadow_difficulty = rng.normal(1.0, 1.5, n_records)
    shadow_members = rng.random(n_records) < 0.5
    shadow_margin = shadow_difficulty + rng.normal(size=n_records) + leak * shadow_members
    forgetful = world.margin - leak * world.members[:, None]
    return VectorWorld(
        labels=world.labels,
        members=world.members,
        trained_on=world.trained_on,
        target=vectors(world.margin[:, 0]),
        shadows=np.stack([vectors(margin) for margin in world.shadow_margin[..., 0]]),
        margin=world.margin,
        students=forgetful + rng.normal(size=(N_STUDENTS, *world.margin.shape)),
        sequences=sequences(world.margin[:, 0], world.members),
        shadow_sequences=sequences(shadow_margin, shadow_members),
        shadow_members=shadow_members,
    )


def shown(world):
    return {
        "target_vectors": world.target,
        "shadow_vectors": world.shadows,
        "shadow_membership": world.trained_on,
    }


def run_learned(attack, settings, *, labels=True) -> Callable[[VectorWorld], Array]:
    def run(world):
        known = {"labels": world.labels} if labels else {}
        return attack(**shown(world), **known, rng=np.random.default_rng(0), settings=settings)

    return run


def run_instance_vector(world):
    return instance_vector.score(**shown(world))


def run_adversary_3(world):
    return ml_leaks.adversary_3(target_vectors=world.target)


def run_trajectory(world):
    return trajectory.score(
        target_trajectory=world.sequences[..., 0],
        shadow_trajectory=world.shadow_sequences[..., 0],
        shadow_membership=world.shadow_members,
        rng=np.random.default_rng(0),
        settings=trajectory.Trajectory(network=replace(trajectory.Trajectory().network, hidden=(32, 16), epochs=20)),
    )


def run_seqmia(world):
    return seqmia.score(
        target_sequences=world.sequences,
        shadow_sequences=world.shadow_sequences,
        shadow_membership=world.shadow_members,
        generator=torch.Generator().manual_seed(0),
        settings=seqmia.SeqMIA(epochs=10),
    )


def run_attack_d(settings) -> Callable[[VectorWorld], Array]:
    return lambda world: attack_d.score(target_signal=world.margin, distilled_signal=world.students, settings=settings)


QUICK = Network(hidden=(16,), epochs=5)
NET = {"classifier": "network", "network": QUICK}

# name, attack, the AUC that it must exceed on the planted leak
ON_VECTORS = [
    ("Shokri", run_learned(shokri.score, shokri.Shokri(network=QUICK)), 0.7),
    ("Shokri, one net for all", run_learned(shokri.score, shokri.Shokri(network=QUICK, min_rows=10**6)), 0.7),
    ("ML-Leaks 1", run_learned(ml_leaks.adversary_1, ml_leaks.MLLeaks(), labels=False), 0.7),
    ("ML-Leaks 1, network", run_learned(ml_leaks.adversary_1, ml_leaks.MLLeaks(**NET), labels=False), 0.7),
    ("ML-Leaks 3", run_adversary_3, 0.7),
    ("class vector", run_learned(class_vector.score, class_vector.ClassVector()), 0.7),
    ("class vector, network", run_learned(class_vector.score, class_vector.ClassVector(**NET)), 0.7),
    ("instance vector", run_instance_vector, 0.75),
]
ON_STUDENTS = [
    ("trajectory", run_trajectory, 0.7),
    ("SeqMIA", run_seqmia, 0.7),
    ("attack D", run_attack_d(attack_d.AttackD()), 0.95),
    ("attack D, per record", run_attack_d(attack_d.AttackD(variance="per-record")), 0.95),
    ("attack D, fraction", run_attack_d(attack_d.AttackD(estimate="fraction")), 0.9),
]
ATTACKS = [*ON_VECTORS, *ON_STUDENTS]
every_attack = pytest.mark.parametrize(("attack", "at_least"), [pytest.param(*row[1:], id=row[0]) for row in ATTACKS])
every_attack_on_vectors = pytest.mark.parametrize("attack", [pytest.param(row[1], id=row[0]) for row in ON_VECTORS])
every_attack_without_a_favourite_shadow = pytest.mark.parametrize(
    "attack", [pytest.param(row[1], id=row[0]) for row in ATTACKS if "ML-Leaks" not in row[0]]
)


@every_attack
def test_finds_a_planted_leak(attack, at_least):
    world = make_vector_world(2.0, seed=1, n_records=1000)
    assert auc(attack(world), world.members) > at_least


@every_attack
def test_finds_nothing_where_there_is_nothing(attack, at_least):
    world = make_vector_world(0.0, seed=2, n_records=3000, n_models=4)
    assert auc(attack(world), world.members) == pytest.approx(0.5, abs=0.035)


@every_attack_on_vectors
def test_a_shadow_in_the_place_of_the_target_leaks_nothing_once_its_twin_has_left(attack):
    world = make_vector_world(0.0, seed=3, n_records=3000, n_models=6)
    stand_in = replace(
        world,
        target=world.shadows[0],
        members=world.trained_on[0],
        shadows=world.shadows[[1, 2, 4, 5]],
        trained_on=world.trained_on[[1, 2, 4, 5]],
    )
    assert auc(attack(stand_in), stand_in.members) == pytest.approx(0.5, abs=0.035)


@every_attack
def test_returns_one_finite_float64_per_record_and_the_same_again(attack, at_least):
    world = make_vector_world(1.0, seed=4, n_records=60)
    scores = attack(world)
    assert scores.shape == (60,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, attack(world))


@every_attack
def test_leaves_its_inputs_alone(attack, at_least):
    world = make_vector_world(1.0, seed=5, n_records=60)
    before = {field.name: getattr(world, field.name).copy() for field in fields(world)}
    for field in fields(world):
        getattr(world, field.name).flags.writeable = False
    attack(world)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(world, name), array)


@every_attack
def test_permuted_records_give_permuted_scores(attack, at_least):
    world = make_vector_world(1.0, seed=6)
    order = np.random.default_rng(7).permutation(400)
    np.testing.assert_allclose(attack(world.permuted(order)), attack(world)[order], rtol=1e-9, atol=1e-12)


@every_attack_without_a_favourite_shadow
def test_the_order_of_what_is_learned_from_does_not_matter(attack):
    world = make_vector_world(1.0, seed=8)
    rng = np.random.default_rng(9)
    shuffled = world.reshuffled(rng.permutation(6), rng.permutation(N_STUDENTS), rng.permutation(400))
    np.testing.assert_allclose(attack(shuffled), attack(world), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("attack", [run_trajectory, run_seqmia])
def test_the_shadow_may_have_other_records_than_the_target(attack):
    world = make_vector_world(1.0, seed=10, n_records=60)
    fewer = replace(world, shadow_sequences=world.shadow_sequences[:40], shadow_members=world.shadow_members[:40])
    assert attack(fewer).shape == (60,)


# Vectors


def naive_instance_vector(world):
    scores = []
    for i in range(len(world.labels)):
        mean = {
            status: np.mean([world.shadows[k, i] for k in range(6) if world.trained_on[k, i] == status], axis=0)
            for status in (True, False)
        }
        scores.append(entropy(mean[False], world.target[i]) - entropy(mean[True], world.target[i]))
    return scores


def test_instance_vector_is_the_difference_of_the_divergences():
    world = make_vector_world(1.0, seed=11, n_records=50)
    exact = replace(world, target=world.target.astype(np.float64), shadows=world.shadows.astype(np.float64))
    np.testing.assert_allclose(run_instance_vector(exact), naive_instance_vector(exact), rtol=1e-9, atol=1e-12)


def test_instance_vector_ranks_a_record_also_where_the_target_says_zero():
    shadows = np.array([[[0.9, 0.1]] * 2, [[0.6, 0.4]] * 2])
    scores = instance_vector.score(
        target_vectors=np.array([[1.0, 0.0], [0.0, 1.0]]),
        shadow_vectors=shadows,
        shadow_membership=np.array([[True, True], [False, False]]),
    )
    assert np.isfinite(scores).all()
    assert scores[0] > 0 > scores[1]


def test_adversary_1_sees_three_posteriors_of_one_shadow_and_no_order():
    world = make_vector_world(1.0, seed=12, n_records=80)
    mixed = replace(
        world,
        target=np.random.default_rng(0).permuted(world.target, axis=1),
        shadows=np.concatenate([world.shadows[:1], world.shadows[1:][::-1]]),
        trained_on=np.concatenate([world.trained_on[:1], ~world.trained_on[1:]]),
    )
    attack = run_learned(ml_leaks.adversary_1, ml_leaks.MLLeaks(), labels=False)
    np.testing.assert_allclose(attack(mixed), attack(world), rtol=1e-9)
    other = run_learned(ml_leaks.adversary_1, ml_leaks.MLLeaks(shadow=3), labels=False)
    assert not np.allclose(other(world), attack(world))


def test_adversary_1_takes_both_posteriors_of_two_classes():
    world = make_vector_world(1.0, seed=13, n_records=80)
    two = {"target_vectors": world.target[:, :2], "shadow_vectors": world.shadows[..., :2]}
    scores = ml_leaks.adversary_1(**two, shadow_membership=world.trained_on, rng=np.random.default_rng(0))
    assert np.isfinite(scores).all()


def test_adversary_3_is_the_largest_posterior():
    world = make_vector_world(1.0, seed=14, n_records=40)
    np.testing.assert_array_equal(run_adversary_3(world), [max(vector) for vector in world.target])


def mean_difference(rows, membership, asked, seed):
    """A learner that can be followed by hand."""
    return asked @ (rows[membership].mean(axis=0) - rows[~membership].mean(axis=0)) + seed * 0


def naive_per_class(world, min_rows):
    scores = []
    for label, asked in zip(world.labels, world.target.astype(np.float64), strict=True):
        rows = {True: [], False: []}
        everything = {True: [], False: []}
        for vectors, trained_on in zip(world.shadows.astype(np.float64), world.trained_on, strict=True):
            for i, vector in enumerate(vectors):
                everything[bool(trained_on[i])].append(vector)
                if world.labels[i] == label:
                    rows[bool(trained_on[i])].append(vector)
        used = everything if min(len(rows[True]), len(rows[False])) < min_rows else rows
        scores.append(asked @ (np.mean(used[True], axis=0) - np.mean(used[False], axis=0)))
    return scores


def test_each_class_learns_from_its_own_rows_and_a_poor_one_from_all():
    world = make_vector_world(1.0, seed=15, n_records=40)
    labels = world.labels.copy()
    labels[labels == 3] = 0
    labels[:2] = 3
    world = replace(world, labels=labels)
    vectors = ShadowVectors.check(**shown(world))
    scores = _learners.per_class(vectors, world.labels, mean_difference, 7, np.random.default_rng(0))
    np.testing.assert_allclose(scores, naive_per_class(world, 7), rtol=1e-9)
    alone = _learners.per_class(vectors, world.labels, mean_difference, 6, np.random.default_rng(0))
    np.testing.assert_array_equal(alone != scores, labels == 3)


def test_the_seed_of_a_class_does_not_depend_on_the_other_classes():
    world = make_vector_world(1.0, seed=16)
    attack = run_learned(shokri.score, shokri.Shokri(network=QUICK))
    kept = np.flatnonzero(world.labels == 2)
    np.testing.assert_allclose(attack(world.permuted(kept)), attack(world)[kept], rtol=1e-9)


# Learners


def test_the_logistic_regression_is_at_its_optimum():
    rng = np.random.default_rng(17)
    rows, asked = rng.normal(size=(80, 3)) * (1, 5, 0.2), rng.normal(size=(10, 3))
    membership = rows[:, 0] + rng.normal(size=80) > 0
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    sign = np.where(membership, 1.0, -1.0)

    def cost(weights):
        return 0.5 * weights[:3] @ weights[:3] + np.logaddexp(0, -sign * (scaled @ weights[:3] + weights[3])).sum()

    best = minimize(cost, np.zeros(4), options={"gtol": 1e-6}).x
    expected = (asked - rows.mean(axis=0)) / rows.std(axis=0) @ best[:3] + best[3]
    np.testing.assert_allclose(_learners.fit_logistic(rows, membership, asked, 0), expected, atol=2e-3)


def test_log_odds_are_those_of_the_network_and_do_not_saturate():
    rng = np.random.default_rng(18)
    rows = rng.normal(size=(60, 3))
    net = MLPClassifier((32, 16), max_iter=30, tol=1e3, random_state=0).fit(rows, rows[:, 0] > 0)
    log_odds = _learners._log_odds(net, rows)
    np.testing.assert_allclose(log_odds, logit(net.predict_proba(rows)[:, 1]), rtol=1e-9)
    assert len(np.unique(net.predict_proba(1e4 * rows)[:, 1])) < len(rows)
    assert len(np.unique(_learners._log_odds(net, 1e4 * rows))) == len(rows)


def test_a_network_takes_the_steps_of_its_torch_twin():
    rng = np.random.default_rng(19)
    rows = rng.normal(size=(30, 3))
    membership = rng.random(30) < 0.5
    settings = Network(hidden=(5,), optimizer="sgd", learning_rate=0.5, weight_decay=0.3, epochs=3, batch_size=30)
    scaled = StandardScaler().fit_transform(rows)
    first = MLPClassifier((5,), solver="sgd", learning_rate_init=1e-30, alpha=0, random_state=4, tol=1e3)
    order = _learners.own_order(rows, membership)
    first.fit(scaled[order], membership[order].astype(int))
    layers = [torch.tensor(value, requires_grad=True) for value in (*first.coefs_, *first.intercepts_)]
    w1, w2, b1, b2 = layers
    groups = [{"params": [w1, w2], "weight_decay": 0.3}, {"params": [b1, b2]}]
    optimizer = torch.optim.SGD(groups, lr=0.5, momentum=0.9)
    inputs, wanted = torch.tensor(scaled), torch.tensor(membership, dtype=torch.float64)
    for _ in range(3):
        loss = F.binary_cross_entropy_with_logits((torch.relu(inputs @ w1 + b1) @ w2 + b2)[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expected = (torch.relu(inputs @ w1 + b1) @ w2 + b2)[:, 0].detach().numpy()
    np.testing.assert_allclose(settings.fit(rows, membership, rows, 4), expected, rtol=1e-9, atol=1e-12)


# Sequences


def naive_metrics(vector, label):
    others = [p for c, p in enumerate(vector) if c != label]
    p_y = vector[label]
    return [
        -np.log(p_y),
        max(vector),
        np.sqrt(np.mean([(p - np.mean(vector)) ** 2 for p in vector])),
        -sum(p * np.log(p) for p in vector),
        -(1 - p_y) * np.log(p_y) - sum(p * np.log(1 - p) for p in others),
    ]


def test_the_five_metrics_of_a_snapshot():
    world = make_vector_world(1.0, seed=20, n_records=30)
    vectors = world.target.astype(np.float64)
    expected = [naive_metrics(vector, label) for vector, label in zip(vectors, world.labels, strict=True)]
    shown_metrics = seqmia.metrics(vectors, world.labels)
    np.testing.assert_allclose(shown_metrics, expected, rtol=1e-9)
    assert shown_metrics.shape == (30, len(seqmia.METRICS))


def naive_attention_lstm(net, sequence):
    """One sequence [snapshot, metric] through the equations, in NumPy."""
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    hidden, cell, states = np.zeros(4), np.zeros(4), []
    for x in sequence:
        gates = weights["lstm.weight_ih_l0"] @ x + weights["lstm.bias_ih_l0"]
        gates = gates + weights["lstm.weight_hh_l0"] @ hidden + weights["lstm.bias_hh_l0"]
        enter, forget, new, out = np.split(gates, 4)
        cell = expit(forget) * cell + expit(enter) * np.tanh(new)
        hidden = expit(out) * np.tanh(cell)
        states.append(hidden)
    attention = np.exp([state @ hidden for state in states])
    context = np.average(states, axis=0, weights=attention)
    return weights["head.weight"][0] @ np.concatenate([hidden, context]) + weights["head.bias"][0]


def test_the_network_is_an_lstm_with_attention_to_its_last_state():
    net = seqmia._fresh(3, 4, torch.Generator().manual_seed(1)).double()
    sequences = torch.randn(5, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        log_odds = net(sequences).numpy()
    expected = [naive_attention_lstm(net, sequence.numpy()) for sequence in sequences]
    np.testing.assert_allclose(log_odds, expected, rtol=1e-9)


def test_seqmia_tells_apart_what_only_the_order_shows():
    rng = np.random.default_rng(21)
    members, shadow_members = rng.random(300) < 0.5, rng.random(300) < 0.5

    def sequences(rising):
        values = np.sort(rng.normal(size=(300, N_SNAPSHOTS)), axis=1)
        return np.where(rising[:, None], values, values[:, ::-1])[..., None]

    scores = seqmia.score(
        target_sequences=sequences(members),
        shadow_sequences=sequences(shadow_members),
        shadow_membership=shadow_members,
        generator=torch.Generator().manual_seed(0),
        settings=seqmia.SeqMIA(epochs=20),
    )
    assert auc(scores, members) > 0.95


def test_seqmia_draws_from_its_generator_only():
    world = make_vector_world(1.0, seed=22, n_records=60)
    before = torch.get_rng_state()
    scores = run_seqmia(world)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    np.testing.assert_array_equal(run_seqmia(world), scores)


# Attack D


@pytest.mark.parametrize("variance", ["pooled", "per-record"])
def test_attack_d_is_a_z_score_against_the_students(variance):
    rng = np.random.default_rng(23)
    target, students = rng.normal(size=(9, 2)), rng.normal(size=(5, 9, 2))
    spread = [[np.var(students[:, i, q], ddof=1) for q in range(2)] for i in range(9)]
    expected = []
    for i in range(9):
        z = []
        for q in range(2):
            variance_used = spread[i][q] if variance == "per-record" else np.mean([row[q] for row in spread])
            z.append((target[i, q] - np.mean(students[:, i, q])) / np.sqrt(variance_used))
        expected.append(np.mean(z))
    scores = attack_d.score(
        target_signal=target, distilled_signal=students, settings=attack_d.AttackD(variance=variance)
    )
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_attack_d_counts_the_students_that_it_beats():
    scores = attack_d.score(
        target_signal=np.array([[0.0], [1.0], [3.0]]),
        distilled_signal=np.array([[[1.0], [1.0], [1.0]], [[2.0], [2.0], [2.0]]]),
        settings=attack_d.AttackD(estimate="fraction"),
    )
    np.testing.assert_array_equal(scores, [0.0, 0.5, 1.0])


# Distillation


class Linear(nn.Module):
    """A student whose steps can be followed by hand."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights.clone())

    def forward(self, inputs):
        return inputs @ self.weights


def small_problem(n_records=40, seed=24):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n_records, 3, generator=generator, dtype=torch.float64)
    answers = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    return inputs, Linear(answers), torch.zeros(3, 4, dtype=torch.float64)


def distil(student, teacher, inputs, **settings):
    return distillation.snapshots(
        teacher=teacher,
        student=student,
        inputs=inputs,
        generator=torch.Generator().manual_seed(0),
        settings=distillation.Distillation(**settings),
    )


def test_distillation_takes_the_steps_of_the_formula():
    inputs, teacher, start = small_problem()
    lr, momentum, decay, epochs = 0.5, 0.9, 0.1, 4
    wanted = F.softmax(teacher(inputs).detach(), dim=1)
    weights, velocity = start.clone(), torch.zeros_like(start)
    found = distil(Linear(start), teacher, inputs, epochs=epochs, learning_rate=lr, weight_decay=decay)
    for epoch, student in enumerate(found):
        gradient = inputs.T @ (F.softmax(inputs @ weights, dim=1) - wanted) / len(inputs) + decay * weights
        velocity = momentum * velocity + gradient
        weights = weights - lr * 0.5 * (1 + np.cos(np.pi * epoch / epochs)) * velocity
        np.testing.assert_allclose(student.weights.detach(), weights, rtol=1e-9, atol=1e-12)


def test_the_student_comes_to_answer_like_the_teacher():
    inputs, teacher, start = small_problem()
    divergences = []
    for student in distil(Linear(start), teacher, inputs, epochs=30, batch_size=8, weight_decay=0.0):
        assert not student.training
        answers = F.log_softmax(student(inputs).detach(), dim=1)
        divergences.append(F.kl_div(answers, F.softmax(teacher(inputs).detach(), dim=1), reduction="batchmean"))
    assert len(divergences) == 30
    assert divergences[-1] < 0.05 * divergences[0]


def test_log_probabilities_teach_as_logits_do():
    inputs, teacher, start = small_problem()
    by_logits, by_probabilities = (
        [student.weights.detach().clone() for student in distil(Linear(start), asked, inputs, epochs=3)]
        for asked in (teacher, lambda batch: F.softmax(teacher(batch), dim=1).log())
    )
    for one, other in zip(by_logits, by_probabilities, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_the_teacher_is_asked_once_for_every_record_at_once():
    inputs, teacher, start = small_problem()
    asked = []

    def counted(batch):
        asked.append(len(batch))
        return teacher(batch)

    found = distil(Linear(start), counted, inputs, epochs=5, batch_size=16)
    assert asked == [16, 16, 8]
    list(found)
    assert asked == [16, 16, 8]


def test_distillation_draws_from_its_generator_only():
    inputs, teacher, start = small_problem()

    def last_weights():
        student = nn.Sequential(nn.Dropout(0.3), Linear(start))
        for _ in distil(student, teacher, inputs, epochs=3, batch_size=7):
            torch.rand(1)
        return student[1].weights.detach().clone()

    first = last_weights()
    torch.rand(5)
    assert torch.equal(last_weights(), first)
    before = torch.get_rng_state()
    next(distil(nn.Sequential(nn.Dropout(0.3), Linear(start)), teacher, inputs, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_norm_survives_a_last_batch_of_one_record():
    inputs, teacher, start = small_problem(n_records=17)
    student = nn.Sequential(nn.BatchNorm1d(3, dtype=torch.float64), Linear(start))
    assert len(list(distil(student, teacher, inputs, epochs=2, batch_size=8))) == 2


def test_a_student_that_diverges_is_told():
    inputs, teacher, start = small_problem()
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        list(distil(Linear(start), teacher, 1e200 * inputs, epochs=50, learning_rate=1e200, weight_decay=1.0))


def test_snapshots_of_a_student_feed_the_attack_that_reads_them():
    inputs, teacher, start = small_problem()
    labels = teacher(inputs).argmax(dim=1).numpy()

    def sequences(model):
        found = [
            F.softmax(student(inputs).detach(), dim=1) for student in distil(Linear(start), model, inputs, epochs=3)
        ]
        return np.stack(
            [seqmia.metrics(p.numpy(), labels) for p in (*found, F.softmax(model(inputs).detach(), dim=1))], 1
        )

    target = sequences(teacher)
    assert target.shape == (40, 4, 5)
    members = np.arange(40) < 20
    settings = seqmia.SeqMIA(epochs=2)
    generator = torch.Generator().manual_seed(0)
    scores = seqmia.score(
        target_sequences=target,
        shadow_sequences=target,
        shadow_membership=members,
        generator=generator,
        settings=settings,
    )
    assert np.isfinite(scores).all()


# What is refused


def seen(**changes):
    return {**shown(make_vector_world(0.0, seed=25, n_records=20)), **changes}


def small_sequences(**changes):
    arrays = {
        "target_sequences": np.zeros((4, 3, 2)),
        "shadow_sequences": np.zeros((4, 3, 2)),
        "shadow_membership": np.array([True, False, True, False]),
    }
    return {**arrays, **changes, "generator": torch.Generator()}


def small_trajectory(**changes):
    arrays = {
        "target_trajectory": np.zeros((4, 3)),
        "shadow_trajectory": np.zeros((4, 3)),
        "shadow_membership": np.array([True, False, True, False]),
    }
    return {**arrays, **changes, "rng": np.random.default_rng(0)}


RNG = np.random.default_rng(0)
LABELS = np.zeros(20, dtype=np.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: instance_vector.score(**seen(target_vectors=np.full((20, 4), 2.0))), "target_vectors must hold prob"),
        (lambda: instance_vector.score(**seen(target_vectors=np.ones((19, 4)))), "does not fit target_vectors"),
        (lambda: instance_vector.score(**seen(shadow_vectors=np.ones((20, 4)))), r"\[model, record, class\]"),
        (lambda: instance_vector.score(**seen(shadow_membership=np.ones((6, 20)))), "must be boolean"),
        (lambda: instance_vector.score(**seen(shadow_membership=np.ones((6, 19), bool))), "does not fit the shadows"),
        (lambda: instance_vector.score(**seen(shadow_membership=np.ones((6, 20), bool))), "records that were not"),
        (
            lambda: instance_vector.score(**seen(shadow_membership=np.arange(20) != np.full((6, 1), 3))),
            "record 3 has 0 IN models",
        ),
        (lambda: shokri.score(**seen(), labels=LABELS + 4, rng=RNG), r"labels must lie in 0\.\.3, got 4\.\.4"),
        (lambda: shokri.score(**seen(), labels=LABELS[1:], rng=RNG), "labels must be 20 integers"),
        (lambda: class_vector.score(**seen(), labels=LABELS * 0.0, rng=RNG), "labels must be 20 integers"),
        (
            lambda: ml_leaks.adversary_1(**seen(), rng=RNG, settings=ml_leaks.MLLeaks(shadow=6)),
            "shadow 6 was asked for, there are 6",
        ),
        (lambda: ml_leaks.adversary_3(target_vectors=np.array([0.5])), "target_vectors must be a non-empty array"),
        (lambda: trajectory.score(**small_trajectory(target_trajectory=np.zeros((4, 2)))), "has 2 snapshots"),
        (lambda: trajectory.score(**small_trajectory(shadow_membership=np.ones(4, bool))), "records that were not"),
        (lambda: trajectory.score(**small_trajectory(target_trajectory=np.full((4, 3), np.inf))), "not finite"),
        (lambda: seqmia.score(**small_sequences(target_sequences=np.zeros((4, 3, 1)))), "the target's"),
        (lambda: seqmia.score(**small_sequences(shadow_membership=np.zeros(3, bool))), "does not fit the shadows"),
        (lambda: seqmia.metrics(np.ones((2, 3)), np.array([0, 3])), "labels must lie in"),
        (
            lambda: attack_d.score(target_signal=np.zeros((3, 1)), distilled_signal=np.zeros((2, 3, 2))),
            "does not fit target_signal",
        ),
        (
            lambda: attack_d.score(target_signal=np.zeros((3, 1)), distilled_signal=np.zeros((1, 3, 1))),
            "two models or more",
        ),
        (lambda: distil(nn.Identity(), lambda x: x, torch.zeros(0, 3)), "at least one record"),
        (lambda: distil(nn.Identity(), lambda x: x[:, 0], torch.zeros(4, 3)), r"must answer \[record, class\]"),
        (lambda: distil(nn.Identity(), lambda x: x / 0, torch.zeros(4, 3)), "not finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (Network, {"hidden": ()}),
        (Network, {"hidden": (4, 0)}),
        (Network, {"optimizer": "lbfgs"}),
        (Network, {"learning_rate": 0.0}),
        (Network, {"weight_decay": -1.0}),
        (Network, {"epochs": 0}),
        (Network, {"batch_size": 0}),
        (shokri.Shokri, {"min_rows": 0}),
        (class_vector.ClassVector, {"classifier": "forest"}),
        (class_vector.ClassVector, {"min_rows": 0}),
        (ml_leaks.MLLeaks, {"classifier": "forest"}),
        (ml_leaks.MLLeaks, {"top": 0}),
        (ml_leaks.MLLeaks, {"shadow": -1}),
        (seqmia.SeqMIA, {"hidden": 0}),
        (seqmia.SeqMIA, {"learning_rate": np.inf}),
        (seqmia.SeqMIA, {"decay": 0.0}),
        (seqmia.SeqMIA, {"weight_decay": -1.0}),
        (distillation.Distillation, {"epochs": 0}),
        (distillation.Distillation, {"learning_rate": 0.0}),
        (distillation.Distillation, {"momentum": 1.0}),
        (distillation.Distillation, {"weight_decay": -1.0}),
        (attack_d.AttackD, {"estimate": "mean"}),
        (attack_d.AttackD, {"variance": "global"}),
        (attack_d.AttackD, {"sigma_floor": 0.0}),
    ],
)
def test_settings_out_of_range_are_named(settings, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        settings(**changes)
