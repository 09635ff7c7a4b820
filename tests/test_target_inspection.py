"""`inspect_checkpoint`: what is told of a checkpoint without loading it as a model."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auditor.errors import InputError
from auditor.target import inspect_checkpoint, load_target, save_target
from auditor.wrappers import LabelsOnly
from tests.tiny_checkpoints import CONFIG, factories, timm_folder, tiny_net


class Burglar:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_complete_checkpoint(tmp_path):
    module = tiny_net()
    save_target(load_target(timm_folder(tmp_path / "a", module)).with_wrapper(LabelsOnly()), tmp_path / "b")
    found = inspect_checkpoint(tmp_path / "b")
    state = module.state_dict()
    assert found.sha256 == hashlib.sha256((tmp_path / "b" / "model.safetensors").read_bytes()).hexdigest()
    assert found.safe
    assert found.tensors == len(state)
    assert found.parameters == sum(tensor.numel() for tensor in state.values())
    assert dict(found.dtypes) == {
        "F32": sum(tensor.is_floating_point() for tensor in state.values()),
        "I64": sum(not tensor.is_floating_point() for tensor in state.values()),
    }
    assert found.architecture == "resnet10t"
    assert found.preprocessing == load_target(tmp_path / "b").facts.preprocessing
    assert found.wrapper == "labels-only"
    for fact in (found.sha256, "resnet10t", "3x32x32", "labels-only", f"{found.parameters:,}"):
        assert fact in found.describe()


def test_a_bare_file_says_what_is_missing(tmp_path):
    save_file({"a": torch.zeros(2, 3, dtype=torch.bfloat16)}, tmp_path / "bare.safetensors")
    found = inspect_checkpoint(tmp_path / "bare.safetensors")
    assert (found.tensors, found.parameters, found.dtypes) == (1, 6, (("BF16", 1),))
    assert found.architecture is None
    assert "--arch" in found.architecture_evidence
    assert found.preprocessing is None
    assert "splits.toml" in found.preprocessing_evidence
    assert "not decided" in found.describe()


def test_safetensors_are_not_read_as_a_whole(tmp_path, monkeypatch):
    timm_folder(tmp_path)
    monkeypatch.setattr("auditor.checkpoint.weights.load_file", None)
    found = inspect_checkpoint(tmp_path)
    assert found.architecture == "resnet10t"
    assert found.non_finite == ()
    assert "numbers        all finite" in found.describe()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_numbers_that_no_audit_takes_are_told(tmp_path, name, value):
    state = tiny_net().state_dict()
    state["bn1.bias"][1] = value
    (save_file if name.endswith("safetensors") else torch.save)(state, tmp_path / name)
    found = inspect_checkpoint(tmp_path / name)
    assert found.non_finite == ("bn1.bias",)
    assert "NaN or infinite in bn1.bias: a scan refuses them" in found.describe()


def test_an_architecture_that_does_not_fit_is_not_claimed(tmp_path):
    found = inspect_checkpoint(timm_folder(tmp_path), arch="test_resnet")
    assert found.architecture is None
    assert "does not fit" in found.architecture_evidence


def test_a_factory_is_held_against_the_file(tmp_path):
    save_file({"1.weight": torch.ones(4, 3072), "1.bias": torch.zeros(4)}, tmp_path / "a.safetensors")
    assert inspect_checkpoint(tmp_path, arch=f"{factories(tmp_path)}:flexible").architecture == "networks.py:flexible"


@pytest.mark.parametrize("zipped", [True, False])
def test_an_unsafe_pickle_is_described_and_not_run(tmp_path, zipped):
    content = {"model": tiny_net().state_dict(), "x": Burglar(tmp_path / "burgled")}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    found = inspect_checkpoint(tmp_path / "model.pt", arch="resnet10t")
    assert not found.safe
    assert "could run code" in found.safety
    assert ("Path" in found.safety) == zipped
    assert (found.tensors, found.architecture) == (0, None)
    assert "not read" in found.describe()
    assert not (tmp_path / "burgled").exists()


def test_a_training_checkpoint_tells_which_weights_are_meant(tmp_path):
    state = tiny_net().state_dict()
    torch.save({"state_dict": state, "state_dict_ema": state}, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    found = inspect_checkpoint(tmp_path)
    assert (found.weights, found.architecture, found.safe) == ("ema", "resnet10t", True)


def test_a_broken_sidecar_is_told(tmp_path):
    (timm_folder(tmp_path) / "privaudit-wrapper.json").write_text("{}")
    assert "cannot be used" in inspect_checkpoint(tmp_path).wrapper


def test_what_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    with pytest.raises(InputError, match="not a readable safetensors"):
        inspect_checkpoint(tmp_path)
