"""One archive: what is accepted, and that hostile ones end in one sentence without being unpickled or allocated."""

import contextlib
import io
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import InputError
from auditor.sources import npz
from auditor.sources.npz import read_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 2), dtype=np.uint8)
FEATURES = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
LABELS = np.arange(5)


def write(tmp_path, **arrays):
    path = tmp_path / "train.npz"
    np.savez_compressed(path, **arrays)
    return path


def header(shape, descr="|u1"):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def write_raw(tmp_path, **members):
    path = tmp_path / "train.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def stored(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def test_colour_images_come_as_they_are(tmp_path):
    arrays = read_npz(write(tmp_path, images=IMAGES, labels=LABELS.astype(np.uint8), group=LABELS + 7, index=LABELS))
    np.testing.assert_array_equal(arrays.inputs, IMAGES)
    assert arrays.inputs.dtype == np.uint8
    assert arrays.labels.dtype == np.int64
    np.testing.assert_array_equal(arrays.labels, LABELS)
    np.testing.assert_array_equal(arrays.groups, LABELS + 7)


def test_grey_images_get_a_channel_axis(tmp_path):
    arrays = read_npz(write(tmp_path, images=IMAGES[..., 0], labels=LABELS))
    np.testing.assert_array_equal(arrays.inputs, IMAGES[..., :1])
    assert arrays.groups is None


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "f2", "f4", "f8", ">f4", ">f8"])
def test_features_become_float32_without_loss(tmp_path, dtype):
    features = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    arrays = read_npz(write(tmp_path, features=features, labels=LABELS[:3]))
    assert arrays.inputs.dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(arrays.inputs, features)


def test_fortran_order_is_undone(tmp_path):
    arrays = read_npz(write(tmp_path, images=np.asfortranarray(IMAGES), labels=LABELS))
    assert arrays.inputs.flags.c_contiguous
    np.testing.assert_array_equal(arrays.inputs, IMAGES)


def test_negative_zero_is_zero(tmp_path):
    arrays = read_npz(write(tmp_path, features=np.array([[-0.0, 1.0], [0.0, 1.0]]), labels=LABELS[:2]))
    assert not np.signbit(arrays.inputs).any()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "must hold `labels`"),
        ({"labels": LABELS}, "must hold `labels`"),
        ({"images": IMAGES, "features": FEATURES, "labels": LABELS}, "either `images` or `features`"),
        ({"images": IMAGES, "labels": LABELS, "groups": LABELS}, "holds `groups`"),
        ({"images": IMAGES, "labels": LABELS, "group_id": LABELS}, "holds `group_id`, which would be ignored"),
        ({"images": IMAGES, "labels": LABELS, "group": LABELS, "Group": LABELS}, "holds `Group`"),
        ({"images": IMAGES / 255, "labels": LABELS}, "`images` is float64"),
        ({"images": IMAGES.astype(int), "labels": LABELS}, "`images` is int64"),
        ({"images": IMAGES[0, 0], "labels": LABELS[:3]}, "`images` is uint8 of shape"),
        ({"images": IMAGES[..., None], "labels": LABELS}, "`images` is uint8 of shape"),
        ({"images": IMAGES.transpose(0, 3, 2, 1).repeat(2, 3), "labels": LABELS}, re.escape("[5, 2, 3, 8]")),
        ({"images": IMAGES[:, :0], "labels": LABELS}, "`images` is uint8 of shape"),
        ({"images": IMAGES, "labels": LABELS[:4]}, "5 images, but 4 entries in `labels`"),
        ({"images": IMAGES, "labels": LABELS, "group": LABELS[:2]}, "2 entries in `group`"),
        ({"images": IMAGES, "labels": LABELS.astype(float)}, "`labels` is float64"),
        ({"images": IMAGES, "labels": LABELS.astype(bool)}, "`labels` is bool"),
        ({"images": IMAGES, "labels": LABELS.astype(str)}, "`labels` is text"),
        ({"images": IMAGES, "labels": np.eye(5, dtype=int)}, "one integer per record"),
        ({"images": IMAGES, "labels": np.array(3)}, "one integer per record"),
        ({"images": IMAGES, "labels": np.full(5, 2**64 - 1, dtype=np.uint64)}, "62 bits"),
        ({"images": IMAGES, "labels": LABELS, "group": np.full(5, -(2**62))}, "62 bits"),
        ({"features": FEATURES.astype(complex), "labels": LABELS}, "`features` is complex128"),
        ({"features": FEATURES.astype(np.int32), "labels": LABELS}, "`features` is int32"),
        ({"features": FEATURES[:, 0], "labels": LABELS}, "`features` is float32 of shape"),
        ({"features": FEATURES[:, :0], "labels": LABELS}, "`features` is float32 of shape"),
        ({"features": np.where(FEATURES > 0, np.nan, FEATURES), "labels": LABELS}, "NaN or infinite"),
        ({"features": np.full((5, 2), 1e300), "labels": LABELS}, "NaN or infinite"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_and_remedy(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message) as caught:
        read_npz(write(tmp_path, **arrays))
    assert "train.npz" in caught.value.message
    assert caught.value.hint


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["images", "labels", "group"])
def test_objects_are_never_unpickled(tmp_path, name):
    sprung = str(tmp_path / "sprung")
    members = {"images": stored(IMAGES), "labels": stored(LABELS)}
    members[name] = header((5,), "|O") + pickle.dumps([Trap(sprung)] * 5)
    with pytest.raises(InputError, match="never unpickled"):
        read_npz(write_raw(tmp_path, **members))
    assert not os.path.exists(sprung)  # noqa: PTH110 - the trap was given a string


def test_a_size_beyond_the_limit_is_refused_by_its_header(tmp_path):
    bomb = header((10**6, 10**6, 3))
    with pytest.raises(InputError, match=r"announces 2,794\.0 GiB"):
        read_npz(write_raw(tmp_path, images=bomb, labels=stored(LABELS)))


def test_nothing_is_read_before_all_headers_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("an array was read"))
    gigabytes = header((2**30, 2, 2)) + b"\0" * 100
    with pytest.raises(InputError, match="damaged"):
        read_npz(write_raw(tmp_path, images=gigabytes, labels=header((2**30,), "<i8")))


def test_the_limit_is_in_decoded_bytes(tmp_path, monkeypatch):
    path = write(tmp_path, images=np.zeros((100, 10, 10), dtype=np.uint8), labels=np.zeros(100, dtype=int))
    monkeypatch.setattr(npz, "MAX_ROLE_BYTES", 10_000)
    assert len(read_npz(path).inputs) == 100
    monkeypatch.setattr(npz, "MAX_ROLE_BYTES", 9_999)
    with pytest.raises(InputError, match="announces"):
        read_npz(path)


@pytest.mark.parametrize(
    "images",
    [
        header((5, 4, 3)) + b"\0" * 59,
        header((5, -4, -3)) + b"\0" * 60,
        header((5, 4, 3)).replace(b"NUMPY\x01", b"NUMPY\x02") + b"\0" * 70,
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"\x93NUMPY\x01\x00\x80\x25" + b"(" * 9_600,
        b"",
        b"GIF89a",
    ],
    ids=["short", "negative", "version 2", "header cut", "nested", "empty", "not npy"],
)
def test_damaged_arrays_are_refused(tmp_path, images):
    with pytest.raises(InputError, match=r"damaged or not a NumPy archive|does not fit into memory"):
        read_npz(write_raw(tmp_path, images=images, labels=stored(LABELS)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"train"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "train.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or not a NumPy archive"):
        read_npz(path)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "train.npz")
    with pytest.raises(InputError, match="not a NumPy archive"):
        read_npz(tmp_path / "train.npz")


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_ends_in_arrays_or_one_sentence(tmp_path, data):
    content = bytearray(write(tmp_path, images=IMAGES, labels=LABELS).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.npz"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with contextlib.suppress(InputError):
        assert read_npz(path).inputs.dtype == np.uint8
