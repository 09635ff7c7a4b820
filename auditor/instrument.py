"""Was the instrument ever tested on this machine? The last self-test, as reports tell it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from auditor.compute import rename_into_place

__all__ = ["last_selftest", "remember_selftest"]

_NEVER = "never run on this machine"


def remember_selftest(*, passed: bool, device: str, cuda_agrees: bool | None) -> bool:
    """Note the outcome for later reports, in the user's state folder; returns whether that could be written.

    Args:
        passed: Whether every question was answered as it should be.
        device: Where it ran.
        cuda_agrees: Whether CPU and CUDA gave the same signals; None: not compared now, and an older answer stays.
    """
    now = {
        "date": datetime.now(UTC).date().isoformat(),
        "privaudit": version("privaudit"),
        "torch": version("torch"),
    }
    compared = _compared_before() if cuda_agrees is None else {**now, "agrees": cuda_agrees}
    said = {**now, "device": device, "passed": passed, "cuda": compared}
    try:
        path = _memory()
        path.parent.mkdir(parents=True, exist_ok=True)
        rename_into_place(path, lambda temporary: temporary.write_text(json.dumps(said), encoding="utf-8"))
    except (OSError, RuntimeError):
        return False
    return True


def last_selftest() -> str:
    """One phrase for the report: never, or when, on what, how it ended, and whether CPU and CUDA were ever compared."""
    said = _remembered()
    try:
        ended = "passed" if said["passed"] is True else "failed"
        return f"{ended} on {_when(said)}, {said['device']:.10}; {_compared(said['cuda'])}"
    except (KeyError, TypeError, ValueError):
        return _NEVER


def _compared_before() -> object:
    cuda = _remembered().get("cuda")
    try:
        _compared(cuda)
    except (KeyError, TypeError, ValueError):
        return None
    return cuda


def _compared(cuda: object) -> str:
    if not isinstance(cuda, Mapping):
        return "CPU and CUDA were never compared"
    return f"CPU and CUDA {'agreed' if cuda['agrees'] is True else 'differed'} on {_when(cuda)}"


def _when(said: Mapping[str, object]) -> str:
    return f"{said['date']:.10} with privaudit {said['privaudit']:.20} and torch {said['torch']:.20}"


def _remembered() -> Mapping[str, object]:
    try:
        said = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return {}
    return said if isinstance(said, dict) else {}


def _memory() -> Path:
    """Where it is kept; a `RuntimeError` where this user has no home."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "privaudit" / "selftest.json"
