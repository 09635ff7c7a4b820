"""PPA with a tiny style generator: mechanics only, each step against a loop by hand."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from reference_attacks.inversion._crops import Crop, Crops
from reference_attacks.inversion.losses import poincare
from reference_attacks.inversion.ppa import PPA, StyleSearch, invert, promising_styles
from tests.reference_attacks.inversion.tiny_style import (
    LATENT,
    N_CLASSES,
    SHAPE,
    Counting,
    TinyStyle,
    assert_same,
    assert_untouched,
    rng,
    target,
)

QUICK = PPA(styles=40, candidates=6, steps=4, selection_crops=5, restarts=3, learning_rate=0.05, batch_size=7)


def run(model=None, classes=range(N_CLASSES), seed=0, settings=QUICK, generator=None):
    return invert(
        logits=model or target(),
        classes=list(classes),
        generator=generator or TinyStyle(),
        rng=rng(seed),
        settings=settings,
    )


def distance(logits, wanted):
    u = logits / sum(abs(value) for value in logits)
    v = torch.zeros(len(logits))
    v[wanted] = 1 - 1e-4
    apart = 2 * ((u - v) ** 2).sum() / ((1 - (u**2).sum()) * (1 - (v**2).sum()))
    return torch.log(1 + apart + torch.sqrt((1 + apart) ** 2 - 1))


def by_hand(model, wanted, seed, settings):
    generator, draws = TinyStyle(), rng(seed)
    styles = generator.draw(settings.styles, draws)
    shown = Crops(settings.smallest_area, 1.0).draw(settings.steps, SHAPE, draws)
    judged = Crops(0.5, 0.9, 0.8, 1.2, flip=settings.flip).draw(settings.selection_crops, SHAPE, draws)
    candidates = []
    for style in styles:
        pulled = generator.mean_latent + settings.truncation * (style - generator.mean_latent)
        image = generator.images(pulled[None])
        views = [image, image.flip(3)] if settings.flip else [image]
        candidates.append((sum(model(view).softmax(1)[0, wanted].item() for view in views) / len(views), pulled))
    candidates.sort(key=lambda pair: -pair[0])
    results = []
    for _, start in candidates[: settings.candidates]:
        w = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([w], lr=settings.learning_rate, betas=(settings.beta, settings.beta))
        for crop in shown:
            optimizer.zero_grad()
            distance(model(crop.of(generator.images(w[None])))[0], wanted).backward()
            optimizer.step()
        image = generator.images(w[None]).detach()
        score = sum(model(crop.of(image)).softmax(1)[0, wanted].item() for crop in judged) / len(judged)
        results.append((score, image))
    results.sort(key=lambda pair: -pair[0])
    return torch.cat([image for _, image in results[: settings.restarts]])


@pytest.mark.parametrize("flip", [True, False])
def test_every_step_is_that_of_a_loop_by_hand(flip):
    settings = replace(QUICK, flip=flip)
    found = run(settings=settings, seed=3)
    assert found.images.shape == (N_CLASSES, 3, *SHAPE)
    for wanted in range(N_CLASSES):
        expected = by_hand(target(), wanted, 3, settings)
        torch.testing.assert_close(found.images[wanted], expected, rtol=0.0, atol=1e-4)
        shown = target()(expected).double().softmax(1)[:, wanted]
        torch.testing.assert_close(found.confidence[wanted], shown.detach(), rtol=0.0, atol=1e-4)


def test_the_steps_lessen_the_distance():
    settings = PPA(styles=40, candidates=6, steps=25, selection_crops=1, restarts=6, learning_rate=0.05)
    wanted = torch.arange(N_CLASSES)
    first = promising_styles(target(), wanted, TinyStyle(), count=6, rng=rng(), search=settings)
    before = TinyStyle().images(first.flatten(0, 1))
    after = run(settings=settings).images.flatten(0, 1)
    of = wanted.repeat_interleave(6)
    lessened = [poincare(target()(images), of).view(N_CLASSES, 6).mean(dim=1) for images in (before, after)]
    assert (lessened[1] < lessened[0]).all()


def test_first_styles_are_between_the_mean_and_what_was_drawn():
    generator = TinyStyle()
    drawn = generator.draw(20, rng(5))
    found = promising_styles(
        target(), torch.tensor([1]), generator, count=20, rng=rng(5), search=StyleSearch(styles=20, truncation=0.25)
    )
    expected = generator.mean_latent + 0.25 * (drawn - generator.mean_latent)
    assert found.shape == (1, 20, LATENT)
    torch.testing.assert_close(found[0].sort(dim=0).values, expected.sort(dim=0).values)


def test_counts_every_image_that_the_model_saw():
    counting = Counting(target())
    found = run(counting)
    assert found.queries.tolist() == [6 * (4 + 5) + 3] * N_CLASSES
    assert found.shared_queries == 80
    assert counting.shown == int(found.queries.sum()) + found.shared_queries
    assert counting.most <= 7


def test_a_class_alone_is_a_class_in_a_batch():
    together = run()
    for wanted in range(N_CLASSES):
        alone = run(classes=[wanted])
        torch.testing.assert_close(alone.images[0], together.images[wanted], rtol=0.0, atol=1e-4)


def test_the_batch_size_changes_nothing():
    many = replace(QUICK, batch_size=1000)
    assert_same(run(settings=many), run())


def test_the_seed_decides():
    assert_same(run(seed=1), run(seed=1))
    assert not torch.allclose(run(seed=1).images, run(seed=2).images)


def test_leaves_the_target_as_it_was():
    assert_untouched(target(), run)
    with torch.no_grad():
        assert not run().images.requires_grad


class Conditional(TinyStyle):
    conditional = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": []}, "at least one class"),
        ({"generator": Conditional()}, "must not be conditional"),
        ({"model": lambda images: target()(images).detach()}, "must be differentiable"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        run(**change)


@pytest.mark.parametrize(
    "values",
    [
        {"styles": 0},
        {"batch_size": 0},
        {"truncation": 0.0},
        {"truncation": 1.1},
        {"smallest_area": 0.0},
        {"learning_rate": float("inf")},
        {"beta": 1.0},
        {"candidates": 0},
        {"steps": 0},
        {"selection_crops": 0},
        {"restarts": 0},
        {"candidates": 6000},
        {"restarts": 201},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        PPA(**values)


def test_the_whole_image_is_a_crop_that_changes_nothing():
    images = torch.rand(2, *SHAPE, generator=rng())
    (crop,) = Crops(1.0, 1.0).draw(1, SHAPE, rng())
    torch.testing.assert_close(crop.of(images), images, rtol=0.0, atol=0.0)


def test_a_crop_is_its_window_at_the_size_of_the_image():
    images = torch.arange(64.0).view(1, 1, 8, 8)
    seen = Crop(top=2, left=4, height=4, width=2, mirrored=True).of(images)
    window = images[:, :, 2:6, 4:6]
    expected = F.interpolate(window, size=(8, 8), mode="bilinear", align_corners=False).flip(3)
    torch.testing.assert_close(seen, expected)
    assert seen[0, 0, 0, -1] == window[0, 0, 0, 0]


def test_crops_have_the_areas_and_shapes_that_were_asked_for():
    crops = Crops(0.5, 0.9, 0.8, 1.2, flip=True).draw(2000, (3, 200, 100), rng())
    areas = torch.tensor([crop.height * crop.width / 20_000 for crop in crops])
    ratios = torch.tensor([(crop.width / 100) / (crop.height / 200) for crop in crops])
    assert 0.48 < areas.min() < 0.52
    assert 0.86 < areas.max() < 0.92
    assert abs(areas.mean() - 0.7) < 0.01
    assert 0.78 < ratios.min() < 0.82
    assert 1.16 < ratios.max() < 1.23
    assert all(0 <= crop.top <= 200 - crop.height and 0 <= crop.left <= 100 - crop.width for crop in crops)
    assert max(crop.top + crop.height for crop in crops) == 200
    assert 900 < sum(crop.mirrored for crop in crops) < 1100
    assert not any(crop.mirrored for crop in Crops(0.5, 0.9).draw(50, (3, 200, 100), rng()))
