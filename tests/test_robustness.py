"""Unusual but legal audits: features, few groups, models that are noisy or not finite. None may end in a crash."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from auditor import checks
from auditor.audit import AuditOptions, audit
from auditor.controls.blind import blind_control
from auditor.errors import InputError
from auditor.findings import CheckLevel, ModelFacts, Preprocessing, VerdictState, Void
from auditor.limits import Limits
from auditor.shadows import draw_audit_set, null_halves
from auditor.signals import class_vectors, repeat_difference
from auditor.splits import Recipe, Records, Splits, SplitsFile
from auditor.splits_file import PreprocessingSection
from auditor.target import Architecture, Target
from auditor.training import train
from tests.digits import SPLITS, parts, write_splits
from tests.worlds import world

NOISY = """
import torch
from torch import nn


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.3 * torch.randn_like(x)


def network(num_classes=10):
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes), Noise())
"""
FEATURES = SPLITS.replace("[1, 8, 8]", "[64, 1, 1]")


class Noise(nn.Module):
    def forward(self, inputs):
        return inputs + torch.randn_like(inputs)


class NotFinite(nn.Module):
    """Gives NaN wherever the first feature is above 0."""

    def forward(self, inputs):
        return torch.where(inputs[:, :1] > 0, torch.nan, inputs)


def target(module, *, size=(3, 1, 1), file_format="safetensors", sha256="0" * 64):
    facts = ModelFacts(
        name="tiny",
        file_format=file_format,
        sha256=sha256,
        file_bytes=0,
        architecture="tiny",
        architecture_evidence="test",
        parameters=0,
        num_classes=3,
        weights="plain",
        preprocessing=Preprocessing(mean=(0.0,), std=(1.0,), input_size=size, source="test"),
    )
    return Target(module.eval(), Architecture("factory", "unused", 3, size[0], ()), facts, torch.device("cpu"))


def features(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def records(count, seed, groups=None):
    return Records.of(features(count, seed), np.arange(count) % 3, groups)


def splits(members, non_members, *, groups=None):
    """Splits with `groups` groups a side, or with none stated."""
    first, second = (None if groups is None else np.arange(n) % groups for n in (members, non_members))
    return Splits(
        members=records(members, 1, first),
        non_members=records(non_members, 2, None if second is None else second + 1000),
        population=records(100, 3),
        public=None,
        validation=None,
        class_names=("a", "b", "c"),
        class_names_source="test",
        settings=SplitsFile(),
        duplicates_dropped=0,
        folder=Path("splits"),
    )


# --- features ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [1, 64])
def test_features_take_one_mean_for_all_or_one_each(numbers):
    section = PreprocessingSection(input_size=(64, 1, 1), mean=(0.3,) * numbers, std=(0.35,) * numbers)
    assert section.mean == (0.3,) * numbers


@pytest.mark.parametrize(("size", "means", "stds"), [((64, 1, 1), 2, 2), ((64, 1, 1), 1, 64), ((3, 8, 8), 1, 1)])
def test_other_counts_of_means_are_refused(size, means, stds):
    with pytest.raises(ValueError, match="must both hold"):
        PreprocessingSection(input_size=size, mean=(0.3,) * means, std=(0.35,) * stds)


# --- not finite ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_format", "named"), [("safetensors", "audited model tiny"), ("in memory", r"we trained.*\[training\]")]
)
def test_logits_that_are_not_finite_are_counted_and_their_model_named(file_format, named):
    inputs = features(1200)
    bad = int((inputs[:, 0] > 0).sum())
    with pytest.raises(InputError, match=named) as caught:
        class_vectors(target(NotFinite(), file_format=file_format), inputs)
    assert f"for {bad:,} of 1,200 records" in str(caught.value)


def test_training_that_diverges_is_refused(tmp_path):
    (tmp_path / "network.py").write_text("from torch import nn\n\n\ndef network():\n    return nn.Linear(3, 3)\n")
    template = target(nn.Identity())
    architecture = Architecture("factory", f"{tmp_path / 'network.py'}:network", 0, 0, ())
    template = replace(template, architecture=architecture)
    inputs, labels = features(64), np.arange(64) % 3
    calm = Recipe(epochs=2, lr=0.1, batch_size=16)
    assert train(template, inputs, labels, calm, seed=0).made_here
    with pytest.raises(InputError, match=r"diverged in epoch 1 .*\[training\] in splits.toml"):
        train(template, inputs * 1e30, labels, calm, seed=0)


# --- small and grouped ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("members", "non_members"), [(19, 40), (40, 19), (2, 2)])
def test_fewer_than_twenty_a_side_are_refused(members, non_members):
    with pytest.raises(InputError, match="an audit needs 20 of each"):
        draw_audit_set(splits(members, non_members), cap=100, seed=0)


def test_twenty_a_side_are_audited():
    assert draw_audit_set(splits(20, 20), cap=100, seed=0).evaluated == 20


def test_fewer_than_ten_groups_a_side_are_refused():
    assert draw_audit_set(splits(40, 40, groups=10), cap=100, seed=0).evaluated == 40
    with pytest.raises(InputError, match="groups among the evaluated members: 9, and an audit needs 10"):
        draw_audit_set(splits(40, 40, groups=9), cap=100, seed=0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("giant", [20, 31])
def test_neither_null_model_is_left_without_members_however_unequal_groups_are(seed, giant):
    drawn = draw_audit_set(splits(40, 40), cap=100, seed=0)
    groups = np.concatenate([np.zeros(giant), np.arange(1, 41 - giant), np.full(40, 99)]).astype(np.int64)
    halves = null_halves(replace(drawn, records=replace(drawn.records, groups=groups)), np.random.default_rng(seed))
    assert (halves.sum(1) >= min(20, 40 - giant)).all()
    assert set(halves[:, :giant].sum(1)) == {0, giant}
    assert (halves[0] ^ halves[1])[:40].all()


def grouped(jury, per_side):
    position = np.arange(len(jury.membership)) % per_side
    return replace(jury, groups=np.where(jury.membership, position, 1000 + position))


@pytest.mark.parametrize(("groups", "runs"), [(1, False), (2, True), (3, True), (10, True)])
def test_blind_control_needs_two_groups_a_side(groups, runs):
    jury = grouped(world(n=30).jury, groups)
    noise = np.random.default_rng(0).normal(size=(60, 4))
    blind = blind_control(noise, jury, 0, Limits())
    assert (blind.result.status != "skipped") is runs
    if not runs:
        assert blind.result.voids == (Void.LEAK_FOUND, Void.NOTHING_FOUND)
        assert set(blind.propensity) == {0.5}


# --- models that draw random numbers -------------------------------------------------------------------------------


def test_noise_is_seen_repeats_itself_and_is_each_models_own():
    inputs = features(100)
    noisy, other = target(Noise()), target(Noise(), sha256="1" * 64)
    state = torch.random.get_rng_state()
    first, again, others = (class_vectors(model, inputs)[0] for model in (noisy, noisy, other))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - others).max() > 0.1
    assert repeat_difference(noisy, inputs) > 0.1
    assert repeat_difference(target(nn.Identity()), inputs) == 0
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("difference", "level", "voids"),
    [
        (0.0, CheckLevel.PASS, ()),
        (0.25, CheckLevel.WARN, (Void.NOTHING_FOUND,)),
        (None, CheckLevel.WARN, ()),
    ],
)
def test_a_stochastic_model_cannot_be_cleared(difference, level, voids):
    simulated = world(n=30)
    evidence = replace(simulated.evidence, target=replace(simulated.evidence.target, repeat_difference=difference))
    recipe = Recipe(epochs=2, lr=0.1, batch_size=16)
    subject = checks.Subject(
        splits(20, 20), draw_audit_set(splits(20, 20), cap=20, seed=0), simulated.jury, evidence, True, recipe
    )
    check = checks.target.stochastic(subject)
    assert (check.level, check.voids) == (level, voids)
    assert ("up to 0.25" in check.sentence) is bool(difference)


def scan(folder, run):
    return audit(
        AuditOptions(
            checkpoint=folder / "noisy.pt",
            data=folder / "splits",
            arch=f"{folder / 'network.py'}:network",
            budget="quick",
            device="cpu",
            run_dir=folder / run,
            attacks=("gap", "lira-weights", "miface"),
            defenses=("labels-only",),
        )
    )


def test_a_noisy_model_on_features_gives_the_same_report_twice(tmp_path):
    (tmp_path / "network.py").write_text(NOISY)
    roles = [(images.reshape(-1, 64).astype(np.float32) / 255, labels) for images, labels in parts(60, 60, 120)]
    write_splits(tmp_path / "splits", *roles, settings=FEATURES)
    for role, (inputs, labels) in zip(("train", "test", "population"), roles, strict=True):
        np.savez(tmp_path / "splits" / f"{role}.npz", features=inputs, labels=labels)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Identity())
    torch.save(network.state_dict(), tmp_path / "noisy.pt")
    first, again = scan(tmp_path, "first"), scan(tmp_path, "again")
    assert first.membership == again.membership
    assert first.checks == again.checks
    assert {one.status for one in first.inversion} == {"skipped"}
    assert {check.id: check.level for check in first.checks}["stochastic"] is CheckLevel.WARN
    assert all(verdict.state is not VerdictState.NOTHING_FOUND for verdict in first.verdicts)
