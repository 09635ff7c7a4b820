"""What the defense study keeps of an audit, and the quantities that it reads from the report: no second measuring.

Quantities that are judged are oriented so that larger speaks for the paper's claim.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from auditor.findings import Check, DefenseEffect, DefenseResult, InversionEffect, Measurement, Metric, PlanFacts
from auditor.threat import Access

__all__ = [
    "Results",
    "Run",
    "UnmeasuredError",
    "accuracy",
    "accuracy_change",
    "auc_change",
    "auc_effect",
    "defense_of",
    "effect_of",
    "error_factor",
    "inversion_effect",
    "labels_kept",
    "lead_taken",
    "recognition_taken",
    "strongest_taken",
    "taken_from_probe",
]

_CHANCE = 0.5
_LEAST_LEAD = 0.05


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(_Kept):
    """What one audit said of the defenses, with the plan that it followed and the checks that it made."""

    world: str
    seed: int
    images: bool
    plan: PlanFacts
    checks: tuple[Check, ...]
    evaluators: tuple[Measurement, ...]
    defenses: tuple[DefenseResult, ...]
    cpu_seconds: float


class Results(_Kept):
    """All runs."""

    runs: tuple[Run, ...]

    def of(self, world: str) -> list[Run]:
        """The runs in a world, by seed."""
        return sorted((run for run in self.runs if run.world == world), key=lambda run: run.seed)


class UnmeasuredError(Exception):
    """A value is not in a report, or there is nothing that a defense could have changed; the message says why."""


# --- what reports say ------------------------------------------------------------------------------------------------


def defense_of(run: Run, name: str) -> DefenseResult:
    """What an audit said of a defense.

    Raises:
        UnmeasuredError: it was not applied.
    """
    found = next((one for one in run.defenses if one.card.id == name), None)
    if found is None:
        raise UnmeasuredError("not applied")
    if found.status != "completed":
        raise UnmeasuredError(f"{found.status}: {found.reason.strip().rpartition(chr(10))[2]}")
    return found


def effect_of(result: DefenseResult, attack: str, metric: Metric) -> DefenseEffect:
    """What one attack of the battery gets before and after.

    Raises:
        UnmeasuredError: it did not run.
    """
    for one in result.effects:
        if (one.attack_id, one.metric) == (attack, metric):
            return one
    raise UnmeasuredError(f"{attack} did not run")


def auc_effect(result: DefenseResult, attack: str, state: str) -> tuple[float, float]:
    """The AUC of an attack on the undefended and on the defended model.

    Args:
        result: Of the defense.
        attack: Its id.
        state: `static`, for who does not know of the defense; `adaptive`, for who does.

    Raises:
        UnmeasuredError: it did not run.
    """
    effect = effect_of(result, attack, Metric.AUC)
    after = effect.static if state == "static" else effect.adaptive
    if after is None:
        raise UnmeasuredError(f"{attack}, {state}, did not run")
    return effect.undefended.value, after.value


def inversion_effect(result: DefenseResult, attack: str, ending: str) -> InversionEffect:
    """What an inversion attack gets before and after; `ending` is how the name of the measure ends.

    Raises:
        UnmeasuredError: it did not run.
    """
    for one in result.inversion:
        if one.attack_id == attack and one.measure.endswith(ending) and not one.chosen_from:
            return one
    raise UnmeasuredError(f"{attack} did not run")


def accuracy(result: DefenseResult, state: str) -> float:
    """Accuracy on the audited non-members, `undefended` or `defended`.

    Raises:
        UnmeasuredError: the report does not say.
    """
    return _cost(result, f"Accuracy on non-members, {state}")


def _cost(result: DefenseResult, name: str) -> float:
    for one in result.costs:
        if one.name == name:
            return one.estimate.value
    raise UnmeasuredError(f"the report has no {name}")


# --- quantities: larger speaks for the claim -------------------------------------------------------------------------


def _taken(before: float, after: float) -> float:
    """How much of an attack's lead over chance is gone; one below chance is turned round."""
    lead = before - _CHANCE
    if lead < _LEAST_LEAD:
        raise UnmeasuredError(f"nothing to take: AUC {before:.3f} undefended")
    return 1 - abs(after - _CHANCE) / lead


def lead_taken(result: DefenseResult, *, attack: str, state: str) -> float:
    """Of one attack on the whole audit set; `state` is `static` or `adaptive`."""
    return _taken(*auc_effect(result, attack, state))


def strongest_taken(result: DefenseResult) -> float:
    """Of whichever attack on scores is the strongest, before and after."""
    for one in result.strongest:
        if one.access is Access.SCORES:
            return _taken(one.undefended.value, one.adaptive.value)
    raise UnmeasuredError("no attack on scores ran")


def taken_from_probe(result: DefenseResult, *, probe: str) -> float:
    """Against the lead of LiRA on the undefended model."""
    for one in result.probes:
        if one.id == probe and one.auc is not None:
            return _taken(auc_effect(result, "lira-scores", "adaptive")[0], one.auc.value)
    raise UnmeasuredError(f"the probe {probe} did not run")


def error_factor(result: DefenseResult) -> float:
    """The inversion network's error on members, times that on the undefended model."""
    return inversion_effect(result, "inversion-network", "of members, times the undefended").defended.value


def recognition_taken(result: DefenseResult) -> float:
    """How much of MIFace's lead over images that show nothing is gone: those are given each class equally."""
    effect = inversion_effect(result, "miface", "")
    chance = 1 / effect.undefended.n["classes"]
    lead = effect.undefended.value - chance
    if lead < _LEAST_LEAD:
        raise UnmeasuredError(f"nothing to take: recognised at {effect.undefended.value:.3f} undefended")
    return 1 - (effect.defended.value - chance) / lead


def accuracy_change(result: DefenseResult) -> float:
    """On all audited non-members, defended minus undefended."""
    return accuracy(result, "defended") - accuracy(result, "undefended")


def labels_kept(result: DefenseResult) -> float:
    """Minus the share of changed labels."""
    return 0.0 - _cost(result, "Labels changed")


def auc_change(result: DefenseResult, *, attack: str) -> float:
    """Adaptive minus undefended."""
    before, after = auc_effect(result, attack, "adaptive")
    return after - before
