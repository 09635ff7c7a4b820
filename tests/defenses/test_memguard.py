"""MemGuard: the search for a misleading vector, the chance of releasing it, and the draw."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import kstest
from torch.nn import functional

from auditor.defense import Holding, UnfitDefenseError
from auditor.defenses import memguard
from auditor.defenses.surrogate import Fit
from auditor.records import Records
from auditor.signals import class_probabilities
from auditor.target import load_target, save_target
from auditor.training import train
from auditor.wrappers import MemGuardNoise
from tests.defenses.score_vectors import assert_keeps_labels, drawn_net, hard_vectors
from tests.digits import RECIPE, digits, template
from tests.tiny_checkpoints import timm_folder

SETTINGS = {"num_classes": 4, "hidden": (3, 2), "budget": 1.0, "step": 0.1, "steps": 299}


def noise(classes: int = 10, seed: int = 0, **changes: float) -> MemGuardNoise:
    key = torch.randint(256, (16,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return MemGuardNoise(drawn_net(classes), key, **{"budget": 1.0, "step": 0.1, "steps": 40, **changes}).eval()


def naive(wrapper: MemGuardNoise, vector: torch.Tensor) -> torch.Tensor:
    """The search of the header for one vector, largest first."""
    first = float(wrapper.net(vector[None])[0])
    best = vector
    if abs(1 / (1 + np.exp(-first)) - 0.5) <= 1e-5:
        return best
    weight = 0.1
    while weight <= 100_000.5:
        e = vector.clamp(min=1e-30).log()
        for _ in range(wrapper.steps):
            asked = e.clone().requires_grad_()
            soft = asked.softmax(0)
            loss = wrapper.net(soft[None]).abs()[0] + 10 * functional.relu(asked[1:].max() - asked[0])
            (loss + weight * (soft - vector).abs().sum()).backward()
            e = e - wrapper.step * asked.grad / asked.grad.norm()
            reached = float(wrapper.net(e.softmax(0)[None])[0]) * first <= 0 and e[0] > e[1:].max()
            if reached:
                break
        if not reached:
            return best
        best, weight = e.softmax(0), weight * 10
    return best


@pytest.mark.parametrize("classes", [2, 3, 10, 101])
@pytest.mark.parametrize("budget", [1.0, 2.0])
def test_labels_stay(classes, budget):
    assert_keeps_labels(noise(classes, budget=budget), hard_vectors(classes))


def test_the_search_is_that_of_the_header():
    wrapper = noise().double()
    vectors = hard_vectors(10).double()[::4]
    order = vectors.argsort(dim=1, descending=True, stable=True)
    wanted = torch.empty_like(vectors)
    for row, places in enumerate(order):
        wanted[row, places] = naive(wrapper, vectors[row, places])
    found = wrapper.misleading(vectors)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    changed = (found != vectors).any(1)
    assert changed.float().mean() > 0.5
    sides = wrapper.member_logit(vectors) * wrapper.net(found.gather(1, order))
    assert (sides[changed] <= 0).all()


def test_the_chance_keeps_the_budget():
    wrapper, vectors = noise(budget=0.05), hard_vectors(10)
    misleading = wrapper.misleading(vectors)
    chance, distance = wrapper.chance(vectors, misleading), (misleading - vectors).abs().sum(1)
    before, after = (wrapper.member_logit(each).sigmoid().sub(0.5).abs() for each in (vectors, misleading))
    wanted = [
        0.0 if here <= there else min(0.05 / far, 1.0)
        for here, there, far in zip(before.tolist(), after.tolist(), distance.tolist(), strict=True)
    ]
    np.testing.assert_allclose(chance, wanted, rtol=1e-5)
    assert 0 < (chance < 1).float().mean() < 1
    assert (chance * distance).max() <= 0.05 + 1e-6
    assert chance.max() > 0


def test_the_draw_decides_what_is_released():
    wrapper, vectors = noise(budget=0.05), hard_vectors(10)
    misleading, released = wrapper.misleading(vectors), wrapper(vectors)
    replaced = wrapper._draw(vectors) < wrapper.chance(vectors, misleading)
    assert torch.equal(released, torch.where(replaced[:, None], misleading, vectors))
    assert 0 < replaced.float().mean() < 1


def test_draws_are_uniform_and_one_for_each_vector_and_key():
    vectors = hard_vectors(10)[-160:]
    draws = torch.stack([noise(seed=seed)._draw(vectors) for seed in range(30)])
    assert kstest(draws.flatten().numpy(), "uniform").pvalue > 1e-3
    assert torch.equal(draws[0], noise(seed=0)._draw(vectors.nextafter(torch.tensor(1.0))))


def test_without_a_budget_nothing_changes():
    vectors = hard_vectors(10)
    assert torch.equal(noise(budget=0.0)(vectors), vectors)


def test_the_same_query_gets_the_same_answer():
    wrapper, vectors = noise(budget=0.05), hard_vectors(10)
    wanted = wrapper(vectors)
    with torch.inference_mode():
        assert torch.equal(wrapper(vectors * 1), wanted)
    singly = torch.cat([wrapper(vectors[row : row + 1]) for row in range(0, 160, 20)])
    np.testing.assert_allclose(singly, wanted[:160:20], atol=1e-4)
    assert not torch.equal(noise(seed=1, budget=0.05)(vectors), wanted)
    assert not wrapper.stochastic


def test_a_model_behind_it_keeps_its_labels(tmp_path):
    images, labels = digits()
    labels = np.where(np.arange(len(labels)) % 2, labels, labels[::-1])  # half of them wrong: members are surer
    recipe = RECIPE.model_copy(update={"epochs": 60})
    model = train(template(tmp_path), images[:150], labels[:150], recipe, seed=0)
    holding = Holding(Records.of(images[:150], labels[:150]), Records.of(images[150:300], labels[150:300]), RECIPE)
    fit, settings = Fit(hidden=(16, 8), steps=150, lr=0.01), memguard.MemGuard(steps=60)
    defended = model.with_wrapper(memguard.wrap(model, holding, 0, settings, fit))
    before, after = (class_probabilities(each, images[:300]) for each in (model, defended))
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
    sure = [
        np.abs(torch.sigmoid(defended.wrapper.member_logit(torch.from_numpy(vectors))).numpy() - 0.5).mean()
        for vectors in (before, after)
    ]
    assert sure[1] < sure[0] / 2
    again = memguard.wrap(model, holding, 0, settings, fit).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in defended.wrapper.state_dict().items())
    with pytest.raises(UnfitDefenseError, match="at least 10 members"):
        memguard.wrap(model, Holding(holding.members.take(np.arange(3)), holding.reference, RECIPE), 0)


def test_a_saved_target_comes_back(tmp_path):
    target = load_target(timm_folder(tmp_path / "a")).with_wrapper(noise(4, budget=0.1))
    save_target(target, tmp_path / "b")
    again = load_target(tmp_path / "b")
    logits = 5 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.released(logits), target.released(logits))
    assert torch.equal(again.wrapper.key, target.wrapper.key)
    assert again.wrapper.holds_members


@pytest.mark.parametrize(
    "change",
    [
        {"num_classes": -1},
        {"hidden": (4, 0)},
        {"budget": -0.1},
        {"budget": float("nan")},
        {"step": float("inf")},
        {"steps": 10**9},
        {"key": 1},
    ],
)
def test_impossible_settings_are_refused(change):
    MemGuardNoise.rebuilt(SETTINGS)
    with pytest.raises(ValidationError):
        MemGuardNoise.rebuilt({**SETTINGS, **change})
