"""LOKT's losses by hand, its trainings and search against loops, and every label counted."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference_attacks.inversion.lokt import (
    LOKT,
    Learned,
    Learning,
    Teaching,
    discriminator_loss,
    generator_loss,
    invert,
    learn,
    teach,
)
from reference_attacks.inversion.losses import Views

SHAPE = (1, 4, 4)
N_CLASSES = 3
LATENT = 5
STILL = Views(smallest_area=1.0, jitter=0.0, flip=False, rotation=0.0)
QUICK = LOKT(iterations=5, restarts=3, views=STILL)
SHORT = Learning(per_class=8, epochs=3, epoch_images=20, batch_size=10, views=STILL)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def seeded(seed, build):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return build()


class ConditionalNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(N_CLASSES, LATENT)
        self.map = nn.Linear(LATENT, 16)

    def forward(self, latents, classes):
        return self.map(latents + self.table(classes)).sigmoid().unflatten(1, SHAPE)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.LeakyReLU(0.2))
        self.real, self.classes = nn.Linear(8, 1), nn.Linear(8, N_CLASSES)

    def forward(self, images):
        features = self.trunk(images)
        return self.real(features)[:, 0], self.classes(features)


def classifier(seed=0):
    return seeded(
        seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, N_CLASSES))
    ).eval()


def brightest(images):
    """The label is the brightest of the first three rows."""
    return images[:, 0, :N_CLASSES].mean(dim=2).argmax(dim=1)


def rows(images):
    return 8.0 * images[:, 0, :N_CLASSES].mean(dim=2)


class Decoder:
    """A fixed linear map and a sigmoid; the class shifts the latents."""

    image_shape = SHAPE
    conditional = N_CLASSES
    latent_size = LATENT

    def __init__(self, weight=None):
        self.weight = torch.randn(LATENT, 16, generator=rng(1)) if weight is None else weight
        self.latent_size = len(self.weight)

    def draw(self, count, rng):
        return torch.randn(count, self.latent_size, generator=rng)

    def images(self, latents, classes=None):
        return ((latents + 0.1 * classes[:, None]) @ self.weight).sigmoid().unflatten(1, SHAPE)


class Counting:
    def __init__(self, answer):
        self.answer, self.seen = answer, 0

    def __call__(self, images):
        self.seen += len(images)
        return self.answer(images)


def taught(settings, **changes):
    given = {
        "label_of": brightest,
        "public_images": torch.rand(40, *SHAPE, generator=rng(9)),
        "generator": seeded(1, ConditionalNet),
        "discriminator": seeded(2, TwoHeads),
        "latent_size": LATENT,
        "n_classes": N_CLASSES,
        "rng": rng(),
    }
    return teach(**{**given, "settings": settings, **changes})


def learned(**changes):
    given = {"label_of": brightest, "generator": Decoder(), "networks": [classifier(), classifier(1)], "rng": rng()}
    return learn(**{**given, "settings": SHORT, **changes})


def run(**changes):
    given = {
        "learned": Learned((classifier(), classifier(1)), 77),
        "classes": range(N_CLASSES),
        "generator": Decoder(),
        "rng": rng(),
    }
    return invert(**{**given, "settings": QUICK, **changes})


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def nll(logits, label):
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


def test_the_losses_by_hand():
    fake, public = [0.5, -1.0], [2.0, 0.1]
    logits, labels = [[0.2, 1.0], [0.3, -0.4]], [1, 0]
    named = (nll(logits[0], 1) + nll(logits[1], 0)) / 2
    fooled = -(math.log(sigmoid(0.5)) + math.log(sigmoid(-1.0))) / 2
    told_apart = -(math.log(1 - sigmoid(0.5)) + math.log(1 - sigmoid(-1.0))) / 2
    told_apart -= (math.log(sigmoid(2.0)) + math.log(sigmoid(0.1))) / 2
    f, p, u, y = (torch.tensor(each) for each in (fake, public, logits, labels))
    assert generator_loss(f, u, y, class_weight=1.5).item() == pytest.approx(fooled + 1.5 * named)
    assert generator_loss(f, u, y, class_weight=0.0).item() == pytest.approx(fooled)
    assert discriminator_loss(f, p, u, y, class_weight=1.5).item() == pytest.approx(told_apart + 1.5 * named)
    assert discriminator_loss(f, p, u, None, class_weight=1.5).item() == pytest.approx(told_apart)


def test_teaching_is_that_of_a_loop_over_steps():
    settings = Teaching(plain_steps=1, steps=2, discriminator_steps=2, batch_size=6, learning_rate=1e-3)
    public, draws = torch.rand(40, *SHAPE, generator=rng(9)), rng()
    G, D = seeded(1, ConditionalNet).train(), seeded(2, TwoHeads).train()
    of_G, of_D = (torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.9)) for net in (G, D))

    def fakes():
        y = torch.randint(N_CLASSES, (6,), generator=draws)
        return G(torch.randn(6, LATENT, generator=draws), y), y

    def bce(logits, wanted):
        return F.binary_cross_entropy(logits.sigmoid(), torch.full((6,), wanted))

    for step in range(3):
        x, y = fakes()
        real, u = D(x)
        loss = bce(real, 1.0) + (1.5 * F.cross_entropy(u, y) if step else 0.0)
        of_G.zero_grad()
        loss.backward()
        of_G.step()
        for _ in range(2):
            r = public[torch.randint(40, (6,), generator=draws)]
            x = fakes()[0].detach()
            fake, u = D(x)
            loss = bce(fake, 0.0) + bce(D(r)[0], 1.0) + (1.5 * F.cross_entropy(u, brightest(x)) if step else 0.0)
            of_D.zero_grad()
            loss.backward()
            of_D.step()
    result = taught(settings)
    for mine, by_hand in ((result.generator, G), (result.discriminator, D)):
        torch.testing.assert_close(mine.state_dict(), by_hand.state_dict(), rtol=1e-4, atol=1e-6)
        assert not mine.training
        assert not any(parameter.requires_grad for parameter in mine.parameters())


def test_the_discriminator_comes_to_name_what_the_target_names_and_fakes_what_they_are_to_show():
    result = taught(Teaching(plain_steps=0, steps=150, discriminator_steps=2, batch_size=32, learning_rate=5e-3))
    classes = torch.arange(N_CLASSES).repeat(60)

    def agreement(net, heads):
        fakes = net(torch.randn(180, LATENT, generator=rng(3)), classes)
        labels = brightest(fakes)
        return float((labels == heads(fakes)[1].argmax(1)).float().mean()), float((labels == classes).float().mean())

    before = agreement(seeded(1, ConditionalNet), seeded(2, TwoHeads))
    after = agreement(result.generator, result.discriminator)
    assert after[0] > 0.9 > before[0]
    assert after[1] > 0.8 > before[1]


def test_a_taught_generator_can_be_searched():
    result = taught(Teaching(plain_steps=0, steps=1, discriminator_steps=1, batch_size=4))
    assert (result.latent_size, result.conditional, result.image_shape) == (LATENT, N_CLASSES, SHAPE)
    surrogate = Learned((lambda images: result.discriminator(images)[1],), result.queries)
    found = run(learned=surrogate, generator=result)
    assert found.images.shape == (N_CLASSES, 3, *SHAPE)


def test_a_surrogate_learns_as_in_a_loop_over_batches():
    decoder, draws = Decoder(), rng()
    z, y = decoder.draw(24, draws), torch.arange(3).repeat_interleave(8)
    x = decoder.images(z, y)
    labels, net = brightest(x), classifier().train()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    order = torch.empty(0, dtype=torch.int64)
    for epoch in range(3):
        for group in sgd.param_groups:
            group["lr"] = 0.1 * (1 + math.cos(math.pi * epoch / 3)) / 2
        for _ in range(2):
            if len(order) < 10:
                order = torch.cat([order, torch.randperm(24, generator=draws)])
            batch, order = order[:10], order[10:]
            torch.rand(10, 7, generator=draws)  # the views, which change nothing
            sgd.zero_grad()
            F.cross_entropy(net(x[batch]), labels[batch]).backward()
            sgd.step()
    result = learned(networks=[classifier()])
    torch.testing.assert_close(result.surrogates[0].state_dict(), net.state_dict(), rtol=1e-3, atol=1e-5)


def test_a_surrogate_comes_to_answer_as_the_target():
    settings = Learning(per_class=100, epochs=20, epoch_images=600, batch_size=50, learning_rate=0.05, views=STILL)
    decoder = Decoder(torch.eye(16) * 3)
    result = learned(generator=decoder, settings=settings)
    fresh = decoder.images(decoder.draw(300, rng(5)), torch.zeros(300, dtype=torch.int64))
    for before, after in zip((classifier(), classifier(1)), result.surrogates, strict=True):
        agree = [(net(fresh).argmax(1) == brightest(fresh)).float().mean() for net in (before, after)]
        assert agree[1] > 0.85 > agree[0]
        assert not after.training


def test_half_of_the_loss_is_on_views():
    still = learned(networks=[classifier()]).surrogates[0].state_dict()
    seen = learned(
        networks=[classifier()], settings=Learning(per_class=8, epochs=3, epoch_images=20, batch_size=10)
    ).surrogates[0]
    assert not torch.allclose(seen.state_dict()["1.weight"], still["1.weight"])


def test_every_label_is_counted_and_nothing_given_is_changed():
    label_of = Counting(brightest)
    nets = (seeded(1, ConditionalNet), seeded(2, TwoHeads), classifier())
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    settings = Teaching(plain_steps=2, steps=3, discriminator_steps=2, batch_size=5)
    first = taught(settings, label_of=label_of, generator=nets[0], discriminator=nets[1])
    assert first.queries == label_of.seen == 3 * 2 * 5
    second = learned(label_of=label_of, generator=first, networks=[nets[2]], taught_queries=first.queries)
    assert second.queries == label_of.seen == 30 + 24
    found = run(learned=second, generator=first)
    assert label_of.seen == found.shared_queries == 54
    assert found.queries.tolist() == [0] * N_CLASSES
    for net, state in zip(nets, before, strict=True):
        torch.testing.assert_close(net.state_dict(), state, rtol=0, atol=0)
        assert all(parameter.grad is None for parameter in net.parameters())


def test_the_search_is_that_of_a_loop_over_steps():
    target, decoder, models = 1, Decoder(), (classifier(), classifier(1))
    starts = decoder.draw(3, rng(5))
    ends = []
    for start in starts:
        z = start[None].clone().requires_grad_()
        optimizer = torch.optim.Adam([z], lr=0.1)

        def loss(image):
            margins = [max(u[0], u[2]) - u[1] for u in (model(image)[0] for model in models)]
            return sum(margins) / 2

        for _ in range(5):
            optimizer.zero_grad()
            (2 * loss(decoder.images(z, torch.tensor([target])))).backward()
            optimizer.step()
        image = decoder.images(z.detach(), torch.tensor([target]))
        ends.append((loss(image).item(), image[0]))
    ends.sort(key=lambda pair: pair[0])
    found = run(classes=[target], rng=rng(5))
    torch.testing.assert_close(found.images[0], torch.stack([image for _, image in ends]), rtol=1e-4, atol=1e-5)
    assert found.confidence is None


def test_images_show_the_class():
    found = run(
        learned=Learned((rows,), 0), generator=Decoder(torch.eye(16)), settings=LOKT(iterations=60, views=STILL)
    )
    shown = found.images.flatten(0, 1)
    assert torch.equal(brightest(shown), torch.arange(N_CLASSES).repeat_interleave(5))


def test_a_class_alone_ends_where_it_does_beside_others_and_in_small_batches():
    settings = LOKT(iterations=5, restarts=3)
    together = run(settings=settings)
    small = run(settings=LOKT(iterations=5, restarts=3, batch_size=2))
    torch.testing.assert_close(small.images, together.images, rtol=1e-4, atol=1e-5)
    for c in range(N_CLASSES):
        alone = run(classes=[c], settings=settings)
        torch.testing.assert_close(alone.images[0], together.images[c], rtol=1e-4, atol=1e-5)


def test_the_same_draws_give_the_same_result():
    assert torch.equal(run().images, run().images)
    assert not torch.equal(run(rng=rng(1)).images, run().images)


@pytest.mark.parametrize(
    ("what", "change", "message"),
    [
        (run, {"classes": []}, "at least one class"),
        (run, {"classes": [0, 3]}, "classes must be 0..2"),
        (run, {"learned": Learned((lambda images: rows(images).detach(),), 0)}, "differentiable"),
        (learned, {"networks": []}, "at least one network"),
        (learned, {"generator": type("Plain", (Decoder,), {"conditional": 0})()}, "must be conditional"),
    ],
)
def test_bad_input_is_named(what, change, message):
    with pytest.raises(ValueError, match=message):
        what(**change)


def test_teaching_needs_public_images():
    with pytest.raises(ValueError, match="at least one image"):
        taught(Teaching(), public_images=torch.zeros(0, *SHAPE))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Teaching, {"plain_steps": -1}),
        (Teaching, {"steps": 0}),
        (Teaching, {"discriminator_steps": 0}),
        (Teaching, {"class_weight": 0.0}),
        (Teaching, {"learning_rate": 0.0}),
        (Teaching, {"batch_size": 0}),
        (Learning, {"per_class": 0}),
        (Learning, {"epochs": 0}),
        (Learning, {"epoch_images": 255}),
        (Learning, {"learning_rate": math.nan}),
        (Learning, {"momentum": 1.0}),
        (Learning, {"weight_decay": -1.0}),
        (LOKT, {"learning_rate": 0.0}),
        (LOKT, {"iterations": 0}),
        (LOKT, {"views_per_step": 0}),
        (LOKT, {"restarts": 0}),
        (LOKT, {"batch_size": 0}),
    ],
)
def test_bad_settings_are_named(kind, values):
    with pytest.raises(ValueError, match=next(iter(values))):
        kind(**values)
