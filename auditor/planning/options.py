"""What the caller asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from auditor.findings import AuditReport
from auditor.threat import Access

__all__ = ["AuditOptions"]


@dataclass(frozen=True)
class AuditOptions:
    """What the caller asks for; the arguments of `privaudit scan`. None: as the plan says, or the default.

    `baseline` is the report of the last release: a model for another task is refused before anything is trained.
    """

    checkpoint: Path
    data: Path
    arch: str | None = None
    release: Access = Access.WEIGHTS
    budget: str | None = None
    seed: int | None = None
    device: str = "auto"
    workers: int | None = None
    run_dir: Path | None = None
    plan: Path | None = None
    attacks: tuple[str, ...] | None = None
    defenses: tuple[str, ...] | None = None
    trust_checkpoint: bool = False
    key: Path | None = None
    shadows: Path | None = None
    max_time: int | None = None
    canaries: Path | None = None
    generator: str | None = None
    show_records: bool = False
    policy: Path | None = None
    baseline: AuditReport | None = None
