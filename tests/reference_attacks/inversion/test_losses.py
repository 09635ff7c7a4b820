"""Losses on logits, against sums written out, and views of images, where what they must show is known."""

import math

import pytest
import torch
from torch.nn import functional as F

from reference_attacks.inversion.losses import (
    Views,
    class_loss,
    cross_entropy,
    max_margin,
    minus_logit,
    poincare,
    random_view,
    view,
    view_chances,
)

PLAIN = Views(smallest_area=1.0, jitter=0.0, flip=False, rotation=0.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=6, size=(9, 12)):
    return torch.rand(count, 2, *size, generator=rng(1))


def middle(jitter=0.5, mirror=1.0):
    """Chances of an upright view from the middle: both brightness and contrast as given, no mirror."""
    return torch.tensor([[jitter, jitter, 1.0, 0.5, 0.5, 0.5, mirror]])


LOGITS = torch.tensor([[3.0, 1.0, -2.0], [0.5, 0.25, 0.25], [-1.0, 4.0, 4.5]], dtype=torch.float64)
WANTED = torch.tensor([0, 2, 1])


def test_cross_entropy_is_minus_the_log_probability():
    p = [math.exp(row[t]) / sum(map(math.exp, row)) for row, t in zip(LOGITS.tolist(), WANTED, strict=True)]
    expected = [-math.log(each) for each in p]
    torch.testing.assert_close(cross_entropy(LOGITS, WANTED), torch.tensor(expected, dtype=torch.float64))


def test_max_margin_is_the_largest_other_logit_minus_the_wanted():
    torch.testing.assert_close(max_margin(LOGITS, WANTED), torch.tensor([-2.0, 0.25, 0.5], dtype=torch.float64))


def test_a_margin_keeps_its_gradient_where_cross_entropy_has_none():
    sure = torch.tensor([[60.0, 0.0, -5.0]], requires_grad=True)
    slopes = [torch.autograd.grad(loss(sure, WANTED[:1]).sum(), sure)[0] for loss in (cross_entropy, max_margin)]
    assert slopes[0].abs().max() < 1e-20
    torch.testing.assert_close(slopes[1], torch.tensor([[-1.0, 1.0, 0.0]]))


def test_a_margin_needs_another_class():
    with pytest.raises(ValueError, match="at least two"):
        max_margin(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))


def test_poincare_is_the_distance_in_the_ball():
    def oracle(row, t):
        u = [value / sum(map(abs, row)) for value in row]
        v = [1.0 - 1e-4 if c == t else 0.0 for c in range(len(row))]
        apart = sum((a - b) ** 2 for a, b in zip(u, v, strict=True))
        return math.acosh(1 + 2 * apart / ((1 - sum(a * a for a in u)) * (1 - sum(b * b for b in v))))

    expected = [oracle(row, int(t)) for row, t in zip(LOGITS.tolist(), WANTED, strict=True)]
    torch.testing.assert_close(poincare(LOGITS, WANTED), torch.tensor(expected, dtype=torch.float64))


def test_poincare_is_finite_on_the_rim_and_without_any_logit():
    edge = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert poincare(edge, torch.tensor([1, 0])).isfinite().all()


def test_minus_logit_is_that_of_the_class():
    torch.testing.assert_close(minus_logit(LOGITS, WANTED), torch.tensor([-3.0, -0.25, -4.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "loss"),
    [("cross-entropy", cross_entropy), ("max-margin", max_margin), ("logit", minus_logit), ("poincare", poincare)],
)
def test_losses_by_name(name, loss):
    assert class_loss(name) is loss


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="'hinge'"):
        class_loss("hinge")


def test_a_view_with_everything_off_is_the_image():
    torch.testing.assert_close(random_view(pictures(), PLAIN, rng()), pictures(), atol=1e-5, rtol=0.0)


def test_half_of_the_views_are_mirrored():
    images = pictures(200, (4, 5))
    seen = random_view(images, Views(smallest_area=1.0, jitter=0.0, rotation=0.0), rng())
    same, mirrored = ((seen - each).flatten(1).abs().amax(dim=1) < 1e-4 for each in (images, images.flip(3)))
    assert (same ^ mirrored).all()
    assert 70 < int(mirrored.sum()) < 130


def test_a_quarter_turn_is_a_quarter_turn():
    image = pictures(1, (7, 7))
    chances = middle().index_fill(1, torch.tensor([5]), 1.0)
    turned = view(image, chances, Views(smallest_area=1.0, jitter=0.0, flip=False, rotation=90.0))
    torch.testing.assert_close(turned, image.rot90(1, (2, 3)), atol=1e-4, rtol=0.0)


def test_a_turn_keeps_the_shape_of_things_in_images_that_are_not_square():
    image = torch.zeros(1, 1, 31, 61)
    image[:, :, 10:21, 25:36] = 1.0
    chances = middle().index_fill(1, torch.tensor([5]), 1.0)
    turned = view(image, chances, Views(smallest_area=1.0, jitter=0.0, flip=False, rotation=90.0))
    torch.testing.assert_close(turned, image, atol=1e-4, rtol=0.0)


def test_a_crop_from_the_middle_enlarges_it():
    image = pictures(1, (8, 12))
    chances = middle().index_fill(1, torch.tensor([2]), 0.0)
    seen = view(image, chances, Views(smallest_area=0.25, jitter=0.0, flip=False, rotation=0.0))
    expected = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)[:, :, 4:12, 6:18]
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0.0)


def test_crops_stay_inside_the_image():
    ramp = torch.linspace(0.1, 0.9, 16).expand(1, 1, 16, 16).contiguous()
    views = Views(smallest_area=0.25, jitter=0.0, flip=False, rotation=0.0)
    left, right = (view(ramp, torch.tensor([[0.5, 0.5, 0.0, at, 0.5, 0.5, 1.0]]), views) for at in (0.0, 1.0))
    torch.testing.assert_close(left.amax(), ramp[..., 7:9].mean(), atol=0.02, rtol=0.0)
    torch.testing.assert_close(right.amin(), ramp[..., 7:9].mean(), atol=0.02, rtol=0.0)


def test_jitter_scales_brightness_then_contrast():
    image = pictures(1) * 0.5
    brighter = image * 1.2
    expected = (brighter.mean() + 1.2 * (brighter - brighter.mean())).clamp(0.0, 1.0)
    seen = view(image, middle(jitter=1.0), Views(smallest_area=1.0, jitter=0.2, flip=False, rotation=0.0))
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0.0)


def test_views_are_differentiable_stay_in_range_and_repeat_under_the_same_seed():
    images = pictures().requires_grad_()
    seen = random_view(images, Views(), rng(3))
    (slope,) = torch.autograd.grad(seen.sum(), images)
    assert slope.flatten(1).abs().amax(dim=1).min() > 0
    assert 0.0 <= float(seen.detach().min()) <= float(seen.detach().max()) <= 1.0
    assert torch.equal(seen, random_view(images, Views(), rng(3)))
    assert not torch.equal(seen, random_view(images, Views(), rng(4)))


def test_a_view_depends_on_its_own_row_only():
    images, chances = pictures(), view_chances(6, rng())
    singles = [view(images[i : i + 1], chances[i : i + 1], Views()) for i in range(6)]
    torch.testing.assert_close(view(images, chances, Views()), torch.cat(singles))


@pytest.mark.parametrize(
    "wrong",
    [
        {"smallest_area": 0.0},
        {"smallest_area": 1.1},
        {"jitter": -0.1},
        {"jitter": 1.0},
        {"rotation": -1.0},
        {"rotation": 181.0},
    ],
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Views(**wrong)
