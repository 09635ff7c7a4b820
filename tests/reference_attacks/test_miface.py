"""MIFace on linear models and a small network, where what it must find is known."""

import math

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
    assert result.images.shape == (N_CLASSES, 1, *SHAPE)
    assert result.images.dtype == torch.float32
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert (result.confidence >= 0.99).all()
    shown = logits(result.images[:, 0]).double().softmax(dim=1).diagonal()
    torch.testing.assert_close(result.confidence[:, 0], shown, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("logits", [linear_model(), network()], ids=["linear", "network"])
@pytest.mark.parametrize("aim", [0.6, 0.88])
def test_every_class_reaches_its_aim_from_below_and_from_beyond(logits, aim):
    settings = MIFace(aim=aim, step_size=0.005)
    beyond = invert(logits=logits, classes=range(N_CLASSES), image_shape=SHAPE).images[:, 0]
    for start in (None, beyond):
        result = invert(logits=logits, classes=range(N_CLASSES), image_shape=SHAPE, start=start, settings=settings)
        assert (result.confidence - aim).abs().max() <= settings.stop_cost


def test_the_cost_of_an_aim_is_least_there_and_the_squared_distance_of_the_logarithms():
    p = torch.tensor([[0.3, 0.7], [0.88, 0.12], [0.995, 0.005]], dtype=torch.float64)
    nothing = torch.zeros((3, 1, 1, 1))
    climb = miface._Climb.begin(nothing, torch.zeros(3, dtype=torch.int64))
    given = lambda images: p.log() + 0.0 * images.flatten(1).double()  # noqa: E731
    seen = miface._look(given, climb, (), MIFace(aim=0.88))
    torch.testing.assert_close(seen.cost, (p[:, 0].log() - math.log(0.88)).square(), rtol=0, atol=1e-12)
    assert seen.done.tolist() == [False, True, False]
    assert miface._look(given, climb, (), MIFace()).done.tolist() == [False, False, True]


def test_below_the_aim_the_path_is_that_of_the_papers_cost():
    plain, aimed = (
        invert(logits=linear_model(scale=2.0), classes=range(N_CLASSES), image_shape=SHAPE, settings=settings)
        for settings in (MIFace(max_iterations=3), MIFace(aim=0.98, max_iterations=3))
    )
    assert 0.3 < plain.confidence.max() < 0.98
    torch.testing.assert_close(plain.images, aimed.images)


def test_the_image_is_what_the_class_looks_at():
    result = invert(logits=linear_model(), classes=[2], image_shape=SHAPE)
    quarters = result.images[0, 0].flatten().reshape(4, 4).mean(dim=1)
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
    torch.testing.assert_close(forward.queries, backward.queries.flip(0))


def test_a_batch_is_as_good_as_single_runs():
    batch = invert(logits=network(), classes=range(N_CLASSES), image_shape=SHAPE)
    singles = [invert(logits=network(), classes=[c], image_shape=SHAPE) for c in range(N_CLASSES)]
    torch.testing.assert_close(batch.images, torch.cat([single.images for single in singles]))
    torch.testing.assert_close(batch.confidence, torch.cat([single.confidence for single in singles]))
    assert batch.queries.tolist() == [int(single.queries) for single in singles]
    assert len(set(batch.queries.tolist())) > 1


def test_counts_every_image_that_the_model_saw():
    seen = []
    logits = network()

    def counting(images):
        seen.append(len(images))
        return logits(images)

    result = invert(logits=counting, classes=range(N_CLASSES), image_shape=SHAPE)
    assert int(result.queries.sum()) == sum(seen)
    assert seen[0] == N_CLASSES
    assert len(seen) == result.queries.max()


def test_a_class_gives_up_when_nothing_improves():
    result = invert(
        logits=lambda images: images.flatten(1)[:, :2] * 0.0,
        classes=[0, 1],
        image_shape=SHAPE,
        settings=MIFace(patience=5),
    )
    assert result.queries.tolist() == [6, 6]
    torch.testing.assert_close(result.confidence, torch.full((2, 1), 0.5, dtype=torch.float64))
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
    assert result.queries.item() == 6
    assert result.images.mean().item() == pytest.approx(0.45)
    torch.testing.assert_close(result.confidence, peaked(result.images[:, 0]).double().softmax(dim=1)[:, :1])


def test_stops_after_the_last_iteration():
    result = invert(
        logits=linear_model(), classes=[0, 1], image_shape=SHAPE, settings=MIFace(step_size=1e-4, max_iterations=7)
    )
    assert result.queries.tolist() == [8, 8]


def test_a_start_that_is_good_enough_is_returned_as_it_is():
    start = torch.zeros(SHAPE)
    start[0, 1] = 1.0
    before = start.clone()
    result = invert(logits=linear_model(), classes=[1, 0], image_shape=SHAPE, start=start)
    assert result.queries[0] == 1
    assert result.queries[1] > 1
    torch.testing.assert_close(result.images[0, 0], start)
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
    assert result.queries.item() == 2
    assert result.confidence.item() >= 0.99


def test_total_variation_smooths():
    rough = network(seed=3)
    settings = MIFace(max_iterations=300, stop_cost=0.0)
    plain = invert(logits=rough, classes=range(N_CLASSES), image_shape=SHAPE, settings=settings)
    smooth_settings = MIFace(max_iterations=300, stop_cost=0.0, tv_weight=5.0)
    smooth = invert(logits=rough, classes=range(N_CLASSES), image_shape=SHAPE, settings=smooth_settings)
    rough_images, smooth_images = plain.images[:, 0], smooth.images[:, 0]
    assert miface._total_variation(smooth_images).sum() < 0.5 * miface._total_variation(rough_images).sum()


def test_total_variation_by_hand():
    image = torch.tensor([[[[0.0, 1.0], [0.0, 0.5]]]])
    torch.testing.assert_close(miface._total_variation(image), torch.tensor([(1.0 + 0.5 + 0.0 + 0.5) / 4]))


def test_the_l2_prior_stays_near_the_first_image():
    def changed(weight):
        settings = MIFace(max_iterations=100, stop_cost=0.0, l2_weight=weight)
        start = torch.full(SHAPE, 0.3)
        result = invert(logits=network(), classes=range(N_CLASSES), image_shape=SHAPE, start=start, settings=settings)
        return (result.images - start).square().mean().item()

    free, tied, pinned = changed(0.0), changed(20.0), changed(1e6)
    assert pinned < 1e-12
    assert 1e-6 < tied < 0.5 * free


def test_a_class_starts_from_an_image_of_its_own():
    starts = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    together = invert(logits=network(), classes=[1, 2], image_shape=SHAPE, start=starts)
    for place, c in enumerate((1, 2)):
        alone = invert(logits=network(), classes=[c], image_shape=SHAPE, start=starts[place])
        torch.testing.assert_close(together.images[place], alone.images[0])
    other_way_round = invert(logits=network(), classes=[1, 2], image_shape=SHAPE, start=starts.flip(0))
    assert not torch.equal(together.images, other_way_round.images)


def shifted_by_hand(image, down, right):
    moved = torch.zeros_like(image)
    height, width = image.shape[1:]
    for row in range(height):
        for column in range(width):
            from_row, from_column = min(max(row - down, 0), height - 1), min(max(column - right, 0), width - 1)
            moved[:, row, column] = image[:, from_row, from_column]
    return moved


def test_a_shifted_copy_repeats_the_border():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    shifts = [(1, -2), (0, 0), (-3, 1)]
    for copies, shift in zip(miface._moved_copies(images, shifts), shifts, strict=True):
        by_hand = torch.stack([shifted_by_hand(image, *shift) for image in images])
        torch.testing.assert_close(copies, by_hand, rtol=0.0, atol=0.0)


def test_shifts_are_averaged_over_the_step():
    logits, shifts = network(), [(1, 0), (0, -1)]
    images = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    views = [images[0], *(shifted_by_hand(images[0], *shift) for shift in shifts)]
    log_p = torch.stack([logits(view[None]).log_softmax(dim=1)[0, 2] for view in views])
    (gradient,) = torch.autograd.grad(-log_p.mean(), images)

    mean_p = log_p.exp().mean().item()
    for stop_cost, done in ((1.0 - mean_p + 1e-6, True), (1.0 - mean_p - 1e-6, False)):
        settings = MIFace(max_shift=1, shifted_views=2, stop_cost=stop_cost)
        climb = miface._Climb.begin(images.detach(), torch.tensor([2]))
        seen = miface._look(logits, climb, shifts, settings)
        assert seen.done.item() is done
    torch.testing.assert_close(seen.gradient, gradient)
    assert seen.cost.item() == pytest.approx(-log_p.mean().item())
    assert seen.confidence.item() == pytest.approx(log_p[0].exp().item())


def test_shifts_are_drawn_up_to_the_largest_in_all_directions():
    settings, rng = MIFace(max_shift=2, shifted_views=200), torch.Generator().manual_seed(0)
    drawn = miface._shifts(settings, rng)
    assert len(drawn) == 200
    assert {down for down, _ in drawn} == {right for _, right in drawn} == {-2, -1, 0, 1, 2}


def test_a_shifted_class_does_not_depend_on_the_others():
    def run(classes, seed=0, **changes):
        settings = MIFace(max_shift=1, shifted_views=3, max_iterations=30, **changes)
        rng = torch.Generator().manual_seed(seed)
        return invert(logits=network(), classes=classes, image_shape=SHAPE, rng=rng, settings=settings)

    together = run([0, 1, 2])
    torch.testing.assert_close(run([2]).images[0], together.images[2])
    assert not torch.equal(run([2], seed=1).images[0], together.images[2])
    torch.testing.assert_close(run([0, 1, 2], batch_size=5).images, together.images)
    assert (together.queries % 4 == 0).all()


def test_at_most_a_batch_is_shown_at_once():
    seen = []
    logits = network()

    def counting(images):
        seen.append(len(images))
        return logits(images)

    result = invert(logits=counting, classes=[0, 1, 2], image_shape=SHAPE, settings=MIFace(batch_size=2))
    assert max(seen) == 2
    assert int(result.queries.sum()) == sum(seen)
    torch.testing.assert_close(result.images, invert(logits=logits, classes=[0, 1, 2], image_shape=SHAPE).images)


def test_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, N_CLASSES), nn.BatchNorm1d(N_CLASSES)).eval()
    before = [value.clone() for value in model.state_dict().values()]
    with torch.no_grad():
        result = invert(logits=model, classes=[0], image_shape=SHAPE, settings=MIFace(max_iterations=3))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(map(torch.equal, before, model.state_dict().values()))
    assert not model.training
    assert not result.images.requires_grad
    assert not result.confidence.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": []}, "classes must name at least one class"),
        ({"start": torch.zeros(1, 2, 2)}, "start must be an image"),
        ({"start": torch.full(SHAPE, 2.0)}, "start must be an image"),
        ({"start": torch.zeros(2, *SHAPE)}, "start must be an image"),
        ({"settings": MIFace(max_shift=1, shifted_views=1)}, "shifted_views needs an rng"),
        ({"logits": lambda images: linear_model()(images).detach()}, "logits must be differentiable"),
        (
            {"logits": lambda images: linear_model()(images).detach(), "settings": MIFace(l2_weight=1.0)},
            "logits must be differentiable",
        ),
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
        {"aim": 0.0},
        {"aim": 1.1},
        {"tv_weight": -1.0},
        {"l2_weight": float("inf")},
        {"batch_size": 0},
        {"max_shift": 1},
        {"shifted_views": 1},
        {"max_shift": -1, "shifted_views": 1},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        MIFace(**values)
