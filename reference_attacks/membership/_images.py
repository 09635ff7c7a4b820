"""The door of the attacks that ask a model about changed images: shapes, batches and noise are seen to once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["ask", "checked_images", "checked_labels", "noisy_copies", "require_positive"]


def checked_images(name: str, images: Tensor) -> Tensor:
    """Take images [record, channel, height, width] as they are, without their gradient.

    Raises:
        ValueError: If there are other axes or none, or a pixel is not a float in 0..1.
    """
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"{name} must be images [record, channel, height, width], got shape {tuple(images.shape)}")
    if not images.is_floating_point() or not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError(f"{name} must be float in 0..1, got {images.dtype} with other values")
    return images.detach()


def checked_labels(labels: Tensor, records: Tensor) -> Tensor:
    """Take true labels [record] as int64 on the device of the records.

    Raises:
        ValueError: If there is not one integer per record.
    """
    if labels.shape != records.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be {len(records)} integers [record], got {labels.dtype} {tuple(labels.shape)}")
    return labels.detach().to(device=records.device, dtype=torch.int64)


def require_positive(name: str, value: float, *, least: float = 1) -> None:
    """Refuse a setting below `least`, naming it.

    Raises:
        ValueError: If the value is smaller, infinite or not a number.
    """
    if not least <= value < float("inf"):
        raise ValueError(f"{name} must be at least {least}, got {value}")


def ask(question: Callable[..., Tensor], *material: Tensor, batch_size: int) -> Tensor:
    """Put a question about every image [image, ...] in batches, without gradients.

    Args:
        question: Maps one batch of each material to one number per image [image].
        material: Tensors with equal first axes, the images first.
        batch_size: Most images in one question.

    Returns:
        The answers [image] on the device of the images.

    Raises:
        ValueError: If there is not one finite answer per image.
    """
    n = len(material[0])
    with torch.no_grad():
        answers = []
        for start in range(0, n, batch_size):
            batch = [part[start : start + batch_size] for part in material]
            answer = question(*batch)
            if answer.shape != batch[0].shape[:1]:
                raise ValueError(
                    f"the model must give one answer per image, got {tuple(answer.shape)} for {len(batch[0])}"
                )
            answers.append(answer)
        joined = torch.cat(answers).to(material[0].device)
    if not bool(torch.isfinite(joined).all()):
        raise ValueError("the model gave answers that are not finite")
    return joined


def noisy_copies(images: Tensor, *, copies: int, std: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of the given deviation and clip into 0..1.

    Noise is drawn record by record, so that it does not depend on how records are batched.

    Returns:
        The copies [record, copy, channel, height, width].
    """
    shape = (copies, *images.shape[1:])
    noise = [torch.randn(shape, generator=generator, device=generator.device, dtype=images.dtype) for _ in images]
    return (images[:, None] + std * torch.stack(noise).to(images.device)).clamp(0.0, 1.0)
