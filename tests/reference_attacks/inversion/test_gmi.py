"""GMI's search with fixed decoders and small targets, for which every step can be followed."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference_attacks.inversion.gmi import GMI, invert

SHAPE = (1, 4, 4)
N_CLASSES = 4
QUICK = GMI(iterations=6, restarts=3, averaged_over=4)


class Decoder:
    """A fixed linear map and a sigmoid; with a `table`, draws are its first rows."""

    image_shape = SHAPE
    conditional = 0

    def __init__(self, latent_size=5, table=None):
        self.latent_size = latent_size
        self.weight = torch.randn(latent_size, 16, generator=torch.Generator().manual_seed(1))
        self.table = table

    def draw(self, count, rng):
        return (
            self.table[:count].clone()
            if self.table is not None
            else torch.randn(count, self.latent_size, generator=rng)
        )

    def images(self, latents, classes=None):
        return (latents @ self.weight).sigmoid().unflatten(1, SHAPE)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def quarters(images):
    """Class c looks at quarter c of the image."""
    return 8.0 * images.flatten(1).unflatten(1, (4, 4)).mean(dim=2)


def network(seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, N_CLASSES))
    return model.eval()


def contrast(images):
    return images.flatten(1).std(dim=1)


def run(**changes):
    given = {"logits": network(), "critic": contrast, "classes": range(N_CLASSES), "generator": Decoder(), "rng": rng()}
    return invert(**{"settings": QUICK, **given, **changes})


def losses_by_hand(name, logits, target):
    if name == "cross-entropy":
        return -logits.log_softmax(dim=1)[0, target]
    if name == "logit":
        return -logits[0, target]
    return max(logits[0, c] for c in range(N_CLASSES) if c != target) - logits[0, target]


@pytest.mark.parametrize("name", ["cross-entropy", "max-margin", "logit"])
def test_the_steps_are_those_of_sgd_with_nesterovs_momentum(name):
    settings = GMI(identity_loss=name, iterations=6, restarts=2, averaged_over=4, identity_weight=30.0, clip=0.8)
    target, decoder, model = 2, Decoder(), network()
    starts = decoder.draw(2, rng())
    expected = []
    for start in starts:
        z = start[None].clone().requires_grad_()
        sgd = torch.optim.SGD([z], lr=settings.learning_rate, momentum=settings.momentum, nesterov=True)
        for _ in range(settings.iterations):
            image = decoder.images(z)
            loss = (30.0 * losses_by_hand(name, model(image), target) - contrast(image)[0]) / 4
            (z.grad,) = torch.autograd.grad(loss, z)
            sgd.step()
            with torch.no_grad():
                z.clamp_(-0.8, 0.8)
        image = decoder.images(z).detach()
        expected.append((model(image).softmax(dim=1)[0, target].item(), image[0]))
    expected.sort(key=lambda pair: -pair[0])
    found = run(logits=model, classes=[target], settings=settings)
    torch.testing.assert_close(found.images[0], torch.stack([image for _, image in expected]))
    torch.testing.assert_close(
        found.confidence[0], torch.tensor([p for p, _ in expected], dtype=torch.float64), rtol=1e-5, atol=0.0
    )


def test_ends_in_the_corner_that_shows_the_class():
    decoder = Decoder(latent_size=16)
    decoder.weight = torch.eye(16)
    found = run(
        logits=quarters,
        critic=lambda images: images.sum(dim=(1, 2, 3)) * 0.0,
        generator=decoder,
        settings=GMI(iterations=60, averaged_over=2),
    )
    for c in range(N_CLASSES):
        corner = -torch.ones(16)
        corner[4 * c : 4 * c + 4] = 1.0
        torch.testing.assert_close(found.images[c], corner.sigmoid().view(SHAPE).expand(5, *SHAPE))


def test_without_a_limit_latents_leave_the_box():
    inside, free = (
        run(settings=GMI(iterations=40, restarts=1, averaged_over=4, clip=clip)).confidence for clip in (0.5, math.inf)
    )
    assert (free > inside).all()


def test_the_first_latents_are_not_clipped():
    shown = []

    def watched(images):
        shown.append(images.detach())
        return quarters(images)

    table = torch.full((1, 5), 3.0)
    decoder = Decoder(table=table)
    run(logits=watched, classes=[0], generator=decoder, settings=GMI(iterations=1, restarts=1))
    torch.testing.assert_close(shown[0], decoder.images(table))
    torch.testing.assert_close(shown[1], decoder.images(torch.ones(1, 5)))


def test_the_critic_decides_where_the_target_does_not_care():
    def deaf(images):
        return images.sum(dim=(1, 2, 3))[:, None] * torch.zeros(N_CLASSES)

    settings = GMI(iterations=50, restarts=1, averaged_over=1, clip=math.inf)
    bright, dark = (
        run(logits=deaf, critic=lambda images, sign=sign: sign * images.mean(dim=(1, 2, 3)), settings=settings).images
        for sign in (1.0, -1.0)
    )
    assert bright.mean() > dark.mean() + 0.05


def test_max_margin_goes_on_where_cross_entropy_has_no_gradient():
    def sure(images):
        return quarters(images) + torch.tensor([200.0, 0.0, 0.0, 0.0])

    table = torch.zeros(1, 5)
    held, moved = (
        run(
            logits=sure,
            critic=lambda images: images.sum(dim=(1, 2, 3)) * 0.0,
            classes=[0],
            generator=Decoder(table=table),
            settings=GMI(identity_loss=name, iterations=3, restarts=1),
        ).images
        for name in ("cross-entropy", "max-margin")
    )
    assert (held == 0.5).all()
    assert quarters(moved[0])[0, 0] > quarters(held[0])[0, 0]


def test_the_surest_restart_comes_first():
    model = network()
    found = run(logits=model)
    assert found.images.shape == (N_CLASSES, 3, *SHAPE)
    assert (found.confidence.diff(dim=1) <= 0).all()
    assert len(found.confidence.unique()) > N_CLASSES
    for c in range(N_CLASSES):
        shown = model(found.images[c]).double().softmax(dim=1)[:, c]
        torch.testing.assert_close(found.confidence[c], shown)
    assert found.images.dtype == torch.float32
    assert found.confidence.dtype == torch.float64


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_how_many_are_shown_at_once_does_not_matter(batch_size):
    settings = GMI(iterations=6, restarts=3, averaged_over=4, batch_size=batch_size)
    torch.testing.assert_close(run(settings=settings).images, run().images)


def test_a_class_does_not_depend_on_the_others():
    table = torch.randn(3, 5, generator=rng(3)).repeat(N_CLASSES, 1)
    together = run(generator=Decoder(table=table))
    for c in range(N_CLASSES):
        alone = run(classes=[c], generator=Decoder(table=table))
        torch.testing.assert_close(alone.images[0], together.images[c])
        torch.testing.assert_close(alone.confidence[0], together.confidence[c])


def test_the_same_seed_gives_the_same_images():
    first, again, other = run(rng=rng(5)), run(rng=rng(5)), run(rng=rng(6))
    assert torch.equal(first.images, again.images)
    assert not torch.allclose(first.images, other.images)


def test_counts_every_image_that_the_target_saw():
    seen, model = [], network()

    def counting(images):
        seen.append(len(images))
        return model(images)

    found = run(logits=counting)
    assert found.queries.tolist() == [3 * 7] * N_CLASSES
    assert int(found.queries.sum()) + found.shared_queries == sum(seen)
    assert found.snapshots == ()


def test_the_target_stays_as_it_was():
    model = network()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        found = run(logits=model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert not found.images.requires_grad
    assert not found.confidence.requires_grad


def test_a_conditional_generator_is_told_the_class():
    class Told(Decoder):
        conditional = N_CLASSES

        def images(self, latents, classes=None):
            shift = F.one_hot(classes, N_CLASSES).repeat_interleave(4, dim=1) * 6.0 - 3.0
            return (0.1 * latents @ self.weight + shift).sigmoid().unflatten(1, SHAPE)

    found = run(logits=quarters, classes=[3, 1], generator=Told())
    assert quarters(found.images.flatten(0, 1)).argmax(dim=1).tolist() == [3, 3, 3, 1, 1, 1]


def test_a_critic_may_answer_in_a_column():
    column = run(critic=lambda images: contrast(images)[:, None])
    torch.testing.assert_close(column.images, run().images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": []}, "classes must name at least one class"),
        ({"logits": lambda images: quarters(images).detach()}, "logits must be differentiable"),
        ({"critic": lambda images: images.mean()}, "critic must give one number for each of 12 images"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        run(**change)


@pytest.mark.parametrize(
    "values",
    [
        {"identity_loss": "hinge"},
        {"identity_weight": 0.0},
        {"learning_rate": math.inf},
        {"momentum": 1.0},
        {"iterations": 0},
        {"clip": 0.0},
        {"clip": math.nan},
        {"restarts": 0},
        {"averaged_over": 0},
        {"batch_size": 0},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        GMI(**values)
