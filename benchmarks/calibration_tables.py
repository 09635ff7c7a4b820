"""The tables of docs/validation/calibration.md, and how each hypothesis is judged, from the rows of the jobs alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from calibration_audits import leak_found
from calibration_rows import AuditRow, CoverageRow, DoseRow, PowerRow, Rows, StrictRow, TrainedRow, ZeroRow
from scipy import stats

from auditor.findings import VerdictState
from auditor.stats.estimate import Estimate
from auditor.stats.intervals import mean, proportion

__all__ = ["report"]

_ALLOWED = 0.05
_POINT = 0.01
_SURE = 0.99
_HOLDS, _FAILS, _OPEN = "holds", "**fails**", "open"
_BEYOND = "miss two fifths"


def report(rows: Rows, *, smoke: bool) -> str:
    """All tables, in Markdown."""
    parts = ["A smoke run: no number here means anything."] if smoke else []
    parts += ["## 1. False alarms without a leak", _alarms(_of(rows, ("exchangeable", "grouped")))]
    parts += ["### From training to verdict", _trained(rows.trained)]
    parts += ["## 2. False alarms under a shift", _shifts(_of(rows, ("shift",)))]
    parts += ["## 3. Coverage", _coverage([row for row in rows.coverage if row.judged])]
    parts += ["### AUC 1, and nearly 1: not judged", _coverage([row for row in rows.coverage if not row.judged])]
    parts += ["## 4. Power", _power(rows.power), "### The planted control", _doses(rows.doses)]
    parts += ["## 5. A shadow in the target's place", _zero(rows.zero)]
    parts += ["## 6. What each rule costs", "### A real leak", _leaking(_of(rows, ("price",)))]
    parts += ["### No leak", _nothing(rows.audits)]
    parts += ["### Were the excess always asked for", _strict(rows)]
    return "\n\n".join([*parts, f"{rows.cpu_seconds / 60:.0f} CPU minutes."]) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _share(hits: int, trials: int, confidence: float = 0.95) -> Estimate:
    return proportion(hits, trials, confidence=confidence, unit="runs")


def _percent(found: Estimate) -> str:
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _family(row: AuditRow) -> str:
    first = row.design.partition(",")[0]
    return first if first in {"grouped", "shift", "price"} else "exchangeable"


def _of(rows: Rows, families: Sequence[str]) -> list[AuditRow]:
    return [row for row in rows.audits if _family(row) in families]


def _by_design(rows: Sequence[AuditRow]) -> dict[str, list[AuditRow]]:
    found: dict[str, list[AuditRow]] = {}
    for row in rows:
        found.setdefault(row.design, []).append(row)
    return found


# --- false alarms --------------------------------------------------------------------------------------------------


def _judged_alarms(found: Estimate) -> str:
    return _FAILS if found.low > _ALLOWED else _HOLDS


def _alarms(rows: Sequence[AuditRow]) -> str:
    designs = _by_design(rows)
    designs["**all without groups**"] = [row for row in rows if _family(row) == "exchangeable"]

    def line(name: str, audits: Sequence[AuditRow]) -> Sequence[str]:
        found = _share(sum(leak_found(row.states) for row in audits), len(audits))
        rejected = _share(sum(row.rejected for row in audits), len(audits))
        return name, str(len(audits)), _percent(rejected), _percent(found), _judged_alarms(found)

    head = ("design", "audits", "a corrected test rejects, %", "*leak found*, %", "at most 5 %")
    return _table(head, [line(name, audits) for name, audits in designs.items() if audits])


def _trained(rows: Sequence[TrainedRow]) -> str:
    def line(name: str, audits: Sequence[TrainedRow], *, judged: bool) -> Sequence[str]:
        found = _share(sum(leak_found(row.states) for row in audits), len(audits))
        matched = sum(row.recipe_matched for row in audits)
        seconds = float(np.mean([row.cpu_seconds for row in audits]))
        verdict = _judged_alarms(found) if judged else "not asked"
        return name, str(len(audits)), _percent(found), verdict, f"{matched} of {len(audits)}", f"{seconds:.1f}"

    kinds = (("trained on other records", False), ("trained on the members", True))
    split = [(name, [row for row in rows if row.knew is knew], knew) for name, knew in kinds]
    head = ("target", "audits", "*leak found*, %", "at most 5 %", "recipe check passes", "CPU s each")
    return _table(head, [line(name, audits, judged=not knew) for name, audits, knew in split if audits])


def _shifts(rows: Sequence[AuditRow]) -> str:
    def line(name: str, audits: Sequence[AuditRow]) -> Sequence[str]:
        found = _share(sum(leak_found(row.states) for row in audits), len(audits))
        nothing = sum(row.states[row.top] == VerdictState.NOTHING_FOUND for row in audits)
        return (
            name.removeprefix("shift, "),
            str(len(audits)),
            _percent(_share(sum(row.rejected for row in audits), len(audits))),
            _percent(_share(sum(row.shift for row in audits), len(audits))),
            _percent(_share(sum(row.asked for row in audits), len(audits))),
            _percent(found),
            _percent(_share(nothing, len(audits))),
            "not judged" if name.endswith(_BEYOND) else _judged_alarms(found),
        )

    head = (
        "shift",
        "audits",
        "a test rejects, %",
        "shift seen, %",
        "excess asked, %",
        "*leak found*, %",
        "*nothing found*, %",
        "at most 5 %",
    )
    return _table(head, [line(name, audits) for name, audits in _by_design(rows).items()])


# --- coverage and power --------------------------------------------------------------------------------------------


def _coverage(rows: Sequence[CoverageRow]) -> str:
    head = ("statistic", "case", "a side", "nominal, %", "measured, %", "Monte-Carlo error", "claim", "")
    return _table(head, [_covered(row) for row in sorted(rows, key=lambda row: (row.statistic, row.case, row.n))])


def _covered(row: CoverageRow) -> Sequence[str]:
    claim = "at least" if row.exact else "within 1"
    start = (row.statistic, row.case, f"{row.n:,}", f"{100 * row.nominal:g}")
    if row.weighed is not None:
        judged = _HOLDS if row.weighed >= row.nominal else _FAILS
        return *start, f"{100 * row.weighed:.2f}", "0 (enumerated)", claim, judged
    found = _share(row.held, row.trials, _SURE)
    error = 100 * np.sqrt(found.value * (1 - found.value) / row.trials)
    judged = (_judge_exact if row.exact else _judge_within)(found, row.nominal) if row.judged else "not judged"
    return *start, f"{100 * found.value:.2f}", f"{error:.2f}", claim, judged


def _judge_exact(found: Estimate, nominal: float) -> str:
    return _FAILS if found.high < nominal else _HOLDS


def _judge_within(found: Estimate, nominal: float) -> str:
    if found.low > nominal + _POINT or found.high < nominal - _POINT:
        return _FAILS
    return _OPEN if abs(found.value - nominal) > _POINT else _HOLDS


_JUDGED_POWER: dict[str, Callable[[Estimate, float], str]] = {
    "about": lambda found, stated: _FAILS if found.low > stated + _POINT or found.high < stated - _POINT else _HOLDS,
    "least": _judge_exact,
    "most": lambda found, stated: _FAILS if found.low > stated else _HOLDS,
}
_SAID = {"about": "", "least": "at least ", "most": "at most "}


def _power(rows: Sequence[PowerRow]) -> str:
    def line(row: PowerRow) -> Sequence[str]:
        found = _share(row.hits, row.trials, _SURE)
        judged = _JUDGED_POWER[row.meant](found, row.stated)
        return row.question, f"{row.n:,}", f"{_SAID[row.meant]}{100 * row.stated:g}", _percent(found), judged

    head = ("what", "a side", "stated, %", "measured, % [99 %]", "")
    return _table(head, map(line, rows))


def _doses(rows: Sequence[DoseRow]) -> str:
    fewest = min((row.shadows for row in rows), default=0)

    def line(row: DoseRow) -> Sequence[str]:
        printed = mean(row.printed, confidence=_SURE, unit="controls")
        found = _share(row.hits, row.trials, _SURE)
        judged = "not judged" if row.shadows > fewest else _FAILS if found.high < printed.low else _HOLDS
        return f"{row.dose:.4f}", str(row.shadows), _percent(printed), _percent(found), judged

    head = ("dose", "K of the leaking audits", "printed, % [99 %]", "found, % [99 %]", "")
    return _table(head, map(line, rows))


# --- a shadow in the target's place --------------------------------------------------------------------------------


def _zero(rows: Sequence[ZeroRow]) -> str:
    tested = [row for row in rows if not row.twin]
    reach = float(stats.norm.isf(0.025 / max(len(tested), 1)))
    sizes = sorted({row.shadows for row in rows})
    names = list(dict.fromkeys((row.attack, row.twin) for row in sorted(rows, key=lambda row: row.twin)))
    cells = {(row.attack, row.twin, row.shadows): _read_zero(row, reach) for row in rows}
    lines = [
        (f"{attack}, its twin in the pool" if twin else attack, *(cells.get((attack, twin, k), "") for k in sizes))
        for attack, twin in names
    ]
    told = (
        f"Mean AUC ± Monte-Carlo standard error. {len(tested)} means are judged; one fails beyond {reach:.2f} of them."
    )
    return f"{told}\n\n{_table(('attack', *(f'K = {k}' for k in sizes)), lines)}"


def _read_zero(row: ZeroRow, reach: float) -> str:
    values = np.array(row.values)
    centre, error = values.mean(), values.std(ddof=1) / np.sqrt(values.size)
    judged = "" if row.twin or abs(centre - 0.5) <= reach * error else f" {_FAILS}"
    return f"{centre:.4f} ± {error:.4f}{judged}"


# --- prices --------------------------------------------------------------------------------------------------------


def _leaking(rows: Sequence[AuditRow]) -> str:
    def line(name: str, audits: Sequence[AuditRow]) -> Sequence[str]:
        counts = (
            sum(row.single <= _ALLOWED for row in audits),
            sum(row.rejected for row in audits),
            sum(row.shift for row in audits),
            sum(row.asked for row in audits),
            sum(leak_found(row.states) for row in audits),
        )
        return name.removeprefix("price, "), str(len(audits)), *(_percent(_share(hit, len(audits))) for hit in counts)

    asked = ("shift suspected", "excess asked", "*leak found* (with rule 6)")
    head = ("leak", "audits", "one test at 5 %", "Holm over all", *asked)
    return _table(head, [line(name, audits) for name, audits in _by_design(rows).items()])


def _strict(rows: Rows) -> str:
    designs = _by_design(rows.audits)

    def line(row: StrictRow) -> Sequence[str]:
        audits = designs.get(row.design, [])
        today = _percent(_share(sum(leak_found(one.states) for one in audits), len(audits))) if audits else ""
        return row.design, str(row.trials), today, _percent(_share(row.hits, row.trials))

    return _table(("design", "audits", "*leak found* today, %", "with the excess always, %"), map(line, rows.strict))


def _nothing(rows: Sequence[AuditRow]) -> str:
    """What stood in the way of *nothing found* at the access with the most, in audits of leakless models."""
    whole = {name: audits for name, audits in _by_design(rows).items() if any(row.complete for row in audits)}
    lines = [line for name, audits in whole.items() for line in _lost(name, audits)]
    return _table(("design", "what stands in the way", "audits", "share, %"), lines)


def _lost(name: str, audits: Sequence[AuditRow]) -> Iterator[Sequence[str]]:
    complete = [row for row in audits if row.complete]
    only_complete = {"planted", "instrument-null"}
    reasons = Counter(reason for row in audits for reason in row.against_nothing if reason not in only_complete)
    for reason, count in reasons.most_common():
        yield name, reason, str(len(audits)), _percent(_share(count, len(audits)))
    for reason in sorted(only_complete):
        count = sum(reason in row.against_nothing for row in complete)
        yield name, reason, str(len(complete)), _percent(_share(count, len(complete)))
    nothing = sum(row.states[row.top] == VerdictState.NOTHING_FOUND for row in complete)
    yield name, f"**nothing found** at {complete[0].top}", str(len(complete)), _percent(_share(nothing, len(complete)))
