"""AEPPT-style perturbation: the defender's net, the steps, and the attacker who builds the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from auditor.defense import Holding, Inspected, UnfitDefenseError
from auditor.defenses import aeppt
from auditor.defenses.surrogate import Fit, membership_net
from auditor.errors import InputError
from auditor.records import Records
from auditor.signals import class_probabilities
from auditor.stats.auc import auc
from auditor.target import load_target, save_target
from auditor.training import train
from auditor.wrappers import LabelsOnly, Perturbed
from auditor.wrappers.membership_net import MembershipNet
from tests.defenses.score_vectors import assert_keeps_labels, drawn_net, hard_vectors
from tests.digits import RECIPE, digits, template
from tests.tiny_checkpoints import timm_folder

QUICK = Fit(hidden=(16, 8), steps=150, lr=0.01)
OVERFITTED = RECIPE.model_copy(update={"epochs": 60})
SETTINGS = {"num_classes": 4, "hidden": (3, 2), "step": 0.01, "steps": 60, "tolerance": 0.0}


def perturbed(classes: int = 10, **changes: float) -> Perturbed:
    return Perturbed(drawn_net(classes), **{"step": 0.01, "steps": 60, "tolerance": 0.0, **changes}).eval()


def straight(slope: float, offset: float, *, step: float = 0.01, steps: int = 60, tolerance: float = 0.0) -> Perturbed:
    """Two classes and h(s) = slope * (larger - smaller) + offset."""
    net = MembershipNet(2, ()).requires_grad_(requires_grad=False)
    net.layers[0].weight.copy_(torch.tensor([[slope, -slope]]))
    net.layers[0].bias.fill_(offset)
    return Perturbed(net, step=step, steps=steps, tolerance=tolerance).eval()


def naive(wrapper: Perturbed, vector: torch.Tensor) -> torch.Tensor:
    """The rule of the header, record by record."""
    s, label = vector.clone(), int(vector.argmax())
    start = float(wrapper.member_logit(s[None])[0])
    for _ in range(wrapper.steps):
        asked = s.clone().requires_grad_()
        logit = wrapper.member_logit(asked[None])[0]
        here = float(logit.detach())
        if here * start <= 0 or abs(here) <= wrapper.tolerance:
            break
        logit.backward()
        moved = (s - wrapper.step * np.sign(here) * asked.grad.sign()).clamp(min=1e-6)
        moved = moved / moved.sum()
        if int(moved.argmax()) != label:
            break
        s = moved
    return s


@pytest.mark.parametrize("classes", [2, 3, 10, 101])
@pytest.mark.parametrize("step", [0.01, 1.0])
def test_labels_stay(classes, step):
    assert_keeps_labels(perturbed(classes, step=step), hard_vectors(classes))


@pytest.mark.parametrize("tolerance", [0.0, 0.2])
def test_the_steps_are_those_of_the_header(tolerance):
    wrapper = perturbed(tolerance=tolerance).double()
    vectors = hard_vectors(10).double()[::3]
    wanted = torch.stack([naive(wrapper, vector) for vector in vectors])
    np.testing.assert_allclose(wrapper(vectors), wanted, atol=1e-12)
    assert not torch.allclose(wanted, vectors, atol=0.05)


def test_a_straight_net_is_met_where_it_is_undecided():
    wrapper = straight(10.0, -6.0, step=0.004)
    vectors = torch.tensor([[0.95, 0.05], [0.4, 0.6]])
    released = wrapper(vectors)
    np.testing.assert_allclose(released.amax(1), 0.8, atol=0.005)
    assert released[0, 0] <= 0.8 <= released[1, 1]


def test_what_is_undecided_already_is_left_alone():
    vectors = hard_vectors(2)
    assert torch.equal(straight(0.0, 0.0)(vectors), vectors)
    assert torch.equal(straight(1.0, 0.0, tolerance=1.0)(vectors), vectors)


def test_steps_end():
    vectors = torch.tensor([[0.99, 0.01]])
    released = straight(1.0, 9.0, steps=3)(vectors)
    naive_steps = vectors[0]
    for _ in range(3):
        naive_steps = (naive_steps - torch.tensor([0.01, -0.01])).clamp(min=1e-6)
        naive_steps = naive_steps / naive_steps.sum()
    np.testing.assert_allclose(released[0], naive_steps, atol=1e-6)


def test_gradients_are_found_wherever_it_is_asked():
    wrapper, vectors = perturbed(), hard_vectors(10)
    wanted = wrapper(vectors)
    with torch.inference_mode():
        inside = wrapper(vectors * 1)
    assert torch.equal(inside, wanted)
    np.testing.assert_allclose(wrapper(vectors[11:12]), wanted[11:12], atol=1e-5)
    assert wrapper(vectors[:0]).shape == (0, 10)
    assert all(parameter.grad is None for parameter in wrapper.parameters())


# --- the defender's net ---------------------------------------------------------------------------------------------


def test_the_net_tells_two_sets_apart_and_leaves_the_random_state_alone():
    rng = torch.Generator().manual_seed(0)
    members, others = torch.randn(40, 3, generator=rng) + 2, torch.randn(400, 3, generator=rng) - 2
    state = torch.get_rng_state()
    net, again, other = (membership_net(members, others, QUICK, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert (net(members) > 0).float().mean() > 0.95
    assert (net(others) < 0).float().mean() > 0.95
    assert torch.equal(net(others), again(others))
    assert not torch.equal(net(others), other(others))
    assert not net.training


def test_many_others_do_not_tip_the_net():
    same = torch.ones(500, 3)
    net = membership_net(same[:10], same, QUICK, 0)
    assert abs(float(net(same[:1])[0])) < 0.2


# --- on a model -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Models overfitted to halves of 400 records with half of their labels wrong, and what the defender holds."""
    plain = template(tmp_path_factory.mktemp("network"))
    images, labels = digits()
    rng = np.random.default_rng(3)
    labels = np.where(rng.random(len(labels)) < 0.5, rng.integers(10, size=len(labels)), labels)
    audit, reference = Records.of(images[:400], labels[:400]), Records.of(images[400:800], labels[400:800])
    first, second = (rng.permutation(400) < 200 for _ in range(2))
    inclusion = np.stack([first, ~first, second, ~second])
    models = []
    for seed, included in enumerate(inclusion):
        holding = Holding(audit.take(np.flatnonzero(included)), reference, OVERFITTED)
        model = train(plain, images[:400][included], labels[:400][included], OVERFITTED, seed=seed)
        models.append((model, model.with_wrapper(aeppt.wrap(model, holding, seed, fit=QUICK)), holding))
    return audit, inclusion, models


def test_a_model_keeps_its_labels_and_the_defenders_net_is_misled(world):
    audit, inclusion, models = world
    model, defended, _ = models[0]
    before, after = (class_probabilities(each, audit.inputs) for each in (model, defended))
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
    np.testing.assert_allclose(after.sum(1), 1, atol=2e-6)
    logits = [defended.wrapper.member_logit(torch.from_numpy(vectors)).numpy() for vectors in (before, after)]
    right = [((logit > 0) == inclusion[0]).mean() for logit in logits]
    assert right[0] > 0.6
    assert right[1] < 0.5


def test_the_same_seed_gives_the_same_wrapper(world):
    model, defended, holding = world[2][0]
    again, other = (aeppt.wrap(model, holding, seed, fit=QUICK) for seed in (0, 1))
    ours = defended.wrapper.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in again.state_dict().items())
    assert not all(torch.equal(ours[name], tensor) for name, tensor in other.state_dict().items())
    assert again.holds_members
    assert not again.stochastic


def test_a_net_needs_members_and_others(world):
    model, _, holding = world[2][0]
    few = holding.members.take(np.arange(9))
    with pytest.raises(UnfitDefenseError, match="at least 10 members, there are 9"):
        aeppt.wrap(model, replace(holding, members=few), 0)
    with pytest.raises(UnfitDefenseError, match="at least 10 reference records"):
        aeppt.wrap(model, replace(holding, reference=few), 0)


def test_the_attackers_own_aeppt_sees_through_it(world):
    audit, inclusion, models = world
    shadows = tuple(defended for _, defended, _ in models[1:])
    inspected = Inspected(models[0][1], audit, shadows, inclusion[1:], audit, seed=0)
    scores = aeppt.own_aeppt(inspected, QUICK)
    assert scores.shape == (400,)
    assert scores.dtype == np.float64
    assert auc(scores, inclusion[0]).low > 0.6
    np.testing.assert_array_equal(scores, aeppt.own_aeppt(inspected, QUICK))
    chance = auc(scores, np.random.default_rng(0).permutation(400) < 200)
    assert chance.low < 0.5 < chance.high


def test_the_probe_needs_shadows_behind_the_same_defense(world):
    audit, inclusion, models = world
    one = Inspected(models[0][1], audit, (models[1][1],), inclusion[1:2], audit, seed=0)
    with pytest.raises(ValueError, match="two shadows"):
        aeppt.own_aeppt(one)
    others = tuple(model.with_wrapper(LabelsOnly()) for model, _, _ in models[1:3])
    with pytest.raises(ValueError, match="behind AEPPT"):
        aeppt.own_aeppt(replace(one, shadows=others, inclusion=inclusion[1:3]))


# --- saving ---------------------------------------------------------------------------------------------------------


def test_a_saved_target_comes_back(tmp_path):
    target = load_target(timm_folder(tmp_path / "a")).with_wrapper(perturbed(4, step=0.02))
    save_target(target, tmp_path / "b")
    again = load_target(tmp_path / "b")
    logits = 5 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.released(logits), target.released(logits))
    assert again.wrapper.settings() == target.wrapper.settings()


def test_a_net_for_another_number_of_classes_is_refused(tmp_path):
    save_target(load_target(timm_folder(tmp_path / "a")).with_wrapper(perturbed(5)), tmp_path / "b")
    with pytest.raises(InputError, match="not made for 4 classes"):
        load_target(tmp_path / "b")


@pytest.mark.parametrize(
    "change",
    [
        {"num_classes": 0},
        {"hidden": (0,)},
        {"step": 0.0},
        {"step": float("nan")},
        {"steps": 10**9},
        {"tolerance": -1.0},
        {"tolerance": float("inf")},
        {"more": 1},
    ],
)
def test_impossible_settings_are_refused(change):
    Perturbed.rebuilt(SETTINGS)
    with pytest.raises(ValidationError):
        Perturbed.rebuilt({**SETTINGS, **change})
