"""A defense that is advised, as something to do: what it leaves above a limit, and what inversion gains by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auditor.findings import LABELS_ONLY, AuditReport, InversionEffect, Metric, VerdictState
from auditor.report import defended, pick
from auditor.report.text import clean, counts, listing, metric_name, phrase, short, stated
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = ["Way"]


@dataclass(frozen=True)
class Way:
    """A way of release behind the defense that is advised for it."""

    report: AuditReport
    found: defended.Advised
    release: Access

    @property
    def title(self) -> str:
        """What to do, and how much of the leak the defense was seen to close."""
        declared = self.report.plan.release
        stop = f"Do not release the {declared} as they are"
        if not self.shown_to_help:
            return f"{stop}: no measured defense was shown to leak less"
        return self._declared(stop) if self.release is declared else self._lesser

    def _declared(self, stop: str) -> str:
        if self._rest:
            they = "" if self._labels_only else " they"
            return f"{stop}; {self._what}{they} leak less, {self._rest}"
        if self._rebuilt:
            return f"{stop}; {self._what} membership lies under its limits, inversion was not shown to stop"
        if self._labels_only:
            return f"Release {self._what}"
        return f"Release {'the file' if self.release is Access.WEIGHTS else self.release} {self._what}"

    @property
    def _lesser(self) -> str:
        what = self._what if self._labels_only else f"{self.release} only, {self._what}"
        if not self._rest and not self._rebuilt:
            return f"Release {what}"
        comma = "" if self._labels_only else ","
        rest = self._rest or "but inversion was not shown to stop"
        return f"Releasing {what}{comma} leaks less, {rest.replace('still leak', 'still leaks')}"

    @property
    def shown_to_help(self) -> bool:
        """Whether the strongest attack was shown to get less, and one made for the defense gets less too."""
        probe = defended.stronger_probe(self.found.defense, self.found.strongest)
        undone = probe is not None and probe.auc is not None and probe.auc.high >= self.found.strongest.undefended.low
        return self.found.strongest.change.high < 0 and not undone

    @property
    def left_over(self) -> str:
        """What the defense leaves above a limit, or leaves open; empty where all intervals end under their limits."""
        above = [end.above for end in self._ends if end.estimate.value > end.limit]
        reaching = [end.reaching for end in self._ends if end.estimate.value <= end.limit < end.estimate.high]
        told = [f"{listing(above)}: a leak remains."] if above else []
        return " ".join((*told, *reaching))

    @property
    def not_stopped(self) -> str:
        """What still works, besides the strongest attack alone, which the sentence tells."""
        told = clean(self.found.advice.not_stopped)
        named = told.removeprefix("Not stopped: ").removesuffix(".")
        return "" if named in clean(self.found.advice.sentence) else told

    @property
    def inverted(self) -> list[str]:
        """What inversion attacks were seen to gain from the defense; where inversion leaks, all that is known."""
        effects = defended.inversion_at(self.found.defense, self.release)
        easier = [one for one in effects if defended.made_easier(one)]
        harder = [one for one in effects if defended.made_harder(one)] if self._rebuilt else []
        told = [f"It makes inversion easier: {_changes(self.report, easier)}."] if easier else []
        told += [f"It makes inversion harder: {_changes(self.report, harder)}."] if harder else []
        if told or not self._rebuilt:
            return told
        if not effects:
            return ["Inversion was not measured against it."]
        return [f"Inversion was not shown to change: {_changes(self.report, effects)}."]

    @property
    def _labels_only(self) -> bool:
        return self.found.defense.card.id == LABELS_ONLY

    @property
    def _seen(self) -> Access:
        """What goes out in the end."""
        return Access.LABELS if self._labels_only else self.release

    @property
    def _rebuilt(self) -> bool:
        """Whether training data can be rebuilt from as much as goes out."""
        return pick.inversion_state(self.report, self._seen) is VerdictState.LEAK_FOUND

    @property
    def _what(self) -> str:
        card = self.found.defense.card
        if self._labels_only:
            return "labels only"
        return f"{'behind the defense' if card.acts_on == 'output' else 'after retraining with'} {short(card.title)}"

    @property
    def _rest(self) -> str:
        """What is left of the membership leak, in a clause."""
        state = pick.state_at(self.report, Access.LABELS) if self._labels_only else VerdictState.NOTHING_FOUND
        if state is VerdictState.CANNOT_SAY:
            return "whether it leaks is not answered"
        if state is VerdictState.LEAK_FOUND or any(end.estimate.value > end.limit for end in self._ends):
            return "but still leak"
        return "but a leak may remain" if self.left_over else ""

    @property
    def _ends(self) -> tuple[_End, ...]:
        """What is held against a limit: the strongest attack, one made for the defense that does better, low FPR."""
        plan, defense = self.report.plan, self.found.defense
        probe = defended.stronger_probe(defense, self.found.strongest)
        low = defended.low_fpr_at(defense, self.release, plan.tpr_fpr)
        ends = [_End("AUC", self.found.strongest.adaptive, plan.auc_limit, Metric.AUC)]
        if probe is not None and probe.auc is not None:
            ends.append(_End(f"AUC of {clean(probe.title)}", probe.auc, plan.auc_limit, Metric.AUC))
        if low is not None:
            name = metric_name(Metric.TPR_AT_FPR, plan.tpr_fpr)
            ends.append(_End(name, low, plan.tpr_limit, Metric.TPR_AT_FPR))
        return tuple(ends)


@dataclass(frozen=True)
class _End:
    """A number that a defense leaves, and the limit that it is held against."""

    name: str
    estimate: Estimate
    limit: float
    metric: Metric

    @property
    def above(self) -> str:
        return f"{self.name} lies above its limit of {stated(self.limit, self.metric)}"

    @property
    def reaching(self) -> str:
        return f"{self.name} has an interval that reaches above its limit of {stated(self.limit, self.metric)}."


def _changes(report: AuditReport, effects: Iterable[InversionEffect]) -> str:
    """What inversion attacks get with and without a defense."""
    titles = {one.card.id: one.card.title for one in report.inversion}
    return "; ".join(
        f"{clean(one.measure)} {phrase(one.defended)} instead of {phrase(one.undefended)}, {counts(one.change.n)}, "
        f"by {short(one.title or titles.get(one.attack_id, one.attack_id))}"
        for one in effects
    )
