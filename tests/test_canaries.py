"""Canaries: made, trained in, and what the model kept of them; and that a model without them bounds nothing."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from auditor.audit import AuditOptions, audit
from auditor.canaries import (
    KINDS,
    Canaries,
    default_count,
    flip_coins,
    make_canaries,
    read_canaries,
    without_canaries,
)
from auditor.checkpoint.preprocessing import agreed_preprocessing
from auditor.cli import main
from auditor.compute import RunFolder
from auditor.errors import InputError
from auditor.findings import PrivacyClaim, Role
from auditor.intake import open_inputs
from auditor.limits import Limits
from auditor.membership.implied import implied_epsilons
from auditor.membership.measure import correct_primaries, run_attack
from auditor.membership.one_run import bound_epsilon, canary_scores
from auditor.planning import settle_plan
from auditor.shadows import LEAST_POPULATION
from auditor.splits import load_splits
from auditor.splits_file import read_splits_file
from auditor.stats.epsilon import one_run, one_run_gaussian
from auditor.target import load_target
from auditor.threat import Access
from tests.digits import SPLITS, parts, trained_weights, write_splits
from tests.worlds import attack, world

COUNT = 120
CLAIM = '\n[claim]\nepsilon = 0.1\ndelta = 1e-5\nunit = "group"\n'


def fair(count, seed=3):
    return np.random.default_rng(seed).random(count) < 0.5


def canaries_of(splits, **changes):
    wanted = {"count": COUNT, "kinds": KINDS, "coins": fair(COUNT), "rng": np.random.default_rng(5), **changes}
    return make_canaries(splits, **wanted)


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    """A folder with splits, canaries, and a network overfitted to 200 digits and the canaries that were included."""
    folder = tmp_path_factory.mktemp("canaries")
    members, others, population = parts(200, 200, 300)
    write_splits(folder / "splits", members, others, population, settings=SPLITS + CLAIM)
    canaries_of(load_splits(folder / "splits")).write(folder / "made")
    with np.load(folder / "made" / "add-to-training.npz") as added:
        images = np.concatenate([members[0], added["images"]])
        labels = np.concatenate([members[1], added["labels"]])
    trained_weights(folder, images, labels)
    return folder


def loaded(path, folder):
    splits = folder / "splits"
    preprocessing = agreed_preprocessing(read_splits_file(splits).preprocessing, None, splits)
    return load_target(path, arch=f"{folder / 'network.py'}:network", preprocessing=preprocessing)


@pytest.fixture(scope="module")
def bystanders(owner):
    """Three networks that never saw a canary: two shadows, and a model whose canaries all stayed out."""
    images, labels = parts(200)[0]
    halves = []
    for number in range(3):
        folder = owner / f"bystander-{number}"
        folder.mkdir()
        chosen = np.random.default_rng(number).permutation(200)[:150]
        halves.append(loaded(trained_weights(folder, images[chosen], labels[chosen]), owner))
    return halves


def logged(owner):
    splits = load_splits(owner / "splits")
    return read_canaries(owner / "made" / "canaries.npz", splits), splits


# --- making them ---------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back_and_only_the_included_are_added(owner):
    canaries, splits = logged(owner)
    made = canaries_of(splits)
    assert np.array_equal(canaries.records.inputs, made.records.inputs)
    assert np.array_equal(canaries.included, fair(COUNT))
    with np.load(owner / "made" / "add-to-training.npz") as added:
        assert np.array_equal(added["images"], made.records.inputs[made.included])
        assert np.array_equal(added["labels"], made.records.labels[made.included])
    assert (owner / "made" / "canaries.npz").stat().st_mode & 0o777 == 0o600


def test_mislabelled_ones_are_population_records_under_another_class(owner):
    canaries, splits = logged(owner)
    truth = dict(zip(splits.population.digests, splits.population.labels, strict=True))
    for digest, label, wrong in zip(
        canaries.records.digests, canaries.records.labels, canaries.mislabelled, strict=True
    ):
        assert (digest in truth) == wrong
        assert truth.get(digest) != label
    assert canaries.mislabelled.sum() == COUNT // 2
    assert abs(np.corrcoef(canaries.mislabelled, np.arange(COUNT))[0, 1]) < 0.4


@pytest.mark.parametrize(("kind", "share"), [(KINDS[0], 1.0), (KINDS[1], 0.0)])
def test_one_kind_alone_may_be_wanted(owner, kind, share):
    for kinds in ((kind,), [kind]):
        assert canaries_of(logged(owner)[1], kinds=kinds).mislabelled.mean() == share


def test_features_are_drawn_column_by_column(owner, tmp_path):
    rng = np.random.default_rng(0)
    for role in ("train", "test"):
        np.savez(tmp_path / f"{role}.npz", features=rng.normal(size=(50, 3)), labels=rng.integers(0, 2, 50))
    splits = load_splits(tmp_path)
    made = canaries_of(splits, kinds=KINDS[1:]).records.inputs
    assert made.dtype == np.float32
    for column in range(3):
        assert set(made[:, column]) <= set(splits.non_members.inputs[:, column])
    np.savez(tmp_path / "test.npz", features=np.eye(2)[rng.integers(0, 2, 50)], labels=rng.integers(0, 2, 50))
    np.savez(tmp_path / "train.npz", features=rng.normal(size=(50, 2)), labels=rng.integers(0, 2, 50))
    with pytest.raises(InputError, match="so few values"):
        canaries_of(load_splits(tmp_path), kinds=KINDS[1:])


def test_coins_are_fair_and_counts_follow_the_members():
    assert stats.binomtest(int(flip_coins(4_000).sum()), 4_000).pvalue > 1e-9
    assert [default_count(n) for n in (50, 8_000, 10**6)] == [100, 400, 1_000]


def test_the_population_keeps_what_it_needs(owner):
    splits = logged(owner)[1]
    spare = splits.population.n - LEAST_POPULATION
    assert canaries_of(splits, count=spare, kinds=KINDS[:1], coins=fair(spare)).records.n == spare
    with pytest.raises(InputError, match=f"there are {spare} and 0"):
        canaries_of(splits, count=spare + 1, kinds=KINDS[:1], coins=fair(spare + 1))
    public = replace(splits, public=replace(splits.population, labels=np.full(splits.population.n, -1)))
    made = canaries_of(public, count=spare + 1, kinds=KINDS[:1], coins=fair(spare + 1))
    assert set(made.records.labels) == set(range(10))


def test_class_folders_without_an_order_cannot_be_mislabelled(tmp_path):
    members, others, population = parts(60, 60, 200)
    names = [np.where(labels == 1, 10, labels) for _, labels in (members, others, population)]
    write_splits(
        tmp_path / "splits",
        *((images, label) for (images, _), label in zip((members, others, population), names, strict=True)),
        as_images=True,
    )
    (tmp_path / "splits" / "classes.txt").unlink()
    with pytest.raises(InputError, match=re.escape("classes.txt")):
        canaries_of(load_splits(tmp_path / "splits"))


# --- what is kept of them ------------------------------------------------------------------------------------------


def test_an_overfitted_model_bounds_epsilon_at_every_access(owner, bystanders):
    canaries, _ = logged(owner)
    found = bound_epsilon(canaries, loaded(owner / "digits.safetensors", owner), bystanders[:2], None)
    assert [(one.access, bool(one.assumes)) for one in found.bounds] == [
        (Access.SCORES, False),
        (Access.SCORES, True),
        (Access.WEIGHTS, False),
        (Access.WEIGHTS, True),
    ]
    assert [one.declared for one in found.bounds] == [False, False, True, False]
    assert all(0.5 < one.epsilon <= one.ceiling and one.auc.low > 0.6 for one in found.bounds)
    assert (found.canaries, found.included, found.mislabelled) == (COUNT, fair(COUNT).sum(), COUNT // 2)
    assert (found.claim, found.contradicted) == (None, None)


@pytest.mark.parametrize(
    ("epsilon", "contradicted", "told"),
    [
        (0.1, True, "This contradicts the claimed epsilon of 0.1 at delta 1e-05 for each group, which would hold for"),
        (2.4, False, "This does not contradict the claimed epsilon of 2.4"),
        (50.0, False, "So many canaries could not have contradicted the claimed epsilon of 50"),
    ],
)
def test_a_claim_is_held_against_the_declared_bound(owner, bystanders, epsilon, contradicted, told):
    canaries, _ = logged(owner)
    claim = PrivacyClaim(epsilon=epsilon, delta=1e-5, unit="group")
    found = bound_epsilon(canaries, loaded(owner / "digits.safetensors", owner), bystanders[:2], claim)
    assert found.contradicted is contradicted
    assert told in found.sentence
    declared = next(one for one in found.bounds if one.declared)
    printed = float(re.search(r"not \(([\d.]+), 1e-05\)-differentially private", found.sentence)[1])
    assert printed <= declared.epsilon < printed + 0.01


def test_without_canaries_in_training_coins_bound_nothing(owner, bystanders):
    """One model, 50 draws of coins that it has never heard of: at most 5 % may bound an epsilon above 0."""
    canaries, _ = logged(owner)
    scores = canary_scores(canaries.records, bystanders[2], bystanders[:2])
    for bound in (one_run, one_run_gaussian):
        rejected = sum(bound(scores[Access.WEIGHTS], fair(COUNT, seed), delta=1e-5).epsilon > 0 for seed in range(50))
        assert rejected <= stats.binom.ppf(0.999, 50, 0.05)
    found = bound_epsilon(canaries, bystanders[2], bystanders[:2], PrivacyClaim(epsilon=1, delta=0))
    assert "no evidence of privacy" in found.sentence
    assert found.contradicted is False
    assert not any(one.assumes for one in found.bounds)


def test_the_ceiling_is_what_perfect_scores_would_reach(owner, bystanders):
    canaries, _ = logged(owner)
    coins = canaries.included
    for bound in (one_run, one_run_gaussian):
        perfect = bound(coins.astype(float), coins, delta=1e-5)
        assert perfect.epsilon == perfect.ceiling
        assert bound(np.zeros(COUNT), coins, delta=1e-5).ceiling == perfect.ceiling


# --- a whole scan --------------------------------------------------------------------------------------------------


def options(owner, run, **changes):
    wanted = {
        "checkpoint": owner / "digits.safetensors",
        "data": owner / "splits",
        "arch": f"{owner / 'network.py'}:network",
        "budget": "quick",
        "attacks": ("lira-weights",),
        "defenses": (),
        "device": "cpu",
        "workers": 1,
        "run_dir": owner / run,
        "canaries": owner / "made" / "canaries.npz",
    }
    return AuditOptions(**{**wanted, **changes})


def test_a_scan_contradicts_the_claim_and_calibrates_without_canaries(owner):
    report = audit(options(owner, "scan"))
    assert report.canaries.contradicted
    assert report.canaries.claim == PrivacyClaim(epsilon=0.1, delta=1e-5, unit="group")
    assert max(one.epsilon for one in report.canaries.bounds if one.declared) > 0.1
    assert report.data.population == 300 - COUNT // 2
    assert "canaries" in json.loads((owner / "scan" / "plan.json").read_text())


@pytest.mark.parametrize("made_of", [KINDS[:1], KINDS[1:]], ids=lambda kinds: kinds[0])
def test_a_plan_belongs_to_its_canaries(owner, tmp_path, made_of):
    splits = load_splits(owner / "splits")
    logs = [
        canaries_of(splits, kinds=made_of, coins=fair(COUNT, seed)).write(tmp_path / str(seed))[0] for seed in (3, 4)
    ]

    def settle(log):
        wanted = options(owner, "plans", canaries=log)
        target, all_splits = open_inputs(wanted.checkpoint, wanted.data, arch=wanted.arch, device="cpu", trust=False)
        kept = all_splits if log is None else without_canaries(all_splits, read_canaries(log, all_splits), log)
        return settle_plan(wanted, target, kept, RunFolder.create(tmp_path / "run"))[0]

    first = settle(logs[0])
    assert settle(logs[0]) == first
    assert "canaries" in first.describe()
    for other, told in ((logs[1], "with other canaries"), (None, "with canaries")):
        with pytest.raises(InputError, match=told):
            settle(other)


# --- bad input -----------------------------------------------------------------------------------------------------


def spoiled(path, **changes):
    with np.load(path) as log:
        arrays = {name: array for name, array in {**log, **changes}.items() if array is not None}
    np.savez(path, **arrays)


def another_shape(place):
    spoiled(place / "made" / "canaries.npz", images=np.zeros((COUNT, 9, 9, 1), np.uint8))


def lost_coins(place):
    spoiled(place / "made" / "canaries.npz", included=None)


def coins_of_numbers(place):
    spoiled(place / "made" / "canaries.npz", included=np.ones(COUNT, np.int64))


def coins_for_too_few(place):
    spoiled(place / "made" / "canaries.npz", included=fair(COUNT - 1))


def unfair_coins(place):
    spoiled(place / "made" / "canaries.npz", included=np.arange(COUNT) < 10)


def all_included(place):
    spoiled(place / "made" / "canaries.npz", included=np.ones(COUNT, bool))


def unknown_class(place):
    spoiled(place / "made" / "canaries.npz", labels=np.full(COUNT, 10))


def too_few(place):
    shapes = {"images": np.zeros((3, 8, 8, 1), np.uint8), "labels": np.arange(3)}
    spoiled(place / "made" / "canaries.npz", **shapes, included=fair(3), mislabelled=fair(3))


def put_into_train(place, *, mislabelled):
    """Canaries as training data: mislabelled ones stand in population/ too, and that is what is noticed first."""
    with np.load(place / "splits" / "train.npz") as old, np.load(place / "made" / "canaries.npz") as log:
        chosen = log["included"] & (log["mislabelled"] == mislabelled)
        arrays = {name: np.concatenate([old[name], log[name][chosen]]) for name in ("images", "labels")}
    np.savez(place / "splits" / "train.npz", **arrays)


def noise_in_train(place):
    put_into_train(place, mislabelled=False)


def mislabelled_in_train(place):
    put_into_train(place, mislabelled=True)


def no_archive(place):
    (place / "made" / "canaries.npz").write_text("heads, tails")


def nothing(place):
    """Only the command line is bad."""


SCAN = ["scan", "digits.safetensors", "--arch", "network.py:network", "--canaries", "made/canaries.npz"]
MAKE = ["canaries", "make"]


@pytest.mark.parametrize(
    ("spoil", "arguments", "named"),
    [
        (another_shape, SCAN, ["canaries.npz", "[9, 9, 1]", "[8, 8, 1]"]),
        (lost_coins, SCAN, ["canaries.npz", "included"]),
        (coins_of_numbers, SCAN, ["canaries.npz", "included", "bool"]),
        (coins_for_too_few, SCAN, ["canaries.npz", "included", "119"]),
        (unfair_coins, SCAN, ["10 of 120", "fair"]),
        (all_included, SCAN, ["120 of 120", "fair"]),
        (unknown_class, SCAN, ["canaries.npz", "0 to 9"]),
        (too_few, SCAN, ["20 canaries"]),
        (noise_in_train, SCAN, ["records of train/ are canaries of made/canaries.npz", "Take the canaries out"]),
        (mislabelled_in_train, SCAN, ["train.npz", "population.npz", "also stand in"]),
        (no_archive, SCAN, ["canaries.npz", "archive"]),
        (nothing, [*SCAN, "--shadows", "nowhere"], ["nowhere"]),
        (nothing, [*MAKE, "-o", "made"], ["made holds canaries already", "another folder"]),
        (nothing, [*MAKE, "-o", "network.py"], ["network.py"]),
        (nothing, [*MAKE, "-o", "new", "--count", "19"], ["--count"]),
        (nothing, [*MAKE, "-o", "new", "--count", "600"], ["300 mislabelled", "200 and 0", "--kind"]),
        (nothing, [*MAKE, "-o", "new", "--kind", "yellow"], ["--kind"]),
    ],
)
def test_bad_input_is_one_sentence(owner, tmp_path, monkeypatch, capsys, spoil, arguments, named):
    for name in ("splits", "made"):
        shutil.copytree(owner / name, tmp_path / name)
    for name in ("digits.safetensors", "network.py"):
        shutil.copy(owner / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    spoil(tmp_path)
    code = main([*arguments, "--data", "splits"])
    told = capsys.readouterr()
    assert code == 2, told.err
    assert told.out == ""
    assert "Traceback" not in told.err
    message = " ".join(told.err.split())
    assert all(word in message for word in named), message
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.rglob("plan.json"))


def test_the_command_makes_what_a_scan_reads(owner, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["canaries", "make", "--data", str(owner / "splits"), "--count", "40"]
    assert main([*arguments, "-o", "made"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [str(Path("made") / name) for name in ("add-to-training.npz", "canaries.npz")]
    assert "epsilon of" in told.err
    canaries = read_canaries(Path("made/canaries.npz"), load_splits(owner / "splits"))
    assert canaries.records.n == 40
    assert f"{canaries.included.sum()} of 40" in told.err
    assert main([*arguments, "-o", "again"]) == 0
    again = read_canaries(Path("again/canaries.npz"), load_splits(owner / "splits"))
    assert np.array_equal(again.records.inputs, canaries.records.inputs)
    assert not np.array_equal(again.included, canaries.included)


@pytest.mark.parametrize(
    "line", ["epsilon = -1", "delta = 1.0", 'unit = "person"', "epsilon = nan", 'epsilon = "8"', "mechanism = 1"]
)
def test_a_claim_must_make_sense(owner, tmp_path, line):
    key = line.split()[0]
    kept = "\n".join(one for one in ("epsilon = 8.0", "delta = 1e-5") if not one.startswith(key))
    shutil.copytree(owner / "splits", tmp_path / "splits")
    (tmp_path / "splits" / "splits.toml").write_text(f"{SPLITS}\n[claim]\n{kept}\n{line}\n")
    with pytest.raises(InputError, match=rf"claim\.{key}"):
        load_splits(tmp_path / "splits")


def test_coins_of_another_length_are_a_slip(owner):
    for changes in ({"coins": fair(COUNT + 1)}, {"kinds": ()}):
        with pytest.raises(ValueError, match="coins"):
            canaries_of(logged(owner)[1], **changes)


def test_canaries_of_another_place_keep_the_roles_apart(owner):
    canaries, splits = logged(owner)
    kept = without_canaries(splits, canaries, Path("log"))
    assert (kept.members.n, kept.non_members.n) == (splits.members.n, splits.non_members.n)
    assert not set(kept.population.digests) & set(canaries.records.digests)
    others = Canaries(splits.non_members, fair(splits.non_members.n), fair(splits.non_members.n))
    with pytest.raises(InputError, match="200 records of test/"):
        without_canaries(splits, others, Path("log"))


# --- implied epsilon -----------------------------------------------------------------------------------------------


def judged(simulated, ids=("lira-weights", "rmia", "gap")):
    limits = Limits()
    roles = {"lira-weights": Role.PRIMARY, "rmia": Role.SECONDARY, "gap": Role.PRIMARY}
    found = [run_attack(attack(one), roles[one], simulated.evidence, simulated.jury, limits) for one in ids]
    return correct_primaries(found, simulated.jury, limits), simulated.jury, limits


def test_implied_epsilon_is_the_log_ratio_at_one_percent():
    scored, jury, limits = judged(world(leak=3.0))
    (found,) = implied_epsilons(scored, jury, limits, random_split=True)
    assert (found.attack_id, found.access, found.fpr) == ("lira-weights", Access.WEIGHTS, 0.01)
    scores = scored[0].scores
    eleventh = np.sort(scores[~jury.membership])[-11]
    share = (scores[jury.membership] > eleventh).mean()
    assert found.estimate.value == pytest.approx(np.log(share / 0.01))
    assert found.estimate.low < found.estimate.value < found.estimate.high


@pytest.mark.parametrize("random_split", [False, None])
def test_without_a_random_split_nothing_is_implied(random_split):
    assert implied_epsilons(*judged(world()), random_split=random_split) == ()


def test_of_groups_few_records_or_ties_nothing_is_implied():
    for simulated in (world(grouped=True), world(n=500)):
        assert implied_epsilons(*judged(simulated), random_split=True) == ()
    scored, jury, limits = judged(world())
    tied = [replace(scored[0], scores=np.ones_like(scored[0].scores))]
    assert implied_epsilons(tied, jury, limits, random_split=True) == ()


# --- the page for owners -------------------------------------------------------------------------------------------


def test_the_ceilings_in_the_docs_are_those_of_the_code():
    page = (Path(__file__).parents[1] / "docs" / "canaries.md").read_text(encoding="utf-8")
    cell = r"([\d.]+) \(([\d.]+) to ([\d.]+)\)"
    rows = re.findall(rf"^\| ([\d,]+) \| {cell} \| {cell} \|$", page, re.MULTILINE)
    assert [int(count.replace(",", "")) for count, *_ in rows] == [100, 500, 1_000]
    for count, *told in rows:
        n = int(count.replace(",", ""))
        uneven = stats.halfnorm(scale=0.5 * n**0.5).ppf([0.5, 0.975, 0.0]).round().astype(int)
        for bound, shown in ((one_run, told[:3]), (one_run_gaussian, told[3:])):
            coins = [np.arange(n) < n // 2 + more for more in uneven]
            assert [f"{bound(one, one, delta=1e-5).ceiling:.1f}" for one in coins] == shown
