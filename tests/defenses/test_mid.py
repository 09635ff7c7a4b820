import copy

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from auditor.checkpoint.new_head import BottleneckHead, NewHead
from auditor.defense import Applied, Inspected
from auditor.defenses import DEFENSES, mid
from auditor.signals import class_probabilities, repeat_difference
from auditor.target import load_target, save_target
from auditor.training import train
from tests.defenses.lessons import holding
from tests.digits import RECIPE, template, write_network

ROWS = {row.card.id: row for row in DEFENSES}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return Applied(ROWS["mid"]).retrained(template(tmp_path_factory.mktemp("mid")), holding(epochs=6), 3)


def test_the_code_is_half_as_wide_as_the_features(tmp_path):
    assert mid.head(template(tmp_path)) == NewHead(kind="bottleneck", width=32)


def test_the_divergence_is_that_of_the_code_from_a_standard_normal():
    torch.manual_seed(0)
    head, received = BottleneckHead(6, 3, 4), torch.randn(5, 6)
    head(received)
    mean, raw = head.encoder(received)[:, :3], head.encoder(received)[:, 3:]
    code = Normal(mean, functional.softplus(raw - 5))
    expected = kl_divergence(code, Normal(0.0, 1.0)).sum(1).mean()
    assert head.divergence.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_loss_is_cross_entropy_and_beta_times_the_divergence():
    torch.manual_seed(0)
    head, received, labels = BottleneckHead(6, 3, 4), torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 0])
    torch.manual_seed(1)
    loss = mid.MutualInformation(0.5).loss(head, received, labels, RECIPE)
    torch.manual_seed(1)
    expected = functional.cross_entropy(head(received), labels) + 0.5 * head.divergence
    assert loss.item() == pytest.approx(expected.item())


def test_at_beta_zero_it_is_the_bottleneck_alone(tmp_path):
    held = holding(epochs=2)
    plain = template(tmp_path).with_head(mid.head(template(tmp_path)))
    alone = train(plain, held.members.inputs, held.members.labels, held.recipe, seed=5)
    assert mid.retrain(plain, held, 5, mid.MID(beta=0.0)).has_weights_of(alone)
    assert mid.train_bottleneck(plain, held, 5).has_weights_of(alone)
    assert not mid.retrain(plain, held, 5).has_weights_of(alone)


def test_a_larger_beta_leaves_less_in_the_code(tmp_path):
    held = holding(epochs=6)
    plain = template(tmp_path).with_head(mid.head(template(tmp_path)))
    left = []
    for beta in (0.0, 0.01, 0.1):
        module = mid.retrain(plain, held, 5, mid.MID(beta=beta)).module
        module(plain.prepare(held.members.inputs))
        left.append(module[3].divergence.item())
    assert left[0] > 2 * left[1] > 4 * left[2]


def test_it_answers_at_random_until_it_is_opened(trained):
    inputs = holding().members.inputs
    opened = mid.opened(trained)
    assert trained.stochastic
    assert not opened.stochastic
    assert repeat_difference(trained, inputs) > 0.0
    assert repeat_difference(opened, inputs) == 0.0
    assert opened.has_weights_of(trained)
    assert opened.fingerprint != trained.fingerprint
    assert all(part.noisy for part in trained.module.modules() if isinstance(part, BottleneckHead))
    features = trained.module[:3](trained.prepare(inputs))
    code = trained.module[3].encoder(features)[:, :32]
    expected = trained.module[3].decoder(code).softmax(1).numpy()
    assert class_probabilities(opened, inputs) == pytest.approx(expected, abs=1e-5)


def test_what_is_saved_comes_back_noisy_or_opened_as_it_was(trained, tmp_path):
    inputs, arch = holding().members.inputs, write_network(tmp_path)
    for name, target in (("noisy", trained), ("opened", mid.opened(trained))):
        save_target(target, tmp_path / name)
        loaded = load_target(tmp_path / name, arch=arch)
        assert loaded.architecture.head == target.architecture.head
        assert loaded.stochastic == target.stochastic
        assert loaded.trained_with == target.trained_with
        assert np.array_equal(class_probabilities(loaded, inputs), class_probabilities(target, inputs))


def test_a_model_asked_for_gradients_can_still_be_copied(trained):
    inputs = trained.prepare(holding().members.inputs[:4]).requires_grad_()
    trained.module(inputs).sum().backward()
    copied = copy.deepcopy(trained.module)
    assert torch.equal(copied[3].decoder.weight, trained.module[3].decoder.weight)


def test_the_same_seed_gives_the_same_weights(trained, tmp_path):
    assert Applied(ROWS["mid"]).retrained(template(tmp_path), holding(epochs=6), 3).has_weights_of(trained)


def test_many_queries_come_close_to_the_mean_of_the_code(tmp_path):
    """The averaged score of a model is nearer to another average of it than one query to another."""
    members = holding(members=60).members
    plain = template(tmp_path).with_head(NewHead(kind="bottleneck", width=32))
    with torch.no_grad():
        plain.module[3].encoder.bias[32:] = 6.0
    averaged = mid._mean_log_odds(plain, members)
    single = mid.formulas.released_margin(class_probabilities(plain, members.inputs), members.labels)
    opened = mid.formulas.released_margin(class_probabilities(mid.opened(plain), members.inputs), members.labels)
    assert np.abs(averaged - opened).mean() < 0.6 * np.abs(single - opened).mean()


def test_the_probe_subtracts_what_shadows_without_the_record_show(trained, tmp_path):
    members = holding(members=30).members
    shadow = template(tmp_path).with_head(NewHead(kind="bottleneck", width=32))
    inclusion = np.zeros((1, members.n), dtype=bool)
    score = mid.averaged(Inspected(trained, members, (shadow,), inclusion, members, 0))
    assert score == pytest.approx(mid._mean_log_odds(trained, members) - mid._mean_log_odds(shadow, members))
