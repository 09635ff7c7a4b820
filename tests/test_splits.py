"""From a data folder to roles: who plays which role, which class is which, and that no record stands in two roles."""

import sys

import numpy as np
import pytest
from PIL import Image

from auditor.errors import InputError
from auditor.splits import ClassOrder, SplitRole, Splits, load_splits

COUNTS = {"train": 12, "test": 10, "validation": 8, "population": 8, "public": 6}


def pixels(n, seed, size=4):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def labels(n, classes=2):
    return np.arange(n) % classes


def save(path, images, **arrays):
    np.savez_compressed(path, images=images, **({"labels": labels(len(images))} | arrays))


def folder_of(tmp_path, roles=("train", "test")):
    for seed, role in enumerate(roles):
        save(tmp_path / f"{role}.npz", pixels(COUNTS[role], seed))
    return tmp_path


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(1, seed)[0]).save(path)


def image_folders(tmp_path, classes, roles=("train", "test"), seed=0):
    for role in roles:
        for name in classes:
            for position in range(2):
                seed += 1
                draw(tmp_path / role / name / f"{position}.png", seed)
    return tmp_path


def parts(splits: Splits):
    named = (splits.members, splits.non_members, splits.validation, splits.population, splits.public)
    return dict(zip(SplitRole, named, strict=True))


# --- roles ---------------------------------------------------------------------------------------------------------


def test_all_five_roles_come_with_their_own_records(tmp_path):
    splits = load_splits(folder_of(tmp_path, tuple(COUNTS)))
    assert {role: part.n for role, part in parts(splits).items()} == COUNTS
    for seed, (role, n) in enumerate(COUNTS.items()):
        np.testing.assert_array_equal(parts(splits)[role].inputs, pixels(n, seed))
        np.testing.assert_array_equal(parts(splits)[role].labels, labels(n))
    assert splits.duplicates_dropped == 0
    assert splits.folder == tmp_path


def test_roles_that_are_not_there_are_none(tmp_path):
    splits = load_splits(folder_of(tmp_path))
    assert (splits.population, splits.public, splits.validation) == (None, None, None)


@pytest.mark.parametrize(
    ("role", "synonym"),
    [
        *[("train", name) for name in ("training", "members", "Train")],
        *[
            ("test", name)
            for name in ("testing", "eval", "evaluation", "nonmembers", "non_members", "non-members", "TEST")
        ],
        *[("public", name) for name in ("reference", "auxiliary")],
        *[("validation", name) for name in ("val", "valid", "dev")],
    ],
)
def test_synonyms_play_the_role(tmp_path, role, synonym):
    folder_of(tmp_path, tuple(COUNTS))
    (tmp_path / f"{role}.npz").rename(tmp_path / f"{synonym}.npz")
    assert parts(load_splits(tmp_path))[SplitRole(role)].n == COUNTS[role]


@pytest.mark.parametrize("role", ["train", "test"])
def test_members_and_non_members_are_required(tmp_path, role):
    folder_of(tmp_path)
    (tmp_path / f"{role}.npz").unlink()
    with pytest.raises(InputError, match=f"no {role} split") as caught:
        load_splits(tmp_path)
    assert f"{role}.npz" in caught.value.hint


@pytest.mark.parametrize("twin", ["test/", "eval.npz", "test.parquet", "test.tar.gz"])
def test_two_forms_of_one_role_are_refused(tmp_path, twin):
    folder_of(tmp_path)
    if twin.endswith("/"):
        (tmp_path / twin).mkdir()
    else:
        (tmp_path / twin).write_bytes(b"")
    with pytest.raises(InputError, match="test split more than once"):
        load_splits(tmp_path)


@pytest.mark.parametrize("name", ["population-0.tar.gz", "public.tgz", "val.tar.gz", "reference.zip", "dev.npy"])
def test_a_role_in_an_unread_format_is_not_passed_over(tmp_path, name):
    folder_of(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="format that is not read"):
        load_splits(tmp_path)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch, ending):
    (folder_of(tmp_path) / f"public.{ending}").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=rf"public\.{ending} needs pyarrow") as caught:
        load_splits(tmp_path)
    assert "privaudit[parquet]" in caught.value.hint


def test_other_entries_of_the_folder_are_left_alone(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "train.py").write_text("")
    (tmp_path / "README.md").write_text("")
    (tmp_path / "notes").mkdir()
    assert load_splits(tmp_path).members.n == COUNTS["train"]


@pytest.mark.parametrize("name", ["absent", "train.npz"])
def test_the_data_folder_must_be_one(tmp_path, name):
    folder_of(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        load_splits(tmp_path / name)


def test_roles_can_be_named_and_then_synonyms_do_not_count(tmp_path):
    folder_of(tmp_path, ("train", "test", "validation"))
    (tmp_path / "test.npz").rename(tmp_path / "holdout.npz")
    save(tmp_path / "eval.npz", pixels(5, 99))
    (tmp_path / "splits.toml").write_text('[roles]\ntest = "holdout.npz"\npopulation = "validation.npz"\n')
    splits = load_splits(tmp_path)
    assert splits.non_members.n == COUNTS["test"]
    assert splits.population is not None
    assert splits.population.n == COUNTS["validation"]
    assert splits.validation is None


@pytest.mark.parametrize(
    "name", ["absent.npz", "../outside", "..", ".", "", "sub/inside", "/etc", "notes.txt", "a\\u0000b"]
)
def test_a_named_role_must_be_an_entry_of_the_folder(tmp_path, name):
    data = tmp_path / "data"
    (data / "sub" / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    folder_of(data)
    (data / "notes.txt").write_text("")
    (data / "splits.toml").write_text(f'[roles]\npublic = "{name}"\n')
    with pytest.raises(InputError, match=r"roles\.public"):
        load_splits(data)


def test_one_entry_cannot_be_named_for_two_roles(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "splits.toml").write_text('[roles]\npublic = "test.npz"\ntest = "test.npz"\n')
    with pytest.raises(InputError, match="two roles"):
        load_splits(tmp_path)


# --- one form for all ----------------------------------------------------------------------------------------------


def test_roles_must_agree_on_shape(tmp_path):
    folder_of(tmp_path)
    save(tmp_path / "public.npz", pixels(5, 7, size=6))
    with pytest.raises(
        InputError, match=r"public\.npz holds images of 6 x 6 x 3, but .*train\.npz images of 4 x 4 x 3"
    ):
        load_splits(tmp_path)


def test_images_and_features_do_not_mix(tmp_path):
    folder_of(tmp_path)
    np.savez(tmp_path / "test.npz", features=np.random.default_rng(0).random((5, 3)), labels=labels(5))
    with pytest.raises(InputError, match="features of 3, but"):
        load_splits(tmp_path)


@pytest.mark.parametrize("role", ["train", "test"])
def test_groups_are_stated_for_members_and_non_members_or_for_neither(tmp_path, role):
    folder_of(tmp_path)
    save(tmp_path / f"{role}.npz", pixels(8, 5), group=np.arange(8))
    with pytest.raises(InputError, match="states groups"):
        load_splits(tmp_path)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("role", ["train", "test", "population", "public", "validation"])
def test_a_split_needs_two_records(tmp_path, role, n):
    folder_of(tmp_path)
    save(tmp_path / f"{role}.npz", pixels(n, 50))
    with pytest.raises(InputError, match=rf"{role}\.npz holds {n} distinct record"):
        load_splits(tmp_path, num_classes=2)


# --- disjoint by content -------------------------------------------------------------------------------------------


def test_up_to_one_percent_shared_with_train_is_dropped_and_counted(tmp_path):
    train, test = pixels(300, 1), pixels(200, 2)
    save(tmp_path / "train.npz", train)
    save(tmp_path / "test.npz", np.concatenate([test, train[[7, 200]]]))
    splits = load_splits(tmp_path)
    np.testing.assert_array_equal(splits.members.inputs, train)
    np.testing.assert_array_equal(splits.non_members.inputs, test)
    assert splits.duplicates_dropped == 2


@pytest.mark.parametrize("role", ["test", "population", "public", "validation"])
def test_more_than_one_percent_shared_with_train_is_an_error(tmp_path, role):
    train = pixels(300, 1)
    save(tmp_path / "train.npz", train)
    save(tmp_path / "test.npz", pixels(200, 2))
    save(tmp_path / f"{role}.npz", np.concatenate([pixels(198, 3), train[:3]]))
    with pytest.raises(InputError, match=rf"3 of the 201 distinct records of .*{role}\.npz also stand in .*train\.npz"):
        load_splits(tmp_path)


def test_the_share_is_of_the_smaller_role(tmp_path):
    train = pixels(50, 1)
    save(tmp_path / "train.npz", train)
    save(tmp_path / "test.npz", np.concatenate([pixels(400, 2), train[:1]]))
    with pytest.raises(InputError, match="also stand in"):
        load_splits(tmp_path)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("test", "validation"),
        ("test", "population"),
        ("test", "public"),
        ("validation", "population"),
        ("population", "public"),
    ],
)
def test_a_shared_record_stays_in_the_earlier_role(tmp_path, first, second):
    save(tmp_path / "train.npz", pixels(10, 1))
    save(tmp_path / "test.npz", pixels(10, 2))
    shared = pixels(100, 3)
    save(tmp_path / f"{first}.npz", shared)
    save(tmp_path / f"{second}.npz", np.concatenate([shared[40:41], pixels(100, 4)]))
    splits = load_splits(tmp_path)
    assert parts(splits)[SplitRole(first)].n == 100
    np.testing.assert_array_equal(parts(splits)[SplitRole(second)].inputs, pixels(100, 4))
    assert splits.duplicates_dropped == 1


def test_a_label_does_not_make_a_record_another(tmp_path):
    images = pixels(10, 1)
    save(tmp_path / "train.npz", images)
    save(tmp_path / "test.npz", images, labels=1 - labels(10))
    with pytest.raises(InputError, match="10 of the 10"):
        load_splits(tmp_path)


def test_equal_records_stay_in_train_and_are_dropped_elsewhere(tmp_path):
    repeated = np.concatenate([pixels(6, 2), pixels(6, 2)[[4, 0]]])
    groups = np.arange(8) + 100
    save(tmp_path / "train.npz", np.concatenate([pixels(6, 1)] * 2), group=np.arange(12))
    save(tmp_path / "test.npz", repeated, group=groups)
    splits = load_splits(tmp_path)
    assert splits.members.n == 12
    np.testing.assert_array_equal(splits.non_members.inputs, pixels(6, 2))
    np.testing.assert_array_equal(splits.non_members.groups, groups[:6])
    assert splits.duplicates_dropped == 2


def test_no_record_stands_in_two_roles_however_they_overlap(tmp_path):
    rng = np.random.default_rng(0)
    pool = pixels(2_000, 9)
    bounds = [0, 600, 1_000, 1_300, 1_700, 2_000]
    names = ["train", "test", "validation", "population", "public"]
    written = 0
    for name, low, high in zip(names, bounds, bounds[1:], strict=False):
        images = np.concatenate([pool[low:high], pool[rng.integers(0, max(low, 1), 2 if low else 0)]])
        written += len(images)
        save(tmp_path / f"{name}.npz", images)
    splits = load_splits(tmp_path)
    digests = [set(part.digests) for part in parts(splits).values()]
    assert len(set().union(*digests)) == sum(len(one) for one in digests) == 2_000
    assert splits.duplicates_dropped == written - 2_000 == 8


# --- labels and classes --------------------------------------------------------------------------------------------


def test_without_names_classes_are_numbered_up_to_the_highest_label(tmp_path):
    folder_of(tmp_path)
    save(tmp_path / "test.npz", pixels(6, 3), labels=np.array([0, 1, 2, 3, 4, 4]))
    splits = load_splits(tmp_path)
    assert splits.class_names == ("0", "1", "2", "3", "4")
    assert splits.num_classes == 5
    assert splits.class_order is ClassOrder.FIXED


def test_the_model_may_have_more_classes_than_the_labels_show(tmp_path):
    assert load_splits(folder_of(tmp_path), num_classes=7).num_classes == 7


def test_the_public_split_does_not_define_classes(tmp_path):
    folder_of(tmp_path)
    save(tmp_path / "public.npz", pixels(4, 3), labels=np.array([0, 1, 2, 1]))
    with pytest.raises(InputError, match=r"public\.npz has the label 2; 2 classes are known"):
        load_splits(tmp_path)


@pytest.mark.parametrize("role", ["train", "test", "population", "validation"])
@pytest.mark.parametrize("label", [-1, -2, 10, 2**61])
def test_a_label_outside_the_classes_is_refused(tmp_path, role, label):
    folder_of(tmp_path)
    save(tmp_path / f"{role}.npz", pixels(4, 3), labels=np.array([0, 1, label, 0]))
    with pytest.raises(InputError, match=rf"label {label}\b" if abs(label) < 2**60 else "has the label"):
        load_splits(tmp_path, num_classes=10)


def test_public_records_may_belong_to_no_class(tmp_path):
    folder_of(tmp_path)
    save(tmp_path / "public.npz", pixels(4, 3), labels=np.array([-1, 1, -1, 0]))
    splits = load_splits(tmp_path)
    assert splits.public is not None
    np.testing.assert_array_equal(splits.public.labels, [-1, 1, -1, 0])
    save(tmp_path / "public.npz", pixels(4, 3), labels=np.array([-2, 1, -1, 0]))
    with pytest.raises(InputError, match="label -2"):
        load_splits(tmp_path)


def test_a_label_of_a_million_million_does_not_make_as_many_names(tmp_path):
    folder_of(tmp_path)
    save(tmp_path / "test.npz", pixels(4, 3), labels=np.array([0, 1, 10**12, 0]))
    with pytest.raises(InputError, match="at most 100000 classes"):
        load_splits(tmp_path)


def test_class_names_are_kept_as_they_are(tmp_path):
    (folder_of(tmp_path) / "classes.txt").write_text('<b>\x1b[31mcat\r\nhund & "katze"\n\n', encoding="utf-8-sig")
    splits = load_splits(tmp_path, num_classes=2)
    assert splits.class_names == ("<b>\x1b[31mcat", 'hund & "katze"')
    assert splits.class_names_source == "classes.txt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\n\ndog\n", "empty"),
        ("", "empty"),
        ("cat\ndog\ncat\n", "cat twice"),
        ("cat\n" + "d" * 201, "200 characters"),
        ("cat\n", "only one class"),
    ],
)
def test_bad_class_names_are_refused(tmp_path, text, message):
    (folder_of(tmp_path) / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        load_splits(tmp_path)


def test_class_names_must_be_utf8(tmp_path):
    (folder_of(tmp_path) / "classes.txt").write_bytes(b"caf\xe9\ndog\n")
    with pytest.raises(InputError, match="not UTF-8"):
        load_splits(tmp_path)


def test_the_names_must_be_as_many_as_the_model_has_classes(tmp_path):
    (folder_of(tmp_path) / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(InputError, match=r"2 classes \(from classes\.txt\), and the model has 3"):
        load_splits(tmp_path, num_classes=3)


def test_class_folders_that_sort_alike_need_no_decision(tmp_path):
    splits = load_splits(image_folders(tmp_path, ["dog", "cat"]))
    assert splits.class_names == ("cat", "dog")
    assert splits.class_order is ClassOrder.FIXED
    with pytest.raises(ValueError, match="not open"):
        splits.with_class_order(ClassOrder.TEXT)


def labels_by_content(splits):
    return {
        digest: splits.class_names[label]
        for part in (splits.members, splits.non_members)
        for digest, label in zip(part.digests, part.labels, strict=True)
    }


def test_class_folders_that_sort_differently_are_left_open(tmp_path):
    splits = load_splits(image_folders(tmp_path, ["2", "10", "1"]))
    assert splits.class_order is ClassOrder.AMBIGUOUS
    assert splits.class_orders is not None
    assert splits.class_orders.natural == splits.class_names == ("1", "2", "10")
    assert splits.class_orders.text == ("1", "10", "2")


def test_deciding_the_order_renumbers_but_moves_no_record(tmp_path):
    # with four names the renumbering is a cycle of three, and not its own inverse
    image_folders(tmp_path, ["2", "10", "1", "11"])
    draw(tmp_path / "public" / "10" / "a.png", 900)
    draw(tmp_path / "public" / "b.png", 901)
    splits = load_splits(tmp_path)
    natural, text = (splits.with_class_order(order) for order in (ClassOrder.NATURAL, ClassOrder.TEXT))
    assert text.class_names == ("1", "10", "11", "2")
    assert text.class_order is ClassOrder.TEXT
    np.testing.assert_array_equal(natural.members.labels, [0, 0, 2, 2, 3, 3, 1, 1])
    np.testing.assert_array_equal(text.members.labels, [0, 0, 1, 1, 2, 2, 3, 3])
    assert natural.public is not None
    assert text.public is not None
    np.testing.assert_array_equal(natural.public.labels, [2, -1])
    np.testing.assert_array_equal(text.public.labels, [1, -1])
    assert labels_by_content(natural) == labels_by_content(text) == labels_by_content(splits)
    assert labels_by_content(text.with_class_order(ClassOrder.NATURAL)) == labels_by_content(splits)
    with pytest.raises(KeyError):
        splits.with_class_order(ClassOrder.FIXED)


def test_a_list_of_classes_decides_the_order(tmp_path):
    (image_folders(tmp_path, ["2", "10", "1"]) / "classes.txt").write_text("10\n1\n2\n")
    splits = load_splits(tmp_path)
    assert splits.class_order is ClassOrder.FIXED
    np.testing.assert_array_equal(splits.members.labels, [1, 1, 0, 0, 2, 2])


def test_natural_order_ignores_case_and_breaks_ties_by_text(tmp_path):
    splits = load_splits(image_folders(tmp_path, ["Zebra", "apple", "b1", "b01", "b²"]))
    assert splits.class_orders is not None
    assert splits.class_orders.natural == ("apple", "b01", "b1", "b²", "Zebra")
    assert splits.class_orders.text == ("Zebra", "apple", "b01", "b1", "b²")


def test_a_class_folder_that_the_list_does_not_name_is_refused(tmp_path):
    (image_folders(tmp_path, ["cat", "dog", "emu"]) / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(InputError, match=r"emu.* is of the class emu, which is none of the 2"):
        load_splits(tmp_path)


def test_classes_come_from_all_labelled_roles_but_not_from_public(tmp_path):
    image_folders(tmp_path, ["cat", "dog"])
    image_folders(tmp_path, ["emu"], roles=["validation"], seed=100)
    draw(tmp_path / "public" / "fox" / "a.png", 900)
    draw(tmp_path / "public" / "cat" / "b.png", 901)
    splits = load_splits(tmp_path)
    assert splits.class_names == ("cat", "dog", "emu")
    assert splits.public is not None
    assert sorted(splits.public.labels) == [-1, 0]


def test_archives_and_image_folders_mix_only_under_a_list_of_classes(tmp_path):
    image_folders(tmp_path, ["cat", "dog"], roles=["train"])
    save(tmp_path / "test.npz", pixels(4, 99))
    with pytest.raises(InputError, match="some splits by number and of others by name"):
        load_splits(tmp_path)
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    np.testing.assert_array_equal(load_splits(tmp_path).members.labels, [1, 1, 0, 0])


def test_unlabelled_public_archives_mix_with_image_folders(tmp_path):
    image_folders(tmp_path, ["cat", "dog"])
    save(tmp_path / "public.npz", pixels(4, 99), labels=np.full(4, -1))
    public = load_splits(tmp_path).public
    assert public is not None
    assert public.n == 4


def test_messages_do_not_carry_control_characters(tmp_path):
    evil = "\x1b[2J\nno"
    image_folders(tmp_path, ["cat", "dog"])
    draw(tmp_path / "train" / evil / "a.png", 900)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(InputError) as caught:
        load_splits(tmp_path)
    assert str(caught.value).isprintable()


def test_a_path_may_be_given_as_text(tmp_path):
    assert load_splits(str(folder_of(tmp_path))).folder == tmp_path
