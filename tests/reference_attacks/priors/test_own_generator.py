"""Generators of users: what they become, what is tried, and the examples of the documentation."""

import pickle
import re
import warnings
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference_attacks.inversion import if_gmi, mirror, ppa, vmi
from reference_attacks.inversion.style import NoiseSpace, StyleGenerator
from reference_attacks.priors.own_generator import Facts, adapted
from tests.reference_attacks.priors.tiny_stylegan import StyleNetwork

SHAPE = (3, 8, 8)
DOC = Path(__file__).parents[3] / "docs" / "bring-your-own-generator.md"


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Network(nn.Module):
    """Vectors of 4 to images; the attributes are what a user says of it."""

    def __init__(self, shape=SHAPE, last=None, said=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, *shape, generator=rng(1)))
        self.last = last or torch.tanh
        for name, value in ({"latent_size": 4, "output_range": (-1, 1)} if said is None else said).items():
            setattr(self, name, value)

    def forward(self, latents):
        return self.last(torch.einsum("il,lchw->ichw", latents, self.weight))


class Told(Network):
    conditional = 3

    def forward(self, latents, classes):
        return super().forward(latents) * (classes[:, None, None, None] + 1) / 3


# --- what becomes of a module ----------------------------------------------------------------------------------------


def test_a_module_that_says_its_facts():
    network = Network()
    generator = adapted(network, image_shape=SHAPE)
    assert (generator.latent_size, generator.image_shape, generator.conditional) == (4, SHAPE, 0)
    latents = generator.draw(5, rng(3))
    torch.testing.assert_close(latents, torch.randn(5, 4, generator=rng(3)))
    torch.testing.assert_close(generator.images(latents), (network(latents) + 1) / 2)
    assert not isinstance(generator, StyleGenerator)
    assert not network.training
    assert not network.weight.requires_grad


def test_a_module_and_its_facts():
    network = Network(last=torch.sigmoid, said={})
    generator = adapted((network, Facts(latent_size=4, output_range=(0, 1))), image_shape=SHAPE)
    latents = generator.draw(5, rng())
    torch.testing.assert_close(generator.images(latents), network(latents))


def test_pixels_outside_the_range_are_cut():
    network = Network(last=lambda x: 1.08 * torch.tanh(x))
    generator = adapted(network, image_shape=SHAPE)
    latents = generator.draw(5, rng())
    images = generator.images(latents)
    torch.testing.assert_close(images, (network(latents).clamp(-1, 1) + 1) / 2)
    assert 0.0 < (images == 1.0).float().mean() < 0.5


@pytest.mark.parametrize("size", [(4, 4), (16, 16), (5, 13)])
def test_images_are_resized_with_gradients(size):
    network = Network()
    generator = adapted(network, image_shape=(3, *size))
    latents = generator.draw(2, rng()).requires_grad_()
    images = generator.images(latents)
    expected = F.interpolate((network(latents) + 1) / 2, size=size, mode="bilinear", antialias=True)
    torch.testing.assert_close(images, expected)
    (slope,) = torch.autograd.grad(images[0].sum(), latents)
    assert slope[0].abs().min() > 0
    assert not slope[1].any()


def test_halving_averages_a_smooth_picture():
    ramp = torch.linspace(0, 1, 16).expand(2, 1, 16, 16)
    halved = Facts(4, (0, 1)).fitted(ramp, (1, 16, 8))
    torch.testing.assert_close(halved[..., 1:-1], ramp.unflatten(3, (8, 2)).mean(dim=4)[..., 1:-1])


def test_the_middle_is_kept():
    framed = torch.zeros(2, 3, 8, 8)
    framed[:, :, 2:6, 2:6] = 1.0
    facts = Facts(4, (0, 1), crop=0.5)
    torch.testing.assert_close(facts.fitted(framed, (3, 4, 4)), torch.ones(2, 3, 4, 4))
    torch.testing.assert_close(facts.fitted(framed, (3, 8, 8)), torch.ones(2, 3, 8, 8))


def test_a_conditional_module_is_told_the_class():
    network = Told()
    generator = adapted(network, image_shape=SHAPE)
    latents, classes = generator.draw(3, rng()), torch.tensor([2, 0, 1])
    assert generator.conditional == 3
    torch.testing.assert_close(generator.images(latents, classes), (network(latents, classes) + 1) / 2)
    with pytest.raises(ValueError, match="needs the class"):
        generator.images(latents)


def test_a_scripted_module_is_a_module(tmp_path):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 192)

        def forward(self, latents):
            return self.layer(latents).tanh().reshape(-1, 3, 8, 8)

    network = Plain()
    generator = adapted((scripted(network, 4, tmp_path / "network.ts"), Facts(4, (-1, 1))), image_shape=SHAPE)
    latents = generator.draw(5, rng()).requires_grad_()
    images = generator.images(latents)
    torch.testing.assert_close(images, (network(latents) + 1) / 2)
    assert images.requires_grad


def scripted(network, latent_size, file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to give TorchScript up
        torch.jit.trace(network, torch.zeros(2, latent_size)).save(file)
        return torch.jit.load(file, map_location="cpu")


# --- style networks --------------------------------------------------------------------------------------------------


def test_a_style_network_becomes_a_style_generator():
    network = StyleNetwork()
    generator = adapted((network, Facts(latent_size=3, output_range=(-1, 1), crop=0.5)), image_shape=SHAPE)
    assert isinstance(generator, StyleGenerator)
    assert (generator.latent_size, generator.noise_size, generator.stages, generator.conditional) == (5, 3, 3, 0)
    torch.testing.assert_close(generator.mean_latent, network.mapping.w_avg)
    noise = torch.randn(4, 3, generator=rng(2))
    styles = generator.draw(4, rng(2))
    torch.testing.assert_close(styles, network.mapping(noise, None)[:, 0])
    made = network.synthesis(network.mapping(noise, None), noise_mode="const", force_fp32=True)
    expected = (made.clamp(-1, 1)[:, :, 4:12, 4:12] + 1) / 2
    torch.testing.assert_close(generator.images(styles), expected)
    assert isinstance(adapted(network, image_shape=(3, 16, 16)), StyleGenerator)


def test_a_stage_begins_with_features_and_no_picture():
    network = StyleNetwork()
    generator = adapted(network, image_shape=(3, 16, 16))
    styles = generator.draw(4, rng())
    features = generator.advanced(generator.advanced(None, styles, 0), styles, 1)
    assert features.shape == (4, 4, 8, 8)
    ws = styles[:, None].repeat(1, 3, 1)
    _, picture = network.synthesis.b16(features, None, ws, noise_mode="const", force_fp32=True)
    torch.testing.assert_close(generator.images_from(features, styles, 2), (picture.clamp(-1, 1) + 1) / 2)


def test_attacks_on_styles_search_it():
    generator = adapted(StyleNetwork(), image_shape=SHAPE)
    weight = torch.randn(192, 3, generator=rng(4))

    def logits(images):
        return images.flatten(1) @ weight

    quick = {"logits": logits, "classes": [0, 2], "rng": rng()}
    found = [
        ppa.invert(
            **quick,
            generator=generator,
            settings=ppa.PPA(styles=9, candidates=3, steps=2, selection_crops=2, restarts=2),
        ),
        if_gmi.invert(
            **quick, generator=generator, settings=if_gmi.IFGMI(styles=9, restarts=2, steps=(2, 2, 1), radii=(9,) * 3)
        ),
        mirror.invert(**quick, generator=generator, settings=mirror.Mirror(draws=9, steps=3, restarts=2)),
        vmi.invert(**quick, generator=NoiseSpace(generator), settings=vmi.VMI(steps=2, draws=3, hidden=4, restarts=2)),
    ]
    assert [one.images.shape for one in found] == [(2, 2, *SHAPE)] * 4
    assert all(parameter.grad is None for parameter in generator.network.parameters())


# --- what is refused -------------------------------------------------------------------------------------------------


class Own:
    """An object of the protocol, to be made wrong."""

    latent_size, image_shape, conditional = 4, SHAPE, 0

    def draw(self, count, rng):
        return torch.randn(count, 4, generator=rng)

    def images(self, latents, classes=None):
        return latents.sum(dim=1).sigmoid()[:, None, None, None].expand(-1, *SHAPE)


def own(**changes):
    return type("Changed", (Own,), changes)()


def shaken(self, latents, classes=None):
    return (Own.images(self, latents) + torch.rand(len(latents), *SHAPE)) / 2


def fails(self, latents, classes=None):
    raise RuntimeError("no such layer")


def test_an_object_of_the_protocol_stays_what_it_is():
    generator = Own()
    assert adapted(generator, image_shape=SHAPE) is generator


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "the factory made a NoneType"),
        ((Network(), {"latent_size": 4}), "the factory made a tuple"),
        (Network(said={}), "does not say its latent_size and output_range"),
        (Network(said={"latent_size": 4}), "does not say its output_range;"),
        (Network(said={"latent_size": "4", "output_range": (-1, 1)}), "latent_size must be a whole number"),
        (Network(said={"latent_size": 5, "output_range": (-1, 1)}), "failed on 8 latents: RuntimeError"),
        (Network(said={"latent_size": 4, "output_range": (0, 255)}), r"output_range must be \(-1, 1\) or \(0, 1\)"),
        (Network(said={"latent_size": 4, "output_range": (0, 1)}), "output_range is 0..1, but .* go from -"),
        (Network(last=lambda x: 127.5 * (x.tanh() + 1)), "output_range is -1..1, but .* to 25"),
        (Network(last=torch.sigmoid), "is it 0..1?"),
        (Network(last=lambda x: x / 0.0), "not finite"),
        (Network(shape=(1, 8, 8)), "makes 1 channels, but the model takes 3"),
        (Network(last=lambda x: x.tanh().flatten(1)), r"gave \(8, 192\), not images"),
        (Network(last=lambda x: (x.tanh(), x)), "must return one tensor of images, got tuple"),
        (Network(last=lambda x: x.tanh().detach()), "computed without gradients"),
        (Network(last=lambda x: (0 * x + torch.linspace(-1, 1, 8)).tanh()), "gradient is zero"),
        (Network(last=lambda x: (x + torch.randn_like(x)).tanh()), "the same latent gave two images"),
        (Network(last=lambda x: (x - x.mean(dim=0)).tanh()), "the same latent gave two images"),
        ((StyleNetwork(), Facts(5, (-1, 1))), "latent_size is 5, but the network's z_dim is 3"),
        (StyleNetwork(c_dim=2), "style network that takes classes"),
        (own(image_shape=(3, 9, 9)), r"image_shape is \(3, 9, 9\), but the model takes \(3, 8, 8\)"),
        (own(latent_size=5), r"draw must give float32 \(8, 5\), got torch.float32 \(8, 4\)"),
        (own(draw=lambda self, count, rng: torch.randn(count, 4)), "draw must take its random numbers from the rng"),
        (own(images=lambda self, latents: latents), "failed on 8 latents: TypeError"),
        (own(images=lambda self, latents, classes: Own.images(self, latents) * 2), "must lie in 0..1"),
        (own(images=lambda self, latents, classes: Own.images(self, latents).double()), "images must give float32"),
        (own(images=lambda self, latents, classes: Own.images(self, latents)[:, :1]), "images must give float32"),
        (own(images=shaken), "the same latent gave two images"),
        (own(images=fails), "failed on 8 latents: RuntimeError: no such layer"),
    ],
)
def test_what_does_not_fit_is_named(made, message):
    with pytest.raises(ValueError, match=message):
        adapted(made, image_shape=SHAPE)


class Unstaged(StyleNetwork):
    """A style network as an object of the protocol, to be made wrong."""

    def __new__(cls, **changes):
        generator = adapted(StyleNetwork(), image_shape=SHAPE)
        return type("Changed", (type(generator),), changes)(generator.network, generator.facts, SHAPE, generator.device)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean_latent": torch.zeros(2)}, r"mean_latent must have the shape \(5,\), got \(2,\)"),
        ({"mapped": lambda self, noise: noise}, r"draw must give float32 \(8, 5\)"),
        ({"images": lambda self, latents, classes: 1 - self.images_from(None, latents, 0)}, "images_from stage 0"),
        ({"advanced": lambda self, features, latents, stage: latents}, "failed on 8 latents"),
    ],
)
def test_stages_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        adapted(Unstaged(**changes), image_shape=SHAPE)


@pytest.mark.parametrize(
    "values", [{"latent_size": 0}, {"output_range": (0, 2)}, {"conditional": -1}, {"crop": 0.0}, {"crop": 1.5}]
)
def test_bad_facts_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        replace(Facts(4, (-1, 1)), **values)


# --- the documentation -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    """All examples of the page as one file, and the files that they open."""
    folder = tmp_path_factory.mktemp("documented")
    examples = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), flags=re.DOTALL)
    (folder / "generator.py").write_text("\n\n".join(examples), encoding="utf-8")
    spec = spec_from_file_location("documented_generator", folder / "generator.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.save(module.Generator().state_dict(), folder / "generator.pt")
    scripted(module.Generator(), 64, folder / "generator.ts")
    (folder / "ffhq.pkl").write_bytes(pickle.dumps({"G_ema": StyleNetwork()}))
    return module


@pytest.mark.parametrize(("factory", "size"), [("make", 64), ("make_scripted", 64), ("make_style", 5)])
@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*:FutureWarning")
def test_the_examples_of_the_documentation_work(documented, factory, size):
    generator = adapted(getattr(documented, factory)(), image_shape=(3, 24, 24))
    assert generator.latent_size == size
    assert isinstance(generator, StyleGenerator) == (factory == "make_style")
    assert generator.images(generator.draw(2, rng())).shape == (2, 3, 24, 24)
