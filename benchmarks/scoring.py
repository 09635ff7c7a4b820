"""How fast LiRA and RMIA score, beside a loop over records and a record x population matrix, on the same arrays.

Measured, in one run: 50,000 records, 64 shadows (each record IN half of them), one query, float64, 10,000 population
records, simulated from seed 0. Times are CPU seconds of this process, which has one thread, so that others on the
machine count for less. The result is a ratio: each repetition times both sides one after the other, and the median of
the ratios is printed with the smallest and the largest.

LiRA    beside `compute_score_lira` of tensorflow-empirical-privacy 0.1.0, which loops over the records. It is timed on
        every tenth record in each repetition, times ten, and once in full to show that this scaling is fair. Building
        the lists that it takes is not counted. The bar is 100 times faster.
RMIA    beside `dense_fractions`, a matrix of likelihood ratios in blocks of 100 records: the largest block that is as
        fast as any here (1,000 take twice as long, which would flatter us). Both sides start from the same
        probabilities and do all of the work. The bar is 50 times faster.
Memory  what a call allocates beyond its inputs, at its peak, by tracemalloc in runs of their own. The bar is 200 MB.

It stops with an error where our scores differ from naive forms by more than 1e-9, or from the peer's after negation
with the same settings. A bar that is missed is said in its row and stops nothing. Three CPU minutes:

    pip install -e . && pip install --no-deps tensorflow-empirical-privacy==0.1.0
    OMP_NUM_THREADS=1 python benchmarks/scoring.py
"""

from __future__ import annotations

import os
import platform
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from types import ModuleType

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import norm, spearmanr

from reference_attacks.membership import lira, rmia
from reference_attacks.membership.lira import LiRA
from reference_attacks.membership.rmia import RMIA

RECORDS, SHADOWS, POPULATION = 50_000, 64, 10_000
REPETITIONS, EVERY, NAIVE_RECORDS, BLOCK, MOST_MEGABYTES = 5, 10, 2_000, 100, 200
TFP = "tensorflow-empirical-privacy"
TFP_MODULE = "tensorflow_privacy.privacy.privacy_tests.membership_inference_attack.advanced_mia"

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Score = Callable[[], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Probabilities of the true label, simulated, with one query; signals are their logits.

    Attributes:
        target: By the target [record, query].
        shadows: By the shadows [model, record, query].
        trained_on: Which shadow was trained on which record [model, record].
        membership: Which records the target was trained on [record].
        population_target: By the target on the population [record, query].
        population_shadows: By the shadows on it [model, record, query].
    """

    target: Floats
    shadows: Floats
    trained_on: Bools
    membership: Bools
    population_target: Floats
    population_shadows: Floats

    def for_lira(self) -> dict[str, Floats | Bools]:
        """The arguments of the LiRA functions."""
        return {
            "target_signal": logit(self.target),
            "shadow_signal": logit(self.shadows),
            "shadow_membership": self.trained_on,
        }

    def for_rmia(self) -> dict[str, Floats | Bools]:
        """The arguments of the RMIA functions."""
        return {
            "target_signal": self.target,
            "shadow_signal": self.shadows,
            "shadow_membership": self.trained_on,
            "population_target_signal": self.population_target,
            "population_shadow_signal": self.population_shadows,
        }


def simulate(n_records: int, n_shadows: int, n_population: int, *, seed: int) -> World:
    """Records that differ in difficulty, in spread between retrainings and in what training on them adds."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(1.0, 2.0, n_records + n_population)
    spread = np.exp(rng.normal(-0.3, 0.4, n_records + n_population))
    lift = rng.exponential(0.8, n_records)
    trained_on = np.argsort(rng.random((n_shadows, n_records)), axis=0) < n_shadows // 2
    membership = rng.random(n_records) < 0.5
    signal = difficulty + spread * rng.normal(size=(1 + n_shadows, n_records + n_population))
    signal[:, :n_records] += lift * np.vstack([membership, trained_on])
    p = expit(signal)[..., None]
    records, others = p[:, :n_records], p[:, n_records:]
    return World(records[0], records[1:].copy(), trained_on, membership, others[0], others[1:].copy())


def peer(module: str) -> ModuleType | None:
    """A peer's module, or None if it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        return None


def dense_fractions(world: World, gamma: float, a: float | None) -> tuple[Floats, Floats]:
    """RMIA as a record x population matrix of likelihood ratios; online if `a` is None.

    Returns:
        The fraction of the population that each record beats, and its own ratio r_x, both [record].
    """
    tiny = float(np.finfo(np.float32).tiny)
    target, shadows = np.maximum(world.target[:, 0], tiny), np.maximum(world.shadows[..., 0], tiny)
    by_target = np.maximum(world.population_target[:, 0], tiny)
    reference_z = np.maximum(world.population_shadows[..., 0], tiny).mean(axis=0)
    out = np.where(world.trained_on, 0.0, shadows).sum(axis=0) / (~world.trained_on).sum(axis=0)
    if a is None:
        inside = np.where(world.trained_on, shadows, 0.0).sum(axis=0) / world.trained_on.sum(axis=0)
        reference_x = 0.5 * (inside + out)
    else:
        reference_x = 0.5 * ((1.0 + a) * out + 1.0 - a)
        reference_z = 0.5 * ((1.0 + a) * reference_z + 1.0 - a)
    r_x, r_z = target / reference_x, by_target / reference_z
    fractions = np.empty(len(r_x))
    for start in range(0, len(r_x), BLOCK):
        rows = slice(start, start + BLOCK)
        fractions[rows] = (r_x[rows, None] / r_z > gamma).mean(axis=1)
    return fractions, r_x


def naive_lira(world: World, settings: LiRA) -> Floats:
    """Online LiRA with one Python step per record."""
    centre = {"mean": np.mean, "median": np.median}[settings.centre]
    target, shadows = logit(world.target[:, 0]), logit(world.shadows[..., 0])
    groups = [[column[known], column[~known]] for column, known in zip(shadows.T, world.trained_on.T, strict=True)]
    if settings.variance == "pooled":
        squares = sum(((part - part.mean()) ** 2).sum() for both in groups for part in both)
        freedom = sum(len(part) - 1 for both in groups for part in both)
        sigmas = [[np.sqrt(squares / freedom)] * 2] * len(groups)
    else:
        sigmas = [[part.std() for part in both] for both in groups]
    return np.array(
        [
            norm.logpdf(t, centre(inside), s_in) - norm.logpdf(t, centre(outside), s_out)
            for t, (inside, outside), (s_in, s_out) in zip(target, groups, sigmas, strict=True)
        ]
    )


def lists(world: World, *, every: int = 1) -> tuple[Floats, list[Floats], list[Floats]]:
    """What `compute_score_lira` takes: signals [record, query], and per record those of its IN and its OUT shadows."""
    records = range(0, len(world.target), every)
    shadows = logit(world.shadows)
    inside = [shadows[world.trained_on[:, i], i] for i in records]
    outside = [shadows[~world.trained_on[:, i], i] for i in records]
    return logit(world.target)[::every], inside, outside


def seconds(score: Score) -> float:
    """CPU time of one call."""
    start = time.process_time()
    score()
    return time.process_time() - start


def peak_megabytes(score: Score) -> float:
    """Peak of the memory that one call allocates, in units of 10^6 bytes; numpy tells tracemalloc about its arrays."""
    tracemalloc.start()
    score()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def compare(ours: Score, theirs: Score, *, bar: float, scale: float = 1.0) -> str:
    """One line: time of both, median ratio with its range, peak memory of ours, and whether the bars are met."""
    seconds(ours), seconds(theirs)
    times = [(np.median([seconds(ours) for _ in range(5)]), scale * seconds(theirs)) for _ in range(REPETITIONS)]
    ratios = [slow / fast for fast, slow in times]
    fast, slow = np.median(times, axis=0)
    spread = f"{np.median(ratios):.0f} ({min(ratios):.0f}-{max(ratios):.0f})"
    peak = peak_megabytes(ours)
    verdict = "met" if np.median(ratios) >= bar and peak < MOST_MEGABYTES else "MISSED"
    return f"{fast:>9.4f}{slow:>10.3f}{spread:>18}{peak:>10.0f}{f'{bar:.0f}x {verdict}':>14}"


def lira_rows(world: World, arguments: dict[str, Floats | Bools]) -> None:
    """Time LiRA beside the peer's loops, and compare the scores."""
    module = peer(TFP_MODULE)
    if module is None:
        print(f"LiRA: not installed: pip install --no-deps {TFP}==0.1.0")
        return
    part, whole = lists(world, every=EVERY), lists(world)
    for variance, centre in (
        ("pooled", "mean"),
        ("per-record", "mean"),
        ("pooled", "median"),
        ("per-record", "median"),
    ):
        ours = partial(lira.online, **arguments, settings=LiRA(variance=variance, centre=centre))
        theirs = partial(module.compute_score_lira, *part, option="both", fix_variance=variance == "pooled")
        print(f"{f'LiRA online, {variance}, {centre}':<34}{compare(ours, theirs, bar=100, scale=EVERY)}", flush=True)
    for fixed in (True, False):
        start = time.process_time()
        scores = -module.compute_score_lira(*whole, option="both", fix_variance=fixed)
        spent = time.process_time() - start
        scaled = EVERY * seconds(partial(module.compute_score_lira, *part, option="both", fix_variance=fixed))
        print(f"  peer in full, fix_variance={fixed}: {spent:.1f} s; every tenth record times ten: {scaled:.1f} s")
    same = lira.online(**arguments, settings=LiRA(variance="per-record", centre="median"))
    agree("LiRA per-record, median, and the negated score of the peer", same, scores)


def rmia_rows(world: World, arguments: dict[str, Floats | Bools]) -> None:
    """Time RMIA beside the matrix, and compare the scores."""
    for name, ours, a in (("online", rmia.online, None), ("offline", rmia.offline, RMIA().a)):
        dense = partial(dense_fractions, world, RMIA().gamma, a)
        print(f"{f'RMIA {name}':<34}{compare(partial(ours, **arguments), dense, bar=50)}", flush=True)
    for name, ours, a in (("online", rmia.online, None), ("offline", rmia.offline, RMIA().a)):
        fractions, r_x = dense_fractions(world, RMIA().gamma, a)
        margin = np.log(r_x)
        tie_break = 0.5 * margin / (1.0 + np.abs(margin)) / POPULATION
        agree(f"RMIA {name} and the matrix with our tie-break", ours(**arguments), fractions + tie_break)


def agree(what: str, ours: Floats, theirs: Floats) -> None:
    """Print the largest difference and the rank correlation, and stop if it exceeds 1e-9 of the score, or 1e-9."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=what)
    rank = spearmanr(ours, theirs).statistic
    print(f"  {what}: largest difference {np.abs(ours - theirs).max():.1e}, Spearman {rank:.9f}, n = {len(ours):,}")


def versions(packages: Sequence[str]) -> str:
    """The version of Python and of each package that is installed."""
    told = [f"Python {platform.python_version()}"]
    for name in packages:
        try:
            told.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            told.append(f"{name} not installed")
    return ", ".join(told)


def main() -> None:
    """Print the ratios, the memory and how far the scores agree."""
    print(versions(["numpy", "scipy", TFP]), f"; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}")
    world = simulate(RECORDS, SHADOWS, POPULATION, seed=0)
    print(f"{RECORDS:,} records x {SHADOWS} shadows, population {POPULATION:,}; {REPETITIONS} repetitions")
    print(f"{'':<34}{'ours, s':>9}{'loop, s':>10}{'ratio (range)':>18}{'peak, MB':>10}{'bar':>14}")
    lira_rows(world, world.for_lira())
    rmia_rows(world, world.for_rmia())
    small = simulate(NAIVE_RECORDS, SHADOWS, POPULATION, seed=1)
    for variance in ("pooled", "per-record"):
        settings = LiRA(variance=variance)
        agree(
            f"LiRA {variance} and the naive loop",
            lira.online(**small.for_lira(), settings=settings),
            naive_lira(small, settings),
        )


if __name__ == "__main__":
    main()
