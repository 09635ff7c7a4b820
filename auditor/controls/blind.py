"""Blind control (rule 6 of docs/rules-of-evidence.md): can members be told from non-members without the model.

A cross-fitted classifier on the tensor that the model receives. What it can tell apart differs for reasons that the
model did not cause, so an attack may be telling the same. Its out-of-fold probability is each record's propensity:
among records of like propensity, what the attack still tells apart is the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from auditor.compute import generator
from auditor.findings import ControlResult, Measurement, Void
from auditor.limits import Limits
from auditor.membership.measure import Jury, plain_curve
from auditor.stats.auc import auc, stratified_auc
from auditor.stats.groups import effective_groups

__all__ = ["Blind", "blind_control", "matched_test"]

Floats = npt.NDArray[np.float64]
Fold = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]

_FOLDS = 5
_VOIDS_NOTHING_ABOVE = 0.55
_LEAST_PAIRS = 50
_STRATA = 10
_QUESTION = "Can members be told from non-members without asking the model?"


@dataclass(frozen=True)
class Blind:
    """The blind control's result, and each record's cross-fitted propensity to look like a member [record].

    Where it could not run, every record has the same propensity and the result voids both verdicts.
    """

    result: ControlResult
    propensity: Floats
    shift: bool


def blind_control(features: Floats, jury: Jury, seed: int, limits: Limits) -> Blind:
    """Tell members from non-members by what the model receives, never asking it.

    Args:
        features: [record, feature], from `auditor.membership.features`.
        jury: Membership, classes and groups of the audit records.
        seed: The audit's seed.
        limits: For the confidence of intervals.
    """
    state = int(generator(seed, "blind control").integers(2**31))
    folds = _folds(jury, state)
    if not folds:
        return _skipped(jury)
    with_class = np.hstack([features, np.eye(int(jury.labels.max()) + 1)[jury.labels]])
    propensity = _cross_fitted(with_class, jury, folds, state)
    estimate = auc(propensity, jury.membership, confidence=limits.confidence, groups=jury.groups, cross_fitted=True)
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
        question=_QUESTION,
        status="fail" if voids else "warn" if shift else "pass",
        sentence=told,
        measurements=(Measurement(name="AUC without the model", estimate=estimate, against="0.5"),),
        voids=voids,
        roc=plain_curve(propensity, jury.membership),
    )
    return Blind(result, propensity, shift)


def _skipped(jury: Jury) -> Blind:
    result = ControlResult(
        id="blind",
        title="Blind control",
        question=_QUESTION,
        status="skipped",
        sentence=(
            "Too few records or groups a side to fit a classifier on some and judge the others: whether members differ "
            "from non-members without the model is not known."
        ),
        voids=(Void.LEAK_FOUND, Void.NOTHING_FOUND),
    )
    return Blind(result, np.full(len(jury.membership), 0.5), shift=False)


def _folds(jury: Jury, state: int) -> Sequence[Fold]:
    """(fitting, judged) positions, groups kept together: five folds, or as many as the smaller side has groups for."""
    groups = np.arange(len(jury.membership)) if jury.groups is None else jury.groups
    count = min(_FOLDS, *(len(np.unique(groups[side])) for side in (jury.membership, ~jury.membership)))
    if count < 2:
        return ()
    blank = np.zeros(len(groups))
    if jury.groups is None:
        splitter = StratifiedKFold(count, shuffle=True, random_state=state)
        return list(splitter.split(blank, jury.membership))
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=state)
    folds = [fold for fold in splitter.split(blank, jury.membership, groups) if len(fold[1])]
    one_sided = any(np.ptp(jury.membership[fitting].astype(int)) == 0 for fitting, _ in folds)
    return () if one_sided else folds


def _cross_fitted(features: Floats, jury: Jury, folds: Sequence[Fold], state: int) -> Floats:
    models = (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)),
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.08, max_leaf_nodes=15, random_state=state),
    )
    propensity = np.zeros(len(features))
    for fitting, judged in folds:
        for model in models:
            model.fit(features[fitting], jury.membership[fitting])
            propensity[judged] += model.predict_proba(features[judged])[:, 1] / len(models)
    return propensity


def _seen(jury: Jury) -> float:
    """The smallest AUC that the 95 % interval tells from .5 with 80 % power: twice Mann-Whitney's null variance."""
    members, non_members = float(jury.membership.sum()), float(jury.non_members)
    if jury.groups is not None:  # at worst a group says no more than one record
        worth = effective_groups(jury.membership, jury.groups)
        members, non_members = worth.members, worth.non_members
    error = np.sqrt(2 * (members + non_members + 1) / (12 * members * non_members))
    return float(0.5 + (norm.ppf(0.975) + norm.ppf(0.8)) * error)


def matched_test(scores: Floats, jury: Jury, propensity: Floats, alpha: float) -> bool | None:
    """Rule 6: is the attack's AUC above .5 among records that look alike to the blind control?

    None below 50 pairs, or where the groups are too few to tell.
    """
    edges = np.quantile(propensity, np.linspace(0, 1, _STRATA + 1)[1:-1])
    strata = np.searchsorted(edges, propensity)
    test = stratified_auc(scores, jury.membership, strata, groups=jury.groups)
    enough = test.testable and test.matched_pairs >= _LEAST_PAIRS
    return bool(test.p_value <= alpha) if enough else None
