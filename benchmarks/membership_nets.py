"""The two networks of `membership.py` that are not timm's, as factories for `Architecture`."""

from __future__ import annotations

from torch import nn

__all__ = ["conv", "mlp"]


def conv(num_classes: int = 10) -> nn.Module:
    """Three convolutions with batch normalisation, for 3 x 32 x 32 images; 68,266 parameters with ten classes."""
    layers: list[nn.Module] = []
    for before, width, size, stride in ((3, 32, 5, 2), (32, 64, 3, 2), (64, 64, 3, 1)):
        filters = nn.Conv2d(before, width, size, stride=stride, padding=size // 2, bias=False)
        layers += [filters, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 4 * 4, num_classes))


def mlp(num_classes: int = 30) -> nn.Module:
    """446 features, hidden layers of 256 and 128; 151,198 parameters with thirty classes."""
    return nn.Sequential(nn.Linear(446, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, num_classes))
