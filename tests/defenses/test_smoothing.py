"""Label smoothing: the loss for factors of either sign, the schedule of the negative one, and training with both."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from auditor.defense import UnfitDefenseError
from auditor.defenses.smoothing import (
    ROWS,
    NegativeSmoothing,
    factor_at,
    retrain,
    retrain_negative,
    smoothed_loss,
)
from auditor.signals import class_probabilities
from auditor.training import train
from tests.defenses.lessons import head_only, holding
from tests.digits import template

ANSWERS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(9) % 4


@pytest.mark.parametrize("factor", [0.1, 0.0, -0.05])
def test_the_loss_is_cross_entropy_to_smoothed_labels(factor):
    losses = []
    for row, label in zip(ANSWERS.softmax(1).tolist(), LABELS.tolist(), strict=True):
        soft = [(1 - factor) * (index == label) + factor / 4 for index in range(4)]
        losses.append(-sum(target * np.log(share) for target, share in zip(soft, row, strict=True)))
    assert smoothed_loss(ANSWERS, LABELS, factor).item() == pytest.approx(np.mean(losses), abs=1e-12)


def test_a_positive_factor_is_what_torch_calls_label_smoothing():
    expected = functional.cross_entropy(ANSWERS, LABELS, label_smoothing=0.1)
    torch.testing.assert_close(smoothed_loss(ANSWERS, LABELS, 0.1), expected)


@pytest.mark.parametrize(("epoch", "share"), [(0, 0), (49, 0), (50, 0.02), (60, 0.22), (74, 0.5), (75, 1), (99, 1)])
def test_of_a_hundred_epochs_the_factor_is_that_of_the_code(epoch, share):
    assert factor_at(epoch, 100, NegativeSmoothing()) == pytest.approx(-0.05 * share)


def test_positive_smoothing_is_the_recipe_with_another_factor(tmp_path):
    given = holding(epochs=2)
    recipe = given.recipe.model_copy(update={"label_smoothing": 0.1})
    expected = train(template(tmp_path), given.members.inputs, given.members.labels, recipe, seed=3)
    assert retrain(template(tmp_path), given, 3).has_weights_of(expected)


def test_a_recipe_that_smooths_already_has_nothing_to_gain(tmp_path):
    with pytest.raises(UnfitDefenseError, match=r"smooths labels as it is, by 0\.2"):
        retrain(template(tmp_path), holding(label_smoothing=0.2), 3)


def test_negative_smoothing_pushes_the_other_classes_down_from_the_middle_on(tmp_path):
    given = holding(epochs=12, schedule="constant")

    def others(model):
        """Mean logarithm of the probability that a wrong class gets."""
        logs = np.log(class_probabilities(model, given.members.inputs) + 1e-30)
        logs[np.arange(given.members.n), given.members.labels] = np.nan
        return np.nanmean(logs)

    plain, never, negative = (
        retrain_negative(template(tmp_path), given, 3, settings)
        for settings in (NegativeSmoothing(factor=0.0), NegativeSmoothing(sets_in=1.0, whole=1.0), NegativeSmoothing())
    )
    assert never.has_weights_of(plain)
    assert others(negative) < others(plain) - 0.5


def test_the_same_seed_gives_the_same_model(tmp_path):
    given = holding(epochs=4)
    first, again, other = (retrain_negative(template(tmp_path), given, seed) for seed in (4, 4, 5))
    assert first.has_weights_of(again)
    assert not first.has_weights_of(other)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.card.id)
def test_it_does_not_fit_where_the_head_alone_is_trained(row, tmp_path):
    with pytest.raises(UnfitDefenseError, match="the head alone"):
        row.retrain(template(tmp_path), head_only(), 0)
