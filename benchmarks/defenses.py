"""Do five papers' defenses do here what the papers claim? Claims and rules: docs/validation/defenses-protocol.md.

    python benchmarks/defenses.py --data DIR --run-dir RUN --workers 2      run what is missing, print the tables
    python benchmarks/defenses.py --report RUN/results.json                 the tables again

DIR holds cifar10/{train,test}.npz and location30/all.npz. Everything is measured by the audit itself: each run is one
`auditor.audit.audit`. A run that was ended goes on where it stopped; what is finished is not made again.
RUN/results.json holds every number that the tables are made from, and no record.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from defenses_tables import report
from defenses_values import Results, Run
from defenses_verdict import SEEDS
from defenses_worlds import WORLDS, World, smoke

from auditor.audit import AuditOptions, audit
from auditor.compute import rename_into_place
from auditor.findings import AuditReport

_ATTACKS = (
    "gap",
    "loss",
    "modified-entropy",
    "rmia",
    "lira-scores",
    "lira-weights",
    "class-vector",
    "inversion-network",
    "miface",
)
_DEFENSES = ("purifier", "purifier-2023", "labels-only", "mmd-mixup", "calor", "mid", "aeppt")
_SMOKE_SEED = 0


def main() -> None:
    """Parse the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of cifar10/ and location30/")
    parser.add_argument("--run-dir", type=Path, help="where targets, audits and results are kept")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--only", choices=[world.name for world in WORLDS], help="run this world only")
    parser.add_argument("--smoke", action="store_true", help="noise in the place of records, one epoch, one seed")
    parser.add_argument("--report", type=Path, help="print the tables of this results.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.report:
        print(report(Results.model_validate_json(arguments.report.read_text(encoding="utf-8"))))
        return
    if not (arguments.data and arguments.run_dir):
        parser.error("give --data and --run-dir, or --report")
    folder = arguments.run_dir / "smoke" if arguments.smoke else arguments.run_dir
    folder.mkdir(parents=True, exist_ok=True)
    for world in WORLDS:
        if arguments.only in (None, world.name):
            _all_seeds(world, arguments, folder)
    results = _collected(folder)
    _keep(folder / "results.json", results.model_dump_json(indent=1))
    print(report(results))


def _all_seeds(world: World, arguments: argparse.Namespace, folder: Path) -> None:
    tried = smoke(world) if arguments.smoke else world
    for seed in (_SMOKE_SEED,) if arguments.smoke else SEEDS:
        name = f"{world.name}-{seed}"
        if not (folder / f"{name}.json").exists():
            run = _audited(tried, seed, arguments.data, folder / name, arguments.workers)
            _keep(folder / f"{name}.json", run.model_dump_json(indent=1))
            print(f"{name}: done, {run.cpu_seconds:.0f} CPU s", flush=True)


def _audited(world: World, seed: int, source: Path, folder: Path, workers: int) -> Run:
    """One target, one audit."""
    folder.mkdir(exist_ok=True)
    weights = world.write(source, folder, seed)
    found = audit(
        AuditOptions(
            weights,
            folder / "splits",
            arch=world.arch,
            budget="standard",
            attacks=_ATTACKS,
            defenses=_DEFENSES,
            seed=seed,
            device="cpu",
            workers=workers,
            run_dir=folder / "run",
        )
    )
    return _kept(found, world.name, seed)


def _kept(found: AuditReport, world: str, seed: int) -> Run:
    return Run(
        world=world,
        seed=seed,
        images=len(found.data.image_shape) == 3,
        plan=found.plan,
        checks=found.checks,
        evaluators=() if found.inversion_setup is None else found.inversion_setup.evaluators,
        defenses=found.defenses,
        cpu_seconds=sum(one.cpu_seconds for one in found.timings),
    )


def _collected(folder: Path) -> Results:
    paths = [folder / f"{world.name}-{seed}.json" for world in WORLDS for seed in (_SMOKE_SEED, *SEEDS)]
    kept = [path.read_text(encoding="utf-8") for path in paths if path.exists()]
    return Results(runs=tuple(Run.model_validate_json(text) for text in kept))


def _keep(path: Path, text: str) -> None:
    rename_into_place(path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))


if __name__ == "__main__":
    main()
