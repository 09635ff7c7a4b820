"""Specialised Purifiers: the contest of both nets, what each needs, and what it is for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from auditor.defense import Applied, UnfitDefenseError
from auditor.defenses import DEFENSES, applied_to
from auditor.defenses.purifier import Purifier, wrap
from auditor.defenses.purifier_specialised import (
    Specialised,
    _Adversary,
    _Batch,
    _small_images,
    wrap_against_inversion,
    wrap_against_membership,
)
from auditor.signals import class_probabilities
from auditor.target import load_target, save_target
from auditor.wrappers import InversionPurifierNet, MembershipPurifierNet
from tests.defenses.purified import as_features, memorised
from tests.digits import write_network

IDS = ["purifier-membership", "purifier-inversion"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return memorised(tmp_path_factory.mktemp("purifier"))


def test_the_adversary_is_told_the_log_vector_and_what_comes_with_it():
    net = nn.Linear(5, 1)
    raw = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    told, wanted = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0], [1.0]])
    loss = _Adversary(net, functional.binary_cross_entropy_with_logits).loss(raw, _Batch(raw, 1, told, wanted))
    expected = 0.0
    for logits, extra, label in zip(raw, told, wanted, strict=True):
        log_vector = logits - torch.log(torch.exp(logits).sum())
        guess = torch.sigmoid(net(torch.cat([log_vector, extra])))
        expected -= torch.log(guess if label else 1 - guess).item() / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def fitted(world):
    """By what a purifier is specialised against: a target behind one that met no adversary, and one that did."""
    target, holding, _ = world
    fits = {"membership": (wrap_against_membership, 3.0), "inversion": (wrap_against_inversion, 20.0)}
    return {
        name: [target.with_wrapper(fit(target, holding, 0, Specialised(weight))) for weight in (0.0, against)]
        for name, (fit, against) in fits.items()
    }


def test_against_membership_confidences_of_members_and_others_come_nearer(world, fitted):
    _, holding, others = world
    gaps = []
    for defended in fitted["membership"]:
        inside, outside = (class_probabilities(defended, one.inputs).max(1) for one in (holding.members, others))
        gaps.append(inside.mean() - outside.mean())
    assert gaps[1] < 0.8 * gaps[0]


def test_against_inversion_vectors_tell_less_of_the_image(world, fitted):
    _, holding, others = world
    errors = []
    for defended in fitted["inversion"]:
        known, asked = (_read(defended, one) for one in (holding.reference, others))
        found = np.linalg.lstsq(known[0], known[1], rcond=None)[0]
        errors.append(((asked[0] @ found - asked[1]) ** 2).mean())
    assert errors[1] > 1.05 * errors[0]


def _read(target, records):
    """Log vectors with a constant, and flat images in 0..1."""
    logarithms = np.log(class_probabilities(target, records.inputs).astype(np.float64).clip(1e-12))
    return np.column_stack([logarithms, np.ones(records.n)]), records.inputs.reshape(records.n, -1) / 255


def test_labels_are_hardly_changed(world, fitted):
    target, _, others = world
    before = class_probabilities(target, others.inputs).argmax(1)
    for _, defended in fitted.values():
        assert (before == class_probabilities(defended, others.inputs).argmax(1)).mean() > 0.93


def test_images_are_pooled_to_32_pixels_a_side():
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (3, 64, 32, 2), dtype=np.uint8)
    by_hand = large.reshape(3, 32, 2, 32, 2).mean(2).transpose(0, 3, 1, 2).reshape(3, -1) / 255
    assert _small_images(large).numpy() == pytest.approx(by_hand, abs=1e-6)
    small = rng.integers(0, 256, (300, 4, 5, 1), dtype=np.uint8)
    assert _small_images(small).numpy() == pytest.approx(small.reshape(300, -1) / 255)


def test_holdings_that_do_not_fit(world):
    target, holding, _ = world
    with pytest.raises(UnfitDefenseError, match="features"):
        wrap_against_inversion(target, replace(holding, reference=as_features(holding.reference)), 0)
    with pytest.raises(UnfitDefenseError, match="there are none"):
        wrap_against_membership(target, replace(holding, members=holding.members.take(np.arange(0))), 0)


@pytest.mark.parametrize(
    ("fit", "kind"),
    [(wrap_against_membership, MembershipPurifierNet), (wrap_against_inversion, InversionPurifierNet)],
)
def test_the_seed_decides_all_and_nothing_else_is_drawn_from(world, fit, kind):
    target, holding, _ = world
    before = torch.get_rng_state()
    nets = [fit(target, holding, seed, Specialised(adversary_weight=1.0, epochs=2)) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(type(net) is kind and not net.training for net in nets)
    first, again, other = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


def test_the_net_is_as_wide_as_that_of_the_basic_form(world):
    target, holding, _ = world
    few = Specialised(adversary_weight=1.0, epochs=1)
    settings = [fit(target, holding, 1, few).settings() for fit in (wrap_against_membership, wrap_against_inversion)]
    assert settings == [wrap(target, holding, 1, Purifier(epochs=1)).settings()] * 2


@pytest.mark.parametrize("name", IDS)
def test_the_rows_are_saved_and_known_again(world, tmp_path, name):
    target, holding, others = world
    row = next(one for one in DEFENSES if one.card.id == name)
    few = replace(holding, reference=holding.reference.take(np.arange(70)))
    defended = Applied(row).apply(target, few, 0)
    save_target(defended, tmp_path / "saved")
    again = load_target(tmp_path / "saved", arch=write_network(tmp_path))
    assert np.array_equal(*(class_probabilities(one, others.inputs) for one in (defended, again)))
    assert applied_to(again) == Applied(row)
    assert not again.wrapper.holds_members
