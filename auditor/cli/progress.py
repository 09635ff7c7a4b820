"""Progress for people: bars on a terminal, one plain line per finished task everywhere else.

Both classes implement `auditor.compute.Progress`; they are told about tasks by name and never ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditor.cli.terminal import Terminal, clean

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from auditor.compute import Progress

__all__ = ["Bars", "Lines", "duration", "progress_on"]

HEARTBEAT_SECONDS = 60.0


def duration(seconds: float) -> str:
    """Seconds as a person says them: `8 s`, `3 min 12 s`, `2 h 5 min`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {whole % 60} s"
    return f"{whole} s"


@contextmanager
def progress_on(terminal: Terminal) -> Iterator[Progress]:
    """The observer that suits the terminal; bars are taken down when the block ends, also by an exception."""
    if not terminal.console.is_terminal:
        yield Lines(terminal.say)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal.console) as bars:
        yield Bars(bars, terminal.say)


@dataclass
class Bars:
    """One bar per task that is under way; a finished task keeps its full bar."""

    bars: RichProgress
    say: Callable[[str], None]
    _ids: dict[str, TaskID] = field(default_factory=dict)

    def start(self, task: str, total: int) -> None:
        """A bar appears."""
        self._ids[task] = self.bars.add_task(clean(task), total=total)

    def advance(self, task: str) -> None:
        """The bar grows by one step."""
        self.bars.advance(self._ids[task])

    def finish(self, task: str) -> None:
        """The bar is full and stops counting time."""
        bar = self._ids.pop(task)
        steps = next(each for each in self.bars.tasks if each.id == bar)
        self.bars.update(bar, completed=steps.total)
        self.bars.stop_task(bar)

    def note(self, message: str) -> None:
        """A sentence above the bars."""
        self.say(message)


@dataclass
class _Run:
    total: int
    begun: float
    told: float
    done: int = 0


@dataclass
class Lines:
    """One line when a task ends, and a heartbeat while it lasts: readable in the log of a build."""

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _runs: dict[str, _Run] = field(default_factory=dict)

    def start(self, task: str, total: int) -> None:
        """Only remembered: a line that says nothing yet is noise."""
        now = self.clock()
        self._runs[task] = _Run(total, begun=now, told=now)

    def advance(self, task: str) -> None:
        """A heartbeat line, unless the last one is recent."""
        run, now = self._runs[task], self.clock()
        run.done += 1
        if now - run.told >= HEARTBEAT_SECONDS and run.done < run.total:
            run.told = now
            self.say(f"{task}: {run.done} of {run.total} after {duration(now - run.begun)}")

    def finish(self, task: str) -> None:
        """One line with the elapsed time."""
        run = self._runs.pop(task)
        self.say(f"{task}: done in {duration(self.clock() - run.begun)}")

    def note(self, message: str) -> None:
        """The sentence, as it is."""
        self.say(message)
