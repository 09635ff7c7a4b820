from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from auditor.checks import lookalikes
from auditor.checks.data import class_balance, few_records, groups, near_duplicates, traces
from auditor.checks.lookalikes import Album
from auditor.findings import CheckLevel, Void
from auditor.splits import Records, load_splits
from tests.checks.subjects import N, images, records, sound, with_data
from tests.digits import digits, parts, write_splits
from tests.worlds import world


@pytest.fixture(scope="module")
def subject():
    return sound()


@pytest.fixture(scope="module")
def jury():
    return world(n=100, shadows=4).jury


# --- groups --------------------------------------------------------------------------------------------------------


def judged(jury, own):
    """The check, with the same division into groups [record] on either side."""
    return groups(SimpleNamespace(jury=replace(jury, groups=np.concatenate([own, own + 1000]))))


def test_groups_on_both_sides_measure_records_and_not_persons(jury):
    apart, together = np.arange(100) % 25, np.concatenate([np.arange(100) % 25, np.arange(100) % 25])
    assert judged(jury, apart).level is CheckLevel.PASS
    check = groups(SimpleNamespace(jury=replace(jury, groups=together)))
    assert (check.level, check.voids) == (CheckLevel.WARN, ())
    assert "25 of 25 groups have members and non-members: this measures records, not persons" in check.sentence
    few = groups(SimpleNamespace(jury=replace(jury, groups=together % 9)))
    assert (few.level, "9 of 9 groups have members" in few.sentence) == (CheckLevel.FAIL, True)


def test_records_without_groups_are_not_checked(jury):
    assert groups(SimpleNamespace(jury=jury)) is None


@pytest.mark.parametrize(("own", "worth"), [(np.maximum(np.arange(100) - 88, 0), "1.3"), (np.arange(100) % 9, "9.0")])
def test_too_few_effective_groups_void_every_verdict(jury, own, worth):
    check = judged(jury, own)
    assert check.level is CheckLevel.FAIL
    assert set(check.voids) == {Void.LEAK_FOUND, Void.NOTHING_FOUND, Void.PER_RECORD}
    assert f"worth {worth} equal ones among members" in check.sentence


def test_ten_equal_groups_a_side_are_enough(jury):
    check = judged(jury, np.arange(100) % 10)
    assert (check.level, check.voids) == (CheckLevel.PASS, ())
    assert "20 groups" in check.sentence


# --- numbers of records and classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "auc_only", "doubtful"), [(199, True, True), (200, True, False), (1000, False, False)])
def test_few_records_say_what_is_lost(n, auc_only, doubtful):
    membership = np.arange(2 * n) < n
    check = few_records(SimpleNamespace(jury=SimpleNamespace(membership=membership, non_members=n)))
    assert ("AUC only" in check.sentence, "doubtful" in check.sentence) == (auc_only, doubtful)
    assert check.level is (CheckLevel.WARN if auc_only else CheckLevel.PASS)


def balance(labels):
    return class_balance(
        SimpleNamespace(jury=SimpleNamespace(labels=labels, membership=np.arange(len(labels)) % 2 == 0))
    )


def test_many_classes_with_few_records_each_are_no_imbalance():
    check = balance(np.random.default_rng(0).integers(0, 500, 1000))
    assert check.sentence.startswith("Classes are about as frequent among members")
    assert "V 0.65, p 0." in check.sentence


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.arange(600) // 2 % 100, "100 of 100 classes have fewer than 5 evaluated members or non-members"),
        (np.append(np.arange(400) // 2 % 10, 10), "1 of 11 classes has fewer than 5"),
        (np.arange(100) // 2 % 10, ""),
    ],
)
def test_classes_with_hardly_any_records_are_counted(labels, told):
    check = balance(labels)
    assert check.level is (CheckLevel.WARN if told else CheckLevel.PASS)
    assert told in check.sentence


@pytest.mark.parametrize(("side", "told"), [(0, "All evaluated members"), (1, "All evaluated non-members")])
def test_a_side_of_one_class_is_told(side, told):
    labels = np.arange(100) // 2 % 5
    labels[side::2] = 3
    check = balance(labels)
    assert check.level is CheckLevel.WARN
    assert check.sentence.startswith(f"{told} are of one class, and the others are not")


def test_one_class_and_a_slight_imbalance_pass():
    assert balance(np.zeros(100, dtype=int)).level is CheckLevel.PASS
    assert (
        balance(np.random.default_rng(0).random(100_000) < 0.5 + 0.02 * (np.arange(100_000) % 2)).level
        is CheckLevel.PASS
    )


# --- near-duplicates -------------------------------------------------------------------------------------------------


def saved_again(pixels, folder, quality=75):
    again = []
    for image in pixels:
        Image.fromarray(image[..., 0]).save(folder / "one.jpg", quality=quality)
        with Image.open(folder / "one.jpg") as one:
            again.append(np.asarray(one)[..., None])
    return np.stack(again)


@pytest.mark.parametrize("side", [8, 20, 64])
def test_copies_of_digits_are_found_and_other_digits_are_not(tmp_path, side):
    pixels = np.stack([np.asarray(Image.fromarray(one[..., 0]).resize((side, side)))[..., None] for one in digits()[0]])
    members, others = Album.of(pixels[:900]), pixels[900:]
    brighter = np.minimum(pixels[:100], 235) + 20
    for copies in (saved_again(pixels[:100], tmp_path), brighter.astype(np.uint8)):
        assert Album.of(copies).resembling(members).mean() > 0.95
    assert Album.of(others).resembling(members).mean() < 0.005


def naive(images_of, others):
    """As the module says, one pair at a time, on images of 8 x 8."""

    def centred(image):
        return image[..., 0] - image[..., 0].mean()

    def wider(image, axis):
        """Nine cells of two neighbours out of eight, the outer ones of one: what pooling 8 to 9 does."""
        before, after = np.insert(image, 0, image.take(0, axis), axis), np.insert(image, 8, image.take(7, axis), axis)
        return (before + after) / 2

    def bits(image):
        least = 0.1 * np.abs(centred(image)).mean()
        return np.concatenate([(np.diff(wider(centred(image), axis), axis=axis) > least).ravel() for axis in (1, 0)])

    found = []
    for image in images_of.astype(float):
        near = []
        for other in others.astype(float):
            contrast = min(np.abs(centred(one)).mean() for one in (image, other))
            if (bits(image) != bits(other)).sum() <= 12:
                near.append(np.abs(centred(image) - centred(other)).mean() / contrast)
        near = sorted(near) + [np.inf] * 5
        found.append(near[0] <= 0.1 and near[0] <= 0.4 * near[4])
    return np.array(found)


def test_blocks_and_matrices_find_what_a_loop_finds(monkeypatch):
    pixels, rng = digits()[0], np.random.default_rng(0)
    crowd = np.repeat(pixels[:3], 6, axis=0)
    others = np.concatenate([pixels[10:60], crowd])
    copies = np.concatenate([pixels[10:30], pixels[:3]]) + rng.integers(0, 3, (23, 8, 8, 1))
    asked = np.concatenate([np.minimum(copies, 255).astype(np.uint8), pixels[60:90]])
    expected = naive(asked, others)
    assert expected[:20].all()
    assert not expected[20:].any()
    monkeypatch.setattr(lookalikes, "_CELLS", 1)
    monkeypatch.setattr(lookalikes, "_BATCH", 7)
    np.testing.assert_array_equal(Album.of(asked).resembling(Album.of(others)), expected)


def test_images_without_contrast_are_no_copies():
    flat = np.full((3, 8, 8, 3), 7, dtype=np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    assert not Album.of(flat).resembling(Album.of(flat)).any()


@pytest.mark.parametrize(("copies", "voids"), [(0, ()), (1, ()), (10, ()), (11, (Void.NOTHING_FOUND,))])
def test_above_one_percent_a_leak_is_understated(subject, copies, voids):
    others = np.concatenate([subject.splits.members.inputs[:copies] ^ np.uint8(1), images(N - copies, 2)])
    check = near_duplicates(with_data(subject, subject.splits.members, records(others)))
    assert (check.level is CheckLevel.PASS, check.voids) == (copies == 0, voids)
    assert check.sentence.startswith(f"{copies} of 1,000 evaluated non-members")


def test_lookalikes_that_only_calibrate_warn_and_void_nothing(subject):
    population = np.concatenate([subject.splits.members.inputs[:50] ^ np.uint8(1), images(150, 3)])
    check = near_duplicates(with_data(subject, subject.splits.members, subject.splits.non_members, records(population)))
    assert (check.level, check.voids) == (CheckLevel.WARN, ())
    assert "0 of 1,000" in check.sentence
    assert "50 of the population" in check.sentence


def test_features_are_not_compared(subject):
    features = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    part = [Records.of(features[start : start + 100], np.zeros(100, dtype=np.int64)) for start in (0, 100, 200)]
    assert near_duplicates(with_data(subject, *part)) is None


# --- order and files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("members", "non_members", "told"), [(0, 0, ""), (1, 1, ""), (1, 0, "train"), (0, 1, "test")])
def test_order_tells_only_where_one_role_is_sorted(subject, members, non_members, told):
    orders = (np.random.default_rng(0).integers(0, 3, N), np.arange(N) // 400)
    check = traces(
        with_data(subject, records(images(N, 1), orders[members]), records(images(N, 2), orders[non_members]))
    )
    assert check.level is (CheckLevel.WARN if told else CheckLevel.PASS)
    assert (f"only {told} is sorted" in check.sentence) is bool(told)


def test_roles_in_two_forms_are_not_compared_by_order(subject):
    """A folder of classes is read class by class, whoever drew the split."""
    mixed, in_order = np.random.default_rng(0).integers(0, 3, N), np.arange(N) // 400
    found = with_data(subject, records(images(N, 1), mixed), records(images(N, 2), in_order))
    told = traces(replace(found, splits=replace(found.splits, one_form=False)))
    assert told.level is CheckLevel.WARN
    assert told.sentence == "Train and test are stored in two forms: their order and files were not compared."


def test_records_of_one_class_have_no_order(subject):
    part = [records(images(N, seed), np.zeros(N, dtype=np.int64)) for seed in (1, 2)]
    assert traces(with_data(subject, *part)).level is CheckLevel.PASS


def on_files(subject, folder):
    return traces(replace(subject, splits=load_splits(folder)))


@pytest.fixture
def folder(tmp_path):
    """Two roles of PNG images, named alike."""
    made = write_splits(tmp_path / "splits", *parts(200, 200, 100), as_images=True)
    for path in (*made.glob("t*/*/*.png"),):
        path.rename(path.with_name(path.name.replace("train", "0").replace("test", "0")))
    return made


def test_files_that_are_alike_tell_nothing(subject, folder):
    check = on_files(subject, folder)
    assert (check.level, check.voids) == (CheckLevel.PASS, ())
    assert "order and files" in check.sentence


def test_names_that_give_the_split_away_are_told_and_not_kept(subject, tmp_path):
    made = write_splits(tmp_path / "splits", *parts(200, 200, 100), as_images=True)
    check = on_files(subject, made)
    assert "pattern of file names (Cramer's V 1.00)" in check.sentence
    assert "format" not in check.sentence
    kept = load_splits(made).traces.members
    assert {values.dtype for values in (kept.sizes, *kept.marks.values())} == {np.dtype(np.int64)}
    assert "secret" not in repr(kept)


def test_what_one_role_was_saved_with_is_told(subject, folder):
    for index, path in enumerate(sorted((folder / "train").glob("*/*.png"))):
        with Image.open(path) as image:
            exif = image.getexif()
            exif[0x010F] = "a camera"
            image.save(path.with_suffix(".jpg"), quality=60 if index % 2 else 90, exif=exif)
        path.unlink()
    check = on_files(subject, folder)
    assert check.level is CheckLevel.WARN
    for mark in ("file size", "format", "JPEG compression", "EXIF data", "pattern of file names"):
        assert mark in check.sentence
    assert "width" not in check.sentence
