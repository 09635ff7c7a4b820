"""The tables of docs/validation/membership.md, from the results of `membership.py` alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from membership_attacks import FEW, GLOBAL, SHADOWED
from membership_study import FEWEST_FOR_VARIANCES, FPR, Results
from membership_verdict import (
    HYPOTHESES,
    WORLDS,
    Comparison,
    Hypothesis,
    Judgement,
    Ordering,
    judge,
    over_pairs,
    tail_orders,
)
from scipy import stats

from auditor.stats.estimate import Estimate

__all__ = ["report"]

_FEWEST_ORDERINGS = 5


def report(results: Results) -> str:
    """All tables, in Markdown."""
    parts = ["A smoke run: no number here means anything."] if results.smoke else []
    parts += ["## Judgements", _table(("hypothesis", "judgement", "comparisons"), _judgements(results))]
    parts += ["## The models", _models(results)]
    for world in WORLDS:
        parts += [f"## TPR at 1 % FPR, {world}", _attacks(results, world, "tpr")]
        parts += [f"## AUC, {world}", _attacks(results, world, "auc")]
    for hypothesis in HYPOTHESES:
        parts += [f"## {hypothesis.name}: {hypothesis.claim}", _comparisons(hypothesis, results)]
    parts += ["## H4: the tail rate orders models as LiRA's TPR does", _orderings(results), _concordance(results)]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _points(estimate: Estimate, metric: str = "tpr") -> str:
    """An estimate with its interval: TPR in per cent, AUC as it is."""
    scale, digits = (100, 2) if metric == "tpr" else (1, 4)
    value, low, high = (f"{scale * number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


# --- what was measured ---------------------------------------------------------------------------------------------


def _models(results: Results) -> str:
    head = ("setting", "models", "members each", "train accuracy", "accuracy on the rest", "tail rate", "CPU s a model")
    rows = []
    for name in dict.fromkeys(row.setting for row in results.models):
        chosen = [row for row in results.models if row.setting == name]
        means = np.mean([(row.train_accuracy, row.other_accuracy, row.tail, row.cpu_seconds) for row in chosen], axis=0)
        facts = (f"{means[0]:.3f}", f"{means[1]:.3f}", f"{100 * means[2]:.1f} %", f"{means[3]:.0f}")
        rows.append((name, str(len(chosen)), str(chosen[0].members), *facts))
    return _table(head, rows)


def _attacks(results: Results, world: str, metric: str) -> str:
    counts = sorted({row.shadows for row in results.scores if row.setting == world} - {0})
    rows = []
    for attack in (*GLOBAL, *SHADOWED):
        cells = []
        for count in counts:
            used, exists = (0, True) if attack in GLOBAL else (count, attack in FEW or count >= FEWEST_FOR_VARIANCES)
            cells.append(_points(over_pairs(results, world, used, attack, metric), metric) if exists else "")
        rows.append((attack, *cells))
    return _table(("attack", *(f"K = {count}" for count in counts)), rows)


# --- what was predicted --------------------------------------------------------------------------------------------


def _judgements(results: Results) -> Iterator[tuple[str, str, str]]:
    for hypothesis in HYPOTHESES:
        sides = [one.side for one in hypothesis.comparisons(results)]
        yield f"{hypothesis.name}: {hypothesis.claim}", f"**{judge(sides)}**", _counts(sides)
    decided = [one.side for one in tail_orders(results) if one.decided]
    judgement = judge(decided) if len(decided) >= _FEWEST_ORDERINGS else Judgement.CANNOT_TELL
    claim = f"H4: the tail rate at {100 * FPR:.0f} % FNR orders models as LiRA's TPR at {100 * FPR:.0f} % FPR does"
    yield claim, f"**{judgement}**", f"{_counts(decided)}; LiRA tells {len(decided)} of 10 pairs apart"


def _counts(sides: Sequence[str]) -> str:
    found = {side: sides.count(side) for side in dict.fromkeys(sides)}
    return f"{len(sides)}: " + ", ".join(f"{count} {side}" for side, count in found.items())


def _comparisons(hypothesis: Hypothesis, results: Results) -> str:
    head = ("setting", "K", "first", "second", "TPR, points", "AUC", "side")
    return _table(head, (_row(one) for one in hypothesis.comparisons(results)))


def _row(one: Comparison) -> tuple[str, ...]:
    return (
        one.setting,
        str(one.shadows),
        one.better,
        one.worse,
        _points(one.tpr),
        _points(one.auc, "auc"),
        one.side.value,
    )


def _orderings(results: Results) -> str:
    return _table(
        ("first", "second", "LiRA's TPR, points", "tail rate, points", "side"), map(_order, tail_orders(results))
    )


def _order(one: Ordering) -> tuple[str, ...]:
    side = one.side.value if one.decided else "not told apart by LiRA"
    return one.first, one.second, _points(one.lira), _points(one.tail), side


def _concordance(results: Results) -> str:
    """Kendall's tau over all pseudo-targets, for description."""
    risks = {
        (row.setting, row.target): row.tpr
        for row in results.scores
        if (row.attack, row.shadows) == ("LiRA online, pooled", 4)
    }
    tau = stats.kendalltau(
        [row.tail for row in results.models], [risks[row.setting, row.target] for row in results.models]
    )
    return f"Kendall's tau over the {len(results.models)} models, not judged: {tau.statistic:.2f}."
