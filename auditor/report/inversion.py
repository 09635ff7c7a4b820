"""The evidence on inversion: two questions, what the attacker had, what was measured, and what was not run."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from textwrap import fill

from markupsafe import Markup

from auditor.findings import AuditReport, InversionResult, Measurement
from auditor.limits import LEAST_CLASSES
from auditor.report import captions, figures, pick
from auditor.report.text import cell, clean, count, counts, interval, listing, p_value, short, unit_of, value
from auditor.report.view import Facts, Inversion, Picture, Row, Shelf, Shot, Table, picture
from auditor.stats.estimate import Estimate

__all__ = ["section", "setup", "told"]

_COLUMNS = 6
_NAMED = 5
_TITLE = 27  # letters of a control that stand side by side over a panel
_TITLE_LIMIT = 120
_SCALES = {
    "record": "mean squared error, pixels from 0 to 1",
    "class": "probability by the evaluation networks, 0 to 1",
}


def section(report: AuditReport) -> Inversion:
    """All that the report shows of inversion."""
    found = (_excess(report, pick.record_excess), _excess(report, pick.class_excess), _queries(report))
    return Inversion(
        told=told(report),
        setup=setup(report),
        pictures=tuple(one for one in found if one is not None),
        tables=_measured(report),
        not_run=_not_run(report),
        shelves=_shelves(report),
    )


def _completed(report: AuditReport) -> tuple[InversionResult, ...]:
    return tuple(result for result in report.inversion if result.status == "completed")


# --- in words --------------------------------------------------------------------------------------------------------


def told(report: AuditReport) -> tuple[str, ...]:
    """What was found, and what a rebuilt class would be; nothing where nothing ran."""
    ran = _completed(report)
    return (*_answers(ran), _kind(report)) if ran else ()


def _kind(report: AuditReport) -> str:
    if report.data.class_is_person:
        return "Each class is one person here: what is rebuilt of a class is personal data."
    return (
        "A class is a kind of thing here, no person (class_is_person in splits.toml): what is rebuilt of a class is a "
        "prototype and shows no individual. Whether training records show in it is the record question."
    )


def _answers(ran: Sequence[InversionResult]) -> tuple[str, ...]:
    """What was found, or why nothing can be said."""
    most = max(result.classes for result in ran)
    if most < LEAST_CLASSES:
        few = f"{count(most)} classes are too few for a verdict, on records or on classes: intervals are over classes,"
        return (f"{few} and {LEAST_CLASSES} are needed. The numbers below are shown and decide nothing.",)
    shown = pick.excesses(ran)
    return (
        _answer("record", "more of training records than every control does", shown),
        _answer("class", "more of classes than can be drawn without a model of them", shown),
    )


def _answer(question: str, what: str, shown: Iterable[pick.Excess]) -> str:
    tested = [one for one in shown if one.question == question and one.p_adjusted is not None]
    found = [short(one.result.card.title) for one in tested if one.found]
    if not tested:
        return f"The {question} question could not be put to any attack."
    names = f" ({listing(found)})" if 0 < len(found) <= _NAMED else ""
    who = f"{count(len(found)) if found else 'none'} of {count(len(tested))} attacks"
    return f"The {question} question: {who} {'show' if len(found) > 1 else 'shows'} {what}{names}."


def setup(report: AuditReport) -> Facts:
    """What all attacks share: how good the judges are, and what the attacker had."""
    had = report.inversion_setup
    if had is None:
        return ()
    controls = f"{count(had.class_controls)} models, each trained without a part of the classes"
    without = "none trained, so that the class question cannot be answered"
    judges, quality = (
        tuple(f"{clean(one.name)}: {cell(one.estimate, unit_of(one))}, {counts(one.estimate.n)}" for one in part)
        for part in (had.evaluators, had.prior_quality)
    )
    return (
        ("Evaluation networks", judges or "none"),
        ("Public images", f"{count(had.public_images)} to learn from" if had.public_images else "none"),
        ("Image prior", (clean(had.prior), *quality) if had.prior else "none"),
        ("Class controls", controls if had.class_controls else without),
    )


# --- the two questions -----------------------------------------------------------------------------------------------


def _excess(report: AuditReport, asked: Callable[[InversionResult], pick.Excess | None]) -> Picture | None:
    """One question to every attack: a row each, a column for each control."""
    found = tuple(one for result in _completed(report) if (one := asked(result)) is not None)
    if not found:
        return None
    order = tuple(sorted(found, key=lambda one: (-one.result.card.access.rank, -one.measurement.estimate.low)))
    controls = tuple(dict.fromkeys(each.against for one in order for each in _over(one)))
    rows = [
        figures.Dot(
            one.result.card.title,
            _ends(one, controls),
            filled=one.found,
            group=str(one.result.card.access),
            note=_note(one),
        )
        for one in order
    ]
    scale = next((unit for one in order if (unit := one.measurement.unit)), _SCALES[order[0].question])
    percent = scale in ("share", "points")
    label = "" if percent else short(scale)
    width = _TITLE if len(controls) > 1 else 3 * _TITLE
    panels = [
        figures.Panel(
            fill(clean(f"over {one}", _TITLE_LIMIT), width), 0.0, percent=percent, label="" if place else label, ticks=3
        )
        for place, one in enumerate(controls)
    ]
    caption = {"record": captions.RECORD_EXCESS, "class": captions.CLASS_EXCESS}[order[0].question]
    none = f"none where a control is missing or there are fewer than {LEAST_CLASSES} classes"
    svg = figures.dots(rows, panels, one_scale=True)
    return picture(svg, caption.format(none), captions.alt_excess(order), _excess_table(order, controls))


def _over(one: pick.Excess) -> tuple[Measurement, ...]:
    return one.result.record_excess if one.question == "record" else one.result.class_excess


def _ends(one: pick.Excess, controls: Iterable[str]) -> tuple[Estimate | None, ...]:
    """What it has over each control; None where that one was not measured."""
    found = {each.against: each.estimate for each in _over(one)}
    return tuple(found.get(control) for control in controls)


def _note(one: pick.Excess) -> str:
    if one.p_adjusted is None:
        return ""
    return f"{'found, ' if one.found else ''}p {p_value(one.p_adjusted)}"


def _excess_table(found: Sequence[pick.Excess], controls: Sequence[str]) -> Table:
    rows = tuple(
        Row(
            (
                f"{short(one.result.card.title)} ({one.result.card.access})",
                *("–" if end is None else cell(end, unit_of(one.measurement)) for end in _ends(one, controls)),
                "–" if one.p_adjusted is None else p_value(one.p_adjusted),
                "yes" if one.found else "no" if one.p_adjusted is not None else "–",
                count(one.result.queries_per_class) if one.result.queries_per_class else "–",
            )
        )
        for one in found
    )
    head = ("Attack", *(f"Over {clean(control)}" for control in controls), "p", "Found", "Queries per class")
    over = _over_classes([one.result for one in found])
    caption = f"{found[0].question.capitalize()} excess over each control, {over}; p is corrected"
    return Table(caption, head, rows, frozenset({*range(1, len(controls) + 2), len(controls) + 3}))


def _over_classes(results: Iterable[InversionResult]) -> str:
    """What the intervals of a table count."""
    classes = sorted({result.classes for result in results})
    return f"with intervals over {listing([count(number) for number in classes], 'or')} classes"


def _cell(estimate: Estimate | None, unit: str = "") -> tuple[str, ...] | str:
    """Value and interval on two lines, so that many stand side by side."""
    return "–" if estimate is None else (value(estimate, unit), interval(estimate, unit))


# --- queries ---------------------------------------------------------------------------------------------------------


def _queries(report: AuditReport) -> Picture | None:
    """Success against queries, of every attack that has it."""
    found = tuple(result for result in _completed(report) if result.success_by_queries)
    if not found:
        return None
    reaches = [
        figures.Reach(
            result.card.title,
            tuple(max(point.queries, 1) for point in result.success_by_queries),
            tuple(point.success for point in result.success_by_queries),
        )
        for result in found
    ]
    rows = tuple(
        Row((short(result.card.title), count(point.queries), cell(point.success, "share"), counts(point.success.n)))
        for result in found
        for point in result.success_by_queries
    )
    head = ("Attack", "Queries per class", "Classes recognised", "n")
    table = Table("Classes recognised against queries, with intervals", head, rows, frozenset({1, 2, 3}))
    return picture(figures.queries(reaches), captions.QUERIES, captions.alt_queries(found), table)


# --- all that was measured -------------------------------------------------------------------------------------------


def _measured(report: AuditReport) -> tuple[Table, ...]:
    """Attacks against measurements: what is a share beside the excess, the rest by what attacks have in common."""
    ran = [result for result in _completed(report) if result.measurements]
    recognised = [result for result in ran if _names(result, shares=True)]
    tables = _recognition(recognised) if recognised else ()
    for alike in _alike([result for result in ran if _names(result, shares=False)]):
        names = list(dict.fromkeys(name for result in alike for name in _names(result, shares=False)))
        tables += tuple(_matrix(alike, part) for part in _parts(names))
    return tables


def _is_share(measurement: Measurement) -> bool:
    return unit_of(measurement) == "share"


def _names(result: InversionResult, *, shares: bool) -> list[str]:
    return [one.name for one in result.measurements if _is_share(one) is shares]


def _alike(results: Iterable[InversionResult]) -> list[list[InversionResult]]:
    """Attacks together that share at least half of what was measured of them."""
    groups: list[list[InversionResult]] = []
    for result in results:
        names = set(_names(result, shares=False))
        group = next((one for one in groups if 2 * len(names & set(_names(one[0], shares=False))) >= len(names)), None)
        if group is None:
            groups.append([result])
        else:
            group.append(result)
    return groups


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    """As many columns as a page is wide, spread evenly."""
    parts = -(-len(names) // _COLUMNS)
    size = -(-len(names) // parts)
    return [names[start : start + size] for start in range(0, len(names), size)]


def _recognition(results: Sequence[InversionResult]) -> tuple[Table, ...]:
    """What the evaluation networks recognise, never without the excess."""
    names = list(dict.fromkeys(name for result in results for name in _names(result, shares=True)))
    head = ("Attack", "Record excess", "Class excess", *map(clean, names))
    rows = tuple(
        Row(
            (
                short(result.card.title),
                *(_least(one) for one in (pick.record_excess(result), pick.class_excess(result))),
                *_cells(result, names),
            )
        )
        for result in results
    )
    caption = (
        f"What the evaluation networks recognise, {_over_classes(results)}, beside the excess over the control that an "
        "attack exceeds least: images that need no model of the class are recognised too"
    )
    return (Table(caption, head, rows, frozenset(range(1, len(head)))),)


def _least(found: pick.Excess | None) -> tuple[str, ...] | str:
    return "–" if found is None else _cell(found.measurement.estimate, unit_of(found.measurement))


def _matrix(results: Sequence[InversionResult], names: Sequence[str]) -> Table:
    units = {one.name: one.unit for result in results for one in result.measurements}
    head = ("Attack", *(clean(f"{name} ({units[name]})" if units[name] else name, _TITLE_LIMIT) for name in names))
    rows = tuple(Row((short(result.card.title), *_cells(result, names))) for result in results)
    who = "" if len(results) > _NAMED else f" of {listing([short(result.card.title) for result in results])}"
    caption = f"What else was measured{who}, {_over_classes(results)}"
    return Table(caption, head, rows, frozenset(range(1, len(head))))


def _cells(result: InversionResult, names: Iterable[str]) -> list[tuple[str, ...] | str]:
    """Cells by the name of the measurement; a unit stands in the heading."""
    found = {one.name: one for one in result.measurements}
    return [
        _cell(found[name].estimate, "share" if _is_share(found[name]) else "") if name in found else "–"
        for name in names
    ]


# --- what did not run ------------------------------------------------------------------------------------------------


def _not_run(report: AuditReport) -> Table:
    """Every attack that was skipped or crashed, by reason."""
    rows = []
    for results, reason in pick.uninverted_by_reason(report):
        failed = results[0].status == "failed"
        why = f"failed: {clean(reason)}" if failed else clean(reason)
        names = listing([short(result.card.title) for result in results])
        rows.append(Row((why, names, count(len(results))), "fail" if failed else ""))
    return Table(
        "Inversion attacks that did not run, by reason", ("Why", "Attacks", "Number"), tuple(rows), frozenset({2})
    )


# --- pictures, where they were asked for -----------------------------------------------------------------------------


def _shelves(report: AuditReport) -> tuple[Shelf, ...]:
    """What each attack rebuilt."""
    return tuple(
        Shelf(
            short(result.card.title),
            f"Each picture is {'; '.join(dict.fromkeys(clean(one.caption) for one in result.gallery))}.",
            _shots(result),
        )
        for result in report.inversion
        if result.gallery
    )


def _shots(result: InversionResult) -> tuple[Shot, ...]:
    return tuple(
        Shot(
            short(one.label),
            f"Picture {number}: {clean(one.caption)}, class {short(one.label)}, by {short(result.card.title)}",
            _uri(one.png),
        )
        for number, one in enumerate(result.gallery, 1)
    )


def _uri(png: str) -> Markup:
    """Coded afresh: only what base64 can hold is markup."""
    again = b64encode(b64decode(png, validate=True)).decode("ascii")
    return Markup("data:image/png;base64," + again)  # noqa: S704 - base64 has no markup
