"""What a plan costs on this machine, in CPU seconds by part and in wall seconds; and lines through two timed trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from time import perf_counter, process_time
from typing import TypeVar

from auditor.errors import InputError

__all__ = ["LEVER", "Cost", "Item", "Line", "Spent", "line_of", "spoken", "steady", "timed"]

Part = TypeVar("Part")

LEVER = 3  # the second trial has at least so many times the records
_AROUND_SECONDS = 20.0  # opening the data, starting workers that load torch, writing the report: seen 10 to 20
_LEAST_SHADOWS = 4  # with fewer, who has a record and who has not is one model each
_ENOUGH_SECONDS = 0.4  # a longer second trial tells little more
_LONG_SECONDS = 1.0  # beside this, what a first call loads no longer counts
_FLAT = 1.25  # a second trial that costs less than so many times the first tells the slope badly


@dataclass(frozen=True)
class Spent:
    """CPU and wall seconds."""

    cpu: float = 0.0
    wall: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.cpu + other.cpu, self.wall + other.wall)

    def __mul__(self, factor: float) -> Spent:
        return Spent(self.cpu * factor, self.wall * factor)

    def rise_to(self, other: Spent) -> Spent:
        """How much more the other is; 0 where it is less."""
        return Spent(max(other.cpu - self.cpu, 0.0), max(other.wall - self.wall, 0.0))


@dataclass(frozen=True)
class Item:
    """One part of a scan.

    Attributes:
        phase: The phase of the report's timings that it belongs to.
        name: An attack, a defense, `probe <id>`, or what is trained.
        each: What one piece costs.
        count: How many pieces there are.
        spread: Whether the workers share them; else they follow each other.
        per_shadow: Whether there is one piece for every shadow.
    """

    phase: str
    name: str
    each: Spent
    count: int = 1
    spread: bool = False
    per_shadow: bool = False

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of all pieces."""
        return self.each.cpu * self.count

    def wall_seconds(self, workers: int) -> float:
        """Wall seconds with so many workers."""
        return self.each.wall * (ceil(self.count / workers) if self.spread else self.count)


@dataclass(frozen=True)
class Cost:
    """What a plan costs here, part by part."""

    items: tuple[Item, ...]
    workers: int

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of the whole scan."""
        return sum(item.cpu_seconds for item in self.items)

    @property
    def wall_seconds(self) -> float:
        """Wall seconds of the whole scan, with what surrounds its phases."""
        return _AROUND_SECONDS + sum(item.wall_seconds(self.workers) for item in self.items)

    def of(self, name: str) -> float:
        """CPU seconds of one part by its name."""
        return sum(item.cpu_seconds for item in self.items if item.name == name)

    def by_name(self) -> dict[str, float]:
        """CPU seconds by name, in the order of the scan."""
        return {name: self.of(name) for name in dict.fromkeys(item.name for item in self.items)}

    def by_phase(self) -> dict[str, float]:
        """CPU seconds by phase of the report's timings, in the order of the scan."""
        phases = dict.fromkeys(item.phase for item in self.items)
        return {phase: sum(item.cpu_seconds for item in self.items if item.phase == phase) for phase in phases}

    def with_shadows(self, shadows: int) -> Cost:
        """The same with another number of shadows; what attacks cost is left as it was."""
        items = (replace(item, count=shadows) if item.per_shadow else item for item in self.items)
        return replace(self, items=tuple(items))

    def shadows_within(self, seconds: float, most: int) -> int:
        """The largest even number of shadows, from 4 to `most`, with which a scan ends in so many wall seconds.

        Raises:
            InputError: not even 4 do.
        """
        for shadows in range(most, _LEAST_SHADOWS - 1, -2):
            if self.with_shadows(shadows).wall_seconds <= seconds:
                return shadows
        needed = self.with_shadows(_LEAST_SHADOWS).wall_seconds
        raise InputError(
            f"--max-time: even a scan with {_LEAST_SHADOWS} shadows takes about {spoken(needed)} here "
            f"({self.workers} workers).",
            f"Allow --max-time {ceil(needed / 60)}m or more, or run fewer attacks or defenses.",
        )


def spoken(seconds: float) -> str:
    """Seconds as far as a trial can know them: `< 1 s`, `12 s`, `1,250 s`."""
    return "< 1 s" if seconds < 1 else f"{float(f'{seconds:.3g}'):,.0f} s"


def timed(run: Callable[[Part], object], part: Part) -> Spent:
    """What one call takes."""
    wall, cpu = perf_counter(), process_time()
    run(part)
    return Spent(process_time() - cpu, perf_counter() - wall)


def steady(run: Callable[[Part], object], part: Part) -> Spent:
    """The better of two times, unless one is long: the first call with a shape compiles, which a scan pays once."""
    once = timed(run, part)
    return once if once.cpu > _LONG_SECONDS else min(once, timed(run, part), key=lambda spent: spent.cpu)


@dataclass(frozen=True)
class Line:
    """What two numbers of records cost, and so what any number does; through the origin where only one was tried."""

    few: int
    more: int
    first: Spent
    second: Spent

    def at(self, records: float) -> Spent:
        """What so many records cost."""
        if self.more <= self.few:
            return self.first * (records / self.few)
        return self.second + self.first.rise_to(self.second) * ((records - self.more) / (self.more - self.few))


def line_of(run: Callable[[Part], object], part: Callable[[int], Part], *, least: int, most: int) -> Line:
    """Time `run` on two numbers of records, small ones unless the cost hardly grows between them.

    Args:
        run: What is timed.
        part: Makes what it works on out of so many records.
        least: Fewer tell nothing.
        most: How many there are to try.
    """
    few = min(least, most)
    first = steady(run, part(few))
    more = min(most, max(LEVER * few, int(few * _ENOUGH_SECONDS / max(first.cpu, 1e-4))))
    second = steady(run, part(more)) if more > few else first
    while more < most and second.cpu < _FLAT * first.cpu:
        more = min(most, LEVER * more)
        second = steady(run, part(more))
    return Line(few, more, first, second)
