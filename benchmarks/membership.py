"""Which membership attacks lead, at which number of shadows? Hypotheses: docs/validation/membership-protocol.md.

    python benchmarks/membership.py --data DIR --run-dir RUN --workers 2     train, attack, print the tables
    python benchmarks/membership.py --report RUN/results.json                the tables again
    python benchmarks/membership.py --data DIR --run-dir RUN --smoke         the same on noise, quickly
    python benchmarks/membership.py --data DIR --run-dir RUN --trial         time the recipes on records set aside

DIR holds cifar10/train.npz and test.npz (`images`, `labels`) and location30/all.npz (`features`, `labels`). A run that
was ended goes on where it stopped. RUN/results.json holds every number that the tables are made from.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from membership_study import Results, attack_all, describe_all, train_missing
from membership_tables import report
from membership_worlds import PRETRAINING, SEED, SETTINGS, Setting, World, load_worlds, pretrain, smoke, template

from auditor.compute import rename_into_place
from auditor.signals import accuracy
from auditor.training import train

_FASHION = Path("/usr/share/datasets/fashion-mnist")


def main() -> None:
    """Parse the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of cifar10/ and location30/")
    parser.add_argument("--fashion", type=Path, default=_FASHION, help="folder of Fashion-MNIST (default: %(default)s)")
    parser.add_argument("--run-dir", type=Path, help="where models' answers and results are kept")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small pools of noise, one epoch")
    parser.add_argument("--trial", action="store_true", help="time every recipe on records set aside")
    parser.add_argument("--report", type=Path, help="print the tables of this results.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.report:
        print(report(Results.model_validate_json(arguments.report.read_text(encoding="utf-8"))))
        return
    if not (arguments.data and arguments.run_dir):
        parser.error("give --data and --run-dir, or --report")
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    settings = smoke(SETTINGS) if arguments.smoke else SETTINGS
    worlds = load_worlds(arguments.data, noise=arguments.smoke)
    public = _public_weights(settings, arguments.fashion, arguments.run_dir)
    if arguments.trial:
        _trial(settings, worlds, public)
    else:
        results = _run(settings, worlds, public, arguments)
        print(report(results))


def _public_weights(settings: tuple[Setting, ...], fashion: Path, folder: Path) -> Mapping[str, Path]:
    return {one.name: pretrain(fashion, folder, one, PRETRAINING) for one in settings if one.pretrained}


def _run(
    settings: tuple[Setting, ...],
    worlds: Mapping[str, World],
    public: Mapping[str, Path],
    arguments: argparse.Namespace,
) -> Results:
    """Train what is missing, attack everything, and write results.json."""
    models, scores = [], []
    for setting in settings:
        trained = train_missing(
            setting, worlds[setting.world], public.get(setting.name), arguments.run_dir, arguments.workers
        )
        models += list(describe_all(setting, trained))
        scores += list(attack_all(setting, trained))
    results = Results(
        seed=SEED,
        smoke=arguments.smoke,
        records={name: world.digest for name, world in worlds.items()},
        models=tuple(models),
        scores=tuple(scores),
    )
    text = results.model_dump_json(indent=1) + "\n"
    rename_into_place(arguments.run_dir / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    return results


def _trial(settings: tuple[Setting, ...], worlds: Mapping[str, World], public: Mapping[str, Path]) -> None:
    """Train one model per setting on three quarters of the records set aside; say what it costs and how it fits."""
    for setting in settings:
        world = worlds[setting.world]
        inputs, labels = world.trial.inputs, world.trial.labels
        inside = np.arange(world.trial.n) < 3 * world.trial.n // 4
        recipe = setting.recipe.model_copy(update={"init": public.get(setting.name)})
        start = time.process_time()
        model = train(template(setting), inputs[inside], labels[inside], recipe, seed=SEED)
        each = (time.process_time() - start) / inside.sum()
        fits = [accuracy(model, inputs[part], labels[part]) for part in (inside, ~inside)]
        print(
            f"{setting.name}: train accuracy {fits[0]:.3f}, other {fits[1]:.3f}; {model.facts.parameters} parameters; "
            f"{each * world.pool.n / 2:.0f} CPU seconds a model of {world.pool.n // 2} records, {setting.models} models"
        )
    for name, world in worlds.items():
        print(f"{name}: records {world.digest}")


if __name__ == "__main__":
    main()
