"""The genetic search beside its steps written out by hand, and on targets whose likeliest image is known."""

import copy
import math

import pytest
import torch
from torch import nn

from reference_attacks.inversion.genetic import Genetic, invert

SHAPE = (1, 2, 2)
QUICK = Genetic(draws=60, population=10, generations=12, enough=1.0, restarts=2, batch_size=7)


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
    """Brightens the pixel of its class."""

    conditional = 4

    def images(self, latents, classes=None):
        return super().images(latents + 0.5 * nn.functional.one_hot(classes, 4))


def latents_of(images):
    return images.flatten(1) * 4.0 - 2.0


def released(images):
    """Class c likes pixel c and dislikes the others."""
    return (6.0 * images.flatten(1)).softmax(dim=1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def run(**changes):
    given = {"released": released, "classes": [2, 0], "generator": Decoder(), "rng": rng(), "settings": QUICK}
    return invert(**{**given, **changes})


def counted(seen):
    def answer(images):
        assert not images.requires_grad
        assert images.min() >= 0
        assert images.max() <= 1
        seen.append(len(images))
        return released(images)

    return answer


def p_of(latents, wanted):
    return released(Decoder().images(latents)).double()[:, wanted]


def test_one_generation_is_that_of_a_plain_loop():
    wanted = 1
    settings = Genetic(draws=40, population=6, generations=1, enough=1.0, mutation_size=0.7, deviations=1.4)
    generator = rng()
    base = int(torch.randint(2**31, (1,), generator=generator))
    stream = rng(int(torch.randint(2**31, (2,), generator=rng(base + wanted))[1]))
    draws = Decoder().draw(40, generator)
    mean, deviation = draws.mean(dim=0), draws.std(dim=0, correction=0)
    ranked = sorted(draws, key=lambda z: -p_of(z[None], wanted).item())[:6]
    fitness = [p_of(z[None], wanted).item() for z in ranked]

    weights = torch.tensor(fitness, dtype=torch.float64)
    parents = torch.multinomial(weights, 10, replacement=True, generator=stream).tolist()
    mix, change, noise = torch.rand(3, 5, 4, generator=stream)
    herd = [ranked[0]]
    for child, (first, second) in enumerate(zip(parents[:5], parents[5:], strict=True)):
        entries = []
        for k in range(4):
            from_first = mix[child, k].item() < fitness[first] / (fitness[first] + fitness[second])
            entry = ranked[first if from_first else second][k].item()
            if change[child, k] < 0.1:
                entry += 0.7 * deviation[k].item() * (2.0 * noise[child, k].item() - 1.0)
            low, high = ((mean[k] + side * 1.4 * deviation[k]).item() for side in (-1, 1))
            entries.append(min(max(entry, low), high))
        herd.append(torch.tensor(entries))
    best = max(herd, key=lambda z: p_of(z[None], wanted).item())

    found = run(classes=[wanted], settings=settings)
    torch.testing.assert_close(latents_of(found.images[0])[0], best.clamp(-2.0, 2.0), rtol=0.0, atol=1e-5)
    assert found.confidence.item() == pytest.approx(p_of(best[None], wanted).item(), rel=1e-5)
    assert not any(torch.equal(best, z) for z in ranked)


def test_breeding_finds_what_no_draw_was():
    settings = Genetic(draws=100, population=50, generations=60, enough=1.0, deviations=2.0, mutation_size=0.5)
    found = run(settings=settings)
    draws = found.snapshots[0].images
    assert found.snapshots[0].queries == 0
    for place, wanted in enumerate([2, 0]):
        before = released(draws[place])[0, wanted].double()
        assert found.confidence[place, 0] > 0.5 + 0.5 * before
        own = latents_of(found.images[place])[0]
        assert own[wanted] > 1.5
        assert own[[k for k in range(4) if k != wanted]].max() < -1.4


def test_children_stay_within_the_spread_of_the_draws():
    settings = Genetic(draws=400, population=40, generations=40, enough=1.0, deviations=0.1, mutation_size=3.0)
    elite = latents_of(run(classes=[1], settings=settings).snapshots[0].images[0])[0]
    found = latents_of(run(classes=[1], settings=settings).images[0])[0]
    torch.testing.assert_close(found, elite, rtol=0.0, atol=0.0)


def test_the_confidence_is_that_of_the_images():
    found = run()
    assert found.images.shape == (2, 2, *SHAPE)
    assert found.confidence.dtype == torch.float64
    for place, wanted in enumerate([2, 0]):
        shown = released(found.images[place])[:, wanted].double()
        torch.testing.assert_close(found.confidence[place], shown, rtol=1e-5, atol=0.0)
    assert (found.confidence[:, 0] >= found.confidence[:, 1]).all()


def test_a_class_does_not_depend_on_the_others():
    together = run(classes=[3, 0, 1])
    torch.testing.assert_close(run(classes=[0]).images[0], together.images[1])
    torch.testing.assert_close(run(classes=[1, 0, 3]).images.flip(0), together.images)
    torch.testing.assert_close(run(classes=[3, 0, 1]).images, together.images, rtol=0.0, atol=0.0)
    assert not torch.equal(run(classes=[3, 0, 1], rng=rng(1)).images, together.images)


def test_counts_every_image_that_was_shown():
    seen = []
    found = run(released=counted(seen))
    assert found.shared_queries == 60
    assert found.queries.tolist() == [2 * 12 * 9] * 2
    assert int(found.queries.sum()) + found.shared_queries == sum(seen)
    assert max(seen) <= QUICK.batch_size


def test_who_is_sure_enough_is_left_alone():
    settings = Genetic(draws=60, population=10, generations=40, enough=0.6)
    found = run(settings=settings)
    assert (found.confidence >= 0.6).all()
    assert (found.queries < 40 * 9).all()
    assert run(settings=Genetic(draws=60, population=10, enough=0.0)).queries.tolist() == [0, 0]


def test_restarts_begin_with_different_draws():
    found = run(settings=Genetic(draws=60, population=10, generations=1, restarts=3, enough=0.0))
    draws = Decoder().draw(60, after_the_seed())
    for place, wanted in enumerate([2, 0]):
        likeliest = p_of(draws, wanted).sort(descending=True).values[:3]
        torch.testing.assert_close(found.confidence[place], likeliest)


def after_the_seed():
    """The random numbers of `rng()` after the one that seeds the classes was drawn."""
    generator = rng()
    torch.randint(2**31, (1,), generator=generator)
    return generator


def test_snapshots_are_what_fewer_generations_would_have_given():
    found = run(settings=Genetic(draws=60, population=10, generations=30, enough=1.0, restarts=2))
    spent = [one.queries for one in found.snapshots]
    assert spent == sorted(set(spent))
    assert 6 <= len(spent) <= 9
    assert spent[-1] < found.queries.max()
    for one in found.snapshots[2:5]:
        stopped = run(settings=Genetic(draws=60, population=10, generations=one.queries // 18, enough=1.0, restarts=2))
        torch.testing.assert_close(one.images, stopped.images)


def test_a_generator_that_is_told_the_class_draws_for_each():
    seen = []
    found = run(released=counted(seen), generator=Told())
    assert found.shared_queries == 0
    assert found.queries.tolist() == [60 + 2 * 12 * 9] * 2
    assert int(found.queries.sum()) == sum(seen)
    assert found.snapshots[0].queries == 60
    torch.testing.assert_close(run(classes=[0], generator=Told()).images[0], found.images[1])
    for place, wanted in enumerate([2, 0]):
        shown = released(found.images[place])[:, wanted].double()
        torch.testing.assert_close(found.confidence[place], shown, rtol=1e-5, atol=0.0)


def test_classes_that_the_target_never_names_do_no_harm():
    found = run(released=lambda images: torch.tensor([1.0, 0.0, 0.0]).expand(len(images), 3), classes=[2])
    assert found.confidence.tolist() == [[0.0, 0.0]]


def test_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Softmax(dim=1)).eval()
    before = copy.deepcopy(model.state_dict())
    found = run(released=model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert not found.images.requires_grad


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="classes must name at least one class"):
        run(classes=[])
    with pytest.raises(ValueError, match="not finite"):
        run(released=lambda images: torch.full((len(images), 4), math.nan))


@pytest.mark.parametrize(
    "values",
    [
        {"draws": 199},
        {"population": 1},
        {"generations": 0},
        {"mutation_chance": 1.1},
        {"mutation_size": -0.1},
        {"deviations": math.inf},
        {"enough": math.nan},
        {"restarts": 0},
        {"batch_size": 0},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Genetic(**values)
