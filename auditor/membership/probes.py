"""Further passes over the audit set, each for the attacks that need it; the rows of `PROBES` are literal.

Some are reduced, to cost less than the shadows do: fewer noisy copies, a sample of records for the search of the
boundary, short distillations. The cards of the attacks that read them say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from auditor.laboratory import Arrays, Asked, Probe
from auditor.membership.evidence import Unavailable
from auditor.records import Inputs, Records
from auditor.signals import class_probabilities, class_vectors
from auditor.target import Target
from reference_attacks.membership import (
    boundary,
    distillation,
    gradient,
    label_only,
    merlin,
    noise_robustness,
    seqmia,
)
from reference_attacks.membership import signals as formulas

__all__ = ["PROBES"]

Floats = npt.NDArray[np.float64]

_NOISY_COPIES = 100
_ROTATION = 5  # degrees
_SEARCHED = 100  # records a side whose boundary is searched
_STARTS = 500
_PREPARED = 32  # batches whose gradients are taken that are prepared together
_STUDENTS = 4
_DISTILLATION = distillation.Distillation(epochs=20, learning_rate=0.05, batch_size=64)


def released_vectors(asked: Asked) -> Arrays:
    """The released probability vectors [record, class]."""
    return {"vectors": class_vectors(asked.target, asked.records.inputs)[1].astype(np.float64)}


def merlin_ratios(asked: Asked) -> Arrays:
    """Merlin's ratio and the loss itself, both [record]."""
    loss, settings = _released_loss(asked.target), merlin.Merlin()
    generator = torch.Generator().manual_seed(asked.seed)
    ratios = [
        merlin.probe(loss=loss, inputs=images, labels=classes, settings=settings, generator=generator)
        for images, classes in _in_parts(asked.records, _whole_questions(settings.batch_size, settings.copies))
    ]
    with torch.inference_mode():
        losses = torch.cat([loss(*part) for part in _in_parts(asked.records, settings.batch_size)])
    return {"ratio": np.concatenate(ratios), "loss": losses.double().cpu().numpy()}


def translated(asked: Asked) -> Arrays:
    """Whether the record and its shifts by one pixel are classified rightly, 0 or 1 [record, query]."""
    return _moved(asked, label_only.Augmentations(shift=1))


def rotated(asked: Asked) -> Arrays:
    """Whether the record and its rotations by up to 5 degrees are classified rightly, 0 or 1 [record, query]."""
    return _moved(asked, label_only.Augmentations(shift=0, rotation=_ROTATION))


def _moved(asked: Asked, copies: label_only.Augmentations) -> Arrays:
    predict = _labels_of(asked.target)
    correct = [
        label_only.probe(predict=predict, inputs=images, labels=classes, settings=copies)
        for images, classes in _in_parts(asked.records, copies.batch_size)
    ]
    return {"correct": np.concatenate(correct).astype(np.float64)}


def label_noise(asked: Asked) -> Arrays:
    """Share of noisy copies that keep the true label [record]."""
    settings = noise_robustness.NoiseRobustness(samples=_NOISY_COPIES)
    predict, records = _labels_of(asked.target), asked.records
    right = [predict(images) == classes for images, classes in _in_parts(records, settings.batch_size)]
    rows, generator = np.flatnonzero(torch.cat(right).numpy()), torch.Generator().manual_seed(asked.seed)
    share, at_once = np.zeros(records.n), _whole_questions(settings.batch_size, settings.samples)
    for some in (rows[start : start + at_once] for start in range(0, len(rows), at_once)):
        classes = torch.tensor(records.labels[some])
        share[some] = noise_robustness.probe(
            predict=_answered_before(classes, predict),
            inputs=_images(records.inputs[some]),
            labels=classes,
            settings=settings,
            generator=generator,
        )
    return {"share": share}


def _answered_before(answer: Tensor, predict: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Predict, but give the known answer to the first question: a model that draws noise would change with another."""
    known = [answer]
    return lambda images: known.pop() if known else predict(images)


def boundary_distances(asked: Asked) -> Arrays:
    """L2 distance to the decision boundary in units of pixels in [0, 1], and the labels asked for, both [record]."""
    some = np.linspace(0, asked.own.n - 1, min(asked.own.n, _STARTS)).astype(np.intp)  # own may be sorted by class
    found = boundary.probe(
        predict=_labels_of(asked.target),
        inputs=_images(asked.records.inputs),
        labels=torch.tensor(asked.records.labels),
        generator=torch.Generator().manual_seed(asked.seed),
        starts=_images(asked.own.inputs[some]),
    )
    return {"distance": found.distance, "queries": found.queries.astype(np.float64)}


def distilled(asked: Asked) -> Arrays:
    """SeqMIA's metrics under a student after every epoch, and last under the model [record, snapshot, metric].

    All models' students start from the same weights and see the same batches, so that snapshots can be compared.
    """
    seen = [_metrics(student, asked) for student in _students(asked, first_weights=0)]
    return {"metrics": np.stack([*seen, _metrics(asked.target, asked)], axis=1)}


def student_margins(asked: Asked) -> Arrays:
    """Margins of the released probabilities under the last snapshots of several students [record, student]."""
    margins = []
    for first_weights in range(1, _STUDENTS + 1):
        *_, last = _students(asked, first_weights)
        vectors = class_probabilities(last, asked.records.inputs)
        margins.append(formulas.released_margin(vectors, asked.records.labels))
    return {"margins": np.stack(margins, axis=1)}


class _OfRecords(nn.Module):
    """A fresh model that takes stored records, so that they need not be held prepared."""

    def __init__(self, model: Target) -> None:
        super().__init__()
        self.model = model
        self.module = model.module.to(model.device)

    def forward(self, records: Tensor) -> Tensor:
        return self.model.logits(records)


def _students(asked: Asked, first_weights: int) -> Iterator[Target]:
    """A student of what the model releases about the attacker's own records, the same after every epoch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(first_weights)
        student = asked.blueprint.template()

    def teacher(records: Tensor) -> Tensor:
        released = class_vectors(asked.target, records.cpu().numpy())[1]
        return torch.from_numpy(released).to(student.device).clamp_min(torch.finfo(torch.float32).tiny).log()

    for _ in distillation.snapshots(
        teacher=teacher,
        student=_OfRecords(student),
        inputs=torch.from_numpy(np.array(asked.own.inputs)).to(student.device),
        generator=torch.Generator().manual_seed(first_weights),
        settings=_DISTILLATION,
    ):
        yield student


def _metrics(model: Target, asked: Asked) -> Floats:
    return seqmia.metrics(class_probabilities(model, asked.records.inputs), asked.records.labels)


def gradient_norms(asked: Asked) -> Arrays:
    """Norms of the loss gradient with respect to the weights [record, layer], and the loss [record]."""
    target, inputs, labels = asked.target, asked.records.inputs, asked.records.labels
    settings, norms = gradient.GradientNorm(), []
    at_once = _PREPARED * settings.batch_size
    for start in range(0, len(labels), at_once):
        some = slice(start, start + at_once)
        prepared, classes = target.prepare(inputs[some]), torch.tensor(labels[some], device=target.device)
        norms.append(gradient.probe(module=target.module, inputs=prepared, labels=classes, settings=settings))
    margin = formulas.logit_margin(class_vectors(target, inputs)[0], labels)
    return {"norms": np.concatenate(norms), "loss": np.logaddexp(0.0, -margin)}


def _in_parts(records: Records, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images as `_images` makes them and labels, so many records at a time: as floats all might not fit."""
    for start in range(0, records.n, most):
        some = slice(start, start + most)
        yield _images(records.inputs[some]), torch.tensor(records.labels[some])


def _whole_questions(batch_size: int, copies: int) -> int:
    """How many records make one part, so that questions of so many copies of each are those of the undivided set."""
    return batch_size // copies * copies


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
    Probe("rotations", rotated),
    Probe("label noise", label_noise, on_shadows=False),
    Probe("boundary", boundary_distances, sample=_SEARCHED, on_shadows=False),
    Probe("distillation", distilled),
    Probe("students", student_margins, on_shadows=False),
    Probe("gradients", gradient_norms),
)
