"""Both GANs on tiny images: that training learns, goes on exactly where it was stopped and touches nothing else."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from reference_attacks.priors import conditional_gan, gan
from reference_attacks.priors._networks import CriticNetwork, GeneratorNetwork
from reference_attacks.priors._training import GanTrainer
from reference_attacks.priors.conditional_gan import Labelled
from reference_attacks.priors.gan import GanSettings, Progress

TINY = GanSettings(latent_size=3, width=2, steps=5, batch_size=4)
QUICK = GanSettings(
    latent_size=2,
    width=8,
    steps=100,
    batch_size=16,
    learning_rate=5e-3,
    critic_learning_rate=1e-2,
    first_moment=0.0,
    average=0.9,
)
LOSSES = ["hinge", "wgan-gp"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def public(count=12, shape=(1, 9, 8)):
    return torch.rand(count, *shape, generator=rng(1))


def labelled(n_classes=3):
    return Labelled(public(), torch.arange(12) % n_classes, n_classes)


def brightness(fakes, classes, random):
    """An extra loss that draws: classes other than the first are to be dark."""
    noise = torch.rand(len(fakes), generator=random)
    return (fakes.mean(dim=(1, 2, 3)) * classes * (1.0 + noise)).mean()


def trained(kind, settings=TINY, progress=None, seed=0):
    if kind == "gan":
        return gan.train(public(), rng=rng(seed), settings=settings, progress=progress)
    return conditional_gan.train(labelled(), rng=rng(seed), settings=settings, extra=brightness, progress=progress)


def loaded(kind, tensors, settings=TINY):
    if kind == "gan":
        return gan.load(tensors, image_shape=(1, 9, 8), settings=settings)
    return conditional_gan.load(tensors, image_shape=(1, 9, 8), n_classes=3, settings=settings)


def assert_same(some, others):
    assert some.keys() == others.keys()
    assert all(torch.equal(some[name], others[name]) for name in some)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (3, 62, 47), (1, 5, 3), (2, 8, 40)])
def test_networks_fit_images_of_any_size(shape):
    generator = GeneratorNetwork(shape, latent_size=3, width=2, n_classes=0)
    critic = CriticNetwork(shape, width=2, n_classes=0, spectral=True)
    images = generator(torch.randn(4, 3, generator=rng()))
    assert images.shape == (4, *shape)
    assert critic(images).shape == (4,)


def test_before_training_a_class_makes_no_difference_and_a_latent_does():
    network = GeneratorNetwork((1, 9, 8), latent_size=3, width=2, n_classes=3).eval()
    images = network(torch.randn(1, 3, generator=rng()).expand(3, 3), torch.arange(3))
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    latents = network(torch.randn(2, 3, generator=rng()), torch.zeros(2, dtype=torch.int64))
    assert not torch.equal(latents[0], latents[1])


def test_priors_say_what_they_are():
    free, told = trained("gan"), trained("conditional")
    assert (free.latent_size, free.image_shape, free.conditional) == (3, (1, 9, 8), 0)
    assert (told.latent_size, told.image_shape, told.conditional) == (3, (1, 9, 8), 3)
    latents = free.draw(5, rng())
    assert torch.equal(latents, torch.randn(5, 3, generator=rng()))
    assert free.images(latents).shape == told.images(latents, torch.tensor([0, 1, 2, 0, 1])).shape == (5, 1, 9, 8)
    assert torch.equal(free.images(latents), free.images(latents, torch.zeros(5, dtype=torch.int64)))


def test_images_depend_on_latents_and_classes_differentiably_and_row_by_row():
    prior = trained("conditional")
    latents, classes = prior.draw(4, rng()).requires_grad_(), torch.tensor([0, 1, 2, 1])
    images = prior.images(latents, classes)
    assert torch.autograd.grad(images.sum(), latents)[0].abs().amin() > 0
    alone = torch.cat([prior.images(latents[i : i + 1], classes[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(images, alone)
    assert not torch.equal(images[0], prior.images(latents[:1], classes[1:2])[0])
    with pytest.raises(ValueError, match="told the class"):
        prior.images(latents)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_critic_judges_each_image_differentiably_and_is_not_changed_by_it(loss):
    prior = trained("gan", replace(TINY, loss=loss))
    before, images = prior.tensors(), public(4).requires_grad_()
    realness = prior.critic(images)
    assert realness.shape == (4,)
    assert torch.autograd.grad(realness.sum(), images)[0].abs().amax() > 0
    torch.testing.assert_close(realness, torch.cat([prior.critic(images[i : i + 1]) for i in range(4)]))
    assert_same(before, prior.tensors())


@pytest.mark.parametrize("loss", LOSSES)
def test_one_step_is_adams_step_on_the_losses_written_out(loss):
    settings = replace(TINY, loss=loss, learning_rate=0.01, critic_learning_rate=0.02)
    trainer = GanTrainer(public(), settings, rng())
    oracle = GanTrainer(public(), settings, rng())
    trainer.advance()

    random, generator, critic = rng(), oracle.generator, oracle.critic
    torch.randint(2**62, (), generator=random)
    real = public()[torch.randint(12, (4,), generator=random)]
    fakes = generator(torch.randn(4, 3, generator=random)).detach()
    judged = critic(torch.cat((real, fakes)))
    if loss == "hinge":
        cost = (1 - judged[:4]).clamp(min=0).mean() + (1 + judged[4:]).clamp(min=0).mean()
    else:
        share = torch.rand(4, 1, 1, 1, generator=random)
        between = (fakes + share * (real - fakes)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        cost = judged[4:].mean() - judged[:4].mean() + 10 * ((slope.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
    adam = torch.optim.Adam(critic.parameters(), lr=0.02, betas=(settings.first_moment, settings.second_moment))
    cost.backward()
    adam.step()
    adam = torch.optim.Adam(generator.parameters(), lr=0.01, betas=(settings.first_moment, settings.second_moment))
    (-critic(generator(torch.randn(4, 3, generator=random)))).mean().backward()
    adam.step()

    state = trainer.state()
    for name, network in (("generator", generator), ("critic", critic)):
        for key, value in network.state_dict().items():
            torch.testing.assert_close(state[f"{name}.{key}"], value, rtol=1e-4, atol=1e-5)


def test_the_critic_takes_its_own_number_of_steps():
    steps = {1: 5, 3: 15}
    for critic_steps, expected in steps.items():
        trainer = GanTrainer(public(), replace(TINY, critic_steps=critic_steps), rng())
        trainer.run(Progress())
        state = trainer.state()
        assert state["critic_adam.0.step"] == expected
        assert state["generator_adam.0.step"] == state["step"] == 5


def test_the_average_follows_the_weights():
    trainer = GanTrainer(public(), replace(TINY, average=0.75), rng())
    expected = trainer.average.first.weight.detach().clone()
    for _ in range(3):
        trainer.advance()
        expected = 0.75 * expected + 0.25 * trainer.generator.first.weight.detach()
    torch.testing.assert_close(trainer.average.first.weight.detach(), expected)


@pytest.mark.parametrize("kind", ["gan", "conditional"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_killed_training_goes_on_to_the_same_weights(kind, loss):
    settings, kept = replace(TINY, loss=loss, critic_steps=2), []
    whole = trained(kind, settings)

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(kind, settings, Progress(keep=kept.append, keep_every=3, tick=stop))
    before = {name: value.clone() for name, value in kept[0].items()}
    resumed = trained(kind, settings, Progress(resume=kept[0]), seed=99)
    assert_same(whole.tensors(), resumed.tensors())
    assert_same(before, kept[0])


def test_what_is_kept_can_be_kept_as_safetensors(tmp_path):
    from safetensors.torch import load_file, save_file

    kept = []
    whole = trained("conditional", progress=Progress(keep=kept.append, keep_every=2))
    assert [int(state["step"]) for state in kept] == [2, 4]
    save_file(dict(kept[1]), tmp_path / "kept.safetensors")
    resumed = trained("conditional", progress=Progress(resume=load_file(tmp_path / "kept.safetensors")))
    assert_same(whole.tensors(), resumed.tensors())


def test_a_new_trainer_can_be_kept_and_loaded():
    first, second = GanTrainer(public(), TINY, rng()), GanTrainer(public(), TINY, rng(7))
    second.load(first.state())
    first.advance()
    second.advance()
    assert_same(first.state(), second.state())


@pytest.mark.parametrize("kind", ["gan", "conditional"])
def test_a_finished_prior_comes_back_from_its_tensors(kind):
    prior = trained(kind)
    tensors = prior.tensors()
    again = loaded(kind, tensors)
    latents, classes = prior.draw(4, rng()), torch.tensor([0, 1, 2, 0])
    assert torch.equal(prior.images(latents, classes), again.images(latents, classes))
    tensors["generator.first.weight"].zero_()
    assert torch.equal(prior.images(latents, classes), again.images(latents, classes))
    with pytest.raises(ValueError, match="not of this prior"):
        loaded(kind, tensors, replace(TINY, width=3))


def test_loading_and_training_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    loaded("gan", trained("gan").tensors())
    assert torch.equal(before, torch.get_rng_state())


def test_the_seed_decides_and_ticks_count_the_steps():
    ticks = []
    first = trained("gan", progress=Progress(tick=lambda done, total: ticks.append((done, total))))
    assert ticks == [(done, 5) for done in range(1, 6)]
    assert_same(first.tensors(), trained("gan").tensors())
    other = trained("gan", seed=1).tensors()
    assert not torch.equal(first.tensors()["generator.first.weight"], other["generator.first.weight"])


def test_a_prior_learns_what_public_images_have_in_common():
    """All public images are dark but for one bright corner: so are the samples."""
    images = 0.1 * torch.rand(16, 1, 8, 8, generator=rng(2))
    images[:, :, :4, :4] += 0.8
    prior = gan.train(images, rng=rng(), settings=QUICK)
    samples = prior.images(prior.draw(32, rng(3)))
    assert samples[:, :, :4, :4].mean() > 0.6
    assert samples[:, :, 4:].mean() < 0.3
    assert samples[:, :, :4, 4:].mean() < 0.3


def halves():
    """Class 0 is bright on the left, class 1 on the right."""
    images, classes = 0.1 * torch.rand(16, 1, 8, 8, generator=rng(2)), torch.arange(16) % 2
    images[classes == 0, :, :, :4] += 0.8
    images[classes == 1, :, :, 4:] += 0.8
    return Labelled(images, classes, 2)


def shown_by(prior):
    """Mean brightness [class, half]."""
    samples = [prior.images(prior.draw(16, rng(3)), torch.full((16,), c)) for c in (0, 1)]
    return torch.stack([torch.stack([half.mean() for half in each.split(4, dim=3)]) for each in samples])


def test_a_conditional_prior_learns_the_classes():
    shown = shown_by(conditional_gan.train(halves(), rng=rng(), settings=replace(QUICK, steps=200)))
    assert (shown.diagonal() > 0.6).all()
    assert (shown.fliplr().diagonal() < 0.3).all()


def test_a_conditional_prior_heeds_the_extra_loss():
    prior = conditional_gan.train(
        halves(), rng=rng(), settings=QUICK, extra=lambda fakes, asked, _: 100.0 * fakes[asked == 1].mean()
    )
    assert shown_by(prior)[1].max() < 0.05
    assert shown_by(prior)[0].max() > 0.2


def test_an_extra_loss_leaves_no_gradient_in_what_it_asks():
    target = nn.Linear(72, 3)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    conditional_gan.train(
        labelled(), rng=rng(), settings=TINY, extra=lambda fakes, asked, _: target(fakes.flatten(1))[:, 0].mean()
    )
    assert all(weights.grad is None for weights in target.parameters())
    assert_same(before, target.state_dict())


def test_a_training_that_diverges_says_so():
    with pytest.raises(FloatingPointError, match="step 0"):
        conditional_gan.train(labelled(), rng=rng(), settings=TINY, extra=lambda *_: torch.tensor(torch.nan))


@pytest.mark.parametrize("damage", ["missing", "sizes", "moments"])
def test_a_state_of_another_training_is_refused(damage):
    state = GanTrainer(public(), replace(TINY, width=3) if damage == "sizes" else TINY, rng()).state()
    if damage == "missing":
        del state["rng"]
    if damage == "moments":
        state["critic_adam.77.exp_avg"] = torch.zeros(1)
    with pytest.raises(ValueError, match="not of this training"):
        trained("gan", progress=Progress(resume=state))


@pytest.mark.parametrize(
    "images", [public().mul(255), public()[0], public()[:0], public().mul(255).byte(), public() * torch.nan]
)
def test_images_that_do_not_fit_are_refused(images):
    with pytest.raises(ValueError, match="images must"):
        gan.train(images, rng=rng(), settings=TINY)


@pytest.mark.parametrize("classes", [torch.arange(12), torch.full((12,), -1), torch.zeros(11, dtype=torch.int64)])
def test_classes_that_do_not_fit_are_refused(classes):
    with pytest.raises(ValueError, match="one of 3"):
        conditional_gan.train(Labelled(public(), classes, 3), rng=rng(), settings=TINY)


def test_classes_without_their_number_are_refused():
    with pytest.raises(ValueError, match="go together"):
        GanTrainer(public(), TINY, rng(), classes=torch.zeros(12, dtype=torch.int64))


@pytest.mark.parametrize(
    "wrong",
    [
        {"latent_size": 0},
        {"steps": 0},
        {"critic_steps": 0},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"critic_learning_rate": -1.0},
        {"first_moment": 1.0},
        {"second_moment": -0.1},
        {"average": 1.0},
        {"loss": "least-squares"},
        {"penalty": -1.0},
    ],
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).removeprefix("latent_").removeprefix("critic_")):
        GanSettings(**wrong)


def test_keeping_less_than_every_step_is_refused():
    with pytest.raises(ValueError, match="keep_every"):
        Progress(keep_every=0)
