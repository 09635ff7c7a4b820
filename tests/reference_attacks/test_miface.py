"""MIFace on linear models and a small network, where what it must find is known."""

import pytest
import torch
from torch import nn

from reference_attacks.inversion import miface
from reference_attacks.inversion.miface import MIFace, invert

SHAPE = (1, 4, 4)
N_CLASSES = 4


def linear_model(scale=6.0, bias=0.0):
    """Class c looks at quarter c of the image: its best image is that quarter white and the rest black."""
    weight = torch.zeros(N_CLASSES, 16)
    for c in range(N_CLASSES):
        weight[c, 4 * c : 4 * c + 4] = scale
    return lambda images: images.flatten(1) @ weight.T + bias


def network(seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, N_CLASSES)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return lambda images: model(images.double())


@pytest.mark.parametrize("logits", [linear_model(), network()], ids=["linear", "network"])
def test_every_class_reaches_the_threshold(logits):
    result = invert(logits=logits, classes=range(N_CLASSES), image_shape=SHAPE)
    assert result.images.shape == (N_CLASSES, *SHAPE)
    assert result.images.dtype == torch.float32
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert (result.confidence >= 0.99).all()
    shown = logits(result.images).double().softmax(dim=1).diagonal()
    torch.testing.assert_close(result.confidence, shown, rtol=1e-6, atol=0.0)


def test_the_image_is_what_the_class_looks_at():
    result = invert(logits=linear_model(), classes=[2], image_shape=SHAPE)
    quarters = result.images[0].flatten().reshape(4, 4).mean(dim=1)
    assert quarters.argmax() == 2
    assert quarters[[0, 1, 3]].max() == 0


def test_starts_where_the_gradient_of_the_papers_cost_has_vanished():
    bias = torch.tensor([0.0, 0.0, 0.0, 45.0])
    logits = linear_model(scale=15.0, bias=bias)
    blank = torch.zeros((1, *SHAPE), requires_grad=True)
    p = logits(blank).softmax(dim=1)[0, 1]
    (gradient,) = torch.autograd.grad(1 - p, blank)
    assert gradient.abs().max() < 1e-17
    assert invert(logits=logits, classes=[1], image_shape=SHAPE).confidence[0] >= 0.99


def test_the_order_of_the_classes_is_the_order_of_the_images():
    forward = invert(logits=network(), classes=[0, 1, 2, 3], image_shape=SHAPE)
    backward = invert(logits=network(), classes=[3, 2, 1, 0], image_shape=SHAPE)
    torch.testing.assert_close(forward.images, backward.images.flip(0))
    torch.testing.assert_close(forward.iterations, backward.iterations.flip(0))


def test_a_batch_is_as_good_as_single_runs():
    batch = invert(logits=network(), classes=range(N_CLASSES), image_shape=SHAPE)
    singles = [invert(logits=network(), classes=[c], image_shape=SHAPE) for c in range(N_CLASSES)]
    torch.testing.assert_close(batch.images, torch.cat([single.images for single in singles]))
    torch.testing.assert_close(batch.confidence, torch.cat([single.confidence for single in singles]))
    assert batch.iterations.tolist() == [int(single.iterations) for single in singles]
    assert batch.queries == sum(single.queries for single in singles)
    assert len(set(batch.iterations.tolist())) > 1


def test_counts_every_image_that_the_model_saw():
    seen = []
    logits = network()

    def counting(images):
        seen.append(len(images))
        return logits(images)

    result = invert(logits=counting, classes=range(N_CLASSES), image_shape=SHAPE)
    assert result.queries == sum(seen)
    assert result.queries == int(result.iterations.sum()) + N_CLASSES


def test_a_class_gives_up_when_nothing_improves():
    result = invert(
        logits=lambda images: images.flatten(1)[:, :2] * 0.0,
        classes=[0, 1],
        image_shape=SHAPE,
        settings=MIFace(patience=5),
    )
    assert result.iterations.tolist() == [5, 5]
    torch.testing.assert_close(result.confidence, torch.full((2,), 0.5, dtype=torch.float64))
    assert not result.images.any()


def test_the_best_image_is_kept_and_not_the_last():
    # The confidence peaks at a mean brightness of 0.5 +- 0.05, and steps of 0.2 go past it.
    def peaked(images):
        brightness = images.mean(dim=(1, 2, 3))
        return torch.stack([-40 * (brightness - 0.5).square(), torch.zeros_like(brightness)], dim=1)

    result = invert(
        logits=peaked,
        classes=[0],
        image_shape=SHAPE,
        start=torch.full(SHAPE, 0.05),
        settings=MIFace(step_size=0.2, patience=3),
    )
    assert result.iterations.item() == 5
    assert result.images.mean().item() == pytest.approx(0.45)
    torch.testing.assert_close(result.confidence, peaked(result.images).double().softmax(dim=1)[:, 0])


def test_stops_after_the_last_iteration():
    result = invert(
        logits=linear_model(), classes=[0, 1], image_shape=SHAPE, settings=MIFace(step_size=1e-4, max_iterations=7)
    )
    assert result.iterations.tolist() == [7, 7]
    assert result.queries == 16


def test_a_start_that_is_good_enough_is_returned_as_it_is():
    start = torch.zeros(SHAPE)
    start[0, 1] = 1.0
    before = start.clone()
    result = invert(logits=linear_model(), classes=[1, 0], image_shape=SHAPE, start=start)
    assert result.iterations[0] == 0
    assert result.iterations[1] > 0
    torch.testing.assert_close(result.images[0], start)
    torch.testing.assert_close(start, before)


def test_a_step_has_the_length_that_was_asked_for():
    images = torch.full((2, *SHAPE), 0.5)
    gradient = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(0)) * 1e-20
    moved = miface._moved(images, gradient, 0.05)
    length = (moved - images).square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(length, torch.full((2,), 0.05), rtol=1e-4, atol=0.0)


def test_pixels_at_their_limit_take_no_part_in_the_length_of_a_step():
    images, gradient = torch.zeros((1, *SHAPE)), torch.full((1, *SHAPE), 100.0)
    gradient[0, 0, 0] = -0.001
    moved = miface._moved(images, gradient, 0.05)
    assert moved.square().mean().sqrt().item() == pytest.approx(0.05)
    assert not moved[0, 0, 1:].any()


def test_an_image_that_stops_the_search_is_the_one_that_is_kept():
    # The first step reaches the confidence at a total variation that costs more than the blank image did.
    settings = MIFace(step_size=1.0, tv_weight=5.0)
    result = invert(logits=linear_model(), classes=[2], image_shape=SHAPE, settings=settings)
    assert result.iterations.item() == 1
    assert result.confidence.item() >= 0.99


def test_total_variation_smooths():
    rough = network(seed=3)
    settings = MIFace(max_iterations=300, stop_cost=0.0)
    plain = invert(logits=rough, classes=range(N_CLASSES), image_shape=SHAPE, settings=settings)
    smooth_settings = MIFace(max_iterations=300, stop_cost=0.0, tv_weight=5.0)
    smooth = invert(logits=rough, classes=range(N_CLASSES), image_shape=SHAPE, settings=smooth_settings)
    assert miface._total_variation(smooth.images).sum() < 0.5 * miface._total_variation(plain.images).sum()


def test_total_variation_by_hand():
    image = torch.tensor([[[[0.0, 1.0], [0.0, 0.5]]]])
    torch.testing.assert_close(miface._total_variation(image), torch.tensor([(1.0 + 0.5 + 0.0 + 0.5) / 4]))


def test_leaves_the_model_without_gradients():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, N_CLASSES))
    with torch.no_grad():
        result = invert(logits=model, classes=[0], image_shape=SHAPE, settings=MIFace(max_iterations=3))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not result.images.requires_grad
    assert not result.confidence.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": []}, "classes must name at least one class"),
        ({"start": torch.zeros(1, 2, 2)}, "start must be an image"),
        ({"start": torch.full(SHAPE, 2.0)}, "start must be an image"),
        ({"logits": lambda images: linear_model()(images).detach()}, "logits must be differentiable"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        invert(**{"logits": linear_model(), "classes": [0], "image_shape": SHAPE, **change})


@pytest.mark.parametrize(
    "values",
    [
        {"step_size": 0.0},
        {"step_size": float("nan")},
        {"max_iterations": 0},
        {"patience": 0},
        {"stop_cost": 1.0},
        {"tv_weight": -1.0},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        MIFace(**values)
