"""The defended twin of the leaky sample is what its card says, and can be made again."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from auditor.audit import AuditOptions, audit
from auditor.findings import Family
from auditor.target import load_target

SAMPLES = Path(__file__).parents[1] / "sample_models"
LEAKY, TWIN = SAMPLES / "fashion_leaky", SAMPLES / "fashion_leaky_purified"


def test_the_weights_are_those_of_the_leaky_sample():
    twin, leaky = load_target(TWIN), load_target(LEAKY)
    assert twin.has_weights_of(leaky)
    assert (twin.facts.wrapper, leaky.facts.wrapper) == ("purifier", None)
    assert sum(file.stat().st_size for file in TWIN.iterdir() if file.is_file()) < 1_000_000


def test_train_makes_the_twin_again(tmp_path):
    command = [sys.executable, str(TWIN / "train.py"), "--output", str(tmp_path / "twin")]
    subprocess.run(command, check=True, capture_output=True)
    made, shipped = (load_target(folder).wrapper.state_dict() for folder in (tmp_path / "twin", TWIN))
    assert made.keys() == shipped.keys()
    for name, tensor in made.items():
        torch.testing.assert_close(tensor, shipped[name], rtol=0.02, atol=0.02)
    assert (tmp_path / "twin" / "README.md").is_file()


def test_an_audit_finds_what_the_card_says(tmp_path):
    expected = tomllib.loads((TWIN / "expected.toml").read_text(encoding="utf-8"))
    found = audit(
        AuditOptions(
            checkpoint=TWIN,
            data=LEAKY / "splits",
            budget="quick",
            device="cpu",
            run_dir=tmp_path / "run",
            attacks=("gap", "lira-scores", "lira-weights"),
            defenses=(),
        )
    )
    told = {one.access.value: one.state.value for one in found.verdicts if one.family is Family.MEMBERSHIP}
    assert told == expected["verdicts"]["membership"]
    values = {
        one.card.id: one.outcome.endpoints[0].estimate.value
        for one in found.membership
        if one.card.id in expected["auc"]
    }
    for name, (low, high) in expected["auc"].items():
        assert low <= values[name] <= high
    assert values["lira-scores"] < values["lira-weights"] - 0.02
    assert values["lira-scores"] == pytest.approx(0.711, abs=0.06)
