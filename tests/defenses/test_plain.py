"""Plain baselines: three largest, rounded, flattened."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from auditor.defense import Holding, UnfitDefenseError
from auditor.defenses import plain
from auditor.records import Records
from auditor.signals import class_probabilities
from auditor.target import load_target, save_target
from auditor.wrappers import Rounded, Temperature, TopThree
from tests.defenses.score_vectors import assert_keeps_labels, hard_vectors
from tests.digits import RECIPE, digits, template
from tests.tiny_checkpoints import timm_folder

WRAPPERS = [TopThree(), Rounded(1), Rounded(3), Temperature(4.0), Temperature(1000.0)]


@pytest.fixture
def holding():
    images, labels = digits()
    few = Records.of(images[:20], labels[:20])
    return Holding(few, few, RECIPE)


@pytest.mark.parametrize("classes", [2, 3, 10, 101])
@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda wrapper: f"{wrapper.kind}-{dict(wrapper.settings())}")
def test_labels_stay(wrapper, classes):
    assert_keeps_labels(wrapper, hard_vectors(classes))


@pytest.mark.parametrize("row", plain.ROWS, ids=lambda row: row.card.id)
def test_a_model_behind_them_gives_the_same_labels(tmp_path, row, holding):
    images, _ = digits()
    target = template(tmp_path)
    defended = target.with_wrapper(row.wrap(target, holding, 0))
    before, after = (class_probabilities(model, images[:200]) for model in (target, defended))
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
    assert np.abs(before - after).max() > 0.01
    assert defended.facts.wrapper == row.card.id


def test_top_three_by_hand():
    vectors = torch.tensor([[0.1, 0.5, 0.25, 0.05, 0.1], [0.25, 0.25, 0.25, 0.25, 0.0]])
    wanted = [[0.1 / 0.85, 0.5 / 0.85, 0.25 / 0.85, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0, 0]]
    np.testing.assert_allclose(TopThree()(vectors), wanted, atol=1e-7)


def test_rounding_by_hand():
    vectors = torch.tensor([[0.34, 0.36, 0.3], [0.96, 0.04, 0.0], [0.14, 0.12, 0.74]])
    np.testing.assert_allclose(Rounded(1)(vectors), [[0.3, 0.4, 0.3], [1, 0, 0], [1 / 9, 1 / 9, 7 / 9]], atol=1e-7)
    np.testing.assert_allclose(Rounded(2)(vectors), vectors, atol=1e-7)


def test_rounding_leaves_the_label_where_nothing_else_is_left():
    vectors = torch.full((1, 40), 1 / 40)
    vectors[0, 7] += 0.001
    assert Rounded(1)(vectors).nonzero().tolist() == [[0, 7]]


def test_temperature_divides_logits():
    logits = torch.randn(50, 10, generator=torch.Generator().manual_seed(0)) * 5
    flat = Temperature(4.0)(logits.softmax(1))
    np.testing.assert_allclose(flat, (logits / 4).softmax(1), atol=1e-6)


def test_top_three_of_three_classes_is_no_defense(tmp_path, holding):
    target = template(tmp_path)
    small = target.facts.model_copy(update={"num_classes": 3})
    with pytest.raises(UnfitDefenseError, match="with 3 classes"):
        plain.top_three(type(target)(target.module, target.architecture, small, target.device), holding, 0)


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda wrapper: wrapper.kind)
def test_a_saved_target_comes_back(tmp_path, wrapper):
    target = load_target(timm_folder(tmp_path / "a")).with_wrapper(wrapper)
    save_target(target, tmp_path / "b")
    again = load_target(tmp_path / "b")
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.released(logits), target.released(logits))
    assert again.wrapper.settings() == wrapper.settings()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (TopThree, {"shown": 5}),
        (Rounded, {"digits": 0}),
        (Rounded, {"digits": 400}),
        (Rounded, {}),
        (Temperature, {"temperature": 0.5}),
        (Temperature, {"temperature": float("nan")}),
        (Temperature, {"temperature": float("inf")}),
    ],
)
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(ValidationError):
        kind.rebuilt(settings)
