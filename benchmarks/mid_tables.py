"""The tables of the MID study, and what they say of its hypotheses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

__all__ = [
    "PANELS",
    "PROTOCOL",
    "WIDER",
    "Found",
    "Part",
    "Results",
    "Row",
    "front_loaded",
    "report",
    "same_inside_and_out",
]

PANELS = ("regression, naive MAP", "tree, naive MAP", "tree, MAP with counts", "tree, MAP by odds")

PROTOCOL, WIDER = "protocol", "wider"

_SAME_AS_DP, _SAME_AS_TEST, _LEAST_POINTS = 0.01, 0.02, 3

Floats = npt.NDArray[np.float64]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Row(_Kept):
    """One attack on one model: point first, then resamples. Quality is empty where there is no model.

    `defense` is none, mid, answers, dp, or without a model frequent or imputed; `knob` is lambda or epsilon.
    """

    panel: str
    seed: int
    defense: str
    knob: float
    information: float | None
    quality: tuple[float, ...]
    train: tuple[float, ...]
    test: tuple[float, ...]


class Part(_Kept):
    """The regressions or the trees of one seed and plan."""

    seed: int
    kind: str
    plan: str
    cpu_seconds: float
    rows: tuple[Row, ...]


class Results(_Kept):
    """All parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A number with the 2.5 and 97.5 percentiles of its resamples."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(resamples: Floats) -> Found:
        """The first is the point."""
        low, high = np.percentile(resamples[1:], [2.5, 97.5])
        return Found(float(resamples[0]), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    """One defense at one knob, averaged over seeds: float [1 + resample] each."""

    defense: str
    knob: float
    quality: Floats
    train: Floats
    test: Floats
    by_seed: tuple[float, ...]
    information: float | None


def report(results: Results) -> str:
    """Markdown of every table; of the wider plan only what the protocol's plan does not have already."""
    by_plan = {plan: _by_panel(results, plan) for plan in (PROTOCOL, WIDER)}
    parts = []
    for plan, panels in by_plan.items():
        judged = [line for panel, settings in panels.items() for line in _judgements(panel, settings)]
        parts += [f"## Judgements, {plan} plan", _table(("panel", "hypothesis", "seen", "judgement"), judged)]
    for plan, panels in by_plan.items():
        for panel, settings in panels.items():
            shown = [] if plan == WIDER and panel in PANELS[1:3] else [_scores(settings)]
            parts += [f"## {panel[0].upper()}{panel[1:]}, {plan} plan", *shown, "At equal quality:", _beside(settings)]
    spent = sum(part.cpu_seconds for part in results.parts)
    parts.append(f"{len({part.seed for part in results.parts})} seeds, {spent:.0f} CPU seconds.")
    return "\n\n".join(parts)


def _by_panel(results: Results, plan: str) -> dict[str, list[_Setting]]:
    rows = [row for part in results.parts if part.plan == plan for row in part.rows]
    panels = PANELS[:3] if plan == PROTOCOL else PANELS
    return {panel: _settings([row for row in rows if row.panel == panel]) for panel in panels}


def _settings(rows: Sequence[Row]) -> list[_Setting]:
    """Averages over seeds; a knob is told by its text, since a missing one is not equal to itself."""
    settings = []
    for defense, knob in dict.fromkeys((row.defense, str(row.knob)) for row in rows):
        mine = [row for row in rows if (row.defense, str(row.knob)) == (defense, knob)]
        told = [row.information for row in mine if row.information is not None]
        settings.append(
            _Setting(
                defense,
                float(knob),
                quality=np.mean([row.quality for row in mine], axis=0),
                train=np.mean([row.train for row in mine], axis=0),
                test=np.mean([row.test for row in mine], axis=0),
                by_seed=tuple(row.test[0] for row in mine),
                information=float(np.mean(told)) if told else None,
            )
        )
    return settings


def _curve(settings: Sequence[_Setting], defense: str) -> list[_Setting]:
    return [one for one in settings if one.defense in {"none", defense}]


def _at(curve: Sequence[_Setting], quality: Floats) -> Floats:
    """Score on test people where the curve has this quality, in each resample; straight between settings."""
    qualities, scores = np.array([one.quality for one in curve]), np.array([one.test for one in curve])
    order = qualities.argsort(axis=0)
    qualities, scores = np.take_along_axis(qualities, order, axis=0), np.take_along_axis(scores, order, axis=0)
    return np.array([np.interp(*each) for each in zip(quality, qualities.T, scores.T, strict=True)])


# --- hypotheses ------------------------------------------------------------------------------------------------------


def _judgements(panel: str, settings: Sequence[_Setting]) -> Iterator[tuple[str, ...]]:
    none, frequent = (next(one for one in settings if one.defense == name) for name in ("none", "frequent"))
    attack = Found.of(none.test - frequent.test)
    yield (
        panel,
        "the attack works",
        f"no defense minus most frequent value: {attack}",
        "yes" if attack.low > 0 else "no",
    )
    points = _differences(settings)
    mid = _curve(settings, "mid")
    for name, (seen, verdict) in (
        ("H1 below DP at equal quality", _below_dp(points)),
        ("H2 the first part buys most", front_loaded(none.test, *_middle_and_end(mid))),
        ("H3 train as test", same_inside_and_out(np.mean([one.train - one.test for one in mid], axis=0))),
    ):
        yield panel, name, seen, f"**{verdict if attack.low > 0 else 'cannot tell'}**"


def _differences(settings: Sequence[_Setting]) -> list[tuple[_Setting, Floats]]:
    """Each MID setting whose quality DP has too, with MID's score minus DP's there, float [1 + resample]."""
    dp = _curve(settings, "dp")
    least, most = min(one.quality[0] for one in dp), max(one.quality[0] for one in dp)
    mid = [one for one in settings if one.defense == "mid" and one.knob > 0]
    return [(one, one.test - _at(dp, one.quality)) for one in mid if least <= one.quality[0] <= most]


def _below_dp(points: Sequence[tuple[_Setting, Floats]]) -> tuple[str, str]:
    if len(points) < _LEAST_POINTS:
        return f"{len(points)} points", "cannot tell"
    found = Found.of(np.mean([apart for _, apart in points], axis=0))
    each = [Found.of(apart) for _, apart in points]
    below, above = sum(one.high < 0 for one in each), sum(one.low > 0 for one in each)
    seen = f"mean difference {found}; of {len(each)} points {below} below, {above} above"
    if found.high < 0:
        return seen, "reproduced" if below > len(each) / 2 else "partly"
    if found.low > 0 or (max(abs(found.low), abs(found.high)) < _SAME_AS_DP):
        return seen, "not reproduced"
    return seen, "cannot tell"


def _middle_and_end(mid: Sequence[_Setting]) -> tuple[Floats, Floats]:
    """MID's score half of the way from no defense to its worst quality, and at the end."""
    none = next(one for one in mid if one.defense == "none")
    end = max(mid, key=lambda one: abs(one.quality[0] - none.quality[0]))
    return _at(mid, (none.quality + end.quality) / 2), end.test


def front_loaded(start: Floats, middle: Floats, end: Floats) -> tuple[str, str]:
    """Judge H2 from the attack's score without defense, half of the way, and at the end, float [1 + resample] each."""
    whole = Found.of(start - end)
    if whole.low <= 0:
        return f"whole reduction {whole}", "not reproduced"
    share = Found.of((start - middle) / (start - end))
    seen = f"{share} of a reduction by {whole}"
    for limit, verdict in ((2 / 3, "reproduced"), (1 / 2, "partly")):
        if share.low > limit:
            return seen, verdict
    return seen, "not reproduced" if share.high < 1 / 2 else "cannot tell"


def same_inside_and_out(apart: Floats) -> tuple[str, str]:
    """Judge H3 from the score on training people minus that on test people, float [1 + resample]."""
    found = Found.of(apart)
    seen = f"train minus test {found}"
    if max(abs(found.low), abs(found.high)) < _SAME_AS_TEST:
        return seen, "reproduced"
    outside = found.low > _SAME_AS_TEST or found.high < -_SAME_AS_TEST
    return seen, "not reproduced" if outside else "cannot tell"


# --- tables ----------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _name(setting: _Setting) -> str:
    return {
        "none": "no defense",
        "mid": f"MID, λ = {setting.knob:g}",
        "answers": f"MID, answers only, λ = {setting.knob:g}",
        "dp": f"DP, ε = {setting.knob:g}",
        "frequent": "no model: most frequent value",
        "imputed": "no model: logistic regression",
    }[setting.defense]


def _scores(settings: Sequence[_Setting]) -> str:
    rows = [
        (
            _name(one),
            str(Found.of(one.quality)) if one.quality.size else "",
            "" if one.information is None else f"{one.information:.3f}",
            str(Found.of(one.test)),
            str(Found.of(one.train)),
            " / ".join(f"{score:.3f}" for score in one.by_seed),
        )
        for one in settings
    ]
    head = (
        "model",
        "quality (MSE or F1)",
        "I(X; Ŷ), nats",
        "attack on test people",
        "attack on training people",
        "on test people, by seed",
    )
    return _table(head, rows)


def _beside(settings: Sequence[_Setting]) -> str:
    rows = [
        (
            f"{one.knob:g}",
            f"{one.quality[0]:.3f}",
            f"{one.test[0]:.3f}",
            f"{one.test[0] - apart[0]:.3f}",
            str(Found.of(apart)),
        )
        for one, apart in _differences(settings)
    ]
    return _table(("λ", "quality", "MID", "DP there", "difference"), rows)
