"""Do the rules of evidence keep what they promise? Simulations, from signals and from training to verdict.

    python benchmarks/calibration.py --run-dir RUN --workers 2     simulate what is missing, print the tables
    python benchmarks/calibration.py --run-dir RUN --report        the tables of what is there
    python benchmarks/calibration.py --run-dir RUN --smoke         a fortieth of everything, for trying the script
    python benchmarks/calibration.py --run-dir RUN --part audits   one part: audits, always, statistics, instruments

The hypotheses, and when one fails. Intervals of the simulation itself are Clopper-Pearson.

1. Without a leak a whole audit ends in *leak found*, at any access, in 5 % of cases or fewer: 1,000 audits from signals
   in eight designs, and 40 from training. Fails where the 95 % interval of the rate lies wholly above 5 %, for all
   together or for a design. The same where records come in groups.
2. The same under a shift between members and non-members, whatever the blind control can see of it. In two designs
   null models miss a fifth of what the target has learned of the shift, and in one two fifths, which is more than the
   excess allows for and is told, not judged.
3. Exact intervals and bounds hold the truth at least as often as they say, asymptotic ones within one point, at 200,
   1,000 and 5,000 records a side. An exact one fails where the 99 % interval of its coverage lies wholly below nominal;
   an asymptotic one where it lies wholly outside nominal plus and minus one point, and is *open* where only the
   measured coverage does. AUC 1 and .999 are told and not judged.
4. Planted leaks are found with the stated power: the exact test at its smallest detectable TPR, bounds at the number of
   records said to be needed (99 % interval against the statement, give or take a point where it is no bound), and the
   planted control: fails where audits of models that do leak, with as few shadows as it has left, find less than it
   prints (99 % intervals apart).
5. Without a leak a shadow in the target's place reads AUC .5 on average, for every attack that reads signals, at K = 4,
   8 and 16. Fails where a mean is further from .5 than chance allows, 5 % over all of them together (Bonferroni).

What each rule costs in power is told, not judged. The moderate leak (0.25 standard deviations of a model's noise on the
average own record, exponential over records) was chosen before the run, on other seeds, so that the corrected tests
find it about four times in five; the clear one is twice that. Sizes of shifts were chosen there, too: the small unseen
ones so that about half of the audits reject. "Were the excess always asked for": the same audits, with the excess over
the owner-label null asked of every rejecting test. Randomness comes from seeds and the names of designs: 47 for whole
audits, since the rules of docs/decisions/0007 were mended after those of seed 41, and the excess and what *nothing
found* asks (docs/decisions/0012) after those of seed 43; 41 for all else. Of the third run hypotheses 1 and 2 are
judged as before. Told beside them: *leak found* in the designs with a leak, expected lower where the excess is asked
for; and *nothing found* at K = 8 and 16 without a leak, expected at least 15 of 20 audits each, though the recipe check
asks for more.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from calibration_audits import always_excess, doses, run_audits, zero_leak
from calibration_rows import Rows
from calibration_statistics import bootstrap, differences, grouped, perfect, plain, power, proportions, strata
from calibration_tables import report
from calibration_trained import trained_audits
from calibration_worlds import Design
from pydantic import ValidationError

from auditor.compute import digest, rename_into_place

Job = partial[Rows]

EXCHANGEABLE = (
    Design("200 a side, K 4", 200, 4),
    Design("200 a side, K 8", 200, 8),
    Design("500 a side, K 8", 500, 8),
    Design("1,000 a side, K 4", 1_000, 4),
    Design("1,000 a side, K 8", 1_000, 8),
    Design("1,000 a side, K 16", 1_000, 16),
    Design("1,000 a side, K 8, skewed noise", 1_000, 8, noise="skewed"),
    Design("500 a side, K 8, shadows remember", 500, 8, leak=1.0, spared=True),
)
GROUPED = (
    Design("grouped, fives", 500, 8, groups="fives"),
    Design("grouped, 1 to 20, shadows remember", 500, 8, groups="unequal", leak=1.0, spared=True),
)
_SPARED = Design("", 1_000, 8, leak=1.0, spared=True)
SHIFTED = (
    replace(_SPARED, name="shift, easier members, seen", shift=1.0, visible=0.3),
    replace(_SPARED, name="shift, slightly easier, hardly seen", shift=0.25, visible=0.075),
    replace(_SPARED, name="shift, slightly easier, unseen", shift=0.35),
    replace(_SPARED, name="shift, learned, seen", learned=1.0, visible=0.3),
    replace(_SPARED, name="shift, learned, unseen", learned=1.0),
    replace(_SPARED, name="shift, slightly learned, unseen", learned=0.2),
    replace(_SPARED, name="shift, learned, unseen, models differ by a tenth", learned=1.0, uneven=0.1),
    replace(_SPARED, name="shift, slightly learned, unseen, null models miss a fifth", learned=0.3, unlearned=0.2),
    replace(_SPARED, name="shift, learned, unseen, null models miss a fifth", learned=1.0, unlearned=0.2),
    replace(_SPARED, name="shift, learned, unseen, null models miss two fifths", learned=1.0, unlearned=0.4),
)
_MODERATE = Design("price, moderate leak, no shift", 1_000, 8, leak=0.25)
_MILD_SHIFT = Design("price, moderate leak, mild shift", 1_000, 8, leak=0.25, shift=0.25, visible=0.075)
LEAKING = (
    _MODERATE,
    _MILD_SHIFT,
    replace(_MODERATE, name="price, clear leak, no shift", leak=0.5),
    replace(_MILD_SHIFT, name="price, clear leak, mild shift", leak=0.5),
)
SIZES = (200, 1_000, 5_000)
_REPETITIONS = {200: 5_000, 1_000: 4_000, 5_000: 2_000}
_BOOTSTRAPS = {200: 200, 1_000: 150, 5_000: 60}
_GROUPS = ("groups of 5 on one side", "groups of 3 members and 3 others", "groups of 1 to 20 on one side")


def main() -> None:
    """Parse the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run-dir", type=Path, required=True, help="one JSON file for each finished part")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="a fortieth of everything")
    parser.add_argument("--report", action="store_true", help="simulate nothing")
    parser.add_argument("--part", choices=sorted(PARTS), help="simulate one part only")
    arguments = parser.parse_args()
    # Workers inherit it; scikit-learn's trees would take every core.
    os.environ["OMP_NUM_THREADS"] = "1"
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    scale = 1 / 40 if arguments.smoke else 1.0
    planned = jobs(scale)
    if not arguments.report:
        asked = PARTS[arguments.part](scale) if arguments.part else planned
        run_missing(asked, arguments.run_dir, arguments.workers)
    found = {name: _read(_path(arguments.run_dir, name, job)) for name, job in planned.items()}
    print("".join(f"not there: {name}\n" for name, rows in found.items() if rows is None))
    print(report(Rows.joined(rows for rows in found.values() if rows is not None), smoke=arguments.smoke))


def jobs(scale: float) -> Mapping[str, Job]:
    """Every part of the study by name; `scale` shrinks how often each is repeated."""
    return {name: job for part in PARTS.values() for name, job in part(scale).items()}


def _times(count: int, scale: float) -> int:
    return max(2, round(count * scale))


def _audits(scale: float) -> dict[str, Job]:
    complete = {"1,000 a side, K 4", "1,000 a side, K 8", "1,000 a side, K 16"}
    found: dict[str, Job] = {
        f"trained {first:02d}": partial(trained_audits, first, _times(10, scale), knew=False)
        for first in range(0, 40, 10)
    }
    found["trained, target knew"] = partial(trained_audits, 100, _times(5, scale), knew=True)
    for design in (*EXCHANGEABLE, *GROUPED, *SHIFTED, *LEAKING):
        audits = {EXCHANGEABLE: 125, GROUPED: 100, SHIFTED: 200, LEAKING: 100}[_family(design)]
        whole = _times(20, scale) if design.name in complete else 0
        found[design.name] = partial(run_audits, design, _times(audits, scale), whole)
    return found


def _always(scale: float) -> dict[str, Job]:
    audits = {SHIFTED: 200, LEAKING: 100}
    return {
        f"always, {design.name}": partial(always_excess, design, _times(audits[_family(design)], scale))
        for design in (*SHIFTED, *LEAKING)
    }


def _family(design: Design) -> tuple[Design, ...]:
    return next(family for family in (EXCHANGEABLE, GROUPED, SHIFTED, LEAKING) if design in family)


def _statistics(scale: float) -> dict[str, Job]:
    found: dict[str, Job] = {"power": partial(power, _times(4_000, scale))}
    for n in SIZES:
        often, seldom = _times(_REPETITIONS[n], scale), _times(1_500, scale)
        found[f"proportions, {n}"] = partial(proportions, n)
        for area in (0.5, 0.6, 0.9):
            found[f"AUC {area}, {n}"] = partial(plain, area, n, often, low_fpr=False)
            found[f"TPR {area}, {n}"] = partial(plain, area, n, often, low_fpr=True)
        found[f"AUC 0.999, {n}"] = partial(plain, 0.999, n, seldom, low_fpr=False, judged=False)
        found[f"AUC 1, {n}"] = partial(perfect, n, _times(200, scale))
        for kind in _GROUPS:
            found[f"{kind}, {n}"] = partial(grouped, kind, n, often)
        for areas in ((0.6, 0.6), (0.9, 0.6)):
            found[f"difference {areas}, {n}"] = partial(differences, areas, n, often)
        found[f"bootstrap, {n}"] = partial(bootstrap, (0.9, 0.6), n, _times(_BOOTSTRAPS[n], scale))
        for area in (0.5, 0.9):
            found[f"strata {area}, {n}"] = partial(strata, area, n, seldom)
    return found


def _instruments(scale: float) -> dict[str, Job]:
    found: dict[str, Job] = {
        f"zero leak, K {shadows}": partial(zero_leak, 500, shadows, _times(300, scale), _times(50, scale))
        for shadows in (4, 8, 16)
    }
    found["doses"] = partial(doses, 1_000, (8, 6), _times(24, scale), _times(300, scale))
    return found


PARTS: Mapping[str, Callable[[float], dict[str, Job]]] = {
    "audits": _audits,
    "always": _always,
    "statistics": _statistics,
    "instruments": _instruments,
}


# --- running -------------------------------------------------------------------------------------------------------


def run_missing(planned: Mapping[str, Job], folder: Path, workers: int) -> None:
    """Do the jobs whose file is not there yet, and write one file each."""
    missing = {name: job for name, job in planned.items() if _read(_path(folder, name, job)) is None}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(_timed, job): name for name, job in missing.items()}
        for done in as_completed(pending):
            name, rows = pending[done], done.result()
            text = rows.model_dump_json() + "\n"
            rename_into_place(_path(folder, name, missing[name]), partial(_write, text))
            print(f"{name}: {rows.cpu_seconds:.0f} CPU seconds", flush=True)


def _timed(job: Job) -> Rows:
    def used() -> float:
        spent = os.times()
        return time.process_time() + spent.children_user + spent.children_system

    start = used()
    return job().model_copy(update={"cpu_seconds": used() - start})


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _path(folder: Path, name: str, job: Job) -> Path:
    """A file named by all that decides what a job finds."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in name)
    return folder / f"{slug}-{digest(job.func.__name__, repr(job.args), repr(sorted(job.keywords.items())))[:8]}.json"


def _read(path: Path) -> Rows | None:
    """What a finished job left; None where there is nothing, or a damaged file."""
    try:
        return Rows.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


if __name__ == "__main__":
    main()
