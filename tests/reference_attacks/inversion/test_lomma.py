"""LOMMA's loss, step by step, and its students."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference_attacks.inversion import gmi
from reference_attacks.inversion.gmi import GMI
from reference_attacks.inversion.lomma import LOMMA, Learned, distill_students, invert, learn
from reference_attacks.inversion.students import Students, StudentTraining, small_networks

SHAPE = (1, 4, 4)
N_CLASSES = 4
QUICK = {"iterations": 6, "restarts": 3, "averaged_over": 4}


class Decoder:
    image_shape = SHAPE
    conditional = 0
    latent_size = 5

    def __init__(self):
        self.weight = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))

    def draw(self, count, rng):
        return torch.randn(count, 5, generator=rng)

    def images(self, latents, classes=None):
        return (latents @ self.weight).sigmoid().unflatten(1, SHAPE)


class Target(nn.Module):
    """Six features and a linear layer."""

    def __init__(self, seed=0, scale=1.0):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.Tanh())
            self.last = nn.Linear(6, N_CLASSES)
        with torch.no_grad():
            self.last.weight *= scale
        self.eval()

    def forward(self, images):
        return self.last(self.body(images))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def contrast(images):
    return images.flatten(1).std(dim=1)


def public(n=40, seed=9):
    return torch.rand(n, *SHAPE, generator=rng(seed))


def learned(*students, mean=None):
    return Learned(Students(students, 0), torch.zeros(6) if mean is None else mean, 0)


def run(target=None, **changes):
    target = target or Target()
    given = {"logits": target, "features": target.body, "critic": contrast, "learned": learned(Target(1), Target(2))}
    return invert(
        **{
            **given,
            "classes": range(N_CLASSES),
            "generator": Decoder(),
            "rng": rng(),
            "settings": LOMMA(**QUICK),
            **changes,
        }
    )


@pytest.mark.parametrize("distance", ["mean", "sum"])
def test_the_loss_by_hand(distance):
    target, students, decoder = Target(), (Target(1), Target(2)), Decoder()
    mean = torch.linspace(-1, 1, 6)
    z = decoder.draw(1, rng())
    velocity = torch.zeros_like(z)
    for _ in range(6):
        z.requires_grad_()
        image = decoder.images(z)
        logit = sum(model(image)[0, 2] for model in (target, *students)) / 3
        squares = [(target.body(image)[0, j] - mean[j]) ** 2 for j in range(6)]
        penalty = sum(squares) / (6 if distance == "mean" else 1)
        (slope,) = torch.autograd.grad((100 * (-logit + 0.5 * penalty) - contrast(image)[0]) / 4, z)
        last, velocity = velocity, 0.9 * velocity - 0.02 * slope
        z = (z - 0.9 * last + 1.9 * velocity).clamp(-1, 1).detach()
    settings = LOMMA(iterations=6, restarts=1, averaged_over=4, feature_weight=0.5, feature_distance=distance)
    found = run(target, learned=learned(*students, mean=mean), classes=[2], settings=settings)
    torch.testing.assert_close(found.images[0], decoder.images(z))


def test_without_students_and_features_it_is_gmi_on_the_logit():
    target = Target()
    found = run(target, learned=learned(), settings=LOMMA(feature_weight=0.0, **QUICK))
    plain = gmi.invert(
        logits=target,
        critic=contrast,
        classes=range(N_CLASSES),
        generator=Decoder(),
        rng=rng(),
        settings=GMI(identity_loss="logit", **QUICK),
    )
    torch.testing.assert_close(found.images, plain.images)
    torch.testing.assert_close(found.queries, plain.queries)


def test_a_heavy_penalty_holds_the_features_at_those_of_the_public_images():
    target = Target()
    mean = target.body(Decoder().images(torch.full((1, 5), 0.3))).detach()[0]
    free, held = (
        run(
            target,
            learned=learned(mean=mean),
            settings=LOMMA(iterations=200, averaged_over=1000, feature_weight=weight),
        )
        for weight in (0.0, 100.0)
    )
    apart = [(target.body(found.images.flatten(0, 1)) - mean).square().mean().item() for found in (free, held)]
    assert apart[1] < 0.1 * apart[0]


def test_students_have_a_say():
    class Opposed(nn.Module):
        def forward(self, images):
            return -Target()(images)

    alone = run(learned=learned(), settings=LOMMA(feature_weight=0.0, **QUICK))
    outvoted = run(learned=learned(Opposed(), Opposed()), settings=LOMMA(feature_weight=0.0, **QUICK))
    assert (alone.confidence[:, 0] > outvoted.confidence[:, 0]).all()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_counts_every_image_that_the_target_saw(weight):
    seen, target = [], Target()

    def counting(model):
        def answer(images):
            seen.append(len(images))
            return model(images)

        return answer

    settings = LOMMA(feature_weight=weight, feature_images=30, training=StudentTraining(epochs=2), **QUICK)
    known = learn(
        logits=counting(target),
        features=counting(target.body),
        public_images=public(),
        networks=[Target(1)],
        rng=rng(),
        settings=settings,
    )
    assert sum(seen) == known.queries + known.students.queries == 40 + 30
    found = run(target, logits=counting(target), features=counting(target.body), learned=known, settings=settings)
    assert int(found.queries.sum()) + found.shared_queries == sum(seen)


def test_learns_the_mean_features_of_public_images():
    target, images = Target(), public()
    given = {"logits": target, "features": target.body, "networks": []}
    every = learn(public_images=images, rng=rng(), **given)
    torch.testing.assert_close(every.mean_features, target.body(images).mean(dim=0))
    assert every.queries == 40
    assert every.students.networks == ()
    some = learn(public_images=images, rng=rng(), settings=LOMMA(feature_images=7), **given)
    rows = torch.randperm(40, generator=rng())[:7]
    torch.testing.assert_close(some.mean_features, target.body(images[rows]).mean(dim=0))


def test_the_same_seed_gives_the_same_images():
    first, again, other = run(rng=rng(5)), run(rng=rng(5)), run(rng=rng(6))
    assert torch.equal(first.images, again.images)
    assert not torch.allclose(first.images, other.images)


def test_the_target_and_the_networks_stay_as_they_were():
    target, network = Target(), Target(1).train()
    before = copy.deepcopy((target.state_dict(), network.state_dict()))
    settings = LOMMA(training=StudentTraining(epochs=2), **QUICK)
    known = learn(
        logits=target, features=target.body, public_images=public(), networks=[network], rng=rng(), settings=settings
    )
    run(target, learned=known, settings=settings)
    for model, state in zip((target, network), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
    assert (target.training, network.training) == (False, True)
    student = known.students.networks[0]
    assert not student.training
    assert not any(parameter.requires_grad for parameter in student.parameters())
    assert not torch.equal(student.last.weight, network.last.weight)


def test_a_step_of_distillation_by_hand():
    target, images, temperature = Target(scale=5.0), public(8), 2.0
    student = nn.Sequential(nn.Flatten(), nn.Linear(16, N_CLASSES))
    weight = student[1].weight.detach().clone().requires_grad_()
    q = (target(images).detach() / temperature).softmax(dim=1)
    p = ((images.flatten(1) @ weight.T + student[1].bias.detach()) / temperature).softmax(dim=1)
    loss = (q * (q.log() - p.log())).sum(dim=1).mean()
    (slope,) = torch.autograd.grad(loss, weight)
    expected = weight - 0.3 * (slope + 0.1 * weight)
    training = StudentTraining(epochs=1, learning_rate=0.3, weight_decay=0.1, temperature=temperature)
    made = distill_students(logits=target, public_images=images, networks=[student], rng=rng(), settings=training)
    torch.testing.assert_close(made.networks[0][1].weight, expected.detach())
    assert made.queries == 8


def test_students_come_to_agree_with_the_target():
    target, images = Target(scale=20.0), public(200)
    fresh = public(200, seed=10)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.Dropout(0.1), nn.ReLU(), nn.Linear(32, N_CLASSES))
    training = StudentTraining(epochs=30, learning_rate=0.1, batch_size=20)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    made, again = (
        distill_students(
            logits=target, public_images=images, networks=[network], rng=rng(), settings=training
        ).networks[0]
        for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(made[1].weight, again[1].weight)
    before, after = (
        (model.eval()(fresh).argmax(1) == target(fresh).argmax(1)).float().mean() for model in (network, made)
    )
    assert after > 0.85 > before + 0.2


def test_a_last_batch_of_one_is_left_out():
    training = StudentTraining(epochs=3, batch_size=4)
    made = distill_students(
        logits=Target(), public_images=public(9), networks=[Target(1)], rng=rng(), settings=training
    )
    assert made.queries == 9
    assert made.networks[0].body[2].num_batches_tracked == 3 * 2


def test_small_networks_differ_and_are_reproducible():
    state = torch.get_rng_state()
    networks, again = (small_networks(3, image_shape=(3, 9, 7), n_classes=5, rng=rng(2)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    images = torch.rand(2, 3, 9, 7, generator=rng())
    sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert sizes == sorted(set(sizes))
    for network, twin in zip(networks, again, strict=True):
        assert network(images).shape == (2, 5)
        assert torch.equal(network[0].weight, twin[0].weight)


def test_a_student_that_diverges_is_reported():
    training = StudentTraining(epochs=3, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="diverged"):
        distill_students(logits=Target(), public_images=public(), networks=[Target(1)], rng=rng(), settings=training)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="public_images"):
        distill_students(logits=Target(), public_images=public(0), networks=[], rng=rng())
    with pytest.raises(ValueError, match="classes must name at least one class"):
        run(classes=[])
    with pytest.raises(ValueError, match="logits must be differentiable"):
        run(logits=lambda images: F.one_hot(torch.zeros(len(images), dtype=torch.int64), N_CLASSES).float())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (LOMMA, {"iterations": 0}),
        (LOMMA, {"identity_loss": "poincare"}),
        (LOMMA, {"feature_weight": -1.0}),
        (LOMMA, {"feature_distance": "median"}),
        (LOMMA, {"feature_images": 0}),
        (StudentTraining, {"epochs": 0}),
        (StudentTraining, {"batch_size": 0}),
        (StudentTraining, {"learning_rate": 0.0}),
        (StudentTraining, {"temperature": math.inf}),
        (StudentTraining, {"momentum": 1.0}),
        (StudentTraining, {"weight_decay": -1.0}),
    ],
)
def test_bad_settings_are_named(kind, values):
    with pytest.raises(ValueError, match=next(iter(values))):
        kind(**values)
