"""Every row of the inversion battery runs, gives back what its kind should, and leaves the model as it was."""

from dataclasses import replace

import pytest
import torch

from auditor.battery import INVERSION
from auditor.inversion.given import Given, Rebuilt, UnfitError, View
from auditor.inversion.prior import untrained_prior
from auditor.threat import Access
from reference_attacks.inversion.material import Inverted
from tests.digits import template

CLASSES = (0, 3, 4)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    torch.manual_seed(0)
    target = template(tmp_path_factory.mktemp("network"))
    rng = torch.Generator().manual_seed(1)
    public = torch.rand(120, 1, 8, 8, generator=rng)
    return Given(
        view=View(target),
        classes=CLASSES,
        public=public,
        auxiliary=public,
        prior=untrained_prior(target),
        asked=torch.rand(9, 1, 8, 8, generator=rng),
        seed=3,
        effort=0.01,
    )


def ours():
    return [attack for attack in INVERSION if attack.needs != "own generator"]


@pytest.mark.parametrize("attack", ours(), ids=lambda one: one.card.id)
def test_a_row_gives_back_what_its_kind_should(attack, given):
    before = {name: tensor.clone() for name, tensor in given.view.target.module.state_dict().items()}
    found = attack.run(given)
    if attack.rebuilds == "records":
        assert isinstance(found, Rebuilt)
        assert found.images.shape == (9, 1, 8, 8)
        assert found.queries == 120
    else:
        assert isinstance(found, Inverted)
        assert (len(found.images), found.images.shape[2:]) == (3, (1, 8, 8))
        assert found.queries.shape == (3,)
        assert (found.confidence is None) == (attack.card.access is Access.LABELS)
        assert bool(found.snapshots) <= (attack.card.access is not Access.WEIGHTS)
    assert found.images.dtype == torch.float32
    assert 0.0 <= float(found.images.min()) <= float(found.images.max()) <= 1.0
    after = given.view.target.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not given.view.target.module.training


@pytest.mark.parametrize("attack", ours(), ids=lambda one: one.card.id)
def test_the_same_seed_gives_the_same_images(attack, given):
    first, again = attack.run(given), attack.run(given)
    assert torch.equal(first.images, again.images)


def test_what_is_missing_is_said(given):
    for attack in ours():
        if attack.needs is not None:
            with pytest.raises(UnfitError, match=r"no image prior was made|no public images"):
                attack.run(replace(given, public=None, prior=None))
