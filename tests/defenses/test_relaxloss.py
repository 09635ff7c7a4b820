"""RelaxLoss: each branch of the loss against a loop, which epoch takes which, and where training ends."""

import math

import pytest
import torch
from torch.nn import functional

from auditor.defense import UnfitDefenseError
from auditor.defenses import relaxloss
from auditor.defenses.relaxloss import RelaxLoss, flattening_loss, level_for, relaxed_loss, retrain
from auditor.signals import class_probabilities
from auditor.training import train
from tests.defenses.lessons import head_only, holding
from tests.digits import template

ANSWERS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(12) % 4
MEAN = functional.cross_entropy(ANSWERS, LABELS)


def flattened(answers, labels, upper):
    """The flattening loss record by record; one that is right teaches no soft label."""
    losses = []
    for row, label in zip(answers.softmax(1), labels.tolist(), strict=True):
        confidence = min(row[label].item(), upper)
        soft = [confidence if index == label else (1 - confidence) / (len(row) - 1) for index in range(len(row))]
        to_soft = -sum(share * math.log(one.item()) for share, one in zip(soft, row, strict=True))
        losses.append((row.argmax().item() != label) * to_soft + math.log(row[label].item()))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("upper", [1.0, 0.3])
def test_flattening_is_that_of_a_loop(upper):
    predicted = ANSWERS.argmax(1) == LABELS
    assert predicted.any()
    assert not predicted.all()
    assert flattening_loss(ANSWERS, LABELS, upper).item() == pytest.approx(flattened(ANSWERS, LABELS, upper), abs=1e-12)


def test_the_gradient_goes_through_the_soft_labels():
    answers = ANSWERS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(flattening_loss(answers, LABELS, 1.0), answers)
    step = 1e-6
    for record, index in ((0, 0), (1, 3), (5, 2)):
        moved = [ANSWERS.clone(), ANSWERS.clone()]
        moved[0][record, index] += step
        moved[1][record, index] -= step
        slope = (flattened(moved[0], LABELS, 1.0) - flattened(moved[1], LABELS, 1.0)) / (2 * step)
        assert gradient[record, index].item() == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("above", [0.5, -0.5])
def test_even_epochs_go_to_the_level_from_both_sides(above):
    level = MEAN.item() - above
    assert relaxed_loss(ANSWERS, LABELS, 0, level, 1.0).item() == pytest.approx(abs(above))
    assert relaxed_loss(ANSWERS, LABELS, 2, level, 1.0).item() == pytest.approx(abs(above))


def test_odd_epochs_descend_above_the_level_and_flatten_below():
    descending, flattening = (relaxed_loss(ANSWERS, LABELS, 1, MEAN.item() + by, 1.0) for by in (-0.1, 0.1))
    assert torch.equal(descending, MEAN)
    assert torch.equal(flattening, flattening_loss(ANSWERS, LABELS, 1.0))


@pytest.mark.parametrize(("classes", "level"), [(2, math.log(2) / 2), (10, 1.0), (100, 1.0)])
def test_the_level_stays_below_the_loss_of_guessing(classes, level):
    assert level_for(classes, RelaxLoss()) == pytest.approx(level)


def test_the_epochs_take_turns(tmp_path, monkeypatch):
    seen = []

    def watched(answers, labels, epoch, level, upper):
        seen.append(epoch)
        return relaxed_loss(answers, labels, epoch, level, upper)

    monkeypatch.setattr(relaxloss, "relaxed_loss", watched)
    retrain(template(tmp_path), holding(members=64, epochs=3, batch_size=32), 0)
    assert seen == [0, 0, 1, 1, 2, 2]


def test_training_ends_near_the_level_instead_of_zero(tmp_path):
    given = holding(epochs=20)
    members = given.members

    def loss(model):
        own = class_probabilities(model, members.inputs)[range(members.n), members.labels]
        return -torch.from_numpy(own).log().mean().item()

    plain = train(template(tmp_path), members.inputs, members.labels, given.recipe, seed=2)
    assert loss(plain) < 0.2
    assert loss(retrain(template(tmp_path), given, 2)) == pytest.approx(1.0, abs=0.4)


def test_the_same_seed_gives_the_same_model(tmp_path):
    given = holding(epochs=4)
    first, again, other = (retrain(template(tmp_path), given, seed) for seed in (4, 4, 5))
    assert first.has_weights_of(again)
    assert not first.has_weights_of(other)


def test_it_does_not_fit_where_the_head_alone_is_trained(tmp_path):
    with pytest.raises(UnfitDefenseError, match="the head alone"):
        retrain(template(tmp_path), head_only(), 0)
