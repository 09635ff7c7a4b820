"""Bad input ends with exit code 2, one sentence with the remedy and nothing half-written: a table of ways to be bad."""

import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.cli import main
from tests.digits import parts, trained_weights, write_splits
from tests.stores import png, tar_of


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    members, others, population = parts(60, 60, 120)
    trained_weights(folder, *members)
    write_splits(folder / "splits", members, others, population)
    return folder


@pytest.fixture
def place(good, tmp_path, monkeypatch):
    shutil.copytree(good, tmp_path / "case")
    monkeypatch.chdir(tmp_path / "case")
    return tmp_path / "case"


def missing_checkpoint(place):
    (place / "digits.safetensors").unlink()


def wrong_architecture(place):
    (place / "network.py").write_text((place / "network.py").read_text().replace("64, 64", "64, 65"))


def nan_weights(place):
    tensors = load_file(place / "digits.safetensors")
    tensors["1.weight"][0, 0] = torch.nan
    save_file(tensors, place / "digits.safetensors")


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def pickle_that_runs(place):
    (place / "digits.safetensors").unlink()
    (place / "digits.pt").write_bytes(pickle.dumps(Bomb()))


def truncated(place):
    content = (place / "digits.safetensors").read_bytes()
    (place / "digits.safetensors").write_bytes(content[: len(content) // 2])


def rewrite(place, role, **changes):
    with np.load(place / "splits" / f"{role}.npz") as old:
        arrays = {**old, **changes}
    np.savez(place / "splits" / f"{role}.npz", **arrays)


def empty_split(place):
    rewrite(place, "test", images=np.zeros((0, 8, 8, 1), np.uint8), labels=np.zeros(0, np.int64))


def no_members(place):
    (place / "splits" / "train.npz").unlink()


def overlap(place):
    with np.load(place / "splits" / "train.npz") as train:
        rewrite(place, "test", images=train["images"], labels=train["labels"])


def label_outside(place):
    rewrite(place, "train", labels=np.full(60, 10))


def object_array(place):
    np.savez(place / "splits" / "train.npz", images=np.array([{}] * 60, dtype=object), labels=np.zeros(60, np.int64))


def truncated_split(place):
    path = place / "splits" / "test.npz"
    path.write_bytes(path.read_bytes()[:200])


def truncated_tar(place):
    (place / "splits" / "test.npz").unlink()
    path = tar_of(place / "splits" / "test.tar", [("a.png", png(0)), ("a.cls", b"1"), ("b.png", png(1))])
    path.write_bytes(path.read_bytes()[:2_000])


def no_preprocessing(place):
    (place / "splits" / "splits.toml").write_text("random_split = true\n")


def broken_settings(place):
    (place / "splits" / "splits.toml").write_text("random_split = maybe\n")


def columns_of_no_table(place):
    with (place / "splits" / "splits.toml").open("a") as settings:
        settings.write('[data]\nlabel_column = "breed"\n')


def no_population(place):
    (place / "splits" / "population.npz").unlink()


def two_records(place):
    for role in ("train", "test"):
        with np.load(place / "splits" / f"{role}.npz") as old:
            rewrite(place, role, images=old["images"][:2], labels=old["labels"][:2])


def one_group(place):
    for number, role in enumerate(("train", "test", "population")):
        with np.load(place / "splits" / f"{role}.npz") as old:
            count = len(old["labels"])
        rewrite(place, role, group=np.full(count, number))


def infinite_logits(place):
    tensors = load_file(place / "digits.safetensors")
    for name in ("1.weight", "3.weight"):
        tensors[name] *= 3e19
    save_file(tensors, place / "digits.safetensors")


def resettle(place, old, new):
    path = place / "splits" / "splits.toml"
    path.write_text(path.read_text().replace(old, new))


def divergent_recipe(place):
    resettle(place, 'optimizer = "adamw"\nlr = 0.01', 'optimizer = "sgd"\nlr = 1000\nweight_decay = 10')


def flipped_features(place):
    resettle(place, "[1, 8, 8]", "[64, 1, 1]")
    resettle(place, "[training]", '[training]\naugmentation = ["flip"]')
    for role in ("train", "test", "population"):
        path = place / "splits" / f"{role}.npz"
        with np.load(path) as old:
            features, labels = old["images"].reshape(-1, 64).astype(np.float32), old["labels"]
        np.savez(path, features=features, labels=labels)


def nothing(place):
    """Only the command line is bad."""


TABLE = [
    (missing_checkpoint, [], ["There is no checkpoint at", "digits.safetensors", "Pass a weights file"]),
    (wrong_architecture, [], ["digits.safetensors", "--arch"]),
    (nan_weights, [], ["digits.safetensors", "1.weight"]),
    (pickle_that_runs, [], ["digits.pt", "--trust-checkpoint"]),
    (truncated, [], ["digits.safetensors"]),
    (empty_split, [], ["test.npz"]),
    (no_members, [], ["train"]),
    (overlap, [], ["test.npz", "train.npz"]),
    (label_outside, [], ["train.npz", "10"]),
    (object_array, [], ["train.npz"]),
    (truncated_split, [], ["test.npz"]),
    (truncated_tar, [], ["test.tar"]),
    (no_preprocessing, [], ["splits.toml", "preprocessing"]),
    (broken_settings, [], ["splits.toml"]),
    (columns_of_no_table, [], ["splits.toml", "[data]", "parquet"]),
    (no_population, [], ["population"]),
    (two_records, [], ["splits", "2 members", "20", "Add records"]),
    (one_group, [], ["groups among the evaluated members: 1", "10"]),
    (infinite_logits, [], ["audited model digits", "not finite", "of 120 records"]),
    (divergent_recipe, [], ["diverged", "[training]", "splits.toml"]),
    (flipped_features, [], ["augmentation", "flip", "features"]),
    (nothing, ["--attacks", "lyra"], ["lyra", "lira-scores"]),
    (nothing, ["--defenses", "prayer"], ["prayer", "purifier"]),
    (nothing, ["--budget", "infinite"], ["infinite"]),
    (nothing, ["--device", "cuda:7"], ["cuda:7"]),
    (nothing, ["-o", "report.docx"], ["report.docx"]),
    (nothing, ["--plan", "nowhere.json"], ["nowhere.json"]),
]


@pytest.mark.parametrize(
    ("spoil", "arguments", "named"), TABLE, ids=[row[0].__name__ + "".join(row[1][:1]) for row in TABLE]
)
def test_bad_input(spoil, arguments, named, place, capsys):
    spoil(place)
    checkpoint = "digits.pt" if spoil is pickle_that_runs else "digits.safetensors"
    code = main(
        [
            "scan",
            checkpoint,
            "--data",
            "splits",
            "--arch",
            "network.py:network",
            "--budget",
            "quick",
            "-o",
            "out/report.json",
            "--run-dir",
            "run",
            *arguments,
        ]
    )
    told = capsys.readouterr()
    assert code == 2, told.err
    assert told.out == ""
    assert "Traceback" not in told.err
    message = " ".join(told.err.split())
    assert all(word in message for word in named), message
    assert not (place / "out").exists()
    assert not (place / "exploded").exists()
    assert not list(place.glob("run/models/*"))
