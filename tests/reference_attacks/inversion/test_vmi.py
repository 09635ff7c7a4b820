"""VMI, reduced: mechanics only, its distributions against those of torch and its steps against a loop by hand."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from reference_attacks.inversion._families import Flow, Gaussian
from reference_attacks.inversion.style import NoiseSpace
from reference_attacks.inversion.vmi import VMI, invert
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

QUICK = VMI(steps=5, draws=6, learning_rate=0.02, kl_weight=0.1, flow_steps=3, hidden=4, restarts=3, batch_size=7)
FAMILIES = ["flow", "gaussian"]


class Decoder:
    """A fixed linear map and a sigmoid of N(0, I); told a class, it adds that class's picture."""

    image_shape = SHAPE
    latent_size = 5

    def __init__(self, conditional=0):
        self.conditional = conditional
        self.weight, self.pictures = table(1, 5, 16), table(2, max(1, conditional), 16)

    def draw(self, count, rng):
        return torch.randn(count, 5, generator=rng)

    def images(self, latents, classes=None):
        pixels = latents @ self.weight
        return (pixels + self.pictures[classes] if self.conditional else pixels).sigmoid().unflatten(1, SHAPE)


def run(model=None, classes=range(N_CLASSES), seed=0, settings=QUICK, generator=None):
    return invert(
        logits=model or target(0.7),
        classes=list(classes),
        generator=generator or Decoder(),
        rng=rng(seed),
        settings=settings,
    )


# --- distributions ---------------------------------------------------------------------------------------------------


def disturbed(family, seed=3, size=0.3):
    """The same family away from N(0, I), each class elsewhere."""
    for index, parameter in enumerate(family.parameters):
        parameter.add_(size * table(seed + index, *parameter.shape))
    return family


def test_the_gaussian_is_that_of_torch():
    family, noise = disturbed(Gaussian.standard(3, torch.zeros(1, 4, dtype=torch.float64))), table(5, 9, 4).double()
    latents, divergence = family.sampled(noise)
    for one in range(3):
        own = MultivariateNormal(family.mean[one], family.root[one] @ family.root[one].T)
        standard = MultivariateNormal(torch.zeros(4).double(), torch.eye(4).double())
        torch.testing.assert_close(divergence[one], kl_divergence(own, standard))
        torch.testing.assert_close(latents[one], torch.stack([own.loc + family.root[one] @ row for row in noise]))


@pytest.mark.parametrize("size", [4, 5])
def test_the_divergence_of_a_flow_is_that_by_its_jacobian(size):
    like = torch.zeros(1, size, dtype=torch.float64)
    family, noise = disturbed(Flow.standard(3, like, steps=3, hidden=6, rng=rng())), table(5, 7, size).double()
    latents, divergence = family.sampled(noise)
    standard = MultivariateNormal(torch.zeros(size).double(), torch.eye(size).double())
    for one in range(3):
        ratios = []
        for row, latent in zip(noise, latents[one], strict=True):
            jacobian = torch.autograd.functional.jacobian(lambda e, one=one: family.sampled(e[None])[0][one, 0], row)
            density = standard.log_prob(row) - torch.linalg.slogdet(jacobian).logabsdet
            ratios.append(density - standard.log_prob(latent))
        torch.testing.assert_close(divergence[one], torch.stack(ratios).mean())


def test_a_flow_bends_and_its_couplings_reach_every_entry():
    family = disturbed(Flow.standard(1, torch.zeros(1, 6), steps=6, hidden=5, rng=rng()))
    jacobians = [
        torch.autograd.functional.jacobian(lambda e: family.sampled(e[None])[0][0, 0], table(seed, 6))
        for seed in (1, 2)
    ]
    assert not torch.allclose(*jacobians, atol=1e-3)
    assert (jacobians[0].abs() > 1e-6).sum() > 20


def test_both_begin_as_the_prior():
    noise = table(6, 8, 5)
    for family in (Gaussian.standard(2, noise), Flow.standard(2, noise, steps=4, hidden=3, rng=rng())):
        latents, divergence = family.sampled(noise)
        torch.testing.assert_close(divergence, torch.zeros(2), rtol=0.0, atol=1e-6)
        torch.testing.assert_close(latents[0].sort(dim=1).values, noise.sort(dim=1).values)
        torch.testing.assert_close(latents[0], latents[1])


# --- the attack ------------------------------------------------------------------------------------------------------


def fitted_by_hand(wanted, seed, settings):
    model, generator, draws = target(0.7), Decoder(), rng(seed)
    like = torch.zeros(1, 5)
    family = Gaussian.standard(1, like)
    if settings.family == "flow":
        family = Flow.standard(1, like, steps=settings.flow_steps, hidden=settings.hidden, rng=draws)
    velocity = [torch.zeros_like(parameter) for parameter in family.parameters]
    for _ in range(settings.steps):
        noise = torch.randn(settings.draws, 5, generator=draws)
        now = [parameter.requires_grad_() for parameter in family.parameters]
        latents, divergence = family.sampled(noise)
        loss = settings.kl_weight * divergence[0]
        for latent in latents[0]:
            loss = loss - model(generator.images(latent[None])).log_softmax(1)[0, wanted] / settings.draws
        gradients = torch.autograd.grad(loss, now)
        for index, (parameter, gradient) in enumerate(zip(now, gradients, strict=True)):
            velocity[index] = settings.momentum * velocity[index] + gradient
            with torch.no_grad():
                parameter.sub_(settings.learning_rate * velocity[index])
    images = generator.images(family.sampled(torch.randn(settings.restarts, 5, generator=draws))[0][0]).detach()
    confidence = model(images).softmax(1)[:, wanted]
    return images[confidence.argsort(descending=True)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_step_is_that_of_a_loop_by_hand(family):
    settings = replace(QUICK, family=family)
    found = run(seed=3, settings=settings)
    assert found.images.shape == (N_CLASSES, 3, *SHAPE)
    for wanted in range(N_CLASSES):
        torch.testing.assert_close(found.images[wanted], fitted_by_hand(wanted, 3, settings), rtol=0.0, atol=1e-4)
        shown = target(0.7)(found.images[wanted]).double().softmax(1)[:, wanted]
        torch.testing.assert_close(found.confidence[wanted], shown.detach(), rtol=0.0, atol=1e-5)
    assert (found.confidence.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_fitting_makes_the_target_surer(family):
    settings = replace(QUICK, family=family, learning_rate=0.05, kl_weight=1e-3, restarts=200)
    before, after = (run(settings=replace(settings, steps=steps)).confidence.mean(dim=1) for steps in (1, 60))
    assert (after > 1.2 * before).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_target_that_says_nothing_leaves_the_prior(family):
    settings = replace(QUICK, family=family, kl_weight=0.0, draws=1)
    found = run(lambda images: images.flatten(1)[:, :4] * 0.0, classes=[0], settings=settings)
    draws = rng()
    if family == "flow":
        Flow.standard(1, torch.zeros(1, 5), steps=3, hidden=4, rng=draws)
    for _ in range(settings.steps):
        torch.randn(1, 5, generator=draws)
    noise = torch.randn(3, 5, generator=draws)
    latents = (found.images[0].flatten(1).logit() @ torch.linalg.pinv(Decoder().weight)).sort(dim=1).values
    torch.testing.assert_close(latents, noise.sort(dim=1).values, rtol=0.0, atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_heavy_divergence_holds_the_prior(family):
    free, held = (
        run(settings=replace(QUICK, family=family, learning_rate=0.01, steps=60, kl_weight=weight, restarts=100))
        for weight in (0.0, 10.0)
    )
    assert (held.confidence.mean(dim=1) < free.confidence.mean(dim=1)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_every_image_that_the_model_saw(family):
    counting = Counting(target())
    found = run(counting, settings=replace(QUICK, family=family))
    assert found.queries.tolist() == [5 * 6 + 3] * N_CLASSES
    assert counting.shown == int(found.queries.sum())
    assert found.shared_queries == 0
    assert counting.most <= 7


@pytest.mark.parametrize("family", FAMILIES)
def test_a_class_alone_is_a_class_in_a_batch(family):
    settings = replace(QUICK, family=family)
    together = run(settings=settings)
    for wanted in range(N_CLASSES):
        alone = run(classes=[wanted], settings=settings)
        torch.testing.assert_close(alone.images[0], together.images[wanted], rtol=0.0, atol=1e-4)
    assert_same(run(settings=replace(settings, batch_size=1000)), together)


def test_the_seed_decides():
    assert_same(run(seed=1), run(seed=1))
    assert not torch.allclose(run(seed=1).images, run(seed=2).images)


def test_a_conditional_generator_is_told_the_class():
    constant = replace(QUICK, learning_rate=1e-12)
    found = run(settings=constant, generator=Decoder(conditional=N_CLASSES))
    plain = run(settings=constant)
    pixels = found.images.flatten(2).logit().sum(dim=1) - plain.images.flatten(2).logit().sum(dim=1)
    torch.testing.assert_close(pixels, 3 * Decoder(conditional=N_CLASSES).pictures, rtol=0.0, atol=1e-3)


def test_the_noise_of_a_style_generator_is_searched():
    assert run(generator=NoiseSpace(TinyStyle())).images.shape == (N_CLASSES, 3, *SHAPE)


def test_leaves_the_target_as_it_was():
    assert_untouched(target(), run)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least one class"):
        run(classes=[])
    with pytest.raises(ValueError, match="must be differentiable"):
        run(lambda images: target()(images).detach())


@pytest.mark.parametrize(
    "values",
    [
        {"family": "mixture"},
        {"kl_weight": -1.0},
        {"steps": 0},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"draws": 0},
        {"flow_steps": 0},
        {"hidden": 0},
        {"restarts": 0},
        {"batch_size": 0},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        VMI(**values)
