"""Which measured defense to take for a way of release: chosen on one half of the records, told of the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.findings import DefenseAdvice, DefenseProbeResult, DefenseResult, StrongestAttack
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = ["MOST_ACCURACY_LOST", "advise"]

MOST_ACCURACY_LOST = 0.02
_CHANCE = 0.5


@dataclass(frozen=True)
class _Candidate:
    """A measured defense at one release: what it leaks and costs on the half on which it is chosen."""

    result: DefenseResult
    strongest: StrongestAttack

    @property
    def leak(self) -> float:
        return self.strongest.chosen_at.value

    @property
    def kept(self) -> float:
        change = self.result.accuracy_change_at_choice
        return 0.0 if change is None else change.value

    @property
    def worth_it(self) -> bool:
        """Whether it leaks less than no defense, and does not cost too much."""
        return self.kept >= -MOST_ACCURACY_LOST and self.leak < self.strongest.undefended_chosen_at.value

    def beats(self, other: _Candidate) -> bool:
        """Whether it is as good in both, and better in one."""
        no_worse = self.leak <= other.leak and self.kept >= other.kept
        return no_worse and (self.leak < other.leak or self.kept > other.kept)


def advise(results: Sequence[DefenseResult]) -> tuple[DefenseAdvice, ...]:
    """One piece of advice for every way of release for which a defense was measured.

    Of the defenses that no other beats on both accuracy and leakage, that one is advised that leaks least to the
    strongest adaptive attack among those that cost at most two points of accuracy and leak less than no defense. All of
    this is seen on the selecting half; the numbers told are of the other half.
    """
    return tuple(advice for access in Access if (advice := _advise(results, access)) is not None)


def _advise(results: Sequence[DefenseResult], release: Access) -> DefenseAdvice | None:
    candidates = list(_candidates(results, release))
    if not candidates:
        return None
    front = [one for one in candidates if not any(other.beats(one) for other in candidates)]
    worth = [
        one for one in front if one.kept >= -MOST_ACCURACY_LOST and one.leak < one.strongest.undefended_chosen_at.value
    ]
    best = min(worth, key=lambda one: one.leak, default=None)
    return DefenseAdvice(
        release=release,
        defense_id=None if best is None else best.result.card.id,
        front=tuple(one.result.card.id for one in front),
        strongest=None if best is None else best.strongest,
        accuracy_change=None if best is None else best.result.accuracy_change,
        sentence=_none_of(candidates) if best is None else _sentence(best),
        not_stopped=_not_stopped(candidates if best is None else [best], release),
    )


def _candidates(results: Sequence[DefenseResult], release: Access) -> Iterator[_Candidate]:
    for result in results:
        at = next((one for one in result.strongest if one.access is release), None)
        if result.status == "completed" and at is not None and release in result.card.counts_for:
            yield _Candidate(result, at)


def _sentence(best: _Candidate) -> str:
    strongest, result = best.strongest, best.result
    verdict = "leaks less" if strongest.change.high < 0 else "was not shown to leak less"
    cost = result.accuracy_change
    accuracy = "" if cost is None else f" Accuracy changes by {_points(cost)}."
    seeds = "one seed" if result.seeds == 1 else f"{result.seeds} seeds"
    return (
        f"This file with {result.card.title} {verdict}: on records on which nothing was chosen, the strongest adaptive "
        f"attack reaches AUC {_about(strongest.adaptive)} instead of {_about(strongest.undefended)}.{accuracy} "
        f"That speaks of this file, {seeds}."
    )


def _none_of(candidates: Sequence[_Candidate]) -> str:
    many = len(candidates)
    measured = (
        f"None of the {many} defenses measured" if many > 1 else f"{candidates[0].result.card.title} is not one that"
    )
    return (
        f"{measured} leaks less to the strongest adaptive attack at a cost of at most {100 * MOST_ACCURACY_LOST:g} "
        "points of accuracy, by the half of the records on which that is chosen."
    )


def _not_stopped(candidates: Sequence[_Candidate], release: Access) -> str:
    """What still works: the strongest attack, and what exists only because of the defense."""
    told = []
    for one in candidates:
        title = one.result.card.title
        if one.strongest.adaptive.low > _CHANCE:
            told.append(f"{one.strongest.attack_id} against {title} (AUC {_about(one.strongest.adaptive)})")
        told += [
            f"{_attacked(probe, title)} (AUC {_about(probe.auc)})"
            for probe in one.result.probes
            if probe.auc is not None and probe.auc.low > _CHANCE and release.includes(probe.access)
        ]
    return f"Not stopped: {'; '.join(told)}." if told else ""


def _attacked(probe: DefenseProbeResult, defense: str) -> str:
    return (
        f"{probe.title} against {defense}"
        if probe.asks == "members"
        else f"records that {defense} held out, recognised"
    )


def _about(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f}–{estimate.high:.2f}; {_counted(estimate)})"


def _points(change: Estimate) -> str:
    ends = f"{100 * change.low:+.1f} to {100 * change.high:+.1f}"
    return f"{100 * change.value:+.1f} points ({ends}; {_counted(change)})"


def _counted(estimate: Estimate) -> str:
    return ", ".join(f"{count:,} {unit}" for unit, count in estimate.n.items())
