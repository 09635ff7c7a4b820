"""A style generator and targets so small that every step of an attack can be followed."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

SHAPE = (1, 4, 4)
N_CLASSES = 4
NOISE, LATENT = 3, 5


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def table(seed, *shape):
    return torch.randn(shape, generator=rng(seed))


class TinyStyle:
    """Three stages; features of the second are [2, 2, 2], of the third [2, 4, 4]."""

    image_shape = SHAPE
    conditional = 0
    noise_size, latent_size, stages = NOISE, LATENT, 3

    def __init__(self):
        self.map, self.bias = table(1, NOISE, LATENT), 0.3 * table(2, LATENT)
        self.first, self.second, self.last = table(3, LATENT, 8), table(4, LATENT, 2), table(5, LATENT, 2)
        self.mean_latent = self.mapped(table(6, 1000, NOISE)).mean(dim=0)

    def mapped(self, noise):
        return F.leaky_relu(noise @ self.map + self.bias, 0.2)

    def draw(self, count, rng):
        return self.mapped(torch.randn(count, NOISE, generator=rng))

    def advanced(self, features, latents, stage):
        if stage == 0:
            return torch.tanh(latents @ self.first).unflatten(1, (2, 2, 2))
        return F.interpolate(features * (1 + latents @ self.second).view(-1, 2, 1, 1), scale_factor=2)

    def images_from(self, features, latents, stage):
        for later in range(stage, 2):
            features = self.advanced(features, latents, later)
        weighed = (features * (latents @ self.last).view(-1, 2, 1, 1)).sum(dim=1, keepdim=True)
        return (weighed + torch.linspace(-1, 1, 4)).sigmoid()

    def images(self, latents, classes=None):
        return self.images_from(None, latents, 0)


class Canvas:
    """Latents that are the pixels, before a sigmoid; so a search's latents can be read off its images."""

    image_shape = SHAPE
    conditional = 0
    latent_size = 16

    def draw(self, count, rng):
        return F.leaky_relu(torch.randn(count, 16, generator=rng), 0.2)

    def images(self, latents, classes=None):
        return latents.sigmoid().unflatten(1, SHAPE)


def target(scale=2.0, seed=9):
    """A small network in eval mode."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, N_CLASSES))
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.copy_(scale * table(seed + index, *parameter.shape))
    return model.eval()


class Counting:
    """A model that remembers how many images it was shown, at once and in all."""

    def __init__(self, model):
        self.model, self.shown, self.most = model, 0, 0

    def __call__(self, images):
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1
        self.shown += len(images)
        self.most = max(self.most, len(images))
        return self.model(images)


def assert_untouched(model, use):
    """The attack leaves the target's parameters, buffers, gradients and mode as they were."""
    before = copy.deepcopy(model.state_dict())
    use(model)
    assert not model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0.0, atol=0.0)


def assert_same(one, other):
    torch.testing.assert_close(one.images, other.images, rtol=0.0, atol=1e-4)
    torch.testing.assert_close(one.confidence, other.confidence, rtol=0.0, atol=1e-4)
    torch.testing.assert_close(one.queries, other.queries)
    assert one.shared_queries == other.shared_queries
