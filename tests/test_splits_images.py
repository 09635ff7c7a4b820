"""One image folder: which files count, how they are decoded, and what happens to broken and hostile ones."""

import os

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from auditor.errors import InputError
from auditor.sources import images
from auditor.sources.decoding import EXTENSIONS
from auditor.sources.folder import list_folder
from auditor.sources.images import common_form, read_images, survey
from auditor.splits_file import PreprocessingSection

LOSSLESS = (".png", ".ppm", ".bmp", ".tif", ".tiff")


def pixels(seed=0, height=5, width=4, channels=3):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def put(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def scan_folder(folder):
    return survey(list_folder(folder))


def read(folder, preprocessing=None):
    scanned = scan_folder(folder)
    return read_images(scanned, common_form([scanned], preprocessing))


def to_size(height, width, channels=3, crop_pct=1.0, interpolation="bilinear"):
    return PreprocessingSection(input_size=(channels, height, width), crop_pct=crop_pct, interpolation=interpolation)


@pytest.mark.parametrize("extension", LOSSLESS)
def test_pixels_come_back_as_they_were_saved(tmp_path, extension):
    put(tmp_path / "cat" / f"a{extension}", pixels())
    np.testing.assert_array_equal(read(tmp_path), pixels()[None])


@pytest.mark.parametrize("extension", sorted(EXTENSIONS | {".JPG", ".PNG"}))
def test_every_extension_is_read(tmp_path, extension):
    put(tmp_path / "cat" / f"a{extension}", pixels(channels=1 if extension == ".pgm" else 3))
    assert read(tmp_path).shape[:3] == (1, 5, 4)


def test_order_and_class_come_from_the_names(tmp_path):
    for seed, name in enumerate(["b/1.png", "a/deep/er/9.png", "a/10.png", "0.png", "a/2.png"]):
        put(tmp_path / name, pixels(seed))
    listed = [(image.name, image.label) for image in list_folder(tmp_path).images()]
    assert listed == [
        ("0.png", None),
        ("a/10.png", "a"),
        ("a/2.png", "a"),
        ("a/deep/er/9.png", "a"),
        ("b/1.png", "b"),
    ]
    np.testing.assert_array_equal(read(tmp_path), np.stack([pixels(seed) for seed in (3, 2, 4, 1, 0)]))


def test_hidden_entries_and_other_files_are_passed_over(tmp_path):
    put(tmp_path / "cat" / "a.png", pixels())
    put(tmp_path / ".ipynb_checkpoints" / "a.png", pixels(1))
    put(tmp_path / "cat" / "._a.png", pixels(2))
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    assert [file.name for file in scan_folder(tmp_path).files] == ["cat/a.png"]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        scan_folder(tmp_path)


# --- channels ------------------------------------------------------------------------------------------------------


def test_grey_images_keep_one_channel(tmp_path):
    put(tmp_path / "cat" / "a.png", pixels(channels=1))
    np.testing.assert_array_equal(read(tmp_path), pixels(channels=1)[None, :, :, None])


def test_one_colour_image_in_any_role_makes_all_of_them_colour(tmp_path):
    put(tmp_path / "train" / "cat" / "a.png", pixels(channels=1))
    put(tmp_path / "test" / "cat" / "a.png", pixels(1))
    train, test = scan_folder(tmp_path / "train"), scan_folder(tmp_path / "test")
    form = common_form([train, test], None)
    np.testing.assert_array_equal(read_images(train, form)[0], np.stack([pixels(channels=1)] * 3, axis=-1))


@pytest.mark.parametrize(("channels", "expected"), [(1, 1), (3, 3), (2, 3)])
def test_input_size_decides_between_grey_and_colour(tmp_path, channels, expected):
    put(tmp_path / "cat" / "a.png", pixels())
    assert read(tmp_path, to_size(9, 9, channels)).shape == (1, 5, 4, expected)


def test_transparency_is_dropped_and_palettes_are_looked_up(tmp_path):
    put(tmp_path / "cat" / "a.png", pixels(channels=4))
    put(tmp_path / "cat" / "b.png", np.full((5, 4, 3), [10, 200, 30], dtype=np.uint8), mode="P")
    read_back = read(tmp_path)
    np.testing.assert_array_equal(read_back[0], pixels(channels=4)[..., :3])
    assert read_back.shape == (2, 5, 4, 3)


def test_sixteen_bit_images_are_refused_not_clipped(tmp_path):
    put(tmp_path / "cat" / "a.png", np.arange(20, dtype=np.uint16).reshape(5, 4) * 3000)
    with pytest.raises(InputError, match=r"a\.png has more than 8 bit"):
        scan_folder(tmp_path)


# --- sizes ---------------------------------------------------------------------------------------------------------


def test_images_of_one_size_keep_it(tmp_path):
    put(tmp_path / "cat" / "a.png", pixels())
    assert read(tmp_path, to_size(64, 64)).shape == (1, 5, 4, 3)


def test_sizes_that_differ_need_an_input_size(tmp_path):
    put(tmp_path / "cat" / "a.png", pixels())
    put(tmp_path / "cat" / "b.png", pixels(height=8))
    with pytest.raises(InputError, match=r"differ in size: .*a\.png is 4 x 5, .*b\.png is 4 x 8") as caught:
        read(tmp_path)
    assert "input_size" in caught.value.hint


def test_larger_images_are_scaled_and_cropped_at_the_centre(tmp_path):
    # black on both sides; the middle third is what covers a square
    wide = np.zeros((8, 24, 3), dtype=np.uint8)
    wide[:, 5:19] = [200, 30, 90]
    put(tmp_path / "cat" / "a.png", wide)
    put(tmp_path / "cat" / "b.png", pixels(height=4, width=4))
    scaled = read(tmp_path, to_size(4, 4))
    np.testing.assert_array_equal(scaled[0], wide[:4, 8:12])
    np.testing.assert_array_equal(scaled[1], pixels(height=4, width=4))


def test_room_is_left_for_the_crop_that_the_model_makes_itself(tmp_path):
    put(tmp_path / "cat" / "a.png", pixels(height=40, width=30))
    put(tmp_path / "cat" / "b.png", pixels(height=64, width=64))
    assert read(tmp_path, to_size(14, 21, crop_pct=0.875)).shape == (2, 16, 24, 3)


def test_an_extreme_aspect_ratio_costs_no_memory(tmp_path):
    put(tmp_path / "cat" / "a.png", np.zeros((1, 60_000), dtype=np.uint8))
    put(tmp_path / "cat" / "b.png", pixels(channels=1))
    # scaled to cover 64 x 64 in full, the first would have 250 million pixels
    assert read(tmp_path, to_size(64, 64, 1)).shape == (2, 64, 64, 1)


def test_the_decoded_size_is_limited(tmp_path, monkeypatch):
    put(tmp_path / "cat" / "a.png", pixels())
    monkeypatch.setattr(images, "MAX_ROLE_BYTES", 60)
    assert read(tmp_path).nbytes == 60
    monkeypatch.setattr(images, "MAX_ROLE_BYTES", 59)
    with pytest.raises(InputError, match="decodes to"):
        read(tmp_path)


def test_images_of_one_size_are_scaled_down_where_they_would_not_fit(tmp_path, monkeypatch):
    put(tmp_path / "cat" / "a.png", pixels(height=40, width=30))
    put(tmp_path / "cat" / "b.png", pixels(height=40, width=30))
    monkeypatch.setattr(images, "MAX_ROLE_BYTES", 2 * 40 * 30 * 3)
    assert read(tmp_path, to_size(14, 14, crop_pct=0.875)).shape == (2, 40, 30, 3)
    monkeypatch.setattr(images, "MAX_ROLE_BYTES", 2 * 40 * 30 * 3 - 1)
    assert read(tmp_path, to_size(14, 14, crop_pct=0.875)).shape == (2, 16, 16, 3)
    for preprocessing in (None, to_size(64, 64)):
        with pytest.raises(InputError, match="decodes to") as caught:
            read(tmp_path, preprocessing)
        assert "resize the image files" in caught.value.hint


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (8, 1)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_that_lies_on_its_side_is_read_as_torchvision_reads_it(
    tmp_path, orientation, turns, channels, compression
):
    stored, exif = pixels(height=20, width=30, channels=channels), Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    (tmp_path / "cat").mkdir()
    Image.fromarray(stored).save(tmp_path / "cat" / "a.tif", exif=exif, compression=compression)
    np.testing.assert_array_equal(np.squeeze(read(tmp_path)), np.rot90(stored, turns))


def test_an_image_of_other_sides_than_its_header_told_is_refused(tmp_path):
    put(tmp_path / "cat" / "a.png", pixels(height=5, width=4))
    role = scan_folder(tmp_path)
    put(tmp_path / "cat" / "a.png", pixels(height=4, width=5))
    with pytest.raises(InputError, match=r"a\.png decodes to 5 x 4 pixels, and its header told 4 x 5"):
        read_images(role, common_form([role], None))


# --- hostile files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [19, 9], ids=["warning", "error"])
def test_too_many_pixels_are_refused(tmp_path, monkeypatch, limit):
    put(tmp_path / "cat" / "bomb.png", pixels())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert read(tmp_path).shape == (1, 5, 4, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InputError, match=rf"bomb\.png has more than {limit} pixels"):
        scan_folder(tmp_path)


@pytest.mark.parametrize("lenient", [False, True], ids=["as Pillow is", "as WeasyPrint leaves Pillow"])
@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif"])
def test_cut_images_are_refused_by_name(tmp_path, extension, lenient, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    path = put(tmp_path / "cat" / f"cut{extension}", pixels(height=64, width=64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut.* cannot be read as an image"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"GIF89a\x01\x00\x01\x00", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_the_content_does_not_choose_the_decoder(tmp_path, content):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        scan_folder(tmp_path)


def test_an_image_that_other_formats_would_read_is_refused(tmp_path):
    path = put(tmp_path / "cat" / "a.gif", pixels(channels=1))
    path.rename(path.with_suffix(".png"))
    with pytest.raises(InputError, match="cannot be read as an image"):
        scan_folder(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nowhere")], ids=["pipe", "dangling"])
def test_what_is_no_file_is_refused(tmp_path, make):
    (tmp_path / "cat").mkdir()
    make(tmp_path / "cat" / "a.png")
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        scan_folder(tmp_path)


def test_a_linked_role_folder_is_read_but_links_below_it_are_refused(tmp_path):
    put(tmp_path / "real" / "cat" / "a.png", pixels())
    (tmp_path / "train").symlink_to("real")
    assert len(scan_folder(tmp_path / "train").files) == 1
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="loop is a link to a folder"):
        scan_folder(tmp_path / "train")


def test_names_must_be_utf8(tmp_path):
    folder = os.fsencode(tmp_path / "cat") + b"\xff"
    os.mkdir(folder)  # noqa: PTH102 - pathlib takes no bytes
    put(tmp_path / "a.png", pixels()).rename(os.fsdecode(folder) + "/a.png")
    with pytest.raises(InputError, match="not UTF-8") as caught:
        scan_folder(tmp_path)
    str(caught.value).encode()


# --- groups --------------------------------------------------------------------------------------------------------


def with_groups(tmp_path, text):
    for seed, name in enumerate(["cat/a.png", "cat/b.png", "dog/a.png"]):
        put(tmp_path / name, pixels(seed))
    (tmp_path / "groups.csv").write_text(text)
    return tmp_path


def test_groups_follow_the_files(tmp_path):
    groups = scan_folder(with_groups(tmp_path, "file,group\ndog/a.png,7\ncat/b.png,12\ncat/a.png,7\n")).groups
    np.testing.assert_array_equal(groups, [7, 12, 7])


def test_groups_with_equal_names_are_equal_in_every_role(tmp_path):
    train = scan_folder(with_groups(tmp_path / "train", "file,group\ncat/a.png,anna\ncat/b.png,ben\ndog/a.png,anna\n"))
    test = scan_folder(with_groups(tmp_path / "test", 'file,group\ncat/a.png,007\ncat/b.png,"ben"\ndog/a.png,7\n'))
    assert train.groups is not None
    assert test.groups is not None
    assert train.groups[0] == train.groups[2] != train.groups[1] == test.groups[1]
    assert test.groups[0] != test.groups[2] == 7
    assert max(train.groups) < 2**62


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "two columns"),
        ("cat/a.png,1\n", "two columns"),
        ("file,group\ncat/a.png,1,2\n", "two columns"),
        ("file,group\ncat/a.png,1\ncat/b.png,2\n", "see dog/a.png"),
        ("file,group\ncat/a.png,1\ncat/b.png,2\ndog/a.png,3\ndog/b.png,3\n", "see dog/b.png"),
        ("file,group\ncat/a.png,1\ncat/b.png,2\ndog/a.png,3\ndog/a.png,4\n", "a file twice"),
        ('file,group\n"cat/a.png,1\n', "not valid CSV"),
    ],
)
def test_groups_that_do_not_fit_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        scan_folder(with_groups(tmp_path, text))
