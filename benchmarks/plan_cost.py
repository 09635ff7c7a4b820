"""Does `privaudit plan` say what a scan then costs? CPU seconds of every part of 1 s and more, told and used.

    python benchmarks/plan_cost.py --run-dir RUN                   plan and scan the leaky sample model, print the table
    python benchmarks/plan_cost.py --run-dir RUN --attacks gap,lira-scores,merlin,shokri

RUN must be fresh: what an earlier scan has kept would cost nothing. Exits 1 where a part lies outside 1/1.5 to 1.5.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.audit import AuditOptions, audit, plan_audit
from auditor.cost.price import Cost
from auditor.findings import AuditReport

_SAMPLE = Path(__file__).parent.parent / "sample_models" / "fashion_leaky"
_FACTOR = 1.5
_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Part:
    """CPU seconds of one part of a scan, as told before and as used."""

    name: str
    told: float
    used: float

    @property
    def ratio(self) -> float:
        """Told by used."""
        return self.told / max(self.used, 0.01)

    @property
    def within(self) -> bool:
        """Whether neither is more than 1.5 times the other."""
        return 1 / _FACTOR <= self.ratio <= _FACTOR


def main() -> int:
    """Plan, scan, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=_SAMPLE, help="folder with splits/ in it (default: %(default)s)")
    parser.add_argument("--run-dir", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--budget", default="quick", help="default: %(default)s")
    parser.add_argument("--attacks", help="only these, separated by commas")
    parser.add_argument("--workers", type=int, help="processes; one per core by default")
    arguments = parser.parse_args()
    if arguments.run_dir.exists():
        parser.error(f"{arguments.run_dir} exists already")
    options = AuditOptions(
        checkpoint=arguments.model / "model.safetensors",
        data=arguments.model / "splits",
        budget=arguments.budget,
        attacks=tuple(arguments.attacks.split(",")) if arguments.attacks else None,
        workers=arguments.workers,
        run_dir=arguments.run_dir,
        device="cpu",
    )
    cost = plan_audit(options).cost
    parts = list(compared(cost, audit(options)))
    print(table(parts))
    return 0 if all(part.within for part in parts) else 1


def compared(cost: Cost, report: AuditReport) -> Iterator[Part]:
    """Every phase, attack and probe that was told or used 1 s or more, and both sums."""
    told, used = cost.by_phase(), {one.phase: one.cpu_seconds for one in report.timings}
    detail = {one.phase: one.cpu_seconds for one in report.attack_timings}
    told |= {name: seconds for name, seconds in cost.by_name().items() if name in detail}
    used |= detail
    for name, seconds in told.items():
        if max(seconds, used.get(name, 0.0)) >= _LEAST_SECONDS:
            yield Part(name, seconds, used.get(name, 0.0))
    yield Part("all phases", cost.cpu_seconds, sum(one.cpu_seconds for one in report.timings))


def table(parts: list[Part]) -> str:
    """Rows of markdown."""
    rows = [f"| {part.name} | {part.told:.1f} | {part.used:.1f} | {part.ratio:.2f} |" for part in parts]
    return "\n".join(["| part | told, CPU s | used, CPU s | told / used |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    sys.exit(main())
