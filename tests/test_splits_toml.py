"""`splits.toml`: what is read, what is refused, and that the complaint names the key and the file."""

import contextlib
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.checkpoint.preprocessing import agreed_preprocessing, prepare
from auditor.errors import InputError
from auditor.sources.images import common_form
from auditor.splits_file import DataSection, Filter, Recipe, SplitsFile, read_splits_file

FULL = """
random_split = true
class_is_person = true
[roles]
population = "holdout"
[data]
image_column = "scan"
label_column = "kind"
group_column = "patient"
[preprocessing]
mean = [0.5, 0.4, 0]
std = [0.2, 0.25, 1]
input_size = [3, 32, 24]
interpolation = "bicubic"
crop_pct = 0.875
[training]
epochs = 30
optimizer = "adamw"
lr = 1
momentum = 0.5
weight_decay = 5e-4
batch_size = 128
schedule = "cosine"
augmentation = ["flip", "crop"]
label_smoothing = 0.1
init = "start.safetensors"
trainable = "head"
shadows = "frozen-features"
"""
TRAINING = "[training]\nepochs = 3\nlr = 0.1\nbatch_size = 8\n"


def read(tmp_path, text):
    (tmp_path / "splits.toml").write_text(text)
    return read_splits_file(tmp_path)


def test_without_a_file_nothing_is_known(tmp_path):
    assert read_splits_file(tmp_path) == SplitsFile()
    assert SplitsFile().random_split is None
    assert agreed_preprocessing(SplitsFile().preprocessing, None, tmp_path) is None


def test_every_key_arrives(tmp_path):
    (tmp_path / "start.safetensors").write_bytes(b"")
    settings = read(tmp_path, FULL)
    assert settings.random_split is True
    assert settings.class_is_person is True
    assert settings.roles.population == "holdout"
    assert settings.data == DataSection(image_column="scan", label_column="kind", group_column="patient")
    assert settings.training == Recipe(
        epochs=30,
        optimizer="adamw",
        lr=1.0,
        momentum=0.5,
        weight_decay=5e-4,
        batch_size=128,
        schedule="cosine",
        augmentation=("flip", "crop"),
        label_smoothing=0.1,
        init=tmp_path / "start.safetensors",
        trainable="head",
        shadows="frozen-features",
    )
    stated = agreed_preprocessing(settings.preprocessing, None, tmp_path)
    assert stated is not None
    assert stated.model_dump() == {
        "mean": (0.5, 0.4, 0.0),
        "std": (0.2, 0.25, 1.0),
        "input_size": (3, 32, 24),
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "source": "splits.toml",
    }


def test_settings_survive_json(tmp_path):
    (tmp_path / "start.safetensors").write_bytes(b"")
    settings = read(tmp_path, FULL)
    assert SplitsFile.model_validate_json(settings.model_dump_json()) == settings


def test_an_input_size_alone_states_no_preprocessing(tmp_path):
    settings = read(tmp_path, "[preprocessing]\ninput_size = [3, 8, 8]\n")
    assert settings.preprocessing is not None
    assert agreed_preprocessing(settings.preprocessing, None, tmp_path) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("random = true", "random"),
        (TRAINING + "lrr = 1", "training.lrr"),
        ("[preprocessing]\ninput_size = [1, 8, 8]\nscale = 2", "preprocessing.scale"),
        ('[roles]\nshadow = "x"', "roles.shadow"),
        ('[data]\ncolumn = "x"', "data.column"),
        ("[[extra]]\na = 1", "extra"),
    ],
)
def test_unknown_keys_are_named_with_the_known_ones(tmp_path, text, key):
    with pytest.raises(InputError, match=rf"splits\.toml has the unknown key `{key}`") as caught:
        read(tmp_path, text)
    assert caught.value.hint.startswith("Known there: ")


@pytest.mark.parametrize("key", ["epochs", "lr", "batch_size"])
def test_a_recipe_needs_its_main_numbers(tmp_path, key):
    text = "\n".join(line for line in TRAINING.splitlines() if not line.startswith(key))
    with pytest.raises(InputError, match=rf"lacks the key `training\.{key}`"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", "0"),
        ("epochs", "10_001"),
        ("epochs", "2.5"),
        ("epochs", '"30"'),
        ("epochs", "true"),
        ("lr", "0"),
        ("lr", "-0.1"),
        ("lr", "nan"),
        ("lr", "inf"),
        ("batch_size", "1"),
        ("momentum", "1"),
        ("momentum", "-0.1"),
        ("weight_decay", "-1e-9"),
        ("label_smoothing", "1"),
        ("optimizer", '"rmsprop"'),
        ("schedule", '"step"'),
        ("augmentation", '["mixup"]'),
        ("augmentation", '"flip"'),
        ("init", "3"),
        ("trainable", '"last"'),
        ("shadows", '"proxy"'),
    ],
)
def test_bad_recipes_are_refused_by_key(tmp_path, key, value):
    lines = [line for line in TRAINING.splitlines() if not line.startswith(key)]
    with pytest.raises(InputError, match=rf"bad value for `training\.{key}") as caught:
        read(tmp_path, "\n".join([*lines, f"{key} = {value}"]))
    assert "splits.toml" in caught.value.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TRAINING + 'augmentation = "flip"', '`training.augmentation`: it must be a list: write ["flip"].'),
        (TRAINING + "augmentation = true", "`training.augmentation`: it must be a list."),
        (TRAINING + 'augmentation = ["flop"]', "`training.augmentation.0`: it must be 'flip' or 'crop'."),
        (TRAINING + "init = 3", "`training.init`: it must be a text in quotes."),
        (TRAINING.replace("epochs = 3", 'epochs = "30"'), "`training.epochs`: it must be a whole number"),
        ('random_split = "yes"', "`random_split`: it must be true or false, without quotes."),
        ("[preprocessing]\ninput_size = [3, 32]", "`preprocessing.input_size`: it holds too few values."),
        ("[preprocessing]\ninput_size = [3, 32, 32, 1]", "`preprocessing.input_size`: it holds too many values."),
        ('[data]\nimage_column = ""', "`data.image_column`: it must not be empty."),
    ],
)
def test_a_bad_value_is_told_in_words_of_the_file(tmp_path, text, told):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mean = [0.5]\nstd = [0.5]", "must both hold 3 numbers"),
        ("mean = [0.5, 0.5, 0.5]", "must both hold 3 numbers"),
        ("mean = [123.7, 116.3, 103.5]\nstd = [1, 1, 1]", "divide them by 255"),
        ("mean = [0.5, 0.5, 0.5]\nstd = [58, 57, 57]", "divide them by 255"),
        ("mean = [inf, 0, 0]\nstd = [1, 1, 1]", "preprocessing.mean"),
        ("mean = [0, 0, 0]\nstd = [1, 0, 1]", "preprocessing.std"),
        ("crop_pct = 0", "preprocessing.crop_pct"),
        ("crop_pct = 1.1", "preprocessing.crop_pct"),
        ('interpolation = "area"', "preprocessing.interpolation"),
        ('interpolation = "nearest"', "preprocessing.interpolation"),
        ('interpolation = "lanczos"', "preprocessing.interpolation"),
    ],
)
def test_bad_preprocessing_is_refused(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, f"[preprocessing]\ninput_size = [3, 8, 8]\n{line}\n")


@pytest.mark.parametrize("line", ["mean = [0.5]", "std = [0.5]", "mean = [0.5]\nstd = [0.5, 0.5]"])
def test_mean_and_spread_go_together_without_an_input_size_too(tmp_path, line):
    with pytest.raises(InputError, match="mean and std must both be given"):
        read(tmp_path, f"[preprocessing]\n{line}\n")


@pytest.mark.parametrize("filter_", get_args(Filter))
def test_every_filter_that_may_be_stated_is_one_that_the_audit_applies(tmp_path, filter_):
    stated = f'input_size = [1, 8, 8]\nmean = [0.5]\nstd = [0.5]\ninterpolation = "{filter_}"\n'
    section = read(tmp_path, f"[preprocessing]\n{stated}").preprocessing
    agreed = agreed_preprocessing(section, None, tmp_path)
    assert prepare(np.zeros((1, 20, 20, 1), dtype=np.uint8), agreed, torch.device("cpu")).shape == (1, 1, 8, 8)
    role = SimpleNamespace(files=[SimpleNamespace(mode="L", width=side, height=9, place="") for side in (8, 9)])
    assert common_form([role], agreed).resampling.name.lower() == filter_


def test_features_have_whatever_mean_and_spread_they_have(tmp_path):
    read_in = read(
        tmp_path, "[preprocessing]\ninput_size = [2]\nmean = [52.5, -8000]\nstd = [14, 2500]\n"
    ).preprocessing
    assert (read_in.input_size, read_in.mean, read_in.std) == ((2, 1, 1), (52.5, -8000.0), (14.0, 2500.0))


@pytest.mark.parametrize("size", ["[3, 8]", "[3, 8, 0]", "[3, 8, 8.5]", "8", "[3, 8, 70000]"])
def test_bad_input_sizes_are_refused(tmp_path, size):
    with pytest.raises(InputError, match=r"preprocessing\.input_size"):
        read(tmp_path, f"[preprocessing]\ninput_size = {size}\n")


@pytest.mark.parametrize(
    "lines", ['image_column = ""', "label_column = 3", 'image_column = "a"\nfeatures_column = "b"']
)
def test_bad_columns_are_refused(tmp_path, lines):
    with pytest.raises(InputError, match=r"bad value for `data"):
        read(tmp_path, f"[data]\n{lines}\n")


@pytest.mark.parametrize("text", ["random_split = maybe", "[training", "a = 1\na = 2", "x = " + "[" * 5_000])
def test_broken_toml_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"splits\.toml is not valid TOML"):
        read(tmp_path, text)


def test_random_split_must_be_a_truth_value(tmp_path):
    with pytest.raises(InputError, match="bad value for `random_split`"):
        read(tmp_path, 'random_split = "yes"')


def test_initial_weights_must_exist(tmp_path):
    with pytest.raises(InputError, match=r"absent\.safetensors, which do not exist"):
        read(tmp_path, TRAINING + 'init = "absent.safetensors"')


def test_initial_weights_must_be_a_file(tmp_path):
    (tmp_path / "public").mkdir()
    with pytest.raises(InputError, match=r"public, which are no file"):
        read(tmp_path, TRAINING + 'init = "public"')


@pytest.mark.parametrize("line", ['trainable = "head"', 'shadows = "frozen-features"'])
def test_a_head_is_trained_alone_only_on_given_features(tmp_path, line):
    with pytest.raises(InputError, match=rf"bad value for `training`: {line} needs init"):
        read(tmp_path, TRAINING + line)


@pytest.mark.parametrize(
    ("changes", "head_only", "proxy", "words"),
    [
        ({}, False, False, "started from given weights"),
        ({"trainable": "head"}, True, False, "started from given weights, only the head trained"),
        ({"trainable": "head", "shadows": "frozen-features"}, True, False, "weights, only the head trained"),
        ({"shadows": "frozen-features"}, True, True, "are proxies: only their heads are trained, on frozen features"),
    ],
)
def test_heads_are_proxies_only_for_what_trained_more(tmp_path, changes, head_only, proxy, words):
    recipe = Recipe(epochs=1, lr=0.1, batch_size=2, init=tmp_path / "start.safetensors", **changes)
    assert (recipe.head_only, recipe.proxy) == (head_only, proxy)
    assert recipe.describe().endswith(words)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "splits.toml").mkdir()
    with pytest.raises(InputError, match="not a regular file"):
        read_splits_file(tmp_path)


def test_hostile_keys_are_escaped(tmp_path):
    with pytest.raises(InputError) as caught:
        read(tmp_path, '"\\u001b[31m" = 1')
    assert str(caught.value).isprintable()


def test_a_recipe_describes_itself_in_one_line_without_paths(tmp_path):
    recipe = Recipe(
        epochs=30, lr=0.1, batch_size=128, weight_decay=5e-4, schedule="cosine", augmentation=("flip", "crop")
    )
    assert recipe.describe() == (
        "30 epochs of SGD, learning rate 0.1 (cosine), momentum 0.9, weight decay 0.0005, batches of 128, "
        "augmentation: flip and crop"
    )
    tuned = Recipe(
        epochs=1, optimizer="adamw", lr=1e-3, batch_size=2, label_smoothing=0.1, init=tmp_path / "secret.safetensors"
    )
    assert tuned.describe() == (
        "1 epoch of AdamW, learning rate 0.001 (constant), weight decay 0, batches of 2, augmentation: none, "
        "label smoothing 0.1, started from given weights"
    )


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_sentence(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("splits")
    (folder / "splits.toml").write_text(text, encoding="utf-8", errors="ignore")
    with contextlib.suppress(InputError):
        assert isinstance(read_splits_file(folder), SplitsFile)
