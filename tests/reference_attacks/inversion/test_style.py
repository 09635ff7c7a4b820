"""What style generators are, and one of them as a plain generator."""

import pytest
import torch

from reference_attacks.inversion.style import NoiseSpace, StyleGenerator, require_unconditional
from tests.reference_attacks.inversion.tiny_style import LATENT, NOISE, SHAPE, Canvas, TinyStyle, rng


def test_a_style_generator_is_told_from_a_plain_one():
    assert isinstance(TinyStyle(), StyleGenerator)
    assert not isinstance(Canvas(), StyleGenerator)
    assert not isinstance(NoiseSpace(TinyStyle()), StyleGenerator)


def test_the_noise_space_draws_z_and_shows_its_styles():
    space = NoiseSpace(TinyStyle())
    assert (space.latent_size, space.image_shape, space.conditional) == (NOISE, SHAPE, 0)
    noise = space.draw(6, rng(2))
    torch.testing.assert_close(noise, torch.randn(6, NOISE, generator=rng(2)))
    torch.testing.assert_close(space.images(noise), TinyStyle().images(TinyStyle().mapped(noise)))
    noise.requires_grad_()
    (slope,) = torch.autograd.grad(space.images(noise).sum(), noise)
    assert slope.abs().amax(dim=1).min() > 0


def test_the_stages_of_the_tests_own_generator_make_up_its_images():
    generator = TinyStyle()
    latents = generator.draw(4, rng())
    assert latents.shape == (4, LATENT)
    features = generator.advanced(generator.advanced(None, latents, 0), latents, 1)
    torch.testing.assert_close(generator.images_from(features, latents, 2), generator.images(latents))


def test_a_conditional_generator_is_refused():
    require_unconditional(Canvas())
    generator = Canvas()
    generator.conditional = 5
    with pytest.raises(ValueError, match="one of 5 classes"):
        require_unconditional(generator)
