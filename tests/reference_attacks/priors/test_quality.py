"""The check of a prior on point clouds whose answers are known."""

import math

import pytest
import torch

from reference_attacks.priors.quality import check


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def points(*values):
    """Images of one pixel."""
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1)


def flat(images):
    return images.flatten(1)


def normal(count, seed):
    return torch.randn(count, 1, 1, 4, generator=rng(seed))


def test_another_draw_of_the_same_cannot_be_told():
    quality = check(generated=normal(800, 1), real=normal(800, 2), features=flat)
    assert abs(quality.generated_told - 0.5) < 0.05
    assert abs(quality.real_told - 0.5) < 0.05
    assert abs(quality.distance_ratio - 1.0) < 0.05
    assert abs(quality.diversity - 1.0) < 0.05
    assert abs(quality.coverage - (1 - 2**-5)) < 0.02
    assert not quality.collapsed
    assert quality.samples == 800


def test_a_naive_count_gives_the_same_numbers():
    generated, real = normal(12, 3).double(), 0.6 * normal(12, 4).double() + 1.0
    quality = check(generated=generated, real=real, features=flat)

    def apart(a, b):
        return math.dist(a.flatten().tolist(), b.flatten().tolist())

    def nearest(image, others):
        return min(apart(image, other) for other in others if other is not image)

    def mean(values):
        return sum(values) / len(values)

    generated, real = list(generated), list(real)
    to_real, spacing = [nearest(g, real) for g in generated], [nearest(r, real) for r in real]
    radius = [sorted(apart(r, other) for other in real if other is not r)[4] for r in real]
    spread = [mean([apart(a, b) for i, a in enumerate(kind) for b in kind[:i]]) for kind in (generated, real)]
    expected = {
        "generated_told": mean([nearest(g, generated) < far for g, far in zip(generated, to_real, strict=True)]),
        "real_told": mean([near < nearest(r, generated) for r, near in zip(real, spacing, strict=True)]),
        "distance_ratio": mean(to_real) / mean(spacing),
        "coverage": mean([nearest(r, generated) < most for r, most in zip(real, radius, strict=True)]),
        "diversity": spread[0] / spread[1],
    }
    assert {name: getattr(quality, name) for name in expected} == pytest.approx(expected)
    assert 0.0 < quality.coverage < 1.0


def test_samples_far_off_are_told_and_cover_nothing():
    quality = check(generated=normal(50, 1) + 100.0, real=normal(50, 2), features=flat)
    assert (quality.generated_told, quality.real_told, quality.coverage) == (1.0, 1.0, 0.0)
    assert quality.distance_ratio > 10
    assert quality.collapsed


def test_one_image_over_and_over_is_a_collapse():
    real = normal(60, 2)
    quality = check(generated=real[:1].expand_as(real), real=real, features=flat)
    assert quality.diversity == 0.0
    assert quality.collapsed


def test_samples_of_less_spread_are_no_collapse_but_told_in_the_numbers():
    quality = check(generated=0.6 * normal(400, 1), real=normal(400, 2), features=flat)
    assert quality.diversity == pytest.approx(0.6, abs=0.05)
    assert not quality.collapsed
    assert quality.distance_ratio < 0.8
    assert 0.5 < quality.coverage < 0.93


def test_copies_are_nearer_than_real_images_are():
    real = normal(60, 2)
    quality = check(generated=real.clone(), real=real, features=flat)
    assert quality.distance_ratio == pytest.approx(0.0, abs=1e-6)
    assert quality.generated_told == pytest.approx(0.0, abs=0.05)


def test_ties_count_half():
    quality = check(generated=points(1, 3, 5, 7, 9, 11), real=points(0, 2, 4, 6, 8, 10), features=flat)
    assert quality.generated_told == 0.0
    tied = check(generated=points(0, 0, 3, 3, 9, 9), real=points(0, 0, 3, 3, 9, 9), features=flat)
    assert tied.generated_told == 0.5


def test_without_features_images_are_compared_at_eight_by_eight_pixels():
    generated, real = (torch.rand(20, 1, 16, 16, generator=rng(seed)) for seed in (1, 2))
    blocks = [images.unflatten(3, (8, 2)).unflatten(2, (8, 2)).mean(dim=(3, 5)) for images in (generated, real)]
    by_hand = check(generated=blocks[0], real=blocks[1], features=flat)
    assert check(generated=generated, real=real).distance_ratio == pytest.approx(by_hand.distance_ratio)


@pytest.mark.parametrize(
    ("generated", "real", "complaint"),
    [
        (normal(10, 1), normal(9, 2), "equal shapes"),
        (normal(5, 1), normal(5, 2), "at least 6"),
        (normal(10, 1), normal(1, 2).expand(10, 1, 1, 4), "all the same"),
        (normal(10, 1) * torch.nan, normal(10, 2), "finite"),
        (normal(10, 1), normal(10, 2) * torch.inf, "finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(generated, real, complaint):
    with pytest.raises(ValueError, match=complaint):
        check(generated=generated, real=real, features=flat)
