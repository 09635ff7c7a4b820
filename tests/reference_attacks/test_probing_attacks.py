"""The attacks that ask a model about changed images, or look at its gradients, on tiny networks of our own."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate, shift
from scipy.stats import rankdata
from torch import nn
from torch.nn import functional as F

from reference_attacks.membership import boundary, gradient, label_only, merlin, morgan, noise_robustness, tail

SIDE, CLASSES = 8, 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def auc(scores, members):
    ranks = rankdata(scores)
    n_in, n_out = members.sum(), (~members).sum()
    return (ranks[members].sum() - n_in * (n_in + 1) / 2) / (n_in * n_out)


def make_module(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 12), nn.Tanh(), nn.Linear(12, CLASSES)).eval()


def make_images(n, seed=0):
    return torch.rand((n, 1, SIDE, SIDE), generator=generator(seed))


def make_labels(n, seed=0):
    return torch.randint(CLASSES, (n,), generator=generator(seed))


IMAGES, LABELS = make_images(3), make_labels(3)


def loss_of(module):
    return lambda images, labels: F.cross_entropy(module(images).double(), labels, reduction="none")


def label_of(module):
    return lambda images: module(images).argmax(dim=1)


@pytest.fixture(scope="module")
def memorised():
    """A network that has learnt 40 random labels by heart, with those records first and 40 others after them."""
    module, images, labels = make_module(1).train(), make_images(80, 2), make_labels(80, 3)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(module(images[:40]), labels[:40]).backward()
        optimizer.step()
    optimizer.zero_grad()
    return module.eval(), images, labels, np.arange(80) < 40


# Merlin


def test_merlin_is_its_naive_loop():
    module, images, labels = make_module(), make_images(7), make_labels(7)
    settings = merlin.Merlin(copies=9, sigma=0.05, batch_size=20)
    found = merlin.probe(loss=loss_of(module), inputs=images, labels=labels, settings=settings, generator=generator(5))

    noise, naive = generator(5), []
    for image, label in zip(images, labels, strict=True):
        before = loss_of(module)(image[None], label[None]).item()
        copies = (image + 0.05 * torch.randn((9, 1, SIDE, SIDE), generator=noise)).clamp(0, 1)
        naive.append(np.mean([loss_of(module)(copy[None], label[None]).item() > before for copy in copies]))
    np.testing.assert_allclose(found, naive, atol=1e-12)
    assert found.dtype == np.float64
    assert len(set(naive)) > 2


def test_merlin_sees_a_minimum_a_maximum_and_a_plain():
    inputs, labels = torch.full((3, 1, SIDE, SIDE), 0.5), torch.tensor([0, 1, 2])

    def loss(images, labels):
        return ((images - 0.5) ** 2).sum(dim=(1, 2, 3)) * torch.tensor([1.0, -1.0, 0.0])[labels]

    found = merlin.probe(loss=loss, inputs=inputs, labels=labels, generator=generator())
    np.testing.assert_array_equal(found, [1.0, 0.0, 0.0])


def test_merlin_is_a_coin_where_the_loss_is_linear():
    found = merlin.probe(
        loss=lambda images, labels: images.sum(dim=(1, 2, 3)),
        inputs=torch.full((30, 1, SIDE, SIDE), 0.5),
        labels=make_labels(30),
        generator=generator(),
    )
    assert found.mean() == pytest.approx(0.5, abs=0.04)
    assert found.std() == pytest.approx(0.05, abs=0.025)


def test_merlin_needs_a_loss_that_has_not_rounded_to_0():
    def probabilities(images):
        margin = 30.0 - 40.0 * (images - 0.5).flatten(1).norm(dim=1)
        return torch.softmax(torch.stack([margin, torch.zeros_like(margin)], dim=1), dim=1).double()

    inputs, labels = torch.full((1, 1, SIDE, SIDE), 0.5), torch.tensor([0])
    ratios = [
        merlin.probe(loss=loss, inputs=inputs, labels=labels, generator=generator())[0]
        for loss in (
            lambda images, labels: -probabilities(images)[:, 0].log(),
            lambda images, labels: torch.log1p(probabilities(images)[:, 1] / probabilities(images)[:, 0]),
        )
    ]
    assert ratios == [0.0, 1.0]


def test_merlin_asks_about_images_only():
    seen = []

    def loss(images, labels):
        seen.append((float(images.min()), float(images.max())))
        return images.sum(dim=(1, 2, 3))

    black_and_white = (make_images(4) > 0.5).float()
    merlin.probe(loss=loss, inputs=black_and_white, labels=make_labels(4), generator=generator())
    assert min(low for low, _ in seen) == 0.0
    assert max(high for _, high in seen) == 1.0


def test_merlin_does_not_depend_on_the_batches():
    module, images, labels = make_module(), make_images(11), make_labels(11)
    found = [
        merlin.probe(
            loss=loss_of(module),
            inputs=images,
            labels=labels,
            settings=merlin.Merlin(copies=6, batch_size=batch_size),
            generator=generator(1),
        )
        for batch_size in (1, 6, 25, 1000)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_merlin_scores_by_the_ratio_then_by_the_loss():
    ratio = np.array([0.5, 0.5, 0.5, 0.51, 0.0, 1.0])
    losses = np.array([1e-3, 1e-17, 1e-18, 50.0, 0.0, 3.0])
    scores = merlin.score(merlin_ratio=ratio, loss=losses)
    np.testing.assert_array_equal(np.argsort(scores), [4, 0, 1, 2, 3, 5])
    np.testing.assert_array_equal(np.round(scores * 100) / 100, ratio)


# Morgan


def make_merlin_world(leak, seed, n=400, models=4):
    """Ratios that rise by `leak`, only inside a window of the loss; members have no smaller loss."""
    rng = np.random.default_rng(seed)

    def observe(trained_on):
        losses = rng.exponential(size=trained_on.shape)
        inside = (losses > 0.2) & (losses < 0.4)
        ratios = np.rint(100 * np.clip(rng.normal(0.5, 0.1, trained_on.shape) + leak * trained_on * inside, 0, 1)) / 100
        return losses, ratios

    members, shadow_membership = rng.random(n) < 0.5, rng.random((models, n)) < 0.5
    target_loss, target_ratio = observe(members)
    shadow_loss, shadow_ratio = observe(shadow_membership)
    arrays = {
        "target_loss": target_loss,
        "target_ratio": target_ratio,
        "shadow_loss": shadow_loss,
        "shadow_ratio": shadow_ratio,
        "shadow_membership": shadow_membership,
    }
    for array in arrays.values():
        array.flags.writeable = False
    return arrays, members


def shadows_of(arrays):
    return {name: array for name, array in arrays.items() if name.startswith("shadow")}


def naive_threshold(values, trained_on, fpr):
    """Scan all thresholds from the strictest, as the definition says."""
    best, best_advantage = np.inf, -1.0
    for t in sorted(set(values.ravel()), reverse=True):
        false_positive, true_positive = np.mean(values[~trained_on] >= t), np.mean(values[trained_on] >= t)
        if fpr is None and true_positive - false_positive > best_advantage:
            best, best_advantage = t, true_positive - false_positive
        if fpr is not None and false_positive <= fpr:
            best = t
    return best


@pytest.mark.parametrize("ratio_fpr", [None, 0.05, 0.0])
def test_morgan_chooses_its_thresholds_on_the_shadows(ratio_fpr):
    arrays, _ = make_merlin_world(0.2, seed=1, n=60, models=2)
    found = morgan.thresholds(**shadows_of(arrays), settings=morgan.Morgan(ratio_fpr=ratio_fpr))
    trained_on = arrays["shadow_membership"]
    assert found.low == -naive_threshold(-arrays["shadow_loss"], trained_on, 0.22)
    assert found.high == -naive_threshold(-arrays["shadow_loss"], trained_on, 0.30)
    assert found.ratio == naive_threshold(arrays["shadow_ratio"], trained_on, ratio_fpr)


def test_morgan_says_where_no_threshold_is_strict_enough():
    found = morgan.thresholds(
        shadow_loss=np.array([[1.0, 1.0, 2.0]]),
        shadow_ratio=np.array([[0.5, 0.5, 0.1]]),
        shadow_membership=np.array([[True, False, True]]),
        settings=morgan.Morgan(low_fpr=0.0, high_fpr=0.5, ratio_fpr=0.0),
    )
    assert found == morgan.Thresholds(low=-np.inf, high=-np.inf, ratio=np.inf)


def test_a_cut_of_the_morgan_score_is_the_decision_of_the_paper():
    arrays, _ = make_merlin_world(0.2, seed=2)
    chosen = morgan.thresholds(**shadows_of(arrays))
    losses, ratios = arrays["target_loss"], arrays["target_ratio"]
    decision = (losses >= chosen.low) & (losses <= chosen.high) & (ratios >= chosen.ratio)
    np.testing.assert_array_equal(morgan.score(**arrays) >= chosen.ratio - 0.5 / 100, decision)
    assert 0 < decision.sum() < len(decision)


def test_morgan_finds_at_the_top_what_merlin_dilutes():
    arrays, members = make_merlin_world(0.3, seed=3, n=3000)
    by_morgan = morgan.score(**arrays)
    by_merlin = merlin.score(merlin_ratio=arrays["target_ratio"], loss=arrays["target_loss"])
    inside = by_morgan > -0.9
    assert auc(by_morgan[inside], members[inside]) > auc(by_merlin, members) + 0.1


def test_morgan_finds_nothing_where_there_is_nothing():
    arrays, members = make_merlin_world(0.0, seed=4, n=4000)
    assert auc(morgan.score(**arrays), members) == pytest.approx(0.5, abs=0.035)


# Labels of moved copies


@pytest.mark.parametrize("distance", [0, 1, 2, 3])
def test_there_are_4_d_plus_1_shifts(distance):
    shifts = label_only._shifts(distance)
    assert len(set(shifts)) == len(shifts) == 4 * distance + 1
    assert shifts[0] == (0, 0)
    assert all(abs(down) + abs(across) == distance for down, across in shifts[1:])
    assert label_only.Augmentations(shift=distance, rotation=2).n_queries == 4 * distance + 5


@pytest.mark.parametrize(("down", "across"), [(0, 0), (1, 0), (-2, 1), (0, -3), (2, 2)])
def test_shifts_repeat_the_edge(down, across):
    images = make_images(3)
    expected = shift(images.numpy(), (0, 0, down, across), order=1, mode="nearest")
    np.testing.assert_allclose(label_only._shifted(images, down, across).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("degrees", [-30, -5, 10, 90])
def test_rotations_turn_in_pixels_also_where_the_sides_differ(degrees):
    image = torch.zeros(1, 1, 21, 31)
    image[0, 0, 7:14, 9:22] = torch.rand((7, 13), generator=generator())
    expected = rotate(image.numpy(), degrees, axes=(2, 3), reshape=False, order=1)
    np.testing.assert_allclose(label_only._rotated(image, degrees).numpy(), expected, atol=1e-4)


def test_label_probe_is_its_naive_loop():
    module, images, labels = make_module(), make_images(20), make_labels(20)
    settings = label_only.Augmentations(shift=1, rotation=1, batch_size=7)
    found = label_only.probe(predict=label_of(module), inputs=images, labels=labels, settings=settings)
    moved = [label_only._shifted(images, *by) for by in [(0, 0), (-1, 0), (0, -1), (0, 1), (1, 0)]]
    moved += [label_only._rotated(images, degrees) for degrees in (-1, 1)]
    expected = np.stack([(label_of(module)(copy) == labels).numpy() for copy in moved], axis=1)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.bool_
    assert 0 < found.mean() < 1


def test_label_probe_moves_with_the_records():
    module, images, labels = make_module(), make_images(20), make_labels(20)
    order = torch.randperm(20, generator=generator())
    found = label_only.probe(predict=label_of(module), inputs=images, labels=labels)
    moved = label_only.probe(predict=label_of(module), inputs=images[order], labels=labels[order])
    np.testing.assert_array_equal(moved, found[order.numpy()])


def make_bits(leak, seed, n=600, models=4, queries=5):
    """Right answers with a difficulty per record; trained on, `leak` more of them are right."""
    rng = np.random.default_rng(seed)
    easy = rng.uniform(0.2, 0.8, n)
    members = rng.permutation(n) < n // 2
    half = rng.random((models // 2, n)) < 0.5
    trained_on = np.concatenate([half, ~half])

    def answers(status):
        return rng.random((*status.shape, queries)) < (easy + leak * status)[..., None]

    arrays = {
        "target_correct": answers(members),
        "shadow_correct": answers(trained_on),
        "shadow_membership": trained_on,
    }
    for array in arrays.values():
        array.flags.writeable = False
    return arrays, members


def test_the_network_finds_a_planted_leak():
    arrays, members = make_bits(0.2, seed=1)
    assert auc(label_only.score(**arrays, rng=np.random.default_rng(0)), members) > 0.65


def test_the_network_finds_nothing_where_there_is_nothing():
    arrays, members = make_bits(0.0, seed=2, n=3000)
    assert auc(label_only.score(**arrays, rng=np.random.default_rng(0)), members) == pytest.approx(0.5, abs=0.035)


def test_the_network_learns_which_query_tells():
    rng = np.random.default_rng(3)
    members, trained_on = rng.random(500) < 0.5, rng.random((2, 500)) < 0.5

    def answers(status):
        bits = rng.random((*status.shape, 5)) < 0.5
        bits[..., 3] = rng.random(status.shape) < np.where(status, 0.2, 0.8)
        return bits

    scores = label_only.score(
        target_correct=answers(members),
        shadow_correct=answers(trained_on),
        shadow_membership=trained_on,
        settings=label_only.AttackNet(learning_rate=0.01),
        rng=np.random.default_rng(0),
    )
    assert auc(scores, members) > 0.75


def test_the_network_repeats_itself_and_moves_with_the_records():
    arrays, _ = make_bits(0.2, seed=4, n=100)
    scores = label_only.score(**arrays, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(scores, label_only.score(**arrays, rng=np.random.default_rng(0)))
    order = np.random.default_rng(1).permutation(100)
    moved = arrays | {"target_correct": arrays["target_correct"][order]}
    np.testing.assert_allclose(label_only.score(**moved, rng=np.random.default_rng(0)), scores[order], rtol=1e-9)


# Labels of noisy copies


def test_noise_robustness_is_its_naive_loop():
    module, images, labels = make_module(), make_images(12), make_labels(12)
    settings = noise_robustness.NoiseRobustness(samples=8, std=0.3, batch_size=20)
    found = noise_robustness.probe(
        predict=label_of(module), inputs=images, labels=labels, settings=settings, generator=generator(3)
    )
    noise, naive = generator(3), []
    for image, label in zip(images, labels, strict=True):
        if label_of(module)(image[None]) != label:
            naive.append(0.0)
            continue
        copies = (image + 0.3 * torch.randn((8, 1, SIDE, SIDE), generator=noise)).clamp(0, 1)
        naive.append(float((label_of(module)(copies) == label).double().mean()))
    np.testing.assert_allclose(found, naive, atol=1e-12)
    assert len(set(naive)) > 2


def test_noise_robustness_of_a_model_that_is_never_right_is_zero():
    images = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    found = noise_robustness.probe(
        predict=lambda batch: torch.ones(len(batch), dtype=torch.int64),
        inputs=images,
        labels=torch.zeros(4, dtype=torch.int64),
        generator=torch.Generator().manual_seed(0),
    )
    assert found.tolist() == [0.0] * 4


def test_noise_robustness_follows_the_normal_law_at_a_plane():
    weights = torch.zeros(SIDE * SIDE)
    weights[:4] = 0.5

    def predict(images):
        return (images.flatten(1) @ weights > 1.0 - 0.03).long()

    found = noise_robustness.probe(
        predict=predict,
        inputs=torch.full((1, 1, SIDE, SIDE), 0.5),
        labels=torch.tensor([1]),
        settings=noise_robustness.NoiseRobustness(samples=4000, std=0.03),
        generator=generator(),
    )
    assert found[0] == pytest.approx(0.8413, abs=0.02)


# The distance to the boundary


def plane(n, seed=0):
    """A plane through the cube, images near its centre on the side of label 1, and their true distances."""
    direction = torch.randn(SIDE * SIDE, generator=generator(seed))
    direction /= direction.norm()
    distances = torch.linspace(0.1, 0.6, n)
    centre = 0.5 + 0.02 * torch.randn((n, SIDE * SIDE), generator=generator(seed + 1))
    offset = 0.5 * direction.sum()
    on_plane = centre - ((centre @ direction) - offset)[:, None] * direction
    images = (on_plane + distances[:, None] * direction).view(n, 1, SIDE, SIDE)
    return (lambda images: (images.flatten(1) @ direction > offset).long()), images, distances.numpy()


@pytest.fixture(scope="module")
def measured():
    predict, images, distances = plane(8)
    labels = torch.ones(8, dtype=torch.int64)
    labels[5] = 0
    asked = []

    def counting(images):
        asked.append(len(images))
        return predict(images)

    return boundary.probe(predict=counting, inputs=images, labels=labels, generator=generator()), distances, sum(asked)


def test_the_boundary_of_a_linear_classifier_is_where_it_is(measured):
    found, distances, _ = measured
    right = np.arange(8) != 5
    ratios = found.distance[right] / distances[right]
    assert ratios.min() > 0.999
    assert ratios.max() < 1.12


def test_a_misclassified_record_has_distance_0_and_one_query(measured):
    found, _, _ = measured
    assert (found.distance[5], found.queries[5], found.censored.any()) == (0.0, 1, False)


def test_every_label_asked_for_is_counted(measured):
    found, _, asked = measured
    assert found.queries.sum() == asked
    assert 2_300 < found.queries[0] < 2_700


def test_more_iterations_never_leave_the_boundary_further_away():
    predict, images, _ = plane(4, seed=5)
    ones = torch.ones(4, dtype=torch.int64)
    found = [
        boundary.probe(
            predict=predict,
            inputs=images,
            labels=ones,
            settings=boundary.HopSkipJump(iterations=iterations),
            generator=generator(),
        ).distance
        for iterations in (0, 1, 3, 6)
    ]
    for fewer, more in pairwise(found):
        assert (more <= fewer).all()
    assert (found[-1] < 0.7 * found[0]).all()


def test_a_distance_does_not_depend_on_the_company_nor_on_the_batches():
    predict, images, _ = plane(4, seed=7)
    ones = torch.ones(4, dtype=torch.int64)

    def probe(n, batch_size):
        settings = boundary.HopSkipJump(iterations=2, batch_size=batch_size)
        return boundary.probe(
            predict=predict, inputs=images[:n], labels=ones[:n], settings=settings, generator=generator()
        )

    alone, together = probe(1, 512), probe(4, 64)
    assert alone.distance[0] == pytest.approx(together.distance[0], rel=1e-6)


def bright(images):
    """Noise, which is .5 on average, is never called bright."""
    return (images.mean(dim=(1, 2, 3)) > 0.8).long()


def test_a_class_that_noise_belongs_to_is_measured_from_given_starts():
    images, labels = torch.full((2, 1, SIDE, SIDE), 0.6), torch.zeros(2, dtype=torch.int64)
    lost = boundary.probe(predict=bright, inputs=images, labels=labels, generator=generator())
    np.testing.assert_array_equal(lost.censored, [True, True])
    np.testing.assert_array_equal(lost.distance, [SIDE, SIDE])

    starts = torch.stack([torch.zeros(1, SIDE, SIDE), torch.ones(1, SIDE, SIDE)])
    found = boundary.probe(predict=bright, inputs=images, labels=labels, generator=generator(), starts=starts)
    assert not found.censored.any()
    np.testing.assert_allclose(found.distance, 0.2 * SIDE, rtol=0.02)


def test_the_nearest_start_of_another_label_is_taken():
    striped = torch.full((1, SIDE, SIDE), 0.7)
    striped[:, ::2] = 1.0
    near_but_of_the_same_label = torch.full((1, SIDE, SIDE), 0.61)
    starts = torch.stack([striped, near_but_of_the_same_label, torch.full((1, SIDE, SIDE), 0.85)])
    found = boundary.probe(
        predict=bright,
        inputs=torch.full((1, 1, SIDE, SIDE), 0.6),
        labels=torch.zeros(1, dtype=torch.int64),
        settings=boundary.HopSkipJump(iterations=0),
        generator=generator(),
        starts=starts,
    )
    np.testing.assert_allclose(found.distance, 0.2 * SIDE, rtol=0.002)


@pytest.mark.parametrize("offset", [-0.03, 0.0, 0.04, 10.0, -10.0])
def test_the_normal_is_its_naive_formula_also_off_the_boundary(offset):
    weights = torch.randn(SIDE * SIDE, generator=generator(1))

    def predict(images):
        return ((images - IMAGES[:1]).flatten(1) @ weights > offset).long()

    search = boundary._Search(predict, IMAGES[:1], torch.zeros(1, dtype=torch.int64), 512)
    found = search.normal(IMAGES[0], 0, 30, 0.1, generator(2))

    drawn = torch.randn((30, 1, SIDE, SIDE), generator=generator(2)).double()
    directions, votes = [], []
    for direction in drawn:
        image = (IMAGES[0] + 0.1 * direction / direction.square().sum().sqrt()).clamp(0, 1)
        directions.append(((image - IMAGES[0]) / 0.1).numpy())
        votes.append(1.0 if predict(image[None].float()) == 1 else -1.0)
    assert (len(set(votes)) == 1) == (abs(offset) > 1)
    centre = np.mean(votes) if abs(offset) < 1 else 0.0
    naive = sum((vote - centre) * direction for vote, direction in zip(votes, directions, strict=True))
    np.testing.assert_allclose(found.numpy(), naive / np.sqrt((naive**2).sum()), atol=1e-5)


def test_a_step_is_halved_until_it_lands_on_the_other_side():
    def in_a_slab(images):
        return ((images[:, 0, 0, 0] > 0.5) & (images[:, 0, 0, 0] < 0.6)).long()

    points, normal = torch.full((2, 1, SIDE, SIDE), 0.51), torch.zeros(2, 1, SIDE, SIDE)
    normal[:, 0, 0, 0] = 1.0
    search = boundary._Search(in_a_slab, torch.zeros_like(points), torch.zeros(2, dtype=torch.int64), 512)
    moved = search.step(points, normal, torch.arange(2), torch.tensor([0.4, 0.08], dtype=torch.float64))
    np.testing.assert_allclose(moved[:, 0, 0, 0].numpy(), [0.56, 0.59], atol=1e-6)
    np.testing.assert_array_equal(search.queries.numpy(), [4, 1])


# The gradient


def naive_norms(module, images, labels):
    rows = []
    for image, label in zip(images, labels, strict=True):
        module.zero_grad()
        F.cross_entropy(module(image[None]).double(), label[None]).backward()
        of = {name: float(parameter.grad.double().square().sum()) for name, parameter in module.named_parameters()}
        layers = [of["3.weight"] + of["3.bias"], of["1.weight"] + of["1.bias"]]
        rows.append(np.sqrt([*layers, sum(layers)]))
    module.zero_grad()
    return np.array(rows)


@pytest.mark.parametrize("method", ["auto", "vmap", "loop"])
def test_gradient_norms_are_those_of_single_backward_passes(method):
    module, images, labels = make_module(), make_images(11), make_labels(11)
    settings = gradient.GradientNorm(last_layers=2, method=method, batch_size=4)
    found = gradient.probe(module=module, inputs=images, labels=labels, settings=settings)
    np.testing.assert_allclose(found, naive_norms(module, images, labels), rtol=1e-6)
    assert gradient.layer_names(module=module, settings=settings) == ("3", "1", "all")


class Branching(nn.Module):
    """Looks at a value to decide what to do, which vmap refuses."""

    def __init__(self):
        super().__init__()
        self.inner = make_module()

    def forward(self, images):
        logits = self.inner(images)
        return logits if float(logits.detach().sum()) > 1e9 else 2.0 * logits


def test_a_model_that_vmap_cannot_take_is_looped_over():
    module, images, labels = Branching().eval(), make_images(5), make_labels(5)
    by_loop = gradient.probe(
        module=module, inputs=images, labels=labels, settings=gradient.GradientNorm(method="loop", batch_size=2)
    )
    by_auto = gradient.probe(module=module, inputs=images, labels=labels, settings=gradient.GradientNorm(batch_size=2))
    np.testing.assert_array_equal(by_auto, by_loop)
    with pytest.raises(RuntimeError):
        gradient.probe(
            module=module, inputs=images, labels=labels, settings=gradient.GradientNorm(method="vmap", batch_size=2)
        )


def test_batch_norm_in_eval_mode_is_one_layer_among_others():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, CLASSES)).eval()
    images, labels = make_images(5), make_labels(5)
    norms = {
        method: gradient.probe(
            module=module,
            inputs=images,
            labels=labels,
            settings=gradient.GradientNorm(last_layers=3, method=method),
        )
        for method in ("vmap", "loop")
    }
    np.testing.assert_allclose(norms["vmap"], norms["loop"], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt((norms["loop"][:, :3] ** 2).sum(axis=1)), norms["loop"][:, 3], rtol=1e-9)


def test_the_module_keeps_its_parameters_its_gradients_and_its_mode():
    module, images, labels = make_module(), make_images(4), make_labels(4)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    gradient.probe(module=module, inputs=images, labels=labels)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())


def make_norm_world(leak, seed, n=500, models=4):
    """Log-losses and log-norms; only the norms of the last layer know about membership."""
    rng = np.random.default_rng(seed)
    members = rng.permutation(n) < n // 2
    half = rng.random((models // 2, n)) < 0.5
    trained_on = np.concatenate([half, ~half])

    def observe(status):
        norms = rng.normal(size=(*status.shape, 2))
        norms[..., 0] -= leak * status
        return np.exp(rng.normal(size=status.shape)), np.exp(norms)

    target_loss, target_norms = observe(members)
    shadow_loss, shadow_norms = observe(trained_on)
    arrays = {
        "target_loss": target_loss,
        "target_norms": target_norms,
        "shadow_loss": shadow_loss,
        "shadow_norms": shadow_norms,
        "shadow_membership": trained_on,
    }
    for array in arrays.values():
        array.flags.writeable = False
    return arrays, members


def test_the_combination_learns_which_layer_tells():
    arrays, members = make_norm_world(1.5, seed=1)
    assert auc(gradient.combined(**arrays), members) > 0.8
    assert auc(-arrays["target_norms"][:, -1], members) == pytest.approx(0.5, abs=0.08)


def test_the_combination_finds_nothing_where_there_is_nothing():
    arrays, members = make_norm_world(0.0, seed=2, n=3000)
    assert auc(gradient.combined(**arrays), members) == pytest.approx(0.5, abs=0.035)


def test_the_combination_moves_with_the_records():
    arrays, _ = make_norm_world(1.0, seed=3, n=80)
    order = np.random.default_rng(1).permutation(80)
    moved = {name: array[order] if name.startswith("target") else array[:, order] for name, array in arrays.items()}
    np.testing.assert_allclose(gradient.combined(**moved), gradient.combined(**arrays)[order], rtol=1e-4, atol=1e-6)


# The tail


def test_the_tail_is_its_naive_definition():
    rng = np.random.default_rng(1)
    losses, members = np.round(rng.exponential(size=400), 2), rng.random(400) < 0.6
    for found in tail.estimate(target_loss=losses, membership=members):
        allowed = found.false_negative_rate * members.sum()
        kept = [t for t in losses[members] if (losses[members] > t).sum() <= allowed]
        assert found.threshold == min(kept)
        assert found.missed_members == (losses[members] > min(kept)).sum() <= allowed
        assert found.rejected_non_members == (losses[~members] > min(kept)).sum()
        assert (found.members, found.non_members) == (members.sum(), (~members).sum())
        assert found.true_negative_rate == found.rejected_non_members / found.non_members


def test_the_tail_counts_exactly_without_ties():
    losses = np.arange(200, dtype=float)
    members = np.arange(200) < 100
    settings = tail.Tail(false_negative_rates=(0.001, 0.29))
    none, many = tail.estimate(target_loss=losses, membership=members, settings=settings)
    assert (none.missed_members, none.threshold, none.true_negative_rate) == (0, 99.0, 1.0)
    assert (many.missed_members, many.threshold) == (29, 70.0)


def test_a_loss_at_the_threshold_is_called_a_member():
    losses, members = np.array([1.0, 1.0, 3.0, 1.0, 2.0, 3.0, 4.0]), np.array([True] * 3 + [False] * 4)
    (found,) = tail.estimate(target_loss=losses, membership=members, settings=tail.Tail(false_negative_rates=(0.01,)))
    assert (found.threshold, found.missed_members, found.rejected_non_members) == (3.0, 0, 1)


def test_without_a_leak_the_tail_holds_as_many_non_members_as_members():
    rng = np.random.default_rng(2)
    low, high = tail.estimate(target_loss=rng.exponential(size=20_000), membership=rng.random(20_000) < 0.5)
    assert low.true_negative_rate == pytest.approx(0.01, abs=0.004)
    assert high.true_negative_rate == pytest.approx(0.05, abs=0.008)


# What holds for all of them


def probe_merlin(module, images, labels):
    losses = loss_of(module)(images, labels).detach().numpy()
    # A network this small is all but linear within the default of .01, and Merlin sees only curvature.
    settings = merlin.Merlin(sigma=0.1)
    ratio = merlin.probe(loss=loss_of(module), inputs=images, labels=labels, settings=settings, generator=generator())
    return merlin.score(merlin_ratio=ratio, loss=losses)


def probe_labels(module, images, labels):
    return label_only.probe(predict=label_of(module), inputs=images, labels=labels).mean(axis=1)


def probe_noise(module, images, labels):
    settings = noise_robustness.NoiseRobustness(samples=50, std=0.1)
    return noise_robustness.probe(
        predict=label_of(module), inputs=images, labels=labels, settings=settings, generator=generator()
    )


def probe_boundary(module, images, labels):
    settings = boundary.HopSkipJump(iterations=1, first_directions=50)
    return boundary.probe(
        predict=label_of(module), inputs=images, labels=labels, settings=settings, generator=generator(), starts=images
    ).distance


def probe_gradient(module, images, labels):
    return -gradient.probe(module=module, inputs=images, labels=labels)[:, -1]


PROBES = [probe_merlin, probe_labels, probe_noise, probe_boundary, probe_gradient]
every_probe = pytest.mark.parametrize("attack", PROBES)


@every_probe
def test_finds_what_a_network_knows_by_heart(attack, memorised):
    module, images, labels, members = memorised
    scores = attack(module, images, labels)
    assert scores.shape == (80,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert auc(scores, members) > 0.7


@every_probe
def test_finds_nothing_in_an_untrained_network(attack):
    images, labels = make_images(400, 11), make_labels(400, 12)
    members = np.random.default_rng(13).random(400) < 0.5
    assert auc(attack(make_module(4), images, labels), members) == pytest.approx(0.5, abs=0.09)


@every_probe
def test_repeats_itself_and_leaves_its_inputs_alone(attack):
    module, images, labels = make_module(), make_images(6), make_labels(6)
    kept = images.clone(), labels.clone()
    first = attack(module, images, labels)
    np.testing.assert_array_equal(attack(module, images, labels), first)
    assert torch.equal(images, kept[0])
    assert torch.equal(labels, kept[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: merlin.probe(
                loss=loss_of(make_module()), inputs=IMAGES, labels=LABELS.float(), generator=generator()
            ),
            "labels must be 3 integers",
        ),
        (lambda: probe_labels(make_module(), IMAGES, LABELS[:2]), "labels must be 3 integers"),
        (lambda: probe_labels(make_module(), IMAGES * 255, LABELS), r"inputs must be float in 0\.\.1"),
        (lambda: probe_noise(make_module(), IMAGES[0], LABELS), r"inputs must be images \[record, channel"),
        (lambda: probe_gradient(make_module().train(), IMAGES, LABELS), "module must be in eval mode"),
        (
            lambda: label_only.probe(predict=make_module(), inputs=IMAGES, labels=LABELS),
            "one answer per image",
        ),
        (
            lambda: merlin.probe(
                loss=lambda images, labels: labels / 0.0, inputs=IMAGES, labels=LABELS, generator=generator()
            ),
            "answers that are not finite",
        ),
        (
            lambda: boundary.probe(
                predict=lambda images: torch.zeros(len(images)).long(),
                inputs=IMAGES,
                labels=torch.zeros(3).long(),
                generator=generator(),
                starts=torch.zeros(1, 1, 4, 4),
            ),
            "are not of the shape of inputs",
        ),
        (
            lambda: merlin.score(merlin_ratio=np.array([0.125]), loss=np.array([1.0])),
            "does not come from 100 copies",
        ),
        (lambda: merlin.score(merlin_ratio=np.array([0.5]), loss=np.array([-1.0])), "loss must not be negative"),
        (lambda: merlin.score(merlin_ratio=np.array([0.5]), loss=np.ones(2)), "does not fit merlin_ratio"),
        (
            lambda: morgan.thresholds(
                shadow_loss=np.ones((1, 2)), shadow_ratio=np.ones((1, 2)), shadow_membership=np.ones((1, 2), dtype=bool)
            ),
            "must hold members and non-members",
        ),
        (
            lambda: label_only.score(
                target_correct=np.ones((2, 5)),
                shadow_correct=np.ones((1, 2, 5), dtype=bool),
                shadow_membership=np.ones((1, 2), dtype=bool),
                rng=np.random.default_rng(0),
            ),
            "target_correct must be boolean",
        ),
        (
            lambda: gradient.layer_names(module=make_module(), settings=gradient.GradientNorm(last_layers=3)),
            "module has 2 layers",
        ),
        (
            lambda: tail.estimate(target_loss=np.ones(3), membership=np.ones(3, dtype=bool)),
            "must hold members and non-members",
        ),
        (lambda: merlin.Merlin(copies=0), "copies must be at least 1"),
        (lambda: merlin.Merlin(sigma=0.0), "sigma must be positive"),
        (lambda: morgan.Morgan(low_fpr=0.4), "low_fpr <= high_fpr"),
        (lambda: label_only.Augmentations(shift=-1), "shift must be at least 0"),
        (lambda: label_only.AttackNet(hidden=()), "hidden must name"),
        (lambda: noise_robustness.NoiseRobustness(std=-1.0), "std must be positive"),
        (lambda: boundary.HopSkipJump(first_directions=0), "first_directions must be at least 1"),
        (lambda: gradient.GradientNorm(method="fast"), "method must be"),
        (lambda: tail.Tail(false_negative_rates=(1.0,)), "false_negative_rates must lie between"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
