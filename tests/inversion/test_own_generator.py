"""A generator of the user's own: attacks that need one run on it, and a bad one is refused before anything runs."""

import pytest
import torch
from torch.nn import functional as F

from auditor.battery import INVERSION
from auditor.errors import InputError
from auditor.inversion import prior as priors
from auditor.inversion.given import Given, Prior, UnfitError, View
from auditor.inversion.prior import PriorSource, measure_prior, read_generator
from reference_attacks.inversion.style import NoiseSpace
from tests.digits import template
from tests.reference_attacks.inversion.tiny_style import TinyStyle

FACTORY = """
import torch
from torch import nn


class Generator(nn.Module):
    latent_size = 6
    output_range = (0, 1)
    conditional = {conditional}

    def __init__(self):
        super().__init__()
        torch.manual_seed({seed})
        self.layer = nn.Linear(6, 64)

    def forward(self, latents, classes=None):
        return self.layer(latents).sigmoid().view(-1, 1, 8, 8)


def make():
    return Generator()
"""


class Style(TinyStyle):
    """The tiny one at 8 x 8."""

    image_shape = (1, 8, 8)

    def images_from(self, features, latents, stage):
        return F.interpolate(super().images_from(features, latents, stage), scale_factor=2)


class Told:
    """Takes the class that it is told."""

    latent_size, image_shape, conditional = 4, (1, 8, 8), 10

    def draw(self, count, rng):
        return torch.randn(count, 4, generator=rng)

    def images(self, latents, classes=None):
        return (latents.sum(1) + classes).sin().mul(0.4).add(0.5)[:, None, None, None].expand(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    torch.manual_seed(0)
    return template(tmp_path_factory.mktemp("network"))


def given(target, generator):
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Given(View(target), (1, 5), None, images, Prior(generator), images, seed=3, effort=1e-3)


def rows():
    return {attack.card.id: attack for attack in INVERSION if attack.needs == "own generator"}


@pytest.mark.parametrize("name", ["ppa", "if-gmi", "mirror", "mirror-scores", "vmi", "rlb-mi"])
def test_a_style_generator_is_searched(name, target):
    found = rows()[name].run(given(target, Style()))
    assert (len(found.images), found.images.shape[2:]) == (2, (1, 8, 8))
    assert 0.0 <= float(found.images.min()) <= float(found.images.max()) <= 1.0
    assert int(found.queries.sum()) + found.shared_queries > 0


def test_lokt_takes_a_generator_that_is_told_the_classes(target):
    found = rows()["lokt"].run(given(target, Told()))
    assert found.confidence is None
    with pytest.raises(UnfitError, match="told the model's 10 classes"):
        rows()["lokt"].run(given(target, Style()))


@pytest.mark.parametrize("name", ["ppa", "if-gmi", "mirror", "mirror-scores"])
def test_styles_are_needed_where_they_are_searched(name, target):
    with pytest.raises(UnfitError, match="needs a generator with styles"):
        rows()[name].run(given(target, NoiseSpace(Style())))


def test_all_of_them_say_that_only_their_mechanics_were_tested(target):
    assert len(rows()) == 8
    assert {attack.card.fidelity for attack in rows().values()} == {"mechanics-tested only"}
    with pytest.raises(UnfitError, match="discriminator"):
        rows()["kedmi"].run(given(target, Style()))


# --- what a user names -----------------------------------------------------------------------------------------------


def written(folder, *, seed=1, conditional=0, text=FACTORY):
    path = folder / "mine.py"
    path.write_text(text.replace("{seed}", str(seed)).replace("{conditional}", str(conditional)))
    return f"{path}:make"


def test_the_name_follows_what_is_made_and_not_where_it_lies(target, tmp_path):
    first, other = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    other.mkdir()
    name = read_generator(written(first), target).name
    assert name.startswith("mine.py:make ")
    assert str(tmp_path) not in name
    assert read_generator(written(other), target).name == name
    assert read_generator(written(other, seed=2), target).name != name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def make():\n    raise ValueError('no weights')\n", "no weights"),
        ("def make():\n    return 3\n", "made a int"),
        ("def other():\n    return 3\n", "has no factory make"),
        ("import nothing_of_the_kind\n", "cannot be imported"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_option(target, tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_generator(written(tmp_path, text=text), target)


def test_another_number_of_classes_is_refused(target, tmp_path):
    with pytest.raises(InputError, match="one of 7 classes, and the model has 10"):
        read_generator(written(tmp_path, conditional=7), target)


def test_a_file_that_is_not_there_is_refused(target):
    with pytest.raises(InputError, match=r"no file nowhere\.py"):
        read_generator("nowhere.py:make", target)


def test_what_a_prior_reaches_is_a_share(monkeypatch):
    monkeypatch.setattr(priors, "_kept_quality", lambda *_: priors._Kept(coverage=0.25, collapsed=False, samples=40))
    (found,) = measure_prior(PriorSource(None, "gan", 0), None)
    assert (found.estimate.value, found.unit) == (0.25, "share")
