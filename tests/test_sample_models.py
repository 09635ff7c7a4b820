"""The shipped samples are what their model cards say, and can be made again."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from auditor.audit import AuditOptions, audit
from auditor.findings import Family, VerdictState
from auditor.signals import Signals, observe
from auditor.splits import Records, Splits, load_splits
from auditor.stats.auc import auc
from auditor.target import Target, load_target
from auditor.threat import Access

SAMPLES = Path(__file__).parents[1] / "sample_models"
COUNTS = {"fashion_leaky": 1_000, "fashion_wellbehaved": 2_000}
ROLES = ("train", "test", "population")
DATA = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(scope="module", params=sorted(COUNTS))
def folder(request: pytest.FixtureRequest) -> Path:
    return SAMPLES / request.param


@pytest.fixture(scope="module")
def target(folder: Path) -> Target:
    return load_target(folder)


@pytest.fixture(scope="module")
def splits(folder: Path, target: Target) -> Splits:
    return load_splits(folder / "splits", num_classes=target.facts.num_classes)


def expected(folder: Path) -> dict[str, dict[str, list[float]]]:
    return tomllib.loads((folder / "expected.toml").read_text(encoding="utf-8"))


def answers(target: Target, records: Records) -> Signals:
    return observe(target, records.inputs, records.labels)


def test_every_sample_is_tested():
    defended = {"fashion_leaky_purified"}  # see test_defended_sample.py
    assert {path.parent.name for path in SAMPLES.glob("*/config.json")} == set(COUNTS) | defended


def test_the_files_are_small(folder: Path):
    assert (folder / "model.safetensors").stat().st_size <= 1_000_000
    assert sum(file.stat().st_size for file in (folder / "splits").iterdir()) < 3_000_000


def test_the_splits_hold_the_stated_records_and_none_twice(folder: Path, splits: Splits):
    assert splits.population is not None
    counts = (splits.members.n, splits.non_members.n, splits.population.n)
    assert counts == (COUNTS[folder.name],) * 3
    assert splits.duplicates_dropped == 0
    digests = {digest for part in (splits.members, splits.non_members, splits.population) for digest in part.digests}
    assert len(digests) == sum(counts)


def test_the_owner_states_a_random_split_and_the_recipe(splits: Splits):
    assert splits.settings.random_split is True
    assert splits.settings.training is not None


def test_config_and_classes_name_the_same_classes(folder: Path, target: Target, splits: Splits):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert tuple(config["label_names"]) == splits.class_names
    assert len(splits.class_names) == target.facts.num_classes == 10


def test_the_preprocessing_is_that_of_the_training_data(target: Target, splits: Splits):
    prepared = target.prepare(splits.members.inputs)
    assert prepared.shape[1:] == (1, 28, 28)
    assert float(prepared.mean()) == pytest.approx(0, abs=1e-3)
    assert float(prepared.std()) == pytest.approx(1, abs=1e-3)


def test_the_accuracy_is_as_expected(folder: Path, target: Target, splits: Splits):
    for role, records in (("members", splits.members), ("non_members", splits.non_members)):
        low, high = expected(folder)["accuracy"][role]
        assert low <= answers(target, records).correct.mean() <= high


def test_the_loss_tells_members_as_far_as_expected(folder: Path, target: Target, splits: Splits):
    losses = [answers(target, records).loss[:, 0] for records in (splits.members, splits.non_members)]
    membership = np.repeat([True, False], [len(loss) for loss in losses])
    low, high = expected(folder)["auc"]["loss"]
    assert low <= auc(-np.concatenate(losses), membership).value <= high


def test_a_verdict_is_expected_for_every_access_and_family(folder: Path):
    verdicts = expected(folder)["verdicts"]
    assert set(verdicts) == set(Family)
    for states in verdicts.values():
        assert set(states) == set(Access)
        assert set(states.values()) <= set(VerdictState)


def run_train(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "train.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_tells_how_to_make_the_sample_again(folder: Path):
    ended = run_train(folder, "--help")
    assert ended.returncode == 0
    assert {"--data", "--output"} <= set(ended.stdout.split())


def test_missing_data_end_in_one_sentence_and_nothing_written(tmp_path: Path):
    output = tmp_path / "sample"
    ended = run_train(SAMPLES / "fashion_leaky", "--data", str(tmp_path), "--output", str(output))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {tmp_path}")
    assert "--data" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not output.exists()


@pytest.mark.skipif(not DATA.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_train_makes_the_sample_again(folder: Path, tmp_path: Path):
    ended = run_train(folder, "--output", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    for name in ("config.json", "splits/classes.txt", "splits/splits.toml"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    for role in ROLES:
        with np.load(tmp_path / "splits" / f"{role}.npz") as made, np.load(folder / f"splits/{role}.npz") as shipped:
            assert set(made) == set(shipped)
            assert all(np.array_equal(made[name], shipped[name]) for name in shipped)
    remade, records = load_target(tmp_path), load_splits(tmp_path / "splits").non_members
    low, high = expected(folder)["accuracy"]["non_members"]
    assert low <= answers(remade, records).correct.mean() <= high


def test_an_audit_finds_what_the_sample_was_made_for(folder: Path, tmp_path: Path):
    """The primary attacks on 8 shadows: the verdicts of expected.toml, and bounds where nothing was found."""
    found = audit(
        AuditOptions(
            checkpoint=folder,
            data=folder / "splits",
            budget="quick",
            device="cpu",
            run_dir=tmp_path / "run",
            attacks=("gap", "lira-scores", "lira-weights"),
            defenses=(),
        )
    )
    for family in Family:
        told = {verdict.access.value: verdict.state.value for verdict in found.verdicts if verdict.family is family}
        wanted = expected(folder)["verdicts"][family.value]
        assert told == {**wanted, **(dict.fromkeys(Access, "cannot say") if family is Family.INVERSION else {})}
    intervals = expected(folder)["auc"]
    for result in found.membership:
        if result.outcome.status == "completed" and result.card.id in intervals:
            low, high = intervals[result.card.id]
            assert low <= result.outcome.endpoints[0].estimate.value <= high
            assert all(endpoint.upper_bound is not None for endpoint in result.outcome.endpoints)
    assert all(control.status == "pass" for control in found.controls)
