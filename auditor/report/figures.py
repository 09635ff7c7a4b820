"""The figures of the report as SVG text: one function per figure, the same bytes for the same findings.

Colours are Okabe and Ito's (2008), one meaning each on every page, and never the only difference: shape, dash and
fill tell the same. Text stays text, so that a class name in any script is drawn by the reader's own fonts.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from textwrap import fill
from typing import Any, Literal
from unicodedata import east_asian_width

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from auditor.findings import DosePoint, Histogram, RocCurve
from auditor.report.text import clean, level
from auditor.stats.estimate import Estimate
from auditor.threat import Access

__all__ = [
    "Curve",
    "Dash",
    "Dot",
    "Line",
    "Mark",
    "Panel",
    "Reach",
    "as_svg",
    "doses",
    "dots",
    "histograms",
    "queries",
    "roc",
]

BLACK, ORANGE, SKY, BLUE, VERMILLION, PURPLE = "#000000", "#E69F00", "#56B4E9", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#6b7280"
WIDTH = 6.3  # inches; the column of the page
_ROW = 0.235  # inches per row of a dot chart
_LINE = 11.0  # points
_NAMES, _NOTES = 220.0, 80.0  # points at most beside a dot chart: half of the page is left to the dots
_NARROW = 26  # letters over one of three panels
_FONTS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"  # what the page is set in
_STYLE: Any = {
    "savefig.format": "svg",
    "svg.fonttype": "none",
    "svg.hashsalt": "privaudit",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.labelsize": 8.5,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "#1f2937",
    "ytick.labelcolor": "#1f2937",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "lines.solid_capstyle": "round",
}


Dash = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class Line:
    """How a curve is drawn."""

    color: str
    width: float
    dash: Dash = "-"
    band: bool = False


_LIMIT = Line(VERMILLION, 0.9, (0, (4, 2)))


@dataclass(frozen=True)
class Curve:
    """A ROC curve with its look; one that several attacks share has all their names."""

    names: tuple[str, ...]
    roc: RocCurve
    line: Line


@dataclass(frozen=True)
class Dot:
    """One row of a dot chart: an estimate per panel, else why there is `missing` one; a note stands on the right.

    `starred` says per panel whether n is too small for a headline.
    """

    label: str
    estimates: tuple[Estimate | None, ...]
    filled: bool = True
    group: str = ""
    note: str = ""
    missing: str = "not measured"
    starred: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Mark:
    """A control in a panel: a line with its interval as a band, beside the rows of a group, or beside all of them."""

    label: str
    estimate: Estimate
    line: Line
    group: str = ""


@dataclass(frozen=True)
class Panel:
    """One column of a dot chart; its ticks are at most so many, or stand on chance and at round distances from it."""

    title: str
    chance: float
    percent: bool
    limit: float | None = None
    label: str = ""
    ticks: int = 5
    from_chance: bool = False
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Reach:
    """What an attack reaches after so many queries: whole numbers from 1 on, in increasing order."""

    label: str
    queries: tuple[int, ...]
    reached: tuple[Estimate, ...]


def _label(text: str, limit: int = 36) -> str:
    """A name, cut to what leaves room for the plot."""
    return clean(text, limit)


def as_svg(
    height: float, draw: Callable[[Figure], None], *, layout: Literal["constrained"] | None = "constrained"
) -> str:
    """Draw on a figure of the page's width and return it as SVG, measured in the wide font that matplotlib brings."""
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH, height), dpi=72, layout=layout)
        draw(figure)
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")  # or everything is drawn once more, to be laid out only
        buffer = StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _UNTURNED.sub("", buffer.getvalue()).replace("'DejaVu Sans'", _FONTS)


_UNTURNED = re.compile(r' transform="rotate\(-0 [^"]*\)"')  # WeasyPrint spends a tenth of a figure on them


# --- ROC -------------------------------------------------------------------------------------------------------------


def roc(curves: Sequence[Curve], floor: float, fpr: float) -> str:
    """ROC curves on logarithmic axes down to `floor` (one record), with the chance line and the FPR that is judged."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log", xlim=(floor, 1), ylim=(floor, 1.08))
        axes.plot([floor, 1], [floor, 1], color=GREY, linewidth=0.9, linestyle=":", label="chance")
        axes.axvline(fpr, color="#d1d5db", linewidth=0.8, zorder=0)
        for curve in curves:
            _draw_curve(axes, curve, floor)
        axes.set(xlabel="False positive rate (non-members wrongly flagged)", ylabel="True positive rate")
        axes.grid(visible=True, which="major")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda share, _: level(share)))
            axis.set_minor_locator(LogLocator(subs=(2, 5)))
            axis.set_minor_formatter(NullFormatter())
        axes.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.13), ncols=2, handlelength=3.2)

    return as_svg(4.4, draw)


def _draw_curve(axes: Axes, curve: Curve, floor: float) -> None:
    start = max(int(np.searchsorted(curve.roc.fpr, floor, side="right")) - 1, 0)  # what is reached left of the page
    fpr, tpr, low, high = (
        np.maximum(np.asarray(points[start:]), floor)
        for points in (curve.roc.fpr, curve.roc.tpr, curve.roc.low, curve.roc.high)
    )
    if low.size and curve.line.band:
        axes.fill_between(fpr, low, high, color=curve.line.color, alpha=0.16, linewidth=0, step="post")
    axes.plot(
        fpr,
        tpr,
        color=curve.line.color,
        linewidth=curve.line.width,
        linestyle=curve.line.dash,
        drawstyle="steps-post",
        label=",\n".join(_label(name, 44) for name in curve.names),
        zorder=3 if curve.line.band else 2,
    )


# --- dots ------------------------------------------------------------------------------------------------------------


def dots(rows: Sequence[Dot], panels: Sequence[Panel], *, one_scale: bool = False) -> str:
    """Dots with intervals, one row each, under a heading per group; panels share the rows, and the scale if told so."""
    places, headings, height = _places(rows)
    room = 60 if len(panels) == 1 else 40 if one_scale else 44
    above = _LINE * (1 + max(panel.title.count("\n") for panel in panels)) + 8
    looks = {mark.label: mark.line for panel in panels for mark in panel.marks}
    looks |= {"limit": _LIMIT} if looks and any(panel.limit is not None for panel in panels) else {}
    below = _LINE * (1 + any(panel.label for panel in panels)) + 9
    foot = below + (_LINE + 5) * bool(looks)
    tall = 72 * _ROW * height + above + foot

    def draw(figure: Figure) -> None:
        shape = {"width_ratios": [1.0 if one_scale else 1.5] + [1.0] * (len(panels) - 1)}
        axes = figure.subplots(1, len(panels), sharey=True, sharex=one_scale, squeeze=False, gridspec_kw=shape)[0]
        names = [_fitting(_label(row.label, room), _NAMES) for row in rows]
        notes = [_fitting(row.note, _NOTES) for row in rows]
        titles = {place: _fitting(heading, _NAMES) for place, heading in headings.items()}
        left = 8 + max(map(_width, [*names, *titles.values()]), default=0)
        right = 14 + max(map(_width, notes), default=0)
        figure.subplots_adjust(left / (72 * WIDTH), foot / tall, 1 - right / (72 * WIDTH), 1 - above / tall, 0.12)
        for column, (panel, ax) in enumerate(zip(panels, axes, strict=True)):
            _draw_marks(ax, panel.marks, _spans(rows, places))
            _draw_panel(ax, panel, [(row.estimates[column], row) for row in rows], places)
            _draw_stars(ax, [(row.estimates[column], place) for row, place in zip(rows, places, strict=True)
                             if row.starred and row.starred[column]])  # fmt: skip
        axes[0].set_ylim(height - 0.4, -0.6)
        axes[0].set_yticks([])  # hundreds of small objects; the names are plain text
        for name, note, place in zip(names, notes, places, strict=True):
            _beside(axes[0], name, (0, place))
            _beside(axes[-1], note, (1, place))
        for place, title in titles.items():
            _beside(axes[0], title, (0, place), weight="bold")
        if looks:
            _draw_legend(figure, looks)

    return as_svg(tall / 72, draw, layout=None)  # matplotlib's own looks at every name several times


def _width(name: str) -> float:
    """Points that a name takes in the font that matplotlib brings, a wide one; what that lacks counts as a W."""
    drawn = "".join("W" if east_asian_width(letter) in {"W", "F"} else letter for letter in name)
    font = FontProperties(family="DejaVu Sans", size=8)
    return float(text_to_path.get_text_width_height_descent(drawn, font, ismath=False)[0])


def _fitting(name: str, room: float) -> str:
    """A name, cut to so many points."""
    cut = name
    while _width(cut) > room:
        cut = cut.removesuffix("…")[:-1] + "…"
    return cut


def _beside(axes: Axes, text: str, at: tuple[int, float], *, weight: str = "normal") -> None:
    """A name on the left of a chart, or a note on its right."""
    if text:
        axes.annotate(text, at, (6 if at[0] else -4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="left" if at[0] else "right", va="center_baseline", color="#1f2937", fontsize=8,
                      fontweight=weight)  # fmt: skip


def _places(rows: Sequence[Dot]) -> tuple[list[float], dict[float, str], float]:
    """Where the rows stand, where the headings of groups stand, and the height of all of it, in rows."""
    places: list[float] = []
    headings: dict[float, str] = {}
    place = 0.0
    for group, members in groupby(rows, key=lambda row: row.group):
        if group:
            headings[place] = _label(group)
            place += 1
        for _ in members:
            places.append(place)
            place += 1
        place += 0.35
    return places, headings, place - 0.35


def _draw_panel(
    axes: Axes, panel: Panel, values: Sequence[tuple[Estimate | None, Dot]], places: Sequence[float]
) -> None:
    axes.axvline(panel.chance, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    if panel.limit is not None:
        axes.axvline(panel.limit, color=_LIMIT.color, linewidth=_LIMIT.width, linestyle=_LIMIT.dash, zorder=1)
    measured = [(one, row.filled, place) for (one, row), place in zip(values, places, strict=True) if one is not None]
    lows, highs = [one.low for one, _, _ in measured], [one.high for one, _, _ in measured]
    axes.hlines([place for _, _, place in measured], lows, highs, color=BLUE, linewidth=1.3, zorder=2)
    for filled in (True, False):
        shown = np.reshape([(one.value, place) for one, told, place in measured if told is filled], (-1, 2))
        axes.plot(*shown.T, "o", color=BLUE, markersize=5, markerfacecolor=BLUE if filled else "white")
    for (estimate, row), place in zip(values, places, strict=True):
        if estimate is None:
            axes.annotate(row.missing, (panel.chance, place), (5, 0), textcoords="offset points", va="center",
                          color=GREY, fontsize=7, backgroundcolor="white")  # fmt: skip
    axes.set_title(panel.title)
    axes.set_xlabel(panel.label, loc="left")
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(_from_chance(axes, panel) if panel.from_chance else MaxNLocator(panel.ticks))
    if panel.percent:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: level(round(share, 6))))


def _spans(rows: Sequence[Dot], places: Sequence[float]) -> dict[str, tuple[float, float]]:
    """From where to where the rows of each group stand; of all of them under no name."""
    found: dict[str, tuple[float, float]] = {"": (min(places) - 1.6, max(places) + 0.6)}
    for row, place in zip(rows, places, strict=True):
        if row.group:
            first, _ = found.get(row.group, (place - 0.5, 0.0))
            found[row.group] = (first, place + 0.5)
    return found


def _draw_marks(axes: Axes, marks: Sequence[Mark], spans: Mapping[str, tuple[float, float]]) -> None:
    for mark in marks:
        if (span := spans.get(mark.group)) is not None:
            found, color = mark.estimate, mark.line.color
            axes.fill_betweenx(span, found.low, found.high, color=color, alpha=0.14, linewidth=0, zorder=0)
            axes.vlines(found.value, *span, color=color, linewidth=mark.line.width, linestyle=mark.line.dash, zorder=1)


def _draw_stars(axes: Axes, starred: Sequence[tuple[Estimate | None, float]]) -> None:
    for estimate, place in starred:
        if estimate is not None:
            axes.annotate("*", (estimate.high, place), (3, -1), textcoords="offset points", va="center",
                          color="#1f2937", fontsize=8)  # fmt: skip


def _draw_legend(figure: Figure, looks: Mapping[str, Line]) -> None:
    handles = [
        Line2D([], [], color=line.color, linewidth=line.width, linestyle=line.dash, label=_label(label, 30))
        for label, line in looks.items()
    ]
    figure.legend(handles=handles, loc="lower right", ncols=len(handles), handlelength=3.2, borderpad=0.1)


def _from_chance(axes: Axes, panel: Panel) -> MultipleLocator:
    low, high = axes.get_xlim()
    step = next((step for step in (0.01, 0.02, 0.05, 0.1) if high - low < 6.5 * step), 0.2)
    return MultipleLocator(step, offset=panel.chance)


# --- queries ---------------------------------------------------------------------------------------------------------


def queries(found: Sequence[Reach]) -> str:
    """What attacks reach against queries: one panel each with its interval, on the same axes, the others behind it."""
    columns = min(len(found), 3)
    rows = -(-len(found) // columns)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for place, (axes, reach) in enumerate(zip(grid.ravel(), found, strict=False)):
            for other in found:
                axes.plot(other.queries, [one.value for one in other.reached], color="#d1d5db", linewidth=0.9, zorder=1)
            _draw_reach(axes, reach)
            axes.tick_params(labelbottom=place + columns >= len(found))
        for axes in grid.ravel()[len(found) :]:
            axes.set_visible(False)
        grid[0, 0].set(xscale="log", ylim=(-0.02, 1.02))
        grid[0, 0].xaxis.set_major_formatter(FuncFormatter(lambda number, _: _thousands(number)))
        grid[0, 0].xaxis.set_minor_formatter(NullFormatter())
        grid[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda share, _: level(round(share, 6))))
        figure.supxlabel("Queries per class", fontsize=8.5)
        figure.supylabel("Classes recognised", fontsize=8.5)

    tall = any(len(_label(one.label)) > _NARROW for one in found)
    return as_svg(0.6 + (1.7 if tall else 1.55) * rows, draw)


def _draw_reach(axes: Axes, reach: Reach) -> None:
    low, high = ([one.low for one in reach.reached], [one.high for one in reach.reached])
    axes.fill_between(reach.queries, low, high, color=BLUE, alpha=0.16, linewidth=0)
    axes.vlines(reach.queries, low, high, color=BLUE, linewidth=1.0)
    axes.plot(reach.queries, [one.value for one in reach.reached], "o-", color=BLUE, linewidth=1.5, markersize=3.5)
    axes.set_title(fill(_label(reach.label, 2 * _NARROW), _NARROW))
    axes.grid(visible=True)


def _thousands(number: float) -> str:
    for letter, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


# --- histograms ------------------------------------------------------------------------------------------------------


def histograms(found: Sequence[Histogram]) -> str:
    """Signals of members (filled) and non-members (outlined) as shares of each side."""
    columns = min(len(found), 2)
    rows = -(-len(found) // columns)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, histogram in zip(grid, found, strict=False):
            _draw_histogram(axes, histogram)
        for axes in grid[len(found) :]:
            axes.set_visible(False)
        grid[0].set_ylabel("Share of records")
        grid[0].legend(loc="best", handlelength=1.5)

    return as_svg(0.35 + 1.95 * rows, draw)


def _draw_histogram(axes: Axes, histogram: Histogram) -> None:
    members, others = np.asarray(histogram.members, float), np.asarray(histogram.non_members, float)
    axes.stairs(members / max(members.sum(), 1), histogram.edges, fill=True, color=BLUE, alpha=0.45, label="members")
    axes.stairs(others / max(others.sum(), 1), histogram.edges, color=BLACK, linewidth=1.3, label="non-members")
    axes.set_xlabel(_label(histogram.signal))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: level(round(share, 6))))


_SHAPES = ("o", "s", "^", "D", "v", "P")

# --- planted control -------------------------------------------------------------------------------------------------


def doses(points: Sequence[DosePoint], limit: float) -> str:
    """How often a planted leak was found, against its size; the limit of the verdict as a vertical line."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(limit, color=VERMILLION, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.text(limit, 1.06, f"limit {level(limit)}", color="#1f2937", fontsize=7.5, ha="center")
        for access, shape in zip(Access, _SHAPES, strict=False):
            _draw_doses(axes, [point for point in points if point.access is access], shape, access)
        axes.legend(loc="lower right")
        axes.set(ylim=(-0.04, 1.04), xlabel="Size of the planted leak (TPR)", ylabel="Found by the primary tests")
        axes.grid(visible=True)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda share, _: level(round(share, 6))))

    return as_svg(2.3, draw)


def _draw_doses(axes: Axes, points: Sequence[DosePoint], shape: str, access: Access) -> None:
    if not points:
        return
    sizes = [point.tpr.value for point in points]
    axes.vlines(sizes, [point.detected.low for point in points], [point.detected.high for point in points], color=BLACK)
    found = [point.detected.value for point in points]
    axes.plot(sizes, found, shape + ":", color=SKY, markeredgecolor=BLACK, markersize=5, label=access.value)
