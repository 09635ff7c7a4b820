"""What does a page cost? CPU seconds of `privaudit render`, as whole processes, for each format.

    python benchmarks/render_cost.py REPORT.json                 HTML and PDF, five times each, taking turns
    python benchmarks/render_cost.py REPORT.json --runs 9

Exits 1 where a median is over its bound: 2 s for HTML, 10 s for PDF.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

_BOUNDS = {"html": 2.0, "pdf": 10.0}


def main() -> int:
    """Render, again and again, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("report", type=Path, help="a report.json")
    parser.add_argument("--runs", type=int, default=5, help="of each format (default: %(default)s)")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        rounds = [
            {kind: cpu_seconds(arguments.report, Path(folder, f"report.{kind}")) for kind in _BOUNDS}
            for _ in range(arguments.runs)
        ]
    found = {kind: [one[kind] for one in rounds] for kind in _BOUNDS}
    print(table(found))
    return 0 if all(median(found[kind]) < bound for kind, bound in _BOUNDS.items()) else 1


def cpu_seconds(report: Path, output: Path) -> float:
    """User and system seconds of one process, its start and imports included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "import sys; from auditor.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "render", str(report), "-o", str(output)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(found: dict[str, list[float]]) -> str:
    """One row a format, in markdown."""
    head = "| format | runs | CPU s, median | least | most | bound |\n|---|---|---|---|---|---|"
    rows = [
        f"| {kind} | {len(taken)} | {median(taken):.1f} | {min(taken):.1f} | {max(taken):.1f} | {_BOUNDS[kind]:g} |"
        for kind, taken in found.items()
    ]
    return "\n".join([head, *rows])


if __name__ == "__main__":
    sys.exit(main())
