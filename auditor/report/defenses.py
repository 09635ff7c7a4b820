"""The section on defenses: what each leaves to which attacker, what it costs, and which one to take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from auditor.findings import LABELS_ONLY, AuditReport, DefenseResult, StrongestAttack
from auditor.report import captions, defended, defense_blocks, pick, tradeoff, wording
from auditor.report.defaults import by_part
from auditor.report.defended import Placed
from auditor.report.text import cell, clean, count, counts, listing, short, sides
from auditor.report.view import Advised, Defenses, Picture, Row, Table, picture
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = ["section"]

_MASKED = "Score-only defenses that keep labels do not stop label-only attacks (Choquette-Choo et al. 2021)."
_SMOOTHED = (
    "Confidence adaptation makes a model less confident, as label smoothing does, and positive label smoothing makes "
    "model inversion easier, negative smoothing harder (Struppek et al. 2024): read what it does to inversion beside "
    "what it does to membership."
)
_ADAPTED = frozenset({"calor", "confidence-adaptation", "squared-error"})
_VOID = (
    "Void: whoever holds the file can switch an output-time defense off, so where weights are released it buys nothing."
)


def section(report: AuditReport) -> Defenses:
    """Everything that the report says of defenses."""
    placed = _in_order(report)
    numbers = _numbers(placed, report.plan.release)
    planes = {access: one for access in _releases(report) if (one := _plane(report, placed, numbers, access))}
    first = next(iter(planes), None)
    declared = report.plan.release
    others = tuple(
        _advised(report, access, planes.get(access) if access is not first else None)
        for access in _releases(report)[1:]
        if defended.advice_at(report, access) or (access in planes and access is not first)
    )
    return Defenses(
        advised=_advised(report, declared, planes[first] if first else None),
        table=_table(report, placed, numbers),
        remarks=tuple(_remarks(report)),
        not_planned=tuple(_not_planned(report)),
        others=others,
        blocks=tuple(defense_blocks.block(report, one, numbers.get(id(one.defense))) for one in placed),
        links=by_part()["Defenses"],
    )


def _releases(report: AuditReport) -> tuple[Access, ...]:
    """The declared way of release, and the others from the most open one on."""
    declared = report.plan.release
    return (declared, *(access for access in pick.RELEASES if access is not declared))


def _in_order(report: AuditReport) -> tuple[Placed, ...]:
    """As the table has them: by the way of release for which they are told, then by what they stand beside."""
    releases = _releases(report)

    def place(one: Placed) -> tuple[int, bool]:
        shown = _shown(one.defense, report.plan.release)
        return len(releases) if shown is None else releases.index(shown.access), one.defense.baseline == "twin"

    return tuple(sorted(defended.by_whole(report), key=place))


def _numbers(placed: Sequence[Placed], release: Access) -> Mapping[int, int]:
    """The number of every measured defense, the same in every plane, table and block."""
    shown = [one.defense for one in placed if _shown(one.defense, release)]
    return {id(defense): number for number, defense in enumerate(shown, 1)}


def _shown(defense: DefenseResult, release: Access) -> StrongestAttack | None:
    return defended.shown_at(defense, release) if defense.status == "completed" else None


# --- advice ----------------------------------------------------------------------------------------------------------


def _advised(report: AuditReport, release: Access, plane: Picture | None) -> Advised:
    return Advised(wording.release_name(release), tuple(_advice(report, release)), plane)


def _advice(report: AuditReport, release: Access) -> Iterator[str]:
    advice = defended.advice_at(report, release)
    yield wording.no_defense(report, release) if advice is None else wording.advice_told(advice)
    if advice is None:
        return
    titles = {one.card.id: short(one.card.title) for one in report.defenses}
    front = [titles.get(name, short(name)) for name in advice.front]
    if len(front) > 1:
        yield (
            "No measured defense beats one of these in both accuracy and leakage, by the half on which that was "
            f"chosen: {listing(front)}."
        )


# --- the plane -------------------------------------------------------------------------------------------------------


def _plane(report: AuditReport, placed: Sequence[Placed], numbers: Mapping[int, int], access: Access) -> Picture | None:
    """Accuracy against leakage for one way of release, of the defenses that count there."""
    advice = defended.advice_at(report, access)
    front = frozenset(advice.front if advice else ())
    points, baselines = list[tradeoff.Point](), dict[str, tradeoff.Baseline]()
    for one in placed:
        defense, strongest = one.defense, defended.strongest_at(one.defense, access)
        after, before = defended.accuracy(defense, "defended"), defended.accuracy(defense, "undefended")
        if strongest is None or after is None or before is None or access not in defense.card.counts_for:
            continue
        probe = defended.stronger_probe(defense, strongest)
        points.append(
            tradeoff.Point(
                number=numbers[id(defense)],
                label=short(defense.card.title),
                kind=defense.card.acts_on,
                utility=after,
                leakage=strongest.adaptive,
                static=defended.static_at(defense, access),
                probe=probe.auc if probe else None,
                front=defense.card.id in front,
            )
        )
        twin = defense.baseline == "twin"
        baselines.setdefault(
            defense.baseline, tradeoff.Baseline(_baseline_name(defense), before, strongest.undefended, twin=twin)
        )
    if not points:
        return None
    return picture(
        tradeoff.plane(points, tuple(baselines.values()), report.plan.auc_limit),
        captions.defenses(points, access),
        captions.alt_defenses(points, tuple(baselines.values()), access),
        _plane_table(points, tuple(baselines.values())),
        print_table=False,
    )


def _baseline_name(defense: DefenseResult) -> str:
    return "undefended: the audited model" if defense.baseline == "target" else "undefended: its retrained twin"


def _plane_table(points: Sequence[tradeoff.Point], baselines: Sequence[tradeoff.Baseline]) -> Table:
    head = ("Defense", "Accuracy", "n", "Static", "Adaptive", "n", "Stronger probe", "Front")
    rows = [
        Row(
            (
                f"{point.number} {point.label}",
                cell(point.utility, "share"),
                sides(point.utility.n),
                _maybe(point.static),
                cell(point.leakage),
                sides(point.leakage.n),
                _maybe(point.probe),
                "yes" if point.front else "no",
            )
        )
        for point in points
    ]
    rows += [
        Row(
            (
                one.label,
                cell(one.utility, "share"),
                sides(one.utility.n),
                "–",
                cell(one.leakage),
                sides(one.leakage.n),
                "–",
                "–",
            )
        )
        for one in baselines
    ]
    caption = "Accuracy on non-members, and AUC: each with the n that stands behind it"
    return Table(caption, head, tuple(rows), frozenset({1, 2, 3, 4, 5, 6}))


def _maybe(estimate: Estimate | None) -> str:
    return "–" if estimate is None else cell(estimate)


# --- the table -------------------------------------------------------------------------------------------------------


def _table(report: AuditReport, placed: Sequence[Placed], numbers: Mapping[int, int]) -> Table:
    """What each defense leaves to whom, and what it costs, beside what stands without it."""
    head = (
        "Defense",
        "As the paper attacks (static)",
        "Adaptive (strongest refitted)",
        "If weights are released",
        "Accuracy, and its change in points",
    )
    rows = [row for access in _releases(report) for row in _rows_at(access, report, placed, numbers)]
    rows += [_unmeasured_row(one) for one in placed if id(one.defense) not in numbers]
    caption = f"What each defense leaves (AUC with its interval) and what it costs{_sizes(placed, report)}"
    return Table(caption, head, tuple(rows), frozenset({1, 2, 3, 4}))


def _sizes(placed: Sequence[Placed], report: AuditReport) -> str:
    """What the columns count: adaptive attacks, accuracy and its change are not of the same records."""
    measured = [one.defense for one in placed]
    shown = [strongest.adaptive for one in measured if (strongest := _shown(one, report.plan.release))]
    accuracy = [estimate for one in measured if (estimate := defended.accuracy(one, "defended"))]
    changes = [one.accuracy_change for one in measured if one.accuracy_change]
    told = [
        f"{name} on {listing(list(dict.fromkeys(counts(end.n) for end in ends)), 'or')}"
        for name, ends in (("adaptive", shown), ("accuracy", accuracy), ("its change", changes))
        if ends
    ]
    return f"; {', '.join(told)}" if told else ""


def _rows_at(
    access: Access, report: AuditReport, placed: Sequence[Placed], numbers: Mapping[int, int]
) -> Iterator[Row]:
    """What is told for one way of release: the models without a defense, and under them those with one."""
    shown = [
        (one, strongest)
        for one in placed
        if (strongest := _shown(one.defense, report.plan.release)) and strongest.access is access
    ]
    for baseline in ("target", "twin"):
        beside = [pair for pair in shown if pair[0].defense.baseline == baseline]
        if beside:
            yield _baseline_row(beside[0][0].defense, beside[0][1], report)
            yield from (_row(report, one, strongest, numbers[id(one.defense)]) for one, strongest in beside)


def _baseline_row(defense: DefenseResult, shown: StrongestAttack, report: AuditReport) -> Row:
    opened, accuracy = defended.strongest_at(defense, Access.WEIGHTS), defended.accuracy(defense, "undefended")
    return Row(
        (
            (_baseline_name(defense).capitalize(), f"where {shown.access} are released"),
            "–",
            (cell(shown.undefended), _by(report, shown.undefended_attack_id)),
            cell(opened.undefended) if opened else "–",
            "–" if accuracy is None else cell(accuracy, "share"),
        ),
        "baseline",
    )


def _row(report: AuditReport, one: Placed, shown: StrongestAttack, number: int) -> Row:
    defense = one.defense
    probe = defended.stronger_probe(defense, shown)
    adaptive = (cell(shown.adaptive), _by(report, shown.attack_id))
    return Row(
        (
            f"{number} {short(defense.card.title)}",
            _maybe(defended.static_at(defense, shown.access)),
            (*adaptive, f"a probe: {_maybe(probe.auc)}") if probe else adaptive,
            _opened(defense),
            _accuracy(defense),
        ),
        "part" if one.part else "",
    )


def _accuracy(defense: DefenseResult) -> tuple[str, ...] | str:
    """What it is, and below it how it changed on the half on which nothing was chosen."""
    accuracy, change = defended.accuracy(defense, "defended"), defense.accuracy_change
    ends = [cell(accuracy, "share")] if accuracy else []
    ends += [cell(change, "points").replace("\u00a0points", "")] if change else []
    return tuple(ends) or "–"


def _unmeasured_row(one: Placed) -> Row:
    defense = one.defense
    reason = clean(defense.reason) or "no attack ran both with and without it"
    status = "skipped" if defense.status == "completed" else defense.status
    return Row((short(defense.card.title), f"{status}: {reason}"), "fail" if status == "failed" else "skipped")


def _opened(defense: DefenseResult) -> str:
    if defense.void_when_weights:
        return "void"
    opened = defended.strongest_at(defense, Access.WEIGHTS)
    return cell(opened.adaptive) if opened else "–"


def _by(report: AuditReport, attack: str) -> str:
    return f"by {wording.attack_name(report, attack)}"


# --- remarks ---------------------------------------------------------------------------------------------------------


def _remarks(report: AuditReport) -> Iterator[str]:
    """What holds for several of them."""
    measured = [one for one in report.defenses if one.status == "completed"]
    if any(one.void_when_weights for one in measured):
        yield _VOID
    if masking := [one for one in measured if defended.masks_scores(one) and one.card.id != LABELS_ONLY]:
        yield f"{_MASKED} Here: {_named(masking)}."
    if twins := [one for one in measured if one.baseline == "twin"]:
        most = max(one.shadows for one in twins)
        yield (
            "A training-time defense stands beside an undefended twin of the audited model, retrained by the same "
            f"recipe; both were attacked with {count(most)} shadows, those of the defended one trained through it."
        )
    if any(one.seeds < wording.ENOUGH_SEEDS for one in measured):
        yield (
            "A defense that was fitted or trained with one seed is one file: its numbers say what this defended file "
            "leaks, not what the method does elsewhere."
        )
    if _ADAPTED & {one.card.id for one in measured}:
        yield _SMOOTHED


def _not_planned(report: AuditReport) -> Iterator[str]:
    """What the plan did without, and why."""
    planned = {one.card.id for one in report.defenses}
    for found, reason in defended.unmeasured_by_reason(report):
        if others := [one for one in found if one.card.id not in planned]:
            yield f"Not measured: {_named(others)}: {clean(reason).rstrip('.')}."


def _named(defenses: Sequence[DefenseResult]) -> str:
    return listing([short(one.card.title) for one in defenses])
