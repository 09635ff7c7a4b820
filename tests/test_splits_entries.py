"""Which entry of a data folder plays which role, and which files make it up, without reading any of them."""

import re

import pytest

from auditor.errors import InputError
from auditor.sources.entries import Form, SplitRole, find_entries
from auditor.splits_file import RolesSection, SplitsFile


def touched(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    return folder


def found(folder, role="train", **roles):
    if role == "train" and not roles.get("test"):
        touched(folder, "test.npz")
    entry = find_entries(folder, SplitsFile(roles=RolesSection(**roles)))[SplitRole(role)]
    return entry.form, [path.relative_to(folder).as_posix() for path in entry.files]


@pytest.mark.parametrize(
    ("names", "form", "files"),
    [
        (["train/cat/a.png"], Form.FOLDER, ["train"]),
        (["train/cat/a.png", "train/metadata.parquet"], Form.FOLDER, ["train"]),
        (["train.npz"], Form.NPZ, ["train.npz"]),
        (["train.parquet"], Form.TABLE, ["train.parquet"]),
        (["Members.arrow"], Form.TABLE, ["Members.arrow"]),
        (["training.tar"], Form.TAR, ["training.tar"]),
        (["data/train.parquet"], Form.TABLE, ["data/train.parquet"]),
        (["train/x.parquet", "train/README.md", "train/.x.parquet"], Form.TABLE, ["train/x.parquet"]),
        (["train-1.tar", "train-0.tar", "train-10.tar"], Form.TAR, ["train-0.tar", "train-1.tar", "train-10.tar"]),
        (
            ["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet"],
            Form.TABLE,
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        ),
        (
            ["train/data-00000-of-00001.arrow", "train/cache-11.arrow", "train/state.json", "train/dataset_info.json"],
            Form.TABLE,
            ["train/data-00000-of-00001.arrow"],
        ),
        (["data/train-0.npz", "data/notes.txt", "train.tar", "train.txt"], Form.TAR, ["train.tar"]),
        (["data/cat/train.parquet", "train.tar"], Form.TAR, ["train.tar"]),
    ],
)
def test_what_a_role_is_read_from(tmp_path, names, form, files):
    assert found(touched(tmp_path / "data", *names)) == (form, files)


def test_shards_of_a_role_whose_name_has_a_dash(tmp_path):
    touched(tmp_path, "train.npz", "non-members-00000-of-00001.parquet")
    assert found(tmp_path, "test")[1] == ["non-members-00000-of-00001.parquet"]


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet"],
        ["train-00000-of-00002.parquet", "train-00002-of-00003.parquet"],
        ["train-00000-of-00002.parquet", "train-00002-of-00002.parquet"],
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "train-1.parquet"],
        ["train-0-of-2.parquet", "train-1-of-2.parquet", "train-00001-of-00002.parquet"],
        ["train-00000-of-999999999.parquet"],
        ["train/data-00001-of-00002.arrow"],
        ["train/a-00000-of-00001.tar", "train/b-00000-of-00001.tar"],
        ["train/0.tar", "train/a-00000-of-00001.tar"],
        ["train-00000-of-00000.tar"],
    ],
)
def test_a_series_must_be_whole(tmp_path, names):
    with pytest.raises(InputError, match=r"not each of \d+ once"):
        found(touched(tmp_path, *names))


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (["train-00000-of-00002.parquet"], "train-00001-of-00002.parquet"),
        (["train-00001-of-00003-0123456789abcdef.parquet"], "train-00000-of-00003.parquet"),
        (["train/data-0-of-12.arrow", "train/data-1-of-12.arrow"], "data-2-of-12.arrow"),
    ],
)
def test_the_first_shard_that_is_missing_is_named(tmp_path, there, missing):
    with pytest.raises(InputError, match=f"once: {re.escape(missing)} is missing"):
        found(touched(tmp_path, *there))


@pytest.mark.parametrize(
    "names",
    [
        ["train.npz", "train.parquet"],
        ["train.tar", "train-0.tar"],
        ["train-0.tar", "data/train-1.tar"],
        ["train-0.tar", "train-0.parquet"],
        ["train-0.tar", "training-1.tar"],
        ["train/a.png", "train-0.tar"],
        ["train.npz", "data/train.tar.gz"],
    ],
)
def test_two_forms_of_one_role_are_refused(tmp_path, names):
    with pytest.raises(InputError, match=r"train split more than once: .+ and "):
        found(touched(tmp_path, *names))


@pytest.mark.parametrize(
    "names",
    [["train/a.parquet", "train/b.arrow"], ["train/a.tar", "train/cat/a.png"], ["train/a.parquet", "train/a.png"]],
)
def test_a_folder_holds_one_form(tmp_path, names):
    with pytest.raises(InputError, match="beside folders, images or one another"):
        found(touched(tmp_path, *names))


@pytest.mark.parametrize(
    "names",
    [
        ["train/a.parquet", "train/groups.csv"],
        ["train/a.tar", "train/Group.csv"],
        ["train/cat/a.png", "train/group.csv"],
        ["train/cat/a.png", "train/groups.csv", "train/group_id.CSV"],
        ["train.npz", "groups.csv"],
        ["data/train.parquet", "data/group.csv"],
    ],
)
def test_groups_that_would_not_be_read_are_not_passed_over(tmp_path, names):
    with pytest.raises(InputError, match=f"{re.escape(names[-1])} would be ignored"):
        found(touched(tmp_path, *names))


def test_the_groups_of_a_folder_of_images_are_read_there(tmp_path):
    assert found(touched(tmp_path, "train/cat/a.png", "train/groups.csv", "train/notes.csv"))[0] is Form.FOLDER


@pytest.mark.parametrize("name", ["holdout-00000-of-00002.parquet", "holdout-00001-of-00002.parquet"])
def test_any_shard_names_its_series(tmp_path, name):
    touched(tmp_path, "holdout-00001-of-00002.parquet", "holdout-00000-of-00002.parquet", "train.tar")
    form, files = found(tmp_path, train=name)
    assert form is Form.TABLE
    assert files == ["holdout-00000-of-00002.parquet", "holdout-00001-of-00002.parquet"]
    with pytest.raises(InputError, match="two roles"):
        found(tmp_path, train=name, public="holdout-00000-of-00002.parquet")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("shards", ["shards/0.tar"]),
        ("part-2.npz", ["part-2.npz"]),
        ("v1.2.npz", ["v1.2.npz"]),
        ("v1.2.tar", ["v1.2.tar"]),
        ("data", ["data/train-0.tar"]),
    ],
)
def test_a_role_can_be_named(tmp_path, name, files):
    touched(tmp_path, "shards/0.tar", "part-1.npz", "part-2.npz", "v1.2.npz", "v1.2.tar", "data/train-0.tar")
    assert found(tmp_path, train=name)[1] == files


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "data/train-0.tar"])
def test_what_is_not_read_cannot_be_named(tmp_path, name):
    with pytest.raises(InputError, match=r"roles\.train"):
        found(touched(tmp_path, name), train=name)


@pytest.mark.parametrize("name", ["train.tar.gz", "train-0.tgz", "data/train-0.tar.gz", "train.zip"])
def test_formats_that_are_not_read_are_not_passed_over(tmp_path, name):
    with pytest.raises(InputError, match="format that is not read"):
        found(touched(tmp_path, name))
