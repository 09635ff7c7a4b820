"""Blind control (DESIGN 7.6): can members be told from non-members without the model.

A cross-fitted classifier on the tensor that the model receives. What it can tell apart differs for reasons that the
model did not cause, so an attack may be telling the same. Its out-of-fold probability is each record's propensity:
among records of like propensity, what the attack still tells apart is the model's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from auditor.compute import generator
from auditor.findings import ControlResult, Measurement, Void
from auditor.membership.measure import Jury, plain_curve
from auditor.stats.auc import auc, stratified_auc
from auditor.target import Target
from auditor.verdict import Limits

__all__ = ["Blind", "blind_control", "blind_features", "matched_test"]

Floats = npt.NDArray[np.float64]

_FOLDS = 5
_VOIDS_NOTHING_ABOVE = 0.55
_LEAST_PAIRS = 50
_STRATA = 10
_BATCH = 512


@dataclass(frozen=True)
class Blind:
    """The blind control's result, and each record's cross-fitted propensity to look like a member [record]."""

    result: ControlResult
    propensity: Floats
    shift: bool


def blind_control(features: Floats, jury: Jury, seed: int, limits: Limits) -> Blind:
    """Tell members from non-members by what the model receives, never asking it.

    Args:
        features: [record, feature], from `blind_features`.
        jury: Membership, classes and groups of the audit records.
        seed: The audit's seed.
        limits: For the confidence of intervals.
    """
    with_class = np.hstack([features, np.eye(int(jury.labels.max()) + 1)[jury.labels]])
    propensity = _cross_fitted(with_class, jury, seed)
    estimate = auc(propensity, jury.membership, confidence=limits.confidence, groups=jury.groups)
    shift = estimate.low > 0.5
    voids = (Void.NOTHING_FOUND,) if estimate.low > _VOIDS_NOTHING_ABOVE else ()
    if not shift:
        told = (
            "A classifier that never asked the model cannot tell members from non-members; a shift of up to AUC "
            f"{max(_seen(jury), estimate.high):.2f} could have gone unseen."
        )
    else:
        told = (
            "The non-member records differ from the members in ways that the model did not cause (a classifier that "
            f"never asked the model tells them apart: AUC {estimate.value:.2f}). Use a random split of one data set."
        )
    result = ControlResult(
        id="blind",
        title="Blind control",
        question="Can members be told from non-members without asking the model?",
        status="fail" if voids else "warn" if shift else "pass",
        sentence=told,
        measurements=(Measurement(name="AUC without the model", estimate=estimate, against="0.5"),),
        voids=voids,
        roc=plain_curve(propensity, jury.membership),
    )
    return Blind(result, propensity, shift)


def blind_features(target: Target, inputs: npt.NDArray[np.generic]) -> Floats:
    """Describe the tensors that the model receives, for stored records -> [record, feature].

    Coarse pixels, brightness quantiles, sharpness and radial spectrum: what cropping, lighting, blur, compression or
    another camera would change. Tabular features are taken as they are.
    """
    parts = []
    for start in range(0, len(inputs), _BATCH):
        with torch.inference_mode():
            tensors = target.prepare(np.ascontiguousarray(inputs[start : start + _BATCH])).double().cpu().numpy()
        parts.append(tensors if tensors.ndim == 2 else _describe(tensors))
    stacked: Floats = np.concatenate(parts)
    return stacked


def _describe(tensors: Floats) -> Floats:
    records, channels, height, width = tensors.shape
    rows, columns = np.array_split(np.arange(height), min(8, height)), np.array_split(np.arange(width), min(8, width))
    coarse = np.stack([tensors[:, :, r][:, :, :, c].mean((2, 3)) for r in rows for c in columns], axis=-1)
    flat = tensors.reshape(records, channels, -1)
    quantiles = np.moveaxis(np.quantile(flat, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1], axis=2), 0, -1)
    moments = np.stack([flat.mean(2), flat.std(2)], axis=-1)
    edges = np.stack([np.abs(np.diff(tensors, axis=axis)).mean((2, 3)) for axis in (2, 3)], axis=-1)
    parts = [coarse, quantiles, moments, edges, _radial_spectrum(tensors)]
    return np.asarray(np.hstack([part.reshape(records, -1) for part in parts]), dtype=np.float64)


def _radial_spectrum(tensors: Floats, bands: int = 8) -> Floats:
    spectrum = np.abs(np.fft.fft2(tensors))
    height, width = tensors.shape[2:]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    band = np.minimum((radius / radius.max() * bands).astype(int), bands - 1)
    rings: Floats = np.log1p(np.stack([spectrum[:, :, band == one].mean(2) for one in range(bands)], axis=-1))
    return rings


def _cross_fitted(features: Floats, jury: Jury, seed: int) -> Floats:
    state = int(generator(seed, "blind control").integers(2**31))
    models = (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)),
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.08, max_leaf_nodes=15, random_state=state),
    )
    folds = (
        StratifiedKFold(_FOLDS, shuffle=True, random_state=state).split(features, jury.membership)
        if jury.groups is None
        else StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=state).split(
            features, jury.membership, jury.groups
        )
    )
    propensity = np.zeros(len(features))
    for fitting, judged in folds:
        for model in models:
            model.fit(features[fitting], jury.membership[fitting])
            propensity[judged] += model.predict_proba(features[judged])[:, 1] / len(models)
    return propensity


def _seen(jury: Jury) -> float:
    """The smallest AUC that a two-sided 95 % interval tells from .5 with 80 % power: null variance of Mann-Whitney."""
    members, non_members = int(jury.membership.sum()), jury.non_members
    error = np.sqrt((members + non_members + 1) / (12 * members * non_members))
    return float(0.5 + (norm.ppf(0.975) + norm.ppf(0.8)) * error)


def matched_test(scores: Floats, jury: Jury, propensity: Floats, alpha: float) -> bool | None:
    """Rule 6: is the attack's AUC above .5 among records that look alike to the blind control? None below 50 pairs."""
    edges = np.quantile(propensity, np.linspace(0, 1, _STRATA + 1)[1:-1])
    strata = np.searchsorted(edges, propensity)
    test = stratified_auc(scores, jury.membership, strata)
    return None if test.matched_pairs < _LEAST_PAIRS else bool(test.p_value <= alpha)
