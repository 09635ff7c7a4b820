import importlib.util
import math
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from auditor.defense import Applied, UnfitDefenseError
from auditor.defenses import DEFENSES, dp_sgd
from auditor.signals import accuracy
from auditor.splits import Recipe
from auditor.target import Architecture, load_target, save_target
from auditor.training import Lesson, batches_in
from tests.defenses.lessons import holding, normed
from tests.digits import RECIPE, template

ROW = next(row for row in DEFENSES if row.card.id == "dp-sgd")
needs_opacus = pytest.mark.skipif(importlib.util.find_spec("opacus") is None, reason="opacus is not installed")

IN_PLACE = """
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, 16))
        self.first, self.norm, self.last = nn.Linear(64, 16), nn.GroupNorm(4, 16), nn.Linear(16, num_classes)

    def forward(self, images):
        hidden = self.first(images.flatten(1)) + self.shift
        shortcut = self.norm(hidden)
        shortcut += hidden
        return self.last(torch.relu_(shortcut))


def network(num_classes=10):
    return Network(num_classes)
"""

BRANCHING = """
from torch import nn


class Network(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(64, num_classes)

    def forward(self, images):
        logits = self.head(images.flatten(1))
        return logits if logits.sum() > 0 else -logits


def network(num_classes=10):
    return Network(num_classes)
"""


def in_place(folder):
    """A network with a parameter of its own, and with sums in place as residual networks have them."""
    (folder / "in_place.py").write_text(IN_PLACE)
    architecture = Architecture("factory", f"{folder / 'in_place.py'}:network", 10, 1)
    return replace(template(folder), module=architecture.build().eval(), architecture=architecture)


@pytest.mark.parametrize("make", [ROW.retrain, ROW.settle])
def test_batch_normalisation_is_unfit(make, tmp_path):
    with pytest.raises(UnfitDefenseError, match="group or layer normalisation"):
        make(normed(tmp_path), holding(), 1)


@pytest.mark.parametrize("make", [ROW.retrain, ROW.settle])
def test_without_opacus_the_remedy_is_told(make, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(UnfitDefenseError, match=r'pip install "privaudit\[dp\]"'):
        make(template(tmp_path), holding(), 1)


def test_gradients_are_those_of_each_record_alone(tmp_path):
    target, members = in_place(tmp_path), holding(members=5).members
    module, recipe = target.architecture.build(), RECIPE.model_copy(update={"label_smoothing": 0.1})
    inputs, labels = target.prepare(members.inputs), torch.from_numpy(members.labels.copy())
    total = dp_sgd._note_gradients(module, inputs, labels, recipe)
    losses = [
        functional.cross_entropy(module(inputs[i : i + 1]), labels[i : i + 1], label_smoothing=0.1) for i in range(5)
    ]
    assert total.item() == pytest.approx(sum(loss.item() for loss in losses), rel=1e-5)
    for parameter in module.parameters():
        alone = [torch.autograd.grad(loss, parameter, retain_graph=True)[0] for loss in losses]
        assert torch.allclose(parameter.grad_sample, torch.stack(alone), atol=1e-6)


def test_batches_are_poisson_draws():
    torch.manual_seed(0)
    recipe = Recipe(epochs=1, lr=0.1, batch_size=4)
    lesson = dp_sgd.PrivateLesson(dp_sgd.DPSGD())
    drawn = [index for _ in range(40) for index in lesson.batches(100, recipe, torch.device("cpu"))]
    sizes = torch.tensor([float(len(index)) for index in drawn])
    assert len(drawn) == 40 * batches_in(100, recipe) == 1000
    assert sizes.mean().item() == pytest.approx(4, abs=0.3)
    assert sizes.var().item() == pytest.approx(100 * 0.04 * 0.96, abs=0.8)
    assert sizes.min() == 0
    assert torch.cat(drawn).bincount(minlength=100).min() > 0


@pytest.mark.parametrize(("records", "sizes"), [(9, [4, 4]), (10, [4, 4, 2]), (8, [4, 4]), (3, [3])])
def test_plain_batches_take_every_record_once_but_no_batch_of_one(records, sizes):
    recipe = Recipe(epochs=1, lr=0.1, batch_size=4)
    drawn = list(Lesson().batches(records, recipe, torch.device("cpu")))
    assert [len(index) for index in drawn] == sizes
    assert batches_in(records, recipe) == len(sizes)
    assert len(torch.cat(drawn).unique()) == sum(sizes)


@needs_opacus
@pytest.mark.parametrize("count", [0, 3, 40])
def test_a_step_without_noise_is_the_sum_of_clipped_gradients(count, tmp_path):
    target, members = in_place(tmp_path), holding(members=40).members
    module = target.architecture.build()
    recipe = Recipe(epochs=1, lr=0.5, momentum=0.0, batch_size=8)
    inputs, labels = target.prepare(members.inputs[:count]), torch.from_numpy(members.labels[:count].copy())
    before = [parameter.detach().clone() for parameter in module.parameters()]
    sums = [torch.zeros_like(parameter) for parameter in before]
    for i in range(count):
        loss = functional.cross_entropy(module(inputs[i : i + 1]), labels[i : i + 1])
        gradient = torch.autograd.grad(loss, list(module.parameters()))
        factor = min(1.0, 0.7 / (math.sqrt(sum(part.square().sum().item() for part in gradient)) + 1e-6))
        sums = [one + factor * part for one, part in zip(sums, gradient, strict=True)]
    lesson = dp_sgd.PrivateLesson(dp_sgd.DPSGD(noise=0.0, clipping=0.7))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    loss = lesson.step(module, optimizer, inputs, labels, recipe)
    assert loss.isfinite()
    for parameter, old, total in zip(module.parameters(), before, sums, strict=True):
        assert torch.allclose(parameter, old - 0.5 * total / 8, atol=1e-6)


@needs_opacus
def test_noise_is_added_once_per_step_with_the_deviation_stated():
    module = nn.Linear(400, 50)
    before = module.weight.detach().clone()
    lesson = dp_sgd.PrivateLesson(dp_sgd.DPSGD(noise=2.0, clipping=1e-3))
    torch.manual_seed(0)
    inputs, labels = torch.randn(50, 400), torch.zeros(50, dtype=torch.int64)
    recipe = Recipe(epochs=1, lr=1.0, momentum=0.0, batch_size=10)
    lesson.step(module, torch.optim.SGD(module.parameters(), lr=1.0), inputs, labels, recipe)
    moved = (module.weight.detach() - before).std().item()
    assert moved == pytest.approx(2.0 * 1e-3 / 10, rel=0.05)


@needs_opacus
def test_one_unsampled_step_spends_what_the_gaussian_mechanism_does():
    """A batch of everything, once: epsilon = min over orders of alpha / (2 sigma^2) + the conversion term."""
    delta, sigma = 1e-5, 2.0
    found = dp_sgd.epsilon_of(64, Recipe(epochs=1, lr=0.1, batch_size=64), sigma, delta)
    orders = torch.arange(1.01, 200, 0.01, dtype=torch.float64)
    spent = orders / (2 * sigma**2) + torch.log1p(-1 / orders) - (math.log(delta) + orders.log()) / (orders - 1)
    assert found == pytest.approx(spent.min().item(), rel=0.01)


@needs_opacus
def test_what_is_spent_is_settled_on_and_grows_with_the_epochs(tmp_path):
    short, long = (ROW.settle(template(tmp_path), holding(epochs=epochs), 1) for epochs in (2, 12))
    assert short["delta"] == long["delta"] == 1e-5
    assert 0 < short["epsilon"] < long["epsilon"] < 20


@needs_opacus
def test_digits_are_learned_and_saved_with_what_was_spent(tmp_path):
    held = holding(members=300, lr=0.02)
    applied = Applied(ROW, {"delta": 1e-5, "epsilon": 9.0})
    target, again = (applied.retrained(in_place(tmp_path), held, 3) for _ in range(2))
    assert target.has_weights_of(again)
    assert accuracy(target, held.reference.inputs, held.reference.labels) > 0.4
    save_target(target, tmp_path / "saved")
    loaded = load_target(tmp_path / "saved", arch=f"{tmp_path / 'in_place.py'}:network")
    assert loaded.trained_with.chosen == {"delta": 1e-5, "epsilon": 9.0}
    assert loaded.has_weights_of(target)


@needs_opacus
@pytest.mark.parametrize("augmentation", [(), ("flip", "crop")])
def test_it_trains_a_head_alone_on_public_features(augmentation, tmp_path):
    """Batch normalisation below a frozen head mixes nothing: the network stays in eval mode."""
    public = normed(tmp_path)
    save_target(public.with_weights(public.module.state_dict()), tmp_path / "public")
    init = tmp_path / "public" / "model.safetensors"
    recipe = {**RECIPE.model_dump(), "epochs": 1, "trainable": "head", "init": init, "augmentation": augmentation}
    target = ROW.retrain(public, replace(holding(), recipe=Recipe(**recipe)), 1)
    after = target.module.state_dict()
    changed = {name for name, old in public.module.state_dict().items() if not torch.equal(old, after[name])}
    assert changed == {"5.weight", "5.bias"}


@needs_opacus
def test_a_network_without_a_gradient_per_record_is_unfit(tmp_path):
    (tmp_path / "branching.py").write_text(BRANCHING)
    architecture = Architecture("factory", f"{tmp_path / 'branching.py'}:network", 10, 1)
    target = replace(template(tmp_path), module=architecture.build(), architecture=architecture)
    with pytest.raises(UnfitDefenseError, match="no gradient per record"):
        ROW.retrain(target, holding(), 1)
