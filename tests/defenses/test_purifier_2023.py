"""Purifier of 2023: the reformer's loss and layout, who is swapped, and the probe that finds them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditor.defense import Applied, Holding, Inspected, UnfitDefenseError
from auditor.defenses import DEFENSES
from auditor.defenses.jitter import _shaken, jitter
from auditor.defenses.purifier_2023 import Purifier2023, autoencoder_loss, surplus, trimmed, wrap, wrap_reformer
from auditor.errors import InputError
from auditor.signals import accuracy, class_probabilities, same_noise
from auditor.splits import Records
from auditor.stats.auc import auc
from auditor.target import load_target, save_target
from auditor.threat import Access
from auditor.wrappers import ConditionalAutoencoder, ReformingPurifier, SwappingPurifier, matches
from tests.defenses.purified import CORNERS, as_features, memorised
from tests.digits import write_network

QUICK = Purifier2023(epochs=40, lr=1e-3)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return memorised(tmp_path_factory.mktemp("purifier"))


@pytest.fixture(scope="module")
def swapping(world):
    target, holding, _ = world
    return target.with_wrapper(wrap(target, holding, 5, QUICK))


@pytest.fixture(scope="module")
def reforming(world):
    target, holding, _ = world
    return target.with_wrapper(wrap_reformer(target, holding, 5, QUICK))


def autoencoder(classes=4):
    torch.manual_seed(0)
    return ConditionalAutoencoder(classes, (5, 6), 3)


def vectors(records, classes=4, seed=0):
    return torch.randn(records, classes, generator=torch.Generator().manual_seed(seed)).mul(3).softmax(1)


def labels_of(target, records):
    return class_probabilities(target, records.inputs).argmax(1)


# --- the reformer -------------------------------------------------------------------------------------------------


def test_the_layout_for_two_classes_is_the_one_told(world):
    target, holding, _ = world
    two = holding.reference.take(np.arange(3))
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    small = replace(target, module=module)
    net = wrap_reformer(small, replace(holding, reference=two), 0, replace(QUICK, epochs=1)).autoencoder
    shapes = [tuple(layer.weight.T.shape) for layer in (*net.encoder, *net.decoder) if isinstance(layer, nn.Linear)]
    # the encoder ends in mean and log variance of a code of 2
    assert shapes == [(4, 32), (32, 64), (64, 128), (128, 4), (2, 128), (128, 64), (64, 32), (32, 2)]


@pytest.mark.parametrize("divergence_weight", [0.0, 0.5])
def test_the_loss_by_hand(divergence_weight):
    net, given = autoencoder(), vectors(6)
    settings = Purifier2023(label_weight=0.3, divergence_weight=divergence_weight)
    torch.manual_seed(9)
    loss = autoencoder_loss(net, given, settings)
    torch.manual_seed(9)
    noise = torch.randn(6, 3)
    total = 0.0
    for p, drawn in zip(given, noise, strict=True):
        top = int(p.argmax())
        mean, log_variance = net.encoder(torch.cat([p, torch.eye(4)[top]])[None])[0].split(3)
        deviation = torch.exp(log_variance / 2)
        released = torch.softmax(net.decoder((mean + deviation * drawn)[None])[0], 0)
        code, prior = torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, 1.0)
        total += (((released - p) ** 2).sum() - 0.3 * released[top].log()).item()
        total += divergence_weight * torch.distributions.kl_divergence(code, prior).sum().item()
    assert loss.item() == pytest.approx(total / 6, rel=1e-4)


def test_the_reformer_learns_to_keep_labels(world, reforming):
    target, _, others = world
    assert (labels_of(reforming, others) == labels_of(target, others)).mean() > 0.95
    assert class_probabilities(reforming, others.inputs) != pytest.approx(class_probabilities(target, others.inputs))


def test_answers_are_drawn_and_come_again_under_the_same_noise(world):
    target = world[0].with_wrapper(ReformingPurifier(autoencoder(10)))
    given = vectors(5, 10)
    assert target.stochastic
    assert not torch.equal(target.wrapper(given), target.wrapper(given))
    seen = []
    for time in (0, 0, 1):
        with same_noise(target, time):
            seen.append(target.wrapper(given))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("kind", [ReformingPurifier, lambda net: SwappingPurifier(net, CORNERS[:2].clone(), 1e-3)])
def test_released_vectors_are_probabilities_even_at_the_corners(kind):
    wrapper = kind(autoencoder()).eval()
    for given in (CORNERS, CORNERS[:1]):
        released = wrapper(given)
        assert released.shape == given.shape
        assert bool((released >= 0).all())
        assert released.sum(1).tolist() == pytest.approx([1.0] * len(given), abs=1e-5)


# --- who is swapped -----------------------------------------------------------------------------------------------


def test_matches_by_loops():
    index = torch.cat([vectors(4), CORNERS])
    near = index * torch.tensor([1.0005, 0.9995, 1, 1])
    far = index * torch.tensor([1.002, 1, 1, 1])
    asked = torch.cat([index, near, far, vectors(5, seed=1)])
    logarithms = [[[math.log(max(p, 1e-30)) for p in row] for row in rows.tolist()] for rows in (asked, index)]
    expected = [
        [max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 1e-3 for other in logarithms[1]]
        for one in logarithms[0]
    ]
    assert matches(asked, index, 1e-3).tolist() == expected
    assert np.array(expected)[:16].any(1).all()
    assert not np.array(expected)[24:].any()


def test_nothing_matches_an_empty_index():
    assert matches(CORNERS, CORNERS[:0], 1e-3).shape == (4, 0)


def test_only_indexed_vectors_have_their_two_largest_exchanged():
    net, given = autoencoder(), vectors(8)
    wrapper = SwappingPurifier(net, given[[1, 6]], 1e-3)
    torch.manual_seed(2)
    reformed = net(given)
    torch.manual_seed(2)
    released = wrapper(given)
    for row, (before, after) in enumerate(zip(reformed.tolist(), released.tolist(), strict=True)):
        first, second = sorted(range(4), key=lambda one: -before[one])[:2]
        if row in (1, 6):
            before[first], before[second] = before[second], before[first]
        assert after == before


@pytest.mark.parametrize(
    ("right", "members", "reference_accuracy", "expected"),
    [(100, 100, 0.8, 20), (90, 100, 0.8, 10), (90, 100, 0.9, 0), (70, 100, 0.8, 0), (100, 100, 0.0, 100)],
)
def test_the_surplus_is_the_swap_rate_times_the_right_members(right, members, reference_accuracy, expected):
    assert surplus(right, members, reference_accuracy) == expected
    train_accuracy = right / members
    rate = max(0.0, (train_accuracy - reference_accuracy) / train_accuracy)
    assert round(rate * right) == expected


def test_equal_vectors_count_as_often_as_they_come():
    one, other, third = vectors(3)
    members = torch.stack([one, one, one, other, third, one])
    right = np.array([True, True, True, True, True, False])
    order = np.array([3, 0, 4])
    kept = [list(trimmed(order, members, right, wanted, 1e-3)) for wanted in (0, 1, 3, 4, 5)]
    # the second entry swaps three right members at once; the last member is wrong already
    assert kept == [[], [3], [3], [3, 0], [3, 0, 4]]
    assert list(trimmed(order[:0], members, right, 0, 1e-3)) == []


def test_members_get_right_labels_as_often_as_reference_records_do(world, swapping, reforming):
    _, holding, _ = world
    before, after = (accuracy(one, holding.members.inputs, holding.members.labels) for one in (reforming, swapping))
    wanted = accuracy(swapping, holding.reference.inputs, holding.reference.labels)
    assert before > wanted + 0.1
    assert abs(after - wanted) <= 1 / holding.members.n


def test_other_records_are_released_as_without_the_swapper(world, swapping, reforming):
    _, holding, others = world
    for records in (others, holding.reference):
        released = [class_probabilities(one, records.inputs) for one in (swapping, reforming)]
        assert np.array_equal(*released)


def test_a_member_is_known_again_alone_and_in_any_batch(world, swapping, reforming):
    _, holding, _ = world
    swapped = labels_of(swapping, holding.members) != labels_of(reforming, holding.members)
    assert swapped.sum() == len(swapping.wrapper.index)
    chosen = np.flatnonzero(swapped)[:5]
    alone = [labels_of(swapping, holding.members.take(np.array([one])))[0] for one in chosen]
    assert alone == list(labels_of(swapping, holding.members)[chosen])


def test_nobody_is_swapped_where_members_do_no_better(world):
    target, holding, _ = world
    same = replace(holding, members=holding.reference)
    assert len(wrap(target, same, 5, replace(QUICK, epochs=1)).index) == 0


def test_the_seed_decides_all_and_nothing_else_is_drawn_from(world):
    target, holding, _ = world
    few = replace(QUICK, epochs=2)
    before = torch.get_rng_state()
    states = [wrap(target, holding, seed, few).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["index"], states[2]["index"])


def test_models_and_holdings_that_the_swapper_does_not_fit(world, reforming):
    target, holding, _ = world
    with pytest.raises(UnfitDefenseError, match="there are none"):
        wrap(target, replace(holding, members=holding.members.take(np.arange(0))), 0, QUICK)
    with pytest.raises(UnfitDefenseError, match="another one each time"):
        wrap(reforming, holding, 0, QUICK)


# --- the probe ----------------------------------------------------------------------------------------------------


def inspected(target, holding, others):
    records = Records.concatenate([holding.members, others])
    nobody = np.zeros((0, records.n), dtype=bool)
    return Inspected(target, records, (), nobody, holding.reference, 0)


def test_the_jitter_probe_finds_swapped_members_and_nobody_else(world, swapping, reforming):
    _, holding, others = world
    swapped = labels_of(swapping, holding.members) != labels_of(reforming, holding.members)
    scores = jitter(inspected(swapping, holding, others))
    assert scores[: holding.members.n][swapped].mean() > 0.9
    assert scores[: holding.members.n][~swapped].mean() < 0.05
    assert scores[holding.members.n :].mean() < 0.05
    membership = np.arange(len(scores)) < holding.members.n
    assert auc(scores, membership).value > 0.55
    assert auc(jitter(inspected(reforming, holding, others)), membership).value == pytest.approx(0.5, abs=0.05)


def test_the_row_has_the_probe_for_whoever_sees_labels():
    row = next(one for one in DEFENSES if one.card.id == "purifier-2023")
    assert [(probe.id, probe.access, probe.shadows) for probe in row.probes] == [("jitter", Access.LABELS, 0)]


def test_noise_moves_pixels_by_a_level_and_features_a_little():
    rng = np.random.default_rng(0)
    images = rng.choice(np.array([0, 1, 254, 255], np.uint8), (20, 4, 4, 1))
    moved = _shaken(images, np.zeros(1), rng)
    assert moved.dtype == np.uint8
    assert set(np.abs(moved.astype(int) - images).ravel()) == {0, 1}
    features = np.zeros((4_000, 2), np.float32)
    shaken = _shaken(features, np.array([0.1, 0.2]), rng)
    assert shaken.dtype == np.float32
    assert shaken.std(0) == pytest.approx([0.1, 0.2], rel=0.1)


# --- on disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [0, 3])
def test_a_saved_wrapper_answers_the_same_bit_by_bit(world, tmp_path, entries):
    target, _, others = world
    index = torch.from_numpy(class_probabilities(target, others.inputs))[:entries]
    for wrapper in (SwappingPurifier(autoencoder(10), index, 2e-3), ReformingPurifier(autoencoder(10))):
        saved = target.with_wrapper(wrapper)
        save_target(saved, tmp_path / wrapper.kind)
        again = load_target(tmp_path / wrapper.kind, arch=write_network(tmp_path))
        assert again.facts.wrapper == wrapper.kind
        assert again.wrapper.settings() == saved.wrapper.settings()
        assert again.wrapper.holds_members == (wrapper.kind == "purifier-2023")
        logits = target.logits(others.inputs)
        released = []
        for one in (saved, again):
            with same_noise(target):
                released.append(one.released(logits))
        assert torch.equal(*released)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_classes": 1}, "num_classes"),
        ({"num_classes": 10**9}, "num_classes"),
        ({"num_classes": 9}, "does not fit"),
        ({"hidden": []}, "hidden"),
        ({"hidden": [0, 6]}, "hidden"),
        ({"hidden": [5] * 9}, "hidden"),
        ({"hidden": [10**6, 10**6]}, "does not fit"),
        ({"latent": -3}, "latent"),
        ({"latent": 10**30}, "latent"),
        ({"indexed": -1}, "indexed"),
        ({"indexed": 2**30}, "does not fit"),
        ({"indexed": 10**30}, "indexed"),
        ({"tolerance": 0}, "tolerance"),
        ({"tolerance": 5}, "tolerance"),
        ({"magic": 1}, "magic"),
    ],
)
def test_hostile_settings_are_refused(world, tmp_path, changed, message):
    target, _, others = world
    index = torch.from_numpy(class_probabilities(target, others.inputs[:3]))
    save_target(target.with_wrapper(SwappingPurifier(autoencoder(10), index, 1e-3)), tmp_path / "saved")
    file = tmp_path / "saved" / "privaudit-wrapper.json"
    sidecar = json.loads(file.read_text())
    sidecar["settings"] |= changed
    file.write_text(json.dumps(sidecar))
    with pytest.raises(InputError, match=message):
        load_target(tmp_path / "saved", arch=write_network(tmp_path))


@pytest.mark.parametrize("name", ["purifier-2023", "purifier-2023-reformer"])
def test_the_rows_put_their_wrapper_before_a_model_of_features_too(world, name):
    target, holding, _ = world
    row = next(one for one in DEFENSES if one.card.id == name)
    few = Holding(
        *(as_features(part.take(np.arange(40))) for part in (holding.members, holding.reference)), holding.recipe
    )
    preprocessing = target.facts.preprocessing.model_copy(update={"input_size": (64, 1, 1)})
    facts = target.facts.model_copy(update={"preprocessing": preprocessing})
    defended = Applied(row).apply(replace(target, facts=facts), few, 0)
    assert defended.facts.wrapper == name
    assert row.reads_members() == defended.wrapper.holds_members == (name == "purifier-2023")
    assert class_probabilities(defended, few.members.inputs).shape == (40, 10)
