"""MIRROR, with the weights and with the scores: mechanics only, on latents that are pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reference_attacks.inversion import mirror, mirror_black_box
from reference_attacks.inversion._usual_styles import Box, Usual
from reference_attacks.inversion.mirror import Mirror
from reference_attacks.inversion.mirror_black_box import MirrorBlackBox
from tests.reference_attacks.inversion.tiny_style import (
    N_CLASSES,
    SHAPE,
    Canvas,
    Counting,
    TinyStyle,
    assert_same,
    assert_untouched,
    rng,
    table,
    target,
)

CLIMB = Mirror(draws=60, steps=12, restarts=3, batch_size=7)
BREED = MirrorBlackBox(draws=60, population=8, generations=6, mutation_chance=0.3, enough=1.0, restarts=2, batch_size=7)


def climb(model=None, classes=range(N_CLASSES), seed=0, settings=CLIMB, generator=None):
    return mirror.invert(
        logits=model or target(0.7),
        classes=list(classes),
        generator=generator or Canvas(),
        rng=rng(seed),
        settings=settings,
    )


def breed(model=None, classes=range(N_CLASSES), seed=0, settings=BREED, generator=None):
    return mirror_black_box.invert(
        released=model or probabilities,
        classes=list(classes),
        generator=generator or Canvas(),
        rng=rng(seed),
        settings=settings,
    )


def probabilities(images):
    return target(0.7)(images).softmax(1)


def styles_of(images):
    return images.flatten(0, 1).flatten(1).logit()


def p_space(styles):
    return np.where(styles < 0, 5 * styles, styles)


def w_space(p):
    return np.where(p < 0, p / 5, p)


def limits(styles, deviations=1.0):
    p = p_space(styles.double().numpy())
    mean, deviation = p.mean(axis=0), p.std(axis=0)
    return w_space(mean - deviations * deviation), w_space(mean + deviations * deviation), deviation


# --- where styles are usual ------------------------------------------------------------------------------------------


def test_the_box_is_mean_and_deviation_before_the_leaky_relu():
    styles = Canvas().draw(50, rng())
    low, high, deviation = limits(styles, 0.5)
    box = Box.of(styles, Usual(deviations=0.5))
    for found, expected in ((box.low, low), (box.high, high), (box.deviation, deviation)):
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (low < 0).all()
    far = torch.full((2, 16), 9.0)
    np.testing.assert_allclose(box.clipped(far), np.tile(high, (2, 1)), rtol=1e-4)
    np.testing.assert_allclose(box.clipped(-far), np.tile(low, (2, 1)), rtol=1e-4)


def test_noise_is_added_before_the_leaky_relu():
    styles, noise = Canvas().draw(20, rng()), table(4, 20, 16)
    box = Box.of(styles, Usual())
    np.testing.assert_allclose(box.shifted(styles, noise), w_space(p_space(styles.numpy()) + noise.numpy()), atol=1e-5)
    torch.testing.assert_close(box.shifted(styles, torch.zeros(16)), styles)


def test_slope_one_leaves_latents_as_they_are():
    latents, noise = table(5, 30, 16), table(6, 30, 16)
    box = Box.of(latents, Usual(slope=1.0))
    torch.testing.assert_close(box.high, latents.mean(dim=0) + latents.std(dim=0, correction=0))
    torch.testing.assert_close(box.shifted(latents, noise), latents + noise)


# --- with the weights ------------------------------------------------------------------------------------------------


def climbed_by_hand(wanted, seed, settings):
    model, generator, draws = target(0.7), Canvas(), rng(seed)
    styles = generator.draw(settings.draws, draws)
    turned = [value > 0.5 and settings.flip for value in torch.rand(settings.steps, generator=draws).tolist()]
    low, high, _ = (torch.from_numpy(each).float() for each in limits(styles))
    likely = model(generator.images(styles)).softmax(1)[:, wanted]
    found = []
    for start in styles[likely.argsort(descending=True)[: settings.restarts]]:
        w = torch.minimum(torch.maximum(start, low), high).clone().requires_grad_()
        least, best = math.inf, None
        optimizer = torch.optim.Adam([w], lr=settings.learning_rate)
        for step in range(1, settings.steps + 1):
            share = step / settings.steps
            down = 0.5 - 0.5 * math.cos(math.pi * min(1, (1 - share) / 0.25))
            optimizer.param_groups[0]["lr"] = settings.learning_rate * down * min(1, share / 0.05)
            optimizer.zero_grad()
            image = generator.images(w[None])
            loss = -10 * model(image.flip(3) if turned[step - 1] else image).log_softmax(1)[0, wanted]
            if loss.item() < least:
                least, best = loss.item(), w.detach().clone()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                w.copy_(torch.minimum(torch.maximum(w, low), high))
        found.append(generator.images(best[None]))
    found = torch.cat(found)
    return found[model(found).softmax(1)[:, wanted].argsort(descending=True)]


@pytest.mark.parametrize("flip", [True, False])
def test_every_step_is_that_of_a_loop_by_hand(flip):
    settings = replace(CLIMB, flip=flip)
    found = climb(seed=4, settings=settings)
    assert found.images.shape == (N_CLASSES, 3, *SHAPE)
    for wanted in range(N_CLASSES):
        expected = climbed_by_hand(wanted, 4, settings)
        torch.testing.assert_close(found.images[wanted], expected, rtol=0.0, atol=1e-4)
        shown = target(0.7)(expected).double().softmax(1)[:, wanted]
        torch.testing.assert_close(found.confidence[wanted], shown.detach(), rtol=0.0, atol=1e-4)


def test_a_linear_target_is_climbed_to_the_corner_of_the_box():
    weight = table(8, 2, 16)
    generator = Canvas()
    found = climb(
        lambda images: images.flatten(1) @ weight.T, classes=[0], settings=replace(CLIMB, flip=False, steps=60)
    )
    low, high, _ = (torch.from_numpy(each).float() for each in limits(generator.draw(60, rng())))
    best = torch.where(weight[0] > weight[1], high, low)
    torch.testing.assert_close(found.images[0, 0], generator.images(best[None])[0], rtol=0.0, atol=1e-3)


# --- with the scores -------------------------------------------------------------------------------------------------


def bred_by_hand(wanted, seed, settings):
    """One class, child by child; draws are taken in blocks, as they are for all classes together."""
    generator, draws = Canvas(), rng(seed)
    styles = generator.draw(settings.draws, draws)
    low, high, deviation = limits(styles)

    def fitness(style):
        return probabilities(generator.images(torch.as_tensor(style).float()[None]))[0, wanted].item()

    scored = sorted(((fitness(style), style.numpy()) for style in styles), key=lambda pair: -pair[0])
    scored = scored[: settings.population]
    for _ in range(settings.generations):
        pick = torch.rand(2, settings.population - 1, generator=draws, dtype=torch.float64).numpy()
        mix, change, noise = torch.rand(3, settings.population - 1, 16, generator=draws).numpy()
        edges = np.cumsum([score for score, _ in scored])
        children = []
        for child in range(settings.population - 1):
            (f1, first), (f2, second) = (scored[np.searchsorted(edges, u * edges[-1])] for u in pick[:, child])
            mixed = np.where(mix[child] < f1 / (f1 + f2), first, second)
            shift = settings.mutation_size * deviation * (2 * noise[child] - 1)
            p = p_space(mixed) + np.where(change[child] < settings.mutation_chance, shift, 0)
            style = np.clip(w_space(p), low, high)
            children.append((fitness(style), style))
        scored = [max(scored, key=lambda pair: pair[0]), *children]
    scored.sort(key=lambda pair: -pair[0])
    best = torch.stack([torch.as_tensor(style).float() for _, style in scored[: settings.restarts]])
    return generator.images(best), [score for score, _ in scored[: settings.restarts]]


def test_every_generation_is_that_of_a_loop_by_hand():
    found = breed(seed=2)
    assert found.images.shape == (N_CLASSES, 2, *SHAPE)
    for wanted in range(N_CLASSES):
        images, scores = bred_by_hand(wanted, 2, BREED)
        torch.testing.assert_close(found.images[wanted], images, rtol=0.0, atol=1e-4)
        np.testing.assert_allclose(found.confidence[wanted], scores, atol=1e-4)


def test_breeding_beats_the_best_draw_and_stays_in_the_box():
    settings = replace(BREED, population=30, generations=40)
    found = breed(settings=settings)
    styles = Canvas().draw(60, rng())
    first = probabilities(Canvas().images(styles)).double().amax(dim=0)
    assert (found.confidence[:, 0] > first).all()
    low, high, _ = limits(styles)
    bred = styles_of(found.images).numpy()
    assert (bred >= low - 1e-4).all()
    assert (bred <= high + 1e-4).all()


def test_a_class_is_done_when_the_target_is_sure_enough():
    likely = probabilities(Canvas().images(Canvas().draw(60, rng()))).amax(dim=0)
    enough = likely.sort().values[2].item() - 1e-6  # two classes are there from the start
    counting = Counting(probabilities)
    found = breed(counting, settings=replace(BREED, enough=enough))
    assert sorted(found.queries.tolist())[:2] == [0, 0]
    assert found.queries.max() > 0
    assert counting.shown == int(found.queries.sum()) + 60
    alone = breed(classes=[int(found.queries.argmax())], settings=replace(BREED, enough=enough))
    torch.testing.assert_close(alone.images[0], found.images[found.queries.argmax()], rtol=0.0, atol=1e-4)


def test_snapshots_are_what_fewer_generations_give():
    settings = replace(BREED, generations=20)
    found = breed(settings=settings)
    queries = [snapshot.queries for snapshot in found.snapshots]
    assert queries == [7 * generation for generation in (1, 2, 3, 4, 7, 9, 14)]
    for snapshot in found.snapshots:
        shorter = breed(settings=replace(BREED, generations=snapshot.queries // 7))
        torch.testing.assert_close(snapshot.images, shorter.images, rtol=0.0, atol=1e-5)
    assert queries[-1] < int(found.queries.max())


def test_scores_are_asked_without_gradients_and_may_be_zero():
    def silent(images):
        assert not torch.is_grad_enabled()
        assert not images.requires_grad
        return torch.zeros(len(images), N_CLASSES)

    found = breed(silent)
    assert found.confidence.abs().max() == 0
    assert bool(found.images.isfinite().all())


# --- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [climb, breed])
def test_counts_every_image_that_the_model_saw(run):
    counting = Counting(target(0.7) if run is climb else probabilities)
    found = run(counting)
    assert found.queries.tolist() == [3 * 12 + 3 if run is climb else 6 * 7] * N_CLASSES
    assert counting.shown == int(found.queries.sum()) + found.shared_queries
    assert found.shared_queries == 60
    assert counting.most <= 7


@pytest.mark.parametrize("run", [climb, breed])
def test_a_class_alone_is_a_class_in_a_batch(run):
    together = run()
    for wanted in range(N_CLASSES):
        torch.testing.assert_close(run(classes=[wanted]).images[0], together.images[wanted], rtol=0.0, atol=1e-4)
    settings = replace(CLIMB if run is climb else BREED, batch_size=1000)
    assert_same(run(settings=settings), together)


@pytest.mark.parametrize("run", [climb, breed])
def test_the_seed_decides_and_the_surest_comes_first(run):
    assert_same(run(seed=1), run(seed=1))
    assert not torch.allclose(run(seed=1).images, run(seed=2).images)
    assert (run().confidence.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("run", [climb, breed])
def test_styles_of_a_style_generator_are_searched(run):
    assert run(generator=TinyStyle()).images.shape[2:] == SHAPE


def test_leaves_the_target_as_it_was():
    assert_untouched(target(), climb)
    assert_untouched(target(), lambda model: breed(lambda images: model(images).softmax(1)))


class Conditional(Canvas):
    conditional = 3


@pytest.mark.parametrize("run", [climb, breed])
def test_bad_input_is_named(run):
    with pytest.raises(ValueError, match="at least one class"):
        run(classes=[])
    with pytest.raises(ValueError, match="must not be conditional"):
        run(generator=Conditional())


def test_logits_without_gradient_are_named():
    with pytest.raises(ValueError, match="must be differentiable"):
        climb(lambda images: target()(images).detach())


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (Mirror, {"draws": 0}),
        (Mirror, {"deviations": 0.0}),
        (Mirror, {"slope": -5.0}),
        (Mirror, {"steps": 0}),
        (Mirror, {"learning_rate": float("nan")}),
        (Mirror, {"weight": 0.0}),
        (Mirror, {"batch_size": 0}),
        (Mirror, {"restarts": 100_001}),
        (MirrorBlackBox, {"draws": 0}),
        (MirrorBlackBox, {"generations": 0}),
        (MirrorBlackBox, {"mutation_chance": 1.5}),
        (MirrorBlackBox, {"mutation_size": -0.1}),
        (MirrorBlackBox, {"enough": 2.0}),
        (MirrorBlackBox, {"population": 1}),
        (MirrorBlackBox, {"population": 100_001}),
        (MirrorBlackBox, {"restarts": 0}),
        (MirrorBlackBox, {"batch_size": 0}),
    ],
)
def test_bad_settings_are_named(settings, values):
    with pytest.raises(ValueError, match=next(iter(values))):
        settings(**values)
