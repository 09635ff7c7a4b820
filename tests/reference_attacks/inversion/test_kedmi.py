"""KEDMI's losses by hand, its training and search against loops, and a search whose end is known."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference_attacks.inversion.kedmi import (
    KEDMI,
    Teaching,
    discriminator_loss,
    generator_loss,
    invert,
    realness_loss,
    teach,
)

SHAPE = (1, 4, 4)
N_CLASSES = 4
LATENT = 3
QUICK = KEDMI(iterations=6, restarts=3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def seeded(seed, build):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return build()


def network():
    return seeded(0, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, N_CLASSES))).eval()


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.LeakyReLU(0.2))
        self.head = nn.Linear(6, N_CLASSES)

    def forward(self, images):
        features = self.features(images)
        return features, self.head(features)


def generator_net():
    return seeded(
        1, lambda: nn.Sequential(nn.Linear(LATENT, 16), nn.BatchNorm1d(16), nn.Sigmoid(), nn.Unflatten(1, SHAPE))
    )


def discriminator_net():
    return seeded(2, Discriminator)


class Decoder:
    """A fixed linear map and a sigmoid."""

    image_shape = SHAPE
    conditional = 0

    def __init__(self, weight=None):
        self.weight = torch.randn(LATENT, 16, generator=rng(1)) if weight is None else weight
        self.latent_size = len(self.weight)

    def draw(self, count, rng):
        return torch.randn(count, self.latent_size, generator=rng)

    def images(self, latents, classes=None):
        return (latents @ self.weight).sigmoid().unflatten(1, SHAPE)


def critic(images):
    return discriminator_net()(images)[1]


def run(**changes):
    given = {"logits": network(), "critic": critic, "classes": range(N_CLASSES), "generator": Decoder(), "rng": rng()}
    return invert(**{"settings": QUICK, **given, **changes})


def public(n=48):
    return torch.rand(n, *SHAPE, generator=rng(7))


def taught(settings, **changes):
    given = {
        "logits": network(),
        "public_images": public(),
        "generator": generator_net(),
        "discriminator": discriminator_net(),
        "latent_size": LATENT,
        "rng": rng(),
    }
    return teach(**{**given, "settings": settings, **changes})


def softplus(value):
    return math.log1p(math.exp(value))


def lse(row):
    return math.log(sum(math.exp(value) for value in row))


def test_realness_is_the_probability_of_not_being_the_extra_class():
    u = [0.3, -1.2, 0.7]
    shown = realness_loss(torch.tensor([u, [0.0, 0.0, 0.0]]))
    assert shown.tolist() == pytest.approx([softplus(lse(u)) - lse(u), math.log(4 / 3)])
    with_extra = torch.tensor([[*u, 0.0]]).softmax(dim=1)
    assert shown[0].item() == pytest.approx(-math.log(1 - with_extra[0, 3].item()))


def test_the_discriminators_loss_by_hand():
    labelled, soft = [[1.0, -0.5], [0.2, 0.4]], [[0.9, 0.1], [0.3, 0.7]]
    unlabelled, fakes = [[0.5, 0.1], [-2.0, 1.0], [3.0, 0.0]], [[0.4, -0.4]]
    supervised = -sum(
        p * (u - lse(row)) for row, label in zip(labelled, soft, strict=True) for u, p in zip(row, label, strict=True)
    ) / len(labelled)
    real = sum(softplus(lse(row)) - lse(row) for row in unlabelled) / len(unlabelled)
    fake = softplus(lse(fakes[0]))
    shown = discriminator_loss(*(torch.tensor(each) for each in (labelled, soft, unlabelled, fakes)))
    assert shown.item() == pytest.approx(supervised + 0.5 * (real + fake))


def test_the_generators_loss_by_hand():
    fake, real = [[1.0, 0.0], [3.0, 1.0]], [[0.0, 2.0], [2.0, 2.0], [4.0, 2.0]]
    logits = [[0.0, 0.0], [math.log(3.0), 0.0]]
    entropy = math.log(2) - (0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    matched = (abs(2.0 - 2.0) + abs(0.5 - 2.0)) / 2
    shown = generator_loss(*(torch.tensor(each) for each in (fake, real, logits)), entropy_weight=0.01)
    assert shown.item() == pytest.approx(matched + 0.01 * entropy)


def adam(net):
    return torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999))


def test_training_is_that_of_a_loop_over_steps():
    settings = Teaching(epochs=3, generator_every=2, batch_size=20)
    images, target, draws = public(), network(), rng()
    G, D = generator_net().train(), discriminator_net().train()
    of_G, of_D = adam(G), adam(D)
    step = 0
    for _ in range(3):
        orders = [torch.randperm(48, generator=draws) for _ in range(3)]
        for start in (0, 20):
            step += 1
            x, x1, x2 = (images[order[start : start + 20]] for order in orders)
            z, z2 = torch.randn(2, 20, LATENT, generator=draws)
            u, fake = D(x)[1], D(G(z).detach())[1].logsumexp(1)
            real = D(x1)[1].logsumexp(1)
            supervised = -(target(x).softmax(1).detach() * u.log_softmax(1)).sum() / 20
            loss = supervised + 0.5 * (F.softplus(real).mean() - real.mean() + F.softplus(fake).mean())
            of_D.zero_grad()
            loss.backward()
            of_D.step()
            if step % 2 == 0:
                f, u = D(G(z2))
                entropy = -(u.softmax(1) * u.log_softmax(1)).sum()
                loss = (f.mean(0) - D(x2)[0].mean(0)).abs().mean() + 1e-4 * entropy
                of_G.zero_grad()
                loss.backward()
                of_G.step()
    result = taught(settings)
    for mine, by_hand in ((result.discriminator, D), (result.generator, G)):
        torch.testing.assert_close(mine.state_dict(), by_hand.state_dict(), rtol=1e-4, atol=1e-6)
        assert not mine.training
        assert not any(parameter.requires_grad for parameter in mine.parameters())


def test_the_generator_waits_for_its_turn():
    start = generator_net().state_dict()
    waiting, moved = (taught(Teaching(epochs=1, generator_every=n, batch_size=12)).generator for n in (5, 4))
    assert torch.equal(waiting.state_dict()["0.weight"], start["0.weight"])
    assert not torch.equal(moved.state_dict()["0.weight"], start["0.weight"])


def test_the_discriminator_learns_what_the_target_thinks_and_what_is_real():
    def thinks(images):
        return torch.stack([12 * images[:, 0, 0].mean(dim=1), 12 * images[:, 0, 3].mean(dim=1)], dim=1)

    def two_heads():
        net = Discriminator()
        net.head = nn.Linear(6, 2)
        return net

    public_images = torch.rand(64, *SHAPE, generator=rng(3)).round()  # black or white; the fakes are grey
    before = seeded(2, two_heads)
    result = taught(
        Teaching(epochs=150, learning_rate=1e-2, batch_size=32, generator_every=10**6),
        logits=thinks,
        public_images=public_images,
        discriminator=before,
    )
    fakes = result.generator(torch.randn(64, LATENT, generator=rng(4)))

    def apart(net):
        return F.cross_entropy(net(public_images)[1], thinks(public_images).softmax(dim=1))

    least = -(thinks(public_images).softmax(1) * thinks(public_images).log_softmax(1)).sum(dim=1).mean()
    assert apart(result.discriminator) - least < 0.2 * (apart(before) - least)
    assert realness_loss(result.critic(public_images)).mean() < 0.5
    assert realness_loss(result.critic(fakes)).mean() > 1.5


def test_teaching_counts_its_queries_and_changes_nothing_that_it_is_given():
    target, seen = network(), []
    given = (generator_net(), discriminator_net(), target)
    before = [copy.deepcopy(net.state_dict()) for net in given]

    def counting(images):
        seen.append(len(images))
        return target(images)

    result = taught(Teaching(epochs=2, batch_size=20), logits=counting, generator=given[0], discriminator=given[1])
    assert result.queries == sum(seen) == 48
    for net, state in zip(given, before, strict=True):
        torch.testing.assert_close(net.state_dict(), state, rtol=0, atol=0)
        assert all(parameter.grad is None for parameter in net.parameters())


def test_the_search_is_that_of_a_loop_over_steps():
    target, decoder, model, judge, draws = 2, Decoder(), network(), discriminator_net(), rng(5)
    mu, log_variance = torch.zeros(LATENT, requires_grad=True), torch.ones(LATENT, requires_grad=True)
    optimizer = torch.optim.Adam([mu, log_variance], lr=0.02)

    def image(noise):
        return decoder.images((mu + torch.exp(0.5 * log_variance) * noise)[None])

    for _ in range(6):
        x = image(torch.randn(LATENT, generator=draws))
        e = judge(x)[1].logsumexp(1)
        optimizer.zero_grad()
        (F.softplus(e) - e - 100 * model(x).log_softmax(1)[0, target]).backward()
        optimizer.step()
    shown = torch.cat([image(noise).detach() for noise in torch.randn(3, LATENT, generator=draws)])
    p = model(shown).double().softmax(1)[:, target].detach()
    order = p.argsort(descending=True)
    result = run(classes=[target], rng=rng(5))
    torch.testing.assert_close(result.images[0], shown[order])
    torch.testing.assert_close(result.confidence[0], p[order], rtol=1e-5, atol=0.0)


def test_the_distribution_closes_in_on_what_the_discriminator_takes_for_real():
    # Real is a brightness of 0.7 and nothing else; the target does not care.
    def judge(images):
        return 20 - 2000 * (images.mean(dim=(1, 2, 3)) - 0.7).square()[:, None].expand(-1, 2)

    result = run(
        logits=lambda images: 0.0 * images.flatten(1)[:, :2],
        critic=judge,
        classes=[0],
        generator=Decoder(torch.ones(1, 16)),
        settings=KEDMI(iterations=900, restarts=20),
    )
    brightness = result.images.mean(dim=(2, 3, 4))
    assert (brightness - 0.7).abs().max() < 0.12
    first = run(
        logits=lambda images: 0.0 * images.flatten(1)[:, :2],
        critic=judge,
        classes=[0],
        generator=Decoder(torch.ones(1, 16)),
        settings=KEDMI(iterations=1, restarts=20),
    )
    assert brightness.std() < 0.2 * first.images.mean(dim=(2, 3, 4)).std()


def test_draws_show_the_class():
    def quarters(images):
        return 8.0 * images.flatten(1).unflatten(1, (4, 4)).mean(dim=2)

    result = run(logits=quarters, generator=Decoder(torch.eye(16)), settings=KEDMI(iterations=200))
    shown = result.images.flatten(2).unflatten(2, (4, 4)).mean(dim=3)
    assert torch.equal(shown.argmax(dim=2), torch.arange(N_CLASSES)[:, None].expand(-1, 5))
    assert (result.confidence.diff(dim=1) <= 0).all()


def test_a_class_alone_ends_where_it_does_beside_others_and_in_small_batches():
    together, small = run(), run(settings=KEDMI(iterations=6, restarts=3, batch_size=2))
    torch.testing.assert_close(small.images, together.images)
    for c in range(N_CLASSES):
        torch.testing.assert_close(run(classes=[c]).images[0], together.images[c])


def test_the_same_draws_give_the_same_images():
    assert torch.equal(run().images, run().images)
    assert not torch.equal(run(rng=rng(1)).images, run().images)


def test_counts_every_image_that_the_target_saw_and_leaves_it_alone():
    target, seen = network(), []
    before = copy.deepcopy(target.state_dict())

    def counting(images):
        seen.append(len(images))
        return target(images)

    with torch.no_grad():
        result = run(logits=counting, taught_queries=11)
    assert result.queries.tolist() == [6 + 3] * N_CLASSES
    assert int(result.queries.sum()) == sum(seen)
    assert result.shared_queries == 11
    assert result.images.shape == (N_CLASSES, 3, *SHAPE)
    assert not result.images.requires_grad
    assert all(parameter.grad is None for parameter in target.parameters())
    torch.testing.assert_close(target.state_dict(), before, rtol=0, atol=0)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least one class"):
        run(classes=[])
    with pytest.raises(ValueError, match="differentiable"):
        run(logits=lambda images: network()(images).detach(), critic=lambda images: critic(images).detach())
    with pytest.raises(ValueError, match="fill a batch of 64, got 48"):
        taught(Teaching())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (KEDMI, {"identity_weight": 0.0}),
        (KEDMI, {"learning_rate": 0.0}),
        (KEDMI, {"iterations": 0}),
        (KEDMI, {"restarts": 0}),
        (KEDMI, {"batch_size": 0}),
        (Teaching, {"epochs": 0}),
        (Teaching, {"generator_every": 0}),
        (Teaching, {"entropy_weight": -1.0}),
        (Teaching, {"learning_rate": math.inf}),
        (Teaching, {"batch_size": 0}),
    ],
)
def test_bad_settings_are_named(kind, values):
    with pytest.raises(ValueError, match=next(iter(values))):
        kind(**values)
