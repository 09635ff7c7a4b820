"""The targets of the inversion study: small convolutional networks without normalisation by batches."""

from __future__ import annotations

from torch import nn

__all__ = ["colour", "grey"]


def grey(num_classes: int) -> nn.Module:
    """For images of one channel."""
    return _network(1, num_classes)


def colour(num_classes: int) -> nn.Module:
    """For images of three channels."""
    return _network(3, num_classes)


def _network(channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(1024, 128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )
