"""Which inversion attacks show more than their controls? Hypotheses: docs/validation/inversion-protocol.md.

    python benchmarks/inversion.py --data DIR --run-dir RUN --workers 2      run what is missing, print the tables
    python benchmarks/inversion.py --report RUN/results.json                 the tables again

DIR holds mnist/train.npz and faces62/{train,test,public}.npz. Everything goes on where it was ended. RUN holds faces:
it stays where it is; RUN/results.json holds numbers only, and every number that the tables are made from.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from inversion_tables import Blind, Results, Run, report
from inversion_worlds import DIGITS, WORLDS, World
from pydantic import BaseModel
from safetensors.torch import load_file

from auditor.battery import INVERSION
from auditor.battery.plan import run_inversion_battery
from auditor.case import Case, open_case
from auditor.compute import SILENT, Workers, rename_into_place
from auditor.inversion.evaluators import EVALUATORS, load_evaluator
from auditor.inversion.kept import read_material
from auditor.planning import AuditOptions
from auditor.stats.multiplicity import holm
from reference_attacks.inversion.material import Inverted

P = ParamSpec("P")
T = TypeVar("T")
Kept = TypeVar("Kept", bound=BaseModel)

_NETS = Path(__file__).parent / "inversion_nets.py"
_SEEDS = {"mnist": (1, 2), "faces62": (1, 2)}
_REPEATED = tuple(range(100, 140))
_WITHOUT_PUBLIC = ("miface", "miface-smooth", "inversion-network", "inversion-network-truncated")
_ALL = tuple(attack.card.id for attack in INVERSION if attack.needs != "own generator")


def main() -> None:
    """Parse the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of mnist/ and faces62/")
    parser.add_argument("--run-dir", type=Path, help="where targets, reconstructions and results are kept")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--only", choices=["mnist", "faces62", "blind"], help="run this part only")
    parser.add_argument("--report", type=Path, help="print the tables of this results.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.report:
        print(report(Results.model_validate_json(arguments.report.read_text(encoding="utf-8"))))
        return
    if not (arguments.data and arguments.run_dir):
        parser.error("give --data and --run-dir, or --report")
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    for world in WORLDS:
        for seed in _SEEDS[world.name] if arguments.only in (None, world.name) else ():
            _once(arguments, f"{world.name}-{seed}", lambda name, w=world, s=seed: _attacked(arguments, w, s, name))
    for seed in _REPEATED if arguments.only in (None, "blind") else ():
        _once(arguments, f"blind-{seed}", lambda name, s=seed: _never_saw(arguments, s, name))
    results = _collected(arguments.run_dir)
    _keep(arguments.run_dir / "results.json", results.model_dump_json(indent=1))
    print(report(results))


def _once(arguments: argparse.Namespace, name: str, make: Callable[[str], BaseModel]) -> None:
    path = arguments.run_dir / f"{name}.json"
    if not path.exists():
        _keep(path, make(name).model_dump_json(indent=1))
        print(f"{name}: done", flush=True)


def _keep(path: Path, text: str) -> None:
    rename_into_place(path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))


def _collected(folder: Path) -> Results:
    def read(model: type[Kept], pattern: str) -> tuple[Kept, ...]:
        return tuple(
            model.model_validate_json(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(pattern))
        )

    runs = [run for world in WORLDS for run in read(Run, f"{world.name}-?.json")]
    return Results(runs=tuple(runs), blind=read(Blind, "blind-*.json"))


# --- one world -------------------------------------------------------------------------------------------------------


def _attacked(arguments: argparse.Namespace, world: World, seed: int, name: str) -> Run:
    """Every attack on one target, with all its controls."""
    folder = arguments.run_dir / name
    folder.mkdir(exist_ok=True)
    weights = world.write(arguments.data, folder, seed)
    with open_case(_options(world, weights, seed, _ALL, arguments.workers), SILENT) as case:
        models = case.inverted_models
        case.laboratory.train([models.control, *models.left_out], task="controls")
        found = run_inversion_battery(case.plan, case.workshop, models)
        return Run(
            world=world.name,
            seed=seed,
            setup=found.setup,
            results=tuple(one for one in found.results if one.card.id in _ALL),
            timings=found.timings,
            recognised=_recognised(case),
            train_accuracy=_accuracy(case, members=True),
            test_accuracy=_accuracy(case, members=False),
        )


def _options(world: World, weights: Path, seed: int, attacks: tuple[str, ...], workers: int) -> AuditOptions:
    return AuditOptions(
        weights,
        weights.parent / "splits",
        arch=f"{_NETS}:{world.factory}",
        budget="thorough",
        attacks=attacks,
        defenses=(),
        seed=seed,
        device="cpu",
        workers=workers,
        run_dir=weights.parent / "run",
    )


def _recognised(case: Case) -> dict[str, tuple[float, ...]]:
    """Probability of the class for each image handed in, mean over the evaluation networks, by attack [class]."""
    folder, facts = case.laboratory.folder, case.target.facts
    channels, device = facts.preprocessing.input_size[0], torch.device("cpu")
    judges = []
    for kind in EVALUATORS:
        (path,) = (folder.root / "inversion").glob(f"evaluator-{kind.name}-*.safetensors")
        judges.append(load_evaluator(kind, load_file(path), channels, facts.num_classes, device))
    told = {}
    for attack in INVERSION:
        kept = list((folder.root / "inversion").glob(f"{attack.card.id}-target-*.safetensors"))
        made = read_material(folder, f"inversion/{kept[0].name}") if kept else None
        if isinstance(made, Inverted):
            shown = np.mean([judge.probabilities(made.images[:, 0]) for judge in judges], axis=0)
            told[attack.card.id] = tuple(float(shown[c, c]) for c in range(len(shown)))
    return told


def _accuracy(case: Case, *, members: bool) -> float:
    audit_set = case.design.audit_set
    rows = np.flatnonzero(audit_set.membership == members)
    with torch.no_grad():
        logits = case.target.logits(audit_set.records.inputs[rows])
    return float((logits.argmax(1).numpy() == audit_set.records.labels[rows]).mean())


# --- targets that never saw the members ------------------------------------------------------------------------------


class _Inline(Executor):
    """Does everything at once, here: for many small runs a process of their own costs more than the work."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _inline(options: AuditOptions) -> Iterator[Case]:
    with open_case(options, SILENT) as case:
        workers = Workers(_Inline(), case.clock)  # type: ignore[arg-type]
        yield replace(case, laboratory=replace(case.laboratory, workers=workers))


def _never_saw(arguments: argparse.Namespace, seed: int, name: str) -> Blind:
    folder = arguments.run_dir / "blind" / name
    folder.mkdir(parents=True, exist_ok=True)
    weights = DIGITS.write(arguments.data, folder, seed, blind=True)
    with _inline(_options(DIGITS, weights, seed, _WITHOUT_PUBLIC, 1)) as case:
        models = case.inverted_models
        case.laboratory.train([models.control], task="control")
        found = run_inversion_battery(case.plan, case.workshop, models)
    ran = [one for one in found.results if one.status == "completed" and one.record_p_value is not None]
    p_values = {one.card.id: one.record_p_value for one in ran if one.record_p_value is not None}
    return Blind(
        seed=seed,
        excess={one.card.id: one.record_excess for one in ran},
        p_values=p_values,
        smallest_adjusted=float(min(holm(list(p_values.values())))),
    )


if __name__ == "__main__":
    main()
