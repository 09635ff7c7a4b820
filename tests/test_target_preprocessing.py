"""What becomes of stored records on their way into the model."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from auditor.checkpoint.preprocessing import prepare
from auditor.errors import InputError
from auditor.findings import Preprocessing

CPU = torch.device("cpu")


def settings(size=(3, 8, 8), **changes):
    return Preprocessing(**{"mean": (0.0,), "std": (1.0,), "input_size": size, "source": "test", **changes})


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_images_become_normalised_channels_first_floats():
    images = noise(2, 8, 8, 3)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])
    prepared = prepare(images, settings(mean=tuple(mean), std=tuple(std)), CPU)
    expected = (images / 255 - mean) / std
    assert prepared.dtype == torch.float32
    assert prepared.is_contiguous()
    np.testing.assert_allclose(prepared.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


def test_a_tensor_and_floats_between_0_and_1_mean_the_same():
    images = noise(2, 8, 8, 3)
    expected = prepare(images, settings(), CPU)
    assert torch.equal(prepare(torch.from_numpy(images), settings(), CPU), expected)
    assert torch.equal(prepare((images / np.float32(255)).astype(np.float32), settings(), CPU), expected)


def test_inputs_are_not_changed_and_may_be_read_only_or_mirrored():
    images = noise(2, 8, 8, 3)
    images.flags.writeable = False
    before = images.copy()
    mirrored = prepare(images[:, :, ::-1], settings(), CPU)
    assert torch.equal(mirrored.flip(3), prepare(images, settings(), CPU))
    np.testing.assert_array_equal(images, before)


def test_one_mean_serves_all_channels():
    images = noise(1, 8, 8, 3)
    one = prepare(images, settings(mean=(0.3,), std=(0.2,)), CPU)
    three = prepare(images, settings(mean=(0.3,) * 3, std=(0.2,) * 3), CPU)
    assert torch.equal(one, three)


def test_grey_is_repeated_for_a_model_that_wants_colour():
    grey = noise(2, 8, 8, 1)
    assert torch.equal(prepare(grey, settings(), CPU), prepare(grey.repeat(3, axis=3), settings(), CPU))


@pytest.mark.parametrize(("stored", "wanted"), [(3, 1), (4, 3), (2, 3)])
def test_other_channels_are_not_invented(stored, wanted):
    with pytest.raises(InputError, match=f"have {stored} channels, but the model takes {wanted}"):
        prepare(noise(1, 8, 8, stored), settings((wanted, 8, 8)), CPU)


def test_images_of_the_right_size_are_not_resampled():
    images = noise(1, 8, 8, 3)
    assert torch.equal(prepare(images, settings(crop_pct=0.5), CPU), prepare(images, settings(), CPU))


@pytest.mark.parametrize(("name", "filter_"), [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)])
@pytest.mark.parametrize("stored", [5, 21])
def test_resizing_agrees_with_pillow_to_a_grey_level_or_two(name, filter_, stored):
    image = 64 + noise(1, stored, stored, 3) // 2  # Pillow cuts overshoot between its two passes, we after both
    prepared = prepare(image, settings((3, 8, 8), interpolation=name), CPU)
    pillow = np.asarray(Image.fromarray(image[0]).resize((8, 8), filter_))
    ours = prepared[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - pillow).max() < 2


def test_the_crop_keeps_its_share_of_the_centre():
    image = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    image[:, 4:12, 4:12] = 255
    half = prepare(image, settings((3, 32, 32), crop_pct=0.5), CPU)
    assert half[:, :, 2:-2, 2:-2].min() == 1  # the white half of the side fills the frame, but for the filter's edge
    whole = prepare(image, settings((3, 32, 32), crop_pct=1.0), CPU)
    assert whole[:, :, :6, :].max() == 0


@given(
    stored=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    wanted=st.tuples(st.integers(2, 24), st.integers(2, 24)),
    crop_pct=st.floats(0.3, 1),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_any_size_gives_the_models_size_within_the_range_of_pixels(stored, wanted, crop_pct, interpolation):
    preprocessing = settings((3, *wanted), crop_pct=crop_pct, interpolation=interpolation)
    prepared = prepare(noise(2, *stored, 1), preprocessing, CPU)
    assert prepared.shape == (2, 3, *wanted)
    assert 0 <= prepared.min() <= prepared.max() <= 1


def test_features_are_normalised_by_column():
    features = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    preprocessing = settings((2, 1, 1), mean=(1.0, 2.0), std=(2.0, 4.0))
    assert torch.equal(prepare(features, preprocessing, CPU), torch.tensor([[0.0, 0.0], [1.0, 0.5]]))
    assert torch.equal(prepare(features, settings((2, 1, 1), mean=(1.0,)), CPU), torch.from_numpy(features - 1))


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((2, 5), (6, 1, 1), "takes 6 features"),
        ((2, 8, 8, 3), (6, 1, 1), "6 features"),
        ((2, 5), (3, 8, 8), "takes images"),
    ],
)
def test_features_and_images_are_not_confused(shape, size, message):
    with pytest.raises(InputError, match=message):
        prepare(np.zeros(shape, dtype=np.float32), settings(size), CPU)
