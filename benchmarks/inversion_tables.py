"""The tables of the inversion study, and what they say of its hypotheses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from auditor.findings import InversionResult, InversionSetup, Measurement, Timing
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import mean, proportion

__all__ = ["Blind", "Results", "Run", "report"]

_PAIRS = (("H1", "lomma", "gmi"), ("H2", "plg-mi", "gmi"))


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(_Kept):
    """Every attack on one target; `recognised` holds the judges' probability of the class by attack, per class."""

    world: str
    seed: int
    setup: InversionSetup | None
    results: tuple[InversionResult, ...]
    timings: tuple[Timing, ...]
    recognised: dict[str, tuple[float, ...]]
    train_accuracy: float
    test_accuracy: float


class Blind(_Kept):
    """One target that never saw the members: what each attack found, and the smallest p-value after correction."""

    seed: int
    excess: dict[str, tuple[Measurement, ...]]
    p_values: dict[str, float]
    smallest_adjusted: float


class Results(_Kept):
    """All runs."""

    runs: tuple[Run, ...]
    blind: tuple[Blind, ...]


def report(results: Results) -> str:
    """Markdown of every table."""
    parts = [_targets(results.runs)]
    for world in dict.fromkeys(run.world for run in results.runs):
        runs = [run for run in results.runs if run.world == world]
        parts += [f"### {world}", _attacks(runs), _excesses(runs), _curves(runs)]
    parts += ["### Hypotheses", _hypotheses(results), "### Targets that never saw the members", _blind(results.blind)]
    return "\n\n".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _told(found: Estimate, digits: int = 3) -> str:
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _targets(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        judges = ", ".join(_told(one.estimate, 2) for one in run.setup.evaluators) if run.setup else "none"
        prior = run.setup.prior if run.setup else ""
        rows.append((run.world, str(run.seed), f"{run.train_accuracy:.3f}", f"{run.test_accuracy:.3f}", judges, prior))
    head = ("world", "seed", "members right", "non-members right", "evaluation networks, held-out accuracy", "prior")
    return _table(head, rows)


def _attacks(runs: Sequence[Run]) -> str:
    """One row per attack and seed: what the judges say, distances, queries, CPU time."""
    rows = []
    for index in range(len(runs[0].results)):
        for run in runs:
            one = run.results[index]
            took = next((each.cpu_seconds for each in run.timings if each.phase == one.card.id), 0.0)
            if one.status != "completed":
                rows.append((one.card.id, str(run.seed), f"{one.status}: {one.reason}", "", "", "", "", ""))
                continue
            told = {each.name: each.estimate for each in one.measurements}
            judged = [f"{told[name].value:.2f}" for name in told if name.endswith("(top 1)")]
            rows.append(
                (
                    one.card.id,
                    str(run.seed),
                    " / ".join(judged),
                    _either(told, "Feature distance to the nearest member"),
                    _either(told, "Feature distance to the nearest non-member"),
                    _either(told, "Distance to the nearest member (MSE)", "Inversion error of members (MSE)"),
                    f"{one.queries_per_class:,}",
                    f"{took:.0f}",
                )
            )
    head = (
        "attack",
        "seed",
        "recognised, top 1 (plain / residual)",
        "features: nearest member",
        "nearest non-member",
        "pixels: nearest member",
        "queries a class",
        "CPU s, all models",
    )
    return _table(head, rows)


def _either(told: dict[str, Estimate], *names: str) -> str:
    return next((f"{told[name].value:.3f}" for name in names if name in told), "")


def _excesses(runs: Sequence[Run]) -> str:
    rows = []
    for index in range(len(runs[0].results)):
        for run in runs:
            one = run.results[index]
            for excess in (*one.record_excess, *one.class_excess):
                found = one.record_found if excess.name.startswith("Record") else one.class_found
                rows.append(
                    (
                        one.card.id,
                        str(run.seed),
                        excess.name,
                        excess.against,
                        _told(excess.estimate, 4),
                        "found" if found else "",
                    )
                )
    return _table(("attack", "seed", "excess", "over", "95 % interval over classes", "after correction"), rows)


def _curves(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        for one in run.results:
            if one.success_by_queries:
                points = ", ".join(f"{each.queries:,}: {each.success.value:.2f}" for each in one.success_by_queries)
                rows.append((one.card.id, str(run.seed), points))
    return _table(("attack", "seed", "queries a class: share of classes recognised"), rows) if rows else ""


# --- hypotheses ------------------------------------------------------------------------------------------------------


def _hypotheses(results: Results) -> str:
    rows = [row for name, better, worse in _PAIRS for row in _paired(name, better, worse, results.runs)]
    rows += list(_label_only(results.runs))
    return _table(("hypothesis", "world", "difference, 95 % interval", "seen"), rows)


def _paired(name: str, better: str, worse: str, runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    """Differences in the judges' probability of the class; classes of all seeds are the units."""
    for world in dict.fromkeys(run.world for run in runs):
        both = [run.recognised for run in runs if run.world == world and {better, worse} <= run.recognised.keys()]
        if both:
            apart = np.concatenate([np.subtract(one[better], one[worse]) for one in both])
            found = mean(apart, unit="classes")
            yield f"{name} {better} above {worse}", world, _told(found), _judged([found])


def _label_only(runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    for run in runs:
        one = next((each for each in run.results if each.card.id == "brep-mi"), None)
        if one is not None and one.class_excess:
            estimates = [excess.estimate for excess in one.class_excess]
            told = "; ".join(f"{_told(excess.estimate)} over {excess.against}" for excess in one.class_excess)
            yield "H3 brep-mi above its controls", f"{run.world} {run.seed}", told, _judged(estimates)


def _judged(found: Sequence[Estimate]) -> str:
    if all(one.low > 0 for one in found):
        return "yes"
    return "no, the opposite" if any(one.high < 0 for one in found) else "cannot tell"


def _blind(blind: Sequence[Blind]) -> str:
    if not blind:
        return "None ran."
    alarms = sum(one.smallest_adjusted <= 0.05 for one in blind)
    share = _told(proportion(alarms, len(blind), unit="runs"))
    lines = [f"{len(blind)} targets; in {alarms} a record excess is significant after correction: {share}."]
    rows = []
    for attack in blind[0].excess:
        for place, first in enumerate(blind[0].excess[attack]):
            estimates = [one.excess[attack][place].estimate for one in blind if attack in one.excess]
            covered = sum(one.low <= 0 <= one.high for one in estimates)
            average = mean([one.value for one in estimates], unit="runs") if len(estimates) > 1 else estimates[0]
            rows.append((attack, first.against, f"{covered} of {len(estimates)}", _told(average, 5)))
    lines.append(_table(("attack", "over", "95 % intervals that cover 0", "mean excess (MSE)"), rows))
    return "\n\n".join(lines)
