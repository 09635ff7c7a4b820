"""The two targets of the defense study: each ends in one plain linear layer, which CALoR and MID replace."""

from __future__ import annotations

from torch import nn

__all__ = ["conv", "mlp"]


def conv(num_classes: int = 10) -> nn.Module:
    """Three strided convolutions with batch normalisation, for 3 x 32 x 32 images; 91,882 parameters."""
    layers: list[nn.Module] = []
    for before, width, size in ((3, 32, 5), (32, 64, 3), (64, 96, 3)):
        filters = nn.Conv2d(before, width, size, stride=2, padding=size // 2, bias=False)
        layers += [filters, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 4 * 4, num_classes))


def mlp(num_classes: int = 30) -> nn.Module:
    """446 features, hidden layers of 128 and 64; 67,422 parameters for thirty classes."""
    return nn.Sequential(nn.Linear(446, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, num_classes))
