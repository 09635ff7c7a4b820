"""Which measured defense to take for a way of release: chosen on one half of the records, told of the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.battery import title_of
from auditor.comparison.costs import LABELS_KEPT
from auditor.findings import LABELS_ONLY, DefenseAdvice, DefenseProbeResult, DefenseResult, StrongestAttack
from auditor.report.defended import of_how_many
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = ["MOST_ACCURACY_LOST", "advise"]

MOST_ACCURACY_LOST = 0.02
_CHANCE = 0.5
_TOLD = 2


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
    best = min((one for one in front if one.worth_it), key=lambda one: one.leak, default=None)
    return DefenseAdvice(
        release=release,
        defense_id=None if best is None else best.result.card.id,
        front=tuple(one.result.card.id for one in front),
        strongest=None if best is None else best.strongest,
        accuracy_change=None if best is None else best.result.accuracy_change,
        sentence=_none_of(candidates) if best is None else _sentence(best),
        not_stopped=_none_stopped(candidates, release) if best is None else _not_stopped(best, release),
    )


def _candidates(results: Sequence[DefenseResult], release: Access) -> Iterator[_Candidate]:
    for result in results:
        at = next((one for one in result.strongest if one.access is release), None)
        if result.status == "completed" and at is not None and release in result.card.counts_for:
            yield _Candidate(result, at)


def _sentence(best: _Candidate) -> str:
    strongest, result = best.strongest, best.result
    within = "" if strongest.change.high < 0 else " It was not shown to leak less."
    return (
        f"{_way(result)}: {of_how_many(result.card, strongest)} ({title_of(strongest.attack_id)}) reaches "
        f"{_against(best)} on which nothing was chosen.{within}{_cost(result.accuracy_change)}{_speaks_of(result)}"
    )


def _way(result: DefenseResult) -> str:
    if result.card.id == LABELS_ONLY:
        return "Releasing labels only"
    if result.baseline == "target":
        return f"This file with {result.card.title}"
    times = "once" if result.seeds == 1 else f"{result.seeds} times"
    return f"This model retrained {times} with {result.card.title}"


def _speaks_of(result: DefenseResult) -> str:
    """How far the numbers carry where the way does not tell: of labels only nothing is made that has a seed."""
    if result.card.id == LABELS_ONLY or result.baseline == "twin":
        return ""
    return f" That speaks of this file, {'one seed' if result.seeds == 1 else f'{result.seeds} seeds'}."


def _against(one: _Candidate) -> str:
    """Both numbers, with n once where it is the same."""
    after, before = one.strongest.adaptive, one.strongest.undefended
    alike = after.confidence == before.confidence
    instead = f"{before.value:.2f} ({before.low:.2f}–{before.high:.2f})" if alike else _about(before)
    stands = f" for an undefended twin, retrained alike ({one.result.shadows} shadows each)"
    beside = stands if one.result.baseline == "twin" else ""
    if after.n == before.n:
        return f"AUC {_about(after)} instead of {instead}{beside}, on {_counted(after)}"
    return f"AUC {_about(after)} on {_counted(after)} instead of {instead}{beside} on {_counted(before)}"


def _cost(change: Estimate | None) -> str:
    if change is None:
        return ""
    if change.method == LABELS_KEPT:
        return f" Accuracy does not change ({_counted(change)})."
    return f" Accuracy changes by {_points(change)}."


def _none_of(candidates: Sequence[_Candidate]) -> str:
    many = len(candidates)
    measured = (
        f"None of the {many} defenses measured" if many > 1 else f"{candidates[0].result.card.title} is not one that"
    )
    return (
        f"{measured} leaks less to the strongest adaptive attack at a cost of at most {100 * MOST_ACCURACY_LOST:g} "
        "points of accuracy, by the half of the records on which that is chosen."
    )


def _not_stopped(one: _Candidate, release: Access) -> str:
    """What still works: the strongest attack, whose number the advice tells, and what exists only for the defense."""
    told = [title_of(one.strongest.attack_id)] if one.strongest.adaptive.low > _CHANCE else []
    told += [_numbered(attack, auc) for attack, auc in _of_probes(one, release)]
    return f"Not stopped: {'; '.join(told)}." if told else ""


def _none_stopped(candidates: Sequence[_Candidate], release: Access) -> str:
    """What works best against the two that leak least; the section on defenses tells of all of them."""
    order = sorted(candidates, key=lambda one: one.leak)
    told = [_numbered(*best) for one in order if (best := _best_of(one, release))[1].low > _CHANCE]
    if not told:
        return ""
    more = f"; {len(told) - _TOLD} more in the section on defenses" if len(told) > _TOLD else ""
    return f"Not stopped: {'; '.join(told[:_TOLD])}{more}."


def _best_of(one: _Candidate, release: Access) -> tuple[str, Estimate]:
    """Of all attacks on one defense the strongest, with its AUC."""
    known = (f"{title_of(one.strongest.attack_id)} against {one.result.card.title}", one.strongest.adaptive)
    probes = _of_probes(one, release, asks=("members",))
    return max((known, *probes), key=lambda attack: attack[1].value)


def _of_probes(
    one: _Candidate, release: Access, asks: Sequence[str] = ("members", "held out")
) -> Iterator[tuple[str, Estimate]]:
    for probe in one.result.probes:
        if probe.auc is None or probe.auc.low <= _CHANCE or probe.asks not in asks:
            continue
        if release.includes(probe.access):
            yield _attacked(probe, one.result.card.title), probe.auc


def _attacked(probe: DefenseProbeResult, defense: str) -> str:
    return (
        f"{probe.title} against {defense}"
        if probe.asks == "members"
        else f"records that {defense} held out, recognised"
    )


def _numbered(attack: str, auc: Estimate) -> str:
    return f"{attack}, AUC {_about(auc)}, {_counted(auc)}"


def _about(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({100 * estimate.confidence:g} % interval {estimate.low:.2f}–{estimate.high:.2f})"


def _points(change: Estimate) -> str:
    value, low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in (change.value, change.low, change.high))
    return f"{value} points ({low} to {high}; {_counted(change)})"


def _counted(estimate: Estimate) -> str:
    return " and ".join(f"{count:,} {unit}" for unit, count in estimate.n.items())
