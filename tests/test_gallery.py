"""Pictures of what was rebuilt."""

import io
from base64 import b64decode

import numpy as np
import pytest
import torch
from PIL import Image

from auditor.findings import PICTURE_SIDE, PICTURES
from auditor.inversion.gallery import gallery_of_classes, gallery_of_members
from auditor.inversion.scene import Rows

NAMES = tuple(f"class {label}" for label in range(40))


def opened(picture):
    return Image.open(io.BytesIO(b64decode(picture.png)))


def images_of(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_of_each_class_the_first_restart_is_shown_pixel_by_pixel():
    images = images_of(3, 2, 3, 5, 7)
    shown = gallery_of_classes(images, (4, 1, 9), NAMES)
    assert [one.label for one in shown] == ["class 4", "class 1", "class 9"]
    for picture, image in zip(shown, images[:, 0], strict=True):
        wanted = np.round(255 * image.numpy().transpose(1, 2, 0)).astype(np.uint8)
        np.testing.assert_array_equal(np.asarray(opened(picture)), wanted)


def test_no_more_than_a_dozen_are_shown():
    assert len(gallery_of_classes(images_of(40, 1, 1, 4, 4), range(40), NAMES)) == PICTURES


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_what_is_no_colour_is_shown_in_grey(channels):
    images = images_of(1, 1, channels, 4, 4)
    picture = opened(gallery_of_classes(images, (0,), NAMES)[0])
    assert picture.mode == "L"
    np.testing.assert_allclose(np.asarray(picture), 255 * images[0, 0].mean(0).numpy(), atol=0.51)


def test_large_images_are_averaged_down_and_the_noisiest_still_fits():
    picture = opened(gallery_of_classes(images_of(1, 1, 3, 2 * PICTURE_SIDE, 3 * PICTURE_SIDE), (0,), NAMES)[0])
    assert picture.size == (PICTURE_SIDE, round(PICTURE_SIDE * 2 / 3))
    noise = images_of(1, 1, 3, PICTURE_SIDE, PICTURE_SIDE)
    assert opened(gallery_of_classes(noise, (0,), NAMES)[0]).size == (PICTURE_SIDE, PICTURE_SIDE)


def test_values_that_are_no_pixels_are_shown_as_the_nearest():
    images = torch.tensor([float("nan"), -1.0, 2.0, 0.5]).view(1, 1, 1, 2, 2)
    np.testing.assert_array_equal(
        np.asarray(opened(gallery_of_classes(images, (0,), NAMES)[0])), np.array([[0, 0], [255, 128]])
    )


def test_members_are_shown_and_no_non_member_one_of_each_class_first():
    sizes, classes = (3, 1, 2), (5, 0, 7)
    rows = Rows(classes, tuple(map(np.arange, sizes)), tuple(map(np.arange, sizes)))
    member = torch.cat([torch.tensor([True] * size + [False] * size) for size in sizes])
    images = torch.where(member, torch.arange(len(member)) / 255, 1.0).view(-1, 1, 1, 1)
    shown = gallery_of_members(images, rows, NAMES)
    assert [one.label for one in shown] == ["class 5", "class 0", "class 7", "class 5", "class 7", "class 5"]
    assert [int(np.asarray(opened(one)).item()) for one in shown] == [0, 6, 8, 1, 9, 2]
