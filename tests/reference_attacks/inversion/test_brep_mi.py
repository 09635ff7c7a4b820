"""BREP-MI beside the released code's loop written out by hand, and in places whose boundaries are known."""

import copy
import math

import pytest
import torch
from torch import nn

from reference_attacks.inversion.brep_mi import BrepMI, invert

SHAPE = (1, 2, 2)
QUICK = BrepMI(patience=15, max_iterations=60, restarts=2, draw_batch=16, batch_size=50)


class Decoder:
    """Latents are images stretched from -2..2."""

    image_shape = SHAPE
    conditional = 0
    latent_size = 4

    def draw(self, count, rng):
        return torch.randn(count, 4, generator=rng)

    def images(self, latents, classes=None):
        return ((latents + 2.0) / 4.0).clamp(0.0, 1.0).unflatten(1, SHAPE)


class Told(Decoder):
    """Puts images of a class where that class is, in nine of ten cases."""

    conditional = 3

    def images(self, latents, classes=None):
        moved = latents.clone()
        moved[:, 0] = latents[:, 0].abs() * (1.0 - classes) - 0.1
        return super().images(moved)


def latents_of(images):
    return images.flatten(1) * 4.0 - 2.0


def halves(images):
    """Class 0 where the first latent is positive, else class 1; class 2 is nowhere."""
    return (latents_of(images)[:, 0] <= 0).long()


def wedge(images):
    """Three classes that meet along an edge."""
    z = latents_of(images)
    return torch.where(z[:, 0] > 0.2, torch.where(z[:, 1] > 0.0, 0, 1), 2)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def run(**changes):
    given = {"label_of": wedge, "classes": [0, 1, 2], "generator": Decoder(), "rng": rng(), "settings": QUICK}
    return invert(**{**given, **changes})


def counted(seen, label_of=wedge):
    def answer(images):
        assert not images.requires_grad
        assert images.min() >= 0
        assert images.max() <= 1
        seen.append(len(images))
        return label_of(images)

    return answer


def walk_by_hand(z, wanted, stream, settings):
    """The released loop, with the label of a latent asked for one at a time; what is kept, the radius, the rounds."""

    def phi(point):
        return 1.0 if wedge(Decoder().images(point[None])).item() == wanted else -1.0

    radius, iteration, last, kept, rounds = settings.first_radius, 0, 0, None, 0
    while iteration - last < settings.patience and rounds < settings.max_iterations:
        rounds += 1
        step = min(radius / 3.0, 3.0)
        drawn = torch.randn(settings.directions, 4, generator=stream)
        offsets = radius * drawn / drawn.square().sum(dim=1, keepdim=True).sqrt()
        votes = torch.tensor([phi(z + offset) for offset in offsets])
        grew = votes.sum().item() > 0.75 * settings.directions
        if grew:
            radius *= 1.3
            last = iteration
        gradient = (((votes - 1.0) / 2.0)[:, None] * offsets).mean(dim=0) / radius
        tried = (z + step * gradient).clamp(-1.5, 1.5)
        if phi(tried) < 0:
            continue
        z = tried
        if grew:
            kept = z
        else:
            iteration += 1
    return z if kept is None else kept, radius, rounds


def start_and_stream(wanted, seed, settings):
    """The first start of a class and the random numbers of its first walk, as `invert` draws them."""
    generator = rng(seed)
    base = int(torch.randint(2**31, (1,), generator=generator))
    seeds = torch.randint(2**31, (1 + settings.restarts,), generator=rng(base + wanted))
    while True:
        drawn = Decoder().draw(settings.draw_batch, generator).clamp(-1.5, 1.5)
        for z in drawn:
            if wedge(Decoder().images(z[None])).item() == wanted:
                return z, rng(int(seeds[1]))


@pytest.mark.parametrize("wanted", [0, 1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_walk_is_that_of_the_released_loop(wanted, seed):
    settings = BrepMI(patience=25, max_iterations=80, first_radius=0.3, draw_batch=16)
    start, stream = start_and_stream(wanted, seed, settings)
    kept, radius, rounds = walk_by_hand(start, wanted, stream, settings)
    assert radius > 0.3
    found = run(classes=[wanted], rng=rng(seed), settings=settings)
    torch.testing.assert_close(latents_of(found.images[0])[0], kept, rtol=0.0, atol=1e-5)
    assert found.queries.tolist() == [33 * rounds]


def test_walks_lead_away_from_the_boundary():
    settings = BrepMI(patience=40, max_iterations=400, first_radius=0.4, restarts=3)
    found = run(label_of=halves, classes=[0, 1], settings=settings)
    reached = latents_of(found.images.flatten(0, 1))[:, 0].view(2, 3)
    assert (reached[0] > 1.0).all()
    assert (reached[1] < -1.0).all()
    assert found.images.shape == (2, 3, *SHAPE)
    assert found.confidence is None


def test_it_stays_in_the_class_and_within_the_bound():
    found = run()
    for place in range(3):
        assert (wedge(found.images[place]) == place).all()
    assert latents_of(found.images.flatten(0, 1)).abs().max() <= 1.5 + 1e-5


def test_a_class_does_not_depend_on_the_others():
    together, alone = run(), run(classes=[1])
    torch.testing.assert_close(together.images[1], alone.images[0])
    assert together.queries[1] == alone.queries[0]
    reversed_ = run(classes=[2, 1, 0])
    torch.testing.assert_close(reversed_.images.flip(0), together.images)
    assert not torch.equal(together.images, run(rng=rng(1)).images)
    torch.testing.assert_close(run(settings=QUICK, rng=rng(0)).images, together.images, rtol=0.0, atol=0.0)


def test_counts_every_image_that_was_shown():
    seen = []
    found = run(label_of=counted(seen))
    assert int(found.queries.sum()) + found.shared_queries == sum(seen)
    assert (found.queries % 33 == 0).all()
    assert found.shared_queries % 16 == 0
    assert max(seen) <= QUICK.batch_size


def test_snapshots_are_what_fewer_rounds_would_have_given():
    found = run(settings=BrepMI(patience=1000, max_iterations=40, restarts=2, draw_batch=16))
    spent = [one.queries for one in found.snapshots]
    assert spent == sorted(set(spent))
    assert 5 <= len(spent) <= 8
    assert spent[-1] < found.queries.max()
    for one in found.snapshots[2:4]:
        rounds = one.queries // 66
        stopped = run(settings=BrepMI(patience=1000, max_iterations=rounds, restarts=2, draw_batch=16))
        torch.testing.assert_close(one.images, stopped.images)
        assert int(stopped.queries.max()) == one.queries


def test_the_restart_that_reached_the_largest_radius_comes_first():
    class NarrowFirst(Decoder):
        def draw(self, count, rng):
            return torch.tensor([[-1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])

    def slab_or_wide(images):
        first = latents_of(images)[:, 0]
        return ((first > 0.0) | ((first > -1.1) & (first < -0.9))).long()

    settings = BrepMI(patience=30, max_iterations=60, first_radius=0.05, restarts=2)
    found = run(label_of=slab_or_wide, classes=[1], generator=NarrowFirst(), settings=settings)
    assert latents_of(found.images[0])[0, 0] > 0.0
    assert -1.1 < latents_of(found.images[0])[1, 0] < -0.9


def test_a_class_without_a_start_hands_in_the_last_draw():
    seen = []
    settings = BrepMI(patience=5, max_iterations=20, restarts=2, draw_batch=16, max_draws=40)
    found = run(label_of=counted(seen, halves), classes=[2, 0], settings=settings)
    assert found.queries[0] == 0
    assert found.queries[1] > 0
    assert found.shared_queries == 40
    assert sum(seen) == 40 + int(found.queries.sum())
    assert (halves(found.images[0]) != 2).all()
    torch.testing.assert_close(found.images[0, 0], found.images[0, 1])
    assert (halves(found.images[1]) == 0).all()


def test_restarts_without_a_start_come_last():
    rare_row = Decoder().draw(16, start_generator()).clamp(-1.5, 1.5)[5]

    def rare(images):
        near = (latents_of(images) - rare_row).norm(dim=1) < 0.3
        return near.long()

    settings = BrepMI(patience=5, max_iterations=20, first_radius=0.05, restarts=3, draw_batch=16, max_draws=16)
    found = run(label_of=rare, classes=[1], settings=settings)
    assert rare(found.images[0]).tolist() == [1, 0, 0]
    assert found.queries.item() > 0


def start_generator():
    """The random numbers of `rng()` after the one that seeds the classes was drawn."""
    generator = rng()
    torch.randint(2**31, (1,), generator=generator)
    return generator


def test_a_generator_that_is_told_the_class_draws_for_each():
    seen, told = [], []

    class Listening(Told):
        def images(self, latents, classes=None):
            told.append(set(classes.tolist()))
            return super().images(latents, classes)

    settings = BrepMI(patience=5, max_iterations=20, draw_batch=16)
    found = run(label_of=counted(seen, halves), classes=[0, 1], generator=Listening(), settings=settings)
    assert found.shared_queries == 0
    assert int(found.queries.sum()) == sum(seen)
    assert told[0] == {0}
    assert {1} in told
    alone = run(label_of=halves, classes=[1], generator=Told(), settings=settings)
    torch.testing.assert_close(found.images[1], alone.images[0])


def test_a_walk_ends_although_every_move_is_refused():
    calls = []

    def refusing(images):
        """Inside at first; later single images are always outside, so that no move is taken."""
        calls.append(len(images))
        return torch.full((len(images),), int(len(images) == 1))

    found = run(label_of=refusing, classes=[0], settings=BrepMI(patience=3, max_iterations=7, draw_batch=16))
    assert found.queries.item() == 7 * 33


def test_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3)).eval()
    before = copy.deepcopy(model.state_dict())
    found = run(label_of=lambda images: model(images).argmax(dim=1))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert not found.images.requires_grad


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="classes must name at least one class"):
        run(classes=[])
    with pytest.raises(ValueError, match="one label for each"):
        run(label_of=lambda images: torch.zeros(len(images), 3))


@pytest.mark.parametrize(
    "values",
    [
        {"directions": 0},
        {"first_radius": 0.0},
        {"growth": 1.0},
        {"majority": 1.0},
        {"patience": 0},
        {"longest_step": math.nan},
        {"bound": -1.0},
        {"max_iterations": 0},
        {"restarts": 0},
        {"draw_batch": 0},
        {"max_draws": 0},
        {"batch_size": 0},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        BrepMI(**values)
