"""Purifier, AAAI 2023: rewrite confidence vectors at random, and swap labels of some members (arXiv:2212.00612).

What it claims
    Released vectors of members and non-members become alike in individual shape, statistical distribution and
    predicted label. The abstract reports an inversion error about 4 times as high on FaceScrub530, and a negligible
    loss of utility in words.

What it needs
    Held-out records that the model never saw, and the training set with labels (for the swapper). The model is not
    changed.

Algorithm
    1. Reformer: a conditional variational autoencoder reads the model's vector p and its one-hot predicted class. It
       is fitted on the reference records with |p' - p|^2 + lambda * cross-entropy(p', argmax p) (the paper's eq. 1, as
       an account gives it), p' = softmax(decoder(code)). The code is drawn at inference too, so answers are random.
    2. Swapper: of the members that get their right label, a random share
       p_swap = (accuracy on members - accuracy on reference records) / accuracy on members is indexed by p.
    3. Release p'; where p is in the index (nearest neighbour), with the two largest entries of p' exchanged.

What is not the paper's
    The paper's text was not available; this follows accounts of it, and the authors' repository is empty. Read in an
    account: eq. 1, the layout 4-32-64-128-2-128-64-32-2 for two classes, Adam at 1e-4 for 300 epochs, noise at
    inference, the second-largest class. Ours: lambda (1, as in a third party's port), batches, the cap on steps, widths
    for other class counts, the swap rate, the match by logarithms, and that accuracies are those of released labels.
    The account names no Kullback-Leibler term: its weight is 0 by default, and the noise then all but dies out in
    training.
    Fidelity: account-derived.

What it does not stop
    A swap is looked up: a member's label changes when the record is shaken a little, and that tells who is a member
    (the jitter probe). Swapped members get wrong answers, which accuracy on other records does not show. The index
    holds vectors of members, and whoever holds the weights leaves both parts away.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from auditor.compute import generator
from auditor.defense import Defense, Holding, UnfitDefenseError
from auditor.defenses.jitter import JITTER
from auditor.defenses.purifier import drawing_from, reconstruction
from auditor.findings import DefenseCard, Fidelity, Paper
from auditor.signals import accuracy, class_probabilities, class_vectors
from auditor.target import Target
from auditor.threat import Access
from auditor.wrappers import ConditionalAutoencoder, ReformingPurifier, SwappingPurifier, matches

__all__ = ["ROWS", "Purifier2023", "autoencoder_loss", "surplus", "trimmed", "wrap", "wrap_reformer"]

_MATCHED_AT_ONCE = 512


@dataclass(frozen=True)
class Purifier2023:
    """How both parts are fitted.

    Attributes:
        label_weight: Lambda of eq. 1.
        divergence_weight: What the divergence of the code from N(0, I) counts; 0 as accounted.
        epochs: Passes over the reference records.
        most_steps: Where the epochs end at the latest.
        batch_size: Records per step.
        lr: Of Adam.
        tolerance: How near in nats an indexed vector must be, see `auditor.wrappers.matches`.
    """

    label_weight: float = 1.0
    divergence_weight: float = 0.0
    epochs: int = 300
    most_steps: int = 6_000
    batch_size: int = 64
    lr: float = 1e-4
    tolerance: float = 1e-3


def wrap_reformer(
    target: Target, holding: Holding, seed: int, settings: Purifier2023 = Purifier2023()
) -> ReformingPurifier:
    """Fit the confidence reformer alone.

    Args:
        target: The model to defend; it is not changed.
        holding: Its reference records are used.
        seed: Decides initial weights, batch order and noise.
        settings: How it is fitted.
    """
    probabilities = torch.from_numpy(class_probabilities(target, holding.reference.inputs)).to(target.device)
    records, classes = probabilities.shape
    with drawing_from(seed, target.device):
        net = _untrained(classes).to(target.device).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=settings.lr)
        for _ in range(min(settings.most_steps, settings.epochs * max(1, records // settings.batch_size))):
            chosen = torch.randint(records, (min(settings.batch_size, records),), device=target.device)
            optimizer.zero_grad(set_to_none=True)
            autoencoder_loss(net, probabilities[chosen], settings).backward()
            optimizer.step()
    return ReformingPurifier(net.eval().requires_grad_(requires_grad=False))


def wrap(target: Target, holding: Holding, seed: int, settings: Purifier2023 = Purifier2023()) -> SwappingPurifier:
    """Fit the reformer, and index the members whose label is to be swapped.

    Args:
        target: The model to defend; it is not changed.
        holding: Its members and reference records are used.
        seed: Decides initial weights, batch order and noise, and who is swapped.
        settings: How both parts are fitted.

    Raises:
        UnfitDefenseError: there are no members, or the model itself answers at random.
    """
    if holding.members.n == 0:
        raise UnfitDefenseError("needs the members, and there are none")
    if target.stochastic:
        raise UnfitDefenseError("knows members by their vectors, and the model gives another one each time")
    reformer = wrap_reformer(target, holding, seed, settings)
    index = _index(target.with_wrapper(reformer), holding, seed, settings)
    return SwappingPurifier(reformer.autoencoder, index.to(target.device), settings.tolerance)


def autoencoder_loss(net: ConditionalAutoencoder, probabilities: Tensor, settings: Purifier2023) -> Tensor:
    """The scalar loss of a batch float32 [record, class]: eq. 1, and the divergence of the code where it counts."""
    mean, log_variance = net.code(probabilities)
    raw = net.decoded(mean, log_variance)
    divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
    label_loss = functional.cross_entropy(raw, probabilities.argmax(1))
    told = reconstruction(raw, probabilities) + settings.label_weight * label_loss
    return told + settings.divergence_weight * divergence


def surplus(right: int, members: int, reference_accuracy: float) -> int:
    """How many right labels members get beyond what reference records get: p_swap times the right ones, at least 0."""
    return max(0, round(right - reference_accuracy * members))


def trimmed(
    candidates: npt.NDArray[np.intp],
    vectors: Tensor,
    right: npt.NDArray[np.bool_],
    wanted: int,
    tolerance: float,
) -> npt.NDArray[np.intp]:
    """The first candidates whose index swaps no more than `wanted` right labels: equal vectors are swapped together.

    Args:
        candidates: Members in the order in which they would be indexed.
        vectors: The model's own vectors of all members, float32 [member, class].
        right: Which members get their right label, bool [member].
        wanted: How many right labels are to be swapped.
        tolerance: See `auditor.wrappers.matches`.
    """
    if not len(candidates):
        return candidates
    index, known = vectors[candidates], vectors[np.flatnonzero(right)]
    hits = [matches(part, index, tolerance).numpy() for part in known.split(_MATCHED_AT_ONCE)]
    first = np.concatenate([hit.argmax(1)[hit.any(1)] for hit in hits])
    swapped = np.bincount(first, minlength=len(candidates)).cumsum()
    return candidates[: np.searchsorted(swapped, wanted, side="right")]


def _index(reformed: Target, holding: Holding, seed: int, settings: Purifier2023) -> Tensor:
    """The model's own vectors of the members to be swapped, float32 [entry, class], on the CPU."""
    members, reference = holding.members, holding.reference
    logits, released = class_vectors(reformed, members.inputs)
    vectors = torch.from_numpy(logits).softmax(1)
    right = released.argmax(1) == members.labels
    wanted = surplus(int(right.sum()), members.n, accuracy(reformed, reference.inputs, reference.labels))
    order = generator(seed, "purifier-2023 swapped members").permutation(np.flatnonzero(right))
    return vectors[trimmed(order[:wanted], vectors, right, wanted, settings.tolerance)]


def _untrained(classes: int) -> ConditionalAutoencoder:
    """The layout told for two classes; with more, a longer code, and wider layers from 33 on."""
    width = max(32, classes)
    return ConditionalAutoencoder(classes, (width, 2 * width, 4 * width), max(2, round(0.4 * classes)))


_PAPER = Paper(
    citation="Yang, Wang, Yang, Wan, Zhao, Chang, Zhang, Ren: Purifier: Defending Data Inference Attacks via "
    "Transforming Confidence Scores, AAAI 2023",
    url="https://arxiv.org/abs/2212.00612",
)
_REFORMER_CHANGED = (
    "From accounts of the paper; lambda, batches, the cap on steps and layer widths beyond two classes are ours. "
    "No Kullback-Leibler term, as accounted, though conditional variational autoencoders usually have one."
)
_CARD = DefenseCard(
    id="purifier-2023",
    title="Purifier (AAAI 2023)",
    paper=_PAPER,
    fidelity=Fidelity.ACCOUNT,
    acts_on="output",
    counts_for=(Access.SCORES, Access.LABELS),
    changed=f"{_REFORMER_CHANGED} Swap rate, and the match by logarithms of the model's vector, are ours too.",
    settings=asdict(Purifier2023()),
)
_REFORMER_CARD = DefenseCard(
    id="purifier-2023-reformer",
    title="Purifier (AAAI 2023) without its label swapper",
    paper=_PAPER,
    fidelity=Fidelity.ACCOUNT,
    acts_on="output",
    counts_for=(Access.SCORES,),
    changed=_REFORMER_CHANGED,
    part_of="purifier-2023",
    settings={name: value for name, value in asdict(Purifier2023()).items() if name != "tolerance"},
)

ROWS = (
    Defense(_CARD, wrap=wrap, uses_members=True, budget="standard", probes=(JITTER,)),
    Defense(_REFORMER_CARD, wrap=wrap_reformer, budget="thorough"),
)
