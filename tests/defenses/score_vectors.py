"""Probability vectors that are hard on whatever rewrites them, and how the tests look at the result."""

import numpy as np
import torch

from auditor.wrappers.membership_net import MembershipNet


def hard_vectors(classes: int) -> torch.Tensor:
    """float32 [record, class]: certain, flat, tied, a float apart, almost empty, and drawn ones."""
    rng = np.random.default_rng(classes)
    certain = np.eye(classes)
    flat = np.full((1, classes), 1 / classes)
    tied = np.zeros((2, classes))
    tied[0, [0, -1]] = tied[1, -2:] = 0.5
    half = np.float32(0.45 if classes > 2 else 0.5)
    close = np.full((2, classes), (1 - 2 * half) / max(1, classes - 2), dtype=np.float32)
    close[0, 0] = close[1, -1] = half
    close[0, -1], close[1, 0] = np.nextafter(half, np.float32(1)), np.nextafter(half, np.float32(0))
    empty = np.zeros((1, classes))
    empty[0, 0], empty[0, -1] = 1e-38, 1.0
    drawn = [rng.dirichlet(np.full(classes, alpha), size=40) for alpha in (0.03, 0.3, 3.0, 300.0)]
    return torch.from_numpy(np.concatenate([certain, flat, tied, close, empty, *drawn]).astype(np.float32))


def assert_keeps_labels(wrapper, vectors: torch.Tensor):
    """The first maximum stays where it is, and what comes out is a probability vector."""
    before = vectors.clone()
    released = wrapper(vectors)
    assert torch.equal(vectors, before)
    assert released.dtype == torch.float32
    assert torch.equal(released.argmax(1), vectors.argmax(1))
    assert released.isfinite().all()
    assert (released >= 0).all()
    np.testing.assert_allclose(released.sum(1), 1, atol=2e-6)


def drawn_net(classes: int, hidden: tuple[int, ...] = (8, 8)) -> MembershipNet:
    """A steep net whose logit is above 0 for half of the hard vectors."""
    torch.manual_seed(classes)
    net = MembershipNet(classes, hidden).requires_grad_(requires_grad=False)
    for layer in net.layers[::2]:
        layer.weight.mul_(4)
    net.layers[-1].bias -= net(hard_vectors(classes).sort(dim=1, descending=True).values).median()
    return net
