"""Captions, and what each figure shows in words with the number, for readers who do not see it."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.findings import (
    AuditReport,
    ClassExposure,
    Completed,
    ControlResult,
    Histogram,
    InversionResult,
    Metric,
)
from auditor.report import pick
from auditor.report.text import clean, count, counts, listing, phrase, scaled, short, unit_of, value
from auditor.report.tradeoff import Baseline, Point
from auditor.report.wording import shown_in_words
from auditor.threat import Access

__all__ = [
    "ATTACKS",
    "CLASS_EXCESS",
    "CONTROLS",
    "CONTROLS_AUC_ONLY",
    "DOSES",
    "HISTOGRAMS",
    "OUTPUTS",
    "QUERIES",
    "RECORD_EXCESS",
    "ROC",
    "alt_attacks",
    "alt_defenses",
    "alt_doses",
    "alt_excess",
    "alt_exposure",
    "alt_histograms",
    "alt_queries",
    "alt_roc",
    "defenses",
    "exposure",
]

_TOLD = 4
_COARSE = "Too coarse: scores of few values, such as right or wrong, have no low false positive rate."

ROC = (
    "ROC curves on logarithmic axes: what matters is far left, where few non-members are flagged. Bold: the attack "
    "that carries the verdict, with its pointwise band; attacks that have the very same curve share it. Dotted: "
    "guessing. Dashed: controls that should stay near it. Thin and solid: a leak that was planted. Vertical line: the "
    "false positive rate that is judged."
)
ATTACKS = (
    "All membership attacks that ran, by what the attacker sees, highest TPR first. Filled: primary, declared before "
    "the run. Hollow: secondary. Dotted line: guessing. Dashed line: the limit that an upper bound must stay under. "
    f"Star: n is too small for a headline. {_COARSE}"
)
CONTROLS = (
    " Lines with bands: what controls show where the model gives nothing away, with intervals; the null beside the "
    "attacks of its access."
)
CONTROLS_AUC_ONLY = " Their TPR at so low an FPR has no interval, so it is drawn with the curves alone."
HISTOGRAMS = "What the model's answers look like on members (filled) and on non-members (outlined)."
OUTPUTS = (
    "The same attacker each time, online LiRA with pooled variance and one query a record, on the margin of the true "
    "class as far as the output shows it; for labels the gap attack. Secondary numbers of the reporting half: not "
    "corrected, nothing is chosen among them and no verdict rests on them. Whoever has every probability can coarsen "
    f"them, so a larger number on a coarser output counts there too. Dotted line: guessing. Star: n is too small for a "
    f"headline. {_COARSE}"
)
_TESTED = (
    "Intervals are over classes, one column for each control; what is found exceeds every one of them. Filled, and "
    "told on the right: found after correction over both questions and all attacks; hollow: not found. p is the "
    "corrected one ({}). Dotted line: no excess."
)
RECORD_EXCESS = (
    "Record excess: how much nearer reconstructions lie to training records than to as many other records of the same "
    f"class, less the same for a control that saw none of them. {_TESTED}"
)
CLASS_EXCESS = (
    "Class excess: how much surer the evaluation networks are of the class than for the best of as many images that "
    f"need no model of it. {_TESTED}"
)
QUERIES = (
    "Share of classes that the evaluation networks recognise after so many queries per class, with intervals; grey: "
    "the other attacks. Recognition alone is no leak: what counts is the excess over the controls above."
)
DOSES = (
    "Planted leaks of growing size, and how often the primary tests found them. Left of the rise, a leak can be missed."
)


def exposure(attack: str, shown: int, total: int) -> str:
    """The caption of the exposure chart."""
    few = f" The {count(shown)} most exposed of {count(total)} classes are shown." if total > shown else ""
    return (
        f"AUC of {attack} inside each class, most exposed first. An interval is for its class, not for the choice "
        f"among them.{few}"
    )


def alt_roc(report: AuditReport) -> str:
    """The ROC figure in one sentence."""
    shown = pick.headline(report)
    start = "ROC curves on logarithmic axes."
    return f"{start} {shown_in_words(shown)}." if shown else start


def alt_attacks(report: AuditReport) -> str:
    """The chart of all attacks in one sentence."""
    ran = [result for result in report.membership if isinstance(result.outcome, Completed)]
    shown = pick.best_endpoint(ran, report.plan.tpr_fpr)
    best = f" Highest with enough records: {shown_in_words(shown)}." if shown else ""
    controls = [
        f"{clean(control.title)}: {clean(one.name)} {phrase(one.estimate, unit_of(one))}"
        for metric in Metric
        for control, one in pick.control_values(report, metric)
    ]
    beside = f" Controls: {'; '.join(controls)}." if controls else ""
    return f"Dots with intervals for {count(len(ran))} membership attacks, grouped by access.{best}{beside}"


def alt_histograms(histograms: tuple[Histogram, ...]) -> str:
    """The histograms, one sentence each."""
    return " ".join(_alt_histogram(histogram) for histogram in histograms)


def _alt_histogram(histogram: Histogram) -> str:
    members, others = _mode(histogram, histogram.members), _mode(histogram, histogram.non_members)
    return (
        f"Histogram of {clean(histogram.signal)}: {count(sum(histogram.members))} members, most often {members}; "
        f"{count(sum(histogram.non_members))} non-members, most often {others}."
    )


def _mode(histogram: Histogram, bars: tuple[int, ...]) -> str:
    place = bars.index(max(bars))
    return f"between {scaled(histogram.edges[place])} and {scaled(histogram.edges[place + 1])}"


def alt_exposure(attack: str, exposure: tuple[ClassExposure, ...], total: int) -> str:
    """The exposure chart in one sentence; `exposure` is sorted, most exposed first."""
    first, last = exposure[0], exposure[-1]
    return (
        f"AUC of {attack} inside {count(len(exposure))} of {count(total)} classes: from {short(first.label)} "
        f"{phrase(first.auc)} down to {short(last.label)} {phrase(last.auc)}."
    )


def alt_excess(found: tuple[pick.Excess, ...]) -> str:
    """An excess chart in one sentence, by the control that each attack exceeds least."""
    told = [
        f"{short(one.result.card.title)} {phrase(one.measurement.estimate, unit_of(one.measurement))}"
        f"{', found' if one.found else ''}"
        for one in found
    ]
    question = found[0].question.capitalize()
    return f"{question} excess of each inversion attack over the control that it exceeds least: {_some(told)}."


def alt_queries(results: tuple[InversionResult, ...]) -> str:
    """The chart of queries in one sentence."""
    told = [
        f"{short(result.card.title)} {value(first.success, 'share')} of the classes after {count(first.queries)} "
        f"queries each, {phrase(last.success, 'share')} after {count(last.queries)}"
        for result in results
        for first, last in [(result.success_by_queries[0], result.success_by_queries[-1])]
    ]
    return f"Classes recognised against queries: {_some(told)}."


def _some(told: list[str]) -> str:
    """As much as one wants to hear read aloud; the table behind the figure has all of it."""
    more = f"; {count(len(told) - _TOLD)} more in the table" if len(told) > _TOLD else ""
    return "; ".join(told[:_TOLD]) + more


def alt_doses(control: ControlResult) -> str:
    """The dose curve in one sentence."""
    told = [
        f"planted TPR {value(dose.tpr, 'share')}: found {phrase(dose.detected, 'share')}"
        for dose in sorted(control.doses, key=lambda dose: dose.tpr.value)
    ]
    return f"How often a planted leak was found, by size: {_some(told)}."


def defenses(points: Sequence[Point], access: Access) -> str:
    """The caption of the plane of defenses, for one way of release."""
    utility, leakage = (
        listing(list(dict.fromkeys(counts(end.n) for end in ends)), "or")
        for ends in ([point.utility for point in points], [point.leakage for point in points])
    )
    return (
        f"What defenses leave and what they cost where {access} are released; lower right is better. Filled, with both "
        f"intervals: AUC of the strongest attack refitted to the defense, on the reporting half ({leakage}), and "
        f"accuracy on all audited non-members ({utility}). Hollow, where the arrow starts: the best declared attack "
        "that does not know of it, on all records. Circles act on the output, squares on the training. Black rims, "
        "dashed line: no other defense beats these in both, by the half on which that is chosen. Points at one "
        "accuracy are moved apart by up to 5 mm."
    )


def alt_defenses(points: Sequence[Point], baselines: Sequence[Baseline], access: Access) -> str:
    """The plane of defenses in a few words, least leakage first."""
    told = [
        f"{point.label} AUC {phrase(point.leakage)} at accuracy {value(point.utility, 'share')}"
        for point in sorted(points, key=lambda point: point.leakage.value)
    ]
    beside = [f"{one.label} AUC {phrase(one.leakage)}" for one in baselines]
    return (
        f"Accuracy against the AUC of the strongest attack refitted to the defense, where {access} are released: "
        f"{_some(told)}. {'; '.join(beside).capitalize()}."
    )
