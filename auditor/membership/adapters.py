"""From the evidence to the attack files: which signal each attack reads. One function per row of the battery.

What needs torch or scikit-learn is imported where it is called, so that the rows are read without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from auditor.membership.evidence import Evidence, Unavailable
from reference_attacks.membership import (
    attack_d,
    attack_p,
    attack_r,
    base,
    confidence,
    difficulty,
    entropy,
    instance_probability,
    instance_vector,
    lira,
    loss,
    modified_entropy,
    per_class,
    rmia,
)
from reference_attacks.membership import gap as gap_attack

if TYPE_CHECKING:
    from auditor.signals import Signals

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_REFERENCES = 4  # RAPID calibrates with four reference models; two more shadows teach it
_NET_EPOCHS = 50  # TrajectoryMIA's and SeqMIA's nets learn on two shadows at once, not on one
_LEAST_COMBINED = 2


def _rng(evidence: Evidence, purpose: str) -> np.random.Generator:
    """Of the audit's seed and a purpose."""
    from auditor.compute import generator

    return generator(evidence.known().seed, purpose)


# --- the target alone -----------------------------------------------------------------------------------------------


def gap(evidence: Evidence) -> Floats:
    """Correctness of the released label on the unchanged record."""
    return gap_attack.score(target_signal=evidence.target.audit.correct)


def cross_entropy(evidence: Evidence) -> Floats:
    """Negative loss on the released probabilities."""
    return loss.score(target_signal=evidence.target.audit.loss)


def song_mittal(evidence: Evidence) -> Floats:
    """Negative modified entropy of the released probabilities."""
    return modified_entropy.score(target_signal=evidence.target.audit.modified_entropy)


def population(evidence: Evidence) -> Floats:
    """Rank of the loss among calibrating non-members."""
    return attack_p.score(
        target_signal=-evidence.target.audit.loss, population_target_signal=-evidence.target.calibration.loss
    )


def true_class_confidence(evidence: Evidence) -> Floats:
    """The released probability of the true class."""
    return confidence.score(target_signal=evidence.target.audit.confidence)


def prediction_entropy(evidence: Evidence) -> Floats:
    """Negative entropy of the released probabilities; the label is not used."""
    return entropy.score(target_signal=evidence.target.audit.entropy)


def song_mittal_per_class(evidence: Evidence) -> Floats:
    """Modified entropy, ranked among calibrating non-members of the same class."""
    context = evidence.known()
    return per_class.score(
        target_signal=evidence.target.audit.modified_entropy,
        population_target_signal=evidence.target.calibration.modified_entropy,
        classes=context.labels,
        population_classes=context.calibration_labels,
    )


def quantile_regression(evidence: Evidence) -> Floats:
    """The margin against what calibrating non-members that look alike have."""
    from reference_attacks.membership import quantile

    context = evidence.known()
    return quantile.score(
        target_signal=evidence.target.audit.released_margin[:, 0],
        record_features=context.features,
        population_target_signal=evidence.target.calibration.released_margin[:, 0],
        population_features=context.calibration_features,
    )


class _ShadowScore(Protocol):
    def __call__(self, *, target_signal: Floats, shadow_signal: Floats, shadow_membership: Flags) -> Floats: ...


def _against_shadows(score: _ShadowScore, evidence: Evidence, signal: Callable[[Signals], Floats]) -> Floats:
    """What most attacks take: one signal of the target and of the shadows, and who was in which shadow."""
    return score(
        target_signal=signal(evidence.target.audit),
        shadow_signal=signal(evidence.shadows.audit),
        shadow_membership=evidence.shadow_membership,
    )


# --- shadows without the record -------------------------------------------------------------------------------------


def ye_reference(evidence: Evidence) -> Floats:
    """Attack-R: share of the shadows without the record that lose more on it."""
    return _against_shadows(attack_r.score, evidence, lambda signals: signals.released_margin)


def ye_reference_gaussian(evidence: Evidence) -> Floats:
    """Attack-R with a Gaussian: how far the margin lies above the shadows without the record, in their spread on it."""
    score = partial(attack_r.score, settings=attack_r.AttackR(estimate="logit-gaussian"))
    return _against_shadows(score, evidence, lambda signals: signals.released_margin)


def watson(evidence: Evidence) -> Floats:
    """Loss, less the mean loss of the shadows without the record."""
    return _against_shadows(difficulty.score, evidence, lambda signals: -signals.loss)


def base_offline(evidence: Evidence) -> Floats:
    """BASE on the shadows without the record."""
    return _against_shadows(base.offline, evidence, lambda signals: -signals.loss)


def lira_offline(evidence: Evidence) -> Floats:
    """LiRA, offline, one-sided: how far the margin lies above the shadows without the record."""
    return _against_shadows(lira.offline, evidence, lambda signals: signals.released_margin)


def lira_offline_two_sided(evidence: Evidence) -> Floats:
    """LiRA, offline, two-sided: how unlikely the margin is among the shadows without the record."""
    return _against_shadows(lira.offline_two_sided, evidence, lambda signals: signals.released_margin)


def lira_offline_student_t(evidence: Evidence) -> Floats:
    """LiRA, offline, Student's t with a prior on the variance of each record."""
    score = partial(lira.offline, settings=lira.LiRA(variance="student-t"))
    return _against_shadows(score, evidence, lambda signals: signals.released_margin)


def rmia_offline(evidence: Evidence) -> Floats:
    """RMIA on the shadows without the record."""
    return rmia.offline(
        target_signal=evidence.target.audit.confidence,
        shadow_signal=evidence.shadows.audit.confidence,
        shadow_membership=evidence.shadow_membership,
        population_target_signal=evidence.target.calibration.confidence,
        population_shadow_signal=evidence.shadows.calibration.confidence,
    )


# --- shadows with and without the record ----------------------------------------------------------------------------


def base_online(evidence: Evidence) -> Floats:
    """BASE on all shadows."""
    return _against_shadows(base.online, evidence, lambda signals: -signals.loss)


def lira_per_record(evidence: Evidence) -> Floats:
    """LiRA, online, a variance for each record."""
    score = partial(lira.online, settings=lira.LiRA(variance="per-record"))
    return _against_shadows(score, evidence, lambda signals: signals.released_margin)


def lira_student_t(evidence: Evidence) -> Floats:
    """LiRA, online, Student's t with a prior on the variance of each record."""
    score = partial(lira.online, settings=lira.LiRA(variance="student-t"))
    return _against_shadows(score, evidence, lambda signals: signals.released_margin)


def li_instance_probability(evidence: Evidence) -> Floats:
    """A logistic regression across shadows for every record."""
    return _against_shadows(instance_probability.score, evidence, lambda signals: signals.confidence)


def rapid_attack(evidence: Evidence) -> Floats:
    """Loss and calibrated loss, weighed by a net that learned on two further shadows."""
    from reference_attacks.membership import rapid

    losses, membership = evidence.shadows.audit.loss, evidence.shadow_membership
    if len(losses) < _REFERENCES + 2:
        raise Unavailable(f"needs {_REFERENCES + 2} shadows, and the plan has {len(losses)}")
    if membership[2:].all(0).any():
        raise Unavailable("needs a shadow without each record beside the first two")
    return rapid.score(
        target_signal=evidence.target.audit.loss,
        reference_signal=losses[2:],
        reference_membership=membership[2:],
        shadow_signal=losses[:2],
        shadow_membership=membership[:2],
        rng=_rng(evidence, "rapid"),
    )


def lira_released(evidence: Evidence) -> Floats:
    """LiRA, online, pooled variance, on the margin of the released probabilities."""
    return _against_shadows(lira.online, evidence, lambda signals: signals.released_margin)


def lira_logits(evidence: Evidence) -> Floats:
    """LiRA, online, pooled variance, on the margin of the logits."""
    return _against_shadows(lira.online, evidence, lambda signals: signals.logit_margin)


def rmia_released(evidence: Evidence) -> Floats:
    """RMIA, online, on the released probability of the true label."""
    return rmia.online(
        target_signal=evidence.target.audit.confidence,
        shadow_signal=evidence.shadows.audit.confidence,
        shadow_membership=evidence.shadow_membership,
        population_target_signal=evidence.target.calibration.confidence,
        population_shadow_signal=evidence.shadows.calibration.confidence,
    )


# --- whole probability vectors --------------------------------------------------------------------------------------


def shokri_shadows(evidence: Evidence) -> Floats:
    """A net for each class on the whole vector, taught by shadows."""
    from reference_attacks.membership import shokri

    vectors = evidence.probed("vectors")
    return shokri.score(
        target_vectors=vectors.target["vectors"],
        labels=evidence.known().labels,
        shadow_vectors=vectors.shadows["vectors"],
        shadow_membership=vectors.shadow_membership,
        rng=_rng(evidence, "shokri"),
    )


def ml_leaks_one(evidence: Evidence) -> Floats:
    """One shadow, the three largest probabilities, one attack net for all classes."""
    from reference_attacks.membership import ml_leaks

    vectors = evidence.probed("vectors")
    return ml_leaks.adversary_1(
        target_vectors=vectors.target["vectors"],
        shadow_vectors=vectors.shadows["vectors"],
        shadow_membership=vectors.shadow_membership,
        rng=_rng(evidence, "ml-leaks"),
    )


def ml_leaks_three(evidence: Evidence) -> Floats:
    """The largest probability; no shadow, no label."""
    from reference_attacks.membership import ml_leaks

    return ml_leaks.adversary_3(target_vectors=evidence.probed("vectors").target["vectors"])


def li_class_vector(evidence: Evidence) -> Floats:
    """A logistic regression for each class on the whole vector."""
    from reference_attacks.membership import class_vector

    vectors = evidence.probed("vectors")
    return class_vector.score(
        target_vectors=vectors.target["vectors"],
        labels=evidence.known().labels,
        shadow_vectors=vectors.shadows["vectors"],
        shadow_membership=vectors.shadow_membership,
        rng=_rng(evidence, "class-vector"),
    )


def li_instance_vector(evidence: Evidence) -> Floats:
    """Whether the vector is nearer to the shadows with the record or to those without."""
    vectors = evidence.probed("vectors")
    membership = vectors.shadow_membership
    if membership.all(0).any() or not membership.any(0).all():
        raise Unavailable("needs a shadow with each record and one without among those probed: a complementary pair")
    return instance_vector.score(
        target_vectors=vectors.target["vectors"],
        shadow_vectors=vectors.shadows["vectors"],
        shadow_membership=membership,
    )


# --- further queries ------------------------------------------------------------------------------------------------


def merlin_attack(evidence: Evidence) -> Floats:
    """How often noise raises the loss."""
    from reference_attacks.membership import merlin

    probed = evidence.probed("merlin").target
    return merlin.score(merlin_ratio=probed["ratio"], loss=probed["loss"])


def morgan_attack(evidence: Evidence) -> Floats:
    """Merlin's ratio inside a window of losses, both set on shadows."""
    from reference_attacks.membership import morgan

    probed = evidence.probed("merlin")
    return morgan.score(
        target_loss=probed.target["loss"],
        target_ratio=probed.target["ratio"],
        shadow_loss=probed.shadows["loss"],
        shadow_ratio=probed.shadows["ratio"],
        shadow_membership=probed.shadow_membership,
    )


def translations(evidence: Evidence) -> Floats:
    """Which shifted copies are still classified rightly, weighed by a net that learned on shadows."""
    return _of_copies("translations", evidence)


def rotations(evidence: Evidence) -> Floats:
    """Which rotated copies are still classified rightly, weighed by a net that learned on shadows."""
    return _of_copies("rotations", evidence)


def _of_copies(probe: str, evidence: Evidence) -> Floats:
    from reference_attacks.membership import label_only

    probed = evidence.probed(probe)
    return label_only.score(
        target_correct=probed.target["correct"] > 0,
        shadow_correct=probed.shadows["correct"] > 0,
        shadow_membership=probed.shadow_membership,
        rng=_rng(evidence, probe),
    )


def label_noise(evidence: Evidence) -> Floats:
    """Share of noisy copies that keep the true label."""
    return evidence.probed("label noise").target["share"].copy()


def boundary_distance(evidence: Evidence) -> Floats:
    """How far the record is from the decision boundary, for a sample of the records."""
    probed = evidence.probed("boundary")
    return probed.over_records(probed.target["distance"])


def gradient_norm(evidence: Evidence) -> Floats:
    """Loss and gradient norms, weighed by a logistic regression that learned on shadows."""
    from reference_attacks.membership import gradient

    probed = evidence.probed("gradients")
    return gradient.combined(
        target_loss=probed.target["loss"],
        target_norms=probed.target["norms"],
        shadow_loss=probed.shadows["loss"],
        shadow_norms=probed.shadows["norms"],
        shadow_membership=probed.shadow_membership,
    )


# --- models distilled from what is released -------------------------------------------------------------------------


def loss_trajectory(evidence: Evidence) -> Floats:
    """The loss along a distillation, weighed by a net that learned on shadows distilled alike."""
    from reference_attacks.membership import trajectory

    probed = evidence.probed("distillation")
    network = replace(trajectory.Trajectory().network, epochs=_NET_EPOCHS)
    return trajectory.score(
        target_trajectory=probed.target["metrics"][:, :, 0],
        shadow_trajectory=probed.pooled("metrics")[:, :, 0],
        shadow_membership=probed.shadow_membership.ravel(),
        rng=_rng(evidence, "trajectory"),
        settings=trajectory.Trajectory(network),
    )


def metric_sequences(evidence: Evidence) -> Floats:
    """Five metrics along the same distillation, read in order by a recurrent net that learned on shadows."""
    import torch

    from reference_attacks.membership import seqmia

    probed = evidence.probed("distillation")
    seed = int(_rng(evidence, "seqmia").integers(2**31))
    return seqmia.score(
        target_sequences=probed.target["metrics"],
        shadow_sequences=probed.pooled("metrics"),
        shadow_membership=probed.shadow_membership.ravel(),
        generator=torch.Generator().manual_seed(seed),
        settings=seqmia.SeqMIA(epochs=_NET_EPOCHS),
    )


def ye_distilled(evidence: Evidence) -> Floats:
    """Attack-D: how far the margin lies above that of models distilled from the target."""
    return attack_d.score(
        target_signal=evidence.target.audit.released_margin[:, :1],
        distilled_signal=evidence.probed("students").target["margins"].T[:, :, None],
    )


# --- the other attacks together ---------------------------------------------------------------------------------------


def oracle_combination(evidence: Evidence) -> Floats:
    """The other attacks' scores, weighed by who of the selecting half is a member; no score for that half itself."""
    from reference_attacks.membership import combination

    oracle = evidence.oracle
    if oracle is None or len(oracle.scores) < _LEAST_COMBINED:
        raise Unavailable("needs two other attacks on labels or scores that scored every record")
    combined = np.full(len(oracle.fitting), np.nan)
    combined[~oracle.fitting] = combination.score(
        fitting_scores=oracle.scores[:, oracle.fitting],
        fitting_membership=oracle.membership,
        judged_scores=oracle.scores[:, ~oracle.fitting],
    )
    return combined
