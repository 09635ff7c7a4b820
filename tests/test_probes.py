"""The probes on real digits: what they see, that they see it again, and that they leave the model as it was."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from auditor.findings import Preprocessing
from auditor.laboratory import Asked, Blueprint, Probe
from auditor.membership import probes
from auditor.membership.evidence import Unavailable
from auditor.membership.gather import run_probes
from auditor.membership.probes import PROBES
from auditor.signals import observe, same_noise
from auditor.splits import Records
from auditor.target import Target, load_target
from reference_attacks.membership import gradient, label_only, merlin, noise_robustness, seqmia
from tests.digits import parts, trained_weights, write_network

RUN = {probe.id: probe.run for probe in PROBES}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    members, others, population = parts(300, 30, 120)
    target = load_target(
        trained_weights(folder, *members),
        arch=write_network(folder),
        preprocessing=Preprocessing(mean=(0.3,), std=(0.35,), input_size=(1, 8, 8), source="test"),
    )
    few = [np.concatenate([side[:30] for side in both]) for both in zip(members, others, strict=True)]
    blueprint = Blueprint(target.architecture, target.facts, "cpu")
    return Asked(target, Records.of(*few), Records.of(*population), blueprint, 0)


@pytest.mark.parametrize("probe", PROBES, ids=[probe.id for probe in PROBES])
def test_a_probe_sees_the_same_again_and_leaves_the_model_and_the_generators_alone(probe, asked):
    weights = {name: tensor.clone() for name, tensor in asked.target.module.state_dict().items()}
    state = torch.random.get_rng_state()
    first, again = probe.run(asked), probe.run(asked)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not asked.target.module.training
    for name, tensor in asked.target.module.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert set(first) == set(again)
    for name, seen in first.items():
        assert (seen.dtype, len(seen)) == (np.float64, asked.records.n)
        assert np.isfinite(seen).all()
        np.testing.assert_array_equal(seen, again[name])


def test_the_first_of_the_copies_is_the_record_itself(asked):
    seen = observe(asked.target, asked.records.inputs, asked.records.labels)
    for probe, queries in (("translations", 5), ("rotations", 11)):
        correct = RUN[probe](asked)["correct"]
        assert correct.shape == (asked.records.n, queries)
        np.testing.assert_array_equal(correct[:, :1], seen.correct)


def test_the_boundary_of_a_wrong_record_is_at_hand_and_the_questions_are_counted(asked):
    right = observe(asked.target, asked.records.inputs, asked.records.labels).correct[:, 0] > 0
    assert 0 < right.sum() < len(right)
    found = RUN["boundary"](asked)
    np.testing.assert_array_equal(found["distance"] > 0, right)
    np.testing.assert_array_equal(found["queries"] > 1, right)


def test_a_distillation_ends_with_the_model_itself_and_comes_nearer_to_it(asked):
    metrics = RUN["distillation"](asked)["metrics"]
    assert metrics.shape == (asked.records.n, 21, len(seqmia.METRICS))
    seen = observe(asked.target, asked.records.inputs, asked.records.labels)
    np.testing.assert_allclose(metrics[:, -1, 0], seen.loss[:, 0])
    assert metrics[:, -2, 0].mean() < 0.5 * metrics[:, 0, 0].mean()


def test_students_of_all_models_start_alike_and_those_of_one_do_not(asked):
    shadow = replace(asked, seed=7)
    np.testing.assert_array_equal(RUN["distillation"](asked)["metrics"], RUN["distillation"](shadow)["metrics"])
    margins = RUN["students"](asked)["margins"]
    assert margins.shape == (asked.records.n, 4)
    assert margins.std(axis=1).min() > 0


def test_records_that_are_no_images_are_not_moved(asked):
    flat = Records.of(asked.records.inputs.reshape(asked.records.n, -1).astype(np.float32), asked.records.labels)
    for probe in ("merlin", "translations", "rotations", "label noise", "boundary"):
        with pytest.raises(Unavailable, match="no images"):
            RUN[probe](replace(asked, records=flat))


# --- a large audit set ---------------------------------------------------------------------------------------------


class Noisy(torch.nn.Module):
    """Answers by chance: a question more, or in another order, and all that follow are answered otherwise."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, inputs):
        logits = self.module(inputs)
        return logits + torch.randn_like(logits)


def at_once(probe, target, records):
    """An oracle: what the attack's own probe sees when it is given the whole audit set."""
    images, labels = torch.from_numpy(np.array(records.inputs)).movedim(3, 1) / 255, torch.tensor(records.labels)
    noise, predict = torch.Generator().manual_seed(0), probes._labels_of(target)
    material = {"inputs": images, "labels": labels}
    if probe == "merlin":
        return merlin.probe(loss=probes._released_loss(target), **material, generator=noise)
    if probe == "label noise":
        settings = noise_robustness.NoiseRobustness(samples=100)
        return noise_robustness.probe(predict=predict, **material, settings=settings, generator=noise)
    if probe == "gradients":
        return gradient.probe(module=target.module, inputs=target.prepare(records.inputs), labels=labels)
    moves = {"translations": label_only.Augmentations(), "rotations": label_only.Augmentations(shift=0, rotation=5)}
    return label_only.probe(predict=predict, **material, settings=moves[probe])


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("probe", ["merlin", "translations", "rotations", "label noise", "gradients"])
def test_going_through_many_records_in_parts_changes_no_bit_and_holds_few(probe, drawn, asked, monkeypatch):
    members, others = parts(300, 300)
    many = Records.of(*(np.concatenate(both) for both in zip(members, others, strict=True)))
    target = replace(asked.target, module=Noisy(asked.target.module).eval()) if drawn else asked.target
    with same_noise(target):
        expected = at_once(probe, target, many)
    held, prepare, images = [], Target.prepare, probes._images
    monkeypatch.setattr(Target, "prepare", lambda self, inputs: held.append(len(inputs)) or prepare(self, inputs))
    monkeypatch.setattr(probes, "_images", lambda inputs: held.append(len(inputs)) or images(inputs))
    with same_noise(target):
        seen = next(iter(RUN[probe](replace(asked, target=target, records=many)).values()))
    np.testing.assert_array_equal(seen, expected)
    assert max(held) <= 512 < many.n


def test_where_no_record_is_right_no_noise_is_asked_about(asked):
    wrong = Records.of(asked.records.inputs, np.full(asked.records.n, 10))
    assert not RUN["label noise"](replace(asked, records=wrong))["share"].any()


@pytest.mark.parametrize("on_shadows", [True, False])
def test_only_probes_that_are_read_there_are_sent_through_shadows(on_shadows):
    sent = []

    def through(probe, sets, *, task):
        sent.extend(sets)
        return [{"seen": np.ones(4)} for _ in sets]

    laboratory = SimpleNamespace(
        rows=lambda probe: np.arange(4),
        probe_target=lambda probe, target, seed: {"seen": np.zeros(4)},
        probe=through,
        audit_set=SimpleNamespace(records=SimpleNamespace(n=4)),
    )
    pair = [SimpleNamespace(included=np.array(row)) for row in ([True, True, False, False], [False, False, True, True])]
    probe = Probe("seen", lambda asked: {}, on_shadows=on_shadows)
    seen = run_probes([probe], laboratory, None, pair)["seen"]
    assert sent == (pair if on_shadows else [])
    assert set(seen.shadows) == ({"seen"} if on_shadows else set())
    assert seen.shadow_membership.shape == (2 if on_shadows else 0, 4)
    if on_shadows:
        np.testing.assert_array_equal(seen.pooled("seen"), np.ones(8))
