"""Do our LiRA and RMIA scores agree with installable peers on the same arrays, and where not, why?

One world is simulated from seed 0 (see `scoring.simulate`): 5,000 records of which the target knows about half, 32
shadows with each record IN half of them, one query, 2,000 population records. Each peer scores it, and so do we. A row
of the table says how close the two are:

as is       Spearman's and Kendall's (tau-b) rank correlation, and the largest absolute difference between our score and
            the peer's; a peer's score that is small for members is negated first.
explained   the largest difference after what the row's note says has been done to our score, or to our formula (another
            centre or sigma): about rounding, where the note explains everything.
AUC         of both on the planted leak, and ours minus theirs with its paired 95 % interval.
tied        share of the records whose score another record has too.

Peers: tensorflow-empirical-privacy 0.1.0, sacroml 2.0.1, privacyguard-platform 0.0.2. A peer that is not installed is
named and left out. They pin old versions of what they need, so give them a venv of their own. A minute on one core:

    pip install -e . && pip install "pandas<3" pytz fpdf pypdf
    pip install --no-deps tensorflow-empirical-privacy==0.1.0 sacroml==2.0.1 privacyguard-platform==0.0.2
    OMP_NUM_THREADS=1 python benchmarks/parity.py
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from scipy.special import logit
from scipy.stats import kendalltau, norm, spearmanr
from scoring import TFP, TFP_MODULE, Bools, Floats, World, lists, peer, simulate, versions

from auditor.stats.auc import auc, auc_difference
from reference_attacks.membership import lira, rmia
from reference_attacks.membership.lira import LiRA
from reference_attacks.membership.rmia import RMIA

RECORDS, SHADOWS, POPULATION = 5_000, 32, 2_000
TAU = np.log(2.0 * np.pi) / 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A peer's mode beside ours.

    Attributes:
        name: The peer's mode.
        setting: Our function and settings.
        theirs: The peer's scores, larger = more likely a member [record].
        ours: Our scores [record].
        explained: Ours after what the note says [record].
        note: What differs, and what was done about it.
    """

    name: str
    setting: str
    theirs: Floats
    ours: Floats
    explained: Floats
    note: str


class Ours:
    """Our scores of one world, and its Gaussians with other people's centres and sigmas."""

    def __init__(self, world: World) -> None:
        self.signals = world.for_lira()
        self.target = logit(world.target[:, 0])
        shadows = logit(world.shadows[..., 0])
        self.inside = np.where(world.trained_on, shadows, np.nan)
        self.outside = np.where(world.trained_on, np.nan, shadows)

    def online(self, settings: LiRA) -> Floats:
        """`lira.online`."""
        return lira.online(**self.signals, settings=settings)

    def offline(self, settings: LiRA) -> Floats:
        """`lira.offline`."""
        return lira.offline(**self.signals, settings=settings)

    def two_sided(self, settings: LiRA) -> Floats:
        """`lira.offline_two_sided`."""
        return lira.offline_two_sided(**self.signals, settings=settings)

    def ratio(self, centre: Callable[..., Floats], sigma_in: Floats | float, sigma_out: Floats | float) -> Floats:
        """Online LiRA with the given centre and sigmas."""
        log_in = norm.logpdf(self.target, centre(self.inside, axis=0), sigma_in)
        return log_in - norm.logpdf(self.target, centre(self.outside, axis=0), sigma_out)

    def deviate(self, sigma: Floats | float) -> Floats:
        """One-sided offline LiRA with the given sigma, around the mean."""
        return (self.target - np.nanmean(self.outside, axis=0)) / sigma


def tensorflow(world: World, ours: Ours, module: ModuleType) -> Iterator[Row]:
    """The modes of `compute_score_lira`."""
    arrays = lists(world)

    def scores(option: str, *, fixed: bool, centre: str = "median") -> Floats:
        return -module.compute_score_lira(*arrays, option=option, fix_variance=fixed, median_or_mean=centre)

    median, median_pooled = LiRA("per-record", "median"), LiRA("pooled", "median")
    spreads = [np.nanstd(part - np.nanmedian(part, axis=0)) for part in (ours.inside, ours.outside)]
    online, offline = ours.online(median), ours.two_sided(median)
    z = (ours.target - np.nanmedian(ours.outside, axis=0)) / spreads[1]
    yield Row(
        "online, own variance (default)",
        "online, per-record, median",
        scores("both", fixed=False),
        online,
        online,
        "Negated: small means member there. Same centre, ddof 0, no other change. Its floor adds 1e-30 to sigma, ours "
        "raises sigma to 1e-6: neither is reached here.",
    )
    same_centre = ours.online(LiRA("per-record", "mean"))
    yield Row(
        "online, own variance, mean",
        "online, per-record, mean",
        scores("both", fixed=False, centre="mean"),
        same_centre,
        same_centre,
        "Negated. `median_or_mean='mean'` is our default centre.",
    )
    yield Row(
        "online, fixed variance",
        "online, pooled, median",
        scores("both", fixed=True),
        ours.online(median_pooled),
        ours.ratio(np.nanmedian, spreads[0], spreads[1]),
        "Negated. It takes one sigma for IN and another for OUT, ddof 0, around the medians; ours is one for both, "
        "around the means, with a degree of freedom less for each mean. Explained with its two sigmas.",
    )
    yield Row(
        "online, own variance (default)",
        "online, pooled, mean (default)",
        scores("both", fixed=False),
        ours.online(LiRA()),
        online,
        "Default against default: both centre and variance differ. Explained with `LiRA('per-record', 'median')`.",
    )
    yield Row(
        "offline, own variance",
        "offline_two_sided, per-record, median",
        scores("out", fixed=False),
        offline,
        offline,
        "Negated: log density under OUT. Two-sided, as ours of that name.",
    )
    yield Row(
        "offline, fixed variance",
        "offline_two_sided, pooled, median",
        scores("out", fixed=True),
        ours.two_sided(median_pooled),
        z**2 / 2.0 + np.log(spreads[1]) + TAU,
        "Negated. One sigma does not change the order of |t - centre|, so the ranks agree. Explained with its sigma "
        "(ddof 0, around the medians).",
    )
    yield Row(
        "offline, own variance",
        "offline, per-record, median",
        scores("out", fixed=False),
        ours.offline(median),
        offline,
        "Negated. Our `offline` is the paper's one-sided test: a low signal never speaks for membership, and in the "
        "peer it does. Explained with `offline_two_sided`.",
    )


def sacro(world: World, ours: Ours, module: ModuleType) -> Iterator[Row]:
    """The modes of `LIRAAttack`, through its `_compute_scores`; the member's score is column 1."""
    known, unknown = ours.inside.T, ours.outside.T
    by_record = [{i: part[~np.isnan(part)].tolist() for i, part in enumerate(side)} for side in (known, unknown)]
    probabilities = np.hstack([1.0 - world.target, world.target])
    labels = np.ones(len(world.target), dtype=np.int64)

    def scores(mode: str, *, fixed: bool) -> Floats:
        with tempfile.TemporaryDirectory() as folder:
            attack = module.LIRAAttack(output_dir=folder, write_report=False, mode=mode, fix_variance=fixed)
        return np.array(attack._compute_scores(labels, probabilities, by_record[1], by_record[0])[0])[:, 1]  # noqa: SLF001

    own, spread_in, spread_out = LiRA("per-record"), np.nanstd(ours.inside), np.nanstd(ours.outside)
    everything = "Its sigma is the standard deviation of all records together, so it holds the spread between records. "
    online, offline, two_sided = ours.online(own), ours.offline(own), ours.two_sided(own)
    yield Row(
        "online-carlini",
        "online, per-record, mean",
        scores("online-carlini", fixed=False),
        online,
        online,
        "Same centre, ddof 0; it adds 1e-16 to sigma.",
    )
    yield Row(
        "online-carlini, fixed variance",
        "online, pooled, mean (default)",
        scores("online-carlini", fixed=True),
        ours.online(LiRA()),
        ours.ratio(np.nanmean, spread_in, spread_out),
        everything + "IN and OUT have one each. Explained with these sigmas.",
    )
    yield Row(
        "offline",
        "offline, per-record, mean",
        scores("offline", fixed=False),
        offline,
        norm.cdf(offline),
        "One-sided as ours, but as the Gaussian CDF of our z, which rounds to 1 and ties the likeliest members. "
        "Explained with the CDF.",
    )
    yield Row(
        "offline, fixed variance",
        "offline, pooled, mean (default)",
        scores("offline", fixed=True),
        ours.offline(LiRA()),
        norm.cdf(ours.deviate(spread_out)),
        everything
        + "One sigma does not change the order of t - mean, so the ranks agree up to ties. Explained with its "
        "sigma and the CDF.",
    )
    yield Row(
        "offline-carlini",
        "offline_two_sided, per-record, mean",
        scores("offline-carlini", fixed=False),
        two_sided,
        two_sided,
        "Minus the log density under OUT, two-sided, as ours of that name.",
    )
    yield Row(
        "offline-carlini, fixed variance",
        "offline_two_sided, pooled, mean",
        scores("offline-carlini", fixed=True),
        ours.two_sided(LiRA()),
        ours.deviate(spread_out) ** 2 / 2.0 + np.log(spread_out) + TAU,
        everything + "Ranks agree. Explained with its sigma.",
    )


def privacyguard_lira(world: World, ours: Ours, module: ModuleType, training: ModuleType) -> Iterator[Row]:
    """The modes of `LiraAttack`, on the frames that the package's own `prepare_lira_data` makes."""
    in_models = [(None, known) for known in world.trained_on]

    def scores(variance: str, *, fixed: bool, online: bool) -> Floats:
        frames = training.prepare_lira_data(
            logit(world.target), logit(world.shadows), (None, world.membership), in_models
        )
        attack = module.LiraAttack(
            *frames[:2] if online else frames[2:],
            module.AggregationType.NONE,
            use_fixed_variance=fixed,
            std_dev_type=variance,
            online_attack=online,
        )
        attack.run_attack()
        return in_order(world, attack.df_train_merge.score, attack.df_test_merge.score)

    own, pooled = LiRA("per-record"), LiRA()
    means = [np.nanmean(np.nanstd(part, axis=0)) + 1e-8 for part in (ours.inside, ours.outside)]
    target_spread = np.std(ours.target, ddof=1)
    yield Row(
        "LiRA online, own variance",
        "online, per-record, mean",
        scores("mix", fixed=False, online=True),
        ours.online(own),
        ours.ratio(np.nanmean, *(np.nanstd(part, axis=0) + 1e-8 for part in (ours.inside, ours.outside))),
        "Same centre, ddof 0; it adds 1e-8 to sigma. Explained with that.",
    )
    yield Row(
        "LiRA online, fixed variance 'mix'",
        "online, pooled, mean (default)",
        scores("mix", fixed=True, online=True),
        ours.online(pooled),
        ours.ratio(np.nanmean, means[0], means[1]),
        "It averages the records' standard deviations (not their variances), one for IN and one for OUT; that is "
        "smaller than ours. Explained with these sigmas.",
    )
    yield Row(
        "LiRA online, fixed variance 'global' (default type)",
        "online, pooled, mean (default)",
        scores("global", fixed=True, online=True),
        ours.online(pooled),
        ours.ratio(np.nanmean, target_spread, target_spread),
        "Its sigma is that of the target's own signals over all records (ddof 1); no shadow model has a say. One sigma "
        "for IN and OUT only scales the score, so the ranks agree. Explained with its sigma.",
    )
    z = ours.deviate(target_spread)
    yield Row(
        "LiRA offline 'global' (default)",
        "offline_two_sided, pooled, mean",
        scores("global", fixed=False, online=False),
        ours.two_sided(pooled),
        z**2 / 2.0 + np.log(target_spread) + TAU,
        "Offline has no variance of a record's own, whatever `use_fixed_variance` says, and is two-sided. One sigma: "
        "ranks agree. Explained with its sigma.",
    )
    yield Row(
        "LiRA offline 'shadows_out'",
        "offline, pooled, mean (default)",
        scores("shadows_out", fixed=True, online=False),
        ours.offline(pooled),
        ours.deviate(means[1]) ** 2 / 2.0 + np.log(means[1]) + TAU,
        "Two-sided against our one-sided test. Explained with the two-sided density and its sigma, the mean of the "
        "records' standard deviations.",
    )


def privacyguard_rmia(world: World, _ours: Ours, module: ModuleType, pandas: ModuleType) -> Iterator[Row]:
    """The modes of `RmiaAttack`, whose gamma is 1."""

    def frame(target: Floats, shadows: Floats, known: Floats) -> object:
        columns = {"user_id": np.arange(len(target)), "score_orig": target[:, 0]}
        columns |= {f"score_ref_{k}": signal[:, 0] for k, signal in enumerate(shadows)}
        return pandas.DataFrame(columns | {f"member_ref_{k}": flags for k, flags in enumerate(known)})

    def scores(*, online: bool, models: int | None) -> Floats:
        sides = [
            frame(world.target[side], world.shadows[:, side], world.trained_on[:, side])
            for side in (world.membership, ~world.membership)
        ]
        nobody = np.zeros(world.population_shadows.shape[:2], dtype=bool)
        population = frame(world.population_target, world.population_shadows, nobody)
        aggregation = module.AggregationType.NONE
        attack = module.RmiaAttack(*sides, population, aggregation, num_reference_models=models, online=online)
        attack.run_attack()
        return in_order(world, attack.df_train_merge.score, attack.df_test_merge.score)

    settings = RMIA(gamma=1.0, a=0.3)
    half = SHADOWS // 2
    shadows, population = world.shadows[..., 0], world.population_shadows[..., 0]
    top_x, top_z = (np.sort(values, axis=0)[-half:].mean(axis=0) for values in (shadows, population))
    out_x = np.where(world.trained_on, 0.0, shadows).sum(axis=0) / half
    online, offline = (attack(**world.for_rmia(), settings=settings) for attack in (rmia.online, rmia.offline))
    ties = "Its score is the bare fraction of the population, so records tie; ours breaks ties by log r_x. "
    yield Row(
        "RMIA online, all models",
        "online, gamma 1",
        scores(online=True, models=SHADOWS),
        online,
        np.round(online * POPULATION) / POPULATION,
        ties + "It averages all models, which is our mean of IN and OUT as long as both are equally many. Explained by "
        "rounding ours to the grid.",
    )
    yield Row(
        "RMIA online, half of the models (default)",
        "online, gamma 1",
        scores(online=True, models=None),
        online,
        beaten(world, top_x, top_z),
        ties + "By default it averages the larger half of a record's signals, mostly those of IN models: P(x) is too "
        "large, and more so for records that training lifts. Explained with these means.",
    )
    yield Row(
        "RMIA offline, a 0.3 (default)",
        "offline, gamma 1, a 0.3",
        scores(online=False, models=None),
        offline,
        beaten(world, 0.65 * out_x + 0.35, 0.65 * top_z + 0.35),
        ties
        + "For z it averages the larger half of the models, for x the OUT models, so P(z) is too large; with one query "
        "this moves the fractions but not the order. Explained with these means.",
    )


def beaten(world: World, reference_x: Floats, reference_z: Floats) -> Floats:
    """Fraction of the population with a smaller ratio than each record [record]."""
    r_x, r_z = world.target[:, 0] / reference_x, world.population_target[:, 0] / reference_z
    return np.searchsorted(np.sort(r_z), r_x, side="left") / len(r_z)


def in_order(world: World, members: Floats, others: Floats) -> Floats:
    """Scores of members and of non-members, in the order of the records."""
    scores = np.empty(len(world.membership))
    scores[world.membership] = members
    scores[~world.membership] = others
    return scores


def tied(scores: Floats) -> float:
    """Share of the records whose score another record has too, in percent."""
    counts = np.unique(scores, return_counts=True)[1]
    return 100.0 * counts[counts > 1].sum() / len(scores)


def line(number: int, row: Row, membership: Bools) -> str:
    """A row of the Markdown table."""
    difference = auc_difference(row.ours, row.theirs, membership).estimate
    cells = (
        f"{number}",
        row.name,
        row.setting,
        f"{spearmanr(row.ours, row.theirs).statistic:.4f}",
        f"{kendalltau(row.ours, row.theirs).statistic:.4f}",
        f"{np.abs(row.ours - row.theirs).max():.1e}",
        f"{np.abs(row.explained - row.theirs).max():.0e}",
        f"{auc(row.theirs, membership).value:.3f}",
        f"{auc(row.ours, membership).value:.3f}",
        f"{difference.value:+z.3f} [{difference.low:+z.3f}, {difference.high:+z.3f}]",
        f"{tied(row.theirs):.1f} / {tied(row.ours):.1f}",
    )
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| # | peer's mode | ours | Spearman | Kendall | as is | explained | AUC theirs | AUC ours | ours - theirs "
    "| tied, % theirs / ours |"
)
PEERS = (
    (TFP, (TFP_MODULE,), tensorflow),
    ("sacroml", ("sacroml.attacks.likelihood_attack",), sacro),
    (
        "privacyguard-platform",
        ("privacy_guard.attacks.lira_attack", "privacy_guard.shadow_model_training.training"),
        privacyguard_lira,
    ),
    ("privacyguard-platform", ("privacy_guard.attacks.rmia_attack", "pandas"), privacyguard_rmia),
)


def main() -> None:
    """Print a table and its notes for each peer."""
    warnings.simplefilter("ignore")
    world = simulate(RECORDS, SHADOWS, POPULATION, seed=0)
    ours = Ours(world)
    print(versions(["numpy", "scipy", "pandas"]))
    n_members = world.membership.sum()
    print(f"{RECORDS:,} records ({n_members:,} members), {SHADOWS} shadows, population {POPULATION:,}, seed 0")
    alone = auc(ours.target, world.membership)
    print(f"AUC of the target's signal alone: {alone.value:.3f} [{alone.low:.3f}, {alone.high:.3f}]")
    number = 0
    for package, names, rows in PEERS:
        print(f"\n{versions([package]).split(', ')[1]}, {names[0].rpartition('.')[2]}")
        modules = [module for name in names if (module := peer(name))]
        if len(modules) < len(names):
            print(f"not installed: pip install --no-deps {package}, and what the head of this file names")
            continue
        logging.disable(logging.INFO)
        print(f"\n{HEAD}\n{'|---' * HEAD.count(' | ')}|---|")
        notes = []
        for row in rows(world, ours, *modules):
            number += 1
            print(line(number, row, world.membership), flush=True)
            notes.append(f"{number}. {row.note}")
        print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
