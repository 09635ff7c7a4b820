"""The attacks that `membership.py` compares: which signal each reads, as in the audit's battery at access `scores`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reference_attacks.membership import attack_p, attack_r, base, difficulty, lira, loss, modified_entropy, rmia

__all__ = ["FEW", "GLOBAL", "SHADOWED", "SIGNALS", "Attack", "Seen"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SIGNALS = ("released_margin", "confidence", "loss", "modified_entropy", "correct")


@dataclass(frozen=True)
class Seen:
    """What an attacker has.

    Attributes:
        target: The attacked model's signals by name, [record]; `population.` before the name for the population's.
        shadows: The same of each shadow.
        included: Which shadow was trained on which record, bool [model, record].
    """

    target: Mapping[str, Floats]
    shadows: Sequence[Mapping[str, Floats]]
    included: Flags

    def one(self, name: str) -> Floats:
        """The target's signal [record, query]."""
        return self.target[name][:, None]

    def all(self, name: str) -> Floats:
        """The shadows' signal [model, record, query]."""
        return np.stack([shadow[name] for shadow in self.shadows])[:, :, None]


Attack = Callable[[Seen], Floats]


class _ShadowScore(Protocol):
    def __call__(self, *, target_signal: Floats, shadow_signal: Floats, shadow_membership: Flags) -> Floats: ...


class _PopulationScore(Protocol):
    def __call__(
        self,
        *,
        target_signal: Floats,
        shadow_signal: Floats,
        shadow_membership: Flags,
        population_target_signal: Floats,
        population_shadow_signal: Floats,
    ) -> Floats: ...


def _on_margins(score: _ShadowScore, seen: Seen) -> Floats:
    name = "released_margin"
    return score(target_signal=seen.one(name), shadow_signal=seen.all(name), shadow_membership=seen.included)


def _on_losses(score: _ShadowScore, seen: Seen) -> Floats:
    return score(target_signal=-seen.one("loss"), shadow_signal=-seen.all("loss"), shadow_membership=seen.included)


def _on_confidences(score: _PopulationScore, seen: Seen) -> Floats:
    return score(
        target_signal=seen.one("confidence"),
        shadow_signal=seen.all("confidence"),
        shadow_membership=seen.included,
        population_target_signal=seen.one("population.confidence"),
        population_shadow_signal=seen.all("population.confidence"),
    )


def _loss(seen: Seen) -> Floats:
    return loss.score(target_signal=seen.one("loss"))


def _modified_entropy(seen: Seen) -> Floats:
    return modified_entropy.score(target_signal=seen.one("modified_entropy"))


def _attack_p(seen: Seen) -> Floats:
    return attack_p.score(target_signal=-seen.one("loss"), population_target_signal=-seen.one("population.loss"))


_PER_RECORD, _STUDENT = lira.LiRA(variance="per-record"), lira.LiRA(variance="student-t")
_GAUSSIAN = attack_r.AttackR(estimate="logit-gaussian")

GLOBAL: Mapping[str, Attack] = {"loss": _loss, "modified entropy": _modified_entropy, "Attack-P": _attack_p}

FEW: Mapping[str, Attack] = {
    "difficulty calibration": partial(_on_losses, difficulty.score),
    "Attack-R, fraction": partial(_on_margins, attack_r.score),
    "BASE online": partial(_on_losses, base.online),
    "BASE offline": partial(_on_losses, base.offline),
    "RMIA online": partial(_on_confidences, rmia.online),
    "RMIA offline": partial(_on_confidences, rmia.offline),
}

SHADOWED: Mapping[str, Attack] = {
    **FEW,
    "Attack-R, Gaussian": partial(_on_margins, partial(attack_r.score, settings=_GAUSSIAN)),
    "LiRA offline, pooled": partial(_on_margins, lira.offline),
    "LiRA offline, Student-t": partial(_on_margins, partial(lira.offline, settings=_STUDENT)),
    "LiRA online, pooled": partial(_on_margins, lira.online),
    "LiRA online, Student-t": partial(_on_margins, partial(lira.online, settings=_STUDENT)),
    "LiRA online, per record": partial(_on_margins, partial(lira.online, settings=_PER_RECORD)),
}
