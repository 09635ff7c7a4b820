"""HAMP: soft labels and loss against loops, outputs that keep order and label, and the way to a folder and back."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.defense import Applied, UnfitDefenseError
from auditor.defenses.hamp import ROW, Settings, entropy_loss, random_inputs, retrain, top_share, wrap
from auditor.errors import InputError
from auditor.signals import accuracy, class_probabilities
from auditor.target import load_target, save_target
from auditor.training import train
from auditor.wrappers import Hamp
from tests.defenses.lessons import head_only, holding
from tests.digits import template, write_network

ANSWERS = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [1.0, 0.0, 0.0]])


@pytest.mark.parametrize("classes", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_soft_labels_get_enough_entropy_by_steps_of_a_hundredth(classes, share):
    top, entropy = 1.0, 0.0
    while entropy < share * math.log(classes):
        top -= 0.01
        rest = (1 - top) / (classes - 1)
        entropy = -top * math.log(top) - (classes - 1) * rest * math.log(rest)
    assert top_share(classes, share) == pytest.approx(top)
    assert top_share(classes, share) > 1 / classes


def test_the_loss_is_that_of_a_loop_times_the_classes():
    answers, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double(), torch.arange(5) % 3
    divergence, entropy = [], []
    for row, label in zip(answers.softmax(1).tolist(), labels.tolist(), strict=True):
        soft = [0.6 if index == label else 0.2 for index in range(3)]
        divergence += [target * (math.log(target) - math.log(one)) for target, one in zip(soft, row, strict=True)]
        entropy.append(-sum(one * math.log(one) for one in row))
    expected = np.mean(divergence) - 0.01 * np.mean(entropy)
    assert entropy_loss(answers, labels, 0.6, 0.01).item() == pytest.approx(3 * expected, abs=1e-12)


def vectors():
    """Probabilities with ties, with exact zeros and ones, and ordinary ones."""
    hard = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.2, 0.4, 0.4]])
    return torch.cat([hard, torch.rand(200, 3, generator=torch.Generator().manual_seed(1)).softmax(1)])


def test_order_and_label_stay_and_values_are_those_of_one_stored_answer():
    asked = vectors()
    released = Hamp(ANSWERS)(asked)
    assert torch.equal(released.argmax(1), asked.argmax(1))
    for before, after in zip(asked, released, strict=True):
        assert all(after[one] >= after[other] for one in range(3) for other in range(3) if before[one] > before[other])
    given = {tuple(row) for row in released.sort(1, descending=True).values.tolist()}
    assert given == {tuple(row) for row in ANSWERS.tolist()}


def test_a_single_query_and_none_are_answered():
    wrapper = Hamp(ANSWERS)
    assert wrapper(vectors()[:1]).sum().item() == pytest.approx(1)
    assert wrapper(vectors()[:0]).shape == (0, 3)


def test_random_images_use_the_whole_range_and_random_features_stay_in_their_column():
    rng = np.random.default_rng(0)
    images = random_inputs(np.zeros((3, 8, 8, 1), np.uint8), 50, rng)
    assert (images.shape, images.dtype, images.min(), images.max()) == ((50, 8, 8, 1), np.uint8, 0, 255)
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    drawn = random_inputs(features, 500, rng)
    assert drawn.dtype == np.float32
    for column in range(3):
        assert set(drawn[:, column]) == set(features[:, column])
    assert len({tuple(row) for row in drawn}) > 4


def test_it_is_less_confident_about_members_and_says_the_same_classes(tmp_path):
    given = holding()
    plain = train(template(tmp_path), given.members.inputs, given.members.labels, given.recipe, seed=3)
    bare = retrain(template(tmp_path), given, 3)
    defended = Applied(ROW).apply(template(tmp_path), given, 3)
    members = given.members.inputs
    assert defended.has_weights_of(bare)
    assert defended.stochastic
    assert class_probabilities(bare, members).max(1).mean() < class_probabilities(plain, members).max(1).mean() - 0.2
    released = class_probabilities(defended, members)
    assert np.array_equal(released.argmax(1), class_probabilities(bare, members).argmax(1))
    assert np.array_equal(released, class_probabilities(defended, members))
    np.testing.assert_allclose(released.sum(1), 1, atol=1e-6)
    assert accuracy(defended, given.reference.inputs, given.reference.labels) > 0.8


def test_the_same_seed_gives_the_same_defended_model(tmp_path):
    given = holding(epochs=2)
    first, again, other = (Applied(ROW).apply(template(tmp_path), given, seed) for seed in (4, 4, 5))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint


def saved(tmp_path):
    made = Applied(ROW).apply(template(tmp_path), holding(epochs=2), 4)
    save_target(made, tmp_path / "saved")
    return made, tmp_path / "saved"


def test_a_saved_model_comes_back_with_both_parts(tmp_path):
    made, folder = saved(tmp_path)
    loaded = load_target(folder, arch=write_network(tmp_path))
    assert loaded.trained_with.defense == loaded.wrapper.kind == "hamp"
    inputs = holding().members.inputs
    assert np.array_equal(class_probabilities(loaded, inputs), class_probabilities(made, inputs))


@pytest.mark.parametrize("settings", [{"num_answers": 0, "num_classes": 10}, {"num_answers": 7, "num_classes": 10}, {}])
def test_impossible_settings_are_refused(settings, tmp_path):
    _, folder = saved(tmp_path)
    file = folder / "privaudit-wrapper.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"settings": settings}))
    with pytest.raises(InputError):
        load_target(folder, arch=write_network(tmp_path))


def test_answers_that_would_change_labels_are_left_out(tmp_path):
    undecided = template(tmp_path)
    flat = undecided.with_weights({name: one * 0 for name, one in undecided.module.state_dict().items()})
    with pytest.raises(UnfitDefenseError, match="the same probability for every random input"):
        wrap(flat, holding(), 0, Settings(answers=5))


def test_it_does_not_fit_without_held_out_records_or_where_the_head_alone_is_trained(tmp_path):
    given = holding()
    with pytest.raises(UnfitDefenseError, match="no records"):
        wrap(template(tmp_path), replace(given, reference=given.reference.take(np.arange(0))), 0)
    with pytest.raises(UnfitDefenseError, match="the head alone"):
        retrain(template(tmp_path), head_only(), 0)
