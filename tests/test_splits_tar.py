"""WebDataset tars: that they are read as folders are, and that hostile ones end in one sentence and write nothing."""

import contextlib
import io
import json
import os
import re
import shutil
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from auditor.cli import main
from auditor.cost.price import Cost
from auditor.errors import InputError
from auditor.intake import data_digest
from auditor.sources import images, tar_shards
from auditor.sources.images import common_form, read_images, survey
from auditor.sources.tar_shards import TarImages
from auditor.splits import load_splits
from tests.digits import parts, trained_weights, write_splits
from tests.stores import NAMES, as_folder, as_tar, halves, png, rows, tar_files, tar_of

PNG = png(0)


def read(path):
    role = survey(TarImages(path, (path,)))
    return role, read_images(role, common_form([role], None))


def labels_of(path):
    labels = read(path)[0].labels
    return labels.numbers.tolist(), labels.names


def same(one, other):
    """Bit for bit, role by role."""
    for name in ("members", "non_members", "population", "public", "validation"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_array_equal(mine.inputs, theirs.inputs)
            np.testing.assert_array_equal(mine.labels, theirs.labels)
            assert (mine.groups is None) == (theirs.groups is None)
            assert mine.groups is None or mine.groups.tolist() == theirs.groups.tolist()
            assert mine.digests == theirs.digests
    return data_digest(one) == data_digest(other) and one.test_as_read == other.test_as_read


# --- as a folder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notes", ["cls", "json"])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_tar_holds_the_records_that_a_folder_holds(tmp_path, notes, grouped):
    for role, seed in (("train", 1), ("test", 2)):
        as_folder(tmp_path / "plain" / role, rows(12, seed, grouped))
        as_tar(tmp_path / "packed" / f"{role}.tar", rows(12, seed, grouped), notes=notes)
    plain, packed = load_splits(tmp_path / "plain"), load_splits(tmp_path / "packed")
    assert same(plain, packed)
    assert packed.class_names == NAMES
    assert packed.class_names_source == "class names"
    assert packed.traces is not None
    np.testing.assert_array_equal(packed.traces.members.sizes, plain.traces.members.sizes)


@pytest.mark.parametrize("pattern", ["train-{:06d}.tar", "data/train-{:06d}.tar", "train/{}.tar", "train_{}.tar"])
def test_shards_come_in_the_order_of_their_numbers(tmp_path, pattern):
    as_folder(tmp_path / "plain" / "train", rows(12, 1))
    as_folder(tmp_path / "plain" / "test", rows(6, 2))
    as_folder(tmp_path / "packed" / "test", rows(6, 2))
    first, second = halves(rows(12, 1))
    as_tar(tmp_path / "packed" / pattern.format(10), second)
    as_tar(tmp_path / "packed" / pattern.format(9), first)
    packed = load_splits(tmp_path / "packed")
    assert same(load_splits(tmp_path / "plain"), packed)
    assert packed.traces is None  # a folder and a tar differ without any doing of the split
    assert not packed.one_form


def test_numbers_are_classes_and_a_list_names_them(tmp_path):
    for role, seed in (("train", 1), ("test", 2)):
        as_tar(tmp_path / f"{role}.tar", rows(9, seed), classes=None)
    assert load_splits(tmp_path).class_names == ("0", "1", "2")
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    splits = load_splits(tmp_path)
    assert splits.class_names == NAMES
    assert splits.members.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_list_of_classes_orders_names_too(tmp_path):
    for role, seed in (("train", 1), ("test", 2)):
        as_tar(tmp_path / f"{role}.tar", rows(9, seed))
    (tmp_path / "classes.txt").write_text("\n".join(reversed(NAMES)))
    assert load_splits(tmp_path).members.labels.tolist() == [2, 2, 2, 1, 1, 1, 0, 0, 0]


def test_public_records_may_have_another_class_or_none(tmp_path):
    for role, seed in (("train", 1), ("test", 2)):
        as_tar(tmp_path / f"{role}.tar", rows(6, seed))
    files = [("a.png", png(91)), ("b.png", png(92)), ("b.cls", b"fox"), ("c.png", png(93)), ("c.cls", b"dog")]
    tar_of(tmp_path / "public.tar", files)
    public = load_splits(tmp_path).public
    assert public is not None
    assert public.labels.tolist() == [-1, -1, 1]


@pytest.mark.parametrize("role", ["train", "test", "population", "validation"])
def test_elsewhere_a_record_without_a_class_is_named(tmp_path, role):
    for name, seed in (("train", 1), ("test", 2), (role, 3)):
        as_tar(tmp_path / f"{name}.tar", rows(6, seed))
    files = [file for file in tar_files(rows(6, 3)) if file[0] != "0003.cls"]
    tar_of(tmp_path / f"{role}.tar", files)
    with pytest.raises(InputError, match=rf"{role}\.tar: 0003\.png has no class"):
        load_splits(tmp_path)


def test_a_label_outside_the_classes_is_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    for role, seed in (("train", 1), ("test", 2)):
        as_tar(tmp_path / f"{role}.tar", rows(6, seed), classes=None)
    with pytest.raises(InputError, match=r"train\.tar has the label 2; 2 classes are known"):
        load_splits(tmp_path)
    for role, seed in (("train", 1), ("test", 2)):
        as_tar(tmp_path / f"{role}.tar", rows(6, seed))
    with pytest.raises(InputError, match=r"train\.tar: 0004\.png is of the class emu, which is none of the 2"):
        load_splits(tmp_path)


# --- one tar -------------------------------------------------------------------------------------------------------


def test_a_name_ends_at_the_first_dot_and_the_ending_has_no_case(tmp_path):
    files = [("./x/b.PNG", png(1)), ("x/b.Cls", b" 2\n"), ("a.png", png(2)), ("a.seg.png", b"mask"), ("a.cls", b"1")]
    role, pixels = read(tar_of(tmp_path / "a.tar", files))
    assert [file.name for file in role.files] == ["x/b.png", "a.png"]
    assert role.labels.numbers.tolist() == [2, 1]
    assert pixels.shape == (2, 5, 4, 3)


def test_what_is_no_record_is_passed_over(tmp_path):
    files = [
        ("README.txt", b"x"),
        ("a.png", PNG),
        ("a.cls", b"1"),
        ("._a.png", b"x"),
        (".x/b.cls", b"1"),
        ("n.json", b"{}"),
    ]
    assert len(read(tar_of(tmp_path / "a.tar", files))[0].files) == 1


@pytest.mark.parametrize("extension", sorted(set(images.EXTENSIONS) - {".ppm", ".pgm"}))
def test_every_kind_of_image_is_read(tmp_path, extension):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((5, 4, 3), dtype=np.uint8)).save(stream, Image.registered_extensions()[extension])
    assert read(tar_of(tmp_path / "a.tar", [(f"a{extension}", stream.getvalue())]))[1].shape == (1, 5, 4, 3)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([("a.cls", b"7")], ([7], None)),
        ([("a.cls", b"-1")], ([-1], None)),
        ([("a.cls", b"red fox\r\n")], ([0], ("red fox",))),
        ([("a.cls", "\ufeffrené".encode())], ([0], ("rené",))),
        ([("a.json", b'{"label": 7}')], ([7], None)),
        ([("a.json", b'{"cls": "7"}')], ([0], ("7",))),
        ([("a.json", b'{"label": 7, "cls": 7}')], ([7], None)),
        ([("a.cls", b"3"), ("a.json", b'{"label": "fox"}')], ([3], None)),
        ([("a.json", b'{"caption": "fox"}')], ([-1], ())),
        ([("a.json", b'{"label": null}')], ([-1], ())),
        ([], ([-1], ())),
    ],
)
def test_where_the_class_stands(tmp_path, files, expected):
    assert labels_of(tar_of(tmp_path / "a.tar", [("a.png", PNG), *files])) == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("a.png", PNG), ("a.cls", b"")], r"a\.cls is empty"),
        ([("a.png", PNG), ("a.cls", b"x" * 201)], r"longer than 200"),
        ([("a.png", PNG), ("a.cls", b"\xff")], r"a\.cls is not UTF-8"),
        ([("a.png", PNG), ("a.cls", b"1" * 2**21)], "damaged"),
        ([("a.png", PNG), ("a.json", b"{")], "not valid JSON"),
        ([("a.png", PNG), ("a.json", b"[" * 100_000)], "not valid JSON"),
        ([("a.png", PNG), ("a.json", b"\xff")], "not valid JSON"),
        ([("a.png", PNG), ("a.json", b"[1]")], "no JSON object"),
        ([("a.png", PNG), ("a.json", b'{"label": true}')], "`label` is no whole number"),
        ([("a.png", PNG), ("a.json", b'{"label": 1.5}')], "`label` is no whole number"),
        ([("a.png", PNG), ("a.json", b'{"group_id": 1}')], "has `group_id`, which would be ignored"),
        ([("a.png", PNG), ("a.json", b'{"group": 1, "Groups": 1}')], "has `Groups`"),
        ([("a.png", PNG), ("a.json", b'{"group": []}')], "`group` is no whole number"),
        ([("a.png", PNG), ("a.json", b'{"label": 1, "cls": 2}')], "another `cls`"),
        ([("a.png", PNG), ("a.json", b'{"label": 1' + b"0" * 400 + b"}")], "label 1(0){29}; .* 62 bits"),
        ([("a.png", PNG), ("a.json", b'{"group": 1' + b"0" * 400 + b"}")], "62 bits"),
        ([("a.png", PNG), ("a.cls", b"1"), ("b.png", PNG), ("b.cls", b"fox")], "by number and others by name, fox"),
        ([("a.png", PNG), ("a.json", b'{"group": 1}'), ("b.png", PNG)], "a group for some records only"),
        ([("a.png", PNG), ("a.jpg", PNG)], r"several images \(\.jpg, \.png\)"),
        ([("a.cls", b"1"), ("b.png", PNG)], r"a\.tar: a has a class and no image"),
        ([("a.gif", PNG), ("a.json", b'{"label": 1}')], "a class and no image"),
        ([("a.png", PNG), ("a.png", PNG)], r"a\.png stands there twice"),
        ([("a.png", PNG), ("a.cls", b"1"), ("a.cls", b"2")], r"a\.cls stands there twice"),
        ([("a.png", PNG), ("b.png", PNG), ("a.cls", b"1")], "named a do not stand together"),
        ([("a.png", PNG[:40])], r"a\.tar: a\.png cannot be read as an image"),
        ([("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n")], "cannot be read as an image"),
        ([("n.txt", b"x")], "holds no images"),
        ([], "holds no images"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_and_remedy(tmp_path, files, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tar_of(tmp_path / "a.tar", files))
    assert "a.tar" in caught.value.message
    assert caught.value.hint


def test_names_that_no_report_could_print_are_refused(tmp_path):
    notes = b'{"label": "\\ud800", "group": "\\ud800"}'
    for role, seed in (("train", 1), ("test", 2)):
        tar_of(tmp_path / f"{role}.tar", [("a.png", png(seed)), ("a.json", notes)])
    with pytest.raises(InputError, match="not UTF-8"):
        load_splits(tmp_path)


# --- hostile -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/a.png", "../a.png", "x/../../a.png", "..", "caf\udce9.png"])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    path = tar_of(tmp_path / "in" / "a.tar", [(name, PNG)])
    with pytest.raises(InputError, match="leads out of the archive") as caught:
        read(path)
    str(caught.value).encode()
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["a.tar", "in"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    (tmp_path / "secret.png").write_bytes(PNG)
    info = tarfile.TarInfo("a.png")
    info.type, info.linkname = kind, str(tmp_path / "secret.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(InputError, match="is a link, a device or another special file"):
        read(tmp_path / "a.tar")


def test_a_sparse_file_is_not_blown_up(tmp_path):
    info = tarfile.TarInfo("a.png")
    info.pax_headers = {"GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,512", "GNU.sparse.numblocks": "1"}
    info.size = 512
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"\0" * 512))
    with pytest.raises(InputError, match="special file"):
        read(tmp_path / "a.tar")


def with_size(path, size):
    """The first header announces another size than the file has."""
    content = bytearray(path.read_bytes())
    info = tarfile.TarInfo("a.png")
    info.size = size
    content[:512] = info.tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [2**28 + 1, 2**40, 2**70])
def test_an_announced_size_is_not_believed(tmp_path, size):
    with pytest.raises(InputError, match=rf"announces {size:,} bytes"):
        read(with_size(tar_of(tmp_path / "a.tar", [("a.png", PNG)]), size))


def test_a_size_beyond_the_end_is_damage(tmp_path):
    with pytest.raises(InputError, match="cut off"):
        read(with_size(tar_of(tmp_path / "a.tar", [("a.png", PNG)]), 2**20))


def test_headers_cannot_grow_without_end(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "a.tar", [("x" * 200_000 + ".png", PNG)], format=tarfile.GNU_FORMAT)
    assert len(read(path)[0].files) == 1
    monkeypatch.setattr(tar_shards._Metered, "left", 100_000)
    with pytest.raises(InputError, match="damaged"):
        read(path)


def test_a_chain_of_headers_ends_in_one_sentence(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 0
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) * 5_000)
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "a.tar")


def test_a_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "a.tar", [("bomb.png", PNG)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
    with pytest.raises(InputError, match=r"a\.tar: bomb\.png has more than 9 pixels"):
        read(path)


def test_the_decoded_size_is_limited(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "a.tar", [("a.png", PNG)])
    monkeypatch.setattr(images, "MAX_ROLE_BYTES", 59)
    with pytest.raises(InputError, match=r"a\.tar decodes to"):
        read(path)


def test_the_number_of_images_is_limited(tmp_path, monkeypatch):
    path = tar_of(tmp_path / "a.tar", [(f"{k}.png", PNG) for k in range(3)])
    monkeypatch.setattr(images, "_MAX_IMAGES", 2)
    with pytest.raises(InputError, match="more than 2 images"):
        read(path)


def test_a_tar_cut_anywhere_is_refused(tmp_path):
    whole = tar_of(
        tmp_path / "whole.tar", [("a.png", PNG), ("a.cls", b"1"), ("b.png", PNG), ("b.cls", b"2")]
    ).read_bytes()
    end = whole.rindex(b"b.cls") + 1024
    path = tmp_path / "cut.tar"
    for length in (0, 1, *range(256, end + 512, 256), end - 1, end + 511):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.tar is no plain tar file, or it is damaged or cut off"):
            read(path)
    path.write_bytes(whole[: end + 512])
    assert len(read(path)[0].files) == 2


def test_tars_one_after_the_other_are_not_half_read(tmp_path):
    path = tmp_path / "a.tar"
    parts = [tar_of(tmp_path / f"{k}.tar", [(f"{k}.png", PNG)]).read_bytes() for k in range(2)]
    path.write_bytes(b"".join(parts))
    with pytest.raises(InputError, match="damaged or cut off"):
        read(path)


def test_a_damaged_header_does_not_end_the_archive(tmp_path):
    path = tar_of(tmp_path / "a.tar", [("a.png", PNG), ("b.png", PNG)])
    path.write_bytes(path.read_bytes().replace(b"b.png", b"c.png"))  # the checksum no longer fits
    with pytest.raises(InputError, match="damaged"):
        read(path)


@pytest.mark.parametrize(("mode", "name"), [("w:gz", "gzip"), ("w:bz2", "bzip2"), ("w:xz", "xz")])
def test_a_compressed_tar_is_not_unpacked(tmp_path, mode, name):
    with tarfile.open(tmp_path / "a.tar", mode) as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(InputError, match=f"no plain tar file: it is compressed with {name}") as caught:
        read(tmp_path / "a.tar")
    assert "uncompressed" in caught.value.hint


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(InputError, match="no plain tar file"):
        read(tmp_path / "a.tar")


@pytest.mark.parametrize("n", [1, 3])
def test_a_tar_that_changes_meanwhile_is_refused(tmp_path, n):
    path = tar_of(tmp_path / "a.tar", [(f"{k}.png", png(k)) for k in range(2)])
    role = survey(TarImages(path, (path,)))
    tar_of(path, [(f"{k}.png", png(k)) for k in range(n)])
    with pytest.raises(InputError, match="changed while it was read"):
        read_images(role, common_form([role], None))


def test_messages_do_not_carry_control_characters(tmp_path):
    with pytest.raises(InputError) as caught:
        read(tar_of(tmp_path / "a.tar", [("\x1b[2J\n.png", b"no image")]))
    assert str(caught.value).isprintable()
    assert re.search(r"\\x1b", str(caught.value))


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_ends_in_records_or_one_sentence(tmp_path, data):
    content = bytearray(tar_of(tmp_path / "a.tar", [("a.png", PNG), ("a.cls", b"1"), ("b.png", PNG)]).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.tar"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with contextlib.suppress(InputError):
        assert read(path)[1].dtype == np.uint8


# --- on the command line -------------------------------------------------------------------------------------------


PLAN = "plan digits.safetensors --data splits --arch network.py:network --budget quick --json"


def packed(folder):
    """A role folder becomes a tar."""
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        files += [(f"{path.stem}.png", path.read_bytes()), (f"{path.stem}.cls", path.parent.name.encode())]
    tar_of(folder.with_suffix(".tar"), files)
    shutil.rmtree(folder)


def test_a_plan_over_tars_is_the_plan_over_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("auditor.planning.pricing.cost_of", lambda *_: Cost((), workers=1))
    members, others, population = parts(60, 60, 120)
    trained_weights(tmp_path, *members)
    folder = write_splits(tmp_path / "splits", members, others, population, as_images=True)
    plans = []
    for pack in (False, True):
        if pack:
            for role in ("train", "test", "population"):
                packed(folder / role)
        assert main(PLAN.split()) == 0
        plans.append(json.loads(capsys.readouterr().out) | {"created": None})
    assert plans[0] == plans[1]
    assert plans[0]["evaluated"] == 60
