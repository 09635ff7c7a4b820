"""What checkpoint and data say of each other where they are opened together."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from auditor.checkpoint.preprocessing import agreed_preprocessing, prepare
from auditor.errors import InputError
from auditor.intake import data_digest, open_inputs
from auditor.records import Records
from auditor.splits_file import PreprocessingSection
from tests.stores import NAMES, as_folder, as_tar, png, rows


def as_table(path, records):
    from tests.test_splits_tables import table_of, write

    write(path.with_suffix(".parquet"), table_of(records, labels="text"))


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (as_folder, "3 class folders"),
        (lambda path, records: as_tar(path.with_suffix(".tar"), records), "3 class names"),
        (as_table, "3 class names"),
    ],
    ids=["folder", "tar", "table"],
)
def test_fewer_classes_by_name_than_the_model_has_need_a_list(store, told, tmp_path, monkeypatch):
    splits = tmp_path / "splits"
    for seed, role in enumerate(("train", "test")):
        store(splits / role, rows(6, seed))
    (tmp_path / "model.safetensors").touch()
    target = SimpleNamespace(facts=SimpleNamespace(num_classes=len(NAMES) + 2))
    monkeypatch.setattr("auditor.intake.load_target", lambda *_, **__: target)

    def read():
        return open_inputs(tmp_path / "model.safetensors", splits, arch=None, device=torch.device("cpu"), trust=False)

    with pytest.raises(InputError, match=f"splits holds {told}, and the model has 5 classes.* Write classes.txt"):
        read()
    (splits / "classes.txt").write_text("\n".join([*NAMES, "fox", "gnu"]))
    assert read()[1].num_classes == 5


def test_a_checkpoint_that_is_not_there_is_told_before_the_data_is_read(tmp_path):
    with pytest.raises(InputError, match=r"There is no checkpoint at .*absent"):
        open_inputs(tmp_path / "absent", tmp_path / "nowhere", arch=None, device=torch.device("cpu"), trust=False)


# --- how images become inputs --------------------------------------------------------------------------------------

CONFIG = {
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "input_size": [3, 64, 64],
    "interpolation": "bicubic",
    "crop_pct": 0.8,
}
IN_FULL = (
    "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\ninput_size = [3, 64, 64]\n"
    'interpolation = "bicubic"\ncrop_pct = 0.8\n'
)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """What is made of images of mixed size beside a config, by what [preprocessing] says."""
    for role, first in (("train", 0), ("test", 10)):
        for k in range(6):
            path = tmp_path / "splits" / role / NAMES[k % 3] / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(first + k, height=90 + 3 * k, width=120))
    (tmp_path / "model.safetensors").touch()
    told = []

    def load(*_, preprocessing, **__):
        told.append(preprocessing)
        return SimpleNamespace(facts=SimpleNamespace(num_classes=3))

    monkeypatch.setattr("auditor.intake.load_target", load)

    def open_(stated, config=CONFIG):
        written = {"architecture": "resnet10t", "num_classes": 3, "pretrained_cfg": config}
        (tmp_path / "config.json").write_text(json.dumps(written))
        (tmp_path / "splits" / "splits.toml").write_text(f"[preprocessing]\n{stated}" if stated else "")
        _, splits = open_inputs(
            tmp_path / "model.safetensors", tmp_path / "splits", arch=None, device=torch.device("cpu"), trust=False
        )
        return splits.members.inputs, told[-1]

    return open_


@pytest.mark.parametrize(
    "stated",
    ["", "input_size = [3, 64, 64]\n", "input_size = [3, 64, 64]\ncrop_pct = 0.8\n", "crop_pct = 0.8\n"],
)
def test_what_splits_toml_leaves_out_comes_from_the_config(opened, stated):
    images, preprocessing = opened(stated)
    assert preprocessing.model_dump(exclude={"source"}) == {
        key: tuple(value) if isinstance(value, list) else value for key, value in CONFIG.items()
    }
    in_full, _ = opened(IN_FULL)
    assert images.shape[1:] == (80, 80, 3)
    np.testing.assert_array_equal(images, in_full)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ("input_size = [3, 32, 32]\n", r"input_size = \[3, 32, 32\].*config\.json \[3, 64, 64\]"),
        (IN_FULL.replace("0.8", "1.0"), r"crop_pct = 1\.0.*config\.json 0\.8"),
        (IN_FULL.replace("bicubic", "bilinear"), "interpolation = bilinear.*config.json bicubic"),
        (IN_FULL.replace("0.485", "0.5"), r"mean = \[0\.5, 0\.456, 0\.406\].*config\.json \[0\.485, 0\.456, 0\.406\]"),
    ],
)
def test_a_config_that_is_contradicted_is_named(opened, stated, told):
    with pytest.raises(InputError, match=rf"splits\.toml says {told}"):
        opened(stated)


@pytest.mark.parametrize("key", ["crop_pct", "interpolation", "mean and std"])
def test_what_the_config_does_not_say_can_be_stated_alone(opened, key):
    lines = {line.partition(" =")[0]: f"{line}\n" for line in IN_FULL.splitlines()}
    names = key.split(" and ")
    stated = "".join(lines[name] for name in names)
    images, preprocessing = opened(stated, {name: value for name, value in CONFIG.items() if name not in names})
    in_full, wanted = opened(IN_FULL)
    assert preprocessing.model_dump(exclude={"source"}) == wanted.model_dump(exclude={"source"})
    assert preprocessing.source.startswith("splits.toml, and ")
    np.testing.assert_array_equal(images, in_full)


def test_an_input_size_that_nothing_gives_is_asked_for(opened, tmp_path):
    without = {key: value for key, value in CONFIG.items() if key != "input_size"}
    with pytest.raises(InputError, match=r"splits\.toml does not give input_size.*neither does .*config\.json"):
        opened("crop_pct = 0.8\n", without)
    section = PreprocessingSection(crop_pct=0.8)
    with pytest.raises(InputError, match=r"splits\.toml does not give input_size.*no config\.json is there"):
        agreed_preprocessing(section, None, tmp_path)


def test_a_mean_of_bytes_beside_the_size_in_a_config_is_refused(opened):
    config = {key: value for key, value in CONFIG.items() if key not in {"mean", "std"}}
    with pytest.raises(InputError, match="divide them by 255"):
        opened("mean = [123.7, 116.3, 103.5]\nstd = [58.4, 57.1, 57.4]\n", config)


@pytest.mark.parametrize("stated", ["", "input_size = [1, 64, 64]\n"])
def test_images_stored_in_colour_are_read_in_grey_for_a_model_of_one_channel(opened, stated):
    config = CONFIG | {"mean": [0.5], "std": [0.25], "input_size": [1, 64, 64]}
    images, preprocessing = opened(stated, config)
    assert images.shape[1:] == (80, 80, 1)
    assert prepare(images, preprocessing, torch.device("cpu")).shape[1:] == (1, 64, 64)


def test_groups_are_part_of_what_data_this_is():
    records = Records.of(np.zeros((3, 2), dtype=np.float32), np.arange(3))
    digests = {
        data_digest(
            SimpleNamespace(
                members=replace(records, groups=groups),
                non_members=records,
                population=None,
                public=None,
                validation=None,
                class_names=NAMES,
            )
        )
        for groups in (None, np.array([0, 0, 1]), np.array([0, 1, 1]))
    }
    assert len(digests) == 3
