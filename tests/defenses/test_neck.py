"""The neck of a low-rank header in the hands of whoever holds the weights: against a network written out by hand."""

import pytest
import torch
from torch import nn

from auditor.checkpoint.new_head import NewHead
from auditor.defenses.neck import StraightThroughTanh, neck_of, straight_through, without_tanh
from tests.digits import template


@pytest.fixture
def target(tmp_path):
    """Its neck is saturated: without help hardly any gradient passes."""
    torch.manual_seed(3)
    made = template(tmp_path).with_head(NewHead(kind="low-rank", width=4))
    neck = neck_of(made.module)
    state = made.module.state_dict()
    prefix = next(name for name, part in made.module.named_modules() if part is neck)
    return made.with_weights(state | {f"{prefix}.1.weight": 1000 * state[f"{prefix}.1.weight"]})


@pytest.fixture
def images():
    return torch.rand((5, 8, 8, 1), generator=torch.Generator().manual_seed(0))


def by_hand(target, images, activation):
    body, neck = target.module[:-1], neck_of(target.module)
    return neck[3](activation(neck[1](neck[0](body(target.prepare(images))))))


def slope(target, images):
    asked = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target.logits(asked)[:, 0].sum(), asked)
    return gradient


def test_without_tanh_the_neck_is_linear(target, images):
    opened = without_tanh(target)
    torch.testing.assert_close(opened.logits(images), by_hand(target, images, nn.Identity()))
    assert not torch.allclose(opened.logits(images), target.logits(images))


def test_straight_through_answers_alike(target, images):
    assert torch.equal(straight_through(target).logits(images), target.logits(images))
    values = torch.linspace(-30, 30, 601)
    assert torch.equal(StraightThroughTanh()(values), values.tanh())


def test_gradients_pass_as_if_tanh_were_not_there(target, images):
    stopped, linear, passed = (slope(one, images) for one in (target, without_tanh(target), straight_through(target)))
    torch.testing.assert_close(passed, linear)
    assert passed.abs().amax((1, 2, 3)).min() > 0
    assert stopped.norm() < 0.1 * passed.norm()


def test_the_model_itself_stays_as_it_was(target, images):
    before = target.logits(images)
    for opened in (without_tanh(target), straight_through(target)):
        assert opened.has_weights_of(target)
        assert not any(parameter.requires_grad for parameter in opened.module.parameters())
        assert not opened.module.training
    assert torch.equal(target.logits(images), before)
    assert isinstance(neck_of(target.module)[2], nn.Tanh)
