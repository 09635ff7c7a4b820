"""Checks on the records: are members and non-members alike in all but membership, distinct, and enough?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency, ks_2samp

from auditor.checks.lookalikes import Album
from auditor.checks.subject import Selection
from auditor.findings import Check, CheckLevel, Void
from auditor.splits import Records, Splits
from auditor.stats.groups import LEAST_EFFECTIVE_GROUPS, effective_groups

__all__ = [
    "class_balance",
    "duplicates",
    "few_records",
    "groups",
    "near_duplicates",
    "population_size",
    "random_split",
    "traces",
]

Integers = npt.NDArray[np.int64]

_TPR_NEEDS = 1_000  # a side, at 1 % FPR (rule 3 of docs/rules-of-evidence.md)
_INTERVALS_NEED = 200
_LOOKALIKES_VOID = 0.01
_FEW_OF_A_CLASS = 5  # records a side; below that chi-square's approximation is rough
_DIFFERENT = 0.1  # of Cramer's V, and of the Kolmogorov-Smirnov distance
_BY_CHANCE = 0.001
_SORTED_DIFFERS = 0.5


def random_split(selection: Selection) -> Check:
    """Did chance alone tell members from non-members?"""
    stated = selection.splits.settings.random_split
    told = {
        True: "The owner states that members and non-members were told apart by chance alone.",
        False: "The owner states that the split was not random: differences need not come from the model.",
        None: "Whether the split was random is not stated (random_split in splits.toml).",
    }
    return Check(
        id="random-split",
        title="Random split",
        level=CheckLevel.PASS if stated else CheckLevel.WARN,
        sentence=told[stated],
    )


def few_records(selection: Selection) -> Check:
    """Are there records enough for a TPR at a low FPR, and for intervals that rest on a normal distribution?"""
    members = int(selection.jury.membership.sum())
    fewest = min(members, selection.jury.non_members)
    told = f"{members:,} members and {selection.jury.non_members:,} non-members are evaluated"
    if fewest < _TPR_NEEDS:
        told += f": below {_TPR_NEEDS:,} a side a verdict rests on AUC only"
    if fewest < _INTERVALS_NEED:
        told += f", and below {_INTERVALS_NEED} the intervals of AUC, which assume many records, are doubtful"
    return Check(
        id="few-records",
        title="Number of records",
        level=CheckLevel.WARN if fewest < _TPR_NEEDS else CheckLevel.PASS,
        sentence=f"{told}.",
    )


def population_size(selection: Selection) -> Check:
    """Who calibrates, and where did these records come from?"""
    source, size = selection.audit_set.population_source, selection.audit_set.calibration.n
    steered = source.startswith("validation")
    return Check(
        id="population",
        title="Population",
        level=CheckLevel.WARN if steered else CheckLevel.PASS,
        sentence=f"{size:,} records from {source} calibrate, as many others are for defenses; none is evaluated.",
    )


def groups(selection: Selection) -> Check | None:
    """Are there groups enough on either side, one that holds most records counting as little more than one?"""
    jury = selection.jury
    if jury.groups is None:
        return None
    worth = effective_groups(jury.membership, jury.groups)
    counted = (
        f"{worth.total:,} groups, worth {worth.members:,.1f} equal ones among members and {worth.non_members:,.1f} "
        "among non-members"
    )
    level = CheckLevel.WARN if (told := _groups_on_both_sides(jury.groups, jury.membership)) else CheckLevel.PASS
    return Check(
        id="groups",
        title="Number of groups",
        level=level if worth.enough else CheckLevel.FAIL,
        sentence=(
            f"Records are judged by their groups: {counted}.{told}"
            if worth.enough
            else f"Too few groups to judge by: {counted}, and each side needs {LEAST_EFFECTIVE_GROUPS}. Add records of "
            f"other groups, or take some of the largest groups' away.{told}"
        ),
        voids=() if worth.enough else (Void.LEAK_FOUND, Void.NOTHING_FOUND, Void.PER_RECORD),
    )


def _groups_on_both_sides(groups: Integers, membership: npt.NDArray[np.bool_]) -> str:
    """That some of the groups [record] have members and non-members, and what is then not measured."""
    inside, outside = (np.unique(groups[side]) for side in (membership, ~membership))
    both, of = len(np.intersect1d(inside, outside)), len(np.union1d(inside, outside))
    if not both:
        return ""
    have = "has" if both == 1 else "have"
    return (
        f" {both:,} of {of:,} groups {have} members and non-members: this measures records, not persons: what the "
        "model knows of a person does not count as a leak here."
    )


def duplicates(selection: Selection) -> Check:
    """Were equal records in two roles?"""
    dropped = selection.splits.duplicates_dropped
    return Check(
        id="duplicates",
        title="Duplicates",
        level=CheckLevel.WARN if dropped else CheckLevel.PASS,
        sentence=(
            f"{dropped:,} records were left out because an equal one stands in another role or earlier in the same one."
            if dropped
            else "No record stands in two roles."
        ),
    )


def near_duplicates(selection: Selection) -> Check | None:
    """Do non-members look like members, a copy saved again for one? Then the model knows them, and a leak looks small.

    None for features: which numbers are near to each other, nobody can say in general.
    """
    if selection.audit_set.records.inputs.ndim != 4:
        return None
    audit_set, members = selection.audit_set, Album.of(selection.splits.members.inputs)
    judged = audit_set.records.inputs[audit_set.evaluated :]
    found, *others = (
        int(Album.of(inputs).resembling(members).sum())
        for inputs in (judged, audit_set.calibration.inputs, audit_set.reference.inputs)
    )
    calibrating, many = sum(others), found > _LOOKALIKES_VOID * len(judged)
    share = f"{100 * found / len(judged):.1f} %"
    told = f"{found:,} of {len(judged):,} evaluated non-members ({share}) look nearly like a member"
    remedy = "; records of one source belong in one role" if found or calibrating else ""
    return Check(
        id="near-duplicates",
        title="Near-duplicates",
        level=CheckLevel.WARN if found or calibrating else CheckLevel.PASS,
        sentence=f"{told}, and {calibrating:,} of the population{remedy}."
        + (" A leak is understated." if many else ""),
        voids=(Void.NOTHING_FOUND,) if many else (),
    )


def class_balance(selection: Selection) -> Check:
    """Are classes as frequent among members as among non-members?"""
    labels, membership = selection.jury.labels, selection.jury.membership
    one_class = [len(np.unique(labels[side])) == 1 for side in (membership, ~membership)]
    if one_class[0] != one_class[1]:
        return Check(
            id="class-balance",
            title="Class frequencies",
            level=CheckLevel.WARN,
            sentence=(
                f"All evaluated {'members' if one_class[0] else 'non-members'} are of one class, and the others are "
                "not, so a class says of membership what the model does not: check the labels."
            ),
        )
    found, thin = _association(labels, membership), _thin_classes(labels, membership)
    return Check(
        id="class-balance",
        title="Class frequencies",
        level=CheckLevel.WARN if found.material or thin else CheckLevel.PASS,
        sentence=(
            f"Classes are not as frequent among members as among non-members (Cramer's V {found.strength:.2f}), so a "
            "class says something of membership without the model. The blind control sees classes, and so do its "
            "matched strata; a split at random within classes is better."
            if found.material
            else "Classes are about as frequent among members as among non-members, as far as chance lets see "
            f"(Cramer's V {found.strength:.2f}, p {found.p_value:.2g})."
        )
        + thin,
    )


def _thin_classes(labels: Integers, membership: npt.NDArray[np.bool_]) -> str:
    """How many classes have hardly any evaluated records, by labels [record]."""
    codes = np.unique(labels, return_inverse=True)[1]
    fewest = np.min([np.bincount(codes[side], minlength=codes.max() + 1) for side in (membership, ~membership)], axis=0)
    thin = int((fewest < _FEW_OF_A_CLASS).sum())
    if not thin:
        return ""
    have = "has" if thin == 1 else "have"
    return (
        f" {thin:,} of {len(fewest):,} classes {have} fewer than {_FEW_OF_A_CLASS} evaluated members or non-members: "
        "what is said of a class of these rests on very few records."
    )


def traces(selection: Selection) -> Check:
    """Does something beside the pixels tell the roles apart: the order of rows, or what files look like from outside?

    No attack reads any of it, and neither does the blind control; it hints at roles that were made in different ways.
    """
    splits = selection.splits
    told = [*_order_told(splits.members, splits.non_members), *_files_told(selection)] if splits.one_form else []
    return Check(
        id="traces",
        title="Order and files",
        level=CheckLevel.WARN if told or not splits.one_form else CheckLevel.PASS,
        sentence=_traces_told(splits, told) + _turned_told(splits.not_turned),
    )


def _traces_told(splits: Splits, told: Sequence[str]) -> str:
    if not splits.one_form:
        return "Train and test are stored in two forms: their order and files were not compared."
    if told:
        return (
            f"Beside the records, train and test differ in {'; '.join(told)}. No attack reads this, but it hints at "
            "roles that were made in different ways: how was the split drawn?"
        )
    looked = "order" if splits.traces is None else "order and files"
    return f"Nothing beside the records ({looked}) tells train from test."


def _turned_told(images: int) -> str:
    """That models see some images lying on their side, as loaders of folders show them."""
    if not images:
        return ""
    carry = "image carries" if images == 1 else "images carry"
    return f" {images:,} {carry} an EXIF orientation that is not followed, as torchvision does not follow it either."


def _order_told(members: Records, non_members: Records) -> list[str]:
    sorted_by_class = [_sortedness(part.labels) for part in (members, non_members)]
    if abs(sorted_by_class[0] - sorted_by_class[1]) < _SORTED_DIFFERS:
        return []
    return [f"order (only {'train' if sorted_by_class[0] > sorted_by_class[1] else 'test'} is sorted by class)"]


def _sortedness(labels: Integers) -> float:
    """How far neighbours [record] share their class: 0 as in a random order, 1 as if sorted."""
    counts = np.unique(labels, return_counts=True)[1]
    neighbours = len(labels) - 1
    at_most, by_chance = 1 - (len(counts) - 1) / neighbours, float(((counts / len(labels)) ** 2).sum())
    shared = float((labels[1:] == labels[:-1]).mean())
    return (shared - by_chance) / (at_most - by_chance) if at_most > by_chance else 0.0


def _files_told(selection: Selection) -> list[str]:
    files = selection.splits.traces
    if files is None:
        return []
    told = []
    sizes = ks_2samp(files.members.sizes, files.non_members.sizes, method="asymp")
    if sizes.statistic >= _DIFFERENT and sizes.pvalue < _BY_CHANCE:
        told.append(f"file size (Kolmogorov-Smirnov distance {sizes.statistic:.2f})")
    for mark, inside in files.members.marks.items():
        outside = files.non_members.marks[mark]
        inner = np.arange(len(inside) + len(outside)) < len(inside)
        found = _association(np.concatenate([inside, outside]), inner)
        if found.material:
            told.append(f"{mark} (Cramer's V {found.strength:.2f})")
    return told


@dataclass(frozen=True)
class _Association:
    """How strongly a kind of record goes with membership: Cramer's V, from 0 to 1, and whether that is chance."""

    strength: float
    p_value: float

    @property
    def material(self) -> bool:
        return self.strength >= _DIFFERENT and self.p_value < _BY_CHANCE


def _association(kinds: Integers, membership: npt.NDArray[np.bool_]) -> _Association:
    """Of kinds [record] with membership [record], by Pearson's chi-square without correction."""
    codes = np.unique(kinds, return_inverse=True)[1]
    table = np.stack([np.bincount(codes[side], minlength=codes.max() + 1) for side in (membership, ~membership)])
    test = chi2_contingency(table, correction=False)
    return _Association(float(np.sqrt(test.statistic / len(kinds))), float(test.pvalue))
