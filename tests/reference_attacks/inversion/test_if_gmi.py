"""IF-GMI with a tiny style generator of three stages: mechanics only, each step against a loop by hand."""

from dataclasses import replace

import pytest
import torch

from reference_attacks.inversion._crops import Crops
from reference_attacks.inversion.if_gmi import IFGMI, invert, within_l1_ball
from reference_attacks.inversion.losses import poincare
from reference_attacks.inversion.ppa import promising_styles
from tests.reference_attacks.inversion.tiny_style import (
    N_CLASSES,
    SHAPE,
    Counting,
    TinyStyle,
    assert_same,
    assert_untouched,
    rng,
    table,
    target,
)

QUICK = IFGMI(
    styles=30, restarts=3, steps=(4, 3, 3), radii=(0.3, 0.2, 0.5), learning_rate=0.05, smallest_area=0.7, batch_size=5
)


def run(model=None, classes=range(N_CLASSES), seed=0, settings=QUICK, generator=None):
    return invert(
        logits=model or target(),
        classes=list(classes),
        generator=generator or TinyStyle(),
        rng=rng(seed),
        settings=settings,
    )


def shrunk_by_halving(row, radius):
    """The projection of one row: the same amount off every magnitude, found by halving."""
    if row.abs().sum() <= radius:
        return row
    low, high = 0.0, row.abs().max().item()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (row.abs() - middle).clamp_min(0).sum() > radius else (low, middle)
    return (row.abs() - high).clamp_min(0) * row.sign()


@pytest.mark.parametrize("radius", [0.1, 3.0, 7.0, 100.0])
def test_the_projection_is_that_found_by_halving(radius):
    rows = table(3, 6, 2, 2, 3).double()
    found = within_l1_ball(rows, radius)
    expected = torch.stack([shrunk_by_halving(row.flatten(), radius) for row in rows]).view_as(rows)
    torch.testing.assert_close(found, expected)
    sizes = found.flatten(1).abs().sum(dim=1)
    torch.testing.assert_close(sizes, rows.flatten(1).abs().sum(dim=1).clamp_max(radius))


def by_hand(wanted, seed, settings):
    model, generator, draws = target(), TinyStyle(), rng(seed)
    classes = torch.tensor([wanted])
    styles = promising_styles(model, classes, generator, count=settings.restarts, rng=draws, search=settings)[0]
    shown = [Crops(settings.smallest_area, 1.0).draw(steps, SHAPE, draws) for steps in settings.steps]
    images = []
    for style in styles:
        w, features = style[None], None
        for stage, crops in enumerate(shown):
            if stage:
                features = generator.advanced(features, w, stage - 1).detach()
            start = [w] if features is None else [w, features]
            now = [tensor.clone().requires_grad_() for tensor in start]
            optimizer = torch.optim.Adam(now, lr=settings.learning_rate, betas=(settings.beta, settings.beta))
            for crop in crops:
                optimizer.zero_grad()
                image = generator.images_from(now[1] if stage else None, now[0], stage)
                poincare(model(crop.of(image)), classes).sum().backward()
                optimizer.step()
                with torch.no_grad():
                    for tensor, first in zip(now, start, strict=True):
                        away = shrunk_by_halving((tensor - first).flatten(), settings.radii[stage])
                        tensor.copy_(first + away.view_as(first))
            w, features = now[0].detach(), now[1].detach() if stage else None
        images.append(generator.images_from(features, w, len(shown) - 1))
    images = torch.cat(images)
    confidence = model(images).softmax(1)[:, wanted]
    return images[confidence.argsort(descending=True)]


def test_every_step_is_that_of_a_loop_by_hand():
    found = run(seed=3)
    assert found.images.shape == (N_CLASSES, 3, *SHAPE)
    for wanted in range(N_CLASSES):
        torch.testing.assert_close(found.images[wanted], by_hand(wanted, 3, QUICK), rtol=0.0, atol=1e-4)


def test_the_surest_comes_first():
    found = run()
    shown = target()(found.images.flatten(0, 1)).double().softmax(1).view(N_CLASSES, 3, N_CLASSES)
    for wanted in range(N_CLASSES):
        torch.testing.assert_close(found.confidence[wanted], shown[wanted, :, wanted].detach(), rtol=0.0, atol=1e-5)
    assert (found.confidence.diff(dim=1) <= 0).all()


def test_features_find_what_the_style_alone_cannot():
    # Styles may hardly move, so that what is gained on the way is gained by features.
    style_only = IFGMI(styles=30, restarts=3, steps=(30,), radii=(1e-6,), learning_rate=0.05)
    both = replace(style_only, steps=(30, 30, 30), radii=(1e-6, 20.0, 20.0))
    before, after = (
        poincare(target()(run(settings=one).images[:, 0]), torch.arange(N_CLASSES)) for one in (style_only, both)
    )
    assert (after < before).all()


def test_counts_every_image_that_the_model_saw():
    counting = Counting(target())
    found = run(counting)
    assert found.queries.tolist() == [3 * (4 + 3 + 3) + 3] * N_CLASSES
    assert found.shared_queries == 60
    assert counting.shown == int(found.queries.sum()) + 60
    assert counting.most <= 5


def test_a_class_alone_is_a_class_in_a_batch():
    together = run()
    for wanted in range(N_CLASSES):
        torch.testing.assert_close(run(classes=[wanted]).images[0], together.images[wanted], rtol=0.0, atol=1e-4)
    assert_same(run(settings=replace(QUICK, batch_size=1000)), together)


def test_the_seed_decides():
    assert_same(run(seed=1), run(seed=1))
    assert not torch.allclose(run(seed=1).images, run(seed=2).images)


def test_leaves_the_target_as_it_was():
    assert_untouched(target(), run)


class Conditional(TinyStyle):
    conditional = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": []}, "at least one class"),
        ({"generator": Conditional()}, "must not be conditional"),
        ({"model": lambda images: target()(images).detach()}, "must be differentiable"),
        ({"settings": IFGMI(steps=(1,) * 4, radii=(1.0,) * 4)}, "4 stages, but the generator has 3"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        run(**change)


@pytest.mark.parametrize(
    "values",
    [
        {"restarts": 0},
        {"restarts": 5001},
        {"steps": ()},
        {"steps": (70, 0, 25, 25, 25)},
        {"radii": (1.0,)},
        {"radii": (1.0, 1.0, 1.0, 1.0, 0.0)},
        {"truncation": 2.0},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        IFGMI(**values)
