"""Checkpoints that cannot be used: each ends in one InputError that names the file and the remedy."""

import argparse
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.errors import InputError
from auditor.target import load_target, save_target
from auditor.wrappers import LabelsOnly, PurifierNet
from tests.tiny_checkpoints import ARGS, CONFIG, STATED, factories, timm_folder, tiny_net


class Burglar:
    """Unpickling it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def refused(path, message, *, hint="", **arguments):
    with pytest.raises(InputError, match=message) as caught:
        load_target(path, **arguments)
    assert hint in caught.value.hint
    return caught.value


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    refused(tmp_path / "gone.pt", r"no checkpoint at .*gone\.pt")
    refused("hf-hub:timm/resnet18", "no checkpoint", hint="hf download")


def test_a_folder_without_weights(tmp_path):
    save_file({}, tmp_path / "wrapper.safetensors")  # belongs to a wrapper
    refused(tmp_path, "holds no weights file")


def test_a_folder_with_several_weights_is_not_guessed_about(tmp_path):
    for name in ("epoch1.pth", "epoch2.pth"):
        torch.save(tiny_net().state_dict(), tmp_path / name)
    refused(tmp_path, r"epoch1\.pth, epoch2\.pth", hint="Pass the one")


def test_a_tensor_that_is_larger_than_what_is_stored(tmp_path):
    state = tiny_net().state_dict()
    name = next(iter(state))
    torch.save({**state, name: torch.zeros(1).expand(2**20, 2**20)}, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", f"larger than what is stored of them: {re.escape(name)}", hint="safetensors")


def test_something_that_is_neither_file_nor_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    refused(tmp_path / "pipe.pt", "neither a file nor a folder")


@pytest.mark.parametrize(
    ("name", "message"),
    [("model.pt2", r"torch\.export"), ("model.onnx", "not supported yet"), ("model.h5", "no weights file by its name")],
)
def test_formats_that_are_not_read(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"anything")
    refused(tmp_path / name, message)


@pytest.mark.parametrize(("entry", "message"), [("constants.pkl", "TorchScript"), ("archive_format", r"torch\.export")])
def test_programs_under_another_suffix(tmp_path, entry, message):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr(f"model/{entry}", b"")
        archive.writestr("model/data.pkl", b"")
    refused(tmp_path / "model.pt", message, hint="safetensors", trust=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 4,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 90_000_000) + b"{" * 100,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{x",
    ],
)
def test_broken_safetensors(tmp_path, content):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    error = refused(file, "not a readable safetensors file", arch="resnet10t", preprocessing=STATED)
    assert str(file) in error.message


def test_truncated_safetensors(tmp_path):
    file = timm_folder(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(tmp_path, "not a readable safetensors file", hint="cut short")


@pytest.mark.parametrize("content", [b"hello\n", b"PK\3\4" + bytes(1_000)])
def test_what_is_no_checkpoint_is_told_without_the_words_of_a_library(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    error = refused(tmp_path / "model.pt", "readable", arch="resnet10t", preprocessing=STATED)
    assert error.message == f"{tmp_path / 'model.pt'} is not a readable PyTorch checkpoint."


def test_truncated_and_random_pytorch_files(tmp_path):
    torch.save(tiny_net().state_dict(), tmp_path / "model.pt")
    whole = (tmp_path / "model.pt").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:10], b"", b"garbage", np.random.default_rng(0).bytes(1000)):
        (tmp_path / "model.pt").write_bytes(content)
        refused(tmp_path / "model.pt", r"model\.pt .*(readable|plain tensors)", arch="resnet10t", preprocessing=STATED)


# --- pickles -------------------------------------------------------------------------------------------------------


def save_zip(content, file):
    torch.save(content, file)


def save_legacy(content, file):
    torch.save(content, file, _use_new_zipfile_serialization=False)


def save_pickle(content, file):
    file.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_pickle])
@pytest.mark.parametrize("force", [None, "1"])
def test_no_code_is_run_unasked(tmp_path, monkeypatch, save, force):
    if force:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", force)
    burgled = tmp_path / "burgled"
    save({"state_dict": tiny_net().state_dict(), "x": Burglar(burgled)}, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    refused(tmp_path, "could run code", hint="--trust-checkpoint")
    assert not burgled.exists()


def test_the_refusal_names_what_the_pickle_would_import(tmp_path):
    torch.save({"x": Burglar(tmp_path / "burgled")}, tmp_path / "model.pt")
    refused(tmp_path, r"\(.*Path")


def test_trust_unpickles_and_is_recorded(tmp_path):
    torch.save({"model": tiny_net().state_dict(), "x": Burglar(tmp_path / "burgled")}, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert load_target(tmp_path, trust=True).facts.trusted
    assert (tmp_path / "burgled").exists()


def test_trust_is_not_recorded_where_it_was_not_needed(tmp_path):
    torch.save({"model": tiny_net().state_dict(), "args": argparse.Namespace(lr=0.1)}, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert not load_target(tmp_path, trust=True).facts.trusted


def test_a_whole_pickled_module_is_read_with_trust_only(tmp_path):
    torch.save(tiny_net(), tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    refused(tmp_path, "could run code")
    assert load_target(tmp_path, trust=True).facts.trusted


@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_what_is_not_a_state_dict(tmp_path):
    for content, message in (
        ([1, 2], "holds no state dict but a list"),
        ({"epoch": 3, "optimizer": {}}, "not plain tensors: epoch, optimizer"),
        ({1: torch.zeros(1)}, "not plain tensors: 1"),
        ({"a": torch.eye(2).to_sparse()}, "not plain tensors: a"),
        ({"a": torch.zeros(1), "module.a": torch.ones(1)}, "differ only by"),
    ):
        torch.save(content, tmp_path / "model.pt")
        refused(tmp_path, message, arch="resnet10t", preprocessing=STATED)


# --- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_numbers_are_named(tmp_path, value):
    module = tiny_net()
    with torch.no_grad():
        module.layer1[0].bn1.weight[3] = value
    refused(timm_folder(tmp_path, module), r"NaN or infinite numbers in layer1\.0\.bn1\.weight\.")


def test_weights_that_overflow(tmp_path):
    module = tiny_net()
    with torch.no_grad():
        module.fc.weight.fill_(3e38)
        module.layer4[0].bn2.bias.fill_(100)
    refused(timm_folder(tmp_path, module), "does not give finite logits")


def test_weights_of_another_network(tmp_path):
    folder = timm_folder(tmp_path)
    error = refused(folder, "does not fit test_resnet", hint="--arch", arch="test_resnet")
    assert "missing: " in error.message
    assert "unexpected: " in error.message
    assert " more" in error.message


def test_weights_of_another_width(tmp_path):
    refused(timm_folder(tmp_path, model_args={**ARGS, "channels": [8, 8, 8, 4]}), "fc.weight is 4x8 instead of 4x4")


def test_an_absurd_width_is_met_before_memory_is(tmp_path):
    refused(timm_folder(tmp_path, model_args={**ARGS, "channels": [8, 8, 8, 10**7]}), "of another shape")


def test_quantised_weights(tmp_path):
    state = {name: tensor.to(torch.int8) for name, tensor in tiny_net().state_dict().items()}
    timm_folder(tmp_path)
    save_file(state, tmp_path / "model.safetensors")
    refused(tmp_path, r"as torch\.int8", hint="float32")


def test_numbers_of_classes_that_disagree(tmp_path):
    folder = timm_folder(tmp_path)
    refused(folder, "config.json says 4 classes, but 7 are expected", num_classes=7)
    refused(timm_folder(tmp_path, num_classes=9), "has 4 classes in its head, but 9")
    save_file({"1.weight": torch.ones(4, 3072), "1.bias": torch.zeros(4)}, tmp_path / "fixed.safetensors")
    (tmp_path / "config.json").unlink()
    arch = f"{factories(tmp_path)}:fixed"
    refused(tmp_path / "fixed.safetensors", "has 4 classes, but 9", arch=arch, preprocessing=STATED, num_classes=9)


def test_a_network_that_is_no_classifier(tmp_path):
    save_file({"weight": torch.ones(96, 96), "bias": torch.ones(96)}, tmp_path / "a.safetensors")
    arch = f"{factories(tmp_path)}:features"
    refused(tmp_path / "a.safetensors", "does not take inputs of size 3x32x32", arch=arch, preprocessing=STATED)


# --- architecture --------------------------------------------------------------------------------------------------


def test_no_architecture(tmp_path):
    save_file(tiny_net().state_dict(), tmp_path / "model.safetensors")
    refused(tmp_path, "Nothing says which architecture", hint="--arch", preprocessing=STATED)


def test_an_unknown_architecture(tmp_path):
    folder = timm_folder(tmp_path)
    refused(folder, "no architecture 'resnet1t'", hint="resnet10t", arch="resnet1t")
    refused(folder, "no architecture 'resnet18.nothing'", arch="resnet18.nothing")
    refused(timm_folder(tmp_path, architecture="hf-hub:evil/net"), "no architecture 'hf-hub:evil/net'")


def test_files_are_run_only_when_the_user_names_them(tmp_path):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'burgled')!r}, 'w').close()\n")
    arch = f"{tmp_path / 'evil.py'}:factory"
    refused(timm_folder(tmp_path / "a", architecture=arch), "only if you name it", hint="--arch")
    file = tmp_path / "b.safetensors"
    save_file(tiny_net().state_dict(), file, metadata={"architecture": arch})
    refused(file, "only if you name it", preprocessing=STATED)
    assert not (tmp_path / "burgled").exists()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("failing", "RuntimeError: no such luck"),
        ("no_network", "made a int"),
        ("nowhere", "has no factory nowhere"),
        ("number", "has no factory number"),
        ("", "names a file but no factory"),
    ],
)
def test_factories_that_fail(tmp_path, function, message):
    refused(timm_folder(tmp_path), message, arch=f"{factories(tmp_path)}:{function}")


def test_modules_that_fail(tmp_path):
    folder = timm_folder(tmp_path)
    refused(folder, "There is no file", arch=f"{tmp_path}/gone.py:factory")
    refused(folder, "names a file but no factory", arch=str(factories(tmp_path)))
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    refused(folder, "cannot be imported: ModuleNotFoundError", arch=f"{tmp_path}/broken.py:factory")


# --- config.json ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable JSON"),
        ("", "not readable JSON"),
        ("\udcff", "not readable JSON"),
        ("[" * 100_000, "not readable JSON"),
        ("[]", "must hold a JSON object, not a list"),
        (" " * (16 * 2**20 + 1), "larger than"),
        ('{"architecture": ["resnet10t"]}', "timm's schema"),
        ('{"architecture": "resnet10t", "pretrained_cfg": []}', "timm's schema"),
        ('{"architecture": "resnet10t", "pretrained_cfg": {}, "model_args": []}', "timm's schema"),
        ('{"architecture": "resnet10t", "pretrained_cfg": {}, "num_classes": "ten"}', "num_classes = 'ten'"),
        ('{"architecture": "resnet10t", "pretrained_cfg": {}, "num_classes": true}', "num_classes = True"),
        ('{"architecture": "resnet10t", "pretrained_cfg": {}, "num_classes": 1}', "num_classes = 1"),
    ],
)
def test_broken_configs(tmp_path, text, message):
    (timm_folder(tmp_path) / "config.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    error = refused(tmp_path, message)
    assert "config.json" in error.message


@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained", "pretrained_cfg", "cache_dir"])
def test_configs_cannot_make_timm_read_other_files(tmp_path, name):
    refused(timm_folder(tmp_path, model_args={**ARGS, name: "/etc/passwd"}), f"model_args .*{name}")


def test_model_args_that_the_network_does_not_know(tmp_path):
    refused(timm_folder(tmp_path, model_args={"wings": 2}), "resnet10t cannot be built .*wings")


# --- preprocessing -------------------------------------------------------------------------------------------------


def changed(**entries):
    """The config's pretrained_cfg with entries replaced, or taken out by None."""
    merged = {**CONFIG["pretrained_cfg"], **entries}
    return {key: value for key, value in merged.items() if value is not None}


def test_imagenets_mean_is_never_assumed(tmp_path):
    save_file(tiny_net().state_dict(), tmp_path / "model.safetensors")
    refused(tmp_path, "Nothing says how inputs", hint="splits.toml", arch="resnet10t")
    refused(timm_folder(tmp_path, pretrained_cfg=changed(mean=None, std=None)), "does not give mean, std")
    # timm's parser would make up an input size here
    folder = timm_folder(tmp_path, pretrained_cfg=changed(input_size=None), model_args={**ARGS, "in_chans": 3})
    refused(folder, "does not give input_size")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"mean": "grey"}, "mean in pretrained_cfg"),
        ({"mean": [0.1, 0.2]}, "1 or 3 values"),
        ({"std": [0.0, 0.1, 0.1]}, "std must be above 0"),
        ({"std": [float("nan")]}, "finite"),
        ({"input_size": [3, 32]}, r"input_size\.2 in pretrained_cfg"),
        ({"input_size": [3, 0, 32]}, "from 1 on"),
        ({"crop_pct": 0}, "crop_pct must"),
        ({"interpolation": "lanczos"}, "bilinear or bicubic, not lanczos"),
        ({"input_size": [1, 32, 32], "mean": [0.1], "std": [0.1]}, "does not fit"),
    ],
)
def test_impossible_preprocessing(tmp_path, entries, message):
    refused(timm_folder(tmp_path, pretrained_cfg=changed(**entries)), message)


# --- devices, wrappers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_devices_that_are_not_there(tmp_path, device):
    refused(timm_folder(tmp_path), device, device=device)


def edited(folder, **entries):
    file = folder / "privaudit-wrapper.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    return folder


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"kind": "magic"}, "kind 'magic'"),
        ({"schema_version": "2"}, "schema_version"),
        ({"weights_sha256": "0" * 64}, "another SHA-256"),
        ({"settings": {"num_classes": 4, "hidden": [3, 3]}}, "does not fit purifier"),
        ({"settings": {"num_classes": 4, "hidden": [10**9, 10**9]}}, "hidden"),
        ({"settings": {"num_classes": 4, "hidden": [-1]}}, "hidden"),
        ({"settings": {"num_classes": 4}}, "hidden"),
        ({"extra": 1}, "extra"),
    ],
)
def test_broken_sidecars(tmp_path, entries, message):
    target = load_target(timm_folder(tmp_path / "a")).with_wrapper(PurifierNet(4, (3,)))
    save_target(target, tmp_path / "b")
    refused(edited(tmp_path / "b", **entries), message, hint="Save the defended model again")


def test_a_sidecar_whose_tensors_are_gone_or_broken(tmp_path):
    save_target(load_target(timm_folder(tmp_path / "a")).with_wrapper(PurifierNet(4, (3,))), tmp_path / "b")
    file = tmp_path / "b" / "wrapper.safetensors"
    state = load_file(file)
    state["layers.0.bias"][0] = float("nan")
    save_file(state, file)
    refused(tmp_path / "b", r"layers\.0\.bias")
    file.unlink()
    refused(tmp_path / "b", "not a readable safetensors file")


def test_a_wrapper_for_another_number_of_classes(tmp_path):
    save_target(load_target(timm_folder(tmp_path / "a")).with_wrapper(PurifierNet(5, (3,))), tmp_path / "b")
    refused(tmp_path / "b", "not made for 4 classes")


def test_weights_without_a_place_to_be_saved(tmp_path):
    target = load_target(timm_folder(tmp_path / "a")).with_wrapper(LabelsOnly())
    with pytest.raises(InputError, match="cannot be written"):
        save_target(target, tmp_path / "a" / "config.json" / "b")
