"""The defaults that decide what an audit says: each with its value, its reason and its place in the code.

docs/defaults.md is the same list as one page, and tests/report/test_defaults.py holds both against the code. In a
report they stand in the appendix, and what rests on one links there. A report is read where the library is not, so the
links lead nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from auditor.report.view import Link, Row, Table

__all__ = ["DEFAULTS", "Default", "by_part", "of", "table"]


@dataclass(frozen=True, slots=True)
class Default:
    """One number, or a few that belong together.

    Attributes:
        id: The anchor, in the report and on the page.
        name: In words.
        value: As it is printed.
        reason: Why it is that.
        code: Where it stands, as dotted names.
        decides: The control, check or part of the report that it decides.
    """

    id: str
    name: str
    value: str
    reason: str
    code: tuple[str, ...]
    decides: tuple[str, ...]

    @property
    def link(self) -> Link:
        """Where the report tells of it."""
        return Link(self.name, f"#default-{self.id}")


DEFAULTS = (
    Default(
        "auc-limit",
        "limit on AUC",
        "0.60",
        "an outsider is wrong about two in five pairs; nothing found needs every upper bound under it",
        ("auditor.limits.Limits.auc",),
        ("limits", "planted"),
    ),
    Default(
        "tpr-limit",
        "limit on TPR",
        "5 %",
        "five times what guessing reaches; nothing found needs every upper bound under it",
        ("auditor.limits.Limits.tpr",),
        ("limits", "planted"),
    ),
    Default(
        "low-fpr",
        "low false positive rate",
        "1 %",
        "the lowest that 1,000 records a side can judge, with ten false alarms",
        ("auditor.limits.Limits.fpr",),
        ("limits", "planted"),
    ),
    Default(
        "family-wise-error",
        "family-wise error",
        "5 %",
        "of all primary tests of a family together, by Holm; upper bounds are simultaneous at the same level",
        ("auditor.limits.Limits.family_wise_error",),
        ("limits", "owner-label-null", "instrument-null"),
    ),
    Default(
        "confidence",
        "confidence of intervals",
        "95 %",
        "as is usual",
        ("auditor.limits.Limits.confidence",),
        ("limits", "blind", "owner-label-null"),
    ),
    Default(
        "severity-moderate",
        "severity moderate, from",
        "AUC 0.60 or TPR 3 %",
        "the limit on AUC, and three times what guessing reaches; lower interval bounds decide",
        ("auditor.limits.SeverityTable.moderate.auc", "auditor.limits.SeverityTable.moderate.tpr"),
        ("severity",),
    ),
    Default(
        "severity-high",
        "severity high, from",
        "AUC 0.70 or TPR 10 %",
        "one member in ten is named, ten times what guessing reaches",
        ("auditor.limits.SeverityTable.high.auc", "auditor.limits.SeverityTable.high.tpr"),
        ("severity",),
    ),
    Default(
        "severity-critical",
        "severity critical, from",
        "AUC 0.90 or TPR 50 %",
        "every second member is named",
        ("auditor.limits.SeverityTable.critical.auc", "auditor.limits.SeverityTable.critical.tpr"),
        ("severity",),
    ),
    Default(
        "gate-mode",
        "mode of the gate",
        "strict",
        "what was not shown to be under its limit does not go out",
        ("auditor.policy_file.GateSection.mode",),
        ("gate",),
    ),
    Default(
        "budget",
        "budget",
        "standard",
        "16 shadows: between a first look and what a release of weights deserves",
        ("auditor.planning.fresh._DEFAULT_BUDGET",),
        ("budget",),
    ),
    Default(
        "shadows",
        "shadows at quick, standard and thorough",
        "8, 16, 64",
        "LiRA needs six; each doubling sharpens it, and costs as much again",
        ("auditor.battery.plan.BUDGETS.shadows",),
        ("budget", "shadows", "few-shadows"),
    ),
    Default(
        "cap",
        "most records a side at quick, standard and thorough",
        "2,000, 5,000, 10,000",
        "10,000 a side find a TPR of 1.5 % at 1 % FPR; more cost memory and tell little more",
        ("auditor.battery.plan.BUDGETS.cap",),
        ("budget",),
    ),
    Default(
        "primary-attacks",
        "primary attacks",
        "gap, lira-scores, lira-weights",
        "one an access, declared beforehand, so that the correction stays small",
        ("auditor.battery.attacks.MEMBERSHIP",),
        ("limits",),
    ),
    Default(
        "few-shadows-primary",
        "shadows up to which RMIA is primary at scores",
        "4",
        "with so few LiRA cannot tell a record's spread",
        ("auditor.battery.plan._FEW_SHADOWS",),
        ("shadows", "limits"),
    ),
    Default(
        "least-evaluated",
        "fewest records a side",
        "20",
        "null models train on half of the members, attacks are chosen on half of the records",
        ("auditor.shadows._LEAST_EVALUATED",),
        ("few-records",),
    ),
    Default(
        "least-groups",
        "fewest groups a side",
        "10",
        "of the same halves at least five groups each are left",
        ("auditor.shadows._LEAST_GROUPS",),
        ("groups",),
    ),
    Default(
        "population",
        "fewest records of the population",
        "100",
        "half of them calibrate, so that shares are told in steps of 2 %",
        ("auditor.shadows.LEAST_POPULATION",),
        ("population",),
    ),
    Default(
        "reserved-share",
        "share of test/ set aside without a population",
        "33.3 %",
        "calibration and defenses get half of it each, the evaluation keeps most",
        ("auditor.shadows._RESERVED_SHARE",),
        ("population",),
    ),
    Default(
        "records-for-tpr",
        "records a side for a TPR",
        "1,000",
        "ten false alarms at 1 % FPR; below, a verdict rests on AUC only",
        ("auditor.checks.data._TPR_NEEDS",),
        ("limits", "few-records"),
    ),
    Default(
        "records-for-auc",
        "records a side for intervals of AUC",
        "200",
        "from there on they were seen to cover (docs/validation/calibration.md)",
        ("auditor.checks.data._INTERVALS_NEED",),
        ("few-records",),
    ),
    Default(
        "effective-groups",
        "effective groups a side",
        "10",
        "by simulation of unequal groups; below, both verdicts are void",
        ("auditor.stats.groups.LEAST_EFFECTIVE_GROUPS",),
        ("groups",),
    ),
    Default(
        "blind-folds",
        "folds of the blind control",
        "5",
        "four fifths of the records fit it; its variance is doubled, as every pair counts twice (decision 0007)",
        ("auditor.controls.blind._FOLDS",),
        ("blind",),
    ),
    Default(
        "blind-void",
        "lower bound of the blind AUC that voids nothing found",
        "0.55",
        "so large a shift can hide a leak as well as feign one",
        ("auditor.controls.blind._VOIDS_NOTHING_ABOVE",),
        ("blind",),
    ),
    Default(
        "strata",
        "strata of like propensity",
        "10",
        "alike enough within, and large enough to hold pairs",
        ("auditor.controls.blind._STRATA",),
        ("blind",),
    ),
    Default(
        "matched-pairs",
        "fewest matched pairs",
        "50",
        "with fewer, the test within strata is too weak to be asked",
        ("auditor.controls.blind._LEAST_PAIRS",),
        ("blind",),
    ),
    Default(
        "null-leans",
        "error of a lean towards a shift",
        "20 %",
        "so sure of a slight shift, false alarms stay near 5 % while a moderate leak is still found (decision 0007)",
        ("auditor.controls.nulls._LEANS",),
        ("owner-label-null",),
    ),
    Default(
        "null-unlearned",
        "share of a shift that null models may have missed",
        "20 %",
        "they train on fewer records than the target; more would pass for a leak (decision 0007)",
        ("auditor.controls.nulls._UNLEARNED",),
        ("owner-label-null",),
    ),
    Default(
        "relabellings",
        "relabellings",
        "200",
        "a test that rejects in 13 % of draws instead of 5 % is caught in nine of ten audits",
        ("auditor.controls.nulls._RELABELLINGS",),
        ("instrument-null",),
    ),
    Default(
        "testable-draws",
        "draws of whole groups that can be tested",
        "5 %",
        "fewer, and what is drawn says little of the groups as they stand: the controls are skipped",
        ("auditor.controls.relabelling._LEAST_TESTABLE",),
        ("instrument-null", "planted"),
    ),
    Default(
        "alarms-allowed",
        "quantile of false alarms allowed",
        "99 %",
        "a sound instrument fails in one audit of a hundred",
        ("auditor.controls.nulls._ALARMS_ALLOWED",),
        ("instrument-null",),
    ),
    Default(
        "zero-leak",
        "signals without a leak",
        "2,000 records at K = 4, 8, 16",
        "where a twin left in the pool was seen to bias most, and where it no longer does",
        ("auditor.controls.nulls._ZERO_LEAK_RECORDS", "auditor.controls.nulls._ZERO_LEAK_SHADOWS"),
        ("instrument-null",),
    ),
    Default(
        "zero-leak-confidence",
        "confidence of their intervals",
        "99.9 %",
        "several are looked at, and one beside .5 voids both verdicts",
        ("auditor.controls.nulls._ZERO_LEAK_CONFIDENCE",),
        ("instrument-null",),
    ),
    Default(
        "planted-doses",
        "doses, times that of the limit",
        "0, 0.5, 1, 2",
        "nothing planted must not be found; that of the limit must; the others draw the curve",
        ("auditor.controls.planted._DOSES",),
        ("planted",),
    ),
    Default(
        "plantings",
        "plantings a dose",
        "20",
        "a leak that is found half of the time passes in fewer than one of a hundred audits",
        ("auditor.controls.planted._PLANTINGS",),
        ("planted",),
    ),
    Default(
        "planted-rate",
        "share of plantings found again",
        "80 %",
        "the power that is asked of a study by habit",
        ("auditor.controls.planted._NEEDED_RATE",),
        ("planted",),
    ),
    Default(
        "planted-margin",
        "margin of a planted record, in standard deviations",
        "4",
        "what memorising looks like in the shadows that memorise (decision 0003)",
        ("auditor.controls.planted._SIGMAS",),
        ("planted",),
    ),
    Default(
        "check-confidence",
        "confidence beside other models",
        "99 %",
        "a check that fails by chance takes nothing found away: once in a hundred audits may do",
        ("auditor.checks.subject.CONFIDENCE",),
        ("recipe", "members-learned"),
    ),
    Default(
        "material",
        "material difference of accuracy",
        "2 points",
        "less is no reason to distrust a model or its shadows",
        ("auditor.checks.subject.MATERIAL",),
        ("recipe", "label-order"),
    ),
    Default(
        "margin-comparisons",
        "comparisons of margins with those of shadows",
        "8, of margins with more than 10 values",
        "all of them together keep that confidence; labels alone say no more than the accuracy does (decision 0012)",
        ("auditor.checks.shadows._COMPARISONS", "auditor.checks.shadows._COARSE"),
        ("recipe",),
    ),
    Default(
        "near-chance",
        "near chance: above it by at most",
        "50 % of chance and 10 points; a plan asks up to 500 members",
        "wrong preprocessing leaves some accuracy; with two classes half of chance would ask for 75 %",
        (
            "auditor.checks.target._NEAR_CHANCE",
            "auditor.checks.target._MOST_ABOVE_CHANCE",
            "auditor.checks.target._ASKED_AHEAD",
        ),
        ("members-learned",),
    ),
    Default(
        "label-order",
        "another numbering of the classes",
        "p 0.001, 2 records a class",
        "some numbering always fits better; half of the records fit it, half judge it",
        ("auditor.checks.target._BY_CHANCE", "auditor.checks.target._LEAST_PER_CLASS"),
        ("label-order",),
    ),
    Default(
        "asked-twice",
        "records asked twice",
        "64 records, differences up to 0.0001 forgiven",
        "sums on a GPU may come out in another order",
        ("auditor.signals._ASKED_TWICE", "auditor.signals._ROUNDING"),
        ("stochastic",),
    ),
    Default(
        "lookalikes",
        "non-members that look like a member",
        "1 %",
        "what the split itself may hold twice; each counts as a false alarm of every attack",
        ("auditor.checks.data._LOOKALIKES_VOID",),
        ("near-duplicates",),
    ),
    Default(
        "lookalike",
        "what makes two images alike",
        "12 bits of the hash, 10 % of the contrast, 0.4 of the way to the fifth nearest, at most",
        "measured on six public data sets (docs/checks.md)",
        (
            "auditor.checks.lookalikes._NEAR_BITS",
            "auditor.checks.lookalikes._ALIKE",
            "auditor.checks.lookalikes._NEARER",
        ),
        ("near-duplicates",),
    ),
    Default(
        "lookalike-hash",
        "how alike images are looked for",
        "raster of 8 by side, steps of 10 % of the contrast, the 64 nearest compared, a rival of rank 5",
        "measured on the same (docs/checks.md)",
        (
            "auditor.checks.lookalikes._RASTER",
            "auditor.checks.lookalikes._CLEARLY",
            "auditor.checks.lookalikes._PROPOSED",
            "auditor.checks.lookalikes._RIVAL",
        ),
        ("near-duplicates",),
    ),
    Default(
        "overlap",
        "equal records in two roles that end an audit",
        "1 %",
        "up to that they are dropped and told; more is a mistake in the split",
        ("auditor.splits._LARGEST_OVERLAP",),
        ("duplicates",),
    ),
    Default(
        "false-discoveries",
        "false discoveries among named records",
        "5 %",
        "Benjamini-Hochberg",
        ("auditor.membership.exposure._FALSE_DISCOVERIES",),
        ("per record",),
    ),
    Default(
        "shadows-per-record",
        "shadows without a record",
        "8 for p-values, 32 for stable ones",
        "with fewer a record's spread is not known; between them names change with the shadows",
        ("auditor.membership.exposure._LEAST_WITHOUT", "auditor.membership.exposure._STABLE_WITHOUT"),
        ("per record",),
    ),
    Default(
        "uniformity",
        "level at which ranks are not uniform",
        "1 %",
        "p-values of records that no null model saw must be uniform, or none are told",
        ("auditor.membership.exposure._UNIFORM_LEVEL",),
        ("per record",),
    ),
    Default(
        "epsilon",
        "epsilon from canaries",
        "confidence 95 %, delta 0.00001",
        "of a claim its own delta is taken",
        ("auditor.membership.one_run._CONFIDENCE", "auditor.membership.one_run._DELTA"),
        ("epsilon",),
    ),
    Default(
        "guessed-shares",
        "shares of canaries that are guessed",
        "10 %, 25 %, 50 %, 100 %",
        "declared beforehand, they divide the error evenly",
        ("auditor.stats.epsilon.GUESSED_SHARES",),
        ("epsilon",),
    ),
    Default(
        "inversion-classes",
        "fewest classes for inversion",
        "20",
        "intervals are over classes",
        ("auditor.limits.LEAST_CLASSES",),
        ("inversion",),
    ),
    Default(
        "accuracy-lost",
        "most accuracy that advised defenses cost",
        "2 points",
        "what a check calls a material difference; a defense that costs more is shown and not advised",
        ("auditor.comparison.advice.MOST_ACCURACY_LOST",),
        ("defenses",),
    ),
    Default(
        "retrained-shadows",
        "shadows trained through each training-time defense",
        "8",
        "LiRA needs six; the undefended twin is attacked with as many (decision 0009)",
        ("auditor.planning.fresh._RETRAINED_SHADOWS",),
        ("defenses",),
    ),
    Default(
        "repeats",
        "times that a model which answers at random is asked",
        "16",
        "the mean of so many answers has a quarter of the noise of one",
        ("auditor.comparison.bench._REPEATS",),
        ("defenses",),
    ),
    Default(
        "warnings",
        "from where on checks only warn",
        "50 % saturated records, AUC 0.999, 4 shadows, sorting by class that differs by 0.5, 5 of a class a side",
        "void nothing",
        (
            "auditor.checks.target._SATURATED_WARNS",
            "auditor.checks.target._CEILING",
            "auditor.checks.shadows.FEW_SHADOWS",
            "auditor.checks.data._SORTED_DIFFERS",
            "auditor.checks.data._FEW_OF_A_CLASS",
        ),
        ("saturation", "attack-ceiling", "few-shadows", "traces", "class-balance"),
    ),
    Default(
        "traces",
        "what tells train from test, warned of only",
        "strength 0.1 at p 0.001",
        "void nothing",
        ("auditor.checks.data._DIFFERENT", "auditor.checks.data._BY_CHANCE"),
        ("traces", "class-balance"),
    ),
)


def of(*parts: str) -> tuple[Link, ...]:
    """The links of a control, a check or another part of the report to what decides it."""
    return tuple(one.link for one in DEFAULTS if not set(parts).isdisjoint(one.decides))


def by_part() -> Mapping[str, tuple[Link, ...]]:
    """The same for parts that are neither a table nor a row of one; facts go by their names."""
    parts = {
        "Budget": "budget",
        "Shadow models": "shadows",
        "Limits": "limits",
        "Severity": "severity",
        "Records": "per record",
        "Inversion": "inversion",
        "Defenses": "defenses",
    }
    return {name: of(part) for name, part in parts.items()}


def table() -> Table:
    """All of them, in the order of docs/defaults.md."""
    rows = tuple(Row((one.name, one.value, one.reason), anchor=one.link.href.removeprefix("#")) for one in DEFAULTS)
    return Table(
        "Every default that decides what this report says", ("Default", "Value", "Why"), rows, widths=(26, 26, 48)
    )
