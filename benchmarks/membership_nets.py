"""The two networks of `membership.py` that are not timm's, as factories for `Architecture`."""

from __future__ import annotations

from torch import nn

__all__ = ["conv", "mlp"]


def conv(num_classes: int = 10) -> nn.Module:
    """Three 3x3 convolutions with batch normalisation for 3 x 32 x 32 images, each followed by a halving."""
    layers: list[nn.Module] = []
    for before, width in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, num_classes))


def mlp(num_classes: int = 30) -> nn.Module:
    """446 features, two hidden layers of 256 and 128."""
    return nn.Sequential(
        nn.Linear(446, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, num_classes)
    )
