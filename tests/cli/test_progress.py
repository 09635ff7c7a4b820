from __future__ import annotations

import pytest

from auditor.cli.progress import Bars, Lines, duration, progress_on
from auditor.cli.terminal import Terminal


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (192, "3 min 12 s"), (3600, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, told: str):
    assert duration(seconds) == told


def test_a_short_task_is_one_line():
    told: list[str] = []
    clock = Clock()
    lines = Lines(told.append, clock)
    lines.start("shadows", 2)
    clock.now = 5
    lines.advance("shadows")
    clock.now = 12
    lines.advance("shadows")
    lines.finish("shadows")
    assert told == ["shadows: done in 12 s"]


def test_a_long_task_has_a_heartbeat_at_most_every_minute():
    told: list[str] = []
    clock = Clock()
    lines = Lines(told.append, clock)
    lines.start("shadows", 10)
    for step in range(1, 11):
        clock.now = step * 25.0
        lines.advance("shadows")
    lines.finish("shadows")
    assert told == [
        "shadows: 3 of 10 after 1 min 15 s",
        "shadows: 6 of 10 after 2 min 30 s",
        "shadows: 9 of 10 after 3 min 45 s",
        "shadows: done in 4 min 10 s",
    ]


def test_two_tasks_at_once_keep_their_own_time():
    told: list[str] = []
    clock = Clock()
    lines = Lines(told.append, clock)
    lines.start("outer", 1)
    clock.now = 10
    lines.start("inner", 1)
    clock.now = 15
    lines.finish("inner")
    lines.finish("outer")
    assert told == ["inner: done in 5 s", "outer: done in 15 s"]


def test_a_note_is_told_at_once():
    told: list[str] = []
    Lines(told.append).note("2 records were dropped")
    assert told == ["2 records were dropped"]


def test_without_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with progress_on(Terminal()) as progress:
        assert isinstance(progress, Lines)
        progress.start("shadows", 1)
        progress.finish("shadows")
    told = capsys.readouterr()
    assert told.err == "shadows: done in 0 s\n"
    assert told.out == ""


def test_on_a_terminal_there_are_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_on(Terminal()) as progress:
        assert isinstance(progress, Bars)
        progress.start("[red]shadows[/]", 2)
        progress.advance("[red]shadows[/]")
        progress.note("half way")
        progress.finish("[red]shadows[/]")
    told = capsys.readouterr().err
    assert "half way" in told
    assert "[red]shadows[/]" in told
    assert "2/2" in told
