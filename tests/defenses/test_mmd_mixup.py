"""MMD and mix-up: the loss and the draws against loops, when outputs are matched, and how the weight is chosen."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from auditor.compute import generator
from auditor.defense import Applied, Inspected, UnfitDefenseError
from auditor.defenses import mmd_mixup
from auditor.defenses.mmd_mixup import (
    ROWS,
    MmdMixup,
    MmdMixupLesson,
    Trial,
    best_weight,
    matched_rows,
    mixup_loss,
    mmd_squared,
    remembered,
    retrain,
    settle,
)
from auditor.records import Records
from auditor.signals import accuracy, class_probabilities
from auditor.stats.auc import auc
from auditor.target import load_target, save_target
from auditor.training import train
from tests.defenses.lessons import Watched, features, head_only, holding, mislabelled, normed, room, without_class
from tests.digits import RECIPE, parts, template, write_network

PLAIN = MmdMixup(mixup=False)


def probabilities(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(1)


def test_the_discrepancy_is_that_of_a_loop():
    ours, theirs, sigma = probabilities(7, 4, seed=0), probabilities(5, 4, seed=1), 0.7

    def mean(one, other):
        pairs = [(a, b) for a in one.tolist() for b in other.tolist()]
        near = [math.exp(-sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / (2 * sigma**2)) for a, b in pairs]
        return sum(near) / len(near)

    expected = mean(ours, ours) + mean(theirs, theirs) - 2 * mean(ours, theirs)
    assert mmd_squared(ours, theirs, sigma).item() == pytest.approx(expected, abs=1e-12)
    assert mmd_squared(ours, ours, sigma).item() == pytest.approx(0, abs=1e-12)


def test_the_mixup_loss_is_cross_entropy_to_the_mixed_labels():
    answers, labels, others = probabilities(6, 4, seed=2), torch.arange(6) % 4, torch.arange(6) % 3
    mixed = 0.3 * functional.one_hot(labels, 4) + 0.7 * functional.one_hot(others, 4)
    expected = -(mixed * functional.log_softmax(answers, 1)).sum(1).mean()
    torch.testing.assert_close(mixup_loss(answers, labels, others, 0.3, 0.0), expected)


def test_a_batch_is_mixed_with_itself_by_one_share():
    batch, labels, watched = torch.rand(8, 3), torch.arange(8) % 3, Watched()
    lesson = MmdMixupLesson(MmdMixup(), 0.0, features(4, 0), 32, seed=5)
    loss = lesson.loss(watched, batch, labels, RECIPE)
    rng = generator(5, "mmd and mixup")
    share, other = float(rng.beta(1, 1)), rng.permutation(8)
    mixed = share * batch + (1 - share) * batch[other]
    assert torch.equal(watched.asked[0][1], mixed)
    torch.testing.assert_close(loss, mixup_loss(mixed, labels, labels[other], share, 0.0))


def test_held_out_records_are_drawn_from_the_same_class_and_all_of_them_can_be():
    pool, wanted = np.array([2, 0, 1, 0, 2, 0]), np.repeat([0, 1, 2], 200)
    rows = matched_rows(wanted, pool, np.random.default_rng(0))
    assert np.array_equal(pool[rows], wanted)
    assert set(rows) == set(range(6))


@pytest.mark.parametrize(
    ("trials", "weight"),
    [
        ([Trial(0.3, 1.0, 0.80), Trial(3.0, 0.90, 0.79), Trial(30.0, 0.5, 0.5)], 3.0),
        ([Trial(0.3, 1.0, 0.80), Trial(3.0, 0.81, 0.77), Trial(30.0, 0.5, 0.5)], 0.3),
        ([Trial(0.3, 1.0, 0.80), Trial(3.0, 0.99, 0.78), Trial(30.0, 0.5, 0.5)], 0.3),
        ([Trial(30.0, 0.9, 0.8), Trial(3.0, 0.9, 0.8), Trial(0.3, 1.0, 0.8)], 3.0),
        ([Trial(0.3, 0.70, 0.80), Trial(3.0, 0.84, 0.79)], 3.0),
    ],
    ids=["smallest gap", "too far from the best", "2 points still count", "smaller on ties", "a gap has no sign"],
)
def test_the_weight_with_the_smallest_gap_near_the_best_accuracy_is_taken(trials, weight):
    assert best_weight(trials, 0.02) == weight


def matching(*, members_right, reference_right, weight=3.0, epoch=1, epochs=3):
    """What a module is asked between two epochs; in training mode to measure, in eval mode to match."""
    learned, held_out = features(250, 1, right=members_right), features(60, 2, right=reference_right)
    watched, labels = Watched(), torch.from_numpy(learned.labels.copy())
    lesson = MmdMixupLesson(PLAIN, weight, held_out, 32, seed=0)
    there = room(watched, torch.from_numpy(learned.inputs.copy()), labels, epoch=epoch, epochs=epochs)
    assert lesson.between_epochs(there)
    assert watched.training
    return learned, held_out, watched


def test_outputs_are_matched_class_by_class_in_eval_mode():
    learned, held_out, watched = matching(members_right=1.0, reference_right=0.5)
    measured = [batch for training, batch in watched.asked if training]
    assert sorted(torch.cat(measured).tolist()) == sorted(learned.inputs.tolist())
    _, *pairs = [batch for training, batch in watched.asked if not training]
    assert [len(batch) for batch in pairs] == [100, 100, 100, 100, 50, 50]
    label_of = {
        tuple(row): label for one in (learned, held_out) for row, label in zip(one.inputs, one.labels, strict=True)
    }
    ours, theirs = ([label_of[tuple(row)] for row in torch.cat(part).numpy()] for part in (pairs[::2], pairs[1::2]))
    assert ours == sorted(learned.labels)
    assert ours == theirs
    assert watched.weight.item() != 1.0


def test_a_step_descends_on_the_discrepancy_with_held_out_answers_as_constants():
    _, _, watched = matching(members_right=1.0, reference_right=0.5)
    asked = [batch for training, batch in watched.asked if not training][1:]
    weight = torch.tensor(1.0, requires_grad=True)
    for ours, theirs in zip(asked[::2], asked[1::2], strict=True):
        constant = (weight.detach() * theirs).softmax(1)
        loss = 3.0 * mmd_squared((weight * ours).softmax(1), constant, 1.0)
        (gradient,) = torch.autograd.grad(loss, weight)
        weight = (weight - 0.1 * gradient).detach().requires_grad_()
    assert watched.weight.item() == pytest.approx(weight.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"members_right": 0.5, "reference_right": 0.5}, {True: 8, False: 1}),
        ({"members_right": 1.0, "reference_right": 0.5, "weight": 0.0}, {True: 0, False: 0}),
        ({"members_right": 1.0, "reference_right": 0.5, "epoch": 3}, {True: 0, False: 0}),
    ],
    ids=["gap too small", "no weight", "last epoch"],
)
def test_nothing_is_matched_when_it_should_not_be(changes, asked):
    _, _, watched = matching(**changes)
    modes = [training for training, _ in watched.asked]
    assert {mode: modes.count(mode) for mode in (True, False)} == asked
    assert watched.weight.item() == 1.0


def test_without_weight_and_mixup_it_is_plain_training(tmp_path):
    given = holding(epochs=3, augmentation=("flip",))
    made = retrain(normed(tmp_path), given, 4, replace(PLAIN, weight=0.0))
    plain = train(normed(tmp_path), given.members.inputs, given.members.labels, given.recipe, seed=4)
    assert made.has_weights_of(plain)
    assert not made.has_weights_of(retrain(normed(tmp_path), given, 4, PLAIN))


def test_the_same_seed_gives_the_same_model(tmp_path):
    given = holding(epochs=3)
    first, again, other = (retrain(normed(tmp_path), given, seed) for seed in (4, 4, 5))
    assert first.has_weights_of(again)
    assert not first.has_weights_of(other)


def test_it_narrows_the_gap_of_a_model_that_learns_wrong_labels(tmp_path):
    given = holding(epochs=30, optimizer="sgd", lr=0.1, schedule="constant")
    given = replace(given, members=mislabelled(given.members, 1), reference=mislabelled(given.reference, 2))
    parts = (given.members, given.reference)

    def gap(weight):
        model = retrain(template(tmp_path), given, 4, MmdMixup(weight=weight))
        learned, held_out = (accuracy(model, part.inputs, part.labels) for part in parts)
        return learned - held_out

    assert gap(30.0) < gap(0.0) - 0.03


def test_what_settles_the_weight_is_not_trained_on_and_the_final_model_gets_all(tmp_path, monkeypatch):
    given, taught, learned = holding(epochs=2), mmd_mixup.taught, []

    def watched(template, holding, seed, lesson):
        learned.append(holding.members)
        return taught(template, holding, seed, lesson)

    judged = []
    monkeypatch.setattr(mmd_mixup, "taught", watched)
    monkeypatch.setattr(
        mmd_mixup, "accuracy", lambda model, inputs, labels: judged.append(inputs) or accuracy(model, inputs, labels)
    )
    chosen = settle(template(tmp_path), given, 4)
    retrain(template(tmp_path), replace(given, chosen=chosen), 4)
    *trials, final = learned
    assert [members.n for members in trials] == [120, 120, 120]
    assert final is given.members
    for members, held_back in zip(trials, judged[1::2], strict=True):
        both = np.concatenate([members.inputs, held_back])
        assert sorted(both.tolist()) == sorted(given.members.inputs.tolist())
    assert chosen.keys() == {"weight"}
    assert chosen["weight"] in MmdMixup().grid


def test_what_was_settled_on_is_what_is_trained_with_and_stays_with_the_file(tmp_path):
    row = next(one for one in ROWS if one.card.id == "mmd")
    given, plain = holding(epochs=3), template(tmp_path)
    made = Applied(row, {"weight": 30.0}).apply(plain, given, 4)
    assert made.has_weights_of(retrain(plain, given, 4, replace(PLAIN, weight=30.0)))
    save_target(made, tmp_path / "saved")
    loaded = load_target(tmp_path / "saved", arch=write_network(tmp_path))
    assert loaded.trained_with.defense == "mmd"
    assert loaded.trained_with.chosen == {"weight": 30.0}
    assert loaded.has_weights_of(made)


def test_it_does_not_fit_where_a_class_has_no_held_out_record(tmp_path):
    given = holding()
    short = replace(given, reference=without_class(given.reference, 7))
    with pytest.raises(UnfitDefenseError, match="1 of the classes trained on, the first of them number 7"):
        retrain(template(tmp_path), short, 0)
    with pytest.raises(UnfitDefenseError, match="number 7"):
        settle(template(tmp_path), short, 0)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.card.id)
def test_it_does_not_fit_where_the_head_alone_is_trained(row, tmp_path):
    with pytest.raises(UnfitDefenseError, match="the head alone"):
        row.retrain(template(tmp_path), head_only(), 0)


def test_mixup_alone_needs_no_held_out_records(tmp_path):
    row = next(one for one in ROWS if one.card.id == "mixup")
    given = holding(epochs=2)
    nobody = given.reference.take(np.arange(0))
    made = row.retrain(template(tmp_path), replace(given, reference=nobody), 4)
    assert not made.has_weights_of(retrain(template(tmp_path), given, 4, replace(PLAIN, weight=0.0)))


def test_training_that_fails_is_said_to_be_unfit(tmp_path):
    with pytest.raises(UnfitDefenseError, match="diverged"):
        retrain(template(tmp_path), holding(optimizer="sgd", lr=1000.0, weight_decay=10.0), 0)


# --- whether the held-out records are recognised ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Members, 200 records held out and 200 fresh ones, some labels wrong, and models that saw the members alone."""
    images, labels = (np.concatenate(one) for one in zip(*parts(150, 200, 200), strict=True))
    records = mislabelled(Records.of(images, labels), 1)
    members, others = records.take(np.arange(150)), records.take(np.arange(150, 550))
    plain = template(tmp_path_factory.mktemp("asked"))
    shadows = tuple(train(plain, members.inputs, members.labels, RECIPE, seed=seed) for seed in (1, 2, 3))
    return plain, members, others, shadows


def recognised(target, asked, order=slice(None)):
    _, _, others, shadows = asked
    scores = remembered(Inspected(target, others, shadows, np.zeros((3, 400), dtype=bool), others, 0))
    return auc(scores[order], np.arange(400) < 200)


def test_a_planted_memory_of_the_held_out_records_is_found(asked):
    plain, members, others, _ = asked
    learned = Records.concatenate([members, others.take(np.arange(200))])
    target = train(plain, learned.inputs, learned.labels, RECIPE, seed=9)
    assert recognised(target, asked).low > 0.6


def test_a_model_that_never_saw_them_recognises_nobody(asked):
    plain, members, _, _ = asked
    target = train(plain, members.inputs, members.labels, RECIPE, seed=9)
    drawn = [recognised(target, asked, np.random.default_rng(seed).permutation(400)) for seed in range(40)]
    assert sum(one.low <= 0.5 <= one.high for one in drawn) >= 35


def test_what_is_remembered_lies_above_the_line_through_undefended_models(asked):
    plain, _, others, shadows = asked
    target = plain.with_weights(shadows[0].module.state_dict())

    def log_odds(model):
        p = class_probabilities(model, others.inputs)[np.arange(others.n), others.labels].astype(float)
        return np.log(p) - np.log1p(-p)

    few = others.take(np.flatnonzero(np.abs([log_odds(one) for one in shadows]).max(0) < 8))
    others = few
    seen, expected = log_odds(target), np.mean([log_odds(one) for one in shadows], axis=0)
    slope, start = np.polyfit(expected, seen, 1)
    score = remembered(Inspected(target, few, shadows, np.zeros((3, few.n), dtype=bool), few, 0))
    assert score == pytest.approx(seen - slope * expected - start, abs=1e-2)
    assert few.n > 50


def test_shadows_that_say_the_same_of_everything_expect_the_same(asked):
    plain, _, others, shadows = asked
    silent = plain.with_weights({name: 0 * one for name, one in shadows[0].module.state_dict().items()})
    score = remembered(Inspected(shadows[0], others, (silent,), np.zeros((1, 400), dtype=bool), others, 0))
    alone = remembered(Inspected(shadows[0], others, (shadows[0],), np.zeros((1, 400), dtype=bool), others, 0))
    assert score.std() > 1
    assert alone == pytest.approx(np.zeros(400), abs=1e-6)
