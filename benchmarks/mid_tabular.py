"""Does MID protect regressions and trees better than differential privacy? See docs/validation/mid-tabular-protocol.md.

    python benchmarks/mid_tabular.py --data DIR --run-dir RUN --workers 2     run what is missing, print the tables
    python benchmarks/mid_tabular.py --report RUN/results.json                the tables again

DIR holds adult.data and adult.test of UCI Adult. A run that was ended goes on where it stopped.
RUN/results.json holds every number that the tables are made from; nothing in it is about one person.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mid_linear
import mid_map
import mid_tree
import numpy as np
import numpy.typing as npt
from mid_adult import AGE_MOST, VALUES, People, asked_of, draw, load, rows_of
from mid_tables import PANELS, PROTOCOL, WIDER, Part, Results, Row, report
from sklearn.linear_model import LogisticRegression

from auditor.compute import generator, rename_into_place

RESAMPLES = 400
NOISE, DELTA, DEPTH, LEAST = 0.2, 1e-5, 5, 30
TREE_PENALTIES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 1.0)
ANSWER_PENALTIES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
TREE_EPSILONS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs between the protocol's plan and the wider one that was added to it.

    Attributes:
        name: Of the plan, also in file names.
        draws: Of every private model.
        penalties: lambda of the regressions.
        epsilons: Of the private regressions.
    """

    name: str
    draws: int
    penalties: tuple[float, ...]
    epsilons: tuple[float, ...]


PLANS = (
    Plan(
        PROTOCOL,
        draws=10,
        penalties=(0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0, 2.0),
        epsilons=(0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0),
    ),
    Plan(
        WIDER,
        draws=40,
        penalties=(0.0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.32, 0.34, 0.36, 0.38, 0.4, 0.5, 0.7, 1.0),
        epsilons=(0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 8.0),
    ),
)


def main() -> None:
    """Parse the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of adult.data and adult.test")
    parser.add_argument("--run-dir", type=Path, help="where results are kept")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="parts of the people (default: 1 2 3)")
    parser.add_argument("--report", type=Path, help="print the tables of this results.json")
    arguments = parser.parse_args()
    if arguments.report:
        print(report(Results.model_validate_json(arguments.report.read_text(encoding="utf-8"))))
        return
    if not (arguments.data and arguments.run_dir):
        parser.error("give --data and --run-dir, or --report")
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    results = _run(arguments.data, arguments.run_dir, arguments.seeds, arguments.workers)
    print(report(results))


def _run(data: Path, folder: Path, seeds: Sequence[int], workers: int) -> Results:
    wanted = [(seed, kind, plan) for seed in seeds for kind in ("regression", "tree") for plan in PLANS]
    places = {one: folder / f"seed-{one[0]}-{one[1]}-{one[2].name}.json" for one in wanted}
    missing = [one for one, place in places.items() if not place.exists()]
    with ProcessPoolExecutor(workers) as pool:
        for future in [pool.submit(_part, data, places[one], *one) for one in missing]:
            future.result()
    parts = [Part.model_validate_json(place.read_text(encoding="utf-8")) for place in places.values()]
    results = Results(parts=tuple(parts))
    rename_into_place(
        folder / "results.json", lambda path: path.write_text(results.model_dump_json(), encoding="utf-8")
    )
    return results


def _part(data: Path, place: Path, seed: int, kind: str, plan: Plan) -> None:
    start = time.process_time()
    world = _World.of(*draw(load(data), seed), seed)
    rows = tuple(_regression(world, plan) if kind == "regression" else _tree(world, plan.draws))
    part = Part(seed=seed, kind=kind, plan=plan.name, cpu_seconds=time.process_time() - start, rows=rows)
    rename_into_place(place, lambda path: path.write_text(part.model_dump_json(), encoding="utf-8"))


# --- people and resamples of them ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Side:
    """Training or test people, and how often each is in each resample, float [1 + resample, record]; first all once."""

    people: People
    weights: Floats

    @staticmethod
    def of(people: People, rng: np.random.Generator) -> _Side:
        n = len(people.age)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
        return _Side(people, np.vstack([np.ones(n), drawn]))

    def mean(self, column: Floats) -> Floats:
        return np.asarray(self.weights @ column / self.weights.sum(axis=1))

    def f1(self, said: Floats, true: Floats) -> Floats:
        """F1 from the probability that yes is said and whether it is true, float [record]."""
        both, *each = (self.weights @ np.column_stack([said * true, said, true])).T
        return np.asarray(2 * both / np.maximum(each[0] + each[1], 1e-12))

    def macro_f1(self, guesses: Ints) -> Floats:
        truth = self.people.marital
        by_value = [self.f1((guesses == v).astype(float), (truth == v).astype(float)) for v in range(len(VALUES))]
        return np.asarray(np.mean(by_value, axis=0))

    def accuracy(self, guesses: Ints) -> Floats:
        return self.mean((guesses == self.people.marital).astype(float))

    def if_they_were(self) -> Iterator[Ints]:
        """Everybody's marital status set to each value in turn."""
        for value in range(len(VALUES)):
            yield np.full(len(self.people.age), value)


@dataclass(frozen=True, eq=False)
class _World:
    train: _Side
    test: _Side
    shares: Floats
    seed: int

    @staticmethod
    def of(train: People, test: People, seed: int) -> _World:
        shares = np.bincount(train.marital, minlength=len(VALUES)) / len(train.marital)
        rng = generator(seed, "adult resamples")
        return _World(_Side.of(train, rng), _Side.of(test, rng), shares, seed)

    @property
    def sides(self) -> tuple[_Side, _Side]:
        return self.train, self.test


@dataclass(frozen=True, eq=False)
class _Scores:
    """Of one attack on one model: quality on test people and score on both, float [1 + resample] each."""

    quality: Floats
    train: Floats
    test: Floats


def _row(panel: str, seed: int, defense: str, knob: float, scores: _Scores, information: float | None = None) -> Row:
    kept = [tuple(np.round(column, 6).tolist()) for column in (scores.quality, scores.train, scores.test)]
    return Row(
        panel=panel,
        seed=seed,
        defense=defense,
        knob=knob,
        information=information,
        quality=kept[0],
        train=kept[1],
        test=kept[2],
    )


def _over_draws(draws: Sequence[_Scores], rng: np.random.Generator) -> _Scores:
    """Mean over the draws of a random defense; in every resample of the people over as many draws with replacement."""
    chosen = rng.integers(len(draws), size=(len(draws), RESAMPLES + 1))
    chosen[:, 0] = np.arange(len(draws))
    columns = ([one.quality for one in draws], [one.train for one in draws], [one.test for one in draws])
    return _Scores(*(np.take_along_axis(np.array(column), chosen, axis=0).mean(axis=0) for column in columns))


def _without_model(
    world: _World, panel: str, score: Callable[[_Side, Ints], Floats], known: Callable[[People], Floats]
) -> Iterator[Row]:
    """The most frequent value for all, and a logistic regression that was trained on the other half of the people."""
    nothing = np.empty(0)
    common = np.full(len(world.train.people.age), int(world.shares.argmax()))
    yield _row(
        panel, world.seed, "frequent", math.nan, _Scores(nothing, *(score(side, common) for side in world.sides))
    )
    found = []
    for side, other in ((world.train, world.test), (world.test, world.train)):
        model = LogisticRegression(max_iter=1000).fit(known(other.people), other.people.marital)
        found.append(score(side, model.predict(known(side.people))))
    yield _row(panel, world.seed, "imputed", math.nan, _Scores(nothing, *found))


def _everything_else(people: People) -> Floats:
    """What the attacker without a model knows: all but the marital status, outcome included."""
    ages = np.column_stack([people.outcome, people.outcome**2])
    return np.column_stack([rows_of(people, people.marital)[:, [*range(9), 11, 12]], ages])


# --- regression ------------------------------------------------------------------------------------------------------


def _regression(world: _World, plan: Plan) -> Iterator[Row]:
    panel = PANELS[0]
    people = world.train.people
    rows = rows_of(people, people.marital)
    plain = mid_linear.fit_least_squares(rows, people.outcome)
    yield _row(panel, world.seed, "none", math.nan, _attack_line(world, plain))
    for penalty in plan.penalties:
        line = mid_linear.fit_mid(rows, people.outcome, penalty, noise=NOISE)
        told = mid_linear.mixture_entropy(line.mean(rows), NOISE)[0] - 0.5 * math.log(2 * math.pi * math.e * NOISE**2)
        yield _row(panel, world.seed, "mid", penalty, _attack_line(world, line), told)
    rng = generator(world.seed, "private regression")
    for epsilon in plan.epsilons:
        lines = [
            mid_linear.fit_private(rows, people.outcome, epsilon, rng, delta=DELTA, most=AGE_MOST)
            for _ in range(plan.draws)
        ]
        draws = [_attack_line(world, line) for line in lines]
        yield _row(panel, world.seed, "dp", epsilon, _over_draws(draws, rng))
    yield from _without_model(world, panel, _Side.accuracy, _everything_else)


def _attack_line(world: _World, line: mid_linear.Line) -> _Scores:
    own = [line.mean(rows_of(side.people, side.people.marital)) - side.people.outcome for side in world.sides]
    error = float(np.sqrt(np.mean(own[0] ** 2)))
    found = []
    for side in world.sides:
        answers = np.column_stack([line.mean(rows_of(side.people, status)) for status in side.if_they_were()])
        scores = mid_map.naive_map_regression(world.shares, answers, side.people.outcome, error)
        found.append(side.accuracy(mid_map.guess(scores, world.shares)))
    return _Scores(world.test.mean(own[1] ** 2) + line.noise**2, *found)


# --- trees -----------------------------------------------------------------------------------------------------------


def _tree(world: _World, draws: int) -> Iterator[Row]:
    people = world.train.people
    asked, open_to = asked_of(people, people.marital)
    about_status = ~open_to.all(axis=1, keepdims=True)
    tests = mid_tree.Questions(open_to, ~(open_to & about_status))
    plain = mid_tree.grow(asked, people.rich, tests, None, depth=DEPTH, least=LEAST)
    yield from _tree_rows(world, "none", math.nan, [plain])
    for penalty in TREE_PENALTIES:
        tree = mid_tree.grow(asked, people.rich, tests, penalty, depth=DEPTH, least=LEAST)
        yield from _tree_rows(world, "mid", penalty, [tree])
    for penalty in ANSWER_PENALTIES:
        yield from _tree_rows(world, "answers", penalty, [mid_tree.with_answers(plain, penalty)])
    rng = generator(world.seed, "private tree")
    for epsilon in TREE_EPSILONS:
        trees = [mid_tree.grow_private(asked, people.rich, tests, epsilon, rng, depth=DEPTH) for _ in range(draws)]
        yield from _tree_rows(world, "dp", epsilon, trees)
    for panel in PANELS[1:]:
        yield from _without_model(
            world, panel, _Side.macro_f1, lambda some: np.column_stack([_everything_else(some), some.rich])
        )


def _tree_rows(world: _World, defense: str, knob: float, trees: Sequence[mid_tree.Tree]) -> Iterator[Row]:
    """One row for each attack."""
    attacked = [_attack_tree(world, tree) for tree in trees]
    told = None
    if len(trees) == 1:
        asked, _ = asked_of(world.train.people, world.train.people.marital)
        ends = np.bincount(trees[0].leaves(asked), minlength=len(trees[0].law))
        told = mid_tree.information(ends / ends.sum(), trees[0].law)
    for place, panel in enumerate(PANELS[1:]):
        draws = [each[place] for each in attacked]
        scores = _over_draws(draws, generator(world.seed, f"draws {defense} {knob}")) if len(draws) > 1 else draws[0]
        yield _row(panel, world.seed, defense, knob, scores, told)


def _attack_tree(world: _World, tree: mid_tree.Tree) -> tuple[_Scores, ...]:
    """Quality and score of each attack, in the order of the panels."""
    own = [tree.law[tree.leaves(asked_of(side.people, side.people.marital)[0])] for side in world.sides]
    rich = world.train.people.rich
    errors, odds = mid_map.error_table(own[0], rich), mid_map.odds_table(own[0], rich)
    by_side = []
    for side in world.sides:
        leaves = np.column_stack([tree.leaves(asked_of(side.people, status)[0]) for status in side.if_they_were()])
        laws, labels = tree.law[leaves], side.people.rich
        attacks = (
            mid_map.naive_map_tree(world.shares, laws, labels, errors),
            mid_map.tree_map_with_counts(world.shares, leaves, labels, tree.counts, tree.reach),
            mid_map.tree_map_by_odds(world.shares, laws, labels, odds),
        )
        by_side.append([side.macro_f1(mid_map.guess(scores, world.shares)) for scores in attacks])
    quality = world.test.f1(own[1][:, 1], world.test.people.rich.astype(float))
    return tuple(_Scores(quality, *both) for both in zip(*by_side, strict=True))


if __name__ == "__main__":
    main()
