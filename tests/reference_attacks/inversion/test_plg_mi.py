"""PLG-MI on linear targets and a hand-made conditional generator, where what it must find is known."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from reference_attacks.inversion.losses import Views, class_loss, random_view, view, view_chances
from reference_attacks.inversion.plg_mi import PlgMi, invert, pseudo_label, train_prior
from reference_attacks.priors import conditional_gan
from reference_attacks.priors.conditional_gan import GanSettings, Labelled, Progress

N_CLASSES = 3
STILL = Views(smallest_area=1.0, jitter=0.0, flip=False, rotation=0.0)
QUICK = PlgMi(iterations=6, restarts=4)
TINY = GanSettings(latent_size=3, width=2, steps=4, batch_size=4)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Rows:
    """Each latent number is the brightness of a row of the image; the class's own row is told a little more."""

    latent_size = 6
    image_shape = (1, 6, 5)
    conditional = N_CLASSES

    def __init__(self, dtype=torch.float32):
        self.dtype = dtype

    def draw(self, count, rng):
        return torch.randn(count, self.latent_size, generator=rng).to(self.dtype)

    def images(self, latents, classes=None):
        told = torch.nn.functional.one_hot(classes, self.latent_size)
        return torch.sigmoid(latents + told)[:, None, :, None].expand(-1, 1, 6, 5)


def target(scale=4.0):
    """Class c looks at row 2c."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, N_CLASSES))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()
        for c in range(N_CLASSES):
            model[1].weight[c, 10 * c : 10 * c + 5] = scale
    return model.eval()


def public(count=20):
    return torch.rand(count, 1, 6, 5, generator=rng(1))


class Counting:
    def __init__(self, model):
        self.model, self.shown, self.largest = model, 0, 0

    def __call__(self, images):
        self.shown += len(images)
        self.largest = max(self.largest, len(images))
        return self.model(images)


def test_pseudo_labels_are_the_surest_images_of_each_class():
    released = torch.tensor([[0.9, 0.1, 0.0], [0.3, 0.3, 0.4], [0.5, 0.45, 0.05], [0.0, 0.2, 0.8]])
    chosen = pseudo_label(released, 2)
    assert chosen.rows.tolist() == [0, 2, 2, 1, 3, 1]
    assert chosen.classes.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("per_class", [0, 5])
def test_as_many_public_images_as_labels_are_needed(per_class):
    with pytest.raises(ValueError, match=r"per_class must be 1\.\.4"):
        pseudo_label(torch.full((4, 3), 1 / 3), per_class)


def test_every_class_is_found_and_the_surest_restart_comes_first():
    model = target()
    found = invert(
        logits=model, classes=[2, 0], generator=Rows(), rng=rng(), settings=replace(QUICK, iterations=60, views=STILL)
    )
    assert found.images.shape == (2, 4, 1, 6, 5)
    shown = model(found.images.flatten(0, 1)).double().softmax(dim=1).unflatten(0, (2, 4)).detach()
    torch.testing.assert_close(found.confidence[0], shown[0, :, 2])
    torch.testing.assert_close(found.confidence[1], shown[1, :, 0])
    assert (found.confidence > 0.99).all()
    assert (found.confidence.diff(dim=1) <= 0).all()
    rows = found.images[:, 0, 0].mean(dim=2)
    assert rows[0].argmax() == 4
    assert rows[1].argmax() == 0


@pytest.mark.parametrize("loss", ["max-margin", "cross-entropy", "poincare"])
@pytest.mark.parametrize(("views_per_step", "clip"), [(1, torch.inf), (2, torch.inf), (2, 0.75)])
def test_the_search_is_adam_on_the_sum_over_the_views(loss, views_per_step, clip):
    model, prior, views = target().double(), Rows(torch.float64), Views(flip=False)
    settings = replace(
        QUICK, loss=loss, views=views, views_per_step=views_per_step, clip=clip, restarts=2, batch_size=3
    )
    found = invert(logits=model, classes=[1, 2], generator=prior, rng=rng(), settings=settings)

    random, of = rng(), torch.tensor([1, 1, 2, 2])
    latents = prior.draw(4, random).requires_grad_()
    adam = torch.optim.Adam([latents], lr=0.1)
    for _ in range(6):
        adam.zero_grad()
        images = prior.images(latents, of)
        for _ in range(views_per_step):
            shown = model(view(images, view_chances(4, random), views))
            class_loss(loss)(shown, of).sum().backward(retain_graph=True)
        adam.step()
        with torch.no_grad():
            latents.clamp_(-clip, clip)
    images = prior.images(latents, of).detach().unflatten(0, (2, 2))
    confidence = model(images.flatten(0, 1)).softmax(dim=1).gather(1, of[:, None]).detach().reshape(2, 2)
    order = confidence.argsort(dim=1, descending=True)
    torch.testing.assert_close(found.confidence, confidence.gather(1, order))
    torch.testing.assert_close(found.images, images[torch.arange(2)[:, None], order])


def test_the_batch_size_changes_nothing_but_how_much_is_shown_at_once():
    results, largest = [], []
    for batch_size in (1, 5, 256):
        asked, prior = Counting(target().double()), Rows(torch.float64)
        settings = replace(QUICK, batch_size=batch_size)
        results.append(invert(logits=asked, classes=range(3), generator=prior, rng=rng(), settings=settings))
        largest.append(asked.largest)
    assert largest == [1, 5, 12]
    for result in results[1:]:
        torch.testing.assert_close(result.images, results[0].images)


def test_the_seed_decides():
    first, again, other = (
        invert(logits=target(), classes=[1], generator=Rows(), rng=rng(seed), settings=QUICK) for seed in (0, 0, 1)
    )
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_every_image_shown_in_the_search_is_counted():
    asked = Counting(target())
    found = invert(
        logits=asked,
        classes=[0, 2],
        generator=Rows(),
        rng=rng(),
        prior_queries=77,
        settings=replace(QUICK, views_per_step=3),
    )
    assert found.queries.tolist() == [4 * (6 * 3 + 1)] * 2
    assert int(found.queries.sum()) == asked.shown
    assert found.shared_queries == 77


@pytest.mark.parametrize("weight", [0.0, 0.2])
def test_every_image_shown_for_the_prior_is_counted(weight):
    asked = Counting(target())
    settings = replace(QUICK, per_class=4, inversion_weight=weight)
    made = train_prior(logits=asked, public=public(), rng=rng(), gan=TINY, settings=settings)
    assert made.queries == asked.shown == 20 + (16 if weight else 0)
    assert made.prior.conditional == N_CLASSES


def test_the_prior_is_a_conditional_gan_on_pseudo_labels_with_the_inversion_term():
    model, settings = target(), replace(QUICK, per_class=4, inversion_weight=3.0)
    made = train_prior(logits=model, public=public(), rng=rng(), gan=TINY, settings=settings)

    chosen = pseudo_label(model(public()).detach().double().softmax(dim=1), 4)
    labelled = Labelled(public()[chosen.rows], chosen.classes, N_CLASSES)

    def term(fakes, classes, random):
        shown = model(random_view(fakes, Views(), random))
        return 3.0 * class_loss("max-margin")(shown, classes).mean()

    expected = conditional_gan.train(labelled, rng=rng(), settings=TINY, extra=term).tensors()
    plain = conditional_gan.train(labelled, rng=rng(), settings=TINY).tensors()
    for name, value in made.prior.tensors().items():
        torch.testing.assert_close(value, expected[name])
    assert not torch.equal(expected["generator.first.weight"], plain["generator.first.weight"])


def test_a_killed_training_of_the_prior_goes_on_to_the_same_weights():
    settings, kept = replace(QUICK, per_class=4), []
    whole = train_prior(
        logits=target(),
        public=public(),
        rng=rng(),
        gan=TINY,
        settings=settings,
        progress=Progress(keep=kept.append, keep_every=3),
    )
    resumed = train_prior(
        logits=target(), public=public(), rng=rng(9), gan=TINY, settings=settings, progress=Progress(resume=kept[0])
    )
    tensors = resumed.prior.tensors()
    assert all(torch.equal(value, tensors[name]) for name, value in whole.prior.tensors().items())
    assert resumed.queries == whole.queries


def test_the_search_runs_on_the_trained_prior():
    settings = replace(QUICK, per_class=4)
    made = train_prior(logits=target(), public=public(), rng=rng(), gan=TINY, settings=settings)
    found = invert(
        logits=target(),
        classes=[0, 1],
        generator=made.prior,
        rng=rng(),
        prior_queries=made.queries,
        settings=settings,
    )
    assert found.images.shape == (2, 4, 1, 6, 5)
    assert found.images.dtype == torch.float32
    assert found.shared_queries == made.queries


def test_the_target_is_not_changed():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(30, N_CLASSES)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_prior(logits=model, public=public(), rng=rng(), gan=TINY, settings=replace(QUICK, per_class=4))
    invert(logits=model, classes=[0, 1], generator=Rows(), rng=rng(), settings=QUICK)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weights.grad is None for weights in model.parameters())
    assert not model.training


def test_a_target_without_gradients_is_refused():
    def shut(images):
        with torch.no_grad():
            return target()(images)

    with pytest.raises(ValueError, match="differentiable"):
        invert(logits=shut, classes=[0], generator=Rows(), rng=rng(), settings=QUICK)
    settings = replace(QUICK, per_class=4)
    with pytest.raises(ValueError, match="differentiable"):
        train_prior(logits=shut, public=public(), rng=rng(), gan=TINY, settings=settings)
    only_labels = train_prior(
        logits=shut, public=public(), rng=rng(), gan=TINY, settings=replace(settings, inversion_weight=0.0)
    )
    assert only_labels.queries == 20


@pytest.mark.parametrize("classes", [[], [3], [-1]])
def test_classes_that_cannot_be_told_are_refused(classes):
    with pytest.raises(ValueError, match="classes must"):
        invert(logits=target(), classes=classes, generator=Rows(), rng=rng(), settings=QUICK)


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "margin"},
        {"inversion_weight": -0.1},
        {"learning_rate": 0.0},
        {"clip": 0.0},
        {"per_class": 0},
        {"views_per_step": 0},
        {"iterations": 0},
        {"restarts": 0},
        {"batch_size": 0},
    ],
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PlgMi(**wrong)
