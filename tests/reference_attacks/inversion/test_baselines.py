"""The attacks that only look: what they pick is compared with a plain loop."""

import pytest
import torch

from reference_attacks.inversion.baselines import (
    BestOfDraws,
    MostConfidentPublic,
    best_of_draws,
    most_confident_public,
)

SHAPE = (1, 2, 2)
CLASSES = (2, 0)


class Decoder:
    image_shape = SHAPE
    conditional = 0
    latent_size = 4

    def draw(self, count, rng):
        return torch.randn(count, 4, generator=rng)

    def images(self, latents, classes=None):
        return latents.sigmoid().unflatten(1, SHAPE)


class Told(Decoder):
    """Brightens the pixel of its class."""

    conditional = 4

    def images(self, latents, classes=None):
        return (latents + 2.0 * torch.nn.functional.one_hot(classes, 4)).sigmoid().unflatten(1, SHAPE)


def released(images):
    """Class c likes pixel c."""
    return (3.0 * images.flatten(1)).softmax(dim=1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def counted(seen):
    def answer(images):
        assert not images.requires_grad
        seen.append(len(images))
        return released(images)

    return answer


def draws(**changes):
    given = {"released": released, "classes": CLASSES, "generator": Decoder(), "rng": rng()}
    return best_of_draws(**{**given, "settings": BestOfDraws(draws=50, restarts=3, batch_size=7), **changes})


def public(**changes):
    images = torch.rand(50, *SHAPE, generator=rng(4))
    given = {"released": released, "public_images": images, "classes": CLASSES, "rng": rng()}
    return most_confident_public(**{**given, "settings": MostConfidentPublic(restarts=3, batch_size=7), **changes})


def best_by_hand(images, c, k=3):
    scored = sorted(((released(image[None])[0, c].item(), -place) for place, image in enumerate(images)), reverse=True)
    return torch.stack([images[-place] for _, place in scored[:k]])


def test_draws_are_picked_by_the_confidence_in_the_class():
    found, candidates = draws(), Decoder().images(Decoder().draw(50, rng()))
    assert found.images.shape == (2, 3, *SHAPE)
    for place, c in enumerate(CLASSES):
        torch.testing.assert_close(found.images[place], best_by_hand(candidates, c))
        torch.testing.assert_close(found.confidence[place], released(found.images[place])[:, c].double())
    assert found.confidence.dtype == torch.float64


def test_public_images_are_picked_by_the_confidence_in_the_class():
    images = torch.rand(50, *SHAPE, generator=rng(4))
    found = public()
    for place, c in enumerate(CLASSES):
        torch.testing.assert_close(found.images[place], best_by_hand(images, c))
        torch.testing.assert_close(found.confidence[place], released(found.images[place])[:, c].double())
    assert torch.equal(public(rng=rng(1)).images, found.images)


def test_a_generator_that_is_told_the_class_draws_for_each():
    seen, latents = [], Told().draw(50, rng())
    found = draws(released=counted(seen), generator=Told())
    for place, c in enumerate(CLASSES):
        candidates = Told().images(latents, torch.full((50,), c))
        torch.testing.assert_close(found.images[place], best_by_hand(candidates, c))
    assert found.queries.tolist() == [50, 50]
    assert found.shared_queries == 0
    assert sum(seen) == 100


@pytest.mark.parametrize("attack", [draws, public])
def test_all_classes_share_the_queries(attack):
    seen = []
    found = attack(released=counted(seen))
    assert found.queries.tolist() == [0, 0]
    assert found.shared_queries == sum(seen) == 50
    assert max(seen) == 7


def test_snapshots_are_the_best_of_the_first_ones():
    found, candidates = draws(), Decoder().images(Decoder().draw(50, rng()))
    order = torch.randperm(50, generator=rng())
    shuffled = torch.rand(50, *SHAPE, generator=rng(4))[order]
    for attack, images in ((found, candidates), (public(), shuffled)):
        counts = [snapshot.queries for snapshot in attack.snapshots]
        assert counts == sorted(set(counts))
        assert counts[0] == 3
        assert counts[-1] < 50
        assert 6 <= len(counts) <= 8
        for snapshot in attack.snapshots:
            for place, c in enumerate(CLASSES):
                torch.testing.assert_close(snapshot.images[place], best_by_hand(images[: snapshot.queries], c))


def test_as_many_candidates_as_restarts_leave_no_snapshot():
    assert draws(settings=BestOfDraws(draws=3, restarts=3)).snapshots == ()


def test_of_equal_ones_the_first_comes_first():
    def certain(images):
        return torch.ones(len(images), 4) / 4

    candidates = Decoder().images(Decoder().draw(50, rng()))
    torch.testing.assert_close(draws(released=certain).images[1], candidates[:3])


@pytest.mark.parametrize("generator", [Decoder(), Told()])
def test_how_many_are_shown_at_once_and_which_other_classes_do_not_matter(generator):
    found = draws(generator=generator)
    whole = draws(generator=generator, settings=BestOfDraws(draws=50, restarts=3))
    alone = draws(generator=generator, classes=[0])
    torch.testing.assert_close(whole.images, found.images)
    torch.testing.assert_close(alone.images[0], found.images[1])


def test_the_same_seed_gives_the_same_draws():
    assert torch.equal(draws(rng=rng(5)).images, draws(rng=rng(5)).images)
    assert not torch.equal(draws(rng=rng(5)).images, draws(rng=rng(6)).images)


def broken(images):
    return released(images) * float("nan")


@pytest.mark.parametrize(
    ("attack", "change", "message"),
    [
        (draws, {"classes": []}, "classes must name at least one class"),
        (public, {"classes": []}, "classes must name at least one class"),
        (draws, {"released": broken}, "not finite"),
        (public, {"released": broken}, "not finite"),
        (public, {"public_images": torch.rand(2, *SHAPE)}, "public_images must hold at least 3 images, got 2"),
    ],
)
def test_bad_input_is_named(attack, change, message):
    with pytest.raises(ValueError, match=message):
        attack(**change)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (BestOfDraws, {"draws": 4}),
        (BestOfDraws, {"restarts": 0}),
        (BestOfDraws, {"batch_size": 0}),
        (MostConfidentPublic, {"restarts": 0}),
        (MostConfidentPublic, {"batch_size": 0}),
    ],
)
def test_bad_settings_are_named(kind, values):
    with pytest.raises(ValueError, match=next(iter(values))):
        kind(**values)
