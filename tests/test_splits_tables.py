"""Parquet and arrow: that they are read as folders are, which column is which, and that hostile files do no harm."""

import contextlib
import gzip
import io
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from auditor.errors import InputError
from auditor.intake import data_digest
from auditor.sources import images, table
from auditor.sources.images import common_form, read_images
from auditor.sources.table import read_table
from auditor.splits import load_splits
from auditor.splits_file import DataSection
from tests.stores import NAMES, as_folder, as_tar, halves, png, rows

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)


def huggingface(**features):
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def class_label(names=NAMES):
    return {"names": list(names), "_type": "ClassLabel"}


def table_of(records, style="struct", labels="names"):
    contents = [row.content for row in records]
    if style == "struct":
        pictures = pa.array([{"bytes": row.content, "path": row.name} for row in records], IMAGE)
    else:
        pictures = pa.array(contents, pa.large_binary() if style == "large" else pa.binary())
    numbers = [row.label for row in records]
    stated = pa.array([NAMES[label] for label in numbers]) if labels == "text" else pa.array(numbers, pa.int64())
    columns = {"image": pictures, "label": stated}
    if records[0].group is not None:
        columns["group"] = pa.array([row.group for row in records])
    made = pa.table(columns)
    if labels == "names":
        made = made.replace_schema_metadata(huggingface(image={"_type": "Image"}, label=class_label()))
    return made


def write(path, made):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(made, path, row_group_size=4)
    else:
        with pa.ipc.new_stream(str(path), made.schema) as stream:
            stream.write_table(made, max_chunksize=4)
    return path


def read(path, *, labels_needed=True, **columns):
    role = read_table(path, (path,), DataSection(**columns), labels_needed=labels_needed)
    return role, read_images(role, common_form([role], None)) if isinstance(role, images.ImageRole) else role.inputs


def same(one, other):
    for mine, theirs in ((one.members, other.members), (one.non_members, other.non_members)):
        np.testing.assert_array_equal(mine.inputs, theirs.inputs)
        np.testing.assert_array_equal(mine.labels, theirs.labels)
        assert (mine.groups is None) == (theirs.groups is None)
        assert mine.groups is None or mine.groups.tolist() == theirs.groups.tolist()
    return data_digest(one) == data_digest(other) and one.test_as_read == other.test_as_read


# --- as a folder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("style", ["struct", "plain", "large"])
@pytest.mark.parametrize("labels", ["names", "text"])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_table_holds_the_records_that_a_folder_holds(tmp_path, ending, style, labels, grouped):
    for role, seed in (("train", 1), ("test", 2)):
        as_folder(tmp_path / "plain" / role, rows(12, seed, grouped))
        write(tmp_path / "packed" / f"{role}.{ending}", table_of(rows(12, seed, grouped), style, labels))
    packed = load_splits(tmp_path / "packed")
    assert same(load_splits(tmp_path / "plain"), packed)
    assert packed.class_names == NAMES
    assert packed.class_names_source == (f"schema of train.{ending}" if labels == "names" else "class names")
    assert packed.traces is not None


@pytest.mark.parametrize(
    "pattern",
    [
        "train-{:05d}-of-00002.parquet",
        "data/train-{:05d}-of-00002.parquet",
        "data/train-{:05d}-of-00002-0123456789abcdef.parquet",
        "train/{:04d}.parquet",
        "train/train-{:05d}-of-00002.parquet",
        "train/data-{:05d}-of-00002.arrow",
        "train_{}.arrow",
    ],
)
def test_shards_are_one_role(tmp_path, pattern):
    as_folder(tmp_path / "plain" / "train", rows(12, 1))
    as_folder(tmp_path / "plain" / "test", rows(6, 2))
    as_folder(tmp_path / "packed" / "test", rows(6, 2))
    for number, part in enumerate(halves(rows(12, 1))):
        write(tmp_path / "packed" / pattern.format(number), table_of(part))
    assert same(load_splits(tmp_path / "plain"), load_splits(tmp_path / "packed"))


def saved_to_disk(folder, records):
    """As `datasets` 5 leaves a folder: shards, what it knows of them, and what it once computed."""
    for number, part in enumerate(halves(records)):
        write(folder / f"data-{number:05d}-of-00002.arrow", table_of(part, labels="numbers"))
    (folder / "state.json").write_text('{"_split": "train"}')
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"label": class_label()}}))
    (folder / "cache-0123456789abcdef.arrow").write_bytes(b"another table")


def test_a_folder_that_datasets_saved_is_read_with_the_names_beside_it(tmp_path):
    for role, seed in (("train", 1), ("test", 2)):
        as_folder(tmp_path / "plain" / role, rows(12, seed))
        saved_to_disk(tmp_path / "packed" / role, rows(12, seed))
    (tmp_path / "packed" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    packed = load_splits(tmp_path / "packed")
    assert same(load_splits(tmp_path / "plain"), packed)
    assert packed.class_names == NAMES


def test_every_form_plays_beside_every_other(tmp_path):
    write(tmp_path / "train.parquet", table_of(rows(12, 1)))
    as_folder(tmp_path / "test", rows(12, 2))
    as_tar(tmp_path / "validation.tar", rows(6, 3))
    saved_to_disk(tmp_path / "population", rows(6, 4))
    splits = load_splits(tmp_path)
    assert splits.class_names == NAMES
    for part in (splits.non_members, splits.validation, splits.population):
        assert part.labels.tolist() == sorted(part.labels) == sorted(k % 3 for k in range(part.n))
    assert splits.traces is None


def test_records_shared_with_another_form_are_found_by_content(tmp_path):
    write(tmp_path / "train.parquet", table_of(rows(12, 1)))
    as_tar(tmp_path / "test.tar", rows(12, 1))
    with pytest.raises(
        InputError, match=r"12 of the 12 distinct records of .*test\.tar also stand in .*train\.parquet"
    ):
        load_splits(tmp_path)


# --- classes -------------------------------------------------------------------------------------------------------


def pair(tmp_path, **made):
    for role, seed in (("train", 1), ("test", 2)):
        write(tmp_path / f"{role}.parquet", made.get(role, table_of(rows(6, seed))))
    return tmp_path


def relabelled(records, labels, names=None):
    made = table_of(records, labels="numbers").set_column(1, "label", pa.array(labels))
    return made if names is None else made.replace_schema_metadata(huggingface(label=class_label(names)))


def test_the_schema_orders_classes_where_text_and_numbers_would_differ(tmp_path):
    names = ("10", "9", "2")
    made = {role: relabelled(rows(6, seed), [0, 0, 1, 1, 2, 2], names) for role, seed in (("train", 1), ("test", 2))}
    splits = load_splits(pair(tmp_path, **made))
    assert splits.class_names == names
    assert splits.class_orders is None
    (tmp_path / "classes.txt").write_text("2\n9\n10\n")
    assert load_splits(tmp_path).members.labels.tolist() == [2, 2, 1, 1, 0, 0]


def test_names_without_a_list_leave_the_order_open(tmp_path):
    made = {role: relabelled(rows(4, seed), ["10", "9", "9", "10"]) for role, seed in (("train", 1), ("test", 2))}
    splits = load_splits(pair(tmp_path, **made))
    assert splits.class_orders is not None
    assert splits.class_orders.natural == ("9", "10")
    text = splits.with_class_order("text")
    assert text.class_names_source == "class names in text order"
    assert text.with_class_order("natural").class_names_source == "class names in natural order"


def test_lists_that_differ_need_a_third(tmp_path):
    other = relabelled(rows(6, 2), [0, 0, 1, 1, 2, 2], ("dog", "cat", "emu"))
    with pytest.raises(InputError, match=r"train\.parquet and .*test\.parquet list the classes differently"):
        load_splits(pair(tmp_path, test=other))
    (tmp_path / "classes.txt").write_text("cat\ndog\nemu\n")
    splits = load_splits(tmp_path)
    assert splits.members.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert splits.non_members.labels.tolist() == [1, 1, 0, 0, 2, 2]


def test_a_list_of_other_classes_than_the_schema_names_is_refused(tmp_path):
    (pair(tmp_path) / "classes.txt").write_text("one\ntwo\nthree\n")
    with pytest.raises(InputError, match=r"record 0 of .*train\.parquet is of the class cat, which is none of the 3"):
        load_splits(tmp_path)


def test_names_and_numbers_mix_only_under_a_list(tmp_path):
    pair(tmp_path, test=table_of(rows(6, 2), labels="numbers"))
    with pytest.raises(InputError, match="some splits by number and of others by name"):
        load_splits(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    assert load_splits(tmp_path).non_members.labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("label", [-2, 3, 2**40])
def test_a_label_outside_the_schema_is_refused(tmp_path, label):
    with pytest.raises(InputError, match="its schema names 3 classes"):
        load_splits(pair(tmp_path, test=relabelled(rows(3, 2), [0, label, 1], NAMES)))


@pytest.mark.parametrize("missing", [-1, None])
def test_no_class_is_for_public_records_only(tmp_path, missing):
    unlabelled = relabelled(rows(3, 5), [0, missing, 1], NAMES)
    write(pair(tmp_path) / "public.parquet", unlabelled)
    public = load_splits(tmp_path).public
    assert public is not None
    assert public.labels.tolist() == [0, -1, 1]
    with pytest.raises(InputError, match=r"record 1 of .*test\.parquet has no class"):
        load_splits(pair(tmp_path, test=unlabelled))


def test_the_public_split_needs_no_column_of_classes(tmp_path):
    write(pair(tmp_path) / "public.parquet", table_of(rows(4, 5)).drop_columns(["label"]))
    public = load_splits(tmp_path).public
    assert public is not None
    assert public.labels.tolist() == [-1] * 4


# --- columns -------------------------------------------------------------------------------------------------------


def columns_of(**columns):
    kinds = {
        "image": pa.array([{"bytes": png(k), "path": None} for k in range(4)], IMAGE),
        "label": pa.array([0, 1] * 2),
    }
    kinds |= {"text": pa.array(["a", "b"] * 2), "numbers": pa.array([[1.0, 2.0]] * 4), "odd": pa.array([1.5] * 4)}
    kinds |= {
        "many": pa.array([[0]] * 4),
        "switch": pa.array([True] * 4),
        "moment": pa.array([0] * 4, pa.timestamp("s")),
        "day": pa.array([0] * 4, pa.date32()),
        "blank": pa.array(["a", "b", " ", ""]),
        "blanks": pa.array([" ", ""] * 2),
        "none": pa.nulls(4),
    }
    kinds |= {"category": pa.array(["a", "b"] * 2).dictionary_encode(), "plain": pa.array([png(k) for k in range(4)])}
    return pa.table({name: kinds[kind] for name, kind in columns.items()})


@pytest.mark.parametrize("image", ["image", "img", "pixel_values", "Image", "scan"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label", "target", "cls"])
def test_columns_are_found_by_the_names_in_use(tmp_path, image, label):
    made = columns_of(id="text", **{image: "plain", label: "label"}, caption="text", box="numbers", when="moment")
    role, pixels = read(write(tmp_path / "a.parquet", made))
    assert pixels.shape == (4, 5, 4, 3)
    assert role.labels.numbers.tolist() == [0, 1, 0, 1]
    assert role.groups is None


def test_the_owner_says_whether_classes_are_fine_or_coarse(tmp_path):
    path = write(tmp_path / "a.parquet", columns_of(img="image", fine_label="label", coarse_label="category"))
    with pytest.raises(InputError, match=r"several columns.*fine_label .*, coarse_label "):
        read(path)
    assert read(path, label_column="fine_label")[0].labels.names is None
    assert read(path, label_column="coarse_label")[0].labels.names == ("a", "b")


def test_a_column_that_the_schema_calls_a_class_label_is_one(tmp_path):
    made = columns_of(image="image", variety="label").replace_schema_metadata(huggingface(variety=class_label("ab")))
    assert read(write(tmp_path / "a.parquet", made))[0].labels.names == ("a", "b")


def test_the_owner_names_the_columns(tmp_path):
    made = columns_of(scan="image", mask="image", kind="text", patient="text", label="label")
    (tmp_path / "splits.toml").write_text(
        '[data]\nimage_column = "scan"\nlabel_column = "kind"\ngroup_column = "patient"\n'
    )
    write(tmp_path / "train.parquet", made)
    as_tar(tmp_path / "test.tar", rows(4, 9, grouped=True), classes=("a", "b", "b"))
    splits = load_splits(tmp_path)
    assert splits.class_names == ("a", "b")
    assert splits.members.groups.tolist() == splits.members.groups.tolist()[:2] * 2


@pytest.mark.parametrize(
    ("columns", "section", "message", "key"),
    [
        ({"a": "image", "b": "image", "label": "label"}, {}, "several columns that could be meant", "image_column"),
        (
            {"image": "image", "img": "plain", "label": "label"},
            {},
            "several columns that could be meant",
            "image_column",
        ),
        ({"image": "image", "label": "label", "target": "label"}, {}, "several columns that", "label_column"),
        ({"image": "image", "label": "label", "group": "text", "groups": "text"}, {}, "several", "group_column"),
        ({"image": "image"}, {}, "no column of classes", "label_column"),
        ({"image": "image", "label": "odd"}, {}, r"no column of classes; .*label \(double\)", "label_column"),
        ({"image": "image", "label": "odd"}, {}, r"`label` is double: save integers, or text", "label_column"),
        ({"image": "text", "label": "label"}, {}, r"`image` is string: embed the bytes", "image_column"),
        ({"image": "image", "label": "many"}, {}, "no column of classes", "label_column"),
        ({"image": "image", "label": "odd", "y": "label"}, {}, "`label` is double: save integers", "label_column"),
        ({"y": "odd", "image": "image", "label": "many", "cls": "text"}, {}, "`label` is list<", "label_column"),
        ({"image": "image", "label": "label", "group": "odd"}, {}, "`group` is double: save int", "group_column"),
        ({"image": "image", "label": "label", "Group_ID": "day"}, {}, r"is date32\[day\]: save int", "group_column"),
        ({"image": "image", "label": "switch"}, {}, "no column of classes", "label_column"),
        ({"image": "image", "kind": "text"}, {}, "no column of classes", "label_column"),
        ({"odd": "odd", "label": "label"}, {}, "no column of encoded images", "image_column"),
        ({"image": "image", "label": "label"}, {"image_column": "img"}, "no one column img", "image_column"),
        ({"image": "image", "label": "label"}, {"image_column": "label"}, "no one column label", "image_column"),
        ({"image": "image", "label": "label"}, {"label_column": "image"}, "no one column image", "label_column"),
        ({"image": "image", "label": "label"}, {"group_column": "label2"}, "no one column label2", "group_column"),
        ({"image": "image", "label": "label"}, {"features_column": "image"}, "lists of numbers", "features_column"),
    ],
)
def test_columns_that_are_not_clear_are_listed_with_the_key_to_set(tmp_path, columns, section, message, key):
    with pytest.raises(InputError, match=message) as caught:
        read(write(tmp_path / "a.parquet", columns_of(**columns)), **section)
    assert "a.parquet" in caught.value.message
    assert all(name in caught.value.message for name in columns)
    assert f"`{key}` under [data] in splits.toml" in caught.value.hint


def test_a_group_of_blank_text_is_none(tmp_path):
    role, _ = read(write(tmp_path / "a.parquet", columns_of(image="image", label="label", group="blanks")))
    assert role.groups is None
    with pytest.raises(InputError, match="a group for some records only"):
        read(write(tmp_path / "b.parquet", columns_of(image="image", label="label", group="blank")))


@pytest.mark.parametrize("lesser", [{"y": "odd"}, {"Target": "many"}, {"cls": "switch"}])
def test_a_label_is_read_beside_a_lesser_name_that_does_not_fit(tmp_path, lesser):
    role, _ = read(write(tmp_path / "a.parquet", columns_of(**lesser, image="image", label="label")))
    assert role.labels.numbers.tolist() == [0, 1, 0, 1]


def test_what_the_schema_calls_a_class_label_is_read_beside_any_name(tmp_path):
    made = columns_of(image="image", label="odd", variety="label")
    made = made.replace_schema_metadata(huggingface(variety=class_label("ab")))
    assert read(write(tmp_path / "a.parquet", made))[0].labels.names == ("a", "b")


@pytest.mark.parametrize("kind", ["odd", "switch", "many"])
def test_a_public_label_that_does_not_fit_is_none(tmp_path, kind):
    path = write(tmp_path / "public.parquet", columns_of(image="image", label=kind))
    assert read(path, labels_needed=False)[0].labels.numbers.tolist() == [-1] * 4


def test_columns_of_nothing_state_nothing(tmp_path):
    made = columns_of(image="image", label="none", y="label", group="none")
    role, _ = read(write(tmp_path / "a.parquet", made))
    assert role.groups is None
    assert role.labels.numbers.tolist() == [0, 1, 0, 1]


# --- orientation ---------------------------------------------------------------------------------------------------


def turned_image(orientation, form, seed=3):
    content = io.BytesIO()
    image = Image.open(io.BytesIO(png(seed, height=8, width=16)))
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(content, form, exif=exif)
    return content.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_images_in_tables_are_turned_as_datasets_turns_them(tmp_path, orientation, form):
    content = turned_image(orientation, form)
    role, pixels = read(write(tmp_path / "a.parquet", pa.table({"image": [content] * 2, "label": [0, 1]})))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert (role.files[0].height, role.files[0].width) == upright.shape[:2]
    np.testing.assert_array_equal(pixels[0], upright)
    assert role.not_turned == 0


def test_elsewhere_images_stay_as_stored_and_are_counted(tmp_path):
    content = turned_image(6, "JPEG")
    for seed, (role, name) in enumerate(itertools.product(("train", "test"), NAMES)):
        folder = tmp_path / role / name
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(content if role == "train" else png(seed, height=8, width=16))
    splits = load_splits(tmp_path)
    assert splits.not_turned == 3
    assert splits.traces.members.marks["EXIF orientation"].tolist() == [6] * 3
    np.testing.assert_array_equal(splits.members.inputs[0], np.asarray(Image.open(io.BytesIO(content))))


def in_two_forms(folder, train, test):
    """A table whose last image has one orientation, and a class folder whose images have another."""
    upright = [png(seed, height=8, width=16) for seed in range(4)]
    contents = [*upright[:2], turned_image(train, "JPEG", 4)]
    write(folder / "train.parquet", pa.table({"image": contents, "label": list(NAMES)}))
    for name, content in zip(NAMES, [*upright[2:], turned_image(test, "JPEG", 5)], strict=True):
        path = folder / "test" / name / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return folder


def test_roles_in_two_forms_must_not_differ_by_the_orientation_that_is_followed_in_one(tmp_path):
    with pytest.raises(InputError, match=r"train\.parquet and .*test hold images with an EXIF orientation") as caught:
        load_splits(in_two_forms(tmp_path, train=3, test=3))
    assert caught.value.hint == "Store the pixels upright, or all roles in one form."


@pytest.mark.parametrize(("train", "test"), [(3, 1), (1, 3), (1, 1)])
def test_an_orientation_in_one_form_alone_is_read(tmp_path, train, test):
    assert load_splits(in_two_forms(tmp_path, train, test)).not_turned == (test == 3)


def test_a_table_of_many_odd_columns_makes_a_short_message(tmp_path):
    made = pa.table({f"\x1b[2J{'x' * 500}{k}": pa.array([1.5]) for k in range(200)})
    with pytest.raises(InputError, match="and 170 more") as caught:
        read(write(tmp_path / "a.parquet", made))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 5_000


def test_two_columns_of_one_name_are_refused(tmp_path):
    made = pa.Table.from_arrays(
        [*columns_of(image="image", label="label").columns, pa.array([1] * 4)], ["image", "label", "label"]
    )
    with pytest.raises(InputError, match="several columns"):
        read(write(tmp_path / "a.arrow", made))
    with pytest.raises(InputError, match="no one column label"):
        read(tmp_path / "a.arrow", label_column="label")


def test_shards_must_have_the_same_columns_and_classes(tmp_path):
    first, second = halves(rows(12, 1))
    pair(tmp_path)
    (tmp_path / "train.parquet").unlink()
    write(tmp_path / "train-0.parquet", table_of(first))
    for other in (table_of(second).rename_columns(["img", "label"]), relabelled(second, [0] * 6, ("a", "b"))):
        write(tmp_path / "train-1.parquet", other)
        with pytest.raises(InputError, match=r"train-1\.parquet has other columns or classes than .*train-0"):
            load_splits(tmp_path)


# --- features ------------------------------------------------------------------------------------------------------


def features_table(kind=None, values=FEATURES, name="features"):
    kind = kind or pa.list_(pa.float32(), 3)
    return pa.table({name: pa.array(list(values), kind), "label": pa.array([0, 1] * 3)})


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 3), pa.list_(pa.float64()), pa.large_list(pa.float32())])
@pytest.mark.parametrize("name", ["features", "embedding", "blood"])
def test_lists_of_numbers_are_features(tmp_path, ending, kind, name):
    for role, values in (("train", FEATURES), ("test", FEATURES + 1)):
        write(tmp_path / f"{role}.{ending}", features_table(kind, values, name))
        np.savez(tmp_path / f"{role}.npz", features=values, labels=[0, 1] * 3)
    (tmp_path / "splits.toml").write_text(f'[roles]\ntrain = "train.{ending}"\ntest = "test.{ending}"\n')
    tables = load_splits(tmp_path)
    (tmp_path / "splits.toml").write_text('[roles]\ntrain = "train.npz"\ntest = "test.npz"\n')
    arrays = load_splits(tmp_path)
    assert same(arrays, tables)
    assert tables.members.inputs.dtype == np.float32


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([[1.0, 2.0]] * 5 + [[1.0]], pa.list_(pa.float32()), "differ in length"),
        ([[1.0, 2.0], []] * 3, pa.list_(pa.float32()), "differ in length"),
        ([[1.0], [1.0, 2.0, 3.0]] * 3, pa.list_(pa.float32()), "differ in length"),
        ([[1.0, 2.0], None] * 3, pa.list_(pa.float32()), "have gaps"),
        ([[1.0, None]] * 6, pa.list_(pa.float32(), 2), "have gaps"),
        ([None] * 6, pa.list_(pa.float32(), 2), "have gaps"),
        ([[]] * 6, pa.list_(pa.float32()), "float32 of"),
        ([[1.0, float("nan")]] * 6, pa.list_(pa.float32()), "NaN or infinite"),
        ([[1, 2]] * 6, pa.list_(pa.int64()), "`features` is int64"),
    ],
)
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_features_that_do_not_fit_are_refused(tmp_path, values, kind, message, ending):
    with pytest.raises(InputError, match=message) as caught:
        read(write(tmp_path / f"a.{ending}", features_table(kind, values)))
    assert f"a.{ending}" in caught.value.message


def test_the_size_of_features_is_limited(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", features_table())
    monkeypatch.setattr(table, "MAX_ROLE_BYTES", FEATURES.nbytes - 1)
    with pytest.raises(InputError, match="GiB"):
        read(path)


@pytest.mark.parametrize("made", [features_table().slice(0, 0), table_of(rows(3)).slice(0, 0)])
def test_an_empty_table_is_refused(tmp_path, made):
    with pytest.raises(InputError, match=r"a\.parquet holds no rows"):
        read(write(tmp_path / "a.parquet", made))


# --- hostile -------------------------------------------------------------------------------------------------------


def with_images(cells):
    return pa.table({"image": pa.array(cells, IMAGE), "label": pa.array([k % 2 for k in range(len(cells))])})


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(
    "given", ["/etc/passwd", "{here}/secret.png", "secret.png", "../secret.png", "https://a.example/b.png"]
)
def test_an_image_by_its_path_only_is_refused_and_not_looked_up(tmp_path, ending, given):
    (tmp_path / "secret.png").write_bytes(png(1))
    cells = [{"bytes": png(0), "path": given}, {"bytes": None, "path": given.format(here=tmp_path)}]
    with pytest.raises(InputError, match=rf"record 1 of .*a\.{ending} is only a path") as caught:
        read(write(tmp_path / f"a.{ending}", with_images(cells)))
    assert "Embed the bytes" in caught.value.hint


@pytest.mark.parametrize("cell", [None, {"bytes": None, "path": None}])
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_row_without_an_image_is_named(tmp_path, cell, ending):
    with pytest.raises(InputError, match=r"record 1 of .* holds no image"):
        read(write(tmp_path / f"a.{ending}", with_images([{"bytes": png(0), "path": "a"}, cell])))


@pytest.mark.parametrize("content", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n", png(1)[:40]])
def test_a_broken_image_is_named(tmp_path, content):
    with pytest.raises(InputError, match=r"record 1 of .* cannot be read as an image"):
        read(write(tmp_path / "a.parquet", with_images([{"bytes": png(0)}, {"bytes": content}])))


def test_a_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
    with pytest.raises(InputError, match=r"record 0 of .* more than 9 pixels"):
        read(write(tmp_path / "a.parquet", with_images([{"bytes": png(0)}])))


def test_a_value_that_is_repeated_is_not_spelled_out(tmp_path):
    """64 times 8 MiB in a file of a few kilobytes: spelled out that would be 512 MiB."""
    once = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array([b"\0" * 2**23]))
    made = pa.table({"image": pa.StructArray.from_arrays([once], ["bytes"]), "label": pa.array([0] * 64)})
    path = tmp_path / "a.parquet"
    pq.write_table(made, path, compression="zstd", dictionary_pagesize_limit=2**30, store_schema=False)
    assert path.stat().st_size < 2**14
    code = (
        "import sys; from pathlib import Path; import pyarrow as pa\n"
        "from auditor.sources import columns, table\n"
        "chosen = columns.Columns('image', True, 'label', None, None)\n"
        "assert sum(batch.num_rows for batch in table._batches(Path(sys.argv[1]), chosen)) == 64\n"
        "print(pa.default_memory_pool().max_memory())"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 2**26


def test_a_row_group_that_changes_its_encoding_is_read(tmp_path):
    made = table_of([*rows(24, 1), *rows(24, 1)])
    pq.write_table(made, tmp_path / "a.parquet", dictionary_pagesize_limit=1_000, data_page_size=1_000)
    assert {"RLE_DICTIONARY", "PLAIN"} <= set(pq.read_metadata(tmp_path / "a.parquet").row_group(0).column(0).encodings)
    assert read(tmp_path / "a.parquet")[1].shape == (48, 5, 4, 3)


def test_a_large_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "MAX_ENCODED_BYTES", 100)
    with pytest.raises(InputError, match=r"record 0 of .* has \d+ bytes; at most 100 are read"):
        read(write(tmp_path / "a.parquet", with_images([{"bytes": png(0)}])))


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("make", [pa.ipc.new_stream, pa.ipc.new_file])
@pytest.mark.parametrize("coded", [False, True])
def test_compressed_arrow_is_refused_before_it_is_unpacked(tmp_path, codec, make, coded, monkeypatch):
    made = table_of(rows(6), labels="text")
    made = made.set_column(1, "label", made["label"].dictionary_encode()) if coded else made
    path = tmp_path / "a.arrow"
    for compression in (None, codec):
        with make(str(path), made.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as sink:
            sink.write_table(made)
        if compression is None:
            assert read(path)[1].shape == (6, 5, 4, 3)
    with pytest.raises(InputError, match=r"a\.arrow holds compressed buffers") as caught:
        read(path)
    assert "uncompressed" in caught.value.hint


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_table_that_is_packed_as_a_whole_is_named_so(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}", table_of(rows(6)))
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match=rf"a\.{ending} is compressed with gzip"):
        read(path)


def test_garbage_is_not_said_to_be_of_another_format(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"hello")
    with pytest.raises(InputError, match="no plain parquet file") as caught:
        read(tmp_path / "a.parquet")
    assert "arrow " not in str(caught.value)


def test_a_record_without_a_label_is_named(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\n")
    for role, third in (("train", 0), ("test", None)):
        made = table_of(rows(6, len(role)), labels="numbers")
        write(tmp_path / f"{role}.parquet", made.set_column(1, "label", pa.array([0, 1, third, 1, 0, 1])))
    with pytest.raises(InputError, match=r"record 2 of .*test\.parquet has no label"):
        load_splits(tmp_path)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_table_cut_anywhere_is_refused(tmp_path, ending):
    whole = write(tmp_path / f"whole.{ending}", table_of(rows(12))).read_bytes()
    path = tmp_path / f"cut.{ending}"
    for length in [*range(0, len(whole), 40), *range(len(whole) - 20, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"cut\.{ending} is damaged, cut off"):
            read(path)


def test_streams_one_after_the_other_are_not_half_read(tmp_path):
    whole = write(tmp_path / "whole.arrow", table_of(rows(6))).read_bytes()
    (tmp_path / "a.arrow").write_bytes(whole + whole)
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "a.arrow")


def test_offsets_that_lead_out_of_the_file_are_refused(tmp_path):
    made = pa.table({"image": pa.array([png(0), png(1)], pa.binary()), "label": pa.array([0, 1])})
    path = write(tmp_path / "a.arrow", made)
    offsets = np.array([0, len(png(0)), len(png(0)) + len(png(1))], dtype=np.int32)
    content = path.read_bytes()
    assert content.count(offsets.tobytes()) == 1
    path.write_bytes(content.replace(offsets.tobytes(), np.array([0, 5, 2**30], dtype=np.int32).tobytes()))
    with pytest.raises(InputError, match="damaged"):
        read(path)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000])
def test_a_description_that_is_not_json_is_refused(tmp_path, text):
    made = table_of(rows(3)).replace_schema_metadata({b"huggingface": text})
    with pytest.raises(InputError, match="what is not JSON"):
        read(write(tmp_path / "a.parquet", made))


@pytest.mark.parametrize("names", ["cat", [1, 2], {"0": "cat"}])
def test_class_names_of_another_type_are_refused(tmp_path, names):
    made = table_of(rows(3)).replace_schema_metadata(huggingface(label={"_type": "ClassLabel", "names": names}))
    with pytest.raises(InputError, match="does not name the classes of label"):
        read(write(tmp_path / "a.parquet", made))


@pytest.mark.parametrize(
    "content", [{}, [], {"info": []}, {"info": {"features": [1]}}, {"info": {"features": {"label": 3}}}]
)
def test_a_description_of_another_shape_says_nothing(tmp_path, content):
    made = table_of(rows(3)).replace_schema_metadata({b"huggingface": json.dumps(content).encode()})
    assert read(write(tmp_path / "a.parquet", made))[0].labels.names is None


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_what_is_no_file_of_that_kind_is_refused(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    for content in (b"", b"PAR1", b"ARROW1\0\0", b"text" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="damaged"):
        read(path)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_ends_in_records_or_one_sentence(tmp_path, ending, data):
    content = bytearray(write(tmp_path / f"a.{ending}", table_of(rows(6))).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        assert read(path)[1].dtype == np.uint8
