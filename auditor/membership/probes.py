"""Further passes over the audit set, each for the attacks that need it; the rows of `PROBES` are literal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from auditor.laboratory import Arrays, Asked, Probe
from auditor.membership.evidence import Unavailable
from auditor.records import Inputs
from auditor.signals import class_vectors
from auditor.target import Target
from reference_attacks.membership import gradient, label_only, merlin, noise_robustness
from reference_attacks.membership import signals as formulas

__all__ = ["PROBES"]

_NOISY_COPIES = 100


def released_vectors(asked: Asked) -> Arrays:
    """The released probability vectors [record, class]."""
    return {"vectors": class_vectors(asked.target, asked.records.inputs)[1].astype(np.float64)}


def merlin_ratios(asked: Asked) -> Arrays:
    """Merlin's ratio and the loss itself, both [record]."""
    images, classes = _images(asked.records.inputs), torch.tensor(asked.records.labels)
    loss = _released_loss(asked.target)
    generator = torch.Generator().manual_seed(asked.seed)
    ratio = merlin.probe(loss=loss, inputs=images, labels=classes, generator=generator)
    with torch.inference_mode():
        losses = torch.cat([loss(*part) for part in zip(images.split(512), classes.split(512), strict=True)])
    return {"ratio": ratio, "loss": losses.double().cpu().numpy()}


def translated(asked: Asked) -> Arrays:
    """Whether the record and its shifts by one pixel are classified rightly, 0 or 1 [record, query]."""
    images, classes = _images(asked.records.inputs), torch.tensor(asked.records.labels)
    correct = label_only.probe(predict=_labels_of(asked.target), inputs=images, labels=classes)
    return {"correct": correct.astype(np.float64)}


def label_noise(asked: Asked) -> Arrays:
    """Share of noisy copies that keep the true label [record]."""
    share = noise_robustness.probe(
        predict=_labels_of(asked.target),
        inputs=_images(asked.records.inputs),
        labels=torch.tensor(asked.records.labels),
        settings=noise_robustness.NoiseRobustness(samples=_NOISY_COPIES),
        generator=torch.Generator().manual_seed(asked.seed),
    )
    return {"share": share}


def gradient_norms(asked: Asked) -> Arrays:
    """Norms of the loss gradient with respect to the weights [record, layer], and the loss [record]."""
    target, inputs, labels = asked.target, asked.records.inputs, asked.records.labels
    classes = torch.tensor(labels, device=target.device)
    prepared = target.prepare(np.ascontiguousarray(inputs))
    norms = gradient.probe(module=target.module, inputs=prepared, labels=classes)
    margin = formulas.logit_margin(class_vectors(target, inputs)[0], labels)
    return {"norms": norms, "loss": np.logaddexp(0.0, -margin)}


def _images(inputs: Inputs) -> Tensor:
    """Stored images in [0, 1], float32 [record, channel, height, width].

    Raises:
        Unavailable: the records are no images.
    """
    if inputs.ndim != 4:
        raise Unavailable("asks about changed images, and the records are no images")
    return torch.from_numpy(np.array(inputs)).movedim(3, 1).float() / 255


def _released(target: Target, images: Tensor) -> Tensor:
    return target.released(target.logits(images.movedim(1, 3)))


def _labels_of(target: Target) -> Callable[[Tensor], Tensor]:
    def predict(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return _released(target, images).argmax(1).cpu()

    return predict


def _released_loss(target: Target) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(images: Tensor, labels: Tensor) -> Tensor:
        with torch.inference_mode():
            probabilities = _released(target, images).double().cpu()
        true_class = probabilities.gather(1, labels[:, None])
        others = probabilities.scatter(1, labels[:, None], 0.0).sum(1)
        # -log p_y by the other classes: p_y itself has often rounded to 1, and every copy would tie
        return (others / true_class[:, 0].clamp_min(torch.finfo(torch.float32).tiny)).log1p()

    return loss


PROBES = (
    Probe("vectors", released_vectors),
    Probe("merlin", merlin_ratios),
    Probe("translations", translated),
    Probe("label noise", label_noise),
    Probe("gradients", gradient_norms),
)
