"""Was the instrument ever tested on this machine? The last self-test, as reports tell it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from auditor.compute import rename_into_place

__all__ = ["last_selftest", "remember_selftest"]

_NEVER = "never run on this machine"


def remember_selftest(*, passed: bool, device: str, cuda_compared: bool) -> None:
    """Note the outcome for later reports, in the user's state folder; where that cannot be written, nothing is."""
    said = {
        "date": datetime.now(UTC).date().isoformat(),
        "privaudit": version("privaudit"),
        "torch": version("torch"),
        "device": device,
        "passed": passed,
        "cuda_compared": cuda_compared,
    }
    path = _memory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rename_into_place(path, lambda temporary: temporary.write_text(json.dumps(said), encoding="utf-8"))
    except OSError:
        return


def last_selftest() -> str:
    """One phrase for the report: never, or when, on what, how it ended, and whether CPU and CUDA were compared."""
    try:
        said = json.loads(_memory().read_text(encoding="utf-8"))
        ended = "passed" if said["passed"] is True else "failed"
        compared = "compared" if said["cuda_compared"] is True else "not compared"
        versions = f"privaudit {said['privaudit']:.20}, torch {said['torch']:.20}"
        where = f"on {said['date']:.10}, {versions}, {said['device']:.10}"
    except (OSError, ValueError, KeyError, TypeError):
        return _NEVER
    return f"{ended} {where}; CPU and CUDA {compared}"


def _memory() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "privaudit" / "selftest.json"
