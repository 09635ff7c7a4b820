"""What a defense leaves beside the weights, in the hands of somebody who means harm."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.checkpoint.new_head import NewHead
from auditor.checkpoint.sidecar import SIDECAR_NAME, TRAINING_SIDECAR_NAME, TrainedWith
from auditor.checkpoint.weights import WRAPPER_TENSORS
from auditor.defenses import applied_to
from auditor.errors import InputError
from auditor.target import load_target, save_target
from auditor.wrappers import PurifierNet
from tests.tiny_checkpoints import STATED, factories, timm_folder

REMEDY = "Save the defended model again"


@pytest.fixture
def trained(tmp_path):
    """A network of a Python file with the head of a defense, saved."""
    network = f"{factories(tmp_path)}:flexible"
    plain = load_plain(tmp_path, network)
    headed = plain.with_head(NewHead(kind="bottleneck", width=3))
    mark = TrainedWith(defense="mid", chosen={"beta": 0.5}, head=headed.architecture.head)
    save_target(_marked(headed, mark), tmp_path / "trained")
    return tmp_path / "trained", network


def load_plain(folder, network):
    save_file({"1.weight": torch.zeros(4, 3072), "1.bias": torch.zeros(4)}, folder / "plain.safetensors")
    return load_target(folder / "plain.safetensors", arch=network, preprocessing=STATED, num_classes=4)


def _marked(target, mark):
    return replace(target, trained_with=mark)


def changed(file, *path_and_value):
    *path, last, value = path_and_value
    content = json.loads(file.read_text(encoding="utf-8"))
    part = content
    for name in path:
        part = part[name]
    part[last] = value
    file.write_text(json.dumps(content), encoding="utf-8")


def test_it_is_read_as_it_was_saved(trained):
    folder, network = trained
    found = load_target(folder, arch=network)
    assert applied_to(found).key == "mid-beta-0.5"
    assert found.stochastic


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (("trained_with", "head", "width", 10**30), "width is impossible"),
        (("trained_with", "head", "width", 10**9), "width is impossible"),
        (("trained_with", "head", "width", 1_000_000), "does not fit"),
        (("trained_with", "chosen", {"beta": math.nan}), "beta is impossible"),
        (("trained_with", "chosen", {"beta": math.inf}), "beta is impossible"),
        (("trained_with", "chosen", {"../../evil": 1.0}), "is impossible"),
        (("trained_with", "chosen", {"beta\n": 1.0}), "is impossible"),
        (("trained_with", "chosen", {f"a{index}": 1.0 for index in range(1000)}), "chosen is impossible"),
        (("x\n\x1b[31m" * 5000, 1), "is impossible"),
    ],
)
def test_a_hostile_training_sidecar_is_refused(trained, place, told):
    folder, network = trained
    changed(folder / TRAINING_SIDECAR_NAME, *place)
    with pytest.raises(InputError, match=told) as caught:
        load_target(folder, arch=network)
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("name", ["wishing", "memguard", "<script>\n" * 1000])
def test_a_defense_that_trains_nothing_made_no_weights(trained, name):
    folder, network = trained
    changed(folder / TRAINING_SIDECAR_NAME, "trained_with", "defense", name)
    with pytest.raises(InputError, match="does not know") as caught:
        applied_to(load_target(folder, arch=network))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.fixture
def wrapped(tmp_path):
    save_target(load_target(timm_folder(tmp_path / "a")).with_wrapper(PurifierNet(4, (3,))), tmp_path / "b")
    return tmp_path / "b"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (("settings", "num_classes", 10**30), "num_classes is impossible"),
        (("settings", "hidden", [10**30]), "hidden.0 is impossible"),
        (("settings", "hidden", [10**9]), "hidden.0 is impossible"),
        (("settings", "hidden", [1_000_000, 1_000_000]), "does not fit"),
        (("kind", "<script>\n\x1b[31m" * 5000), "does not know"),
    ],
)
def test_a_hostile_wrapper_sidecar_is_refused(wrapped, place, told):
    changed(wrapped / SIDECAR_NAME, *place)
    with pytest.raises(InputError, match=told) as caught:
        load_target(wrapped)
    assert REMEDY in caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600


def test_a_wrapper_that_answers_with_nan_is_refused(wrapped):
    tensors = load_file(wrapped / WRAPPER_TENSORS)
    broken = {name: -1 - part.abs() if name.endswith("running_var") else part for name, part in tensors.items()}
    save_file(broken, wrapped / WRAPPER_TENSORS)
    with pytest.raises(InputError, match="gives NaN") as caught:
        load_target(wrapped)
    assert REMEDY in caught.value.hint
