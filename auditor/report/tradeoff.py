"""What defenses leave to attackers against what they cost, as one plane.

A point has a number, since fifteen names would cover each other; the key below tells them. Kind is told by shape and
colour, the attacker by fill, the front by a rim, so that the plane reads in black and white.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import cos, hypot, pi, sin
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from auditor.limits import declared
from auditor.report.figures import BLACK, BLUE, GREY, ORANGE, VERMILLION, WIDTH, as_svg
from auditor.report.text import clean, level
from auditor.stats.estimate import Estimate

__all__ = ["Baseline", "Point", "plane"]

_POINTS = 72.0  # a inch, the unit of the geometry below
_LEFT, _RIGHT, _TOP, _PLANE, _AXIS, _KEY_ROW = 44.0, 10.0, 8.0, 250.0, 40.0, 13.0
_ASIDE, _MOST_ASIDE = 5.0, 14.0  # between points at one accuracy, and how far one is moved
_MARKER, _LETTER, _LINE = 4.5, 4.6, 8.0
_ARROW = "#374151"
_SHAPES = {"output": ("o", BLUE), "training": ("s", ORANGE)}
_KEY_COLUMNS = 2


@dataclass(frozen=True)
class Point:
    """A defense: `leakage` to the strongest attack refitted to it, `probe` to one made for it that does better."""

    number: int
    label: str
    kind: Literal["output", "training"]
    utility: Estimate
    leakage: Estimate
    static: Estimate | None = None
    probe: Estimate | None = None
    front: bool = False


@dataclass(frozen=True)
class Baseline:
    """A model without a defense: the audited one, or its retrained twin."""

    label: str
    utility: Estimate
    leakage: Estimate
    twin: bool


@dataclass(frozen=True)
class _Spot:
    """A place on the plane in points, from its lower left corner."""

    x: float
    y: float

    def away(self, radius: float, angle: float) -> _Spot:
        return _Spot(self.x + radius * cos(angle), self.y + radius * sin(angle))


@dataclass(frozen=True)
class _Scale:
    """From data to points."""

    low: _Spot
    high: _Spot

    @property
    def width(self) -> float:
        return _POINTS * WIDTH - _LEFT - _RIGHT

    def x(self, utility: float) -> float:
        return self.width * (utility - self.low.x) / (self.high.x - self.low.x)

    def y(self, leakage: float) -> float:
        return _PLANE * (leakage - self.low.y) / (self.high.y - self.low.y)

    def leakage(self, points: float) -> float:
        """A distance up the plane."""
        return points * (self.high.y - self.low.y) / _PLANE

    def utility(self, x: float) -> float:
        return self.low.x + (self.high.x - self.low.x) * x / self.width


def plane(points: Sequence[Point], baselines: Sequence[Baseline], limit: float) -> str:
    """Accuracy against AUC: a point with two intervals per defense, an arrow from who does not know of it to who does.

    Args:
        points: Defenses, numbered.
        baselines: What they stand beside.
        limit: The limit on AUC.
    """
    rows = -(-(len(points) + len(_signs(points, baselines))) // _KEY_COLUMNS)
    key = _KEY_ROW * (rows + 0.5)
    height = _TOP + _PLANE + _AXIS + key

    def draw(figure: Figure) -> None:
        scale = _scale_of(points, baselines, limit)
        box = (_LEFT / (_POINTS * WIDTH), (key + _AXIS) / height, scale.width / (_POINTS * WIDTH), _PLANE / height)
        axes = figure.add_axes(box)
        _draw_ground(axes, scale, limit)
        moved = _side_by_side(points, scale)
        _draw_baselines(axes, baselines)
        _draw_front(axes, moved)
        for kind, (shape, color) in _SHAPES.items():
            _draw_points(axes, [point for point in moved if point.kind == kind], shape, color, scale)
        _draw_numbers(axes, moved, baselines, scale)
        _draw_key(figure.add_axes((0, 0, 1, key / height)), points, baselines, rows)

    return as_svg(height / _POINTS, draw, layout=None)


def _scale_of(points: Sequence[Point], baselines: Sequence[Baseline], limit: float) -> _Scale:
    every: tuple[Point | Baseline, ...] = (*points, *baselines)
    across = [end for one in every for end in (one.utility.low, one.utility.high)]
    up = [limit, 0.5, *(end for one in every for end in (one.leakage.low, one.leakage.high))]
    up += [one.static.value for one in points if one.static] + [one.probe.value for one in points if one.probe]
    wide, tall = max(max(across) - min(across), 0.02), max(up) - min(up)
    return _Scale(
        _Spot(min(across) - 0.05 * wide, min(up) - 0.06 * tall), _Spot(max(across) + 0.05 * wide, max(up) + 0.06 * tall)
    )


def _side_by_side(points: Sequence[Point], scale: _Scale) -> list[Point]:
    """The same points, those at one accuracy moved sideways a little, so that none hides another."""
    ordered = sorted(points, key=lambda point: (point.utility.value, point.number))
    clusters: list[list[Point]] = []
    for point in ordered:
        if clusters and scale.x(point.utility.value) - scale.x(clusters[-1][-1].utility.value) < _ASIDE:
            clusters[-1].append(point)
        else:
            clusters.append([point])
    return [_aside(point, offset, scale) for cluster in clusters for point, offset in _spread(cluster)]


def _spread(cluster: Sequence[Point]) -> Iterator[tuple[Point, float]]:
    gap = min(_ASIDE, 2 * _MOST_ASIDE / max(len(cluster) - 1, 1))
    return ((point, gap * (place - (len(cluster) - 1) / 2)) for place, point in enumerate(cluster))


def _aside(point: Point, offset: float, scale: _Scale) -> Point:
    by = scale.utility(offset) - scale.utility(0)
    was = point.utility
    return replace(point, utility=replace(was, value=was.value + by, low=was.low + by, high=was.high + by))


# --- marks -----------------------------------------------------------------------------------------------------------


def _draw_ground(axes: Axes, scale: _Scale, limit: float) -> None:
    axes.set(xlim=(scale.low.x, scale.high.x), ylim=(scale.low.y, scale.high.y))
    axes.set(xlabel="Accuracy on non-members", ylabel="AUC of the strongest attack")
    axes.grid(visible=True)
    axes.axhline(0.5, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    axes.axhline(limit, color=VERMILLION, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    for place, told, color in ((0.5, "guessing", GREY), (limit, f"limit {declared(limit)}", VERMILLION)):
        axes.annotate(told, (1, place), (-3, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="right", color=color, fontsize=7)  # fmt: skip
    axes.annotate("better", (1, 0), (-3, 3), xycoords="axes fraction", textcoords="offset points", ha="right",
                  color=GREY, fontsize=7.5, style="italic")  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: level(round(share, 6))))


def _draw_crosses(axes: Axes, every: Sequence[Point | Baseline], color: str) -> None:
    across, up = [one.utility for one in every], [one.leakage for one in every]
    ends = [end.low for end in across], [end.high for end in across]
    axes.hlines([end.value for end in up], *ends, color=color, linewidth=1.1, alpha=0.4, zorder=2)
    ends = [end.low for end in up], [end.high for end in up]
    axes.vlines([end.value for end in across], *ends, color=color, linewidth=2.6, alpha=0.4, zorder=2)


def _draw_baselines(axes: Axes, baselines: Sequence[Baseline]) -> None:
    _draw_crosses(axes, baselines, GREY)
    for one in baselines:
        axes.plot(one.utility.value, one.leakage.value, "D" if one.twin else "X", color=BLACK, markersize=8,
                  markerfacecolor="white" if one.twin else BLACK, zorder=5)  # fmt: skip


def _draw_points(axes: Axes, points: Sequence[Point], shape: str, color: str, scale: _Scale) -> None:
    """All of one kind at once: one object for each of hundreds of marks takes several times as long."""
    _draw_crosses(axes, points, color)
    static = [(point, point.static.value) for point in points if point.static is not None]
    _draw_arrows(axes, static, scale)
    _draw_marks(axes, static, shape, color=color, markerfacecolor="white", markersize=4.5, zorder=4)
    probed = [(point, point.probe.value) for point in points if point.probe is not None]
    axes.vlines([point.utility.value for point, _ in probed], [point.leakage.value for point, _ in probed],
                [height for _, height in probed], color=color, linewidth=0.8, linestyle=":", zorder=3)  # fmt: skip
    _draw_marks(axes, probed, "^", color=BLACK, markerfacecolor="white", markersize=4.5, zorder=4)
    for front, rim, width in ((False, color, 1.0), (True, BLACK, 1.5)):
        shown = [(point, point.leakage.value) for point in points if point.front is front]
        _draw_marks(axes, shown, shape, color=color, markeredgecolor=rim, markeredgewidth=width, markersize=6.5,
                    zorder=6)  # fmt: skip


def _draw_arrows(axes: Axes, static: Sequence[tuple[Point, float]], scale: _Scale) -> None:
    """From who does not know of a defense to who does; none where both marks touch."""
    for head, way in (("^", 1), ("v", -1)):
        moved = [
            (point, was) for point, was in static if way * (scale.y(point.leakage.value) - scale.y(was)) > 3 * _MARKER
        ]
        ends = [point.leakage.value - way * scale.leakage(1.4 * _MARKER) for point, _ in moved]
        axes.vlines([point.utility.value for point, _ in moved], [was for _, was in moved], ends, color=_ARROW,
                    linewidth=0.8, zorder=3)  # fmt: skip
        heads = [(point, end) for (point, _), end in zip(moved, ends, strict=True)]
        _draw_marks(axes, heads, head, color=_ARROW, markersize=3.2, zorder=3)


def _draw_marks(axes: Axes, marks: Sequence[tuple[Point, float]], shape: str, **look: Any) -> None:  # noqa: ANN401 - matplotlib's
    axes.plot([point.utility.value for point, _ in marks], [height for _, height in marks], shape, **look)


def _draw_front(axes: Axes, points: Sequence[Point]) -> None:
    front = [point for point in points if point.front]
    places = [(point.utility.value, point.leakage.value) for point in front]
    if len(places) > 1:
        axes.plot(*zip(*places, strict=True), "--", color=BLACK, linewidth=0.9, zorder=3)


# --- numbers ---------------------------------------------------------------------------------------------------------


def _draw_numbers(axes: Axes, points: Sequence[Point], baselines: Sequence[Baseline], scale: _Scale) -> None:
    """Each number as near to its point as nothing else is."""
    every: tuple[Point | Baseline, ...] = (*points, *baselines)
    marks = [_Spot(scale.x(one.utility.value), scale.y(height)) for one in every for height in _heights(one)]
    taken: list[_Spot] = []
    for point in points:
        at = _Spot(scale.x(point.utility.value), scale.y(point.leakage.value))
        place = min(_around(at), key=lambda spot: _crowding(spot, at, marks, taken, scale))
        taken.append(place)
        far = hypot(place.x - at.x, place.y - at.y) > 1.6 * _MARKER + _LETTER
        line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 2}
        axes.annotate(str(point.number), (point.utility.value, point.leakage.value), (place.x - at.x, place.y - at.y),
                      textcoords="offset points", ha="center", va="center_baseline", fontsize=7.5,
                      fontweight="bold" if point.front else "normal", arrowprops=line if far else None, zorder=7,
                      bbox={"boxstyle": "square,pad=0.05", "color": "white", "alpha": 0.75})  # fmt: skip


def _heights(one: Point | Baseline) -> Iterator[float]:
    yield one.leakage.value
    if isinstance(one, Point):
        yield from (extra.value for extra in (one.static, one.probe) if extra is not None)


def _around(at: _Spot) -> Iterator[_Spot]:
    for radius in (11.0, 16.0, 22.0, 29.0, 37.0):
        for step in range(16):
            yield at.away(radius, pi / 4 + step * pi / 8)


def _crowding(spot: _Spot, at: _Spot, marks: Sequence[_Spot], taken: Sequence[_Spot], scale: _Scale) -> float:
    """How much a number would cover here; nothing is worse than another number, far is worse than near."""
    room = _MARKER + _LETTER + 1
    covered = sum(hypot(spot.x - one.x, spot.y - one.y) < room for one in marks)
    hidden = sum(abs(spot.x - one.x) < 2.2 * _LETTER and abs(spot.y - one.y) < 1.1 * _LINE for one in taken)
    inside = _LETTER < spot.x < scale.width - _LETTER and _LETTER < spot.y < _PLANE - _LETTER
    struck = abs(spot.x - at.x) < _LETTER
    return 40 * hidden + 20 * covered + 100 * (not inside) + 2 * struck + hypot(spot.x - at.x, spot.y - at.y) / 10


# --- key -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sign:
    """A line of the key."""

    label: str
    shape: str
    color: str
    face: str
    number: str = ""
    front: bool = False


def _signs(points: Sequence[Point], baselines: Sequence[Baseline]) -> list[_Sign]:
    """What is no defense."""
    found = [_Sign(one.label, "D" if one.twin else "X", BLACK, "white" if one.twin else BLACK) for one in baselines]
    if any(one.probe for one in points):
        found.append(_Sign("a probe made for that defense alone", "^", BLACK, "white"))
    return found


def _draw_key(axes: Axes, points: Sequence[Point], baselines: Sequence[Baseline], rows: int) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, _POINTS * WIDTH), ylim=(-rows * _KEY_ROW - 0.5 * _KEY_ROW, 0))
    signs = [
        _Sign(point.label, shape, color, color, str(point.number), point.front)
        for point in points
        for shape, color in [_SHAPES[point.kind]]
    ]
    for place, sign in enumerate([*signs, *_signs(points, baselines)]):
        column, row = divmod(place, rows)
        x, y = 12 + column * (_POINTS * WIDTH - 12) / _KEY_COLUMNS, -(row + 0.5) * _KEY_ROW
        rim, width = (BLACK, 1.5) if sign.front else (sign.color, 1.0)
        axes.plot(x, y, sign.shape, color=sign.color, markerfacecolor=sign.face, markeredgecolor=rim,
                  markeredgewidth=width, markersize=6)  # fmt: skip
        weight = "bold" if sign.front else "normal"
        axes.text(x + 20, y, sign.number, ha="right", va="center_baseline", fontsize=7.5, fontweight=weight)
        axes.text(x + (24 if sign.number else 9), y, clean(sign.label, 44), va="center_baseline", fontsize=7.5)
